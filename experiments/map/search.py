"""Searching a case: descents and index-blind searches, every critical point judged."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import jax
import numpy as np

from experiments.map.cases import Case
from landscape import Curvature, solve, verdict
from landscape.verdict import global_slack
from ufm.model import norm

# Of the two kinds of search, from every scale of start.
SEARCHES = 12
# Where collapse is measured: this share of the decay below the one at which all is zero. What
# vanishes continuously has a size of the order of its root there.
BESIDE = 1e-8
CONTINUOUS = 1e-2  # of the size at half that decay
LARGEST_SCALE = 1e6
KINDS = ("global minimum", "strict saddle", "spurious minimum", "undecided")


@dataclass(frozen=True)
class Finding:
    """What is known and what was seen of a case.

    Attributes:
        case: what was searched.
        seen: how many searches ended at each of ``KINDS``; searches that did not converge are in
            none.
        unfinished: those searches.
        spurious: the lowest spurious minimum that was seen, else None.
        best: the least objective that is known.
        minimiser: what it looks like, in words.
        order: 1 or 2 where the minimiser vanishes at some decay with or without a jump, else None.
    """

    case: Case
    seen: dict[str, int]
    unfinished: int
    spurious: float | None
    best: float
    minimiser: str
    order: int | None

    @property
    def answer(self) -> str:
        """Whether every critical point that is no global minimum is a strict saddle."""
        if self.spurious is not None:
            return f"no: a minimum at {self.spurious:.8g} above {self.best:.8g}"
        if self.case.theorem:
            return f"yes, proved ({self.case.theorem})"
        points = sum(self.seen.values())
        if self.seen["undecided"]:
            return f"open: {self.seen['undecided']} of {points} points are undecided"
        return f"seen: nothing else at {points} points"


def survey(case: Case) -> Finding:
    """Search a case; the same numbers every time."""
    model = case.make(1.0)
    known, candidates = model.minimiser(), list(model.candidates().values())
    points = [*candidates, *([] if known is None else [known.point])]
    if case.decays:
        points.append(jax.tree.map(np.zeros_like, model.random_point(jax.random.key(0))))
    # Zero need not be critical.
    known_points = [verdict(model, point) for point in points]
    judged = [x for x in known_points if x.curvature is not Curvature.NOT_CRITICAL]
    unfinished = 0
    for i in range(SEARCHES):
        for scale in case.spread:
            for method in ("newton", "critical"):
                key = jax.random.fold_in(jax.random.key(i), round(1000 * scale))
                start = jax.tree.map(np.asarray, model.random_point(key, scale))
                run = solve(model, start, method=method)
                if run.result:
                    judged.append(verdict(run.model, run.point))
                else:
                    unfinished += 1
    best = min((told.objective for told in judged), default=math.nan)
    kinds = [_kind(told, best) for told in judged]
    seen = {kind: kinds.count(kind) for kind in KINDS}
    above = [x.objective for x, kind in zip(judged, kinds, strict=True) if kind == KINDS[2]]
    spurious = min(above, default=None)
    return Finding(case, seen, unfinished, spurious, best, _look(known, judged), _order(case))


def _kind(told: Any, best: float) -> str:
    if told.curvature is Curvature.STRICT_SADDLE:
        return "strict saddle"
    if told.objective <= best + 10 * global_slack(best):
        return "global minimum"
    if told.curvature is Curvature.MORSE_BOTT_MINIMUM:
        return "spurious minimum"
    return "undecided"


def _look(known: Any, judged: list[Any]) -> str:
    """The minimiser in words."""
    if known is not None:
        rank = "" if known.rank is None else f", rank {known.rank}"
        return f"{known.source}{rank}; {known.evidence}"
    lowest = min(judged, key=lambda told: told.objective, default=None)
    if lowest is None or lowest.count.rank is None:
        return "not in closed form"
    return f"not in closed form; rank {lowest.count.rank} seen"


def _order(case: Case) -> int | None:
    """How the closed-form minimiser vanishes as all decays grow."""
    if not case.decays or _size(case, 1.0) is None:
        return None
    low = high = 1.0
    while not _size(case, low):
        low /= 2
        if low < 1 / LARGEST_SCALE:
            return None
    while _size(case, high):
        high *= 2
        if high > LARGEST_SCALE:
            return None
    while high - low > 1e-13 * high:
        middle = (low + high) / 2
        low, high = (middle, high) if _size(case, middle) else (low, middle)
    near, far = _size(case, low * (1 - BESIDE)), _size(case, low / 2)
    if near is None or not far:
        return None
    return 2 if near < CONTINUOUS * far else 1


def _size(case: Case, scale: float) -> float | None:
    """Norm of the first factor of the minimiser at scaled decays; None where it is not known."""
    known = case.make(scale).minimiser()
    return None if known is None else float(norm(jax.tree.leaves(known.point)[0]))
