"""Convolution whose channels are normalised at every frequency, wrapping around or padded."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import equinox as eqx
import jax.numpy as jnp
import numpy as np

from experiments.networks.architectures.layers import DTYPE, Conv

# Energies are kept away from zero by it: singular values are 1 - 5e-7 at most where the energy is
# 1e-6, and kernels as they are drawn have 1e-2.
EPSILON = 1e-12
# What a network may have in place of its own convolutions and normalisations.
CIRCULAR, PADDED, BATCH, NONE = "circular", "padded", "batch", "none"


class NormalisedConv(Conv):
    """``Conv`` followed by v_k = (sum_j |a_kj^|^2)^(-1/2) at every frequency of channel k.

    Circular: the image wraps around, and every channel is a co-isometry, with singular values 1
    (CN-1); a stride takes some of its rows, which is one too. Padded: zeros around, normalised on
    the grid n + r - 1 on which nothing wraps and cut to the image, with singular values up to 1
    (CN-2). v belongs to the newest kernels, and gradients go through it.
    Source: after the public code of ConvNorm (Liu et al. 2021), which detaches v and has a running
    mean of it.

    Example:
        >>> import jax
        >>> layer = NormalisedConv(jax.random.key(0), 3, 4, stride=2)
        >>> layer(jnp.ones((2, 8, 8, 3), DTYPE)).shape
        (2, 4, 4, 4)
    """

    padded: bool = eqx.field(static=True)

    def __init__(
        self,
        key: Any,
        inputs: int,
        outputs: int,
        size: int = 3,
        stride: int = 1,
        bias: bool = False,
        *,
        padded: bool = False,
    ) -> None:
        super().__init__(key, inputs, outputs, size, stride, bias)
        self.padded = padded

    def grid(self, shape: tuple[int, int]) -> tuple[int, int]:
        """The grid that images of a shape are convolved on."""
        more = self.weight.shape[0] - 1 if self.padded else 0
        return shape[0] + more, shape[1] + more

    def kernels(self, grid: tuple[int, int]) -> Any:
        """Kernels as large as the grid, not normalised yet (*grid, inputs, outputs).

        Those of a convolution: y(p) = sum_q w(q) x(p + q - margin) is one with entry margin - q.
        """
        r = self.weight.shape[0]
        rows, columns = (((r - 1) // 2 - np.arange(r)) % n for n in grid)
        made = jnp.zeros((*grid, *self.weight.shape[2:]), DTYPE)
        # Added: kernels larger than the grid wrap.
        return made.at[rows[:, None], columns[None]].add(self.weight.astype(DTYPE))

    def normalised(self, grid: tuple[int, int]) -> Any:
        """Transforms of the normalised kernels, half of the last axis as of real ones."""
        spectra = jnp.fft.rfft2(self.kernels(grid), axes=(0, 1))
        energies = jnp.sum(jnp.real(spectra) ** 2 + jnp.imag(spectra) ** 2, axis=2, keepdims=True)
        return spectra / jnp.sqrt(energies + np.float32(EPSILON))

    def __call__(self, images: Any) -> Any:
        """(N, height, width, inputs) to (N, height / stride, width / stride, outputs)."""
        height, width = images.shape[1:3]
        grid = self.grid((height, width))
        spectra = self.normalised(grid)
        x = jnp.fft.rfft2(images.astype(DTYPE), grid, axes=(1, 2))
        y = jnp.fft.irfft2(jnp.einsum("nabj,abjk->nabk", x, spectra), grid, axes=(1, 2))
        y = y[:, : height : self.stride, : width : self.stride].astype(images.dtype)
        return y if self.bias is None else y + self.bias


def convolution(normalisation: str) -> Callable[..., Conv]:
    """The convolutions of a network with such a normalisation.

    Example:
        >>> convolution("batch").__name__
        'Conv'
    """

    def made(*given: Any, **options: Any) -> Conv:
        return NormalisedConv(*given, padded=normalisation == PADDED, **options)

    return made if normalisation in (CIRCULAR, PADDED) else Conv
