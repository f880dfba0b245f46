"""Factorisations and triangular systems of enclosures, by elimination step by step.

Every step is one of the elementary operations on intervals, so what comes out contains the exact
factors of every matrix in the intervals, for the order of rows that is chosen at the middles: any
order is right, and this one keeps the multipliers below one. Widths grow with the elimination
(Neumaier 1990, section 4.5), which small matrices bear.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from typing import Any

import numpy as np
import scipy.linalg

from proofs_check.rigorous.arithmetic import Undecided


def lu(kind: Any, A: Any, **_: Any) -> list[Any]:
    """L and U in one matrix, pivots and permutation of rows, as ``jax.lax.linalg.lu``.

    Raises:
        Undecided: a pivot whose enclosure contains zero.
    """
    if len(A.shape) > 2:
        every = [lu(kind, A[i]) for i in range(A.shape[0])]
        factors = _stacked([one[0] for one in every])
        return [factors, *(np.stack([one[j] for one in every]) for j in (1, 2))]
    rows, columns = A.shape
    middle = A.middle()
    if not np.isfinite(middle).all():
        raise Undecided("a matrix is not bounded")
    pivots = scipy.linalg.lapack.dgetrf(middle)[1]
    order = np.arange(rows)
    for i, j in enumerate(pivots):
        order[[i, j]] = order[[j, i]]
    left, lower, upper = A[order], [], []
    for k in range(min(rows, columns)):
        top, below = left[:1], left[1:]
        multipliers = below[:, :1] / top[:, :1] if rows - k > 1 else below[:, :1]
        upper.append(top)
        lower.append(multipliers)
        left = (below - multipliers * top)[:, 1:]
    made = []
    for i in range(rows):
        parts = [lower[k][i - k - 1 : i - k] for k in range(min(i, columns))]
        parts += [upper[i]] if i < columns else []
        made.append(_joined(parts, 1))
    return [_joined(made, 0), pivots.astype(np.int32), order.astype(np.int32)]


def cholesky(kind: Any, A: Any, **_: Any) -> Any:
    """The lower factor of the lower triangle, as ``jax.lax.linalg.cholesky``.

    Raises:
        Undecided: not proved to be positive definite.
    """
    if len(A.shape) > 2:
        return _stacked([cholesky(kind, A[i]) for i in range(A.shape[0])])
    size = A.shape[0]
    # Both triangles are read below, and only the lower one counts.
    mirrored = np.tril_indices(size)
    places = np.zeros((size, size), dtype=int)
    places[mirrored] = np.arange(size * size).reshape(size, size)[mirrored]
    places = np.maximum(places, places.T)
    left = A.moved(lambda part: part.ravel()[places])
    columns = []
    for k in range(size):
        column = left[:, :1] / left[:1, :1].apply("sqrt")
        zeros = kind.exact(np.zeros((k, 1)))
        columns.append(_joined([zeros, column], 0))
        below = column[1:]
        left = left[1:, 1:] - below * below.moved(np.transpose)
    return _joined(columns, 1)


def triangular_solve(
    kind: Any,
    A: Any,
    B: Any,
    *,
    left_side: bool,
    lower: bool,
    transpose_a: bool,
    unit_diagonal: bool,
    **_: Any,
) -> Any:
    """X with op(A) X = B, or X op(A) = B, by substitution; as ``jax.lax.linalg``'s."""
    turn = partial(np.swapaxes, axis1=-1, axis2=-2)
    if not left_side:  # op(A)' X' = B'
        flipped = {"left_side": True, "lower": lower, "transpose_a": not transpose_a}
        told = triangular_solve(kind, A, B.moved(turn), unit_diagonal=unit_diagonal, **flipped)
        return told.moved(turn)
    if transpose_a:
        A, lower = A.moved(turn), not lower
    size = A.shape[-1]
    known: dict[int, Any] = {}
    for i in range(size) if lower else range(size - 1, -1, -1):
        here = B[..., i : i + 1, :]
        done = range(i) if lower else range(i + 1, size)
        if len(done):
            coefficients = A[..., i : i + 1, done[0] : done[-1] + 1]
            here = here - coefficients @ _joined([known[j] for j in done], -2)
        known[i] = here if unit_diagonal else here / A[..., i : i + 1, i : i + 1]
    return _joined([known[i] for i in range(size)], -2) if size else B


def _joined(parts: Sequence[Any], axis: int) -> Any:
    return parts[0].joined(parts[1:], partial(np.concatenate, axis=axis))


def _stacked(parts: Sequence[Any]) -> Any:
    if not parts:
        raise Undecided("no matrices")
    return parts[0].joined(parts[1:], np.stack)
