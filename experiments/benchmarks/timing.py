"""Wall-clock medians of several pieces of work, measured in turns so that noise hits all alike."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from statistics import median
from time import perf_counter
from typing import Any


@dataclass(frozen=True)
class Settings:
    """How long a run of the benchmarks may take.

    Attributes:
        quick: fewer repeats and shorter caps.
        repeats: warm calls of everything that is fast, at most.
    """

    quick: bool = False
    repeats: int = 101

    @property
    def budget(self) -> float:
        """Seconds of warm calls after which a piece of work is not repeated."""
        return 1.5 if self.quick else 6.0

    @property
    def cap(self) -> float:
        """Seconds after which PyTorch SGD is stopped."""
        return 10.0 if self.quick else 60.0

    @property
    def short_cap(self) -> float:
        """Seconds after which any other solver that can be stopped is stopped."""
        return 8.0 if self.quick else 30.0


@dataclass(frozen=True)
class Timing:
    """What a piece of work took.

    Attributes:
        seconds: median of the calls; without the first where that compiles.
        first: the first call, with compilation where there is any.
        calls: how many calls the median is over.
        result: what the last call returned.
    """

    seconds: float
    first: float
    calls: int
    result: Any


def alternate(
    work: Mapping[str, Callable[[], Any]], settings: Settings, compiled: frozenset[str]
) -> dict[str, Timing]:
    """Time every piece of work: one first call each, then warm calls in turns.

    A piece that takes longer than the budget is not repeated, unless it compiles: then its first
    call says nothing, is left out of the median, and one warm call is made in any case.

    Args:
        work: callables without arguments; each returns when its result is on the host.
        settings: number of repeats and budget.
        compiled: names of the pieces whose first call compiles.

    Example:
        >>> timed = alternate({"sum": lambda: sum(range(9))}, Settings(repeats=3), frozenset())
        >>> timed["sum"].calls, timed["sum"].result
        (4, 36)
    """
    results: dict[str, Any] = {}
    first: dict[str, float] = {}
    warm: dict[str, list[float]] = {name: [] for name in work}

    def call(name: str) -> float:
        began = perf_counter()
        results[name] = work[name]()
        return perf_counter() - began

    for name in work:
        first[name] = call(name)
    for _ in range(settings.repeats):
        for name, taken in warm.items():
            spent = sum(taken) if name in compiled else sum(taken) + first[name]
            if spent < settings.budget:
                taken.append(call(name))
    made = {}
    for name, taken in warm.items():
        sample = taken if name in compiled else [first[name], *taken]
        made[name] = Timing(median(sample), first[name], len(sample), results[name])
    return made
