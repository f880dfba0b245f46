"""A small convolutional network as a feature extractor."""

from __future__ import annotations

from typing import Any

import equinox as eqx
import jax

from experiments.networks.architectures.layers import Conv, Dense, max_pool
from ufm.errors import InputError


class ConvNet(eqx.Module):
    """Stages of 3 x 3 convolution, ReLU and 2 x 2 max pooling, then a dense feature layer.

    Args:
        key: random key.
        shape: (height, width, channels) of an image, height and width at least 2 ** stages.
        channels: channels of every stage.
        d: feature dimension.
        relu: whether the features pass a ReLU too.

    Raises:
        InputError: images too small for that many stages.

    Example:
        >>> import jax.numpy as jnp
        >>> net = ConvNet(jax.random.key(0), (8, 9, 1), (2, 3), 5)
        >>> net(jnp.ones((4, 8, 9, 1), jnp.float32), (), training=True)[0].shape
        (4, 5)
    """

    stages: tuple[Conv, ...]
    last: Dense
    relu: bool = eqx.field(static=True)

    def __init__(
        self,
        key: Any,
        shape: tuple[int, int, int],
        channels: tuple[int, ...],
        d: int,
        relu: bool = False,
    ) -> None:
        height, width, inputs = shape
        shrunk = height >> len(channels), width >> len(channels)
        if min(shrunk) < 1:
            rule = f"Need images of {2 ** len(channels)} pixels or more a side for this ConvNet"
            raise InputError(rule, f"{height} x {width}", "use fewer stages, or mlp")
        keys = jax.random.split(key, len(channels) + 1)
        sizes = (inputs, *channels)
        pairs = zip(keys[:-1], sizes[:-1], channels, strict=True)
        self.stages = tuple(Conv(k, a, b, bias=True) for k, a, b in pairs)
        flat = shrunk[0] * shrunk[1] * sizes[-1]
        self.last = Dense(keys[-1], flat, d, gain=2.0 if relu else 1.0)
        self.relu = relu

    def start(self) -> tuple[()]:
        """No state."""
        return ()

    def layers(self, images: Any, state: Any, *, training: bool) -> tuple[list[Any], Any]:
        """What every stage gives, the features (N, d) last, and the state as it came."""
        x = images
        found = []
        for stage in self.stages:
            x = max_pool(jax.nn.relu(stage(x)))
            found.append(x)
        x = self.last(x.reshape(x.shape[0], -1))
        return [*found, jax.nn.relu(x) if self.relu else x], state

    def __call__(self, images: Any, state: Any, *, training: bool) -> tuple[Any, Any]:
        """(N, height, width, channels) to features (N, d), and the state as it came."""
        layers, state = self.layers(images, state, training=training)
        return layers[-1], state
