"""Squared error with a free bias (7.4), and the blocks of W and of H alone (7.7).

As in ``symbolic_blocks``, a left side is the objective differentiated twice along the directions;
traces over all coordinates hold the multiplicities.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from proofs_check.claims.symbolic_blocks import SIMPLEX, numbers_at, simplex_at
from proofs_check.computer_algebra import sympy
from proofs_check.identities import identity, positive
from proofs_check.second_derivative import (
    Direction,
    both_moves,
    features_move,
    second_derivative,
    smoothed,
    trace_and_determinant,
    unit,
    weights_move,
)

# ---- 7.4: squared error with a bias that costs nothing


def _squared(goal: Any, bias: Any) -> Callable[..., Any]:
    """|z + bias - goal e_k|^2 / 2, as ``second_derivative`` takes a loss."""

    def loss(z: list[Any], s: list[Any], t: list[Any], both: list[Any], k: int) -> Any:
        off = [z[j] + bias - (goal if j == k else 0) for j in range(len(z))]
        return sum(off[j] * both[j] + s[j] * t[j] for j in range(len(z)))

    return loss


def _biased_point(K: int) -> tuple[Any, ...]:
    """W, H, decays and loss at w P, h P with b = M/K: M = w h + c, sigma = c/K."""
    a, r, sigma = positive("a r sigma")
    goal = a**2 + K * sigma
    P = sympy.eye(K) - sympy.ones(K, K) / K
    return P * a / r, P * a * r, (sigma * r**2, sigma / r**2, 0), _squared(goal, goal / K)


def _biased_block(K: int, basis: Sequence[Direction]) -> Any:
    W, H, decays, loss = _biased_point(K)
    sizes = [sum((part.T * part).trace() for part in move) for move in basis]

    def entry(i: int, j: int) -> Any:
        told = second_derivative((W, H), decays, basis[i], basis[j], loss)
        return sympy.cancel(told) / sympy.sqrt(sizes[i] * sizes[j])

    return sympy.Matrix(len(basis), len(basis), entry)


def _upper(matrix: Any) -> tuple[Any, ...]:
    size = matrix.shape[0]
    return tuple(matrix[i, j] for i in range(size) for j in range(i, size))


def _biased_left() -> Any:
    """Symmetric and skew directions, shifts with the bias, outside, and within a class."""
    K = 4
    u, v, one, zero = unit(K, 0, 1), unit(K, 2, 3), sympy.ones(K, 1), sympy.zeros(K, K)
    P = sympy.eye(K) - one * one.T / K
    skew = sympy.zeros(K, K)
    for i, j in ((0, 1), (1, 2), (2, 0)):
        skew[i, j], skew[j, i] = 1, -1
    told: tuple[Any, ...] = ()
    for X in (P, u * v.T + v * u.T, P * sympy.diag(*u) * P, skew):
        told += trace_and_determinant(_biased_block(K, both_moves(K, X)))
    shifts = features_move(K, u * one.T), (zero, zero, u), weights_move(K, one * u.T)
    told += _upper(_biased_block(K, shifts))
    told += trace_and_determinant(
        _biased_block(K, (weights_move(K, u * one.T), features_move(K, one * u.T)))
    )
    ones = weights_move(K, one * one.T), features_move(K, one * one.T), (zero, zero, one)
    told += _upper(_biased_block(K, ones))
    # Two samples of a class move apart along s: |W s|^2 / N and the decay, n = m^2 a class.
    m = positive("m")
    W, _, (_, decay, _), _ = _biased_point(K)
    for s in (P[:, 0], u, one):
        told += (((W * s).T * (W * s))[0] * m / (m**2 * K) / (s.T * s)[0] + decay / m,)
    return told


def _biased_right(a: Any, r: Any, sigma: Any, m: Any) -> Any:
    lw, lh, theta = sigma * r**2, sigma / r**2, a**2 / (4 * sigma)
    pair = (lw + lh) * (1 + theta), 4 * theta * lw * lh
    shifts = lh * (1 + theta), sympy.sqrt(lh * theta), 0, 1, 0, lw * (1 + theta)
    outside = lw + lh, 0, lw, 0, 0, lh, 0, 1
    within = lh * (1 + theta) / m, lh * (1 + theta) / m, lh / m
    return *pair * 3, pair[0], 0, *shifts, *outside, *within


def _biased_wrong(a: Any, r: Any, sigma: Any, m: Any) -> Any:
    told = list(_biased_right(a, r, sigma, m))
    told[9] *= 101
    told[9] /= 100
    return tuple(told)


# ---- 7.7: one factor at a time


def _alone(K: int, moves: Sequence[Direction]) -> tuple[Any, ...]:
    """Second derivatives of label smoothing at the simplex, each along one direction."""
    W, H, decays = simplex_at(K)
    return tuple(
        sympy.cancel(
            sympy.together(second_derivative((W, H), decays, move, move, smoothed(K)))
            / sum((part.T * part).trace() for part in move)
        )
        for move in moves
    )


def _coordinates(K: int) -> list[Any]:
    return [sympy.Matrix(K, K, lambda i, j, at=at: int(K * i + j == at)) for at in range(K * K)]


def _weights_left() -> Any:
    """Norms, unequal norms, angles, skew, shifts; and the trace for three and four classes."""
    K = 4
    u, v, one = unit(K, 0, 1), unit(K, 2, 3), sympy.ones(K, 1)
    P = sympy.eye(K) - one * one.T / K
    skew = sympy.zeros(K, K)
    for i, j in ((0, 1), (1, 2), (2, 0)):
        skew[i, j], skew[j, i] = 1, -1
    moves = P, P * sympy.diag(*u) * P, u * v.T + v * u.T, skew, one * u.T, u * one.T
    told = _alone(K, [weights_move(K, X) for X in moves])
    for classes in (3, K):
        told += (sum(_alone(classes, [weights_move(classes, X) for X in _coordinates(classes)])),)
    return told


def _weights_right(a: Any, r: Any, E: Any, delta: Any) -> Any:
    lw, _, theta, R, q = numbers_at(a, r, E, delta, 4)
    across = lw * (1 + theta)
    told = lw * (1 + R * theta), lw * (1 + (1 + 2 * q) * theta), across, across, lw, lw
    return *told, *(_weights_trace(a, r, E, delta, K, K * K - 3 * K + 1) for K in (3, 4))


def _weights_trace(a: Any, r: Any, E: Any, delta: Any, K: int, across: int) -> Any:
    """What the multiplicities of the table add up to with d = K."""
    lw, _, theta, R, q = numbers_at(a, r, E, delta, K)
    unequal = (K - 1) * (1 + q * (K - 2))
    return lw * (K * K + theta * (across + R + unequal))


def _weights_wrong(a: Any, r: Any, E: Any, delta: Any) -> Any:
    *told, _ = _weights_right(a, r, E, delta)
    return *told, _weights_trace(a, r, E, delta, 4, 6)


def _features_left() -> Any:
    """The feature of one class along its code, across it, and outside; and the trace."""
    K = 4
    corner = sympy.Matrix([1, 0, 0, 0])
    one = sympy.ones(K, 1)
    along = corner - one / K
    told = _alone(K, [features_move(K, s * corner.T) for s in (along, unit(K, 1, 2), one)])
    total = sum(_alone(3, [features_move(3, Y) for Y in _coordinates(3)]))
    return *told, total


def _features_right(a: Any, r: Any, E: Any, delta: Any) -> Any:
    _, lh, theta, R, _ = numbers_at(a, r, E, delta, 4)
    _, decay, angle, ratio, _ = numbers_at(a, r, E, delta, 3)
    total = decay * (9 + 3 * angle * (1 + ratio))  # K (K - 2), K and K of them with n = 1
    return lh * (1 + R * theta), lh * (1 + theta), lh, total


def _features_wrong(a: Any, r: Any, E: Any, delta: Any) -> Any:
    along, across, outside, total = _features_right(a, r, E, delta)
    return across, along, outside, total


def _frames_left() -> Any:
    """Squared error at the orthogonal frame: W alone and H alone, all coordinates (K = 3)."""
    K = 3
    a, r, sigma = positive("a r sigma")
    base = sympy.eye(K) * a / r, sympy.eye(K) * a * r
    decays, loss = (sigma * r**2, sigma / r**2, 0), _squared(a**2 + K * sigma, 0)
    told: tuple[Any, ...] = ()
    for moved in (weights_move, features_move):
        basis = [moved(K, X) for X in _coordinates(K)]
        told += tuple(
            second_derivative(base, decays, one, other, loss) for one in basis for other in basis
        )
    return told


def _frames(scale: Any, r: Any, sigma: Any) -> Any:
    told: tuple[Any, ...] = ()
    for decay in (sigma * r**2, sigma / r**2):
        told += tuple(decay * scale * int(i == j) for i in range(9) for j in range(9))
    return told


def _frames_right(a: Any, r: Any, sigma: Any) -> Any:
    return _frames((a**2 + 3 * sigma) / (3 * sigma), r, sigma)


def _frames_wrong(a: Any, r: Any, sigma: Any) -> Any:
    return _frames((a**2 + 3 * sigma) / (2 * sigma), r, sigma)


CLAIMS = (
    identity(
        "block-squared-error-bias",
        "Blocks of squared error with a free bias",
        "At w P, h P with b = 1/K (K = 4, any n) symmetric directions, rotations, shifts with the "
        "bias, what lies outside and what moves within a class have the eigenvalues of 7.4.",
        r"\mathrm{pair}(1),\ \{0,(\lambda_W+\lambda_H)(1+\theta)\},\ \lambda_W(1+\theta),\ "
        r"\begin{pmatrix}\lambda_H(1+\theta)&\sqrt{\lambda_H\theta}\cr"
        r"\sqrt{\lambda_H\theta}&1\end{pmatrix}",
        "7.4",
        "a^2 = w h, sigma, lambda_W, lambda_H > 0, n = m^2 > 0",
        _biased_left,
        _biased_right,
        _biased_wrong,
        "the coupling with the bias larger by one per cent",
    ),
    identity(
        "block-weights-alone",
        "The block of the classifier alone",
        "At the simplex the second derivative in W alone has the eigenvalues of 7.7 (K = 4), and "
        "its trace has their multiplicities (K = 3 and 4, d = K).",
        r"\lambda_W(1+R\theta),\ \lambda_W(1+(1+\hat q(K-2))\theta),\ \lambda_W(1+\theta),\ "
        r"\lambda_W",
        "7.7",
        SIMPLEX,
        _weights_left,
        _weights_right,
        _weights_wrong,
        "one more eigenvalue lambda_W (1 + theta)",
    ),
    identity(
        "block-features-alone",
        "The block of the features alone",
        "At the simplex the second derivative in H alone has the eigenvalues of 7.7 (K = 4), and "
        "its trace has their multiplicities (K = 3).",
        r"\lambda_H(1+R\theta),\ \lambda_H(1+\theta),\ \lambda_H",
        "7.7",
        SIMPLEX,
        _features_left,
        _features_right,
        _features_wrong,
        "along the own direction and across exchanged",
    ),
    identity(
        "block-factors-alone-squared-error",
        "The blocks of squared error, one factor at a time",
        "At the orthogonal frame (K = 3) the second derivative in W alone is lambda_W/c times the "
        "identity, and in H alone lambda_H/c times it (targets of size M: M/c).",
        r"\tfrac{\lambda_W}c I,\quad\tfrac{\lambda_H}c I",
        "7.7",
        "a^2 = w h, sigma = c/3, lambda_W, lambda_H > 0",
        _frames_left,
        _frames_right,
        _frames_wrong,
        "2 sigma for c = 3 sigma",
    ),
)
