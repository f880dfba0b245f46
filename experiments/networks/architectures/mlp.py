"""The multilayer perceptron as a feature extractor."""

from __future__ import annotations

from typing import Any

import equinox as eqx
import jax

from experiments.networks.architectures.layers import Body, Dense


class MLP(Body):
    """Dense layers with ReLU, then a dense feature layer: x -> ... -> features (N, d).

    Args:
        key: random key.
        inputs: numbers in an image, flattened.
        widths: width of every hidden layer.
        d: feature dimension.
        relu: whether the features pass a ReLU too; else they are linear in the last hidden layer.

    Example:
        >>> import jax.numpy as jnp
        >>> MLP(jax.random.key(0), 6, (7, 8), 5)(jnp.ones((4, 2, 3, 1)), (), training=True)[0].shape
        (4, 5)
    """

    hidden: tuple[Dense, ...]
    last: Dense
    relu: bool = eqx.field(static=True)

    def __init__(
        self, key: Any, inputs: int, widths: tuple[int, ...], d: int, relu: bool = False
    ) -> None:
        sizes = (inputs, *widths)
        keys = jax.random.split(key, len(sizes))
        pairs = zip(keys[:-1], sizes[:-1], widths, strict=True)
        self.hidden = tuple(Dense(k, a, b) for k, a, b in pairs)
        self.last = Dense(keys[-1], sizes[-1], d, gain=2.0 if relu else 1.0)
        self.relu = relu

    def start(self) -> tuple[()]:
        """No state."""
        return ()

    def layers(self, images: Any, state: Any, *, training: bool) -> tuple[list[Any], Any]:
        """What every layer gives for (N, ...), features (N, d) last, and the state as it came."""
        x = images.reshape(images.shape[0], -1)
        found = []
        for layer in self.hidden:
            x = jax.nn.relu(layer(x))
            found.append(x)
        x = self.last(x)
        return [*found, jax.nn.relu(x) if self.relu else x], state
