"""A small convolutional network as a feature extractor."""

from __future__ import annotations

from typing import Any

import equinox as eqx
import jax

from experiments.networks.architectures.conv_norm import BATCH, NONE, convolution
from experiments.networks.architectures.layers import (
    BatchNorm,
    Body,
    Conv,
    Dense,
    Statistics,
    max_pool,
)
from ufm.errors import InputError


class ConvNet(Body):
    """Stages of 3 x 3 convolution, ReLU and 2 x 2 max pooling, then a dense feature layer.

    Convolutions may be normalised, or followed by batch normalisation before the ReLU.

    Args:
        key: random key.
        shape: (height, width, channels) of an image, height and width at least 2 ** stages.
        channels: channels of every stage.
        d: feature dimension.
        relu: whether the features pass a ReLU too.
        normalisation: none; batch; circular or padded, see ``NormalisedConv``.

    Raises:
        InputError: images too small for that many stages.

    Example:
        >>> import jax.numpy as jnp
        >>> net = ConvNet(jax.random.key(0), (8, 9, 1), (2, 3), 5)
        >>> net(jnp.ones((4, 8, 9, 1), jnp.float32), (), training=True)[0].shape
        (4, 5)
    """

    stages: tuple[Conv, ...]
    norms: tuple[BatchNorm, ...]
    last: Dense
    relu: bool = eqx.field(static=True)

    def __init__(
        self,
        key: Any,
        shape: tuple[int, int, int],
        channels: tuple[int, ...],
        d: int,
        relu: bool = False,
        normalisation: str = NONE,
    ) -> None:
        height, width, inputs = shape
        shrunk = height >> len(channels), width >> len(channels)
        if min(shrunk) < 1:
            rule = f"Need images of {2 ** len(channels)} pixels or more a side for this ConvNet"
            raise InputError(rule, f"{height} x {width}", "use fewer stages, or mlp")
        keys = jax.random.split(key, len(channels) + 1)
        sizes = (inputs, *channels)
        pairs = zip(keys[:-1], sizes[:-1], channels, strict=True)
        conv, batch = convolution(normalisation), normalisation == BATCH
        self.stages = tuple(conv(k, a, b, bias=not batch) for k, a, b in pairs)
        self.norms = tuple(BatchNorm(size) for size in channels) if batch else ()
        flat = shrunk[0] * shrunk[1] * sizes[-1]
        self.last = Dense(keys[-1], flat, d, gain=2.0 if relu else 1.0)
        self.relu = relu

    def start(self) -> tuple[Statistics, ...]:
        """The states of the normalisations, none without."""
        return tuple(norm.start() for norm in self.norms)

    def layers(self, images: Any, state: Any, *, training: bool) -> tuple[list[Any], Any]:
        """What every stage gives, the features (N, d) last, and the state after."""
        x = images
        found, after = [], []
        for place, stage in enumerate(self.stages):
            x = stage(x)
            if self.norms:
                x, its_after = self.norms[place](x, state[place], training=training)
                after.append(its_after)
            x = max_pool(jax.nn.relu(x))
            found.append(x)
        x = self.last(x.reshape(x.shape[0], -1))
        return [*found, jax.nn.relu(x) if self.relu else x], tuple(after)
