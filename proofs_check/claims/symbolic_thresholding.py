"""Soft and firm thresholds: squared error with the decay of two factors or an equilibrium layer."""

from __future__ import annotations

from typing import Any

from proofs_check.computer_algebra import sympy
from proofs_check.identities import identity, positive


def _soft_left() -> Any:
    """One singular value: (s - t)^2/(2 N) and the least decay of two factors w h = s."""
    lw, lh, N, s, t, w = positive("lw lh N s t w")
    decay = lw * w**2 / 2 + lh * (s / w) ** 2 / 2
    (best,) = sympy.solve(sympy.diff(decay, w), w)
    least = sympy.simplify(decay.subs(w, best))
    (kept,) = sympy.solve(sympy.diff((s - t) ** 2 / (2 * N) + sympy.sqrt(lw * lh) * s, s), s)
    return least, kept


def _soft_right(lw: Any, lh: Any, N: Any, s: Any, t: Any) -> Any:
    sigma = sympy.sqrt(lw * lh)
    return sigma * s, t - N * sigma


def _soft_wrong(lw: Any, lh: Any, N: Any, s: Any, t: Any) -> Any:
    sigma = sympy.sqrt(lw * lh)
    return sigma * s, t - sigma


def _concave_left() -> Any:
    """inf over s of lambda_W z^2/(2 s) + lambda_X lambda_V s/(2 (lambda_X s + lambda_V))."""
    z, s, lw, lx, lv = positive("z s lambda_W lambda_X lambda_V")
    # With lambda_X s = x lambda_V: a quotient of squares, with one positive root.
    x, sigma = positive("x sigma")
    value = lw * z**2 / (2 * s) + lx * lv * s / (2 * (lx * s + lv))
    value = value.subs(s, x * lv / lx).subs(lw, sigma**2 / lx)
    slope = sympy.factor(sympy.diff(value, x))
    # x/(1 + x) = sigma z/lambda_V is where it vanishes.
    root = sigma * z / (lv - sigma * z)
    return sympy.cancel(slope.subs(x, root)), sympy.cancel(value.subs(x, root))


def _concave_right(z: Any, sigma: Any, lambda_V: Any) -> Any:
    return 0, sigma * z - sigma**2 * z**2 / (2 * lambda_V)


def _concave_wrong(z: Any, sigma: Any, lambda_V: Any) -> Any:
    return 0, sigma * z - sigma**2 * z**2 / lambda_V


def _firm_left() -> Any:
    """Firm thresholding: the stationary value of (s - t)^2/(2 N) and the concave penalty."""
    N, t, sigma, lv = positive("N t sigma lambda_V")
    s = sympy.Symbol("s", real=True)
    value = (s - t) ** 2 / (2 * N) + sigma * s - sigma**2 * s**2 / (2 * lv)
    (root,) = sympy.solve(sympy.diff(value, s), s)
    return sympy.factor(root)


def _firm_right(N: Any, t: Any, sigma: Any, lambda_V: Any) -> Any:
    return (t - N * sigma) / (1 - N * sigma**2 / lambda_V)


def _firm_wrong(N: Any, t: Any, sigma: Any, lambda_V: Any) -> Any:
    return (t - N * sigma) / (1 - N * sigma / lambda_V)


CLAIMS = (
    identity(
        "soft-threshold",
        "Two factors are a nuclear norm, and squared error a soft threshold",
        "The least decay of w h = s is sigma s, and (s - t)^2/(2 N) + sigma s is stationary at "
        "s = t - N sigma.",
        r"\min_{wh=s}\tfrac{\lambda_W}2w^2+\tfrac{\lambda_H}2h^2=\sigma s,\quad s=t-N\sigma",
        "MSE-1",
        "lambda_W, lambda_H, N, s, t > 0",
        _soft_left,
        _soft_right,
        _soft_wrong,
        "sigma for N sigma",
    ),
    identity(
        "minimax-concave-penalty",
        "The penalty of a linear equilibrium layer",
        "For sigma z < lambda_V the least decay over all s is sigma z - sigma^2 z^2/(2 lambda_V).",
        r"\inf_s\frac{\lambda_Wz^2}{2s}+\frac{\lambda_X\lambda_Vs}{2(\lambda_Xs+\lambda_V)}"
        r"=\sigma z-\frac{\sigma^2z^2}{2\lambda_V}",
        "DQ-1",
        "z, lambda_W, lambda_X, lambda_V > 0, sigma^2 = lambda_W lambda_X",
        _concave_left,
        _concave_right,
        _concave_wrong,
        "lambda_V for 2 lambda_V",
    ),
    identity(
        "firm-threshold",
        "Squared error behind an equilibrium layer is a firm threshold",
        "Under the concave penalty the stationary singular value is "
        "(t - N sigma)/(1 - N sigma^2/lambda_V).",
        r"s=\frac{t-N\sigma}{1-N\sigma^2/\lambda_V}",
        "DQ-2",
        "N, t, sigma, lambda_V > 0",
        _firm_left,
        _firm_right,
        _firm_wrong,
        "sigma for sigma^2",
    ),
)
