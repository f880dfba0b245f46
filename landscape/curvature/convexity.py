"""The count of a global minimum by convexity: no Hessian, no eigenvalue."""

from __future__ import annotations

from typing import Any

from landscape.curvature.count import NOISE, CurvatureCount
from ufm.model import Model
from ufm.point import length
from ufm.spectrum import MAX_DIAGONALISED
from ufm.tolerance import resolution

ROUTE = "convexity"


def count_by_convexity(
    model: Model[Any], point: Any, gradient_norm: float, larger_than: int = MAX_DIAGONALISED
) -> CurvatureCount | None:
    """Index 0 and the nullity of a minimum, where the model's lower bound of its gap is clear.

    Clear is what exceeds the tolerance below which ``count_curvature`` reads no eigenvalue by its
    sign, which stays the judge of everything else. Source: A-7 of docs/theory.md, derived here.

    Args:
        model: any model.
        point: a point with a small gradient.
        gradient_norm: Euclidean norm of the gradient there.
        larger_than: order of the Hessian up to which its eigenvalues are cheap, and None is told.

    Returns:
        A count of route "convexity", without the smallest positive eigenvalue; None where convexity
        does not decide.

    Example:
        >>> from ufm import UFM, CrossEntropy
        >>> model = UFM(CrossEntropy(), 3, 2, lambda_W=0.1, lambda_H=0.1)
        >>> told = count_by_convexity(model, model.minimiser().point, 0.0, larger_than=-1)
        >>> told.index, told.nullity
        (0, 1)
        >>> count_by_convexity(model, model.origin(), 0.0, larger_than=-1) is None
        True
    """
    told = model.strict_minimum(point, larger_than)
    if told is None or model.kinks(point):
        return None
    size = length(point)
    _, unread, source = resolution(
        told.order, told.radius, gradient_norm, size, told.moved, told.defect
    )
    if told.margin <= unread or gradient_norm > NOISE * told.radius * max(1.0, size):
        return None
    return CurvatureCount(
        index_range=(0, 0),
        nullity_range=(told.nullity, told.nullity),
        predicted_nullity=told.nullity,
        smallest=told.smallest,
        smallest_positive=None,
        radius=told.radius,
        typical=told.typical,
        tolerance=unread,
        tolerance_source=source,
        rank=told.rank,
        route=ROUTE,
    )
