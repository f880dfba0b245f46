"""How long gradient flow takes to leave a saddle: integrated, and from the linearisation."""

from __future__ import annotations

import warnings
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from scipy.integrate import LSODA
from scipy.optimize import brentq

from landscape.flows.descent import descend
from ufm.eigen import eigh
from ufm.plain.chain_rule import value_and_gradient
from ufm.point import Point, flatten, unflatten
from ufm.typing import Array

# Error per step: of the distance from the saddle, and of its first value. Some hundred steps then
# leave the time known to 1e-4 of the time in which the distance grows by a factor of e.
RELATIVE, ABSOLUTE = 1e-8, 1e-6
# The second integration, ten times as exact, that says what the first one is worth.
SHARPER = 0.1
# Distance from the saddle, relative to max(1, |x|), at which the direction of the descent is
# settled and the end is looked for: the linearisation is off by 1 % there.
SETTLED = 1e-2
# Longest flow, in units of the predicted time: one that takes more is held up at another saddle.
LONGEST = 10.0


@dataclass(frozen=True)
class Departure:
    """A flow that left a saddle.

    Attributes:
        time: until the objective has fallen by half of all that it falls; NaN if it did not.
        predicted: the same from the linearisation.
        error: relative difference of ``time`` from that of a sharper integration.
        end_objective: where the flow ends; NaN if it did not.
        doubt: why there is no time, "" if there is one.
        exhausted: whether the doubt is a limit on steps.
    """

    time: float
    predicted: float
    error: float
    end_objective: float
    doubt: str = ""
    exhausted: bool = False


def depart(
    model: Any, saddle: Point, direction: Array, amplitude: float, max_steps: int
) -> Departure:
    r"""Leave a saddle along x' = -grad f from x + amplitude * direction.

    The predicted time T is that at which the quadratic model has fallen by as much,

        sum_{lambda_i < 0} |lambda_i| (amplitude <v_i, direction>)^2 e^{2 |lambda_i| T} / 2
            = (f(saddle) - f(end)) / 2,

    which for one eigenvalue lambda, of any multiplicity, with p the length of the projection of the
    direction on its eigenspace, and D = f(saddle) - f(end) is
    T = log( sqrt(D / |lambda|) / (amplitude p) ) / |lambda|. The flow departs from the quadratic
    model only where it is of order one from the saddle, so measured - predicted tends to a constant
    and measured / predicted to one as the amplitude falls (if no other saddle is met on the way).
    Source: linearisation at a saddle; derived here.

    Args:
        model: a merged UFM in the dimension of the point.
        saddle: a critical point to rounding.
        direction: unit vector in the coordinates of ``flatten``.
        amplitude: distance from the saddle at the beginning.
        max_steps: of each integration.

    Returns:
        Departure.

    Example:
        >>> from ufm import UFM, CrossEntropy
        >>> model = UFM(CrossEntropy(), 2, 1, lambda_W=0.1, lambda_H=0.1).merge().model
        >>> unit = np.array([0.5, -0.5, 0.5, -0.5])  # the unstable direction itself
        >>> left = depart(model, model.origin(), unit, 1e-6, 1000)
        >>> abs(left.end_objective - model.minimiser().value) < 1e-9
        True
    """
    x = flatten(saddle)
    level, _, hessian = model.dense_derivatives(saddle)
    values, vectors = eigh(hessian)
    speeds, shares = -values, (amplitude * (vectors.T @ direction)) ** 2
    unstable = speeds > 1e-9 * np.abs(values).max()
    blank = Departure(np.nan, np.nan, np.nan, np.nan)
    if not unstable.any() or not shares[unstable].any():
        return replace(blank, doubt="no direction of descent to leave along")
    reach = SETTLED * max(1.0, float(np.linalg.norm(x)))
    parts = speeds[unstable], shares[unstable]
    near = _time(np.ones_like(parts[0]), parts, reach**2)
    flow = _Flow(model, saddle, amplitude, max_steps)
    start = amplitude * direction
    early, y, words = flow.follow(start, lambda z: float(z @ z) - reach**2, LONGEST * near, 1.0)
    if words:
        return _failed(blank, words, max_steps)
    end = descend(model, unflatten(x + y, saddle))
    if not end.arrived:
        return _failed(blank, f"the flow does not end (gradient norm {end.gradient_norm:.1e})", 0)
    fall = level - end.objective

    def half(z: Array) -> float:
        return level - flow.value(z) - 0.5 * fall

    predicted = _time(0.5 * parts[0], parts, 0.5 * fall)
    most = LONGEST * max(predicted, near)
    late, _, words = flow.follow(y, half, most, 1.0)
    known = Departure(np.nan, predicted, np.nan, end.objective)
    if words:
        return _failed(known, words, max_steps)
    sharp, z, words = flow.follow(start, lambda w: float(w @ w) - reach**2, most, SHARPER)
    rest, _, again = flow.follow(z, half, most, SHARPER) if not words else (np.nan, z, words)
    if words or again:
        return _failed(known, words or again, max_steps)
    error = abs((early + late) / (sharp + rest) - 1)
    return Departure(sharp + rest, predicted, error, end.objective)


def _failed(known: Departure, words: str, max_steps: int) -> Departure:
    exhausted = words.startswith(f"{max_steps} steps")
    return Departure(np.nan, known.predicted, np.nan, known.end_objective, words, exhausted)


def _time(weights: Array, parts: tuple[Array, Array], level: float) -> float:
    """The T with sum_i weights_i shares_i e^{2 speeds_i T} = level, or 0 where it is passed."""
    speeds, shares = parts
    shown = weights * shares > 0
    speeds, terms = speeds[shown], np.log(weights[shown] * shares[shown])

    def excess(T: float) -> float:
        return float(np.logaddexp.reduce(terms + 2 * speeds * T) - np.log(level))

    if excess(0.0) >= 0:
        return 0.0
    high = 1 / float(speeds.max())
    while excess(high) < 0:
        high *= 2
    return float(brentq(excess, 0.0, high, rtol=1e-12))


class _Flow:
    """x' = -grad f in the deviation y from a saddle, which stays exact however small it is."""

    def __init__(self, model: Any, saddle: Point, amplitude: float, max_steps: int) -> None:
        self.model, self.like, self.origin = model, saddle, flatten(saddle)
        self.amplitude, self.max_steps = amplitude, max_steps

    def value(self, y: Array) -> float:
        return value_and_gradient(self.model, unflatten(self.origin + y, self.like))[0]

    def velocity(self, _: float, y: Array) -> Array:
        slope = value_and_gradient(self.model, unflatten(self.origin + y, self.like))[1]
        return -flatten(slope)

    def jacobian(self, _: float, y: Array) -> Array:
        return -self.model.dense_derivatives(unflatten(self.origin + y, self.like))[2]

    def follow(
        self, y: Array, crossing: Callable[[Array], float], longest: float, sharpness: float
    ) -> tuple[float, Array, str]:
        """(time, point, "") where ``crossing`` turns positive, or words why it does not."""
        if crossing(y) >= 0:
            return 0.0, y, ""
        solver = LSODA(
            self.velocity,
            0.0,
            y,
            np.inf,
            rtol=RELATIVE * sharpness,
            atol=ABSOLUTE * sharpness * self.amplitude,
            jac=self.jacobian,
        )
        for _ in range(self.max_steps):
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")  # a failure shows in the status
                solver.step()
            if solver.status != "running":
                return np.nan, y, "the integration broke down"
            if crossing(solver.y) >= 0:
                return (*_crossed(solver, crossing), "")
            if solver.t > longest:
                return np.nan, y, f"still held up after time {solver.t:.3g}"
        return np.nan, y, f"{self.max_steps} steps were not enough"


def _crossed(solver: Any, crossing: Callable[[Array], float]) -> tuple[float, Array]:
    """Time and point at which ``crossing`` turns positive within the last step."""
    dense = solver.dense_output()
    bounds = solver.t_old, solver.t
    time = brentq(lambda t: crossing(dense(t)), *bounds, xtol=1e-12 * solver.t)
    return float(time), np.asarray(dense(time))
