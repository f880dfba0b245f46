"""Where branches of critical points are born, break their symmetry or turn: events on a branch.

Test functions along a branch change sign at an event, which Brent's method locates: a coupling
minus sigma (BIRTH: orbits of higher rank branch off), an eigenvalue of the Hessian in dimension r
(SYMMETRY_BREAKING), and the derivative of c along the curve (FOLD). The corrector leaves alone the
directions in which the equations are singular, so it stays on the branch with its symmetry.
Source: A-2 for the couplings; after Golubitsky, Stewart & Schaeffer (1988) for the symmetry.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from enum import Enum
from itertools import pairwise

import numpy as np

from landscape.branches.continuation import Branch
from landscape.branches.curve import Station
from landscape.branches.turning import Turn
from ufm.plain.chain_rule import dense_derivatives
from ufm.plain.model import UFM
from ufm.plain.reduce import reduced
from ufm.plain.symmetry import predicted_nullity

# Test functions that vanish at c closer than this, relatively, are one event: those that symmetry
# makes equal agree to 1e-12.
TOGETHER = 1e-8
# Asymmetric parts of Z, relative, at a crossing located with all directions: noise 1e-9.
SYMMETRIC = 1e-5


class Kind(Enum):
    """What happens at an event."""

    BIRTH = "orbits of higher rank are born"
    SYMMETRY_BREAKING = "orbits of less symmetry branch off"
    FOLD = "two orbits of one branch meet"


@dataclass(frozen=True, eq=False)
class Event:
    """A bifurcation.

    Attributes:
        kind: what happens.
        c, objective: where.
        parent: number of the branch on which it was located.
        multiplicity: how many test functions vanish.
        station: the point, on the parent.
        detail: what vanishes, and which way.
        joins: the point has more symmetry than the branch, which passes through it.
        children: numbers of the branches that end or pass there.
    """

    kind: Kind
    c: float
    objective: float
    parent: int
    multiplicity: int
    station: Station
    detail: str
    joins: bool = False
    children: tuple[int, ...] = ()


def events_on(branch: Branch, number: int = 0) -> tuple[Event, ...]:
    """All events on a branch, in order of arclength.

    Two test functions that change sign in opposite directions between two stations are missed.

    Args:
        branch: from ``follow``.
        number: its number, for ``Event.parent``.

    Example:
        >>> from landscape.atlas import atlas
        >>> from landscape.branches.continuation import follow
        >>> from ufm import CrossEntropy
        >>> found = atlas(UFM(CrossEntropy(), 3, 3, lambda_W=0.02, lambda_H=0.02))
        >>> origin = follow(found.orbits[-1], 0.05, 1.2)
        >>> [(e.kind.name, round(e.c, 9), e.multiplicity) for e in events_on(origin)]
        [('BIRTH', 1.0, 2)]
    """
    folds, found = dict(branch.folds), list[Event]()
    for i, (one, other) in enumerate(pairwise(branch.stations)):
        if i in folds:
            turn = folds[i]
            found += _crossed(branch, one, turn.before, number)
            found.append(_fold(turn, number))
            found += _crossed(branch, turn.after, other, number)
        else:
            found += _crossed(branch, one, other, number)
    return tuple(found)


def event_error(model: UFM, event: Event) -> float:
    """How far an event is from being one, in units of sigma.

    The largest of the gradient norm and the test functions that should vanish at (point, c), from
    the dense Hessian (SYMMETRY_BREAKING, FOLD) or the couplings (BIRTH).

    Args:
        model: the model whose branches were followed; only its decays' ratio matters, not their
            size.
        event: the claim.
    """
    scale = event.c / model.c
    point, K = event.station.point, model.num_classes
    rank = point.W.shape[1]
    merged = model.as_merged(model.origin())[0].with_dimension(max(1, rank))
    merged = merged.with_decays(scale * float(model.lambda_W), scale * float(model.lambda_H))
    _, gradient, hessian = dense_derivatives(merged, point)
    if event.kind is Kind.BIRTH:
        padded = point if rank else point._replace(W=np.zeros((K, 1)), H=np.zeros((1, K)))
        tests = reduced(merged, padded).couplings / merged.sigma - 1
        zeros = event.multiplicity
    else:
        tests = np.asarray(np.linalg.eigvalsh(hessian) / merged.sigma)
        symmetric = predicted_nullity(merged, rank, rank, point.W @ point.H, point.b)
        zeros = event.multiplicity + (symmetric or 0)
    test = np.sort(np.abs(tests))[zeros - 1]
    return float(max(np.linalg.norm(gradient) / merged.sigma, test))


def _fold(turn: Turn, number: int) -> Event:
    side = "largest" if turn.before.log_c < turn.station.log_c else "smallest"
    low, high = sorted((turn.before.range_index, turn.after.range_index))
    detail = f"{side} c of two orbits, range index {low} and {high}"
    fold = turn.station
    return Event(Kind.FOLD, fold.c, fold.objective, number, 1, fold, detail)


def _crossed(branch: Branch, one: Station, other: Station, number: int) -> list[Event]:
    """Events between two stations without a fold between them."""
    tests: list[tuple[Kind, Callable[[Station], float]]] = [
        (Kind.SYMMETRY_BREAKING, _eigenvalue(k))
        for k in _changed(one.range_index, other.range_index)
    ]
    tests += [(Kind.BIRTH, _coupling(k)) for k in _changed(one.overshoot, other.overshoot)]
    found: list[Event] = []
    for kind, test in tests:
        station = branch.curve.crossing(one, other, test)
        if station is None:
            continue
        same = [
            i
            for i, event in enumerate(found)
            if event.kind is kind and abs(event.c / station.c - 1) < TOGETHER
        ]
        if same:
            times = found[same[0]].multiplicity + 1
            found[same[0]] = replace(found[same[0]], multiplicity=times)
        else:
            joins = kind is Kind.SYMMETRY_BREAKING and (
                branch.curve.stabiliser(station, SYMMETRIC) > branch.stabiliser
            )
            found.append(Event(kind, station.c, station.objective, number, 1, station, "", joins))
    found.sort(key=lambda event: float(np.linalg.norm(event.station.y - one.y)))
    low, high = (one, other) if one.log_c < other.log_c else (other, one)
    return [replace(event, detail=_detail(event, low, high)) for event in found]


def _detail(event: Event, low: Station, high: Station) -> str:
    if event.kind is Kind.BIRTH:
        way = "rise above" if high.overshoot > low.overshoot else "fall below"
        return f"{event.multiplicity} singular values of G {way} sigma as c grows"
    way = "negative" if high.range_index > low.range_index else "positive"
    return f"{event.multiplicity} range eigenvalues turn {way} as c grows"


def _changed(before: int, after: int) -> range:
    """Positions in the sorted list of the values that change sign."""
    return range(min(before, after), max(before, after))


def _eigenvalue(k: int) -> Callable[[Station], float]:
    return lambda station: float(station.eigenvalues[k])


def _coupling(k: int) -> Callable[[Station], float]:
    return lambda station: float(station.couplings[k]) - 1
