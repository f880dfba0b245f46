"""Follow a critical point as the weight decay changes: pseudo-arclength continuation in (x, log c).

A branch is the curve of critical points of one rank and one symmetry. It runs to the ends of the
interval, on around folds, and ends where it turns onto its own mirror image: at a lower stratum
(BIRTH) or at a point of larger symmetry (SYMMETRY), be it of relabellings or of the loss.
Source: Keller 1977; the two kinds of end are derived here.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from enum import Enum
from itertools import pairwise

import numpy as np
from numpy.typing import NDArray

from landscape.atlas.orbit import Orbit, centred_bias
from landscape.branches.curve import Curve, Station, full_rank
from landscape.branches.turning import (
    Turn,
    distance_to_turn,
    lower_stratum,
    opposite,
    turn_between,
)
from ufm.errors import InputError
from ufm.plain.relabelling import TOLERANCE, same_orbit
from ufm.point import Point
from ufm.typing import Array

# Arclength steps in balanced coordinates, whose points have size one to ten.
FIRST_STEP, LARGEST_STEP, SMALLEST_STEP, GROWTH = 0.02, 0.3, 1e-7, 1.6
# Cosine of the largest angle between tangents of neighbouring stations (14 degrees), and the
# largest correction of a predicted point as a share of the step: a longer one may change branch.
STRAIGHT, DEVIATION = 0.97, 0.1
MAX_STATIONS = 5000
# Stations on the way to an end, as shares of what is left; those whose index rounding could change
# are left out.
APPROACH, CLEAR = (0.5, 0.8), 1e-8
# An interval may end where branches are born, known to rounding.
EDGE = 1e-12


class End(Enum):
    """Why a branch ends."""

    LIMIT = "end of the interval"
    BIRTH = "meets a lower stratum"
    SYMMETRY = "joins a branch of larger symmetry"
    CLOSED = "came back to where it started"
    LOST = "lost"


@dataclass(frozen=True, eq=False)
class Ending:
    """One end of a branch.

    Attributes:
        end: its kind.
        station: the last critical point; at BIRTH and SYMMETRY the point of the other branch.
        meeting: at BIRTH and SYMMETRY the same in the coordinates of the branch that ends.
        reason: what went wrong, for LOST.
    """

    end: End
    station: Station
    meeting: Station | None = None
    reason: str = ""

    def reversed(self) -> Ending:
        """The same for the other orientation."""
        meeting = None if self.meeting is None else opposite(self.meeting)
        return replace(self, station=opposite(self.station), meeting=meeting)


@dataclass(frozen=True, eq=False)
class Branch:
    """One curve of critical points, in order of arclength.

    Attributes:
        curve: its equations.
        stations: critical points; the ends BIRTH and SYMMETRY are not among them.
        folds: (i, where c turns between stations i and i + 1) for every fold.
        first, last: how it ends.
        stabiliser: number of relabellings that leave every point alone.
    """

    curve: Curve
    stations: tuple[Station, ...]
    folds: tuple[tuple[int, Turn], ...]
    first: Ending
    last: Ending
    stabiliser: int

    @property
    def rank(self) -> int:
        """Rank of Z."""
        return self.curve.rank

    @property
    def c(self) -> Array:
        """c of every station."""
        return np.array([s.c for s in self.stations])

    @property
    def objective(self) -> Array:
        """f at every station."""
        return np.array([s.objective for s in self.stations])

    @property
    def points(self) -> tuple[Point, ...]:
        """W, H, b of every station, in the coordinates of the model."""
        return tuple(s.point for s in self.stations)

    @property
    def norms(self) -> Array:
        """|Z|_F of every station."""
        return np.array([np.linalg.norm(s.Z) for s in self.stations])

    @property
    def range_index(self) -> NDArray[np.int64]:
        """Negative eigenvalues in dimension r at every station."""
        return np.array([s.range_index for s in self.stations])

    @property
    def overshoot(self) -> NDArray[np.int64]:
        """Couplings above sigma at every station."""
        return np.array([s.overshoot for s in self.stations])

    @property
    def couplings(self) -> Array:
        """Couplings over sigma, (stations, K - r)."""
        return np.array([s.couplings for s in self.stations])

    @property
    def smallest(self) -> Array:
        """The range eigenvalue closest to zero over sigma, balanced coordinates, signed."""
        return np.array([s.smallest for s in self.stations])

    @property
    def pieces(self) -> tuple[tuple[Station, Station], ...]:
        """Neighbours along the branch, folds and the meetings at its ends included."""
        nodes = list(self.stations)
        for i, fold in reversed(self.folds):
            nodes.insert(i + 1, fold.station)
        if self.first.meeting is not None:
            nodes.insert(0, self.first.meeting)
        if self.last.meeting is not None:
            nodes.append(self.last.meeting)
        return tuple(pairwise(nodes))

    def spans(self, station: Station) -> bool:
        """Whether the branch could pass through a point, by its c and objective alone.

        Along every piece f grows with c, as d f / d log c is the weight decay part of f.
        """
        slack = 1e-9
        for one, other in self.pieces:
            low, high = (one, other) if one.log_c < other.log_c else (other, one)
            within = low.log_c - slack <= station.log_c <= high.log_c + slack
            if within and low.objective - slack <= station.objective <= high.objective + slack:
                return True
        return False

    def at(self, c: float) -> tuple[Station, ...]:
        """The critical points of this branch at a value of c, in order of arclength."""
        log_c = math.log(c)
        found = []
        for one, other in self.pieces:
            if one.log_c == log_c and one is not self.first.meeting:
                found.append(one)
            elif (one.log_c - log_c) * (other.log_c - log_c) < 0:
                station = self.curve.reaching(one, other, log_c)
                found += [] if station is None else [station]
        end = self.stations[-1]
        return tuple([*found, end] if end.log_c == log_c else found)


def follow(orbit: Orbit, low: float, high: float) -> Branch:
    """The branch through an orbit, in both directions of c.

    Every station is a critical point to gradient norm 1e-12; where none can be reached the branch
    ends as LOST, with the reason.

    Args:
        orbit: a critical orbit whose zero eigenvalues symmetry explains; its model tells the ratio
            of the decays.
        low: smallest c.
        high: largest c; that of the orbit must lie between.

    Raises:
        InputError: an interval without the orbit's c, or a degenerate orbit.

    Example:
        >>> from landscape.atlas import atlas
        >>> from ufm import UFM, CrossEntropy
        >>> found = atlas(UFM(CrossEntropy(), 3, 3, lambda_W=0.02, lambda_H=0.02))
        >>> branch = follow(found.orbits[0], 0.05, 1.2)
        >>> branch.first.end.name, branch.last.end.name, round(branch.last.station.c, 9)
        ('LIMIT', 'BIRTH', 1.0)
    """
    c = orbit.model.c
    if not 0 < low <= c <= high:
        raise InputError("Need 0 < low <= c <= high, c of the orbit", (low, c, high), "widen it")
    curve = Curve.of(orbit)
    start = curve.at_fixed_c(curve.coordinates(full_rank(orbit)), math.log(c))
    if start is None:
        raise InputError("Need a critical point", orbit.gradient_norm, "search again")
    explained = curve.system(start.y).symmetry.shape[1]
    if explained != orbit.range_nullity or abs(start.smallest) <= CLEAR:
        got = f"{orbit.range_nullity} zero eigenvalues and {explained} symmetries"
        raise InputError("Need zero eigenvalues that symmetry explains", got, "change c a little")
    limits, stabiliser = (math.log(low), math.log(high)), orbit.stabiliser
    ahead = _traced(curve, start, limits, stabiliser)
    if ahead.ending.end is End.CLOSED:
        folds = tuple(ahead.folds)
        return Branch(curve, ahead.stations, folds, ahead.ending, ahead.ending, stabiliser)
    back = _traced(curve, opposite(start), limits, stabiliser)
    last = len(back.stations) - 1
    stations = tuple(opposite(s) for s in back.stations[:0:-1]) + ahead.stations
    folds = tuple((last - 1 - i, turn.reversed()) for i, turn in back.folds[::-1])
    folds += tuple((last + i, turn) for i, turn in ahead.folds)
    return Branch(curve, stations, folds, back.ending.reversed(), ahead.ending, stabiliser)


@dataclass(frozen=True, eq=False)
class _Trace:
    """One direction: stations from the start on; a fold i lies between stations i and i + 1."""

    stations: tuple[Station, ...]
    folds: tuple[tuple[int, Turn], ...]
    ending: Ending


def _traced(curve: Curve, start: Station, limits: tuple[float, float], stabiliser: int) -> _Trace:
    """Stations in the direction of the tangent until the branch ends."""
    stations, folds = [start], list[tuple[int, Turn]]()
    step, bend = FIRST_STEP, np.zeros_like(start.y)

    def ended(ending: Ending) -> _Trace:
        return _Trace(tuple(stations), tuple(folds), ending)

    while len(stations) < MAX_STATIONS:
        here = stations[-1]
        met = lower_stratum(curve, here, bend)
        if met is not None and limits[0] - EDGE <= met.lower.log_c <= limits[1] + EDGE:
            stations += _approach(curve, here, met.padded)
            return ended(Ending(End.BIRTH, met.lower, met.padded))
        # Next to a turn the equations may be singular: stop halfway, or step over it.
        turning = distance_to_turn(here, bend)
        near = 0.5 * turning < step < 1.5 * turning
        there = _ahead(curve, here, 0.5 * turning if near else step, bend, stabiliser)
        if there is not None and not limits[0] <= there.log_c <= limits[1]:
            edge = _at_limit(curve, here, there, limits)
            if edge is not None:
                stations += [] if edge is here else [edge]
                return ended(Ending(End.LIMIT, edge))
            there = None
        elif there is not None and here.tangent[-1] * there.tangent[-1] < 0:
            turn = turn_between(curve, here, there)
            if turn is None:
                there = None
            elif turn.is_fold:
                folds.append((len(stations) - 1, turn))
            else:
                stations += _approach(curve, here, turn.station)
                return ended(Ending(End.SYMMETRY, turn.station, turn.station))
        if there is None:
            step *= 0.5
            if step < SMALLEST_STEP:
                return ended(Ending(End.LOST, here, reason="no step converges"))
            continue
        bend = (there.tangent - here.tangent) / float(np.linalg.norm(there.y - here.y))
        back = _returned(curve, start, here, there) if folds else None
        if back is not None:
            stations.append(back)
            return ended(Ending(End.CLOSED, back))
        stations.append(there)
        step = min(LARGEST_STEP, GROWTH * step)
    return ended(Ending(End.LOST, stations[-1], reason="too many stations"))


def _ahead(
    curve: Curve, here: Station, step: float, bend: Array, stabiliser: int
) -> Station | None:
    """The next station, or None if the step is too long for the corrector or the bend."""
    guess = here.y + step * here.tangent + 0.5 * step**2 * bend
    found = curve.corrected(guess, here.tangent)
    if found is None or np.linalg.norm(found[0] - guess) > DEVIATION * step:
        return None
    there = curve.station(*found, here.tangent)
    if float(here.tangent @ there.tangent) < STRAIGHT:
        return None
    # Where it passes through a branch of larger symmetry, Newton's method may end on that one.
    return there if curve.stabiliser(there, TOLERANCE) <= stabiliser else None


def _at_limit(
    curve: Curve, here: Station, there: Station, limits: tuple[float, float]
) -> Station | None:
    """The critical point at the end of the interval, between two stations."""
    limit = limits[1] if there.log_c > limits[1] else limits[0]
    if here.log_c == limit:  # it begins there and points outwards
        return here
    if here.tangent[-1] * there.tangent[-1] < 0:
        return None
    edge = curve.reaching(here, there, limit)
    # The tangent points to larger c: turn it into the direction of travel.
    return edge if edge is None or here.tangent[-1] > 0 else opposite(edge)


def _approach(curve: Curve, here: Station, end: Station) -> list[Station]:
    """Further stations on the way to an end, as far as rounding allows."""
    found = [curve.between(here, end, share) for share in APPROACH]
    return [
        s
        for s in found
        if s is not None and abs(s.smallest) > CLEAR and s.range_index == here.range_index
    ]


def _returned(curve: Curve, start: Station, here: Station, there: Station) -> Station | None:
    """Where the branch passes through the orbit of its start between two stations, if it does."""
    if (here.log_c - start.log_c) * (there.log_c - start.log_c) >= 0:
        return None
    again = curve.crossing(here, there, lambda s: s.log_c - start.log_c)
    if again is None:
        return None
    items = [(s.objective, s.Z, centred_bias(curve.model, s.point)) for s in (start, again)]
    same = same_orbit(items[0], items[1], curve.model.kinds)
    return again if same else None
