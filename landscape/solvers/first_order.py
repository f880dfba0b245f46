"""First-order descent with optax: gradient descent, momentum and L-BFGS, compiled loops."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING, Any

import jax
import jax.numpy as jnp

from ufm.model import Model, norm
from ufm.point import P

if TYPE_CHECKING:
    import optax


def optimiser(method: str, learning_rate: float) -> optax.GradientTransformationExtraArgs:
    """The optax transformation behind a method name: "gd", "momentum" (0.9) or "lbfgs".

    Example:
        >>> optimiser("gd", 0.1).init(jnp.zeros(2)) is not None
        True
    """
    import optax  # a tenth of the time of a small solve, which does without

    if method == "lbfgs":
        return optax.lbfgs()
    return optax.with_extra_args_support(
        optax.sgd(learning_rate, momentum=0.9 if method == "momentum" else None)
    )


@partial(jax.jit, static_argnames="method")
def descend(
    model: Model[P],
    point: P,
    tolerance: float,
    max_iterations: int,
    method: str,
    learning_rate: float = 0.1,
) -> tuple[P, Any, Any, Any]:
    """Minimise a model with an optax optimiser until the gradient norm passes the tolerance.

    Args:
        model: any model.
        point: where to start.
        tolerance: Euclidean gradient norm to reach.
        max_iterations: steps at most.
        method: "gd", "momentum" or "lbfgs" (zoom line search, optax defaults).
        learning_rate: step of gd and momentum; L-BFGS searches its own.

    Returns:
        (point, objective, gradient norm, iterations).

    Example:
        >>> from ufm import UFM, CrossEntropy
        >>> model = UFM(CrossEntropy(), 3, 2, lambda_W=0.1, lambda_H=0.1)
        >>> start = model.random_point(jax.random.key(0))
        >>> bool(descend(model, start, 1e-8, 1000, "lbfgs")[2] < 1e-8)
        True
    """
    import optax

    method_ = optimiser(method, learning_rate)

    def unfinished(carry: Any) -> Any:
        _, _, _, gradient, count = carry
        size = norm(gradient)
        return (count < max_iterations) & (size > tolerance) & jnp.isfinite(size)

    def step(carry: Any) -> Any:
        point, state, value, gradient, count = carry
        updates, state = method_.update(
            gradient, state, point, value=value, grad=gradient, value_fn=model.objective
        )
        point = optax.apply_updates(point, updates)
        value, gradient = jax.value_and_grad(model.objective)(point)
        return point, state, value, gradient, count + 1

    value, gradient = jax.value_and_grad(model.objective)(point)
    start = (point, method_.init(point), value, gradient, 0)
    point, _, value, gradient, count = jax.lax.while_loop(unfinished, step, start)
    return point, value, norm(gradient), count
