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
    size: int, radius: float, gradient_norm: float, gap: float, length: float
) -> tuple[float, str]:
    """What counts as a zero eigenvalue, and why.

    Rounding: 8 size eps radius. Residual: a gradient g leaves the point within |g| / gap of the
    critical point, which moves the Hessian by about that relative distance times its radius.
    Source: backward stability of symmetric eigensolvers; first-order perturbation (derived here).

    Args:
        size: order of the largest block that was diagonalised or factorised.
        radius: largest absolute eigenvalue.
        gradient_norm: |g| at the point.
        gap: smallest absolute eigenvalue not explained by symmetry.
        length: |x| of the point.

    Example:
        >>> zero_tolerance(10, 1.0, 0.0, 0.1, 1.0)[1]
        'rounding, 8 size eps radius'
    """
    rounding = ROUNDING_FACTOR * max(size, 10) * EPSILON * radius
    residual = radius * gradient_norm / (gap * max(1.0, length)) if gap > 0 else np.inf
    if residual > rounding:
        return float(residual), f"residual, radius |g| / (gap |x|) with |g| = {gradient_norm:.1e}"
    return float(rounding), "rounding, 8 size eps radius"


def consistent_tolerance(
    values: Array, size: int, gradient_norm: float, length: float
) -> tuple[float, str]:
    """The tolerance of the smallest gap that it separates clearly from zero.

    The residual tolerance depends on the smallest eigenvalue that is not zero, which depends on
    the tolerance: take the smallest |value| that exceeds ten times the tolerance it implies.
    """
    radius = float(np.abs(values).max())
    for gap in np.sort(np.abs(values)):
        tolerance, source = zero_tolerance(size, radius, gradient_norm, float(gap), length)
        if gap > SEPARATION * tolerance:
            return tolerance, source
    return zero_tolerance(size, radius, 0.0, 1.0, length)


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
