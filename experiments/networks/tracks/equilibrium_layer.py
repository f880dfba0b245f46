"""An equilibrium layer h = phi(V h + x), solved by iteration and differentiated implicitly."""

from __future__ import annotations

from functools import partial
from typing import Any, NamedTuple

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np

from experiments.networks.architectures.layers import normal
from experiments.networks.architectures.mlp import MLP
from ufm.errors import InputError

# An iteration ends where no feature moves by more, relative to the largest or to 1: ten times the
# rounding of float32. The distance to the equilibrium is then below this times |V| / (1 - |V|).
TOLERANCE = 1e-6
# Enough at |V| = 0.98: 0.98^700 is 1e-6. A layer nearer to 1 ends here, short of the tolerance.
MOST_STEPS = 700
# Of the explicit layer beside: phi(V phi(x) + x).
EXPLICIT_STEPS = 2
# Spectral norm of V before training, about.
START = 0.1


@partial(jax.custom_vjp, nondiff_argnums=(2,))
def equilibrium(V: Any, x: Any, relu: bool) -> Any:
    """Features h (N, d) with h = phi(h V^T + x), phi a ReLU or the identity.

    Unique where |V| < 1, since the map then contracts; its derivatives are those of the equation,
    by a second solve, and know nothing of the iteration.

    Args:
        V: (d, d) of spectral norm below 1, see ``require_contraction`` and ``contracted``.
        x: inputs (N, d).
        relu: whether phi is a ReLU.

    Example:
        >>> equilibrium(jnp.array([[0.5]]), jnp.array([[1.0]]), True).round(5).tolist()
        [[2.0]]
    """
    return _solved(lambda h: _phi(h @ V.T + x, relu), jnp.zeros_like(x))


def _phi(a: Any, relu: bool) -> Any:
    return jax.nn.relu(a) if relu else a


def _forward(V: Any, x: Any, relu: bool) -> tuple[Any, Any]:
    h = equilibrium(V, x, relu)
    return h, (V, x, h)


def _backward(relu: bool, kept: Any, slope: Any) -> tuple[Any, Any]:
    V, x, h = kept
    open_ = (h @ V.T + x > 0).astype(x.dtype) if relu else jnp.ones_like(x)
    adjoint = _solved(lambda u: slope + (open_ * u) @ V, jnp.zeros_like(x))
    seen = open_ * adjoint
    return seen.T @ h, seen


equilibrium.defvjp(_forward, _backward)


def _solved(step: Any, start: Any) -> Any:
    """The fixed point of a contraction."""

    def on(state: Any) -> Any:
        _, moved, size, count = state
        return (moved > TOLERANCE * jnp.maximum(size, 1)) & (count < MOST_STEPS)

    def once(state: Any) -> Any:
        h, _, _, count = state
        after = step(h)
        return after, jnp.max(jnp.abs(after - h)), jnp.max(jnp.abs(after)), count + 1

    infinite = jnp.asarray(np.inf, start.dtype)
    return jax.lax.while_loop(on, once, (start, infinite, jnp.ones_like(infinite), 0))[0]


def require_contraction(V: Any) -> None:
    """Raise InputError for a layer without a unique equilibrium: |V| >= 1.

    Example:
        >>> require_contraction(np.eye(2) / 2)
    """
    V = np.asarray(V, dtype=np.float64)
    size = float(np.linalg.norm(V, 2)) if np.isfinite(V).all() else np.inf
    if not size < 1:
        rule = "Need |V| < 1: else h = phi(V h + x) may have no equilibrium, or several"
        raise InputError(rule, f"|V| = {size:.6g}", "cut its singular values, see --bound")


def contracted(V: Any, bound: float) -> Any:
    """The nearest matrix whose singular values are at most the bound.

    Example:
        >>> contracted(jnp.diag(jnp.array([2.0, 0.5])), 0.75).diagonal().round(6).tolist()
        [0.75, 0.5]
    """
    left, values, right = jnp.linalg.svd(V)
    return (left * jnp.minimum(values, bound)) @ right


class EquilibriumNetwork(eqx.Module):
    """Images -> MLP -> inputs x (N, d) -> layer -> features h (N, d) -> logits h W^T, no bias.

    Attributes:
        body: the MLP.
        V: the layer (d, d).
        W: the classifier (K, d).
        kind: ``relu`` or ``linear`` for an equilibrium, ``explicit`` for two steps towards that of
            a ReLU.
    """

    body: MLP
    V: Any
    W: Any
    kind: str = eqx.field(static=True)

    def __call__(self, images: Any) -> tuple[Any, Any]:
        """x and h."""
        x = self.body(images, (), training=True)[0]
        if self.kind != "explicit":
            return x, equilibrium(self.V, x, self.kind == "relu")
        h = jnp.zeros_like(x)
        for _ in range(EXPLICIT_STEPS):
            h = jax.nn.relu(h @ self.V.T + x)
        return x, h


class Sizes(NamedTuple):
    """Numbers in an image, hidden units, d and K."""

    inputs: int
    hidden: int
    d: int
    K: int


def initial_network(sizes: Sizes, kind: str, seed: int) -> EquilibriumNetwork:
    """The same weights for every kind.

    Example:
        >>> initial_network(Sizes(6, 7, 5, 3), "relu", 0).V.shape
        (5, 5)
    """
    first, second, third = jax.random.split(jax.random.key(seed), 3)
    d, K = sizes.d, sizes.K
    body = MLP(first, sizes.inputs, (sizes.hidden,), d)
    V = normal(second, (d, d), START**2 / (4 * d))
    return EquilibriumNetwork(body, V, normal(third, (K, d), 1 / d), kind)
