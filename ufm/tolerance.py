"""What counts as a zero eigenvalue, and which eigenvalues a symmetry explains."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.float64]
EPSILON = float(np.finfo(np.float64).eps)
# Symmetric eigensolvers are backward stable: eigenvalues move by a modest multiple of
# size * eps * |A|_2 (LAPACK Users' Guide, section 4.7). The factor covers assembly as well.
ROUNDING_FACTOR = 8.0
# Relative gap between the eigenvalues a symmetry explains and the next one: below it, an
# eigenvalue belongs to neither side clearly.
NEAR_NULL = 1e-5
# An eigenvalue is called non-zero when it exceeds what counts as zero by this factor.
SEPARATION = 10.0


def zero_tolerance(
    size: int, radius: float, gradient_norm: float, gap: float, length: float, moved: float = 0.0
) -> tuple[float, str]:
    """What counts as a zero eigenvalue, and why.

    Rounding: 8 size eps radius. Residual: a gradient g leaves the point within |g| / gap of the
    critical point, which moves the Hessian by about that relative distance times its radius, and
    so does a move of the point to make equal what is nearly equal.
    Source: backward stability of symmetric eigensolvers; first-order perturbation (derived here).

    Args:
        size: order of the largest block that was diagonalised or factorised.
        radius: largest absolute eigenvalue.
        gradient_norm: |g| at the point.
        gap: smallest absolute eigenvalue not explained by symmetry.
        length: |x| of the point.
        moved: how far the point was moved before its Hessian was taken.

    Example:
        >>> zero_tolerance(10, 1.0, 0.0, 0.1, 1.0)[1]
        'rounding, 8 size eps radius'
    """
    rounding = ROUNDING_FACTOR * max(size, 10) * EPSILON * radius
    residual = radius * gradient_norm / (gap * max(1.0, length)) if gap > 0 else np.inf
    shifted = radius * moved / max(1.0, length)
    if residual > max(rounding, shifted):
        return float(residual), f"residual, radius |g| / (gap |x|) with |g| = {gradient_norm:.1e}"
    if shifted > rounding:
        return float(shifted), f"classes made equal, radius |move| / |x| with |move| = {moved:.1e}"
    return float(rounding), "rounding, 8 size eps radius"


def consistent_tolerance(
    values: Array, size: int, gradient_norm: float, length: float, moved: float = 0.0
) -> tuple[float, str]:
    """The tolerance of the smallest gap that it separates clearly from zero.

    The residual tolerance depends on the smallest eigenvalue that is not zero, which depends on
    the tolerance: take the smallest |value| that exceeds ten times the tolerance it implies.
    """
    radius = float(np.abs(values).max())
    for gap in np.sort(np.abs(values)):
        tolerance, source = zero_tolerance(size, radius, gradient_norm, float(gap), length, moved)
        if gap > SEPARATION * tolerance:
            return tolerance, source
    return zero_tolerance(size, radius, 0.0, 1.0, length, moved)


def generator_rank(rows: Array) -> int:
    """Rank of stacked generators; singular values of a polished point split by many orders.

    Example:
        >>> generator_rank(np.array([[1.0, 0.0], [2.0, 0.0]]))
        1
    """
    if rows.size == 0:
        return 0
    values = np.linalg.svd(rows, compute_uv=False)
    return int(np.sum(values > NEAR_NULL * max(float(values[0]), 1e-300)))
