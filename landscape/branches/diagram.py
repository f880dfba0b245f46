"""The bifurcation diagram: every branch through the orbits of an atlas, and where branches meet."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

import numpy as np

from landscape.atlas.orbit import Orbit, centred_bias, describe
from landscape.atlas.record import Atlas
from landscape.atlas.search import Found
from landscape.branches.continuation import Branch, End, Ending, follow
from landscape.branches.curve import Curve, Station
from landscape.branches.events import Event, Kind, events_on
from ufm.errors import InputError
from ufm.plain.model import UFM
from ufm.plain.relabelling import TOLERANCE, same_orbit
from ufm.point import Point

# An end and an event are the same point if c agrees to this, relatively, and Z to the tolerance
# below: ends at a point of larger symmetry are located to 1e-9 in c and the root of it in Z.
SAME_C, SAME_Z = 1e-6, 1e-3
ENDS = {End.BIRTH: Kind.BIRTH, End.SYMMETRY: Kind.SYMMETRY_BREAKING}


@dataclass(frozen=True, eq=False)
class BranchDiagram:
    """Branches over an interval of c.

    Attributes:
        model: the merged model whose orbits were followed; its c lies in the interval.
        low, high: the interval.
        orbits: the orbits at the c of the model.
        branches: one for every curve of critical points.
        members: for every branch, the numbers of its orbits in ``orbits``.
        events: births, broken symmetries and folds, in ascending order of c.
        unlisted: numbers of the orbits that were not given but met on a branch; they come last.
        refused: numbers of the orbits that could not be followed, with the reason.
    """

    model: UFM
    low: float
    high: float
    orbits: tuple[Orbit, ...]
    branches: tuple[Branch, ...] = ()
    members: tuple[tuple[int, ...], ...] = ()
    events: tuple[Event, ...] = ()
    unlisted: tuple[int, ...] = ()
    refused: tuple[tuple[int, str], ...] = ()

    @property
    def lost(self) -> tuple[tuple[int, Ending], ...]:
        """Branches that ended for a numerical reason, by number."""
        ends = [(i, end) for i, b in enumerate(self.branches) for end in (b.first, b.last)]
        return tuple((i, end) for i, end in ends if end.end is End.LOST)

    def label(self, branch: int) -> str:
        """The name of a branch: that of its first orbit at the c of the model, else of its own."""
        if self.members[branch]:
            return self.orbits[self.members[branch][0]].label
        stations = self.branches[branch].stations
        return orbit_of(self.branches[branch].curve, stations[len(stations) // 2]).label

    def orbits_at(self, c: float) -> tuple[Orbit, ...]:
        """The orbits that the branches predict at another c, in ascending order of objective.

        Raises:
            InputError: c outside the interval.
        """
        if not self.low <= c <= self.high:
            raise InputError(f"Need {self.low} <= c <= {self.high}", c, "follow further")
        found: list[Orbit] = []
        for branch in self.branches:
            for station in branch.at(c):
                if find(found, branch, station) is None:
                    found.append(orbit_of(branch.curve, station))
        return tuple(sorted(found, key=lambda orbit: orbit.objective))


def branches(
    atlas: Atlas,
    low: float,
    high: float,
    progress: Callable[[BranchDiagram], None] | None = None,
) -> BranchDiagram:
    """Follow every orbit of an atlas over an interval of c.

    Orbits that one branch joins around folds are followed once. Orbits that exist only at other c
    appear as events whose children are not listed; ``grow`` looks for those.
    Source: AT-1, A-2; derived here.

    Args:
        atlas: orbits at one c.
        low: smallest c.
        high: largest c; that of the atlas must lie between.
        progress: called with the diagram so far after every branch.

    Raises:
        InputError: an interval without the c of the atlas.

    Example:
        >>> from landscape.atlas import atlas
        >>> from ufm import CrossEntropy
        >>> found = atlas(UFM(CrossEntropy(), 3, 3, lambda_W=0.02, lambda_H=0.02))
        >>> diagram = branches(found, 0.03, 1.2)
        >>> len(diagram.branches), [(e.kind.name, round(e.c, 6)) for e in diagram.events]
        (4, [('SYMMETRY_BREAKING', 0.045082), ('BIRTH', 1.0)])
    """
    c = atlas.model.c
    if not 0 < low <= c <= high:
        raise InputError("Need 0 < low <= c <= high, c of the atlas", (low, c, high), "widen it")
    diagram = BranchDiagram(atlas.model, low, high, atlas.orbits)
    for i, orbit in enumerate(atlas.orbits):
        if any(i in numbers for numbers in diagram.members):
            continue
        if not orbit.morse_bott:
            reason = "degenerate: symmetry does not explain every zero eigenvalue"
            diagram = replace(diagram, refused=(*diagram.refused, (i, reason)))
            continue
        diagram = with_branch(diagram, follow(orbit, low, high))
        if progress is not None:
            progress(diagram)
    return diagram


def with_branch(diagram: BranchDiagram, branch: Branch) -> BranchDiagram:
    """The diagram with one more branch: its orbits named, its events merged with known ones."""
    orbits, members = list(diagram.orbits), list[int]()
    unlisted = list(diagram.unlisted)
    for station in branch.at(diagram.model.c):
        number = find(orbits, branch, station)
        if number is None:
            number = len(orbits)
            unlisted.append(number)
            orbits.append(orbit_of(branch.curve, station))
        members.append(number)
    all_branches = (*diagram.branches, branch)
    events = list(diagram.events)
    for event in events_on(branch, len(all_branches) - 1):
        events = _merged(events, event, diagram.model)
    return replace(
        diagram,
        orbits=tuple(orbits),
        branches=all_branches,
        members=(*diagram.members, tuple(dict.fromkeys(members))),
        events=_linked(events, all_branches, diagram.model),
        unlisted=tuple(unlisted),
    )


def orbit_of(curve: Curve, station: Station) -> Orbit:
    """The orbit of a station, described in full."""
    model, point = curve.model_at(station.log_c), station.point
    if not curve.rank:
        K = model.num_classes
        point = Point(np.zeros((K, 1)), np.zeros((1, K)), point.b)
    return describe(model, Found(point, station.objective, station.gradient_norm))


def find(orbits: Sequence[Orbit], branch: Branch, station: Station) -> int | None:
    """The number of the orbit, all at the c of the station, that it belongs to, or None."""
    model = branch.curve.model
    item = (station.objective, station.Z, centred_bias(model, station.point))
    return next((i for i, o in enumerate(orbits) if o.contains(item)), None)


def _merged(events: list[Event], new: Event, model: UFM) -> list[Event]:
    """Events with a new one: a branch that passes through a known one is no event of its own."""
    for i, old in enumerate(events):
        if old.kind is new.kind and _same_place(old.station, new.station, model):
            if old.joins and not new.joins:
                return [*events[:i], new, *events[i + 1 :]]
            if new.joins:
                return events
    return [*events, new]


def _linked(events: Sequence[Event], every: Sequence[Branch], model: UFM) -> tuple[Event, ...]:
    """Events in ascending order of c, with the branches that end or pass there as children."""
    linked = [
        replace(
            event,
            children=tuple(
                number
                for number, branch in enumerate(every)
                if number != event.parent and _meets(event, branch, model)
            ),
        )
        for event in events
    ]
    return tuple(sorted(linked, key=lambda event: event.c))


def _meets(event: Event, branch: Branch, model: UFM) -> bool:
    """Whether a branch ends at an event, or passes through it with less symmetry."""
    ends = [end for end in (branch.first, branch.last) if ENDS.get(end.end) is event.kind]
    if any(_same_place(event.station, end.station, model) for end in ends):
        return True
    # Kernels of one dimension make pitchforks only: what branches off ends there.
    passes = event.kind is Kind.SYMMETRY_BREAKING and event.multiplicity > 1
    if not passes or branch.rank != event.station.point.W.shape[1]:
        return False
    if not branch.spans(event.station):
        return False
    return any(_same_place(event.station, station, model) for station in branch.at(event.c))


def _same_place(one: Station, other: Station, model: UFM) -> bool:
    """Whether an event and an end are one critical point up to symmetry."""
    near = abs(math.expm1(one.log_c - other.log_c)) <= SAME_C
    return near and same_point(one, other, model, SAME_Z)


def same_point(one: Station, other: Station, model: UFM, tolerance: float = TOLERANCE) -> bool:
    """Whether two stations at one c are one critical point up to rotations and relabellings."""
    items = [(s.objective, s.Z, centred_bias(model, s.point)) for s in (one, other)]
    return same_orbit(items[0], items[1], model.kinds, tolerance=tolerance)
