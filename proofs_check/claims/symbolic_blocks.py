"""The blocks of the Hessian tables: the objective differentiated twice along each basis.

Nothing of the tables enters a left side: it is the mixed second derivative, at the point, of the
objective itself along the representatives of section 7.0. One sample per class unless said.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import cache
from typing import Any

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


@cache
def simplex_at(K: int) -> tuple[Any, ...]:
    """W, H and decays at the simplex of label smoothing: e^alpha = E, alpha = a^2.

    sigma = p' - delta/K, lambda_W = sigma r^2, lambda_H = sigma/r^2, w = a/r, h = a r.
    """
    a, r, E, delta, free = positive("a r E delta lambda_b")
    P = sympy.eye(K) - sympy.ones(K, K) / K
    sigma = 1 / (E + K - 1) - delta / K
    return P * a / r, P * a * r, (sigma * r**2, sigma / r**2, free)


def _block(K: int, basis: Sequence[Direction]) -> Any:
    """The matrix of the second derivative on a basis that is normalised here."""
    W, H, decays = simplex_at(K)
    sizes = [sum((part.T * part).trace() for part in move) for move in basis]
    found = sympy.zeros(len(basis), len(basis))
    for i in range(len(basis)):
        for j in range(i, len(basis)):
            entry = second_derivative((W, H), decays, basis[i], basis[j], smoothed(K))
            scale = sympy.sqrt(sizes[i] * sizes[j])
            found[i, j] = found[j, i] = sympy.cancel(sympy.together(entry)) / scale
    return found


def numbers_at(a: Any, r: Any, E: Any, delta: Any, K: int) -> tuple[Any, ...]:
    """lambda_W, lambda_H, theta, R and q of the tables."""
    other = 1 / (E + K - 1)
    sigma = other - delta / K
    R = K * E * other
    return sigma * r**2, sigma / r**2, a**2 * other / (K * sigma), R, (R - 1) / (K - 1)


# ---- trivial, angles, rotations


def _norms_left() -> Any:
    K = 4
    P = sympy.eye(K) - sympy.ones(K, K) / K
    return trace_and_determinant(_block(K, both_moves(K, P)))


def _norms_right(a: Any, r: Any, E: Any, delta: Any) -> Any:
    lw, lh, theta, R, _ = numbers_at(a, r, E, delta, 4)
    return (lw + lh) * (1 + R * theta), 4 * R * theta * lw * lh


def _norms_wrong(a: Any, r: Any, E: Any, delta: Any) -> Any:
    lw, lh, theta, _, _ = numbers_at(a, r, E, delta, 4)
    return (lw + lh) * (1 + theta), 4 * theta * lw * lh


def _angles_left() -> Any:

    K = 4
    one, other = unit(K, 0, 1), unit(K, 2, 3)
    return trace_and_determinant(_block(K, both_moves(K, one * other.T + other * one.T)))


def _angles_right(a: Any, r: Any, E: Any, delta: Any) -> Any:
    lw, lh, theta, _, _ = numbers_at(a, r, E, delta, 4)
    return (lw + lh) * (1 + theta), 4 * theta * lw * lh


def _angles_wrong(a: Any, r: Any, E: Any, delta: Any) -> Any:
    lw, lh, theta, _, _ = numbers_at(a, r, E, delta, 4)
    return (lw + lh) * (1 + theta), 2 * theta * lw * lh


def _rotation_left() -> Any:
    K = 4
    skew = sympy.zeros(K, K)
    for i, j in ((0, 1), (1, 2), (2, 0)):
        skew[i, j], skew[j, i] = 1, -1
    return trace_and_determinant(_block(K, both_moves(K, skew)))


def _rotation_right(a: Any, r: Any, E: Any, delta: Any) -> Any:
    lw, lh, theta, _, _ = numbers_at(a, r, E, delta, 4)
    return (lw + lh) * (1 + theta), 0


def _rotation_wrong(a: Any, r: Any, E: Any, delta: Any) -> Any:
    lw, lh, theta, R, _ = numbers_at(a, r, E, delta, 4)
    return (lw + lh) * (1 + R * theta), 0


# ---- the standard representation


def _standard(K: int) -> tuple[Direction, ...]:
    """Unequal norms of W and of H, shift of the features; last the shift of the classifiers."""
    u, one = unit(K, 0, 1), sympy.ones(K, 1)
    P = sympy.eye(K) - sympy.ones(K, K) / K
    diagonal = P * sympy.diag(*u) * P
    return *both_moves(K, diagonal), features_move(K, u * one.T), weights_move(K, one * u.T)


# K - 2 is a square, so that g_12 is rational.
SQUARES = {3: 1, 6: 2}


def _unequal_left() -> Any:
    told: tuple[Any, ...] = ()
    for K in SQUARES:
        matrix = _block(K, _standard(K))
        told += tuple(matrix[i, j] for i in range(4) for j in range(i, 4))
    return told


def _b3(K: int, lw: Any, lh: Any, sigma: Any, theta: Any, q: Any) -> tuple[Any, ...]:
    """The upper triangle of B_3 (sqrt(lw lh) = sigma), with the shift of the classifiers apart."""
    g11, g12, g22 = 1 + q * (K - 2), q * SQUARES[K], 1 + q
    first = lw * (1 + g11 * theta), sigma * (g11 * theta - 1), sigma * g12 * theta, 0
    second = lh * (1 + g11 * theta), lh * g12 * theta, 0
    return *first, *second, lh * (1 + g22 * theta), 0, lw


def _unequal_right(a: Any, r: Any, E: Any, delta: Any) -> Any:
    told: tuple[Any, ...] = ()
    for K in SQUARES:
        lw, lh, theta, _, q = numbers_at(a, r, E, delta, K)
        told += _b3(K, lw, lh, lw / r**2, theta, q)
    return told


def _unequal_wrong(a: Any, r: Any, E: Any, delta: Any) -> Any:
    told: tuple[Any, ...] = ()
    for K in SQUARES:
        lw, lh, theta, _, q = numbers_at(a, r, E, delta, K)
        told += _b3(K, lw, lh, lw / r**2, theta, 101 * q / 100)
    return told


def _bias_left() -> Any:
    K = 4
    zero = sympy.zeros(K, K)
    shift = (zero, zero, unit(K, 0, 1))
    common = (zero, zero, sympy.ones(K, 1))
    matrix = _block(K, (*_standard(K)[:3], shift))
    squares = tuple(matrix[i, 3] ** 2 for i in range(3))
    return (*squares, matrix[3, 3], _block(K, (common,))[0, 0])


def _bias_right(a: Any, r: Any, E: Any, delta: Any, lambda_b: Any) -> Any:
    K = 4
    lw, lh, theta, _, q = numbers_at(a, r, E, delta, K)
    s2, g22 = 1 / (E + K - 1), 1 + q
    square = q**2 * (K - 2)
    edges = square * lw * theta * s2, square * lh * theta * s2, g22**2 * lh * theta * s2
    return (*edges, lambda_b + s2 * g22, lambda_b)


def _bias_wrong(a: Any, r: Any, E: Any, delta: Any, lambda_b: Any) -> Any:
    *edges, _, last = _bias_right(a, r, E, delta, lambda_b)
    return (*edges, lambda_b + 1 / (E + 3), last)


# ---- outside the row space, and within a class


def _complement_left() -> Any:
    """The row space of W is 1^perp here, so 1/sqrt(K) spans a complement."""
    K = 4
    u, one = unit(K, 0, 1), sympy.ones(K, 1)
    turn = _block(K, (weights_move(K, u * one.T), features_move(K, one * u.T)))
    shifts = _block(K, (weights_move(K, one * one.T), features_move(K, one * one.T)))
    return (*trace_and_determinant(turn), *shifts)


def _complement_right(a: Any, r: Any, E: Any, delta: Any) -> Any:
    lw, lh, *_ = numbers_at(a, r, E, delta, 4)
    return lw + lh, 0, lw, 0, 0, lh


def _complement_wrong(a: Any, r: Any, E: Any, delta: Any) -> Any:
    lw, lh, *_ = numbers_at(a, r, E, delta, 4)
    return lw + lh, lw * lh / 100, lw, 0, 0, lh


def _within_left() -> Any:
    """Two samples of class 0 move apart, n = m^2 samples per class: sigma m = p' - delta/K.

    w^2 = alpha m/r^2; the two samples give the same, and the direction is normalised.
    """
    K = 4
    a, r, m = positive("a r m")
    W, H, (_, decay, _) = simplex_at(K)
    told = []
    for move in (W[:, 0] * r / a, unit(K, 1, 2)):
        s = list(W * move)
        curvature = m * smoothed(K)(list(W * H[:, 0]), s, s, [0] * K, 0) / (m**2 * K)
        told.append(curvature / (move.T * move)[0] + decay / m)
    return tuple(told)


def _within_right(a: Any, r: Any, E: Any, delta: Any, m: Any) -> Any:
    _, lh, theta, R, _ = numbers_at(a, r, E, delta, 4)
    lh = lh / m
    return lh * (1 + R * theta), lh * (1 + theta)


def _within_wrong(a: Any, r: Any, E: Any, delta: Any, m: Any) -> Any:
    along, across = _within_right(a, r, E, delta, m)
    return across, along


SIMPLEX = "alpha = a^2, E = e^alpha, delta, lambda_W, lambda_H > 0"
CLAIMS = (
    identity(
        "block-norms",
        "Block of the norms",
        "On P/sqrt(K-1) in W and in H the second derivative at the simplex (K = 4) "
        "has the trace and determinant of pair(R).",
        r"x^2-(\lambda_W+\lambda_H)(1+R\theta)x+4R\theta\lambda_W\lambda_H",
        "7.1",
        SIMPLEX,
        _norms_left,
        _norms_right,
        _norms_wrong,
        "pair(1) for pair(R)",
    ),
    identity(
        "block-angles",
        "Block of the angles",
        "On the representative of (K-2, 2) in W and in H the second derivative at the simplex "
        "(K = 4) has the trace and determinant of pair(1).",
        r"x^2-(\lambda_W+\lambda_H)(1+\theta)x+4\theta\lambda_W\lambda_H",
        "7.1",
        SIMPLEX,
        _angles_left,
        _angles_right,
        _angles_wrong,
        "2 theta instead of 4 theta",
    ),
    identity(
        "block-rotations",
        "Block of the rotations inside the frame",
        "On a skew 3-cycle in W and in H the second derivative at the simplex (K = 4) has the "
        "eigenvalues 0 and (lambda_W + lambda_H)(1 + theta).",
        r"\{0,\ (\lambda_W+\lambda_H)(1+\theta)\}",
        "7.1",
        SIMPLEX,
        _rotation_left,
        _rotation_right,
        _rotation_wrong,
        "R theta instead of theta",
    ),
    identity(
        "block-unequal-norms",
        "Block of unequal norms and shifts",
        "On the standard representation the second derivative at the simplex (K = 3 and 6) has the "
        "entries of B_3, and the shift of the classifiers is apart with lambda_W.",
        r"B_3",
        "7.1",
        SIMPLEX,
        _unequal_left,
        _unequal_right,
        _unequal_wrong,
        "q larger by one per cent",
    ),
    identity(
        "block-bias",
        "Row of the bias",
        "With a bias the block of the standard representation gains the row of 7.2, and the common "
        "shift has lambda_b (K = 4).",
        r"\sqrt{s_2}\,[g_{12}\sqrt{\lambda_W\theta},\,g_{12}\sqrt{\lambda_H\theta},\,"
        r"g_{22}\sqrt{\lambda_H\theta}],\quad\lambda_b+s_2g_{22}",
        "7.2",
        SIMPLEX + ", lambda_b > 0",
        _bias_left,
        _bias_right,
        _bias_wrong,
        "1 for g_22 on the diagonal",
    ),
    identity(
        "block-complement",
        "Blocks outside the row space",
        "Outside the row space of the simplex (K = 4) the second derivative has the eigenvalues 0 "
        "and lambda_W + lambda_H on pairs, and lambda_W, lambda_H on common shifts.",
        r"\{0,\lambda_W+\lambda_H\},\ \lambda_W,\ \lambda_H",
        "7.1",
        SIMPLEX,
        _complement_left,
        _complement_right,
        _complement_wrong,
        "a determinant of one per cent of lambda_W lambda_H",
    ),
    identity(
        "block-within-class",
        "Blocks within a class",
        "Where two samples of a class move apart the second derivative is lambda_H (1 + R theta) "
        "along the own direction and lambda_H (1 + theta) across (K = 4, any n).",
        r"\lambda_H(1+R\theta),\ \lambda_H(1+\theta)",
        "7.1",
        SIMPLEX + ", n = m^2 > 0",
        _within_left,
        _within_right,
        _within_wrong,
        "the two exchanged",
    ),
)
