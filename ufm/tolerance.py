"""What counts as a zero eigenvalue, and which eigenvalues a symmetry explains."""

from __future__ import annotations

import numpy as np

from ufm.typing import Array

EPSILON = float(np.finfo(np.float64).eps)
# Symmetric eigensolvers are backward stable: eigenvalues move by a modest multiple of
# size * eps * |A|_2 (LAPACK Users' Guide, section 4.7). The factor covers assembly as well.
ROUNDING_FACTOR = 8.0
# Relative gap between the eigenvalues a symmetry explains and the next one: below it, an
# eigenvalue belongs to neither side clearly.
NEAR_NULL = 1e-5
# An eigenvalue is called non-zero when it exceeds what counts as zero by this factor.
SEPARATION = 10.0
# Singular values of a factor below this share of 1 + the largest are none; what they leave out
# counts as a move of the point. Features of a class that agree to it are one.
RANK = 1e-6
# Newton's method has to end beside a point: within this of max(1, |x|). f at the point is then
# within its square of the end.
NEWTON_STEP = 1e-3
# Third derivatives beside a critical point, in units of radius / max(1, |x|).
THIRD_DERIVATIVE = 100.0


def zero_tolerance(
    size: int, radius: float, gradient_norm: float, gap: float, length: float, moved: float = 0.0
) -> tuple[float, str]:
    """What counts as a zero eigenvalue, and why.

    Rounding: 8 size eps radius. Residual: a gradient g leaves the point within |g| / gap of the
    critical point, which moves the Hessian by about that relative distance times its radius, and
    so does a move of the point to make equal or zero what nearly is.
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
        told = "classes made equal, a rank cut or Newton's method: radius |move| / |x|"
        return float(shifted), f"{told} with |move| = {moved:.1e}"
    return float(rounding), "rounding, 8 size eps radius"


def gradient_rounding(radius: float, length: float) -> float:
    """What rounding leaves of a gradient at a critical point: 80 eps radius max(1, |x|).

    Example:
        >>> round(gradient_rounding(1.0, 0.0) / EPSILON)
        80
    """
    return zero_tolerance(1, radius, 0.0, 1.0, length)[0] * max(1.0, length)


def resolution(
    size: int,
    radius: float,
    gradient_norm: float,
    length: float,
    moved: float = 0.0,
    defect: float = 0.0,
    start: float = 0.0,
) -> tuple[float, float, str]:
    """What is zero to rounding, below what no eigenvalue is read by its sign, and why.

    An eigenvalue mu is read where it exceeds ten times its own tolerance,

        |mu| > 10 max(rounding, moved, defect)  and  |mu|^2 > 10 (100 radius) |g| / max(1, |x|),

    the second because a gradient g leaves the point within |g| / |mu| of the critical point, if
    there is one, and third derivatives are taken as at most 100 radius / max(1, |x|) (at folds of
    focal loss they reach 30). By Kantorovich's theorem Newton's method then settles in that
    direction. A gradient of the size of its own rounding counts as none.

    Source: Kantorovich; first-order perturbation (derived here).

    Args:
        size: order of the largest block that was diagonalised or factorised.
        radius: largest absolute eigenvalue.
        gradient_norm: |g| at the point.
        length: |x| of the point.
        moved: how far the point was moved before its Hessian was taken.
        defect: how far an approximation moves eigenvalues.
        start: |g| where Newton's method to this point began: |mu| max(1, |x|) > 1000 of it is
            asked for, so that the two are a thousandth apart.

    Returns:
        (zero, unread, source); zero = 0 where something else than rounding limits what is read.

    Example:
        >>> zero, unread, source = resolution(10, 1.0, 0.0, 1.0)
        >>> round(unread / zero), source
        (10, 'rounding, 8 size eps radius')
        >>> [round(x, 6) for x in resolution(10, 1.0, 1e-9, 1.0)[:2]]
        [0.0, 0.001]
    """
    rounding, source = zero_tolerance(size, radius, 0.0, 1.0, length)
    shifted, why = zero_tolerance(size, radius, 0.0, 1.0, length, moved)
    zero, unread = rounding, SEPARATION * rounding
    for least, reason in (
        (SEPARATION * shifted, why),
        (SEPARATION * defect, "what is known of the blocks"),
        (start / (NEWTON_STEP * max(1.0, length)), f"a short Newton step from |g| = {start:.1e}"),
    ):
        if least > unread:
            zero, unread, source = 0.0, least, reason
    if gradient_norm > gradient_rounding(radius, length):
        bend = THIRD_DERIVATIVE * radius / max(1.0, length)
        zero = 0.0
        if (SEPARATION * bend * gradient_norm) ** 0.5 > unread:
            unread = float((SEPARATION * bend * gradient_norm) ** 0.5)
            source = f"residual, (1000 radius |g| / |x|)^(1/2) with |g| = {gradient_norm:.1e}"
    return zero, unread, source


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
