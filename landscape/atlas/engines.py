"""Two searches with basins of attraction of their own.

Levenberg-Marquardt on the gradient finds saddles as readily as minima. In all variables (W, b, H)
and with the features eliminated it follows different paths to the same critical points, so an orbit
that is hard to reach for one need not be for the other. All starts of a batch go in step.
Source: Levenberg-Marquardt applied to grad f = 0 (Nocedal & Wright 2006, section 10.3).
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import replace

import numpy as np

from landscape.atlas.eliminated import (
    LARGEST_DAMPING,
    SMALLEST_DAMPING,
    TOGETHER,
    Eliminated,
    State,
    Whole,
)
from landscape.atlas.search import TOLERANCE, Failure, Harvest, sorted_out
from ufm.eigen import eigh
from ufm.plain.model import UFM
from ufm.point import Point
from ufm.typing import Array

# Steps of a search, enough for 97 and 99 of 100 that converge: in all variables it takes longer.
# Further ones would be taken for the sake of a few.
STEPS = {Eliminated: 26, Whole: 40}
# As in ``find_critical``: below this fraction of the largest, eigenvalues are null directions.
NULL_FRACTION = 1e-11
# Part of the tolerance that is aimed at: the norm in all variables adds those of the own problems.
CLOSER = 0.5


def joint_search(model: UFM, starts: Point, *, tolerance: float = TOLERANCE) -> Harvest:
    """Levenberg-Marquardt on the gradient in all variables, as ``eliminated_search`` otherwise.

    Example:
        >>> from landscape.atlas.starts import blind_starts
        >>> from ufm import CrossEntropy
        >>> model = UFM(CrossEntropy(), 3, 1, lambda_W=0.02, lambda_H=0.02).merge().model
        >>> start = blind_starts(np.random.default_rng(0), 32, 3, 1)
        >>> sorted({round(found.objective, 6) for found in joint_search(model, start).found})
        [0.519795, 0.585681]
    """
    return _united([_searched(Whole(model), part, tolerance) for part in pieces(starts)])


def eliminated_search(model: UFM, starts: Point, *, tolerance: float = TOLERANCE) -> Harvest:
    """Levenberg-Marquardt on the gradient of the reduced function, from every start of a batch.

    Args:
        model: a merged UFM in the dimension of the stratum.
        starts: W (B, K, r), H (B, r, K), b (B, K) or None; of H only the basin of the own problems
            matters, and for a convex loss nothing.
        tolerance: Euclidean gradient norm to reach, in (W, H, b).

    Returns:
        A Harvest: only critical points of rank r are in it.

    Example:
        >>> from landscape.atlas.starts import blind_starts
        >>> from ufm import CrossEntropy
        >>> model = UFM(CrossEntropy(), 3, 1, lambda_W=0.02, lambda_H=0.02).merge().model
        >>> start = blind_starts(np.random.default_rng(0), 32, 3, 1)
        >>> sorted({round(found.objective, 6) for found in eliminated_search(model, start).found})
        [0.519795, 0.585681]
    """
    return _united([_searched(Eliminated(model), part, tolerance) for part in pieces(starts)])


def _united(parts: Sequence[Harvest]) -> Harvest:
    found = tuple(
        replace(x, start=i * TOGETHER + x.start) for i, part in enumerate(parts) for x in part.found
    )
    failures = sum((part.failures for part in parts), Counter[Failure]())
    return Harvest(found, failures, sum(part.starts for part in parts))


def stacked(points: Sequence[Point]) -> Point:
    """Points as a batch."""
    return Point(*(None if x[0] is None else np.stack(x) for x in zip(*points, strict=True)))


def unstacked(batch: Point) -> list[Point]:
    """A batch as points."""
    W, H, b = batch
    return [Point(W[i], H[i], None if b is None else b[i]) for i in range(len(W))]


def pieces(starts: Point | Sequence[Point]) -> list[Point]:
    """Batches of no more than go together."""
    points = unstacked(starts) if isinstance(starts, Point) else starts
    cuts = range(0, len(points), TOGETHER)
    return [stacked(points[i : i + TOGETHER]) for i in cuts]


def _searched(problem: Eliminated, starts: Point, tolerance: float) -> Harvest:
    """One piece of a search."""
    model = problem.model
    with np.errstate(all="ignore"):  # searches that run away are sorted out by their norm
        state = problem.state(starts)
        units = problem.units(state.gradient.shape[1])
        squared, norms = np.sum(state.gradient**2, axis=1), _norms(state, units)
        damping, active = squared.copy(), np.arange(len(squared))
        for _ in range(STEPS[type(problem)]):
            live = np.isfinite(state.hessian[active]).all(axis=(1, 2))
            live &= np.isfinite(squared[active]) & (damping[active] < LARGEST_DAMPING)
            active = active[live & (norms[active] > CLOSER * tolerance)]
            if not len(active):
                break
            here = state.take(active)
            values, vectors = eigh(here.hessian)
            kept = np.abs(values) > NULL_FRACTION * np.abs(values).max(axis=1, keepdims=True)
            weights = values / np.maximum(values**2 + damping[active][:, None], 1e-300)
            new = problem.moved(
                here, newton_step(vectors, np.where(kept, weights, 0.0), here.gradient)
            )
            smaller = np.sum(new.gradient**2, axis=1)
            better = smaller < squared[active]
            state.put(active, here.where(better, new))
            squared[active] = np.where(better, smaller, squared[active])
            norms[active] = _norms(state, units)[active]
            lower = np.minimum(damping[active] / 10, squared[active])
            damping[active] = np.where(better, lower, 4 * damping[active])
            damping = np.maximum(damping, SMALLEST_DAMPING)
    points = problem.points(state)
    with np.errstate(all="ignore"):
        # The norm in all variables, without elimination.
        whole = Whole(model)
        ends = whole.state(points)
        reached = norms <= tolerance
        norms[reached] = _norms(ends, whole.units(ends.gradient.shape[1]))[reached]
    stuck = damping >= LARGEST_DAMPING
    return sorted_out(model.d, points, ends.value, norms, stuck, tolerance=tolerance)


def _norms(state: State, units: Array) -> Array:
    """Gradient norms in the coordinates of the model."""
    return np.asarray(np.linalg.norm(state.gradient * units, axis=1))


def newton_step(vectors: Array, weights: Array, gradient: Array) -> Array:
    """The sum of weight_i v_i (v_i . gradient), for every gradient of a batch."""
    along = (np.swapaxes(vectors, 1, 2) @ gradient[..., None])[..., 0]
    return np.asarray((vectors @ (weights * along)[..., None])[..., 0])
