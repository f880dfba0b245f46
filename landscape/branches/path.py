"""Follow a critical point of any model as a parameter of it changes, around folds.

``landscape.branches.continuation`` does the same for the plain model and knows where its branches
are born; here nothing is known but a family of models t -> model and their symmetry. With A the
Hessian, T an orthonormal basis of the generators and F_t the derivative of the gradient along t,

    [ A + T T^T   F_t ]
    [ normal of a plane ]

is regular at folds. Source: Keller 1977; Allgower & Georg 1990, chapter 2.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from enum import Enum
from typing import Any

import numpy as np

from ufm.errors import InputError
from ufm.model import Model
from ufm.point import P, as_rows, flatten, unflatten
from ufm.tolerance import generator_rank, zero_tolerance
from ufm.typing import Array

# Gradient norm of every point on a path; Newton's method stops at rounding, well below.
TOLERANCE = 1e-10
MAX_NEWTON, MAX_STEPS = 10, 2000
# Steps in (x / max(1, |x|), share of the way): the first, the largest, and when to give up.
FIRST, LARGEST, SMALLEST = 0.02, 0.1, 1e-7
# Cosine between neighbouring tangents, and correction as a share of the step: beyond, halve it.
STRAIGHT, DEVIATION = 0.97, 0.2
# Central differences along the parameter: truncation h^2 and rounding eps / h balance near here.
SHARE = 1e-5


class Ended(Enum):
    """Why a path ends."""

    ARRIVED = "the parameter reached the end"
    TURNED_BACK = "the path turned back and left at its start"
    LOST = "no step converges"


@dataclass(frozen=True)
class Place:
    """A critical point on a path.

    Attributes:
        parameter: t.
        point: critical for the model at t.
        objective, gradient_norm: there.
        index: negative eigenvalues of the Hessian.
        smallest: eigenvalue across the symmetry orbit that is closest to zero.
    """

    parameter: float
    point: Any
    objective: float
    gradient_norm: float
    index: int
    smallest: float


@dataclass(frozen=True)
class Path:
    """Critical points in order of arclength, and how the path ends.

    Attributes:
        places: the critical points.
        ended: why it ends.
        folds: numbers i such that the parameter turns between places i and i + 1.
    """

    places: tuple[Place, ...]
    ended: Ended
    folds: tuple[int, ...]


def follow_parameter(
    family: Callable[[float], Model[P]], point: P, start: float, end: float
) -> Path:
    """The critical points that a critical point becomes as a parameter goes from start to end.

    Args:
        family: t -> model; all of one shape.
        point: critical for ``family(start)``, or nearly.
        start: where the parameter begins.
        end: where it ends, different from the start.

    Returns:
        A Path; every place has a gradient norm of at most 1e-10.

    Raises:
        InputError: start = end, or no critical point at the start.

    Example:
        >>> from ufm import UFM, CrossEntropy
        >>> def family(decay):
        ...     return UFM(CrossEntropy(), 2, 1, lambda_W=decay, lambda_H=decay)
        >>> path = follow_parameter(family, family(0.1).minimiser().point, 0.1, 0.2)
        >>> path.ended.name, abs(path.places[-1].objective - family(0.2).minimiser().value) < 1e-12
        ('ARRIVED', True)
    """
    if not (math.isfinite(start) and math.isfinite(end) and start != end):
        raise InputError("Need two different ends of the parameter", (start, end), "change one")
    curve = _Curve(family, point, start, end)
    x = flatten(point) / curve.unit
    upwards = np.append(np.zeros(len(x)), 1.0)
    here = curve.corrected(np.append(x, 0.0), upwards)
    if here is None:
        rule = f"Need a critical point of the model at {start:g}"
        raise InputError(rule, "none close by", "polish it with `solve(method='critical')`")
    tangent, step = curve.tangent(here, upwards), FIRST
    places, folds = [curve.place(here)], list[int]()

    def told(ended: Ended) -> Path:
        return Path(tuple(places), ended, tuple(folds))

    while len(places) < MAX_STEPS and step >= SMALLEST:
        guess = here + step * tangent
        if guess[-1] >= 1.0:
            last = curve.corrected(np.append(guess[:-1], 1.0), upwards)
            if last is not None and np.linalg.norm(last - guess) <= 2 * step:
                places.append(curve.place(last))
                return told(Ended.ARRIVED)
            step *= 0.5
            continue
        there = curve.corrected(guess, tangent)
        if there is None or np.linalg.norm(there - guess) > DEVIATION * step:
            step *= 0.5
            continue
        onwards = curve.tangent(there, tangent)
        if onwards @ tangent < STRAIGHT:
            step *= 0.5
            continue
        if there[-1] < 0.0:
            return told(Ended.TURNED_BACK)
        if onwards[-1] * tangent[-1] < 0:
            folds.append(len(places) - 1)
        places.append(curve.place(there))
        here, tangent, step = there, onwards, min(LARGEST, 1.5 * step)
    return told(Ended.LOST)


class _Curve:
    """The equations in y = (x / unit, share of the way from start to end)."""

    def __init__(self, family: Any, point: Any, start: float, end: float) -> None:
        self.family, self.like, self.start, self.span = family, point, start, end - start
        self.unit = max(1.0, float(np.linalg.norm(flatten(point))))

    def parameter(self, y: Array) -> float:
        return self.start + float(y[-1]) * self.span

    def point(self, y: Array) -> Any:
        return unflatten(self.unit * y[:-1], self.like)

    def gradient(self, y: Array, share: float) -> Array:
        model = self.family(self.start + share * self.span)
        return flatten(model.value_and_gradient(self.point(y))[1])

    def system(self, y: Array) -> tuple[Array, Array]:
        """Gradient, and [A + T T^T, F_t] in the coordinates y, (P, P + 1)."""
        model = self.family(self.parameter(y))
        point = self.point(y)
        _, slope, hessian = model.dense_derivatives(point)
        across = [self.gradient(y, float(y[-1]) + sign * SHARE) for sign in (1.0, -1.0)]
        along = (across[0] - across[1]) / (2 * SHARE)
        return slope, np.column_stack([self.unit * (hessian + self.gauge(model, point)), along])

    def gauge(self, model: Any, point: Any) -> Array:
        """T T^T, the projection on the generators; 0 where they are not known."""
        tangents = model.generators(point)
        rows = np.zeros((0, flatten(point).size)) if tangents is None else as_rows(tangents)
        if not len(rows):
            return np.zeros((rows.shape[1],) * 2)
        basis = np.linalg.svd(rows, full_matrices=False)[2][: generator_rank(rows)]
        return np.asarray(basis.T @ basis)

    def corrected(self, guess: Array, normal: Array) -> Array | None:
        """The critical point in the plane through a guess, or None."""
        y, best, size = guess, None, math.inf
        for _ in range(MAX_NEWTON):
            slope, matrix = self.system(y)
            now = float(np.linalg.norm(slope))
            if not math.isfinite(now) or (now >= size and size <= TOLERANCE):
                break
            if now < size:
                best, size = y, now
            right = np.append(-slope, normal @ (guess - y))
            step = np.linalg.lstsq(np.vstack([matrix, normal]), right, rcond=1e-13)[0]
            if np.linalg.norm(step) > 1.0:
                break
            y = y + step
        return best if size <= TOLERANCE else None

    def tangent(self, y: Array, along: Array) -> Array:
        """Unit tangent with a positive component along the last one."""
        matrix = np.vstack([self.system(y)[1], along])
        right = np.append(np.zeros(len(matrix) - 1), 1.0)
        found = np.linalg.lstsq(matrix, right, rcond=1e-13)[0]
        return np.asarray(found / np.linalg.norm(found))

    def place(self, y: Array) -> Place:
        """What is recorded of a critical point."""
        model, point = self.family(self.parameter(y)), self.point(y)
        value, slope, hessian = model.dense_derivatives(point)
        gauge = self.gauge(model, point)
        radius = float(np.abs(np.linalg.eigvalsh(hessian)).max())
        # Symmetry directions are lifted beyond the spectrum, and left out.
        lifted = np.linalg.eigvalsh(hessian + (2 * radius + 1) * gauge)
        values = lifted[: len(lifted) - round(float(np.trace(gauge)))]
        zero = zero_tolerance(len(hessian), radius, 0.0, 1.0, 1.0)[0]
        smallest = float(values[np.abs(values).argmin()]) if len(values) else math.inf
        size = float(np.linalg.norm(slope))
        index = int(np.sum(values < -zero))
        return Place(self.parameter(y), point, value, size, index, smallest)
