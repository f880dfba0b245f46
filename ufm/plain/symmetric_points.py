"""Verdicts of many class-symmetric critical points at once, from their spectra in closed form.

With equal counts and an equivariant loss a descent mostly ends where all classes are alike, up to
a rotation of the features: W H = sqrt(n) (a P + s J / K). There the spectrum of the whole Hessian
is that of blocks of at most 7 x 7 (``ufm.plain.spectra``), whatever K, d and n are. (a, s) are read
off the point, not solved for, so nothing is assumed of it: how far it is from the symmetric point
with these numbers enters what counts as zero. What is not decided is left to
``ufm.plain.cholesky_proof``. Derived here.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from ufm.losses.logit_curve import LogitCurve, logit_curves
from ufm.plain.reduce import RANK_TOLERANCE, SMALLEST_LOGIT
from ufm.plain.spectra import symmetric_levels
from ufm.plain.symmetry import orbit_dimension
from ufm.point import Point
from ufm.tolerance import EPSILON, ROUNDING_FACTOR, SEPARATION
from ufm.typing import Array


class SymmetricMinima(NamedTuple):
    """Which of many points are class-symmetric minima; every array has one entry a point.

    Attributes:
        minimum: index 0, and flat along the symmetry orbit only; False says nothing.
        rank: of W H.
        nullity: of the Hessian with all samples.
        gap: its smallest positive eigenvalue.
    """

    minimum: NDArray[np.bool_]
    rank: NDArray[np.int64]
    nullity: NDArray[np.int64]
    gap: Array


class _Codes(NamedTuple):
    """W H = sqrt(n) (a P + s J / K), b = beta 1, and how far the points are from that."""

    a: Array
    s: Array
    beta: Array
    moved: Array


def symmetric_minima(
    models: Any, points: Point, dimensions: Any, gradient_norms: Any, least: float, *, shift: bool
) -> SymmetricMinima:
    """Which critical points are minima, as far as they are class-symmetric.

    Args:
        models: a stack of merged UFMs with one equivariant loss without kinks.
        points: a stack of critical points, in any common width.
        dimensions: the feature dimension of each model.
        gradient_norms: at the points.
        least: products W H up to this are what a descent leaves of zero.
        shift: whether adding a constant to the bias changes nothing.

    Example:
        >>> from ufm import UFM, CrossEntropy
        >>> from ufm.stack import stack
        >>> model = UFM(CrossEntropy(), 3, 4, 2, lambda_W=0.1, lambda_H=0.1)
        >>> merged = model.merge().model
        >>> points = stack([model.minimiser().point, model.origin()._replace(H=np.zeros((4, 3)))])
        >>> stacked = stack([merged, merged])
        >>> told = symmetric_minima(stacked, points, [4, 4], np.zeros(2), 1e-9, shift=False)
        >>> told.minimum.tolist(), int(told.nullity[0])  # 1 + 2 (4 - 2) rotations
        ([True, False], 5)
    """
    counts, d = np.asarray(models.counts), np.asarray(dimensions)
    size, K = counts.shape
    n, alike = counts[:, 0], np.all(counts == counts[:, :1], axis=1)
    codes = _codes(models, points, n, least)
    curve = logit_curves(models.loss, codes.a, codes.s / K + codes.beta, K)
    rank = (K - 1) * (codes.a != 0) + (codes.s != 0)
    told = SymmetricMinima(
        np.zeros(size, bool), rank.astype(np.int64), np.zeros(size, np.int64), np.full(size, np.nan)
    )
    for support in np.unique(np.stack([codes.a != 0, codes.s != 0], axis=1), axis=0):
        here = np.flatnonzero(
            alike & (d >= rank) & np.all(np.stack([codes.a, codes.s], 1).astype(bool) == support, 1)
        )
        if len(here):
            _judge(told, here, (models, points, d, np.asarray(gradient_norms)), codes, curve, shift)
    return told


def _codes(models: Any, points: Point, n: Array, least: float) -> _Codes:
    """The symmetric points beside the given ones.

    In the coordinates X = W (lw / lh)^(1/4), Y = H^T (lh / lw)^(1/4) a symmetric critical point has
    X X^T = Y Y^T = |Z| and X Y^T = Z: up to a rotation (X +- Y) / 2^(1/2) is D with D^2 = 2 |Z| on
    the support of Z, and all else is zero. The part M of a point there is within
    |M M^T - D^2| / min D of D up to a rotation, since S^2 - D^2 = S (S - D) + (S - D) D for
    S^2 = M M^T; the rest is left over.
    """
    W, H, b = points.to_numpy()
    K = W.shape[1]
    ratio = (np.asarray(models.lambda_H) / np.asarray(models.lambda_W)) ** 0.25
    X, Y = W / ratio[:, None, None], np.swapaxes(H, 1, 2) * ratio[:, None, None]
    Z = X @ np.swapaxes(Y, 1, 2)
    shared = Z.sum(axis=(1, 2)) / K
    levels = np.stack([(np.trace(Z, axis1=1, axis2=2) - shared) / (K - 1), shared], axis=1)
    largest = np.abs(levels).max(axis=1, keepdims=True)
    on = np.abs(levels) > RANK_TOLERANCE * np.maximum(largest, SMALLEST_LOGIT)
    levels = np.where(on & (largest > least), levels, 0.0)
    means = [x.mean(axis=1, keepdims=True) for x in (X, Y)]
    parts = ((X - means[0], Y - means[1]), means)
    M, left = np.zeros_like(X), np.zeros(len(n))
    for i, (x, y) in enumerate(parts):
        sign = np.sign(levels[:, i])[:, None, None]
        M = M + np.where(sign != 0, x + sign * y, 0.0) / np.sqrt(2)
        rows = K if i else 1  # the mean stands for K equal rows
        across = np.where(sign != 0, (x - sign * y) ** 2 / 2, x**2 + y**2)
        left = left + rows * across.sum(axis=(1, 2))
    sizes = np.abs(levels)[:, :, None, None]
    flat = np.full((K, K), 1 / K)
    squared = 2 * (sizes[:, 0] * (np.eye(K) - flat) + sizes[:, 1] * flat)
    error = np.linalg.norm(M @ np.swapaxes(M, 1, 2) - squared, axis=(1, 2))
    smallest = np.where(levels != 0, 2 * np.abs(levels), np.inf).min(axis=1)
    moved = (error**2 / smallest + left) * np.maximum(ratio, 1 / ratio) ** 2
    beta = np.zeros(len(n)) if b is None else b.mean(axis=1)
    if b is not None:
        moved = moved + np.sum((b - beta[:, None]) ** 2, axis=1)
    a, s = (levels / np.sqrt(n)[:, None]).T
    return _Codes(a, s, beta, np.sqrt(moved))


def _judge(
    told: SymmetricMinima, here: Any, given: Any, codes: _Codes, curve: LogitCurve, shift: bool
) -> None:
    """Fill in the verdicts of points that have one support."""
    models, points, d, norms = given
    decays = (models.lambda_W, models.lambda_H, models.lambda_b)
    lw, lh, lb = (None if x is None else np.asarray(x)[here] for x in decays)
    counts, dimensions = np.asarray(models.counts)[here, 0], d[here]
    K, width = points.W.shape[1:]
    (uu, u1), (_, one) = curve.S
    value, first, other, s2, uu, u1, one = (
        x[here] for x in (curve.value, curve.own, curve.other, curve.s2, uu, u1, one)
    )
    own = LogitCurve(value, first, other, s2, ((uu, u1), (u1, one)))
    code = codes.a[here], codes.s[here]
    values, times = symmetric_levels(own, K, counts, dimensions, code, (lw, lh, lb))
    present = times > 0
    size = np.where(present, np.abs(values), 0.0)
    radius = size.max(axis=0)
    rounding = ROUNDING_FACTOR * max(2 * K * width, 10) * EPSILON * radius
    zero = present & (size <= rounding)
    gap = np.where(present & ~zero, values, np.inf).min(axis=0)
    flat = [np.reshape(x, (len(d), -1))[here] for x in points if x is not None]
    length = np.maximum(1.0, np.sqrt(sum(np.sum(x**2, axis=1) for x in flat)))
    with np.errstate(divide="ignore", invalid="ignore"):
        tolerance = np.maximum(rounding, radius * norms[here] / (gap * length))
    tolerance = np.maximum(tolerance, radius * codes.moved[here] / length)
    nullity = np.where(zero, times, 0).sum(axis=0).astype(np.int64)
    expected = orbit_dimension(told.rank[here], dimensions) + shift
    told.minimum[here] = (gap > SEPARATION * tolerance) & (nullity == expected)
    told.nullity[here], told.gap[here] = nullity, gap
