"""Index-blind search: Levenberg-Marquardt on the gradient finds saddles as readily as minima.

The step is -sum_i mu_i / (mu_i^2 + nu) <v_i, g> v_i over eigenpairs (mu_i, v_i) of the dense
Hessian: Newton's step on the range, damped by nu, and zero along null directions, so symmetry
orbits need no gauge. It minimises |g|^2 / 2, whose stationary points include g = 0 of every index.
Source: Levenberg-Marquardt applied to grad f = 0 (Nocedal & Wright 2006, section 10.3).
"""

from __future__ import annotations

from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from jax.flatten_util import ravel_pytree

from ufm.model import Model
from ufm.point import P

# Eigenvalues below this fraction of the largest are treated as null: rounding of a symmetric
# eigensolver is size * eps of the largest, and a step along them would be noise amplified.
NULL_FRACTION = 1e-11
SMALLEST_DAMPING, LARGEST_DAMPING = 1e-30, 1e12


class State(NamedTuple):
    """Best iterate so far, and the next one to try (scaled coordinates)."""

    x: Any
    gradient: Any
    hessian: Any
    trial: Any
    damping: Any
    iterations: Any


@jax.jit
def find_critical(
    model: Model[P], point: P, tolerance: float, max_iterations: int
) -> tuple[P, Any, Any, Any]:
    """The critical point that Levenberg-Marquardt on the gradient reaches from a point.

    Args:
        model: any model, small enough for a dense Hessian (merge and compress first).
        point: where to start; nearby saddles attract as much as minima.
        tolerance: Euclidean gradient norm to reach.
        max_iterations: eigendecompositions at most.

    Returns:
        (point, objective, gradient norm, iterations); a norm above tolerance means not critical.

    Example:
        >>> from ufm import UFM, CrossEntropy, Point
        >>> model = UFM(CrossEntropy(), 3, 2, lambda_W=0.1, lambda_H=0.1)
        >>> tiny = model.random_point(jax.random.key(0), 0.01)  # near the saddle at the origin
        >>> found, value, size, _ = find_critical(model, tiny, 1e-12, 100)
        >>> round(float(value), 9), bool(size < 1e-12)  # log 3: it stays there
        (1.098612289, True)
    """
    flat, unravel = ravel_pytree(point)
    scale = ravel_pytree(model.scales(point))[0]

    def objective(x: Any) -> Any:
        return model.objective(unravel(scale * x))

    def unfinished(state: State) -> Any:
        size = jnp.linalg.norm(state.gradient / scale)
        going = (state.iterations < max_iterations) & (state.damping < LARGEST_DAMPING)
        going = going & (size > tolerance) & jnp.isfinite(size)
        return going | (state.iterations < 0)

    # Derivatives are evaluated in one place, at the top of the loop: they are most of the program,
    # and each further place would be compiled again.
    def step(state: State) -> State:
        gradient, product = jax.linearize(jax.grad(objective), state.trial)
        squared = jnp.vdot(gradient, gradient)
        first = state.iterations < 0
        better = first | (squared < jnp.vdot(state.gradient, state.gradient))
        x, gradient, hessian = jax.tree.map(
            lambda new, old: jnp.where(better, new, old),
            (state.trial, gradient, jax.vmap(product)(jnp.eye(flat.size))),
            (state.x, state.gradient, state.hessian),
        )
        # Quadratic convergence near the solution asks for damping of order |g|^2.
        damping = jnp.where(first, squared, jnp.minimum(state.damping / 10, squared))
        damping = jnp.where(better, damping, 4 * state.damping)
        damping = jnp.maximum(damping, SMALLEST_DAMPING)
        values, vectors = jnp.linalg.eigh(hessian)
        kept = jnp.abs(values) > NULL_FRACTION * jnp.max(jnp.abs(values))
        weights = jnp.where(kept, values / (values**2 + damping), 0.0)
        trial = x - vectors @ (weights * (vectors.T @ gradient))
        return State(x, gradient, hessian, trial, damping, state.iterations + 1)

    x = flat / scale
    unknown = jnp.zeros((flat.size, flat.size))
    start = State(x, jnp.zeros_like(x), unknown, x, jnp.zeros(()), -1)
    state = jax.lax.while_loop(unfinished, step, start)
    size = jnp.linalg.norm(state.gradient / scale)
    return unravel(scale * state.x), objective(state.x), size, state.iterations
