"""Search by symmetric criticality: every symmetry has a few unknowns, whatever K is."""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from time import perf_counter
from typing import Any

import jax
import numpy as np

from landscape.atlas.explore import origins, require_isolated
from landscape.atlas.record import Atlas, gathered, whole
from landscape.atlas.search import (
    MAX_ITERATIONS,
    TOLERANCE,
    TOO_LARGE,
    Failure,
    Found,
)
from landscape.atlas.starts import LARGEST, SMALLEST
from landscape.atlas.symmetries import symmetries
from landscape.solvers.critical import find_critical
from ufm.errors import require_count
from ufm.frames import simplex_etf
from ufm.model import norm
from ufm.models.symmetric import Symmetric, Symmetry
from ufm.plain.model import UFM
from ufm.plain.reduce import row_space
from ufm.point import Point

# Types and components of the symmetries that partitions into three groups have.
FEW = (3, 2)
# Of 15 and 29 symmetries at K = 5 and 6 this makes 360 and 696 searches, a few seconds.
MOST_STARTS, MOST_SEARCHES = 24, 1500
UNSEARCHED = (
    "points without symmetry, and merged classes in more than {} unequal group{}, were not searched"
)
# Sizes of w and h on groups at a simplex, logit gaps of 4 and 12: the smaller leads to the origin
# where the decay is small, the larger where it is large.
SIMPLEX_SIZES = (2.0, 3.5)


def symmetric_atlas(
    model: UFM,
    *,
    max_groups: int = 3,
    starts: int | None = None,
    seed: int = 0,
    progress: Callable[[Atlas], None] | None = None,
) -> Atlas:
    """Critical points with the symmetry of merged classes, mirrors or polygons, for any K.

    Its status is OPEN: it says what was not searched. Index and nullity hold for every d (A-5).
    Source: CE-6, CE-7 and AT-2; unequal groups by scalar systems, derived here.

    Args:
        model: a UFM.
        max_groups: partitions into at most so many groups; with classes of one kind also all
            partitions into equal groups, and polygons.
        starts: searches per symmetry; left out: 24, or fewer if that makes more than 1,500.
        seed: of the random starts, from the third on.
        progress: called with the atlas so far, now and then.

    Raises:
        InputError: squared error with equal counts (its critical
            points form continua), or max_groups or starts < 1.

    Example:
        >>> from ufm import CrossEntropy
        >>> model = UFM(CrossEntropy(), 4, 3, lambda_W=5e-3, lambda_H=5e-3)
        >>> found = symmetric_atlas(model, max_groups=1, starts=1)
        >>> [orbit.label for orbit in found.orbits][0], found.status.name
        ('simplex ETF', 'OPEN')
    """
    began = perf_counter()
    require_isolated(model)
    merged = whole(model)
    shift = merged.d < merged.num_classes
    chosen = symmetries(model.kinds.tolist(), shift=shift, max_groups=max_groups)
    if starts is None:
        starts = max(1, min(MOST_STARTS, MOST_SEARCHES // max(1, len(chosen))))
    require_count(starts, "starts", 1, "search every symmetry at least once")
    made = Atlas(
        merged,
        gathered((), merged.with_dimension(1), origins(merged, np.random.default_rng(seed))),
        unsearched=UNSEARCHED.format(max_groups, "s" if max_groups > 1 else ""),
    )
    harvest = search_symmetric(merged, chosen, starts=starts, seed=seed)
    for i, new in enumerate(harvest.found):
        rank = new.point.W.shape[1]
        orbits = gathered(made.orbits, merged.with_dimension(rank), [new])
        made = replace(
            made,
            orbits=orbits,
            starts=made.starts + Counter({rank: 1}),
            seconds=perf_counter() - began,
        )
        if progress is not None and i % 50 == 49:
            progress(made)
    lost = harvest.starts - len(harvest.found)
    starts_of = made.starts + Counter({0: lost})  # these ended at the origin or failed
    return replace(
        made, starts=starts_of, failures={0: harvest.failures}, seconds=perf_counter() - began
    )


@dataclass(frozen=True)
class SymmetricHarvest:
    """What the searches inside fixed subspaces gave.

    Attributes:
        found: every critical point but the origin, compressed to its rank.
        failures: how often each reason occurred.
        starts: searches begun.
    """

    found: tuple[Found, ...]
    failures: Counter[Failure]
    starts: int


def search_symmetric(
    model: UFM, chosen: Sequence[Symmetry], *, starts: int, seed: int = 0
) -> SymmetricHarvest:
    """Levenberg-Marquardt on the gradient inside the fixed subspace of every symmetry.

    Every point is checked in the full problem: its gradient there, in all K classes, decides.

    Args:
        model: a UFM.
        chosen: symmetries that keep the kinds of classes.
        starts: searches per symmetry; the first two begin at simplices on the groups.
        seed: of the random starts.

    Example:
        >>> from landscape.atlas.symmetries import symmetries
        >>> from ufm import CrossEntropy
        >>> model = UFM(CrossEntropy(), 100, 99, lambda_W=1e-3, lambda_H=1e-3)
        >>> halves = [s for s in symmetries([1] * 100, shift=True, max_groups=2)
        ...           if s.name == "50·50"]
        >>> harvest = search_symmetric(model, halves, starts=2)
        >>> harvest.found[0].point.W.shape
        (100, 1)
    """
    merged = model.as_merged(model.origin())[0]
    found: list[tuple[int, Found]] = []
    failures: Counter[Failure] = Counter()
    for members, shape in _batches(chosen):
        ends = _ends(merged, [chosen[i] for i in members], shape, starts, seed)
        for j, (point, size) in enumerate(ends):
            i = members[j // starts]
            reason, new = _judged(merged, chosen[i], point, size)
            if reason is not None:
                failures[reason] += 1
            elif new is not None:
                found.append((i, new))
    found.sort(key=lambda item: item[0])
    in_order = tuple(new for _, new in found)
    return SymmetricHarvest(in_order, failures, starts * len(chosen))


def _batches(chosen: Sequence[Symmetry]) -> Iterator[tuple[list[int], tuple[int, int]]]:
    """Symmetries with few unknowns and the others: two programs, at most, to be compiled."""
    few = [i for i, s in enumerate(chosen) if s.shape[0] <= FEW[0] and s.shape[1] <= FEW[1]]
    many = sorted(set(range(len(chosen))) - set(few))
    for members in (few, many):
        if members:
            types, components = np.max([chosen[i].shape for i in members], axis=0)
            yield members, (int(types), int(components))


@jax.jit
def _search_each(models: Any, points: Any, tolerance: float, max_iterations: int) -> Any:
    """One search after another, each in a model of its own."""

    def one(pair: Any) -> Any:
        point, _, size, iterations = find_critical(*pair, tolerance, max_iterations)
        return point, size, iterations

    return jax.lax.map(one, (models, points))


def _ends(
    model: UFM, chosen: Sequence[Symmetry], shape: tuple[int, int], starts: int, seed: int
) -> list[tuple[Point, float]]:
    """Where the searches ended, with gradient norms, symmetry by symmetry."""
    models = [Symmetric(model, symmetry, shape) for symmetry in chosen]
    rng = np.random.default_rng([seed, *shape])
    pairs = [
        (m, point)
        for m, s in zip(models, chosen, strict=True)
        for point in _starts(rng, m, s, starts)
    ]
    cores = max(1, min(os.cpu_count() or 1, len(pairs)))
    width = -(-len(pairs) // cores)
    order = np.resize(np.arange(len(pairs)), cores * width).reshape(cores, width)
    stacked = jax.tree.map(lambda *xs: np.stack(xs), *pairs)

    def run(piece: Any) -> Any:
        models, points = jax.tree.map(lambda x: x[piece], stacked)
        return jax.tree.map(np.asarray, _search_each(models, points, TOLERANCE, MAX_ITERATIONS))

    with ThreadPoolExecutor(cores) as pool:
        pieces = list(pool.map(run, order))
    points, sizes, _ = jax.tree.map(lambda *xs: np.concatenate(xs)[: len(pairs)], *pieces)
    return [(jax.tree.map(lambda x, i=i: x[i], points), float(sizes[i])) for i in range(len(pairs))]


def _starts(
    rng: np.random.Generator, model: Symmetric, symmetry: Symmetry, count: int
) -> list[Point]:
    """Types at a simplex, H aligned with W, at two sizes; then random ones, every other aligned."""
    (types, components), (rows, columns) = symmetry.shape, (len(model.first), model.d)
    code = np.ones((types, components))
    lines = sum(F.shape[1] == 1 and np.ptp(F) == 0 for F in symmetry.frames)
    if lines and types > 1:
        code[:, components - lines :] = simplex_etf(types, max(lines, types - 1))[:, :lines]
    code = np.pad(code, ((0, rows - types), (0, columns - components)))
    counts = np.sqrt(np.asarray(model.base.counts)[model.first])
    points = []
    for i in range(count):
        if i < len(SIMPLEX_SIZES):
            W = H = SIMPLEX_SIZES[i] * code
        else:
            size = np.exp(rng.uniform(np.log(SMALLEST), np.log(LARGEST)))
            W = size * rng.normal(size=code.shape) * (code != 0)
            H = W if i % 2 else size * rng.normal(size=code.shape) * (code != 0)
        bias = None if model.base.lambda_b is None else np.zeros(rows)
        points.append(Point(model.roots[:, None] * W, (model.roots[:, None] * H).T * counts, bias))
    return points


def _judged(
    model: UFM, symmetry: Symmetry, point: Point, size: float
) -> tuple[Failure | None, Found | None]:
    """The point of the full problem in as many dimensions as its rank; None twice: the origin."""
    largest = max(float(np.abs(point.W).max()), float(np.abs(point.H).max()))
    if not (np.isfinite(size) and np.isfinite(largest)) or largest > TOO_LARGE:
        return Failure.DIVERGED, None
    if size > TOLERANCE:
        return Failure.NOT_CONVERGED, None
    space = row_space(model, symmetry.expand(point))
    if not space.rank:
        return None, None
    inside = model.with_dimension(space.rank)
    value, gradient = inside.value_and_gradient(space.point)
    total = float(norm(gradient))
    if total > np.sqrt(model.num_classes) * TOLERANCE:
        return Failure.NOT_CONVERGED, None
    return None, Found(space.point, value, total)
