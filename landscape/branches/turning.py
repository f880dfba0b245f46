"""Where c turns along a branch: a fold, a point of larger symmetry, or one of a lower stratum.

At the last two the branch turns onto its own mirror image: the equations are singular there, and c
is an even function of arclength.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, replace

import numpy as np
from scipy.optimize import brentq

from landscape.branches.curve import Curve, NoCriticalPointError, Station
from ufm.point import Point, flatten, unflatten
from ufm.typing import Array

# Sine of the angle to constant c below which a turn is looked for ahead, up to some arclength.
NEAR_TURN, FARTHEST = 0.3, 0.6
# At a lower stratum the last singular value of Z vanishes like the square of the distance; the
# extrapolation leaves a few per cent of the distance, so 1e-3 of the value here.
LOST_RANK = 1e-2
# Half a bracket, as a share of the wider one, for a second look at a turn.
NARROW = 0.05


@dataclass(frozen=True, eq=False)
class Meeting:
    """Where a branch meets a lower stratum.

    Attributes:
        lower: the point, on the branch of lower rank.
        padded: the same in the coordinates of the branch that meets it.
    """

    lower: Station
    padded: Station


def distance_to_turn(here: Station, bend: Array) -> float:
    """How far ahead c turns, to first order; infinite where it does not seem to.

    Args:
        here: a station.
        bend: derivative of the tangent along the branch.
    """
    slope, change = float(here.tangent[-1]), float(bend[-1])
    near = abs(slope) < NEAR_TURN and slope * change < 0
    return -slope / change if near else math.inf


def lower_stratum(curve: Curve, here: Station, bend: Array) -> Meeting | None:
    """The point of lower rank ahead, if c turns because the branch meets one.

    The equations of this branch are singular there, those of the lower stratum are not: its point
    is found at fixed c, and c where a coupling equals sigma. That c is an even function of
    arclength says beforehand where to look, to second order.
    """
    distance = distance_to_turn(here, bend)
    if distance > FARTHEST or not curve.rank:
        return None
    guess = here.y + distance * here.tangent + 0.5 * distance**2 * bend
    W, H, b = unflatten(guess[:-1], curve.like)
    U, values, Vt = np.linalg.svd(W @ H)
    least = float(np.linalg.svd(here.Z, compute_uv=False)[curve.rank - 1])
    kept = int(np.sum(values > LOST_RANK * least))
    if kept >= curve.rank:
        return None
    roots = np.sqrt(values[:kept])
    below = curve.of_rank(Point(U[:, :kept] * roots, roots[:, None] * Vt[:kept], b))
    half = 0.5 * distance * float(here.tangent[-1])
    lower = _coupling_at_sigma(below, here.log_c + half, 0.5 * abs(half))
    if lower is None:
        return None
    # The same point in the coordinates of this branch: what vanishes is taken off.
    basis = np.linalg.svd(np.concatenate([W, H.T]))[2][:kept]
    flat = Point(W @ basis.T @ basis, basis.T @ basis @ H, b)
    tangent = here.tangent + distance * bend
    tangent[-1] = 0.0
    y = np.append(flatten(flat), lower.log_c)
    return Meeting(lower, replace(lower, y=y, tangent=tangent / np.linalg.norm(tangent)))


def _coupling_at_sigma(curve: Curve, log_c: float, width: float) -> Station | None:
    """The critical point near ``curve.like`` with a coupling sigma, at a c within ``width``."""
    guess = flatten(curve.like)

    def at(z: float) -> Station:
        station = curve.at_fixed_c(guess, z)
        if station is None:
            raise NoCriticalPointError
        return station

    try:
        low, high = (at(log_c + sign * width).couplings - 1 for sign in (-1, 1))
        changing = np.flatnonzero(low * high <= 0)
        if not len(changing):
            return None
        k = int(changing[np.abs(low + high)[changing].argmin()])
        limits = (log_c - width, log_c + width)
        return at(brentq(lambda z: float(at(z).couplings[k]) - 1, *limits, xtol=1e-15, rtol=1e-14))
    except NoCriticalPointError:
        return None


@dataclass(frozen=True, eq=False)
class Turn:
    """Where c turns.

    Attributes:
        station: the point.
        before, after: critical points a little to either side.
    """

    station: Station
    before: Station
    after: Station

    @property
    def is_fold(self) -> bool:
        """Whether the branch is another one afterwards, and not its own mirror image.

        Exactly one eigenvalue changes sign at a fold, none where c is even in arclength.
        """
        return self.before.range_index != self.after.range_index

    def reversed(self) -> Turn:
        """The same for the other orientation."""
        return Turn(opposite(self.station), opposite(self.after), opposite(self.before))


def turn_between(curve: Curve, here: Station, there: Station) -> Turn | None:
    """Where c turns between two stations, or None.

    A second, narrower bracket makes the cubic exact, and with it what the corrector leaves alone.
    """
    rough = curve.crossing(here, there, _slope)
    if rough is None:
        return None
    share = float(np.linalg.norm(rough.y - here.y) / np.linalg.norm(there.y - here.y))
    before = curve.between(here, there, max(0.0, share - NARROW))
    after = curve.between(here, there, min(1.0, share + NARROW))
    if before is None or after is None or _slope(before) * _slope(after) >= 0:
        return None
    station = curve.crossing(before, after, _slope)
    return None if station is None else Turn(station, before, after)


def opposite(station: Station) -> Station:
    """The same point for the other orientation of its branch."""
    return replace(station, tangent=-station.tangent)


def _slope(station: Station) -> float:
    return float(station.tangent[-1])
