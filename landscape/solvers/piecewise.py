"""Descent of objectives with kinks, to a point where zero is a mean of the gradients beside it.

BFGS with a weak Wolfe search goes down on kinks as on smooth ground and comes to rest near the
surface where pieces meet; Newton's method on grad_x L(x, s) = 0, u(x) = 0 (see
``landscape.curvature.kinks``) then finds the point itself and the slopes that prove it critical, or
a descent along the surface goes on where that is far (``along_kinks``). A direction of negative
curvature along the surface is followed down.
Source: Lewis & Overton (2013) for BFGS; the system derived here (docs/theory.md, DR-5).
"""

from __future__ import annotations

from typing import Any

import jax
import numpy as np
import scipy
from numpy.typing import NDArray

from landscape.curvature.kinks import (
    FINEST,
    Surface,
    below_along,
    derivatives,
    pushing,
    put,
    shortest,
    sides_of,
    surface_at,
)
from landscape.solvers.along_kinks import descend_along, meeting, onto
from ufm.errors import InputError
from ufm.model import Model, near_zero
from ufm.point import flatten, unflatten
from ufm.tolerance import NEAR_NULL

Array = NDArray[np.float64]
# Lewis & Overton 2013, section 4: sufficient decrease, and the slope that a step must lose.
ARMIJO, WOLFE = 1e-4, 0.9
MAX_SEARCH = 60
# BFGS may come to rest a good way from the surface: kinks within these shares of the largest u are
# tried as the ones that meet there.
NEAR = (1e-6, 1e-4, 1e-3, 1e-2, 3e-2, 0.1)
# Gradients that BFGS may spend before Newton's method is tried: near a surface it slows down. Where
# Newton's method finds nothing BFGS goes on with what it has learnt, twice as long: it takes some
# ten thousand gradients to tell the kinks of a surface of thirty from those beside it.
ROUND = 2000
# Dense inverse Hessians; the second derivatives of all kinks are larger still.
MAX_SIZE = 2000
# Newton's method may climb by what BFGS left, and by no more than this.
CLIMB = 1e-6


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
    x, used = flatten(point), 0
    if len(x) > MAX_SIZE:
        rule = f"The method 'piecewise' keeps dense matrices of at most {MAX_SIZE:,} variables"
        raise InputError(rule, f"{len(x):,}", "lower the widths, or use lbfgs")

    def as_point(y: Array) -> Any:
        return jax.tree.map(np.asarray, unflatten(y, point))

    def value(y: Array) -> tuple[float, Array]:
        height, slope = model.value_and_gradient(as_point(y))
        return float(height), flatten(slope)

    best, surface = x, _required(surface_at(model, point))
    allowed, inverse = ROUND, None
    while True:
        if surface.residual <= tolerance:
            lower = below_along(model, as_point(best), surface)
            if lower is None:
                break
            x, allowed, inverse = flatten(lower[0]), ROUND, None
        elif used >= max_iterations:
            break
        most = min(allowed, max_iterations - used)
        x, height, spent, inverse = bfgs(value, x, tolerance, most, inverse)
        used += spent
        ended = _met(model, as_point(x), height)
        if ended is not None:
            best, surface = ended, _required(surface_at(model, as_point(ended)))
            continue
        best, surface = x, _required(surface_at(model, as_point(x)))
        lower_end = _along(model, as_point(x), height, tolerance) if spent >= ROUND else None
        if lower_end is not None:
            best, surface = lower_end, _required(surface_at(model, as_point(lower_end)))
            x, allowed, inverse = lower_end, ROUND, None
            continue
        if spent >= most:
            allowed *= 2
            continue
        y = _shortest(model, as_point(x), value)
        if y is None:
            break
        x, inverse = y, None
    ended = as_point(best)
    return ended, np.asarray(model.objective(ended)), np.asarray(surface.residual), np.asarray(used)


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


def _met(model: Model[Any], point: Any, height: float) -> Array | None:
    """The critical point beside a point, from the first set of near kinks that leads to one."""
    sides = _sides(model, point)
    tried = set()
    for share in NEAR:
        near = np.abs(sides) <= share * (1 + np.abs(sides).max(initial=0.0))
        if near.tobytes() in tried:
            continue
        tried.add(near.tobytes())
        end = _newton(model, point, near)
        if end is not None and float(model.objective(unflatten(end, point))) <= height + CLIMB:
            return end
    return None


def _along(model: Model[Any], point: Any, height: float, tolerance: float) -> Array | None:
    """A lower point along the surface of the kinks that meet beside a point, or None."""
    sides = _sides(model, point)
    near = meeting(sides)
    if near is None:
        return None
    beside = jax.tree.map(np.asarray, unflatten(onto(model, point, near, sides), point))
    x, _ = descend_along(model, beside, tolerance)
    return x if float(model.objective(unflatten(x, point))) < height - CLIMB * abs(height) else None


def _sides(model: Model[Any], point: Any) -> Array:
    sides = sides_of(model, point)
    if sides is None:
        raise RuntimeError("the model has kinks")
    return sides


def _newton(model: Model[Any], point: Any, near: NDArray[np.bool_]) -> Array | None:
    """grad_x L = 0 and u = 0 at the kinks that are near, those let go whose slope leaves [0, 1]."""
    start, sides = flatten(point), _sides(model, point)
    slopes = np.where(near, 0.5, sides > 0)
    felt = near & pushing(derivatives(model, point, start, slopes).push)
    slopes = np.where(near & ~felt, 0.0, slopes)
    P = len(start)
    while True:
        active = np.flatnonzero(felt)
        first = shortest(model, point, start, slopes, active)[active]

        def at(z: Array, active: Any = active, slopes: Array = slopes) -> Any:
            return derivatives(model, point, z[:P], put(slopes, active, z[P:]))

        def system(z: Array, active: Any = active, at: Any = at) -> Array:
            told = at(z)
            return np.concatenate([told.gradient, told.sides[active]])

        def jacobian(z: Array, active: Any = active, at: Any = at) -> Array:
            told = at(z)
            shear = told.shear[np.ix_(active, active)]
            return np.block([[told.hessian, told.turn[:, active]], [told.normals[active], shear]])

        found = scipy.optimize.least_squares(
            system, np.concatenate([start, first]), jacobian, method="lm", **FINEST
        )
        x, inner = found.x[:P], found.x[P:]
        left = (inner < -NEAR_NULL) | (inner > 1 + NEAR_NULL)
        if not left.any():
            break
        felt[active[left]] = False
        slopes[active[left]] = inner[left] > 1
    ended = _sides(model, unflatten(x, point))
    there = near_zero(ended)
    right = np.where(felt | (near & ~felt & there), there, (ended > 0) == (slopes > 0.5))
    return x if right.all() and np.abs(found.fun).max() < 1e-9 else None


def _shortest(model: Model[Any], point: Any, value: Any) -> Array | None:
    """A lower point along the shortest mean of gradients beside a point, None if there is none."""
    x, sides = flatten(point), _sides(model, point)
    height = value(x)[0]
    for share in NEAR[::-1]:
        near = np.abs(sides) <= share * (1 + np.abs(sides).max(initial=0.0))
        slopes = np.where(near, 0.0, sides > 0)
        slopes = shortest(model, point, x, slopes, np.flatnonzero(near))
        step = derivatives(model, point, x, slopes).gradient
        for length in 0.5 ** np.arange(0, 30, 2):
            if value(x - length * step)[0] < height - ARMIJO * length * float(step @ step):
                return np.asarray(x - length * step)
    return None
