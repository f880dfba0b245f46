"""Trust-region Newton with truncated conjugate gradients, one compiled loop for any model.

The Krylov space of a gradient is orthogonal to the symmetry orbit (the gradient is, and the Hessian
maps into its own range), so the null space needs no gauge fixing. Negative curvature is followed to
the boundary: the method descends through strict saddles.
Source: Steihaug 1983; Conn, Gould & Toint 2000, algorithm 6.1.1.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from jax.flatten_util import ravel_pytree

from ufm.kept import kept
from ufm.model import Model
from ufm.point import P

# Conn, Gould & Toint 2000, section 17.1: accept, shrink, expand.
ACCEPT, SHRINK_BELOW, EXPAND_ABOVE = 0.05, 0.25, 0.75
# Growth of the radius and its largest start, in coordinates where a step of length 3 moves logits
# by up to nine: of the values tried these needed the fewest products at K = 10 and K = 100.
GROWTH, LARGEST_START = 1.5, 3.0
MAX_INNER = 200
# Three digits per Newton step are enough; inner residuals below a third of the tolerance, waste.
SMALLEST_FORCING, FLOOR = 1e-3, 0.3
# A predicted decrease below a few units in the last place of f cannot be seen in f; from there on
# a step is accepted when it lowers the gradient norm (Newton is then in its quadratic phase).
ROUNDING = 32.0
EPSILON = float(jnp.finfo(jnp.float64).eps)
# Rejected steps in a row after which only rounding is left.
MAX_FAILURES = 12


class State(NamedTuple):
    """Iterate of the outer loop (scaled coordinates), and the candidate to judge next.

    Where ``known`` holds the candidate is the iterate itself, whose linearisation is wanted: at the
    start, and after a rejection.
    """

    x: Any
    value: Any
    gradient: Any
    step: Any
    predicted: Any
    known: Any
    radius: Any
    iterations: Any
    failures: Any


# Told after every iteration: iterations, objective, gradient norm. True ends the descent.
Watch = Callable[[int, float, float], bool]


def trust_region(
    model: Model[P], point: P, tolerance: float, max_iterations: int, watch: Watch | None = None
) -> tuple[P, Any, Any, Any]:
    """Minimise a model from a point by trust-region Newton-CG.

    Args:
        model: any model (compiled once per shape).
        point: where to start.
        tolerance: stop when the Euclidean gradient norm falls below it.
        max_iterations: outer iterations at most.
        watch: called after every iteration, each then a call of its own; the point at which it
            says True is returned.

    Returns:
        (point, objective, gradient norm, iterations); the caller judges the norm.

    Example:
        >>> from ufm import UFM, CrossEntropy
        >>> model = UFM(CrossEntropy(), 3, 2, lambda_W=0.1, lambda_H=0.1)
        >>> start = model.random_point(jax.random.key(0))
        >>> bool(trust_region(model, start, 1e-12, 100)[2] < 1e-12)
        True
        >>> int(trust_region(model, start, 1e-12, 100, lambda count, value, norm: count == 3)[3])
        3
    """
    if watch is None:
        found: tuple[P, Any, Any, Any] = _descended(model, point, tolerance, max_iterations)
        return found
    state, going = _begun(model, point), True
    while going:
        state, norm, unfinished = _advanced(model, point, state, tolerance, max_iterations)
        stopped = watch(int(state.iterations), float(state.value), float(norm))
        going = bool(unfinished) and not stopped
    found = _ended(model, point, state)
    return found


@kept()
def _descended(model: Any, point: Any, tolerance: Any, max_iterations: Any) -> Any:
    descent = _Descent.of(model, point, tolerance, max_iterations)
    return descent.told(jax.lax.while_loop(descent.unfinished, descent.outer, descent.start()))


@kept()
def _begun(model: Any, point: Any) -> State:
    return _Descent.of(model, point, 0.0, 0).start()


@kept()
def _advanced(
    model: Any, point: Any, state: State, tolerance: Any, max_iterations: Any
) -> tuple[State, Any, Any]:
    descent = _Descent.of(model, point, tolerance, max_iterations)
    state = descent.outer(state)
    return state, descent.norm(state.gradient), descent.unfinished(state)


@kept()
def _ended(model: Any, point: Any, state: State) -> Any:
    return _Descent.of(model, point, 0.0, 0).told(state)


class _Descent(NamedTuple):
    """What the pieces of the method are made of while they are compiled."""

    x: Any
    scale: Any
    unravel: Any
    value_and_gradient: Any
    tolerance: Any
    max_iterations: Any

    @staticmethod
    def of(model: Any, point: Any, tolerance: Any, max_iterations: Any) -> _Descent:
        flat, unravel = ravel_pytree(point)
        scale = ravel_pytree(model.scales(point))[0]
        derivatives = jax.value_and_grad(lambda x: model.objective(unravel(scale * x)))
        return _Descent(flat / scale, scale, unravel, derivatives, tolerance, max_iterations)

    def norm(self, gradient: Any) -> Any:
        return jnp.linalg.norm(gradient / self.scale)

    def start(self) -> State:
        x = self.x
        radius = jnp.clip(jnp.linalg.norm(x), 1.0, LARGEST_START)
        unknown, none = jnp.full_like(x, jnp.inf), jnp.zeros_like(x)
        infinite, known, zero = jnp.asarray(jnp.inf), jnp.asarray(True), jnp.asarray(0)
        return State(x, infinite, unknown, none, infinite, known, radius, zero, zero)

    def told(self, state: State) -> tuple[Any, Any, Any, Any]:
        point = self.unravel(self.scale * state.x)
        return point, state.value, self.norm(state.gradient), state.iterations

    def unfinished(self, state: State) -> Any:
        going = (state.iterations < self.max_iterations) & (state.failures < MAX_FAILURES)
        norm = self.norm(state.gradient)
        return state.known | (going & (norm > self.tolerance) & jnp.isfinite(norm))

    def outer(self, state: State) -> State:
        # One linearisation serves value, gradient and products, so that the loss is traced once.
        at, step, predicted = state.x + state.step, state.step, state.predicted
        (value, gradient), tangents = jax.linearize(self.value_and_gradient, at)
        ratio = (state.value - value) / predicted
        blind = predicted < ROUNDING * EPSILON * (1 + jnp.abs(state.value))
        lower_norm = jnp.vdot(gradient, gradient) < jnp.vdot(state.gradient, state.gradient)
        accept = state.known | jnp.where(blind, lower_norm, ratio > ACCEPT)
        length = jnp.linalg.norm(step)
        grow = (ratio > EXPAND_ABOVE) & (length > 0.9 * state.radius)
        radius = jnp.where(
            state.known | blind | (ratio >= SHRINK_BELOW),
            jnp.where(grow & ~blind & ~state.known, GROWTH * state.radius, state.radius),
            SHRINK_BELOW * length,
        )
        x, value, gradient = jax.tree.map(
            lambda new, old: jnp.where(accept, new, old),
            (at, value, gradient),
            (state.x, state.value, state.gradient),
        )
        failures = jnp.where(state.known, state.failures, jnp.where(accept, 0, state.failures + 1))
        iterations = state.iterations + ~state.known
        # A rejected candidate's products are not those of the iterate.
        going = accept & (self.norm(gradient) > self.tolerance)
        step, residual = _truncated_cg(
            lambda v: tangents(v)[1], gradient, radius, FLOOR * self.tolerance, going
        )
        predicted = -0.5 * jnp.vdot(step, gradient + residual)
        return State(x, value, gradient, step, predicted, ~accept, radius, iterations, failures)


def _truncated_cg(
    product: Any, gradient: Any, radius: Any, floor: Any, going: Any
) -> tuple[Any, Any]:
    """Steihaug's inner loop: (step, residual H step + gradient); no step unless ``going``.

    Stops at relative residual min(1/2, sqrt |g|), at ``floor`` (smaller residuals are rounding
    noise, and noise has components along the null directions), at the boundary, or along a
    direction of non-positive curvature. |step|^2, <step, direction> and |direction|^2 follow from
    the recurrences of conjugate gradients, so that an iteration costs two inner products.
    Source: Conn, Gould & Toint 2000, section 7.5.1.
    """
    squared = jnp.vdot(gradient, gradient)
    norm = jnp.sqrt(squared)
    forcing = jnp.clip(jnp.sqrt(norm), SMALLEST_FORCING, 0.5)
    target = jnp.maximum(norm * forcing, floor) ** 2

    def unfinished(carry: Any) -> Any:
        return carry[-1] < MAX_INNER

    def body(carry: Any) -> Any:
        step, residual, direction, squared, size, along, width, count = carry
        image = product(direction)
        curvature = jnp.vdot(direction, image)
        length = squared / curvature
        inside = size + length * (2 * along + length * width)
        leave = (curvature <= 0) | (inside >= radius**2)
        room = jnp.maximum(along**2 + width * (radius**2 - size), 0.0)
        length = jnp.where(leave, (jnp.sqrt(room) - along) / width, length)
        step, residual = step + length * direction, residual + length * image
        new = jnp.vdot(residual, residual)
        ratio = new / squared
        size = size + length * (2 * along + length * width)
        along, width = ratio * (along + length * width), new + ratio**2 * width
        count = jnp.where(leave | (new < target), MAX_INNER, count + 1)
        return step, residual, ratio * direction - residual, new, size, along, width, count

    zero = jnp.zeros_like(squared)
    start = (
        jnp.zeros_like(gradient),
        gradient,
        -gradient,
        squared,
        zero,
        zero,
        squared,
        jnp.where(going, 0, MAX_INNER),
    )
    step, residual, *_ = jax.lax.while_loop(unfinished, body, start)
    return step, residual
