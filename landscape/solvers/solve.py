"""Find a minimum or a critical point of any model, through reductions that lose nothing."""

from __future__ import annotations

import math
from typing import Any

import jax
import numpy as np

from landscape.curvature.count import count_curvature
from landscape.solvers.critical import find_critical
from landscape.solvers.first_order import descend
from landscape.solvers.piecewise import piecewise
from landscape.solvers.result import Result, Solution
from landscape.solvers.trust_region import Watch, trust_region
from ufm.answers import Merge
from ufm.errors import InputError, require_positive
from ufm.model import Model

METHODS = ("newton", "lbfgs", "momentum", "gd", "critical", "piecewise")
# Steps that a method may take by default: first-order ones are cheap and many.
MAX_ITERATIONS = {
    "newton": 1000,
    "lbfgs": 20_000,
    "momentum": 200_000,
    "gd": 500_000,
    "piecewise": 30_000,
}
MAX_CRITICAL_ITERATIONS = 300
# `critical` diagonalises a dense Hessian in every iteration.
MAX_CRITICAL_SIZE = 2000
# Beyond this a non-convex loss is solved among collapsed points unless told otherwise.
MAX_UNMERGED = 2_000_000
TOLERANCE = 1e-12
# A random start in all dimensions of the model.
FULL = "full"


def solve(
    model: Model[Any],
    start: Any = None,
    *,
    key: Any = None,
    method: str = "newton",
    tolerance: float = TOLERANCE,
    max_iterations: int | None = None,
    learning_rate: float = 0.1,
    reduction: str | bool = "auto",
    watch: Watch | None = None,
) -> Solution:
    """A critical point of a model: a minimum by descent, or any index by ``method="critical"``.

    Args:
        model: any model.
        start: a point of the model, or "full": a random one of the merged model from ``key``. By
            default a random one in as many dimensions as a minimum needs, where that is known;
            "critical" looks in all of them.
        key: JAX random key for the start, default ``jax.random.key(0)``.
        method: "newton" (trust-region Newton-CG), "lbfgs", "momentum", "gd", "critical"
            (index-blind Levenberg-Marquardt on the gradient), or "piecewise" for models with kinks
            (proximal Newton steps, and BFGS before them); it leaves saddles.
        tolerance: Euclidean gradient norm to reach.
        max_iterations: outer iterations; the default depends on the method.
        learning_rate: step of "gd" and "momentum" (0.1, as in Zhu et al. 2021).
        reduction: "auto" merges the samples of a class where that is lossless (A-1), or where the
            full problem has more than two million variables; True merges always, so that a
            non-convex loss is solved among collapsed points only (its verdict still sees every
            within-class direction); False never.
        watch: told (iterations, objective, gradient norm) between the iterations of "newton"; where
            it says True the point so far is returned, as INTERRUPTED.

    Returns:
        A Solution whose ``result`` says whether the tolerance was reached. From a start that is
        critical no method takes a step: ``start_index`` then says its index, and a descent that
        would have to leave a saddle ends with SADDLE_START, not CONVERGED.

    Raises:
        InputError: an unknown method or reduction, a non-positive tolerance, a problem too large
            for the dense matrices of "critical" or "piecewise", or no kinks for the latter.

    Example:
        >>> from ufm import UFM, CrossEntropy
        >>> model = UFM(CrossEntropy(), 4, 6, 5, lambda_W=0.02, lambda_H=0.02)
        >>> found = solve(model)
        >>> abs(found.objective - model.minimiser().value) < 1e-14, found.result.name
        (True, 'CONVERGED')
    """
    if method not in METHODS:
        raise InputError("Unknown method", method, f"use one of {', '.join(METHODS)}")
    require_positive(tolerance, "tolerance", "use a value such as 1e-12")
    merge, note = _merge(model, reduction)
    small = model if merge is None else merge.model
    narrow = start is None and method != "critical"
    inner = small.random_start(_key(key)) if narrow else None
    if inner is None:
        drawn = start is None or (isinstance(start, str) and start == FULL)
        point = small.random_point(_key(key)) if drawn else _placed(model, merge, start)
        inner = small.confined(point)
    else:
        point = inner.point
    working, begin = (small, point) if inner is None else (inner.model, inner.point)
    if max_iterations is None:
        max_iterations = MAX_ITERATIONS.get(method, MAX_CRITICAL_ITERATIONS)
    stopped = False

    def watched(used: int, value: float, size: float) -> bool:
        nonlocal stopped
        stopped = watch is not None and watch(used, value, size)
        return stopped

    if method == "newton":
        telling = None if watch is None else watched
        found = trust_region(working, begin, tolerance, max_iterations, telling)
    elif method == "critical":
        size = sum(leaf.size for leaf in jax.tree.leaves(begin))
        if size > MAX_CRITICAL_SIZE:
            raise InputError(
                f"'critical' diagonalises dense Hessians of at most {MAX_CRITICAL_SIZE} variables",
                f"{size:,} ({8 * size**2 / 2**30:.1f} GiB)",
                "lower d or K, or use method='newton'",
            )
        found = find_critical(working, begin, tolerance, max_iterations)
    elif method == "piecewise":
        found = piecewise(working, begin, tolerance, max_iterations)
    else:
        found = descend(working, begin, tolerance, max_iterations, method, learning_rate)
    point, value, size, iterations = found
    if inner is not None:
        point = inner.lift(point)
        note += f"; {inner.why}"
    # item() is the fastest way to the host; device_get would cost as much as ten iterations.
    value, size, iterations = value.item(), size.item(), iterations.item()
    result = result_of(size, value, tolerance, iterations, max_iterations)
    if stopped and result is Result.STALLED:
        result = Result.INTERRUPTED
    started = None
    if result and not iterations:
        started = count_curvature(small, point, size).index_range[0]
        if started and method != "critical":
            result = Result.SADDLE_START
    return Solution(small, point, model, value, size, result, iterations, method, note, started)


def _key(key: Any) -> Any:
    return jax.random.key(0) if key is None else key


def _placed(model: Model[Any], merge: Merge | None, start: Any) -> Any:
    """A start in the coordinates that are solved in: merged, or all samples."""
    owner, point = model.checked(jax.tree.map(lambda x: np.asarray(x, np.float64), start))
    if merge is not None:
        return merge.reduce(point) if owner is model else point
    if owner is not model:
        rule = "Samples that do not merge need a start with one column per sample"
        raise InputError(rule, "a merged start", "lift it, or solve with reduction=True")
    return point


def result_of(size: float, value: float, tolerance: float, used: int, allowed: int) -> Result:
    """How a descent ended, from its gradient norm, objective and iterations.

    Example:
        >>> result_of(1e-13, 0.5, 1e-12, 7, 100).name
        'CONVERGED'
    """
    if not (math.isfinite(size) and math.isfinite(value)):
        return Result.DIVERGED
    if size <= tolerance:
        return Result.CONVERGED
    return Result.MAX_ITERATIONS if used >= allowed else Result.STALLED


def _merge(model: Model[Any], reduction: str | bool) -> tuple[Merge | None, str]:
    """A-1 where asked for, with a note on why it is lossless."""
    if reduction not in ("auto", True, False):
        raise InputError("Unknown reduction", reduction, "use 'auto', True or False")
    merge = model.merge() if reduction else None
    if merge is None:
        return None, "none"
    if merge.lossless:
        return merge, f"samples merged, convexity {merge.lossless}"
    large = getattr(model, "num_parameters", 0) > MAX_UNMERGED
    if reduction == "auto" and not large:
        return None, f"none: samples do not merge, convexity {merge.lossless}"
    why = "asked for" if reduction is True else f"more than {MAX_UNMERGED:,} variables"
    return merge, f"samples merged, convexity {merge.lossless}; collapsed points only ({why})"
