"""What networks are made of: layers on batches, normalisations with their state outside, bodies."""

from __future__ import annotations

import math
from abc import abstractmethod
from typing import Any, NamedTuple

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np

# PyTorch's: what variances are kept away from zero by, and the weight of the newest batch.
EPSILON = 1e-5
NEWEST = 0.1
# Parameters are float32 whatever the default of JAX is; computations may be narrower.
DTYPE = jnp.float32


def normal(key: Any, shape: tuple[int, ...], variance: float) -> Any:
    """Independent N(0, variance) entries in float32, the same on every device.

    They are drawn by NumPy from the key's bits, for JAX would compile a generator per shape, which
    takes longer than a small network takes to learn. Of a traced key only the shape is of use.

    Example:
        >>> normal(jax.random.key(0), (2, 3), 0.1).dtype.name
        'float32'
    """
    if isinstance(key, jax.core.Tracer):
        return jnp.zeros(shape, DTYPE)
    generator = np.random.default_rng(np.asarray(jax.random.key_data(key)))
    return jnp.asarray(math.sqrt(variance) * generator.standard_normal(shape, np.float32))


def constant(value: float, size: int) -> Any:
    """A float32 vector of one value.

    Example:
        >>> constant(1.0, 2).tolist()
        [1.0, 1.0]
    """
    return jnp.asarray(np.full(size, value, np.float32))


class Body(eqx.Module):
    """A feature extractor: its features are what its last layer gives."""

    @abstractmethod
    def layers(self, images: Any, state: Any, *, training: bool) -> tuple[list[Any], Any]:
        """What every layer gives for (N, height, width, channels), and the state after."""

    def __call__(self, images: Any, state: Any, *, training: bool) -> tuple[Any, Any]:
        """(N, height, width, channels) to features (N, d), and the state after."""
        layers, state = self.layers(images, state, training=training)
        return layers[-1], state


class Dense(eqx.Module):
    """x W + b on a batch (N, inputs), W (inputs, outputs) drawn from N(0, gain / inputs).

    gain 2 keeps the size of signals through a ReLU (He et al. 2015), gain 1 without one.

    Example:
        >>> Dense(jax.random.key(0), 3, 4)(jnp.ones((2, 3), DTYPE)).shape
        (2, 4)
    """

    weight: Any
    bias: Any

    def __init__(self, key: Any, inputs: int, outputs: int, gain: float = 2.0) -> None:
        self.weight = normal(key, (inputs, outputs), gain / inputs)
        self.bias = constant(0.0, outputs)

    def __call__(self, x: Any) -> Any:
        """(N, inputs) to (N, outputs)."""
        return x @ self.weight + self.bias


class Conv(eqx.Module):
    """Convolution of images (N, height, width, inputs), zero padded by (size - 1) / 2.

    Entries are drawn from N(0, 2 / (size^2 outputs)), as in the ResNets of PyTorch.

    Example:
        >>> Conv(jax.random.key(0), 3, 4, stride=2)(jnp.ones((2, 8, 8, 3), DTYPE)).shape
        (2, 4, 4, 4)
    """

    weight: Any
    bias: Any
    stride: int = eqx.field(static=True)

    def __init__(
        self,
        key: Any,
        inputs: int,
        outputs: int,
        size: int = 3,
        stride: int = 1,
        bias: bool = False,
    ) -> None:
        self.weight = normal(key, (size, size, inputs, outputs), 2 / (size * size * outputs))
        self.bias = constant(0.0, outputs) if bias else None
        self.stride = stride

    def __call__(self, images: Any) -> Any:
        """(N, height, width, inputs) to (N, height / stride, width / stride, outputs)."""
        margin = (self.weight.shape[0] - 1) // 2
        convolved = jax.lax.conv_general_dilated(
            images,
            self.weight,
            window_strides=(self.stride, self.stride),
            padding=((margin, margin), (margin, margin)),
            dimension_numbers=("NHWC", "HWIO", "NHWC"),
        )
        return convolved if self.bias is None else convolved + self.bias


class Statistics(NamedTuple):
    """Running mean and variance of the channels, (channels,) each: the state of a BatchNorm."""

    mean: Any
    variance: Any


class BatchNorm(eqx.Module):
    """Batch normalisation: scale (x - mean) / sqrt(variance + 1e-5) + shift, channel by channel.

    Training uses the batch's mean and (biased) variance, and moves the running statistics a tenth
    of the way to the batch's, the variance unbiased; evaluation uses the running ones. Statistics
    are float32 in any precision. They are not kept here: they go in and come out.
    Source: Ioffe & Szegedy 2015, in PyTorch's convention.

    Example:
        >>> norm = BatchNorm(2)
        >>> y, after = norm(jnp.array([[1, 3], [3, 7]], DTYPE), norm.start(), training=True)
        >>> y.round(3).tolist(), [round(x, 6) for x in after.mean.tolist()]
        ([[-1.0, -1.0], [1.0, 1.0]], [0.2, 0.5])
    """

    scale: Any
    shift: Any

    def __init__(self, channels: int) -> None:
        self.scale = constant(1.0, channels)
        self.shift = constant(0.0, channels)

    def start(self) -> Statistics:
        """Mean 0 and variance 1."""
        channels = self.scale.shape[0]
        return Statistics(constant(0.0, channels), constant(1.0, channels))

    def __call__(self, x: Any, running: Statistics, *, training: bool) -> tuple[Any, Statistics]:
        """(..., channels) to the same shape and dtype, and the running statistics afterwards."""
        wide = x.astype(DTYPE)
        used = running
        if training:
            axes = tuple(range(x.ndim - 1))
            mean = jnp.mean(wide, axes)
            # Not jnp.var, which brings a float64 constant.
            used = Statistics(mean, jnp.mean(jnp.square(wide - mean), axes))
            count = x.size // x.shape[-1]
            unbiased = used.variance * (count / max(count - 1, 1))
            running = Statistics(
                (1 - NEWEST) * running.mean + NEWEST * used.mean,
                (1 - NEWEST) * running.variance + NEWEST * unbiased,
            )
            running = jax.lax.stop_gradient(running)
        factor = self.scale.astype(DTYPE) * jax.lax.rsqrt(used.variance + EPSILON)
        y = (wide - used.mean) * factor + self.shift.astype(DTYPE)
        return y.astype(x.dtype), running


def max_pool(images: Any) -> Any:
    """The largest entry of every 2 x 2 window; an odd last row or column is left out.

    Example:
        >>> max_pool(jnp.arange(16, dtype=DTYPE).reshape(1, 4, 4, 1))[0, :, :, 0].tolist()
        [[5.0, 7.0], [13.0, 15.0]]
    """
    N, height, width, channels = images.shape
    cut = images[:, : height // 2 * 2, : width // 2 * 2]
    return cut.reshape(N, height // 2, 2, width // 2, 2, channels).max(axis=(2, 4))
