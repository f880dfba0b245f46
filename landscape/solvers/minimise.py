"""L-BFGS on many models at once, with a queue: a model that is done makes room for the next.

A lockstep batch runs until its slowest member is done, which takes more than twice the mean. Here
a few *slots* step together, and a finished slot takes the next model, so one compiled program is
busy until the queue is empty. The recursion works on inner products of the stored vectors, two
products with one matrix a step, instead of four vector operations per stored pair.
Source: L-BFGS after Liu & Nocedal (1989); inner-product form after Chen, Wang & Zhou (2014);
approximate Wolfe test near rounding after Hager & Zhang (2005). The queue is derived here.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from jax.flatten_util import ravel_pytree

from ufm.kept import kept

# Pairs kept: of 3 to 8 the fastest at K = 10, d = 16 (docs/benchmarks.md).
MEMORY = 4
# Sufficient decrease and the slope that ends a search near rounding.
ARMIJO, CURVATURE = 1e-4, 0.9
# Relative rounding of the objective, below which a decrease cannot be seen.
ROUNDING = 1e-14
# Step halvings in a row after which only rounding is left.
MAX_FAILURES = 30
# Curvature pairs with s.y below this fraction of y.y would spoil the model.
SMALLEST_CURVATURE = 1e-10


class Minimised(NamedTuple):
    """Where the descents ended; every array has the leading axis of the models.

    Attributes:
        point: the points.
        objective: their objectives.
        gradient_norm: Euclidean gradient norms.
        iterations: evaluations of the gradient after the first.
    """

    point: Any
    objective: Any
    gradient_norm: Any
    iterations: Any


class _Slots(NamedTuple):
    """What the slots hold (leading axis: slots); ``out`` collects the finished models."""

    model: Any  # number of the model in each slot, N when the slot is empty
    waiting: Any  # number of the next model in the queue
    x: Any
    value: Any
    gradient: Any
    direction: Any
    slope: Any
    length: Any
    basis: Any  # s_1..s_m, y_1..y_m and the gradient, (slots, 2m + 1, P)
    products: Any  # their inner products, (slots, 2m + 1, 2m + 1)
    rho: Any  # 1 / s.y, 0 for a pair that is not used
    gamma: Any
    iterations: Any
    failures: Any
    steps: Any  # of all slots together; the pair of step t is stored at t mod m
    out: Any


def _dot(a: Any, b: Any) -> Any:
    return jnp.sum(a * b, axis=-1)


@kept("slots")
def minimise_many(
    models: Any, points: Any, tolerance: Any, max_iterations: Any, *, slots: int
) -> Minimised:
    """Minimise every model of a stack from its own point.

    What becomes of one model does not depend on the others, nor on their order, but for rounding.

    Args:
        models: a stack of models (``ufm.stack``).
        points: a stack of points, one per model.
        tolerance: Euclidean gradient norm to reach.
        max_iterations: per model.
        slots: models that step together; 1 is a plain loop.

    Returns:
        Minimised; the caller judges the gradient norms.

    Example:
        >>> import numpy as np
        >>> from ufm.stack import stack
        >>> from ufm import UFM, CrossEntropy
        >>> models = [UFM(CrossEntropy(), 3, 2, lambda_W=x, lambda_H=x) for x in (0.1, 0.2)]
        >>> points = [model.random_point(jax.random.key(0)) for model in models]
        >>> found = minimise_many(stack(models), stack(points), 1e-9, 500, slots=2)
        >>> bool(abs(found.objective[1] - models[1].minimiser().value) < 1e-12)
        True
    """
    flat = jax.vmap(lambda point: ravel_pytree(point)[0])(points)
    unravel = ravel_pytree(jax.tree.map(lambda leaf: leaf[0], points))[1]
    scales = jax.vmap(lambda m, point: ravel_pytree(m.scales(point))[0])(models, points)
    starts = flat / scales
    total, size = starts.shape
    m = MEMORY

    def evaluate(which: Any, x: Any) -> Any:
        """Objectives and gradients in scaled coordinates."""
        chosen = jax.tree.map(lambda leaf: leaf[which], models)

        def one(model: Any, scale: Any, y: Any) -> Any:
            return jax.value_and_grad(lambda z: model.objective(unravel(scale * z)))(y)

        return jax.vmap(one)(chosen, scales[which], x)

    def refill(s: _Slots, done: Any) -> _Slots:
        """Write finished models out and start the next ones."""
        kept = (s.x, s.value, s.gradient, s.iterations)
        target = jnp.where(done, s.model, total)
        out = jax.tree.map(lambda o, v: o.at[target].set(v, mode="drop"), s.out, kept)
        following = s.waiting + jnp.cumsum(done) - 1
        model = jnp.where(done, jnp.minimum(following, total), s.model)
        source = jnp.minimum(model, total - 1)
        x = jnp.where(done[:, None], starts[source], s.x)
        value, gradient = evaluate(source, x)
        squared = _dot(gradient, gradient)

        def fresh(new: Any, old: Any) -> Any:
            return jnp.where(done.reshape((-1,) + (1,) * (old.ndim - 1)), new, old)

        # A start at a critical point has no direction; it is finished at the first test.
        first = 1.0 / jnp.maximum(jnp.sqrt(squared), 1e-300)
        return s._replace(
            model=model,
            waiting=s.waiting + done.sum(),
            x=x,
            value=fresh(value, s.value),
            gradient=fresh(gradient, s.gradient),
            direction=fresh(-gradient, s.direction),
            slope=fresh(-squared, s.slope),
            length=fresh(first, s.length),
            basis=fresh(0.0, s.basis),
            products=fresh(0.0, s.products),
            rho=fresh(0.0, s.rho),
            gamma=fresh(1.0, s.gamma),
            iterations=fresh(0, s.iterations),
            failures=fresh(0, s.failures),
            out=out,
        )

    def step(s: _Slots) -> _Slots:
        source = jnp.minimum(s.model, total - 1)
        trial = s.x + s.length[:, None] * s.direction
        value, gradient = evaluate(source, trial)
        lower = value <= s.value + ARMIJO * s.length * s.slope
        level = value <= s.value + ROUNDING * (1 + jnp.abs(s.value))
        flatter = jnp.abs(_dot(gradient, s.direction)) <= CURVATURE * jnp.abs(s.slope)
        accept = lower | (level & flatter)
        took = accept[:, None]
        moved = jnp.where(took, trial - s.x, 0.0)
        bent = jnp.where(took, gradient - s.gradient, 0.0)
        # The parabola through both values; a NaN shortens as much as is allowed.
        shorter = -s.slope * s.length / (2 * (value - s.value - s.slope * s.length))
        shorter = jnp.where(shorter >= 0.1, jnp.minimum(shorter, 0.5), 0.1)
        x, gradient = jnp.where(took, trial, s.x), jnp.where(took, gradient, s.gradient)
        value = jnp.where(accept, value, s.value)

        at = s.steps % m
        basis = s.basis.at[:, at].set(moved).at[:, m + at].set(bent).at[:, 2 * m].set(gradient)
        fresh = jnp.stack([moved, bent, gradient], axis=1)
        table = jnp.einsum("bmn,bcn->bmc", basis, fresh)
        products = s.products
        for i, column in enumerate((at, m + at, 2 * m)):
            products = products.at[:, :, column].set(table[:, :, i])
            products = products.at[:, column, :].set(table[:, :, i])
        along, squared = table[:, at, 1], table[:, m + at, 1]
        usable = accept & (along > SMALLEST_CURVATURE * squared)
        rho = s.rho.at[:, at].set(jnp.where(usable, 1 / jnp.where(usable, along, 1.0), 0.0))
        gamma = jnp.where(usable, along / jnp.where(usable, squared, 1.0), s.gamma)
        weights = _two_loops(products, rho, gamma, at)
        direction = jnp.einsum("bm,bmn->bn", weights, basis)
        slope = _dot(direction, gradient)
        downhill = slope < 0
        direction = jnp.where(downhill[:, None], direction, -gradient)
        slope = jnp.where(downhill, slope, -_dot(gradient, gradient))
        s = s._replace(
            x=x,
            value=value,
            gradient=gradient,
            direction=jnp.where(took, direction, s.direction),
            slope=jnp.where(accept, slope, s.slope),
            length=jnp.where(accept, 1.0, shorter * s.length),
            basis=basis,
            products=products,
            rho=rho,
            gamma=gamma,
            iterations=s.iterations + 1,
            failures=jnp.where(accept, 0, s.failures + 1),
            steps=s.steps + 1,
        )
        norm = jnp.linalg.norm(gradient / scales[source], axis=-1)
        done = (norm <= tolerance) | (s.iterations >= max_iterations)
        done = done | (s.failures >= MAX_FAILURES) | ~jnp.isfinite(norm)
        done = done & (s.model < total)
        return jax.lax.cond(done.any(), refill, lambda s, _: s, s, done)

    def zeros(*shape: int, dtype: Any = float) -> Any:
        return jnp.zeros(shape, dtype)

    empty = _Slots(
        model=jnp.full(slots, total),
        waiting=jnp.zeros((), int),
        x=zeros(slots, size),
        value=zeros(slots),
        gradient=zeros(slots, size),
        direction=zeros(slots, size),
        slope=zeros(slots),
        length=zeros(slots),
        basis=zeros(slots, 2 * m + 1, size),
        products=zeros(slots, 2 * m + 1, 2 * m + 1),
        rho=zeros(slots, m),
        gamma=zeros(slots),
        iterations=zeros(slots, dtype=int),
        failures=zeros(slots, dtype=int),
        steps=jnp.zeros((), int),
        out=(zeros(total, size), zeros(total), zeros(total, size), zeros(total, dtype=int)),
    )
    filled = refill(empty, jnp.ones(slots, bool))
    x, value, gradient, iterations = jax.lax.while_loop(
        lambda s: (s.model < total).any(), step, filled
    ).out
    norm = jnp.linalg.norm(gradient / scales, axis=-1)
    return Minimised(jax.vmap(unravel)(scales * x), value, norm, iterations)


def _two_loops(products: Any, rho: Any, gamma: Any, newest: Any) -> Any:
    """Coefficients of the L-BFGS direction in the stored vectors, (slots, 2m + 1).

    The two-loop recursion needs inner products only: a vector is its coefficients in the basis.
    """
    m = MEMORY
    weights = jnp.zeros(products.shape[:2]).at[:, 2 * m].set(-1.0)
    order = [(newest - j) % m for j in range(m)]
    removed = []
    for i in order:
        amount = rho[:, i] * _dot(products[:, i], weights)
        weights = weights.at[:, m + i].add(-amount)
        removed.append(amount)
    weights = weights * gamma[:, None]
    for i, amount in zip(reversed(order), reversed(removed), strict=True):
        back = rho[:, i] * _dot(products[:, m + i], weights)
        weights = weights.at[:, i].add(amount - back)
    return weights
