"""Blocks of the Hessian at frames of squared error, at the origin and at merged classes.

As in ``symbolic_blocks``, a left side is the objective differentiated twice along the directions.
"""

from __future__ import annotations

from typing import Any

from proofs_check.claims.symbolic_blocks import SIMPLEX
from proofs_check.computer_algebra import sympy
from proofs_check.identities import identity, positive
from proofs_check.second_derivative import (
    both_moves,
    features_move,
    of_the_rest,
    second_derivative,
    smoothed,
    trace_and_determinant,
    unit,
    weights_move,
)

# ---- squared error


def _squared_left() -> Any:
    """Rescaled squared error at W = w I, H = h I, K = 3, M = w h + c/kappa."""
    K = 3
    a, r, sigma, kappa = positive("a r sigma kappa")
    goal = a**2 + K * sigma / kappa

    def loss(z: list[Any], s: list[Any], t: list[Any], both: list[Any], k: int) -> Any:
        weights = [kappa if j == k else 1 for j in range(K)]
        slopes = [z[j] - (goal if j == k else 0) for j in range(K)]
        return sum(weights[j] * (slopes[j] * both[j] + s[j] * t[j]) for j in range(K))

    base = sympy.eye(K) * a / r, sympy.eye(K) * a * r
    decays = sigma * r**2, sigma / r**2, 0
    told: tuple[Any, ...] = ()
    edge = sympy.zeros(K, K)
    edge[0, 1] = 1
    corner = sympy.diag(1, 0, 0)
    for X in (edge - edge.T, edge + edge.T, corner):
        basis, size = both_moves(K, X), (X.T * X).trace()
        rows = [[second_derivative(base, decays, x, y, loss) / size for y in basis] for x in basis]
        told += trace_and_determinant(sympy.Matrix(rows))
    return told


def _squared_right(a: Any, r: Any, sigma: Any, kappa: Any) -> Any:
    lw, lh, c = sigma * r**2, sigma / r**2, 3 * sigma
    theta = (a**2 + c / kappa) / c - 1 / kappa
    pairs = [((lw + lh) * (1 + g * theta), 4 * g * theta * lw * lh) for g in (1, kappa)]
    return (lw + lh) * (1 + theta), 0, *pairs[0], *pairs[1]


def _squared_wrong(a: Any, r: Any, sigma: Any, kappa: Any) -> Any:
    *first, _, _ = _squared_right(a, r, sigma, kappa)
    return (*first, *first[2:])


# ---- the origin, and merged classes


def _origin_left() -> Any:
    """Couplings of u a^T and a u^T at W = H = 0 for smoothed, focal and squared losses."""
    K = 4
    gamma = positive("gamma")

    def squared(z: list[Any], s: list[Any], t: list[Any], both: list[Any], k: int) -> Any:
        return sum((z[j] - int(j == k)) * both[j] + s[j] * t[j] for j in range(K))

    focal = of_the_rest(lambda rest: (rest / (1 + rest)) ** gamma * sympy.log(1 + rest))
    u = unit(K, 0, 1)
    a = sympy.Matrix([1] + [0] * (K - 1))
    zero = sympy.zeros(K, K)
    moves = weights_move(K, u * a.T), features_move(K, a * u.T)
    losses = (smoothed(K), focal, squared)
    return tuple(second_derivative((zero, zero), (0, 0, 0), *moves, loss) / 2 for loss in losses)


def _origin_right(delta: Any, gamma: Any) -> Any:
    K = 4
    share = 1 / sympy.sympify(K)
    focal = (1 - share) ** gamma + gamma * (1 - share) ** (gamma - 1) * sympy.log(K) * share
    return -(1 - delta) * share, -focal * share, -share


def _origin_wrong(delta: Any, gamma: Any) -> Any:
    K = sympy.Integer(4)
    smoothed, _, squared = _origin_right(delta, gamma)
    return smoothed, -((1 - 1 / K) ** gamma) / K, squared


def _merged_left() -> Any:
    """K = 6 in three pairs: differences inside a pair, along its code vector and across."""
    K, G = 6, 3
    a, r, E, delta = positive("a r E delta")
    code = sympy.eye(G) - sympy.ones(G, G) / G
    Q = sympy.Matrix([list(code[i // 2, :]) for i in range(K)])
    sigma = (G / (E + G - 1) - delta) / K
    decays = sigma * r**2, sigma / r**2, 0
    x, none = unit(K, 0, 1), sympy.zeros(K, 1)
    told: tuple[Any, ...] = ()
    for v in (code[:, 0], unit(G, 1, 2)):
        basis = (x * v.T, sympy.zeros(G, K), none), (sympy.zeros(K, G), v * x.T, none)
        size = (x.T * x)[0] * (v.T * v)[0]
        for i, j in ((0, 0), (0, 1), (1, 1)):
            base = Q * a / r, Q.T * a * r
            told += (second_derivative(base, decays, basis[i], basis[j], smoothed(K)) / size,)
    return told


def _merged_right(a: Any, r: Any, E: Any, delta: Any) -> Any:
    K, G = 6, 3
    own, other = E / (E + G - 1), 1 / (E + G - 1)
    sigma = (G * other - delta) / K
    lw, lh, w2, h2 = sigma * r**2, sigma / r**2, a**2 / r**2, a**2 * r**2
    X, pull = other + (own - other) * (G - 1) / G, -(1 - delta) / K
    along = lw + h2 * X / K, pull, lh + w2 * G * own * other / K
    return *along, lw + h2 * other / K, pull, lh + w2 * other / K


def _merged_wrong(a: Any, r: Any, E: Any, delta: Any) -> Any:
    *first, _, pull, last = _merged_right(a, r, E, delta)
    return *first, first[0], pull, last


CLAIMS = (
    identity(
        "block-squared-error",
        "Blocks of (rescaled) squared error",
        "At the orthogonal frame (K = 3) skew, symmetric and diagonal directions have the "
        "eigenvalues of 7.5, which with kappa = 1 are those of 7.3.",
        r"\{0,(\lambda_W+\lambda_H)(1+\theta)\},\ \mathrm{pair}(1),\ \mathrm{pair}(\kappa),\quad"
        r"\theta=\tfrac Mc-\tfrac1\kappa",
        "7.3, 7.5",
        "a^2 = w h, sigma, kappa, lambda_W, lambda_H > 0",
        _squared_left,
        _squared_right,
        _squared_wrong,
        "pair(1) on the diagonal directions, too",
    ),
    identity(
        "origin-couplings",
        "Couplings at the origin",
        "At W = H = 0 (K = 4) the mixed second derivative along u a^T and a u^T is -g_0 for label "
        "smoothing, focal loss and squared error.",
        r"-\tfrac{1-\delta}K,\quad-\tfrac1K\bigl[(1-\tfrac1K)^\gamma+\gamma(1-\tfrac1K)^{\gamma-1}"
        r"\tfrac{\log K}K\bigr],\quad-\tfrac1K",
        "CE-5",
        "delta, gamma > 0",
        _origin_left,
        _origin_right,
        _origin_wrong,
        "focal loss without its second term",
    ),
    identity(
        "block-merged-classes",
        "Blocks of merged classes",
        "At six classes merged in three pairs the second derivative on differences inside a pair "
        "has the entries of CE-6, along its code vector and across.",
        r"\begin{pmatrix}\lambda_W+\tfrac{h_2X}N&-g_0\cr-g_0&"
        r"\lambda_H+\tfrac{w_2\Gamma P_gP'_g}N\end{pmatrix}",
        "CE-6",
        SIMPLEX,
        _merged_left,
        _merged_right,
        _merged_wrong,
        "the first entry of one block in the other",
    ),
)
