"""Sparse over-parameterisation of label noise: every sample has parameters of its own."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import jax
import jax.numpy as jnp

from experiments.networks.architectures.layers import normal
from experiments.networks.training.objective import Objective
from ufm.errors import require_positive

# Of the published code: standard deviation of u and v at the start, and the least probability.
START = 1e-8
LEAST = 1e-4


@dataclass(frozen=True)
class OverParameterised(Objective):
    """Robust training under label noise (SOP): the noise of sample i is s_i = U_i - V_i.

    U_i = u_i^2 y_i, V_i = v_i^2 (1 - y_i), clipped to [0, 1 - 1e-4], with y_i the one-hot label,
    u_i a number and v_i (K,). The network and u minimise the cross entropy of
    p_i = (softmax(z_i) + U_i - V_i, at least 1e-4, divided by its sum) against y_i; v minimises
    |onehot(argmax z_i) + U_i - V_i - y_i|^2. Both are one value here, whose other gradients are
    stopped. u and v are moved by plain gradient steps on the mean over the batch; a factor before
    the square would be a factor of ``rate_v``.
    Source: Liu, Zhu, Qu & You 2022 (arXiv 2202.14026), without its optional consistency and
    balance terms; rates 1 and 10 are those of the published CIFAR-100 example.

    Example:
        >>> value = OverParameterised()
        >>> u, v = value.start(7, 3, jax.random.key(0))
        >>> u.shape, v.shape
        ((7, 1), (7, 3))
    """

    rate_u: float = 1.0
    rate_v: float = 10.0

    def __post_init__(self) -> None:
        for name, rate in (("rate_u", self.rate_u), ("rate_v", self.rate_v)):
            require_positive(rate, name, "use a learning rate such as 1")

    def start(self, num_samples: int, num_classes: int, key: Any) -> Any:
        """u (N, 1) and v (N, K) near zero."""
        first, second = jax.random.split(key)
        shape = (num_samples, num_classes)
        return normal(first, (num_samples, 1), START**2), normal(second, shape, START**2)

    @property
    def rates(self) -> Any:
        """Learning rates of u and v."""
        return self.rate_u, self.rate_v

    def losses(self, logits: Any, labels: Any, features: Any, W: Any, auxiliary: Any) -> Any:
        u, v = auxiliary
        K = logits.shape[-1]
        y = jax.nn.one_hot(labels, K, dtype=logits.dtype)
        # Not jnp.clip, whose bounds would be float64 constants.
        U = jnp.minimum(u * u * y, 1 - LEAST)
        V = jnp.minimum(v * v * (1 - y), 1 - LEAST)
        p = jnp.maximum(jax.nn.softmax(logits) + U - jax.lax.stop_gradient(V), LEAST)
        p = p / jnp.sum(p, axis=-1, keepdims=True)
        p = jnp.minimum(jnp.maximum(p, LEAST), 1)
        cross_entropy = -jnp.sum(y * jnp.log(p), axis=-1)
        guess = jax.nn.one_hot(jnp.argmax(logits, axis=-1), K, dtype=logits.dtype)
        error = guess + jax.lax.stop_gradient(U) - V - y
        return cross_entropy + jnp.sum(error * error, axis=-1)

    @property
    def name(self) -> str:
        """``sop(rate_u,rate_v)``."""
        return f"sop({self.rate_u:g},{self.rate_v:g})"
