"""Whole landscapes: time to a list that passes its checks, and what multi-start root finding gets.

The other side is what a user would write: SciPy's Levenberg-Marquardt on the gradient with exact
derivatives, from Gaussian starts of log-uniform size, in d = K - 1. Its points are sorted into
orbits by our own test, which costs it nothing; it cannot know when to stop, so it stops when it
has as many orbits as our list or at its cap.
"""

from __future__ import annotations

from time import perf_counter
from typing import Any

import numpy as np
from scipy.optimize import root

from experiments.benchmarks.record import Record, measured, within
from experiments.benchmarks.timing import Settings, Timing, alternate
from landscape.atlas import Atlas, atlas, distinct, symmetric_atlas
from landscape.atlas.symmetries import partitions
from ufm.losses import CrossEntropy
from ufm.plain.model import UFM
from ufm.point import Point, flatten, unflatten

OURS, SCIPY = "ufm-lab atlas", "SciPy root (lm), random starts"
SYMMETRIC = "ufm-lab symmetric_atlas"
DECAY = 0.02
# Logits of critical points are known to 1e-8 from gradients of this size.
SMALL_GRADIENT = 1e-9


def model_of(K: int, decay: float = DECAY) -> UFM:
    """Cross entropy, one sample a class, equal decays, d = K - 1.

    Example:
        >>> model_of(4).c
        0.08
    """
    return UFM(CrossEntropy(), K, K - 1, lambda_W=decay, lambda_H=decay)


def whole(row: str, K: int, limit: float, settings: Settings) -> list[Record]:
    """The whole landscape of K classes: ours until saturated, then SciPy for as long or longer.

    Example:
        >>> [x.wrong for x in whole("atlas", 3, 1.0, Settings(quick=True, repeats=1))]
        [False, False]
    """
    model = model_of(K)
    timed = alternate({OURS: lambda: atlas(model)}, settings, frozenset({OURS}))[OURS]
    found: Atlas = timed.result
    right = set(found.checksum.values()) == {1} and found.status.name == "SATURATED"
    work = f"every critical orbit, K={K}, checksum 1 for d = 1..{K}"
    note = f"{len(found.orbits)} orbits, {found.status.name}; the warm call counts"
    ours = measured(row, work, OURS, timed, solved=right, wrong=not right, note=note)
    cap = max(settings.short_cap, 3 * timed.seconds)
    seconds, orbits = multistart(model, len(found.orbits), cap)
    complete = orbits == len(found.orbits)
    other = measured(
        row,
        work,
        SCIPY,
        Timing(seconds, seconds, 1, None),
        timed.seconds,
        capped=not complete,
        solved=complete,
        note=f"{orbits} of {len(found.orbits)} orbits; no way to know what is missing",
    )
    return [within(ours, limit, timed.seconds), other]


def multistart(model: UFM, wanted: int, cap: float) -> tuple[float, int]:
    """Seconds and orbits of SciPy's root finder, until it has as many as wanted or at the cap.

    Example:
        >>> multistart(model_of(3), 1, 20.0)[1]
        1
    """
    merged = model.as_merged(model.origin())[0]
    like = merged.origin()
    rng = np.random.default_rng(0)
    points: list[Any] = []
    orbits, spent = 0, 0.0
    began = perf_counter()
    while orbits < wanted and spent < cap:
        size = np.exp(rng.uniform(np.log(0.5), np.log(6.0)))
        start = size * rng.normal(size=len(flatten(like)))
        run = root(_gradient, start, args=(merged, like), jac=_hessian, method="lm", tol=1e-13)
        spent = perf_counter() - began
        value, slope, _ = merged.dense_derivatives(unflatten(run.x, like))
        if np.linalg.norm(slope) < SMALL_GRADIENT:
            point = unflatten(run.x, like)
            points = _kept([*points, (value, point.W @ point.H, None)], model)
            orbits = len(points)
    return spent, orbits


def _gradient(x: Any, model: UFM, like: Point) -> Any:
    return model.dense_derivatives(unflatten(x, like))[1]


def _hessian(x: Any, model: UFM, like: Point) -> Any:
    return model.dense_derivatives(unflatten(x, like))[2]


def _kept(points: list[Any], model: UFM) -> list[Any]:
    """One point of every orbit."""
    return [points[group[0]] for group in distinct(points, model.counts_tuple)]


def merged_family(row: str, K: int, limit: float, settings: Settings) -> list[Record]:
    """Merged classes in equal groups and in at most three, index for every d: nobody else can.

    Example:
        >>> quick = Settings(quick=True, repeats=1)
        >>> [x.wrong for x in merged_family("merged", 12, 10.0, quick)]
        [False]
    """
    model = model_of(K, 0.1 / K)
    runs = {SYMMETRIC: lambda: symmetric_atlas(model, max_groups=3)}
    timed = alternate(runs, settings, frozenset({SYMMETRIC}))[SYMMETRIC]
    found: Atlas = timed.result
    labels = {orbit.label for orbit in found.orbits}
    wanted = {"merged " + "|".join(map(str, m)) for m in partitions(K, 3) if 1 < len(m) < K}
    minima = [orbit.label for orbit in found.orbits if orbit.index(K - 1) == 0]
    right = wanted <= labels and minima == ["simplex ETF"]
    note = f"{len(found.orbits)} orbits, all {len(wanted)} partitions into 2 or 3 groups"
    work = f"merged classes, K={K}: equal groups and up to 3 groups, index for every d"
    made = measured(row, work, SYMMETRIC, timed, solved=right, wrong=not right, note=note)
    return [within(made, limit, timed.seconds)]
