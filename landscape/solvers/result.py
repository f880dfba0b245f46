"""What a solver returns: the point, how far it got, and why it stopped."""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum
from typing import Any


class Result(Enum):
    """Why a solver stopped; the value is the message."""

    CONVERGED = "the gradient norm is below the tolerance"
    MAX_ITERATIONS = "the iteration limit was reached before the tolerance"
    STALLED = "no step improves the point any further; the tolerance lies below rounding"
    SADDLE_START = "the start is a saddle, which no descent leaves; escape it (Verdict.escape)"
    INTERRUPTED = "interrupted before the tolerance; the point is the best so far"
    DIVERGED = "the objective or its gradient stopped being finite"

    def __bool__(self) -> bool:
        return self is Result.CONVERGED


@dataclass(frozen=True)
class Solution:
    """A point found by a solver, in the coordinates it was solved in.

    Attributes:
        model: the model of ``point`` (samples merged where that is lossless).
        point: the point found.
        original: the model that was asked for.
        objective: value at the point.
        gradient_norm: Euclidean norm of the gradient there; equal in merged and full columns.
        result: CONVERGED, or the reason why not; never converged by default.
        iterations: outer iterations.
        method: solver used.
        reduction: what was reduced, and on what evidence.
        start_index: negative curvatures (at least) of a start that was critical already and where
            no step was taken; None of another start.
    """

    model: Any
    point: Any
    original: Any
    objective: float
    gradient_norm: float
    result: Result
    iterations: int
    method: str
    reduction: str
    start_index: int | None = None

    @property
    def full_point(self) -> Any:
        """The point in the coordinates of the original model (all samples)."""
        merge = self.original.merge()
        return (
            self.point if merge is None or self.model is self.original else merge.lift(self.point)
        )
