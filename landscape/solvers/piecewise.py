"""Descent of objectives with kinks, to a point where zero is a mean of the gradients beside it.

Two descents from one start, of which the lower counts: proximal Newton steps, which end on surfaces
where pieces meet with the slopes that prove a point critical (``proximal_newton``), and the same
after a round of BFGS with a weak Wolfe search, which wanders farther. A direction of negative
curvature along the surface is followed down.
Source: Lewis & Overton (2013) for BFGS; the rest derived here (docs/theory.md, DR-5).
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import jax
import numpy as np

from landscape.curvature.kinks import Surface, below_along, sides_of, surface_at
from landscape.solvers.proximal_newton import proximal_newton
from ufm.errors import InputError
from ufm.model import Model
from ufm.point import flatten, unflatten
from ufm.typing import Array

# Lewis & Overton 2013, section 4: sufficient decrease, and the slope that a step must lose.
ARMIJO, WOLFE = 1e-4, 0.9
MAX_SEARCH = 60
# Gradients of a round of BFGS: near a surface it slows down, and proximal steps take over.
ROUND = 2000
# Proximal steps at a time: a few dozen reach a surface and its critical point, and where there are
# many more something is flat, or in the way.
STEPS = 300
# Dense inverse Hessians; the second derivatives of all kinks are larger still.
MAX_SIZE = 2000
# A round that gains less than this share of the objective is the last one.
GAIN = 1e-9


def piecewise(
    model: Model[Any], point: Any, tolerance: float, max_iterations: int
) -> tuple[Any, Any, Any, Any]:
    """Minimise a model with kinks: (point, objective, least generalised gradient, gradients).

    Raises:
        InputError: a model that does not say its pieces, or more than 2,000 variables.

    Example:
        >>> from ufm import deep_relu
        >>> model = deep_relu(d=3, depth=4, lambda_W=0.0350610983, lambda_H=0.0350610983)
        >>> start = model.candidates()["plane"]
        >>> _, value, slope, _ = piecewise(model, start, 1e-12, 5000)
        >>> round(float(value), 9), bool(slope < 1e-12)
        (0.250357953, True)
    """
    point = jax.tree.map(np.asarray, point)
    if sides_of(model, point) is None:
        rule = "The method 'piecewise' needs a model that says where its pieces meet (Model.pieces)"
        raise InputError(rule, type(model).__name__, "use newton or lbfgs for a smooth one")
    x = flatten(point)
    if len(x) > MAX_SIZE:
        rule = f"The method 'piecewise' keeps dense matrices of at most {MAX_SIZE:,} variables"
        raise InputError(rule, f"{len(x):,}", "lower the widths, or use lbfgs")

    def value(y: Array) -> tuple[float, Array]:
        height, slope = model.value_and_gradient(as_point(y))
        return float(height), flatten(slope)

    def as_point(y: Array) -> Any:
        return jax.tree.map(np.asarray, unflatten(y, point))

    best, surface, used = _descended(model, as_point, value, x, tolerance, max_iterations)
    if 0 < used < max_iterations:
        away, _, spent, _ = bfgs(value, x, tolerance, min(ROUND, max_iterations - used))
        used += spent
        other = _descended(model, as_point, value, away, tolerance, max_iterations - used)
        used += other[2]
        if value(other[0])[0] < value(best)[0]:
            best, surface = other[:2]
    ended = as_point(best)
    return ended, np.asarray(model.objective(ended)), np.asarray(surface.residual), np.asarray(used)


def _descended(
    model: Model[Any],
    as_point: Callable[[Array], Any],
    value: Callable[[Array], tuple[float, Array]],
    x: Array,
    tolerance: float,
    most: int,
) -> tuple[Array, Surface, int]:
    """The end of proximal steps, of escapes along surfaces, and of BFGS where those are stuck."""
    used = 0
    while True:
        surface = _required(surface_at(model, as_point(x)))
        if surface.residual > tolerance:
            most_now = min(STEPS, most - used)
            x, _, steps = proximal_newton(model, as_point(x), tolerance, most_now)
            used += steps
            surface = _required(surface_at(model, as_point(x)))
        if surface.residual <= tolerance:
            lower = below_along(model, as_point(x), surface)
            if lower is None:
                return x, surface, used
            x = flatten(lower[0])
            continue
        if used >= most:
            return x, surface, used
        height = value(x)[0]
        y, lowered, spent, _ = bfgs(value, x, tolerance, min(ROUND, most - used))
        used += spent
        if lowered > height - GAIN * abs(height):
            return x, surface, used
        x = y


def _required(surface: Surface | None) -> Surface:
    if surface is None:
        raise RuntimeError("the model has kinks")
    return surface


def bfgs(
    value: Any, x: Array, tolerance: float, most: int, inverse: Array | None = None
) -> tuple[Array, float, int, Array]:
    """BFGS with the weak Wolfe search of Lewis & Overton: (x, value, gradients spent, inverse).

    The inverse Hessian that it returns is what it takes to go on from there.

    Example:
        >>> f = lambda x: (abs(x[0]) + x[1] ** 2, np.array([np.sign(x[0]), 2 * x[1]]))
        >>> bool(bfgs(f, np.array([1.0, 3.0]), 1e-9, 500)[1] < 1e-9)
        True
    """
    height, slope = value(x)
    fresh, spent = inverse is None, 1
    inverse = np.eye(len(x)) if inverse is None else inverse
    while spent < most and np.linalg.norm(slope) > tolerance:
        step = -inverse @ slope
        falls = float(slope @ step)
        if falls >= 0:
            inverse, fresh = np.eye(len(x)), True
            continue
        low, high, t = 0.0, np.inf, 1.0
        for _ in range(MAX_SEARCH):
            new_height, new_slope = value(x + t * step)
            spent += 1
            if not new_height <= height + ARMIJO * t * falls:
                high = t
            elif new_slope @ step < WOLFE * falls:
                low = t
            else:
                break
            t = (low + high) / 2 if np.isfinite(high) else 2 * low
        else:
            break
        moved, bent = t * step, new_slope - slope
        x, height, slope = x + moved, new_height, new_slope
        along = float(moved @ bent)  # positive by the Wolfe condition, but for rounding
        if along <= 0:
            continue
        if fresh:
            inverse, fresh = inverse * along / float(bent @ bent), False
        image = inverse @ bent
        inverse = inverse + (1 + bent @ image / along) / along * np.outer(moved, moved)
        inverse = inverse - (np.outer(image, moved) + np.outer(moved, image)) / along
    return x, float(height), spent, inverse
