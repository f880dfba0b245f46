"""The search for every critical point, until the list passes its checks or time is up."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable
from dataclasses import replace
from time import perf_counter
from typing import Any

import numpy as np
from numpy.typing import NDArray

from landscape.atlas.record import UNSEEN, Atlas, Round, Status, gathered, whole
from landscape.atlas.search import MAX_ITERATIONS, TOLERANCE, Found, search, together
from landscape.atlas.squared import squared_error_atlas
from landscape.atlas.starts import (
    aligned_starts,
    gaussian_starts,
    neighbouring_starts,
    partition_starts,
    risen_starts,
)
from landscape.solvers.critical import find_critical
from ufm.errors import InputError
from ufm.model import Model, norm
from ufm.plain.model import UFM
from ufm.plain.reduce import complement_gradient, reduced
from ufm.point import Point

Array = NDArray[np.float64]
# Dense Hessians of 2 K r variables: beyond this one search takes longer than a second.
MAX_CLASSES = 12


def atlas(
    model: Model[Any],
    *,
    budget: float = 60.0,
    batch: int = 128,
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
        batch: starts per rank and round.
        seed: of the random starts.
        until: CHECKSUM_OK stops earlier than SATURATED.
        known: points of an earlier search, merged columns; those that are critical are taken in.
        progress: called with the atlas so far after every round.
        closed_form: use it where there is one (squared error); False searches all the same.

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
    for point in known:
        inside = merged.with_dimension(point.W.shape[1])
        value, gradient = inside.value_and_gradient(point)
        size = float(norm(gradient))
        if size <= TOLERANCE and np.any(point.W):
            orbits = gathered(made.orbits, inside, [Found(point, float(value), size)])
            made = replace(made, orbits=orbits)
    while True:
        for rank in _unsettled(made):
            made = _searched(made, rank, batch, rng)
        seen = Round(made.starts.total(), len(made.orbits), made.checksum, made.missing_mass)
        made = replace(made, seconds=perf_counter() - began, history=(*made.history, seen))
        if progress is not None:
            progress(made)
        reached = made.status is Status.SATURATED or made.status is until
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
        and len(set(model.counts_tuple)) < model.num_classes
    ):
        raise InputError(
            "An atlas lists points that are isolated modulo rotations",
            f"{model.loss.name} with equal class sizes, whose critical points form continua",
            "use different class sizes, or the closed form (no bias, or an unregularised one)",
        )


def _unsettled(made: Atlas) -> list[int]:
    """The ranks that a check of completeness or too many single hits speak against; else all."""
    ranks = range(1, made.model.d + 1)
    searched = [r for r in ranks if made.starts[r]]
    checks = made.checksum, made.inequalities
    doubtful = [r for r in searched if checks[0][r] != 1 or not checks[1][r]]
    doubtful += [r for r in searched if made.missing_mass_of(r) > UNSEEN and _seen(made, r)]
    return sorted({*doubtful, *set(ranks).difference(searched)}) or list(ranks)


def _seen(made: Atlas, rank: int) -> bool:
    return any(orbit.rank == rank for orbit in made.orbits)


def _searched(made: Atlas, rank: int, batch: int, rng: np.random.Generator) -> Atlas:
    """The atlas after another batch in one stratum."""
    model = made.model.with_dimension(rank)
    blind, start = _starts(made, rank, batch, rng)
    harvest = search(model, start)
    orbits = made.orbits
    for counted in (True, False):
        chosen = [found for found in harvest.found if (found.start < blind) is counted]
        orbits = gathered(orbits, model, chosen, counted=counted)
    starts, failures = Counter(made.starts), dict(made.failures)
    starts[rank] += harvest.starts
    failures[rank] = failures.get(rank, Counter()) + harvest.failures
    return replace(made, orbits=orbits, starts=starts, failures=failures)


def _starts(made: Atlas, rank: int, batch: int, rng: np.random.Generator) -> tuple[int, Point]:
    """A batch, and how many at its head know nothing of the points of this stratum.

    Gaussian, aligned and symmetric starts, and points of the stratum below that rise into this one
    (or more symmetric starts); then known points disturbed.
    """
    K = made.model.num_classes
    below = _unstable(made, rank - 1)
    known = [orbit.point for orbit in made.orbits if orbit.rank == rank]
    share = batch // 16
    near = 4 * share if known else 0
    risen = 4 * share if below else 0
    parts = [
        gaussian_starts(rng, share, K, rank),
        aligned_starts(rng, 5 * share, K, rank),
        partition_starts(rng, batch - 6 * share - near - risen, K, rank),
    ]
    if risen:
        parts.append(risen_starts(rng, risen, below, rank))
    if near:
        parts.append(neighbouring_starts(rng, near, known, rank))
    start = together(parts)
    if made.model.lambda_b is not None:
        start = start._replace(b=rng.normal(size=(batch, K)) * (rng.random((batch, 1)) < 0.5))
    return batch - near, start


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
    starts = [zero] if model.lambda_b is None else []
    if model.lambda_b is not None:
        starts = [zero._replace(b=size * rng.normal(size=K)) for size in (0.0, 0.3, 1.0, 3.0)]
    found = []
    for start in starts:
        point, value, size, _ = find_critical(flat, start, TOLERANCE, MAX_ITERATIONS)
        if float(size) <= TOLERANCE:
            found.append(Found(point.to_numpy(), float(value), float(size)))
    return found
