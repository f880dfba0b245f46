"""Newton's method to the critical point next door, whatever its index."""

from __future__ import annotations

from typing import Any

import jax
import numpy as np

from ufm.model import Model
from ufm.plain.reduce import row_space
from ufm.point import P, Point, as_rows, flatten, unflatten, widened
from ufm.typing import Array

# Singular values of the generators of a symmetry, relative to the largest: those that are not zero
# are at least |w| / |x| for some singular value w of W, others rounding.
DEPENDENT = 1e-7
# Convergence is quadratic: from 1e-5 to rounding in two steps, and one that shows that it is there.
STEPS = 6


def polished(model: Model[P], point: P) -> tuple[P, float, float]:
    """The critical point beside a point that is nearly critical, to rounding.

    x <- x - Q (Q^T H Q)^-1 Q^T g with Q across the orbit of the symmetry, as long as |g| falls.
    Source: Newton's method; derived here for points that lie on orbits.

    Args:
        model: any model small enough for dense Hessians.
        point: near a critical point.

    Returns:
        (point, objective, gradient norm).

    Example:
        >>> from ufm import UFM, CrossEntropy
        >>> model = UFM(CrossEntropy(), 3, 2, lambda_W=0.1, lambda_H=0.1).merge().model
        >>> at = model.minimiser().point
        >>> near = Point(at.W + 1e-4, at.H - 1e-4)
        >>> bool(polished(model, near)[2] < 1e-14)
        True
    """
    like = jax.tree.map(np.asarray, point)
    x = flatten(like)
    value, slope, hessian = model.dense_derivatives(like)
    for _ in range(STEPS):
        tangents = model.generators(unflatten(x, like))
        Q = np.eye(len(x)) if tangents is None else across(as_rows(tangents))
        try:
            step = Q @ np.linalg.solve(Q.T @ hessian @ Q, Q.T @ slope)
        except np.linalg.LinAlgError:  # exactly at a bifurcation
            break
        tried = model.dense_derivatives(unflatten(x - step, like))
        if not np.linalg.norm(tried[1]) < np.linalg.norm(slope):
            break
        x, (value, slope, hessian) = x - step, tried
    return unflatten(x, like), float(value), float(np.linalg.norm(slope))


def narrowed(model: Any, point: Point) -> tuple[Any, Point, float]:
    """A critical point to rounding, in its rank and one dimension more.

    Dimensions beyond the rank are alike (A-2), so one of them stands for all.

    Args:
        model: a UFM.
        point: merged or full columns, collapsed and nearly critical.

    Returns:
        (merged model in min(d, rank + 1) dimensions, polished point, gradient norm).

    Example:
        >>> from ufm import UFM, CrossEntropy
        >>> model = UFM(CrossEntropy(), 3, 100, lambda_W=0.1, lambda_H=0.1)
        >>> narrowed(model, model.minimiser().point)[1].W.shape
        (3, 3)
    """
    merged, small = model.as_merged(point)
    space = row_space(merged, small)
    narrow = merged.with_dimension(min(model.d, space.rank + 1))
    inner, _, size = polished(narrow, widened(space.point, narrow.d))
    return narrow, inner, size


def across(generators: Array) -> Array:
    """An orthonormal basis of the directions across an orbit, (P, P - m).

    Args:
        generators: of the symmetry, one a row, (any, P), of rank m.

    Example:
        >>> abs(across(np.array([[2.0, 0.0], [1.0, 0.0]]))).tolist()
        [[0.0], [1.0]]
    """
    size = generators.shape[1]
    if not len(generators):
        return np.eye(size)
    _, values, Vt = np.linalg.svd(generators, full_matrices=True)
    rank = int(np.sum(values > DEPENDENT * max(float(values[0]), 1e-300)))
    return np.asarray(Vt[rank:].T)
