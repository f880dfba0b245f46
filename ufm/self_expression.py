"""Points expressed by the others: the elastic net of subspace clustering, and its closed form."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import ArrayLike

from ufm.errors import InputError, require_positive
from ufm.typing import Array

# Sweeps of coordinate descent between attempts to solve the equations on the support.
SWEEPS, ROUNDS = 10, 1000
ROUNDING = 1e-12


def soft_threshold(x: Any, threshold: Any) -> Any:
    """sign(x) max(|x| - threshold, 0).

    Example:
        >>> soft_threshold(np.array([-3.0, 0.5]), 1.0).tolist()
        [-2.0, 0.0]
    """
    return np.sign(x) * np.maximum(np.abs(x) - threshold, 0)


def elastic_net(X: ArrayLike, gamma: float, share: float, points: ArrayLike | None = None) -> Array:
    """Coefficients of every point in the others, or of new points in all of them.

    min (gamma/2) |x - X c|^2 + share |c|_1 + ((1 - share)/2) |c|^2,   c_jj = 0

    Coordinate descent, all points at once, finds supports, and equations the rest. At the minimum
    c_i = T_share(x_i . gamma delta) / (1 - share) with delta = x - X c (``expression``).
    Source: You, Li, Robinson & Vidal 2016; docs/theory.md, EN-1.

    Args:
        X: points as columns (D, N), finite, none zero.
        gamma: weight of the residual, > 0.
        share: lambda of the penalty, in (0, 1).
        points: new points (D, M), expressed by all of X; None for those of X, each by the others.

    Returns:
        Coefficients (N, N) or (N, M), one column per point.

    Raises:
        InputError: arguments not so.
        ArithmeticError: descent did not settle.

    Example:
        >>> X = np.array([[1.0, 1.0, 0.5], [0.0, 0.0, np.sqrt(0.75)]])
        >>> elastic_net(X, 20.0, 0.9)[1:, 0].round(10).tolist()
        [0.9502487562, 0.0]
    """
    matrix, gamma, share = _checked(X, gamma, share)
    own = points is None
    target = matrix if own else np.asarray(points, dtype=float)
    if target.ndim != 2 or len(target) != len(matrix) or not np.all(np.isfinite(target)):
        rule = f"Need finite points of dimension {len(matrix)} as columns"
        raise InputError(rule, f"shape {target.shape}", "transpose them, or clean them")
    gram, pull = gamma * matrix.T @ matrix, gamma * matrix.T @ target
    C, left = np.zeros(pull.shape), np.arange(pull.shape[1])
    for _ in range(ROUNDS):
        _descend(C, left, gram, pull, share, own)
        left = np.array([j for j in left if not _solved(C, j, gram, pull[:, j], share, own)], int)
        if not left.size:
            return C
    raise ArithmeticError(f"coordinate descent did not settle for {left.size} points")


def _descend(C: Array, left: Array, gram: Array, pull: Array, share: float, own: bool) -> None:
    """Some sweeps over the coefficients of the points that are left, in place."""
    part, wanted = C[:, left], pull[:, left]
    mine = [np.flatnonzero(left == i) for i in range(len(C))]
    for _ in range(SWEEPS):
        for i, row in enumerate(part):
            rest = wanted[i] - gram[i] @ part + gram[i, i] * row
            part[i] = soft_threshold(rest, share) / (gram[i, i] + 1 - share)
            if own:
                part[i, mine[i]] = 0.0
    C[:, left] = part


def _solved(C: Array, j: int, gram: Array, pull: Array, share: float, own: bool) -> bool:
    """Solve the equations of a point on its support, and keep that if it is the minimum."""
    kept = np.flatnonzero(C[:, j])
    signs = np.sign(C[kept, j])
    inner = gram[np.ix_(kept, kept)] + (1 - share) * np.eye(len(kept))
    c = np.linalg.solve(inner, pull[kept] - share * signs)
    correlated = np.abs(pull - gram[:, kept] @ c)
    correlated[kept] = 0.0
    if own:
        correlated[j] = 0.0
    if np.any(np.sign(c) != signs) or correlated.max() > share * (1 + ROUNDING):
        return False
    C[:, j] = 0.0
    C[kept, j] = c
    return True


def expression(X: ArrayLike, residuals: ArrayLike, gamma: float, share: float) -> Array:
    """The coefficients that residuals delta (D, M) would have at a minimum (N, M).

    c_i = T_share(x_i . gamma delta) / (1 - share)

    Source: derived here (docs/theory.md, EN-1): a query gamma delta, a key x_i, and a soft
    threshold, as the networks of Zhang, You, Vidal & Li 2021 have them.

    Example:
        >>> expression([[1.0], [0.0]], [[0.05], [0.0]], 20.0, 0.9).round(10).tolist()
        [[1.0]]
    """
    matrix, gamma, share = _checked(X, gamma, share)
    correlated = gamma * matrix.T @ np.asarray(residuals, dtype=float)
    return np.asarray(soft_threshold(correlated, share) / (1 - share))


def objective(C: ArrayLike, X: ArrayLike, points: ArrayLike, gamma: float, share: float) -> Array:
    """The value of every point, (M,), at coefficients C (N, M).

    Example:
        >>> objective([[0.0]], [[1.0]], [[1.0]], 20.0, 0.9).tolist()
        [10.0]
    """
    matrix, gamma, share = _checked(X, gamma, share)
    c = np.asarray(C, dtype=float)
    residual = np.asarray(points, dtype=float) - matrix @ c
    penalty = share * np.abs(c).sum(axis=0) + (1 - share) / 2 * (c**2).sum(axis=0)
    return np.asarray(gamma / 2 * (residual**2).sum(axis=0) + penalty)


def preserving(C: ArrayLike, labels: ArrayLike, of_points: ArrayLike | None = None) -> Array:
    """The share of |c| that every point has on its own subspace, (M,); 0 without coefficients.

    Args:
        C: coefficients (N, M).
        labels: subspace of the points that express (N,).
        of_points: of those that are expressed (M,), by default the same.

    Example:
        >>> preserving([[0.0, 1.0], [3.0, 0.0], [1.0, 0.0]], [0, 0, 1], [0, 0]).tolist()
        [0.75, 1.0]
    """
    sizes, own = np.abs(np.asarray(C, dtype=float)), np.asarray(labels)
    other = own if of_points is None else np.asarray(of_points)
    total = sizes.sum(axis=0)
    inside = np.where(own[:, None] == other, sizes, 0).sum(axis=0)
    return np.asarray(inside / np.where(total > 0, total, 1))


def _checked(X: ArrayLike, gamma: float, share: float) -> tuple[Array, float, float]:
    matrix = np.asarray(X, dtype=float)
    if matrix.ndim != 2 or not matrix.size or not np.all(np.isfinite(matrix)):
        got = f"shape {matrix.shape}"
        raise InputError("Need finite points as columns (D, N)", got, "transpose or clean them")
    gamma = require_positive(gamma, "gamma", "use 50")
    if not 0 < share < 1:
        raise InputError("Need lambda in (0, 1)", share, "use 0.9")
    return matrix, gamma, share
