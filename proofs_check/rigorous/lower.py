"""A point that is not a global minimum: another one is proved to lie lower."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

from proofs_check.rigorous import derivatives
from proofs_check.rigorous.arithmetic import Undecided
from proofs_check.rigorous.balls import BITS, Balls, precision
from proofs_check.rigorous.floats import unbounded_is_undecided
from proofs_check.rigorous.point import CriticalPoint, full_columns
from ufm.model import Model
from ufm.point import flatten


@dataclass(frozen=True, eq=False)
class LowerPoint:
    """A point whose objective is proved to be below another one's.

    Attributes:
        point: of the same model.
        value: float64 numbers with its objective between them.
    """

    point: Any
    value: tuple[float, float]


def prove_lower(found: CriticalPoint, others: Iterable[Any] = ()) -> LowerPoint:
    """The lowest of some points that is proved to lie below a critical point.

    Tried are the given ones, the model's minimiser and its candidates; nothing needs to be known
    of them.

    Raises:
        Undecided: none of them is proved to be lower.

    Example:
        >>> from proofs_check.rigorous.point import prove_critical
        >>> from ufm import UFM, CrossEntropy
        >>> model = UFM(CrossEntropy(), 3, 2, lambda_W=0.1, lambda_H=0.1)
        >>> told = prove_lower(prove_critical(model, model.origin()))
        >>> told.value[1] < 1.0986  # log 3 is the value at the origin
        True
    """
    known = found.model.minimiser()
    more = [*others, *([] if known is None else [known.point]), *found.model.candidates().values()]
    points = [full_columns(found.model, point) for point in more]
    lower = [LowerPoint(point, enclosed_value(found.model, point)) for point in points]
    lower = [one for one in lower if one.value[1] < found.value[0]]
    if not lower:
        raise Undecided(f"none of {len(points)} points is proved to be lower")
    return min(lower, key=lambda one: one.value[1])


@unbounded_is_undecided
def enclosed_value(model: Model[Any], point: Any) -> tuple[float, float]:
    """Float64 numbers with the objective at a point between them."""
    with precision(BITS):
        told = derivatives.value(model, point, Balls.exact(flatten(point)))
        return float(told.lower()), float(told.upper())
