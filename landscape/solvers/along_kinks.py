"""Descent along the surface where pieces of an objective meet: trust regions on smooth ground.

BFGS finds which kinks meet, and is slow along their surface, whose curvature is small beside that
of the folds. There f is L(x, s) with the slopes s at which grad L is shortest (DR-5), so Newton
steps in the tangents, put back onto the surface, go down as they do where nothing is bent.
"""

from __future__ import annotations

from typing import Any

import jax
import numpy as np
from numpy.typing import NDArray

from landscape.curvature.kinks import Surface, derivatives, moved_onto, surface_at
from ufm.model import Model
from ufm.point import flatten, unflatten

Array = NDArray[np.float64]
# Kinks that meet are this much nearer than the next one; and nearer than this share of the largest.
GAP, NEAREST = 1e3, 1e-2
# Share of the predicted fall that a step must reach, and from which the region grows.
ENOUGH, GOOD = 0.1, 0.7
MAX_STEPS = 200
LEAST_RADIUS = 1e-12
BISECTIONS = 80


def meeting(sides: Array) -> NDArray[np.bool_] | None:
    """Which kinks meet: those before the widest gap in |u|; None where none is wide enough.

    Example:
        >>> meeting(np.array([1e-9, -0.5, 2e-8, 1.0])).tolist()
        [True, False, True, False]
        >>> meeting(np.array([1e-3, 0.1, 1.0])) is None
        True
    """
    sizes = np.sort(np.abs(sides))
    floor = 1e-16 * (1 + sizes[-1])
    ratios = sizes[1:] / np.maximum(sizes[:-1], floor)
    fits = sizes[:-1] <= NEAREST * sizes[-1]
    if not np.any(fits & (ratios >= GAP)):
        return None
    last = int(np.argmax(np.where(fits, ratios, 0.0)))
    return np.asarray(np.abs(sides) <= sizes[last])


def onto(model: Model[Any], point: Any, near: NDArray[np.bool_], sides: Array) -> Array:
    """The point at which all of these kinks are at zero, by Newton's method of least steps."""
    slopes = np.where(near, 0.5, sides > 0)
    active = np.flatnonzero(near)
    blank, none = np.zeros(0), np.zeros((0, 0))
    held = Surface(active, slopes, 0.0, blank, none, none, "")
    return moved_onto(model, point, flatten(point), held)


def descend_along(model: Model[Any], point: Any, tolerance: float) -> tuple[Array, float]:
    """The end of a descent along the surface of a point: (x, least generalised gradient).

    It stops at the tolerance, where another kink is in the way, or where a slope is at its end.
    """
    x, radius = flatten(point), 1e-2
    height = float(model.objective(point))

    def as_point(y: Array) -> Any:
        return jax.tree.map(np.asarray, unflatten(y, point))

    surface = _surface(model, point)
    for _ in range(MAX_STEPS):
        if surface.residual <= tolerance or not len(surface.values):
            break
        gradient = derivatives(model, point, x, surface.slopes).gradient
        slope, curved = surface.directions.T @ gradient, surface.values
        while radius > LEAST_RADIUS:
            step = trust_step(slope, curved, radius)
            fall = -float(slope @ step + step @ (curved * step) / 2)
            y = moved_onto(model, point, x + surface.directions @ step, surface)
            lower = height - float(model.objective(as_point(y)))
            if lower > ENOUGH * fall > 0:
                break
            radius = min(radius, float(np.linalg.norm(step))) / 3
        else:
            break
        radius = 2.5 * radius if lower > GOOD * fall else radius
        x, height = y, height - lower
        surface = _surface(model, as_point(x))
    return x, surface.residual


def trust_step(slope: Array, curved: Array, radius: float) -> Array:
    """The least slope . v + v . diag(curved) v / 2 over |v| <= radius; curvatures ascend.

    Example:
        >>> trust_step(np.array([1.0, 0.0]), np.array([2.0, 3.0]), 9.0).tolist()
        [-0.5, -0.0]
        >>> round(float(np.linalg.norm(trust_step(np.ones(2), np.array([-1.0, 3.0]), 0.5))), 9)
        0.5
    """
    if curved[0] > 0:
        step = -slope / curved
        if np.linalg.norm(step) <= radius:
            return np.asarray(step)
    low = max(0.0, -float(curved[0]))
    high = low + float(np.linalg.norm(slope)) / radius + np.finfo(float).tiny
    for _ in range(BISECTIONS):
        middle = (low + high) / 2
        with np.errstate(divide="ignore"):
            long = np.linalg.norm(slope / (curved + middle)) > radius
        low, high = (middle, high) if long else (low, middle)
    return np.asarray(-slope / (curved + high))


def _surface(model: Model[Any], point: Any) -> Surface:
    surface = surface_at(model, point)
    if surface is None:
        raise RuntimeError("the model has kinks")
    return surface
