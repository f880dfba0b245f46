"""Identities behind the closed forms of cross entropy and of every convex loss."""

from __future__ import annotations

from typing import Any

from proofs_check.computer_algebra import sympy
from proofs_check.identities import identity, positive

# ---- focal criterion, in v = 1 - u so that SymPy knows that 1 - u is positive


def _focal_left() -> Any:
    """phi'' u (1 - u) + phi' (1 - 2u) over (1 - u)^(gamma - 1), phi = -(1 - u)^gamma log u."""
    v, g = positive("v gamma")
    phi = -(v**g) * sympy.log(1 - v)
    first, second = -sympy.diff(phi, v), sympy.diff(phi, v, 2)
    u = 1 - v
    return sympy.powsimp(sympy.expand((second * u * v + first * (1 - 2 * u)) * v ** (1 - g) * u))


def _focal_right(v: Any, gamma: Any) -> Any:
    u = 1 - v
    criterion = (2 * gamma + 1) * (1 - u) + gamma * (1 - (gamma + 1) * u) * sympy.log(u)
    return u * criterion


def _focal_wrong(v: Any, gamma: Any) -> Any:
    return (1 - v) * (2 * gamma * v + gamma * (1 - (gamma + 1) * (1 - v)) * sympy.log(1 - v))


# ---- softmax quotient


def _quotient_left() -> Any:
    """(e - p)^T (diag p - p p^T)^+ (e - p) by an explicit preimage, K = 4.

    The preimage of e - p is e / u up to a multiple of 1: (diag p - p p^T)(e_1 / u) = e_1 - p.
    """
    u, q, s = positive("u q s")
    p = sympy.Matrix([u, (1 - u) * q, (1 - u) * s, (1 - u) * (1 - q - s)])
    e = sympy.Matrix([1, 0, 0, 0])
    preimage = e / u
    image = (sympy.diag(*p) - p * p.T) * preimage - (e - p)
    return (*image, (preimage.T * (e - p))[0])


def _quotient_right(u: Any) -> Any:
    return (0, 0, 0, 0, (1 - u) / u)


def _quotient_wrong(u: Any) -> Any:
    return (0, 0, 0, 0, 2 * (1 - u) / u)


# ---- logit gap


def _gap_left() -> Any:
    """alpha at which the penalised loss of LS is stationary: exp(alpha), by solving the equation.

    The slope is -(probability of another class form): it vanishes where
    exp(alpha) / (exp(alpha) + K - 1) = 1 - delta + delta/K - (K - 1)/K c.
    """
    K, c, delta, a = positive("K c delta alpha")
    value = sympy.log(sympy.exp(a) + K - 1) - a * (1 - delta + delta / K) + (K - 1) / K * c * a
    power = positive("power")
    slope = sympy.diff(value, a).subs(sympy.exp(a), power)
    (root,) = sympy.solve(sympy.together(slope), power)
    return sympy.simplify(root), sympy.simplify(1 / (root + K - 1))


def _gap_right(K: Any, c: Any, delta: Any) -> Any:
    return K / (c + delta) - K + 1, (c + delta) / K


def _gap_wrong(K: Any, c: Any, delta: Any) -> Any:
    return K / (c + delta) - K + 2, (c + delta) / K


# ---- blocks


def _block_left() -> Any:
    """Sum and product of the eigenvalues of [[lw, g], [g, lh]]."""
    lw, lh, g = positive("lw lh g")
    matrix = sympy.Matrix([[lw, g], [g, lh]])
    return matrix.trace(), matrix.det()


def _block_right(lw: Any, lh: Any, g: Any) -> Any:
    root = sympy.sqrt((lw - lh) ** 2 + 4 * g**2)
    small, large = (lw + lh - root) / 2, (lw + lh + root) / 2
    return small + large, small * large


def _block_wrong(lw: Any, lh: Any, g: Any) -> Any:
    root = sympy.sqrt((lw - lh) ** 2 + g**2)
    return lw + lh, ((lw + lh) ** 2 - root**2) / 4


def _escape_left() -> Any:
    """lw|A|^2 + lh|B|^2 + 2<G, AB> along the scaled pair, and its Rayleigh quotient."""
    lw, lh, G = positive("lw lh G")
    ratio = (lh / lw) ** sympy.Rational(1, 4)
    form = lw * ratio**2 + lh / ratio**2 - 2 * G
    return form, form / (ratio**2 + ratio**-2)


def _escape_right(lw: Any, lh: Any, G: Any) -> Any:
    sigma = sympy.sqrt(lw * lh)
    return -2 * (G - sigma), -2 * sigma * (G - sigma) / (lw + lh)


def _escape_wrong(lw: Any, lh: Any, G: Any) -> Any:
    return -2 * (G - (lw + lh) / 2), -(G - (lw + lh) / 2)


def _pair_left() -> Any:
    """Characteristic polynomial of [[lw(1 + g t), s(g t - 1)], [., lh(1 + g t)]], s^2 = lw lh."""
    lw, lh, g, t, x = positive("lw lh g theta x")
    edge = sympy.sqrt(lw * lh) * (g * t - 1)
    matrix = sympy.Matrix([[lw * (1 + g * t), edge], [edge, lh * (1 + g * t)]])
    return sympy.expand((x * sympy.eye(2) - matrix).det())


def _pair_right(lw: Any, lh: Any, g: Any, theta: Any, x: Any) -> Any:
    return x**2 - (lw + lh) * (1 + g * theta) * x + 4 * g * theta * lw * lh


def _pair_wrong(lw: Any, lh: Any, g: Any, theta: Any, x: Any) -> Any:
    return x**2 - (lw + lh) * (1 + g * theta) * x + 2 * g * theta * lw * lh


def _mirror_left() -> Any:
    """exp of the loss along (1,-1,0,0): equal exponentials of real numbers mean equal values."""
    t = positive("t")
    half = t / 2
    value = sympy.log(sympy.exp(half) + sympy.exp(-half) + 2) - half + sympy.log(4)
    return sympy.expand(sympy.exp(value))


def _mirror_right(t: Any) -> Any:
    """exp of twice the loss along (1,1,-1,-1)."""
    quarter = t / 4
    value = sympy.log(2 * sympy.exp(quarter) + 2 * sympy.exp(-quarter)) - quarter
    return sympy.expand(sympy.exp(2 * value))


def _mirror_wrong(t: Any) -> Any:
    value = sympy.log(2 * sympy.exp(t / 4) + 2 * sympy.exp(-t / 2)) - t / 4
    return sympy.expand(sympy.exp(2 * value))


CLAIMS = (
    identity(
        "focal-criterion",
        "Focal criterion from its derivatives",
        "For phi(u) = -(1 - u)^gamma log u the condition of a positive semidefinite logit Hessian "
        "is (1 - u)^(gamma - 1) times the criterion of focal-convexity.",
        r"\varphi''u(1-u)+\varphi'(1-2u)=(1-u)^{\gamma-1}"
        r"\bigl[(2\gamma+1)(1-u)+\gamma(1-(\gamma+1)u)\log u\bigr]",
        "FL-2",
        "0 < u < 1, gamma > 0",
        _focal_left,
        _focal_right,
        _focal_wrong,
        "2 gamma instead of 2 gamma + 1",
    ),
    identity(
        "softmax-quotient",
        "The softmax covariance and the own-class direction",
        "With p = softmax and u its own-class entry, e/u is a preimage of e - p under diag p - "
        "p p^T, so the quadratic form of the pseudo-inverse is (1 - u)/u for K = 4 and any p.",
        r"(e-p)^\top(\mathrm{diag}\,p-pp^\top)^+(e-p)=\frac{1-u}u",
        "FL-2",
        "probability vectors with four entries",
        _quotient_left,
        _quotient_right,
        _quotient_wrong,
        "twice the quotient",
    ),
    identity(
        "logit-gap",
        "The logit gap of cross entropy and label smoothing",
        "alpha = log(K/(c + delta) - K + 1) makes the penalised loss stationary and gives every "
        "other class the probability (c + delta)/K.",
        r"\frac{d}{d\alpha}\Bigl[\log(e^\alpha+K-1)-\alpha\bigl(1-\delta+\tfrac\delta K\bigr)"
        r"+\tfrac{K-1}Kc\,\alpha\Bigr]=0",
        "CE-1, LS-1",
        "K, c, delta > 0 with c + delta < 1",
        _gap_left,
        _gap_right,
        _gap_wrong,
        "K/(c + delta) - K + 2 under the logarithm",
    ),
    identity(
        "complement-block",
        "Eigenvalues outside the row space",
        "The block [[lambda_W, g], [g, lambda_H]] has the eigenvalues of the escape direction.",
        r"\tfrac12\bigl(\lambda_W+\lambda_H\pm\sqrt{(\lambda_W-\lambda_H)^2+4g^2}\bigr)",
        "A-2, CE-4",
        "lambda_W, lambda_H, g > 0",
        _block_left,
        _block_right,
        _block_wrong,
        "g^2 instead of 4 g^2 under the root",
    ),
    identity(
        "escape-curvature",
        "Curvature along the explicit escape direction",
        "Along the rank-one pair scaled by (lambda_H/lambda_W)^(1/4) the second derivative is "
        "-2(|G| - sigma), and the Rayleigh quotient -2 sigma (|G| - sigma)/(lambda_W + lambda_H).",
        r"\nabla^2f[\Delta,\Delta]=-2(\|\nabla g\|-\sigma),\quad "
        r"\Delta_W=(\lambda_H/\lambda_W)^{1/4}ua^\top,\ "
        r"\Delta_H=-(\lambda_W/\lambda_H)^{1/4}av^\top",
        "CE-4, after Zhu et al. (2021)",
        "lambda_W, lambda_H, |G| > 0",
        _escape_left,
        _escape_right,
        _escape_wrong,
        "the arithmetic mean of the decays for sigma",
    ),
    identity(
        "pair-polynomial",
        "The quadratic of pair(g)",
        "The 2 x 2 blocks of W and H deformations of the same shape have the characteristic "
        "polynomial of the spectrum tables.",
        r"x^2-(\lambda_W+\lambda_H)(1+g\theta)x+4g\theta\lambda_W\lambda_H",
        "THEORY 7.1",
        "lambda_W, lambda_H, g, theta > 0",
        _pair_left,
        _pair_right,
        _pair_wrong,
        "2 g theta instead of 4 g theta",
    ),
    identity(
        "mirror-pair",
        "Two rank-one curves with one objective",
        "For K = 4 and cross entropy the curves Z = t q q^T along (1,-1,0,0) and (1,1,-1,-1) have "
        "the same loss for every t, hence critical points with equal f and equal singular values.",
        r"\tfrac12\log(2+2\cosh\tfrac t2)-\tfrac t4+\tfrac12\log4"
        r"=\log(4\cosh\tfrac t4)-\tfrac t4",
        "A-3",
        "t > 0",
        _mirror_left,
        _mirror_right,
        _mirror_wrong,
        "exp(-t/2) instead of exp(-t/4)",
    ),
)
