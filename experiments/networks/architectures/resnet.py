"""ResNet-18 with the stem for small images."""

from __future__ import annotations

from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp

from experiments.networks.architectures.conv_norm import BATCH, convolution
from experiments.networks.architectures.layers import BatchNorm, Body, Conv, Statistics

# Channels of the four stages at width 1, two blocks each; every stage but the first halves the
# image.
CHANNELS = (64, 128, 256, 512)
State = tuple[Statistics, ...]


class Block(eqx.Module):
    """Two 3 x 3 convolutions with batch normalisation beside a shortcut.

    The shortcut is a 1 x 1 convolution with batch normalisation where the shape changes. With
    ``relu`` False the sum leaves the block as it is.
    Source: He et al. 2016, the basic block.

    Example:
        >>> block = Block(jax.random.key(0), 2, 3, 2)
        >>> y, state = block(jnp.ones((4, 6, 6, 2), jnp.float32), block.start(), training=True)
        >>> y.shape, len(state)
        ((4, 3, 3, 3), 3)
    """

    first: Conv
    first_norm: BatchNorm
    second: Conv
    second_norm: BatchNorm
    shortcut: Conv | None
    shortcut_norm: BatchNorm | None
    relu: bool = eqx.field(static=True)

    def __init__(
        self,
        key: Any,
        inputs: int,
        outputs: int,
        stride: int,
        width: int = 0,
        relu: bool = True,
        normalisation: str = BATCH,
    ) -> None:
        width, conv = width or outputs, convolution(normalisation)
        keys = jax.random.split(key, 3)
        self.first = conv(keys[0], inputs, width, stride=stride)
        self.first_norm = BatchNorm(width)
        self.second = conv(keys[1], width, outputs)
        self.second_norm = BatchNorm(outputs)
        same = stride == 1 and inputs == outputs
        self.shortcut = None if same else conv(keys[2], inputs, outputs, size=1, stride=stride)
        self.shortcut_norm = None if same else BatchNorm(outputs)
        self.relu = relu

    def start(self) -> State:
        """The states of the normalisations: first, second and, if there is one, shortcut."""
        norms = (self.first_norm, self.second_norm, self.shortcut_norm)
        return tuple(norm.start() for norm in norms if norm is not None)

    def __call__(self, x: Any, state: State, *, training: bool) -> tuple[Any, State]:
        """(N, height, width, inputs) to (N, height / stride, width / stride, outputs)."""
        y, first = self.first_norm(self.first(x), state[0], training=training)
        y, second = self.second_norm(self.second(jax.nn.relu(y)), state[1], training=training)
        after: State = (first, second)
        if self.shortcut is not None and self.shortcut_norm is not None:
            x, third = self.shortcut_norm(self.shortcut(x), state[2], training=training)
            after = (*after, third)
        return (jax.nn.relu(x + y) if self.relu else x + y), after


class ResNet18(Body):
    """ResNet-18: a 3 x 3 stem without pooling, eight blocks, the mean over the image as features.

    The features have as many dimensions as the last block has channels, 512 times the width. For
    another ``d`` the last block gets d channels, so that no layer is added: with d = K this is
    the smaller network of Zhu et al. 2021 (arXiv 2105.02375, section on memory).

    Args:
        key: random key.
        inputs: channels of an image.
        channels: of the four stages, ``CHANNELS`` at width 1.
        d: feature dimension.
        relu: the usual ReLU before the mean; without it features are linear in the last layer.
        normalisation: batch; circular or padded: that of convolutions as well, before that of the
            batch (``NormalisedConv``).

    Source: He et al. 2016; the stem is the usual one for CIFAR.

    Example:
        >>> net = ResNet18(jax.random.key(0), 3, (2, 3, 4, 5), 5)
        >>> net(jnp.ones((1, 8, 8, 3), jnp.float32), net.start(), training=False)[0].shape
        (1, 5)
    """

    stem: Conv
    stem_norm: BatchNorm
    blocks: tuple[Block, ...]

    def __init__(
        self,
        key: Any,
        inputs: int,
        channels: tuple[int, ...],
        d: int,
        relu: bool = True,
        normalisation: str = BATCH,
    ) -> None:
        keys = iter(jax.random.split(key, 1 + 2 * len(channels)))
        self.stem = convolution(normalisation)(next(keys), inputs, channels[0])
        self.stem_norm = BatchNorm(channels[0])
        blocks = []
        before = channels[0]
        for stage, width in enumerate(channels):
            last = stage == len(channels) - 1
            stride = 1 if stage == 0 else 2
            its: dict[str, Any] = {"normalisation": normalisation}
            blocks.append(Block(next(keys), before, width, stride, **its))
            outputs = d if last else width
            its["relu"] = relu or not last
            blocks.append(Block(next(keys), width, outputs, 1, width, **its))
            before = width
        self.blocks = tuple(blocks)

    def start(self) -> tuple[State, ...]:
        """The state of the stem and of every block."""
        return ((self.stem_norm.start(),), *(block.start() for block in self.blocks))

    def layers(self, images: Any, state: Any, *, training: bool) -> tuple[list[Any], Any]:
        """What the stem and every block but the last give, features (N, d), and the state after."""
        x, stem = self.stem_norm(self.stem(images), state[0][0], training=training)
        x = jax.nn.relu(x)
        found: list[Any] = []
        after: list[State] = [(stem,)]
        for block, its in zip(self.blocks, state[1:], strict=True):
            found.append(x)
            x, its_after = block(x, its, training=training)
            after.append(its_after)
        # In float32: a mean of bfloat16 numbers would lose what the features are measured by.
        return [*found, jnp.mean(x.astype(jnp.float32), axis=(1, 2))], tuple(after)
