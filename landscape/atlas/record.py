"""The record of an atlas: orbits of critical points, and what is known about the whole list."""

from __future__ import annotations

from bisect import bisect_left, bisect_right, insort
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field, replace
from enum import Enum
from functools import cached_property

from landscape.atlas.checksum import (
    Defect,
    Stratum,
    defects,
    euler_sum,
    missing_mass,
    missing_mass_bound,
    morse_bott,
)
from landscape.atlas.orbit import Orbit, centred_bias, describe
from landscape.atlas.pairing import Unpaired, unpaired
from landscape.atlas.search import Failure, Found
from ufm.plain.model import UFM
from ufm.plain.relabelling import TOLERANCE

# An upper bound (95 %) for the mass of unseen orbits below which a stratum counts as saturated:
# fifty converged searches of its own if no orbit was hit once only, 80 if one was.
UNSEEN = 0.06
# The same for classes of several kinds, 300 and 480 searches: an orbit then has few points, and the
# basins of its relabellings no longer add up. Of 40 lists of 43 orbits at .06 two lacked some.
UNSEEN_AMONG_KINDS = 0.01


# The number of orbits that neither of two searches found, as estimated, from which they disagree.
UNSEEN_BY_BOTH = 0.5


class Status(Enum):
    """What is known about the completeness of a list of orbits."""

    COMPLETE = "a theorem lists every critical point"
    SATURATED = "every check passes; two searches, descents and paths find the same orbits"
    CHECKSUM_OK = "every check passes; the searches were not seen to agree"
    OPEN = "a check fails, or a point is degenerate"


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
        confirmed: length of the list when descents from its saddles last found nothing that is
            not in it; 0: never.
    """

    model: UFM
    orbits: tuple[Orbit, ...]
    starts: Counter[int] = field(default_factory=Counter)
    failures: dict[int, Counter[Failure]] = field(default_factory=dict)
    seconds: float = 0.0
    history: tuple[Round, ...] = ()
    proved: bool = False
    unsearched: str = ""
    confirmed: int = 0

    @cached_property
    def strata(self) -> tuple[Stratum, ...]:
        """What the checksum needs of every orbit."""
        return tuple(
            Stratum(o.count, o.rank, o.range_index, o.overshoot, o.betti) for o in self.orbits
        )

    @cached_property
    def checksum(self) -> dict[int, int]:
        """The Euler sum of AT-4 for d = 1..K: 1 for a complete list."""
        return {d: euler_sum(self.strata, d) for d in range(1, self.model.num_classes + 1)}

    @cached_property
    def inequalities(self) -> dict[int, bool]:
        """Whether the Morse-Bott inequalities of AT-5 hold, for d = 1..K."""
        return {d: morse_bott(self.strata, d).holds for d in range(1, self.model.num_classes + 1)}

    @cached_property
    def unpaired(self) -> tuple[Unpaired, ...]:
        """The dimensions 1..K in which the cells of AT-6 cannot be paired."""
        heights = [(o.objective, s) for o, s in zip(self.orbits, self.strata, strict=True)]
        every = (unpaired(heights, d) for d in range(1, self.model.num_classes + 1))
        return tuple(one for one in every if one is not None)

    @cached_property
    def headless(self) -> dict[int, Orbit]:
        """The lowest orbit of every d = 1..K in which it is no minimum: something is missing."""
        lowest = {
            d: next((o for o in self.orbits if o.rank <= d), None)
            for d in range(1, self.model.num_classes + 1)
        }
        return {d: o for d, o in lowest.items() if o is not None and o.index(d)}

    @property
    def doubts(self) -> tuple[str, ...]:
        """Why the list cannot be complete, in lines; empty if every check passes."""
        lowest = [
            f"d = {d}: the lowest point of the list ({o.objective:.9f}) is a saddle, so a minimum "
            "is missing"
            for d, o in self.headless.items()
        ]
        return (*(x.text for x in self.defects), *lowest, *(x.text for x in self.unpaired))

    @cached_property
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
        ranks = {o.rank for o in self.orbits if o.rank and not self.exhausted(o.rank)}
        return max(map(self.missing_mass_of, ranks), default=0.0)

    def missing_mass_of(self, rank: int) -> float:
        """The same in one stratum; 1 if no search that knows nothing of the list was there."""
        hits = self._hits(rank)
        return missing_mass(hits) if sum(hits) else 1.0

    @property
    def missing_mass_bound(self) -> float:
        """The worst upper bound (95 %) over the ranks; 0 where a theorem lists all."""
        if self.proved:
            return 0.0
        ranks = [r for r in range(1, self.model.d + 1) if not self.exhausted(r)]
        return max(map(self.missing_mass_bound_of, ranks), default=0.0)

    def missing_mass_bound_of(self, rank: int) -> float:
        """An upper bound (95 %) for the same in one stratum, never zero.

        Searches that fell to a lower stratum count only where the stratum seems to be empty.
        """
        hits = self._hits(rank)
        if hits:
            return missing_mass_bound(hits)
        fell = self.failures.get(rank, Counter())[Failure.LOWER_STRATUM]
        return missing_mass_bound([fell] if fell > 1 else [])

    def _hits(self, rank: int) -> list[int]:
        return [o.hits for o in self.orbits if o.rank == rank]

    def agreed(self, rank: int) -> bool:
        """Whether two searches that know nothing of the list agree about a stratum.

        If they were independent, the orbits that only one of them found, a and b, and those that
        both found, m, would lead one to expect a b / (m + 1) that neither did (Lincoln and
        Petersen, after Chapman 1951): that number must be below one half.
        """
        inside = [o for o in self.orbits if o.rank == rank and o.hits]
        joint = sum(not o.hits_eliminated for o in inside)
        eliminated = sum(o.hits_eliminated == o.hits for o in inside)
        both = len(inside) - joint - eliminated
        return joint * eliminated < UNSEEN_BY_BOTH * (both + 1) and (both > 0 or not inside)

    def exhausted(self, rank: int) -> bool:
        """Whether AT-1 says that nothing else is in a stratum: the highest, of a convex loss."""
        # The duality gap that certifies is known for convex losses only.
        known = any(o.certified and o.morse_bott for o in self.orbits)
        return known and rank == highest_rank(self.model)

    def settled(self, rank: int) -> bool:
        """Whether nothing else can be in a stratum, or both searches agree and were often there."""
        several = len(set(self.model.kinds.tolist())) > 1
        enough = UNSEEN_AMONG_KINDS if several else UNSEEN
        often = self.agreed(rank) and self.missing_mass_bound_of(rank) <= enough
        return often or self.exhausted(rank)

    @property
    def status(self) -> Status:
        """OPEN, CHECKSUM_OK, SATURATED or COMPLETE."""
        wrong = self.unsearched or self.doubts or not all(self.inequalities.values())
        if wrong or not all(o.morse_bott for o in self.orbits):
            return Status.OPEN
        if self.proved:
            return Status.COMPLETE
        sure = self.confirmed == len(self.orbits)
        sure = sure and all(map(self.settled, range(1, self.model.d + 1)))
        return Status.SATURATED if sure else Status.CHECKSUM_OK


def highest_rank(model: UFM) -> int:
    """K - 1 where a shift of the logits or the bias costs nothing, else K (AT-1)."""
    K = model.num_classes
    return K - 1 if model.lambda_b == 0 or model.loss.shift(K) is not None else K


def whole(model: UFM) -> UFM:
    """The merged model in the dimension of its highest rank."""
    return model.as_merged(model.origin())[0].with_dimension(highest_rank(model))


def gathered(
    orbits: Sequence[Orbit],
    model: UFM,
    found: Iterable[Found],
    *,
    counted: bool = True,
    eliminated: bool = False,
) -> tuple[Orbit, ...]:
    """Orbits with new points sorted in: equal ones are counted, and only new ones described.

    Args:
        orbits: known so far.
        model: the merged model in the dimension of the new points.
        found: new points, of full rank or at the origin.
        counted: whether they count as hits; searches from known points should not, for
            Good-Turing's estimate asks for searches that know nothing of what was found.
        eliminated: whether the search eliminated the features.

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
    kept, hits = sorted(orbits, key=_height), Counter[Orbit]()
    for new in found:
        item = (new.objective, new.point.W @ new.point.H, centred_bias(model, new.point))
        # Objectives of one orbit agree far better than the tolerance for Z; others are not met.
        reach = TOLERANCE * max(1.0, abs(new.objective))
        first = bisect_left(kept, new.objective - reach, key=_height)
        last = bisect_right(kept, new.objective + reach, key=_height)
        met = next((orbit for orbit in kept[first:last] if orbit.contains(item)), None)
        if met is None:
            met = replace(describe(model, new), hits=0)
            insort(kept, met, key=_height)
        hits[met] += counted
    return tuple(orbit.seen_again(hits[orbit], eliminated * hits[orbit]) for orbit in kept)


def _height(orbit: Orbit) -> float:
    return orbit.objective
