"""Batches of index-blind searches in one rank stratum, every failure counted with its reason."""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from enum import Enum
from functools import partial
from typing import Any

import jax
import numpy as np
from numpy.typing import NDArray

from landscape.solvers.critical import find_critical
from ufm.plain.model import UFM
from ufm.point import Point
from ufm.typing import Array

TOLERANCE, MAX_ITERATIONS = 1e-12, 150
# Singular values of W H below this fraction of the largest mean a lower stratum: at full-rank
# critical points of a stratum they are at least 1e-3, at others rounding (1e-12).
RANK_TOLERANCE = 1e-6
# Searches that move further than this have run away along a flat direction at infinity.
TOO_LARGE = 1e6


class Failure(Enum):
    """Why a start gave nothing."""

    NOT_CONVERGED = "not converged within the iterations"
    GRADIENT_FLAT = "the gradient is stationary but does not vanish"
    DIVERGED = "diverged"
    LOWER_STRATUM = "fell to a lower stratum"


@dataclass(frozen=True, eq=False)
class Found:
    """A critical point of full rank in its stratum.

    Attributes:
        point: W (K, r), H (r, K), b: merged columns.
        objective, gradient_norm: there.
        start: position of its start in the batch; -1 if it was not searched.
    """

    point: Point
    objective: float
    gradient_norm: float
    start: int = -1


@dataclass(frozen=True)
class Harvest:
    """What a batch gave.

    Attributes:
        found: critical points of full rank.
        failures: how often each reason occurred.
        starts: size of the batch.
    """

    found: tuple[Found, ...]
    failures: Counter[Failure]
    starts: int


@jax.jit
def _search(model: UFM, points: Point, tolerance: float, max_iterations: int) -> Any:
    """One search after another: each stops at its own iteration, which a vectorised loop cannot."""

    def one(point: Point) -> Any:
        return find_critical(model, point, tolerance, max_iterations)

    return jax.lax.map(one, points)


@jax.jit
def _search_together(model: UFM, points: Point, tolerance: float, max_iterations: int) -> Any:
    """All searches in step, for accelerators."""

    def one(point: Point) -> Any:
        return find_critical(model, point, tolerance, max_iterations)

    return jax.vmap(one)(points)


def search(model: UFM, starts: Point, *, tolerance: float = TOLERANCE) -> Harvest:
    """Levenberg-Marquardt on the gradient from every start of a batch.

    On a CPU the batch is cut into one piece per core and searched point by point, which took half
    of the time of a vectorised loop at K = 5; elsewhere it is vectorised.

    Args:
        model: a merged UFM in the dimension of the stratum.
        starts: W (B, K, r), H (B, r, K), b (B, K) or None.
        tolerance: Euclidean gradient norm to reach.

    Returns:
        A Harvest: only critical points of rank r are in it.

    Example:
        >>> from landscape.atlas.starts import gaussian_starts
        >>> from ufm import CrossEntropy
        >>> model = UFM(CrossEntropy(), 3, 1, lambda_W=0.02, lambda_H=0.02).merge().model
        >>> harvest = search(model, gaussian_starts(np.random.default_rng(0), 16, 3, 1))
        >>> harvest.starts, len(harvest.found) + sum(harvest.failures.values())
        (16, 16)
    """
    count = len(starts.W)
    if jax.default_backend() == "cpu":
        cores = max(1, min(os.cpu_count() or 1, count))
        pieces = [np.arange(i, count, cores) for i in range(cores)]
        # One length, one compiled program: short pieces repeat their first start.
        width = max(len(piece) for piece in pieces)
        padded = [np.resize(piece, width) for piece in pieces]
        run = partial(_run, _search, model, starts, tolerance)
        with ThreadPoolExecutor(cores) as pool:
            results = list(pool.map(run, padded))
        # Where every start went: the first place of its number among the padded pieces.
        order = np.unique(np.concatenate(padded), return_index=True)[1]
        ends = jax.tree.map(lambda *xs: np.concatenate(xs)[order], *results)
    else:
        ends = _run(_search_together, model, starts, tolerance, np.arange(count))
    points, values, norms, iterations = ends
    stuck = iterations < MAX_ITERATIONS
    return sorted_out(model.d, points, values, norms, stuck, tolerance=tolerance)


def _run(method: Any, model: UFM, starts: Point, tolerance: float, chosen: Any) -> Any:
    batch = jax.tree.map(lambda x: x[chosen], starts)
    return jax.tree.map(np.asarray, method(model, batch, tolerance, MAX_ITERATIONS))


def sorted_out(
    rank: int,
    points: Point,
    values: Array,
    norms: Array,
    stuck: NDArray[np.bool_],
    *,
    tolerance: float,
) -> Harvest:
    """What the ends of a batch are: critical points of full rank, or why not.

    Args:
        rank: of the stratum.
        points: where the searches ended.
        values: objectives there.
        norms: Euclidean gradient norms there.
        stuck: which searches gave up before their iterations were spent.
        tolerance: largest norm of a critical point.
    """
    W, H, b = points
    largest = np.maximum(np.abs(W).max(axis=(1, 2)), np.abs(H).max(axis=(1, 2)))
    inside = np.isfinite(norms) & (largest <= TOO_LARGE)  # of NaN neither is true
    ended = np.flatnonzero(inside & (norms <= tolerance))
    sizes = np.linalg.svd(W[ended] @ H[ended], compute_uv=False)
    lower = sizes[:, rank - 1] <= RANK_TOLERANCE * np.maximum(sizes[:, 0], RANK_TOLERANCE)
    open_ = inside & (norms > tolerance)
    failures = Counter(
        {
            Failure.DIVERGED: int(np.sum(~inside)),
            Failure.GRADIENT_FLAT: int(np.sum(open_ & stuck)),
            Failure.NOT_CONVERGED: int(np.sum(open_ & ~stuck)),
            Failure.LOWER_STRATUM: int(np.sum(lower)),
        }
    )
    found = tuple(
        Found(
            Point(W[i], H[i], None if b is None else b[i]),
            float(values[i]),
            float(norms[i]),
            int(i),
        )
        for i in ended[~lower]
    )
    return Harvest(found, +failures, len(values))


def together(batches: Sequence[Point]) -> Point:
    """Batches of starts behind one another.

    Example:
        >>> one = Point(np.zeros((2, 3, 1)), np.zeros((2, 1, 3)))
        >>> together([one, one]).W.shape
        (4, 3, 1)
    """
    W = np.concatenate([batch.W for batch in batches])
    H = np.concatenate([batch.H for batch in batches])
    b = None if batches[0].b is None else np.concatenate([batch.b for batch in batches])
    return Point(W, H, b)
