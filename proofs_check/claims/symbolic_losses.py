"""Derivatives of the losses, and the scales at which penalised losses are stationary."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from proofs_check.computer_algebra import sympy
from proofs_check.identities import identity, positive

# ---- gradients and logit Hessians: three classes, logits of class 1 relative to nothing


def _derivatives(loss: Callable[[Any], Any]) -> tuple[Any, ...]:
    """Gradient and upper triangle of the Hessian, with e^z_j = x_j."""
    z = sympy.symbols("z1:4", real=True)
    powers = {sympy.exp(z[j]): x for j, x in enumerate(positive("x y w"))}
    value = loss(z)
    first = [sympy.diff(value, one) for one in z]
    second = [sympy.diff(first[i], z[j]) for i in range(3) for j in range(i, 3)]
    return tuple(sympy.together(entry.subs(powers)) for entry in (*first, *second))


def _softmax(x: Any, y: Any, w: Any) -> tuple[Any, ...]:
    total = x + y + w
    return x / total, y / total, w / total


def _triangle(matrix: Any) -> tuple[Any, ...]:
    return tuple(matrix[i, j] for i in range(3) for j in range(i, 3))


def _covariance(p: tuple[Any, ...]) -> Any:
    column = sympy.Matrix(p)
    return sympy.diag(*p) - column * column.T


def _smoothed_left() -> Any:
    delta = positive("delta")

    def loss(z: Any) -> Any:
        own = sympy.log(sum(sympy.exp(one) for one in z)) - z[0]
        return own + delta * (z[0] - sum(z) / 3)

    return _derivatives(loss)


def _smoothed_right(x: Any, y: Any, w: Any, delta: Any) -> Any:
    p = _softmax(x, y, w)
    target = (1 - delta + delta / 3, delta / 3, delta / 3)
    return (*(q - t for q, t in zip(p, target, strict=True)), *_triangle(_covariance(p)))


def _smoothed_wrong(x: Any, y: Any, w: Any, delta: Any) -> Any:
    p = _softmax(x, y, w)
    target = (1 - delta, delta / 2, delta / 2)
    return (*(q - t for q, t in zip(p, target, strict=True)), *_triangle(_covariance(p)))


def _own_left() -> Any:
    """Derivatives of phi(u(z)) by the chain rule, f and g the first two of phi at u."""
    z = sympy.symbols("z1:4", real=True)
    f, g = positive("f g")
    powers = {sympy.exp(z[j]): x for j, x in enumerate(positive("x y w"))}
    u = sympy.exp(z[0]) / sum(sympy.exp(one) for one in z)
    first = [sympy.diff(u, one) for one in z]
    entries = [f * slope for slope in first]
    for i in range(3):
        entries += [g * first[i] * first[j] + f * sympy.diff(first[i], z[j]) for j in range(i, 3)]
    return tuple(sympy.together(entry.subs(powers)) for entry in entries)


def _own_form(p: tuple[Any, ...], f: Any, g: Any, sign: int) -> tuple[Any, ...]:
    u = p[0]
    away = sympy.Matrix([1 - p[0], -p[1], -p[2]])
    hessian = (g * u**2 + f * u) * away * away.T + sign * f * u * _covariance(p)
    return (*(f * u * away), *_triangle(hessian))


def _own_right(x: Any, y: Any, w: Any, f: Any, g: Any) -> Any:
    return _own_form(_softmax(x, y, w), f, g, -1)


def _own_wrong(x: Any, y: Any, w: Any, f: Any, g: Any) -> Any:
    return _own_form(_softmax(x, y, w), f, g, 1)


def _squared_left() -> Any:
    kappa, M, x, y, w = positive("kappa M x y w")
    z = (x, y, w)
    value = (kappa * (x - M) ** 2 + y**2 + w**2) / 2
    first = [sympy.diff(value, one) for one in z]
    return (*first, *(sympy.diff(first[i], z[j]) for i in range(3) for j in range(i, 3)))


def _squared_right(kappa: Any, M: Any, x: Any, y: Any, w: Any) -> Any:
    return kappa * (x - M), y, w, kappa, 0, 0, 1, 0, 1


def _squared_wrong(kappa: Any, M: Any, x: Any, y: Any, w: Any) -> Any:
    return kappa * (x - M), y, w, kappa**2, 0, 0, 1, 0, 1


def _one_vs_rest_left() -> Any:
    return _derivatives(
        lambda z: sympy.log(1 + sympy.exp(-z[0])) + sum(sympy.log(1 + sympy.exp(x)) for x in z[1:])
    )


def _one_vs_rest_right(x: Any, y: Any, w: Any) -> Any:
    p = [t / (1 + t) for t in (x, y, w)]
    spread = [t * (1 - t) for t in p]
    return p[0] - 1, p[1], p[2], spread[0], 0, 0, spread[1], 0, spread[2]


def _one_vs_rest_wrong(x: Any, y: Any, w: Any) -> Any:
    p = [t / (1 + t) for t in (x, y, w)]
    return p[0] - 1, p[1], p[2], p[0] ** 2, 0, 0, p[1] * (1 - p[1]), 0, p[2] * (1 - p[2])


# ---- scales


def _focal_scale_left() -> Any:
    """-psi'(a) over (1 - u)^gamma: rest = (K - 1) e^-a, so that d/da = -rest d/d(rest)."""
    gamma, rest = positive("gamma rest")
    factor = (rest / (1 + rest)) ** gamma
    slope = rest * sympy.diff(factor * sympy.log(1 + rest), rest) / factor
    return sympy.expand(sympy.simplify(slope))


def _focal_scale_right(gamma: Any, rest: Any) -> Any:
    u = 1 / (1 + rest)
    return (1 - u) + gamma * u * sympy.log(1 + rest)


def _focal_scale_wrong(gamma: Any, rest: Any) -> Any:
    u = 1 / (1 + rest)
    return (1 - u) + gamma * (1 - u) * sympy.log(1 + rest)


def _mse_left() -> Any:
    """Stationary (a, s, beta) of squared error with a regularised bias: MSE-2 by solving."""
    K, c, free = positive("K c lambda_b")
    a, s, beta = sympy.symbols("a s beta", real=True)
    # Own logit a (1 - 1/K) + t, the others -a/K + t, t = s/K + beta.
    t = s / K + beta
    loss = ((a * (1 - 1 / K) + t - 1) ** 2 + (K - 1) * (t - a / K) ** 2) / 2
    value = loss + c / K * ((K - 1) * a + s) + free * K * beta**2 / 2
    both = sympy.solve([sympy.diff(value, x) for x in (a, s, beta)], (a, s, beta), dict=True)[0]
    flat = value.subs(s, 0)
    single = sympy.solve([sympy.diff(flat, x) for x in (a, beta)], (a, beta), dict=True)[0]
    return both[a], both[s], both[beta], single[a], single[beta]


def _mse_right(K: Any, c: Any, lambda_b: Any) -> Any:
    return 1 - c, 1 - c - c / lambda_b, c / (lambda_b * K), 1 - c, 1 / (K * (1 + lambda_b))


def _mse_wrong(K: Any, c: Any, lambda_b: Any) -> Any:
    return 1 - c, 1 - c - c * lambda_b, c / (lambda_b * K), 1 - c, 1 / (K * (1 + lambda_b))


def _rescaled_left() -> Any:
    """Stationary scale and bias of rescaled squared error with a free bias; and of the frame."""
    K, c, kappa, M = positive("K c kappa M")
    a, b, z = sympy.symbols("a b z", real=True)
    own, other = a * (1 - 1 / K) + b, b - a / K
    value = (kappa * (own - M) ** 2 + (K - 1) * other**2) / 2 + c * (K - 1) / K * a
    told = sympy.solve([sympy.diff(value, x) for x in (a, b)], (a, b), dict=True)[0]
    (frame,) = sympy.solve(sympy.diff(kappa * (z - M) ** 2 / 2 + c * z, z), z)
    return told[a], told[b] - told[a] / K, frame


def _rescaled_right(K: Any, c: Any, kappa: Any, M: Any) -> Any:
    return M - c / K * (1 + (K - 1) / kappa), c / K, M - c / kappa


def _rescaled_wrong(K: Any, c: Any, kappa: Any, M: Any) -> Any:
    return M - c / K * (1 + K / kappa), c / K, M - c / kappa


THREE = "logits of three classes, x_j = e^z_j"
CLAIMS = (
    identity(
        "smoothing-derivatives",
        "Gradient and logit Hessian of cross entropy and label smoothing",
        "The gradient is softmax minus target, and the Hessian diag p - p p^T, whatever delta.",
        r"\nabla L=p-\tau,\quad\nabla^2L=\mathrm{diag}\,p-pp^\top",
        "LS-1",
        THREE + ", delta > 0",
        _smoothed_left,
        _smoothed_right,
        _smoothed_wrong,
        "delta/(K - 1) for the others",
    ),
    identity(
        "focal-derivatives",
        "Gradient and logit Hessian of a loss of the own probability",
        "For a loss phi(u), such as focal loss, the gradient is phi' u (e - p) and the Hessian "
        "(phi'' u^2 + phi' u)(e - p)(e - p)^T - phi' u (diag p - p p^T).",
        r"\nabla^2L=(\varphi''u^2+\varphi'u)(e-p)(e-p)^\top-\varphi'u\,(\mathrm{diag}\,p-pp^\top)",
        "FL-2",
        THREE + ", f = phi'(u), g = phi''(u)",
        _own_left,
        _own_right,
        _own_wrong,
        "plus instead of minus before the covariance",
    ),
    identity(
        "squared-derivatives",
        "Gradient and logit Hessian of (rescaled) squared error",
        "The gradient is kappa (z_k - M) and z_j, the Hessian diag(kappa, 1, ..., 1).",
        r"\nabla L=(\kappa(z_k-M),z_j),\quad\nabla^2L=\mathrm{diag}(\kappa,1,\ldots,1)",
        "MSE-4",
        "three logits, kappa, M",
        _squared_left,
        _squared_right,
        _squared_wrong,
        "kappa^2 for kappa",
    ),
    identity(
        "one-vs-rest-derivatives",
        "Gradient and logit Hessian of one-vs-rest",
        "With p_j the logistic function of z_j the gradient is p - e_k and the Hessian "
        "diag p_j (1 - p_j).",
        r"\nabla L=p-e_k,\quad\nabla^2L=\mathrm{diag}\,p_j(1-p_j)",
        "BCE-1",
        THREE,
        _one_vs_rest_left,
        _one_vs_rest_right,
        _one_vs_rest_wrong,
        "p^2 for p (1 - p)",
    ),
    identity(
        "focal-scale",
        "Scale equation of focal loss",
        "Minus the slope of psi is (1 - u)^gamma ((1 - u) - gamma u log u), u the own probability.",
        r"-\psi'(a)=(1-u)^\gamma\bigl[(1-u)-\gamma u\log u\bigr]",
        "FL-1",
        "K, gamma > 0, rest = (K - 1) e^-a > 0, u = 1/(1 + rest)",
        _focal_scale_left,
        _focal_scale_right,
        _focal_scale_wrong,
        "gamma (1 - u) log u",
    ),
    identity(
        "squared-scale",
        "Scale equations of squared error with a bias",
        "The penalised loss is stationary at a = 1 - c, s = 1 - c - c/lambda_b, b = c/(lambda_b K) "
        "where s is free, and at b = 1/(K (1 + lambda_b)) where s = 0.",
        r"a=1-c,\quad s=1-c-\tfrac c{\lambda_b},\quad\beta=\tfrac c{\lambda_bK}\ \text{or}\ "
        r"\tfrac1{K(1+\lambda_b)}",
        "MSE-2, S-2",
        "K, c, lambda_b > 0",
        _mse_left,
        _mse_right,
        _mse_wrong,
        "c lambda_b for c/lambda_b",
    ),
    identity(
        "rescaled-scale",
        "Scale equations of rescaled squared error",
        "With a free bias a = M - (c/K)(1 + (K - 1)/kappa) and b = (a + c)/K, without one "
        "z_k = M - c/kappa.",
        r"a=M-\tfrac cK\bigl(1+\tfrac{K-1}\kappa\bigr),\quad b=\tfrac{a+c}K",
        "MSE-4",
        "K, c, kappa, M > 0",
        _rescaled_left,
        _rescaled_right,
        _rescaled_wrong,
        "K/kappa for (K - 1)/kappa",
        uses=("identity-squared-derivatives",),
    ),
)
