"""Negative curvature that is proved: a Rayleigh quotient with an upper bound, at any size."""

from __future__ import annotations

from typing import Any

import numpy as np

from proofs_check.rigorous import derivatives
from proofs_check.rigorous.arithmetic import Undecided
from proofs_check.rigorous.floats import Floats, unbounded_is_undecided
from proofs_check.rigorous.point import full_columns
from ufm.model import Model
from ufm.point import flatten


@unbounded_is_undecided
def negative_curvature(
    model: Model[Any], point: Any, direction: Any = None, radius: float = 0.0
) -> float:
    """An upper bound of <v, H v> / <v, v>, negative, with H the Hessian at every point of a box.

    The smallest eigenvalue is below it (Courant and Fischer), so no point of the box is a minimum.
    Only one product with the Hessian is formed.

    Args:
        model: any model whose program has enclosures.
        point: the middle of the box.
        direction: v, a tangent; by default what the model knows (``escape``).
        radius: of the box in the maximum norm.

    Raises:
        Undecided: the bound is not negative, or no direction is known.

    Example:
        >>> from ufm import UFM, CrossEntropy
        >>> model = UFM(CrossEntropy(), 3, 2, lambda_W=0.1, lambda_H=0.1)
        >>> round(negative_curvature(model, model.origin(), radius=1e-9), 6)  # 0.1 - 1/3
        -0.233333
    """
    if direction is None:
        known = model.escape(point)
        if known is None:
            raise Undecided("no direction of negative curvature is known; give one")
        direction = known.tangent
    like = full_columns(model, point)
    v = flatten(full_columns(model, direction))
    size = float(np.abs(v).max(initial=0.0))
    if not 0 < size < np.inf:
        raise Undecided("the direction is zero or not finite")
    along = Floats.exact(v / size)
    image = derivatives.hessian_vector_product(
        model, like, Floats.around(flatten(like), radius), along
    )
    quotient = (along * image).summed((0,)) / (along * along).summed((0,))
    bound = float(quotient.upper())
    if not bound < 0:
        raise Undecided(f"the Rayleigh quotient is only bounded by {bound:.3g}")
    return bound
