"""The record of an atlas: orbits of critical points, and what is known about the whole list."""

from __future__ import annotations

from bisect import bisect_left, bisect_right, insort
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field, replace
from enum import Enum

from landscape.atlas.checksum import Defect, Stratum, defects, euler_sum, missing_mass, morse_bott
from landscape.atlas.orbit import Orbit, centred_bias, describe
from landscape.atlas.orbits import TOLERANCE
from landscape.atlas.search import Failure, Found
from ufm.plain.model import UFM

# The mass of unseen orbits (Good-Turing) below which a search counts as saturated.
UNSEEN = 0.01


class Status(Enum):
    """What is known about the completeness of a list of orbits."""

    COMPLETE = "a closed form lists every critical point"
    SATURATED = "every checksum is 1 and the search keeps finding the same orbits"
    CHECKSUM_OK = "every checksum is 1; the search was not seen to be saturated"
    OPEN = "a checksum is not 1, a Morse inequality fails, or a point is degenerate"


@dataclass(frozen=True)
class Round:
    """What was known after a round of searches, in all strata.

    Attributes:
        searches: begun so far.
        orbits: found so far.
        checksum: the Euler sum of AT-4 for d = 1..K.
        missing_mass: Good-Turing's estimate, the worst over the ranks.
    """

    searches: int
    orbits: int
    checksum: dict[int, int]
    missing_mass: float


@dataclass(frozen=True, eq=False)
class Atlas:
    """The orbits of critical points that were found, and how complete the list is.

    Attributes:
        model: the merged model; its dimension is the largest rank.
        orbits: in ascending order of objective.
        starts, failures: searches begun, and why some gave nothing, per rank.
        seconds: time spent.
        history: what was known after each round.
        proved: whether a theorem lists all critical points, and these are they.
        unsearched: what the search left out on purpose; empty: nothing.
    """

    model: UFM
    orbits: tuple[Orbit, ...]
    starts: Counter[int] = field(default_factory=Counter)
    failures: dict[int, Counter[Failure]] = field(default_factory=dict)
    seconds: float = 0.0
    history: tuple[Round, ...] = ()
    proved: bool = False
    unsearched: str = ""

    @property
    def strata(self) -> tuple[Stratum, ...]:
        """What the checksum needs of every orbit."""
        return tuple(
            Stratum(o.count, o.rank, o.range_index, o.overshoot, o.betti) for o in self.orbits
        )

    @property
    def checksum(self) -> dict[int, int]:
        """The Euler sum of AT-4 for d = 1..K: 1 for a complete list."""
        return {d: euler_sum(self.strata, d) for d in range(1, self.model.num_classes + 1)}

    @property
    def inequalities(self) -> dict[int, bool]:
        """Whether the Morse-Bott inequalities of AT-5 hold, for d = 1..K."""
        return {d: morse_bott(self.strata, d).holds for d in range(1, self.model.num_classes + 1)}

    @property
    def defects(self) -> tuple[Defect, ...]:
        """Every dimension whose checksum is not 1, and what seems to be missing."""
        return defects(self.strata, range(1, self.model.num_classes + 1))

    @property
    def missing_mass(self) -> float:
        """Good-Turing's estimate of the probability that a search ends at an unseen orbit.

        The worst over the ranks: searches of one rank know nothing of another.
        """
        if self.proved:
            return 0.0
        ranks = {o.rank for o in self.orbits if o.rank}
        return max(map(self.missing_mass_of, ranks), default=0.0)

    def missing_mass_of(self, rank: int) -> float:
        """The same in one stratum; 1 if no search that knows nothing of the list was there."""
        hits = [o.hits for o in self.orbits if o.rank == rank]
        return missing_mass(hits) if sum(hits) else 1.0

    @property
    def status(self) -> Status:
        """OPEN, CHECKSUM_OK, SATURATED or COMPLETE."""
        right = not self.unsearched and all(value == 1 for value in self.checksum.values())
        if not right or not all(o.morse_bott for o in self.orbits):
            return Status.OPEN
        if not all(self.inequalities.values()):
            return Status.OPEN
        if self.proved:
            return Status.COMPLETE
        return Status.SATURATED if self.missing_mass <= UNSEEN else Status.CHECKSUM_OK


def highest_rank(model: UFM) -> int:
    """K - 1 where a common shift of the logits costs nothing, else K (AT-1)."""
    K = model.num_classes
    shift = bool(model.loss.properties(K).shift_invariant) or model.lambda_b == 0
    return K - 1 if shift else K


def whole(model: UFM) -> UFM:
    """The merged model in the dimension of its highest rank."""
    return model.as_merged(model.origin())[0].with_dimension(highest_rank(model))


def gathered(
    orbits: Sequence[Orbit], model: UFM, found: Iterable[Found], *, counted: bool = True
) -> tuple[Orbit, ...]:
    """Orbits with new points sorted in: equal ones are counted, and only new ones described.

    Args:
        orbits: known so far.
        model: the merged model in the dimension of the new points.
        found: new points, of full rank or at the origin.
        counted: whether they count as hits; searches from known points should not, for
            Good-Turing's estimate asks for searches that know nothing of what was found.

    Returns:
        Orbits in ascending order of objective.

    Example:
        >>> from ufm import CrossEntropy
        >>> model = UFM(CrossEntropy(), 3, 2, lambda_W=0.1, lambda_H=0.1)
        >>> best = model.minimiser()
        >>> again = [Found(best.point, best.value, 0.0)] * 2
        >>> [orbit.hits for orbit in gathered((), model.merge().model, again)]
        [2]
    """
    kept = sorted(orbits, key=_height)
    for new in found:
        item = (new.objective, new.point.W @ new.point.H, centred_bias(model, new.point))
        # Objectives of one orbit agree far better than the tolerance for Z; others are not met.
        reach = TOLERANCE * max(1.0, abs(new.objective))
        first = bisect_left(kept, new.objective - reach, key=_height)
        last = bisect_right(kept, new.objective + reach, key=_height)
        for i in range(first, last):
            if kept[i].contains(item):
                kept[i] = kept[i].seen_again(int(counted))
                break
        else:
            insort(kept, replace(describe(model, new), hits=int(counted)), key=_height)
    return tuple(kept)


def _height(orbit: Orbit) -> float:
    return orbit.objective
