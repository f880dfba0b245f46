"""Proximal Newton steps on objectives with kinks: every kink stays a kink in the model of a step.

Near x the objective is modelled by

    g . v + v . H v / 2 + sum_k b_k max(u_k + a_k . v, 0)

over the kinks that bend upwards, with pushes b_k > 0, normals a_k and what L(x, s) has besides. The
dual is a quadratic over slopes s in the box [0, 1]^k, so that a step says the slopes as well: where
steps end at v = 0, grad L(x, s) = 0. It does not matter whether the normals depend on each other.
Source: the model after Lewis & Wright (2016); dual and slopes derived here (docs/theory.md, DR-5).
"""

from __future__ import annotations

from typing import Any

import jax
import numpy as np
import scipy

from landscape.curvature.kinks import derivatives, sides_of
from ufm.eigen import eigh
from ufm.model import Model, near_zero
from ufm.point import flatten, unflatten
from ufm.tolerance import ROUNDING_FACTOR
from ufm.typing import Array

# Share of the predicted fall that a step must reach, and from which the damping shrinks.
ENOUGH, GOOD = 0.05, 0.3
# Damping at the start, its growth and its fall. Below the floor, a share of |H|, damped directions
# that are flat by symmetry would turn rounding of the gradient into steps.
DAMPING, GROWTH, SHRINKING = 1e-3, 4.0, 8.0
FLOOR, CEILING = 1e-9, 1e4
# Steps that promise less than the rounding of values are taken a few times, since slopes and sides
# still get better: Newton's method doubles their digits.
LAST_STEPS = 6
# Kinks that are felt are at zero at the end: |u| below this share of 1 + the largest.
SIDE = 1e-14
BOX_STEPS = 200
# Of the mean eigenvalue of a dual; at 1e-15 it is lost in rounding.
RIDGE = 1e-13


def proximal_newton(
    model: Model[Any], point: Any, tolerance: float, most: int
) -> tuple[Array, float, int]:
    """Descend on kinks: (x, |grad L| with the slopes of the last step, steps).

    It stops at the tolerance with all kinks that are felt at zero, after ``most`` steps, or where
    no step goes down.

    Example:
        >>> from ufm import deep_relu
        >>> model = deep_relu(d=3, depth=4, lambda_W=0.0350610983, lambda_H=0.0350610983)
        >>> x, size, steps = proximal_newton(model, model.candidates()["plane"], 1e-12, 50)
        >>> round(float(model.objective(unflatten(x, model.random_point(jax.random.key(0))))), 9)
        0.250357953
        >>> bool(size < 1e-12), steps < 20
        (True, True)
    """

    def value(y: Array) -> float:
        return float(model.objective(jax.tree.map(np.asarray, unflatten(y, point))))

    x, damping, steps, last, sided = flatten(point), DAMPING, 0, 0, False
    height, sides = value(x), _sides(model, point)
    slopes = np.where(near_zero(sides), 0.5, sides > 0)
    while True:
        told = derivatives(model, point, x, slopes)
        rounding = ROUNDING_FACTOR * np.finfo(float).eps * (1 + abs(height))
        size, u, b = float(np.linalg.norm(told.gradient)), told.sides, told.push
        soft, inside = b > 0, (slopes > 0) & (slopes < 1)
        held = soft & inside & near_zero(u)
        met = np.abs(u[soft & inside]).max(initial=0.0) <= SIDE * (1 + np.abs(u).max(initial=0.0))
        if (size <= tolerance and met) or steps >= most or last >= LAST_STEPS:
            return x, size, steps
        # On the surface A v + u = 0 a multiple of |A v + u|^2 changes nothing, and takes away the
        # negative curvature that L has across the folds.
        A, across = told.normals, told.normals[held]
        stiff = float(np.abs(told.hessian).sum(axis=0).max())
        curved, axes = eigh(told.hessian + stiff * across.T @ across)
        damping = max(damping, FLOOR * stiff)
        others = told.gradient + A.T @ (b * np.where(soft, -slopes, (u > 0) - slopes))
        pull = stiff * across.T @ u[held]
        normals, pushed = (A[soft] * b[soft, None]) @ axes, b[soft]
        linear = axes.T @ (others + pull)
        while damping < CEILING:
            bent = np.abs(curved) + damping
            dual = (normals / bent) @ normals.T
            s = least_in_box(dual, (normals / bent) @ linear - pushed * u[soft], slopes[soft])
            step = -axes @ ((linear + normals.T @ s) / bent)
            moved = np.maximum(u[soft] + A[soft] @ step, 0) - np.maximum(u[soft], 0)
            fall = -float(others @ step + pushed @ moved)
            lower = height - value(x + step)
            if lower >= ENOUGH * fall - rounding:
                break
            damping *= GROWTH
        else:
            # Slopes between 0 and 1 beside a kink are right only once a step lands on it. Those of
            # the sides are right for short steps.
            if sided:
                return x, size, steps
            sided, damping = True, DAMPING
            slopes = np.where(np.abs(u) <= SIDE * (1 + np.abs(u).max()), slopes, u > 0)
            continue
        sided = False
        x, height, steps = x + step, height - lower, steps + 1
        last = last + 1 if fall <= rounding else 0
        slopes = np.where(_sides(model, unflatten(x, point)) > 0, 1.0, 0.0)
        slopes[soft] = s
        if lower >= GOOD * fall:
            damping /= SHRINKING


def least_in_box(Q: Array, c: Array, start: Array) -> Array:
    """The least s . Q s / 2 + c . s over 0 <= s <= 1, Q positive semidefinite; near the start.

    Where normals depend on each other many s are least: a ridge keeps those near the start. Newton
    steps in the entries that are free, cut off at the box (Bertsekas 1982).

    Example:
        >>> least_in_box(np.diag([2.0, 1.0]), np.array([-1.0, -3.0]), np.zeros(2)).round(9).tolist()
        [0.5, 1.0]
    """
    s, ridge = start.clip(0, 1), RIDGE * float(np.trace(Q)) / max(len(Q), 1)
    Q, c = Q + ridge * np.eye(len(Q)), c - ridge * s

    def value(y: Array) -> float:
        return float(y @ Q @ y / 2 + c @ y)

    height = value(s)
    for _ in range(BOX_STEPS):
        slope = Q @ s + c
        free = ~(((s <= 0) & (slope > 0)) | ((s >= 1) & (slope < 0)))
        if not slope[free].any():
            break
        step = np.zeros_like(s)
        inner = Q[np.ix_(free, free)]
        step[free] = -scipy.linalg.lstsq(inner, slope[free], lapack_driver="gelsy")[0]
        for length in 0.5 ** np.arange(40):
            new = np.clip(s + length * step, 0, 1)
            if value(new) <= height + 1e-4 * float(slope @ (new - s)):
                break
        else:
            break
        if np.array_equal(new, s):
            break
        s, before, height = new, height, value(new)
        if length == 1 and before - height <= 1e-18 * (abs(height) + 1e-10):
            break
    return s


def _sides(model: Model[Any], point: Any) -> Array:
    sides = sides_of(model, point)
    if sides is None:
        raise RuntimeError("the model has kinks")
    return sides
