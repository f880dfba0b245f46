"""The search for every critical point, until the list passes its checks or time is up."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from time import perf_counter
from typing import Any

import numpy as np
from threadpoolctl import threadpool_limits

from landscape.atlas.engines import eliminated_search, joint_search, stacked
from landscape.atlas.pathways import below, beside
from landscape.atlas.record import Atlas, Round, Status, gathered, whole
from landscape.atlas.search import MAX_ITERATIONS, TOLERANCE, Found, Harvest, together
from landscape.atlas.squared_error import squared_error_atlas
from landscape.atlas.starts import (
    aligned_starts,
    blind_starts,
    neighbouring_starts,
    partition_starts,
    risen_starts,
)
from landscape.solvers.critical import find_critical
from ufm.errors import InputError
from ufm.model import Model, norm
from ufm.plain.chain_rule import value_and_gradient
from ufm.plain.model import UFM
from ufm.plain.reduce import complement_gradient, reduced, row_space
from ufm.point import Point
from ufm.typing import Array

# Dense Hessians of 2 K r variables: beyond this one search takes longer than a second.
MAX_CLASSES = 12
# With so few classes nearly all of a search is Python, which two threads only take turns at.
ALONE = 5
# How far a point is lifted into a new dimension, relative to its size (at least one).
LIFT = 0.1


def atlas(
    model: Model[Any],
    *,
    budget: float = 60.0,
    batch: int = 144,
    seed: int = 0,
    until: Status = Status.SATURATED,
    known: Iterable[Point] = (),
    progress: Callable[[Atlas], None] | None = None,
    closed_form: bool = True,
) -> Atlas:
    """Every critical point of a model modulo symmetry, for every dimension at once.

    Searches every rank stratum (A-2) from random, symmetric and risen starts, round by round,
    until ``until`` is reached or the budget is spent. What it returns are critical points, but a
    list is complete only as far as its status says.
    Source: AT-1 to AT-4 of docs/atlas.md.

    Args:
        model: a UFM whose samples merge, or a model that is one; d and n play no role beyond c and
            the proportions.
        budget: seconds after which no further round begins.
        batch: starts per rank and round, a third for the search in all variables.
        seed: of the random starts.
        until: CHECKSUM_OK stops earlier than SATURATED.
        known: points of an earlier search, merged columns; those that are critical are taken in.
        progress: called with the atlas so far after every round.
        closed_form: use what is known of the critical points in closed form, all of them (squared
            error) or the minimiser; False searches all the same.

    Raises:
        InputError: more than 12 classes, or squared error with equal class sizes and no closed
            form, whose critical points form continua.

    Example:
        >>> from ufm import CrossEntropy
        >>> found = atlas(UFM(CrossEntropy(), 3, 3, lambda_W=0.02, lambda_H=0.02))
        >>> len(found.orbits), found.checksum
        (4, {1: 1, 2: 1, 3: 1})
    """
    began = perf_counter()
    model = as_plain(model)
    K = model.num_classes
    known_by_theorem = squared_error_atlas(model) if closed_form else None
    if known_by_theorem is not None:
        return known_by_theorem
    if K > MAX_CLASSES:
        rule = f"A search by dense Hessians needs K <= {MAX_CLASSES}"
        raise InputError(rule, K, "use fewer classes, or search symmetric points only")
    require_isolated(model)
    merged = whole(model)
    rng = np.random.default_rng(seed)
    made = Atlas(merged, gathered((), merged.with_dimension(1), origins(merged, rng)))
    optimum = merged.minimiser() if closed_form else None
    inner = row_space(merged, optimum.point) if optimum is not None else None
    best = (inner.point,) if inner is not None and inner.rank else ()
    for point in (*known, *best):
        inside = merged.with_dimension(point.W.shape[1])
        value, gradient = inside.value_and_gradient(point)
        size = float(norm(gradient))
        if size <= TOLERANCE and np.any(point.W):
            orbits = gathered(made.orbits, inside, [Found(point, float(value), size)])
            made = replace(made, orbits=orbits)
    # For many small matrices the threads of BLAS cost more than they save.
    with threadpool_limits(1, "blas"):
        while True:
            for rank in _unsettled(made):
                made = _walked(_searched(made, rank, batch, rng), rank)
            if all(map(made.settled, range(1, merged.d + 1))) and not made.doubts:
                made = _confirmed(made, rng)
            seen = Round(made.starts.total(), len(made.orbits), made.checksum, made.missing_mass)
            made = replace(made, seconds=perf_counter() - began, history=(*made.history, seen))
            if progress is not None:
                progress(made)
            # Whether a list is saturated costs too much to ask in every round.
            asked = until is not Status.SATURATED or made.confirmed == len(made.orbits)
            reached = asked and made.status in (Status.SATURATED, until)
            if reached or made.seconds > budget:
                return made


def as_plain(model: Model[Any]) -> UFM:
    """The plain UFM that a model is.

    Raises:
        InputError: it is none, so that nothing tells its orbits apart.
    """
    plain = model.as_plain()
    if plain is None:
        rule = "An atlas tells critical points apart by their matrices W H, so it needs a plain UFM"
        remedy = "use solve with method='critical' from many starts, and verdict"
        raise InputError(rule, type(model).__name__, remedy)
    told: UFM = plain
    return told


def require_isolated(model: UFM) -> None:
    """Refuse squared error with equal class sizes: its critical matrices Z form continua.

    Raises:
        InputError: as said.
    """
    if (
        model.loss.properties(model.num_classes).isometric
        and len(set(model.kinds.tolist())) < model.num_classes
    ):
        raise InputError(
            "An atlas lists points that are isolated modulo rotations",
            f"{model.loss.name} with equal class sizes, whose critical points form continua",
            "use different class sizes, or the closed form (no bias, or an unregularised one)",
        )


def _unsettled(made: Atlas) -> list[int]:
    """The ranks that a check of completeness or the searches speak against; else all."""
    ranks = range(1, made.model.d + 1)
    doubtful = {
        r
        for r in ranks
        if made.checksum[r] != 1
        or not (made.inequalities[r] and made.settled(r))
        or r in made.headless
    }
    doubtful = doubtful or {one.d for one in made.unpaired}.intersection(ranks)
    return [r for r in sorted(doubtful) or ranks if not made.exhausted(r)]


def _searched(made: Atlas, rank: int, batch: int, rng: np.random.Generator) -> Atlas:
    """The atlas after another batch in one stratum: by both searches, and below a headless list."""
    model, share = made.model.with_dimension(rank), batch // 3
    blind, aware = _starts(made, rank, share, rng)
    fresh = _with_bias(model, _blind(rng, batch - share, model.num_classes, rank), rng)
    with ThreadPoolExecutor(1 if model.num_classes <= ALONE else 2) as pool:
        joint = pool.submit(joint_search, model, aware)
        eliminated = pool.submit(eliminated_search, model, fresh)
        made = _taken(made, model, joint.result(), blind=blind)
        made = _taken(made, model, eliminated.result(), eliminated=True)
    lowest = made.headless.get(rank)
    if lowest is not None and lowest.rank == rank:
        start = stacked(below(model, [lowest.point], rng))
        made = _taken(made, model, eliminated_search(model, start), blind=0)
    return made


def _taken(
    made: Atlas, model: UFM, harvest: Harvest, *, blind: int | None = None, eliminated: bool = False
) -> Atlas:
    """The atlas with what a batch gave; starts from position ``blind`` on know the list."""
    rank, limit = model.d, harvest.starts if blind is None else blind
    orbits = made.orbits
    for counted in (True, False):
        chosen = [found for found in harvest.found if (found.start < limit) is counted]
        orbits = gathered(orbits, model, chosen, counted=counted, eliminated=eliminated)
    starts, failures = Counter(made.starts), dict(made.failures)
    starts[rank] += harvest.starts
    failures[rank] = failures.get(rank, Counter()) + harvest.failures
    return replace(made, orbits=orbits, starts=starts, failures=failures)


def _walked(made: Atlas, rank: int) -> Atlas:
    """The atlas after the paths from every orbit of a stratum, and from those that they lead to."""
    model = made.model.with_dimension(rank)
    while True:
        new = [o for o in made.orbits if o.rank == rank and not o.walked]
        known = tuple(replace(o, walked=True) if o.rank == rank else o for o in made.orbits)
        made = replace(made, orbits=known)
        ends = beside(model, [orbit.point for orbit in new])
        if not ends:
            return made
        made = _taken(made, model, eliminated_search(model, stacked(ends)), blind=0)


def _confirmed(made: Atlas, rng: np.random.Generator) -> Atlas:
    """The atlas after descents from all its saddles."""
    before = len(made.orbits)
    for rank in range(1, made.model.d + 1):
        if made.exhausted(rank):
            continue
        model = made.model.with_dimension(rank)
        ends = below(model, _saddles(made, rank), rng)
        if ends:
            made = _taken(made, model, eliminated_search(model, stacked(ends)), blind=0)
    return replace(made, confirmed=before if before == len(made.orbits) else 0)


def _saddles(made: Atlas, rank: int) -> list[Point]:
    """Saddles of a stratum, and those of the one below, lifted along their fastest pair."""
    inside = [o.point for o in made.orbits if o.rank == rank and o.range_index]
    for point, U, V in _unstable(made, rank - 1):
        W, H, _ = point
        size = LIFT * max(1.0, float(np.abs(W).max(initial=0.0)))
        inside.append(
            point._replace(
                W=np.column_stack([W, -size * U[:, 0]]), H=np.vstack([H, size * V[:, 0]])
            )
        )
    return inside


def _blind(rng: np.random.Generator, count: int, classes: int, rank: int) -> Point:
    """Half random starts, then aligned and symmetric ones: some orbits are met from these only."""
    # Beyond K / 2 groups, few of the latter keep the rank.
    half, few = count // 2, count // 8 if 2 * rank <= classes else 0
    parts = [
        blind_starts(rng, half, classes, rank),
        aligned_starts(rng, count - half - few, classes, rank),
        partition_starts(rng, few, classes, rank),
    ]
    return together(parts)


def _with_bias(model: UFM, start: Point, rng: np.random.Generator) -> Point:
    """Half of the starts with a random bias, if there is one."""
    if model.lambda_b is None:
        return start
    shape = start.W.shape[:2]
    return start._replace(b=rng.normal(size=shape) * (rng.random((shape[0], 1)) < 0.5))


def _starts(made: Atlas, rank: int, batch: int, rng: np.random.Generator) -> tuple[int, Point]:
    """A batch, and how many at its head know nothing of the points of this stratum.

    Gaussian, aligned and symmetric starts, and points of the stratum below that rise into this one
    (or more symmetric starts); then known points disturbed.
    """
    K = made.model.num_classes
    lower = _unstable(made, rank - 1)
    known = [orbit.point for orbit in made.orbits if orbit.rank == rank]
    share = batch // 16
    near = 2 * share if known else 0
    risen = 3 * share if lower else 0
    parts = [
        blind_starts(rng, 3 * share, K, rank),
        aligned_starts(rng, batch - (7 if 2 * rank <= K else 3) * share - near - risen, K, rank),
        partition_starts(rng, 4 * share if 2 * rank <= K else 0, K, rank),
    ]
    if risen:
        parts.append(risen_starts(rng, risen, lower, rank))
    if near:
        parts.append(neighbouring_starts(rng, near, known, rank))
    return batch - near, _with_bias(made.model, together(parts), rng)


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


def origins(model: UFM, rng: np.random.Generator) -> list[Found]:
    """Critical points with W = H = 0: one without bias, else those of the bias alone.

    Example:
        >>> from ufm import CrossEntropy
        >>> model = UFM(CrossEntropy(), 3, 2, lambda_W=0.1, lambda_H=0.1).merge().model
        >>> [round(found.objective, 6) for found in origins(model, np.random.default_rng(0))]
        [1.098612]
    """
    flat = model.with_dimension(1)
    K = model.num_classes
    zero = Point(np.zeros((K, 1)), np.zeros((1, K)))
    if model.lambda_b is None:  # every derivative is a product with W or H
        return [Found(zero, value_and_gradient(flat, zero)[0], 0.0)]
    starts = [zero._replace(b=size * rng.normal(size=K)) for size in (0.0, 0.3, 1.0, 3.0)]
    found = []
    for start in starts:
        point, value, size, _ = find_critical(flat, start, TOLERANCE, MAX_ITERATIONS)
        if float(size) <= TOLERANCE:
            found.append(Found(point.to_numpy(), float(value), float(size)))
    return found
