"""Convolutions whose every channel is normalised at every frequency, with and without wrapping.

Kernels are (K, J, r, ...): K channels out, J in, one or more axes of space; signals (J, n, ...).
"""

from __future__ import annotations

import numpy as np

from ufm.errors import InputError
from ufm.typing import AnyArray


def spectra(kernels: AnyArray, shape: tuple[int, ...]) -> AnyArray:
    """Transforms of the kernels on a grid, (K, J, *shape), complex.

    Raises:
        InputError: a kernel that is larger than the grid, or with other axes.

    Example:
        >>> np.abs(spectra(np.array([[[1.0, 0.5]]]), (4,)) ** 2).round(12).tolist()
        [[[2.25, 1.25, 0.25, 1.25]]]
    """
    kernels = np.asarray(kernels, np.float64)
    own = kernels.shape[2:]
    if len(own) != len(shape) or not own or any(r > n for r, n in zip(own, shape, strict=True)):
        remedy = "give kernels (K, J, r, ...) with r at most the length of the signal"
        raise InputError("Need kernels that fit into the grid", f"{own} in {shape}", remedy)
    return np.asarray(np.fft.fftn(kernels, shape, tuple(range(2, kernels.ndim))))


def normalised(kernels: AnyArray, shape: tuple[int, ...]) -> AnyArray:
    """Kernels as large as the grid whose convolutions have singular values 1, channel by channel.

    a_kj^ / (sum_j |a_kj^|^2)^(1/2) at every frequency: A_k A_k^T = I for the matrix A_k of channel
    k from all channels in. It keeps norms (A_k^T A_k = I) only where there is one of them.

    Source: after the public code of ConvNorm (Liu et al. 2021); CN-1 of docs/theory.md.

    Args:
        kernels: (K, J, r, ...).
        shape: of the grid, which wraps around.

    Returns:
        (K, J, *shape), real.

    Raises:
        InputError: as ``spectra``; a channel without any energy at a frequency.

    Example:
        >>> normalised(np.array([[[1.0, 0.5]]]), (4,)).ravel().round(10).tolist()
        [0.9472135955, 0.2236067977, 0.0527864045, -0.2236067977]
    """
    found = spectra(kernels, shape)
    energies = np.sum(np.abs(found) ** 2, axis=1, keepdims=True)
    # A transform is a sum of entries, each rounded once in every round of the fast algorithm.
    sizes = np.abs(kernels).reshape(len(kernels), -1).sum(axis=1)
    rounding = np.finfo(float).eps * (1 + np.log2(np.prod(shape))) * sizes
    if np.any(energies.reshape(len(kernels), -1).min(axis=1) <= rounding**2):
        rule = "Need energy at every frequency of every channel"
        remedy = "kernels whose entries add up to zero have none at frequency 0: change them"
        raise InputError(rule, f"least {energies.min():.3g}", remedy)
    axes = tuple(range(2, found.ndim))
    return np.asarray(np.fft.ifftn(found / np.sqrt(energies), axes=axes).real)


def wrapped(kernels: AnyArray, signal: AnyArray) -> AnyArray:
    """Circular convolution: sum_j a_kj * x_j on the grid of the signal, (K, *shape).

    Example:
        >>> wrapped(np.array([[[1.0, 0.5]]]), np.array([[0.0, 0.0, 2.0]])).round(12).tolist()
        [[1.0, 0.0, 2.0]]
    """
    shape = np.shape(signal)[1:]
    axes = tuple(range(1, 1 + len(shape)))
    x = np.fft.fftn(signal, axes=axes)
    y = np.einsum("kj...,j...->k...", spectra(kernels, shape), x)
    return np.asarray(np.fft.ifftn(y, axes=axes).real)


def padded(kernels: AnyArray, signal: AnyArray, *, truncated: bool) -> AnyArray:
    """The normalised convolution of a signal with zeros around it.

    Normalised on the grid n + r - 1 of the full output, on which nothing wraps before; the
    normaliser itself is as large as the grid, so its output does. Singular values are at most 1,
    and of several channels in not 1; those of the truncated output, as many as it has entries, lie
    between the least and the largest of the full one.

    Source: after the public code of ConvNorm; CN-2 of docs/theory.md.

    Args:
        kernels: (K, J, r, ...).
        signal: (J, n, ...).
        truncated: keep the first n of the n + r - 1 outputs.

    Raises:
        InputError: as ``normalised``.

    Example:
        >>> y = padded(np.array([[[1.0, 0.5]]]), np.array([[3.0, 0.0, 4.0]]), truncated=False)
        >>> y.shape, float(np.sum(y**2).round(12))  # of one channel in norms are kept
        ((1, 4), 25.0)
    """
    shape, own = np.shape(signal)[1:], np.shape(kernels)[2:]
    grid = tuple(n + r - 1 for n, r in zip(shape, own, strict=True))
    room = [(0, 0), *((0, m - n) for m, n in zip(grid, shape, strict=True))]
    full = wrapped(normalised(kernels, grid), np.pad(signal, room))
    return full[(slice(None), *(slice(n) for n in shape))] if truncated else full


def sampled_norm(kernels: AnyArray, shape: tuple[int, ...], stride: int = 1) -> float:
    """Largest singular value of a circular convolution of which every so many outputs are kept.

    With n = s m places on an axis the outputs 0, s, 2s, ... are a convolution on m places whose
    K x K Gram matrix at frequency w is s^(-1) sum_l a^(w + l m) a^(w + l m)^*, on every axis:
    frequencies that fall together are averaged. Exact where the stride divides the grid; else the
    norm of all outputs, which is not below it.

    Zeros around an image are part of a grid of n + r - 1 places, on which nothing wraps: the norm
    on any such grid bounds that of the padded convolution, which has some of its rows and columns.

    Source: derived here (CN-3 of docs/theory.md).

    Args:
        kernels: (K, J, r, ...).
        shape: of the grid.
        stride: s >= 1, the same on every axis.

    Raises:
        InputError: as ``spectra``.

    Example:
        >>> moves = np.array([[[1.0, 1.0]]])
        >>> [round(sampled_norm(moves, (4,), stride), 6) for stride in (1, 2)]
        [2.0, 1.414214]
    """
    found = spectra(kernels, shape)
    axes = found.ndim - 2
    matrices = np.moveaxis(found, (0, 1), (-2, -1))
    gram = matrices @ matrices.conj().swapaxes(-1, -2)
    if all(n % stride == 0 for n in shape):
        for axis in range(axes):
            n = gram.shape[axis]
            cut = (*gram.shape[:axis], stride, n // stride, *gram.shape[axis + 1 :])
            gram = gram.reshape(cut).mean(axis=axis)
    return float(np.sqrt(np.linalg.eigvalsh(gram)[..., -1].max()))
