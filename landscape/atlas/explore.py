"""The search for every critical point, until the list passes its checks or time is up."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field, replace
from enum import Enum
from time import perf_counter

import numpy as np
from numpy.typing import NDArray

from landscape.atlas.checksum import Defect, Stratum, defects, euler_sum, missing_mass, morse_bott
from landscape.atlas.orbit import Orbit, centred_bias, describe
from landscape.atlas.orbits import same_orbit
from landscape.atlas.search import MAX_ITERATIONS, TOLERANCE, Failure, Found, search, together
from landscape.atlas.starts import (
    aligned_starts,
    gaussian_starts,
    partition_starts,
    risen_starts,
)
from landscape.critical import find_critical
from ufm.errors import InputError
from ufm.model import norm
from ufm.plain import UFM
from ufm.point import Point
from ufm.reduce import complement_gradient, reduced

Array = NDArray[np.float64]
# Dense Hessians of 2 K r variables: beyond this one search takes longer than a second.
MAX_CLASSES = 12
# The mass of unseen orbits (Good-Turing) below which a search counts as saturated.
UNSEEN = 0.01


class Status(Enum):
    """What is known about the completeness of a list of orbits."""

    SATURATED = "every checksum is 1 and the search keeps finding the same orbits"
    CHECKSUM_OK = "every checksum is 1; orbits found once remain"
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
    """

    model: UFM
    orbits: tuple[Orbit, ...]
    starts: Counter[int] = field(default_factory=Counter)
    failures: dict[int, Counter[Failure]] = field(default_factory=dict)
    seconds: float = 0.0
    history: tuple[Round, ...] = ()

    @property
    def strata(self) -> tuple[Stratum, ...]:
        """What the checksum needs of every orbit."""
        return tuple(Stratum(o.count, o.rank, o.range_index, o.overshoot) for o in self.orbits)

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
        ranks = {o.rank for o in self.orbits if o.rank}
        masses = [missing_mass([o.hits for o in self.orbits if o.rank == r]) for r in ranks]
        return max(masses, default=0.0)

    @property
    def status(self) -> Status:
        """OPEN, CHECKSUM_OK or SATURATED."""
        right = all(value == 1 for value in self.checksum.values())
        if not right or not all(o.morse_bott for o in self.orbits):
            return Status.OPEN
        if not all(self.inequalities.values()):
            return Status.OPEN
        return Status.SATURATED if self.missing_mass <= UNSEEN else Status.CHECKSUM_OK


def atlas(
    model: UFM,
    *,
    budget: float = 60.0,
    batch: int = 128,
    seed: int = 0,
    until: Status = Status.SATURATED,
    known: Iterable[Point] = (),
    progress: Callable[[Atlas], None] | None = None,
) -> Atlas:
    """Every critical point of a model modulo symmetry, for every dimension at once.

    Searches every rank stratum (A-2) from random, symmetric and risen starts, round by round,
    until ``until`` is reached or the budget is spent. What it returns are critical points, but a
    list is complete only as far as its status says.
    Source: AT-1 to AT-4 of docs/atlas.md.

    Args:
        model: a UFM whose samples merge; d and n play no role beyond c and the proportions.
        budget: seconds after which no further round begins.
        batch: starts per rank and round.
        seed: of the random starts.
        until: CHECKSUM_OK stops earlier than SATURATED.
        known: points of an earlier search, merged columns; those that are critical are taken in.
        progress: called with the atlas so far after every round.

    Raises:
        InputError: more than 12 classes, or squared error with equal class sizes.

    Example:
        >>> from ufm import CrossEntropy
        >>> found = atlas(UFM(CrossEntropy(), 3, 3, lambda_W=0.02, lambda_H=0.02))
        >>> len(found.orbits), found.checksum
        (4, {1: 1, 2: 1, 3: 1})
    """
    began = perf_counter()
    K = model.num_classes
    if K > MAX_CLASSES:
        rule = f"A search by dense Hessians needs K <= {MAX_CLASSES}"
        raise InputError(rule, K, "use fewer classes")
    if model.loss.properties(K).isometric and len(set(model.counts_tuple)) < K:
        raise InputError(
            "An atlas lists points that are isolated modulo rotations",
            f"{model.loss.name} with equal class sizes, whose critical points form continua",
            "use different class sizes, or the closed form: landscape.atlas.balanced_mse_strata",
        )
    merged = model.as_merged(model.origin())[0].with_dimension(highest_rank(model))
    rng = np.random.default_rng(seed)
    made = Atlas(merged, _gathered((), merged.with_dimension(1), _origins(merged, rng)))
    for point in known:
        inside = merged.with_dimension(point.W.shape[1])
        value, gradient = inside.value_and_gradient(point)
        size = float(norm(gradient))
        if size <= TOLERANCE and np.any(point.W):
            orbits = _gathered(made.orbits, inside, [Found(point, float(value), size)])
            made = replace(made, orbits=orbits)
    while True:
        for rank in range(1, merged.d + 1):
            made = _searched(made, rank, batch, rng)
        seen = Round(made.starts.total(), len(made.orbits), made.checksum, made.missing_mass)
        made = replace(made, seconds=perf_counter() - began, history=(*made.history, seen))
        if progress is not None:
            progress(made)
        reached = made.status is Status.SATURATED or made.status is until
        if reached or made.seconds > budget:
            return made


def highest_rank(model: UFM) -> int:
    """K - 1 where a common shift of the logits costs nothing, else K (AT-1)."""
    K = model.num_classes
    shift = bool(model.loss.properties(K).shift_invariant) or model.lambda_b == 0
    return K - 1 if shift else K


def _searched(made: Atlas, rank: int, batch: int, rng: np.random.Generator) -> Atlas:
    """The atlas after another batch in one stratum."""
    model = made.model.with_dimension(rank)
    harvest = search(model, _starts(made, rank, batch, rng))
    orbits = _gathered(made.orbits, model, harvest.found)
    starts, failures = Counter(made.starts), dict(made.failures)
    starts[rank] += harvest.starts
    failures[rank] = failures.get(rank, Counter()) + harvest.failures
    return replace(made, orbits=orbits, starts=starts, failures=failures)


def _starts(made: Atlas, rank: int, batch: int, rng: np.random.Generator) -> Point:
    """Quarters: Gaussian, aligned, symmetric, and risen from the stratum below (or symmetric)."""
    K = made.model.num_classes
    below = _unstable(made, rank - 1)
    quarter = batch // 4
    parts = [
        gaussian_starts(rng, quarter, K, rank),
        aligned_starts(rng, quarter, K, rank),
        partition_starts(rng, quarter, K, rank),
    ]
    left = batch - 3 * quarter
    parts.append(
        risen_starts(rng, left, below, rank) if below else partition_starts(rng, left, K, rank)
    )
    start = together(parts)
    if made.model.lambda_b is None:
        return start
    return start._replace(b=rng.normal(size=(batch, K)) * (rng.random((batch, 1)) < 0.5))


def _unstable(made: Atlas, rank: int) -> list[tuple[Point, Array, Array]]:
    """Orbits of a rank that have unstable directions in new dimensions, with those directions."""
    found = []
    for orbit in made.orbits:
        if orbit.rank != rank or not orbit.overshoot:
            continue
        parts = reduced(orbit.model, orbit.point)
        U, _, Vt = np.linalg.svd(complement_gradient(parts))
        b = orbit.overshoot
        found.append((parts.space.point, U[:, :b], Vt[:b].T))
    return found


def _origins(model: UFM, rng: np.random.Generator) -> list[Found]:
    """Critical points with W = H = 0: one without bias, else those of the bias alone."""
    flat = model.with_dimension(1)
    K = model.num_classes
    zero = Point(np.zeros((K, 1)), np.zeros((1, K)))
    starts = [zero] if model.lambda_b is None else []
    if model.lambda_b is not None:
        starts = [zero._replace(b=size * rng.normal(size=K)) for size in (0.0, 0.3, 1.0, 3.0)]
    found = []
    for start in starts:
        point, value, size, _ = find_critical(flat, start, TOLERANCE, MAX_ITERATIONS)
        if float(size) <= TOLERANCE:
            found.append(Found(point.to_numpy(), float(value), float(size)))
    return found


def _gathered(orbits: Sequence[Orbit], model: UFM, found: Iterable[Found]) -> tuple[Orbit, ...]:
    """Orbits with new points sorted in: equal ones are counted, and only new ones described."""
    kept = list(orbits)
    for new in found:
        known = next((i for i, old in enumerate(kept) if _is_in(old, model, new)), None)
        if known is None:
            kept.append(describe(model, new))
        else:
            kept[known] = kept[known].seen_again()
    return tuple(sorted(kept, key=lambda orbit: orbit.objective))


def _is_in(orbit: Orbit, model: UFM, new: Found) -> bool:
    """Whether a point lies in an orbit."""
    if orbit.rank != (model.d if np.any(new.point.W) else 0):
        return False
    item = (new.objective, new.point.W @ new.point.H, centred_bias(model, new.point))
    return same_orbit((orbit.objective, orbit.Z, orbit.bias), item, np.asarray(model.counts))
