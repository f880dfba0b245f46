"""The global minimum of a plain model with unequal class sizes, among points constant on sizes."""

from __future__ import annotations

import jax

from landscape.solvers.solve import MAX_ITERATIONS, TOLERANCE
from landscape.solvers.trust_region import trust_region
from ufm.answers import Certificate
from ufm.plain.model import UFM
from ufm.plain.sizes import ClassSizes
from ufm.point import Point

# A gap is |G|_2 / sigma - 1 of the objective, and a gradient over |Z|_2^(1/2) is what G is off by:
# at a thousand classes, where sigma is 1e-6, the usual tolerance is not small. A step or two are.
SMALL_GAP, FINER, FINER_STEPS = 1e-10, TOLERANCE / 10, 5


def minimum_by_size(model: UFM) -> tuple[Point, float, Certificate]:
    """A candidate for the global minimum, its objective and its duality gap.

    Classes of one size share what they are (S-4 of docs/theory.md): G sizes cost what G classes
    cost. The gap proves the minimum, whatever was assumed to find it; without room for its rank
    (d < K - 1, or K) it is large.

    Args:
        model: a plain model of a convex loss.

    Returns:
        (point with merged columns, objective, certificate).

    Example:
        >>> from ufm import CrossEntropy
        >>> model = UFM(CrossEntropy(), counts=(4, 2, 4, 4), d=4, lambda_W=0.1, lambda_H=0.1)
        >>> minimum_by_size(model)[2].gap < 1e-9
        True
    """
    sizes = ClassSizes.of(model)
    found, most = sizes.random_point(jax.random.key(0)), MAX_ITERATIONS["newton"]
    for tolerance in (TOLERANCE, FINER):
        found = trust_region(sizes, found, tolerance, most)[0]
        merged, point = model.as_merged(sizes.lift(model, found))
        value, bound = float(merged.objective(point)), merged.certificate(point)
        if not bound.applies or (bound.gap or 0.0) <= SMALL_GAP * abs(value):
            break
        most = FINER_STEPS
    return point, value, bound
