"""The central path, rate reduction and depth, as identities."""

from __future__ import annotations

from typing import Any

from proofs_check.computer_algebra import sympy
from proofs_check.identities import identity, positive

# ---- the central path


def _decomposition_left() -> Any:
    """The row of class 1 (rows are apart): features mu -+ p and nu -+ p, bias absorbed."""
    mu, nu, p, lam, w, b = positive("mu nu p lam w b")
    errors = [w * h + b - 1 for h in (mu - p, mu + p)] + [w * h + b for h in (nu - p, nu + p)]
    return sum(error**2 for error in errors) / 8 + lam / 2 * (w**2 + b**2)


def _parts(mu: Any, nu: Any, p: Any, lam: Any, w: Any, b: Any, ridge: Any) -> Any:
    """NC1 + NC2/3 + the part across, with A written out and W_LS = (1/C) M^T A^-1."""
    one, edge, two = p**2 + (mu**2 + nu**2) / 2 + ridge, (mu + nu) / 2, 1 + ridge
    det = one * two - edge**2
    best, bias = (two * mu - edge) / (2 * det), (one - edge * mu) / (2 * det)
    spread = (best**2 * (p**2 + lam) + bias**2 * lam) / 2
    fit = ((best * mu + bias - 1) ** 2 + (best * nu + bias) ** 2) / 4
    x, y = w - best, b - bias
    return spread + fit + (one * x**2 + 2 * edge * x * y + two * y**2) / 2


def _decomposition_right(mu: Any, nu: Any, p: Any, lam: Any, w: Any, b: Any) -> Any:
    return _parts(mu, nu, p, lam, w, b, lam)


def _decomposition_wrong(mu: Any, nu: Any, p: Any, lam: Any, w: Any, b: Any) -> Any:
    return _parts(mu, nu, p, lam, w, b, 2 * lam)


def _mode() -> tuple[Any, Any, Any]:
    """omega, the least-squares weight of one mode, and its loss, by solving."""
    K, omega = positive("K omega")
    w = sympy.Symbol("w", real=True)
    loss = (w * omega - 1) ** 2 / (2 * K) + w**2 / 2
    (best,) = sympy.solve(sympy.diff(loss, w), w)
    return omega, best, sympy.factor(loss.subs(w, best))


def _flow_left() -> Any:
    """The loss of a mode; the speed of its mean, -1/N w (w omega - 1), N = n K."""
    K, n = positive("K n")
    omega, best, value = _mode()
    return value, sympy.factor(-best * (best * omega - 1) / (n * K))


def _flow_right(K: Any, n: Any, omega: Any) -> Any:
    return 1 / (2 * (K + omega**2)), omega / (n * (K + omega**2) ** 2)


def _flow_wrong(K: Any, n: Any, omega: Any) -> Any:
    return 1 / (2 * (K + omega**2)), omega / (n * K * (K + omega**2))


def _integral_left() -> Any:
    """The time that passes, along the tangent flow and along step-and-whiten, is one."""
    return 1, 1


def _rate(clock: Any, omega: Any, speed: Any) -> Any:
    return sympy.diff(clock, omega) * speed


def _integral_right(K: Any, n: Any, omega: Any) -> Any:
    log = sympy.log(omega)
    tangent = _rate(
        n * (K**2 * log + K * omega**2 + omega**4 / 4), omega, omega / (n * (K + omega**2) ** 2)
    )
    whitened = _rate(n * K * (K * log + omega**2 / 2), omega, omega / (n * K * (K + omega**2)))
    return tangent, whitened


def _integral_wrong(K: Any, n: Any, omega: Any) -> Any:
    clock = n * (K**2 * sympy.log(omega) + K * omega**2 + omega**4 / 3)
    return _rate(clock, omega, omega / (n * (K + omega**2) ** 2)), 1


# ---- rate reduction


def _rate_left() -> Any:
    """-f of an eigenspace with share A: numerator of the slope, and the bound on the decay."""
    A, alpha, lam, nu, root = positive("A alpha lam nu root")
    v = sympy.log(1 + nu) / 2 - A / 2 * sympy.log(1 + nu / A) - lam * nu / (2 * alpha)
    slope = sympy.together(sympy.diff(v, nu)) * 2 * alpha * (1 + nu) * (A + nu)
    quadratic = sympy.cancel(slope)
    # Where the two roots merge: at nu = sqrt(A).
    merged = quadratic.subs(A, root**2).subs(nu, root)
    (bound,) = sympy.solve(sympy.expand(merged), lam)
    product = sympy.Poly(quadratic, nu).all_coeffs()
    return quadratic, sympy.cancel(product[2] / product[0]), sympy.cancel(bound)


def _rate_right(A: Any, alpha: Any, lam: Any, nu: Any, root: Any) -> Any:
    quadratic = alpha * (1 - A) * nu - lam * (1 + nu) * (A + nu)
    return quadratic, A, alpha * (1 - root) / (1 + root)


def _rate_wrong(A: Any, alpha: Any, lam: Any, nu: Any, root: Any) -> Any:
    quadratic = alpha * (1 - A) * nu - lam * (1 + nu) * (A + nu)
    return quadratic, A, alpha * (1 - root**2) / (1 + root**2)


def _stretch_left() -> Any:
    """Second derivative of f along the singular value of an orthogonal class, lambda eliminated."""
    s, alpha, own, x = positive("s alpha own x")
    lam = positive("lam")
    share = alpha / own
    f = -sympy.log(1 + alpha * s**2) / 2 + share * sympy.log(1 + own * s**2) / 2 + lam * s**2 / 2
    (decay,) = sympy.solve(sympy.diff(f, s), lam)
    return sympy.factor(sympy.cancel(sympy.diff(f, s, 2).subs(lam, decay)).subs(s, sympy.sqrt(x)))


def _stretch_right(alpha: Any, own: Any, x: Any) -> Any:
    top = 2 * alpha * x * (own - alpha) * (alpha * own * x**2 - 1)
    return top / ((1 + alpha * x) ** 2 * (1 + own * x) ** 2)


def _stretch_wrong(alpha: Any, own: Any, x: Any) -> Any:
    top = 2 * alpha * x * (own - alpha) * (alpha * own * x - 1)
    return top / ((1 + alpha * x) ** 2 * (1 + own * x) ** 2)


# ---- depth


def _depth_left() -> Any:
    """Where (y - 1)^2 + B y^(2/L) is stationary and equals its value at zero: y, and B^L."""
    L, y = positive("L y")
    # B y^(2/L) from the slope, put into the value.
    price = L * y * (1 - y)
    (kept,) = sympy.solve(sympy.cancel(((y - 1) ** 2 + price - 1) / y), y)
    return sympy.factor(kept), sympy.factor(price.subs(y, kept))


def _depth_right(L: Any) -> Any:
    """y, and B_c y^(2/L) with B_c = L/(L-1) y^((L-2)/L), which is L/(L-1) y."""
    y = (L - 2) / (L - 1)
    return y, L / (L - 1) * y


def _depth_wrong(L: Any) -> Any:
    y = (L - 1) / L
    return y, L / (L - 1) * y


# ---- focal loss


def _bend_left() -> Any:
    """Second derivative of the criterion, its value at 1/(gamma + 1) and at 1."""
    u, gamma = positive("u gamma")
    rho = (2 * gamma + 1) * (1 - u) + gamma * (1 - (gamma + 1) * u) * sympy.log(u)
    return sympy.expand(sympy.diff(rho, u, 2)), rho.subs(u, 1 / (gamma + 1)), rho.subs(u, 1)


def _bend_right(u: Any, gamma: Any) -> Any:
    return (
        -gamma / u**2 - gamma * (gamma + 1) / u,
        (2 * gamma + 1) * gamma / (gamma + 1),
        0,
    )


def _bend_wrong(u: Any, gamma: Any) -> Any:
    return (
        -gamma / u**2 + gamma * (gamma + 1) / u,
        (2 * gamma + 1) * gamma / (gamma + 1),
        0,
    )


CLAIMS = (
    identity(
        "central-path-decomposition",
        "The loss in three parts",
        "With W_LS = (1/C) M^T A^-1 the penalised least squares loss of two classes of two samples "
        "is NC1 + NC2/3 + the part across, at every W (row by row).",
        r"\tfrac12\mathrm{tr}W_{LS}(\Sigma_W+\lambda)W_{LS}^\top+\tfrac1{2C}|W_{LS}M-I|^2"
        r"+\tfrac12\mathrm{tr}(W-W_{LS})A(W-W_{LS})^\top",
        "CP-1, after Han, Papyan & Donoho (2022)",
        "features mu -+ p and nu -+ p, lambda > 0, a row (w, b) of W",
        _decomposition_left,
        _decomposition_right,
        _decomposition_wrong,
        "twice lambda in A",
    ),
    identity(
        "central-path-flow",
        "Loss and speed of a mode on the central path",
        "The best weight of a mode leaves the loss 1/(2 (K + omega^2)), and its mean moves with "
        "omega/(n (K + omega^2)^2).",
        r"L=\tfrac1{2(K+\omega^2)},\quad\dot\omega=\frac\omega{n(K+\omega^2)^2}",
        "CP-2, CP-3",
        "K, n, omega > 0",
        _flow_left,
        _flow_right,
        _flow_wrong,
        "the speed of step and whitening",
    ),
    identity(
        "central-path-integrals",
        "The flows in closed form",
        "Along omega' = omega/(n (K + omega^2)^2) the clock n (K^2 log omega + K omega^2 + "
        "omega^4/4) runs with time, along the other flow n K (K log omega + omega^2/2).",
        r"n\bigl[K^2\log\omega+K\omega^2+\tfrac14\omega^4\bigr]=t+a",
        "CP-3, CP-4",
        "K, n, omega > 0",
        _integral_left,
        _integral_right,
        _integral_wrong,
        "omega^4/3",
        uses=("identity-central-path-flow",),
    ),
    identity(
        "rate-reduction-quadratic",
        "The quadratic of rate reduction",
        "The value of an eigenspace is stationary at the roots of alpha (1 - A) nu = lambda "
        "(1 + nu)(A + nu), whose product is A and which merge at lambda = alpha (1 - sqrt A)/"
        "(1 + sqrt A).",
        r"\alpha(1-A)\nu=\lambda(1+\nu)(A+\nu),\quad\lambda\le\alpha\frac{1-\sqrt A}{1+\sqrt A}",
        "MCR-1",
        "A = root^2, alpha, lambda, nu > 0",
        _rate_left,
        _rate_right,
        _rate_wrong,
        "A for sqrt A in the bound",
    ),
    identity(
        "rate-reduction-stretch",
        "Curvature along a singular value",
        "At an orthogonal critical point the second derivative along a singular value is the first "
        "row of the table of MCR-3.",
        r"\frac{2\alpha x(\alpha_k-\alpha)(\alpha\alpha_kx^2-1)}{(1+\alpha x)^2(1+\alpha_kx)^2}",
        "MCR-3",
        "alpha, alpha_k, x = s^2 > 0",
        _stretch_left,
        _stretch_right,
        _stretch_wrong,
        "x for x^2",
    ),
    identity(
        "depth-jump",
        "The jump of first-order collapse",
        "A stationary y with the value of zero is y = (L - 2)/(L - 1), with the price B_c.",
        r"y=\frac{L-2}{L-1},\quad B_cy^{2/L}=\frac L{L-1}\,y",
        "DL-2",
        "L > 2 factors",
        _depth_left,
        _depth_right,
        _depth_wrong,
        "(L - 1)/L for y",
    ),
    identity(
        "focal-concavity",
        "The focal criterion is concave",
        "Its second derivative is -gamma/u^2 - gamma (gamma + 1)/u, it is positive at "
        "1/(gamma + 1) and zero at 1, so that the set where it is nonnegative is an interval.",
        r"\rho''=-\tfrac\gamma{u^2}-\tfrac{\gamma(\gamma+1)}u",
        "FL-2",
        "u, gamma > 0",
        _bend_left,
        _bend_right,
        _bend_wrong,
        "plus for the second minus",
    ),
)
