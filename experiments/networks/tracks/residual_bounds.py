"""How far a residual network can be moved at all, from the norms of its convolutions."""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from experiments.networks.architectures.conv_norm import NormalisedConv
from experiments.networks.architectures.layers import EPSILON
from ufm.conv_norm import sampled_norm


def convolution_norm(conv: Any, norm: Any, running: Any, shape: tuple[int, int]) -> float:
    """A bound on the norm of a convolution followed by batch normalisation in evaluation.

    The norm of the circular convolution on a grid with room for the padding, channels multiplied by
    scale / sqrt(variance + epsilon): exact where it wraps around, else up to a few per cent above.
    Source: CN-3 of docs/theory.md.

    Args:
        conv: a ``Conv`` or ``NormalisedConv``.
        norm: its ``BatchNorm``.
        running: the statistics of that.
        shape: (height, width) of its images.
    """
    if isinstance(conv, NormalisedConv):
        grid = conv.grid(shape)
        made = np.fft.irfft2(np.asarray(conv.normalised(grid), complex), grid, axes=(0, 1))
    else:
        room = (n + conv.weight.shape[0] - 1 for n in shape)
        grid = tuple(-(-n // conv.stride) * conv.stride for n in room)
        made = np.asarray(conv.weight, float)
    factor = np.asarray(norm.scale, float) / np.sqrt(np.asarray(running.variance) + EPSILON)
    return sampled_norm(np.moveaxis(made * factor, (3, 2), (0, 1)), grid, conv.stride)


def residual_bounds(network: Any, shape: tuple[int, int, int]) -> dict[str, float]:
    """Lipschitz bound of the logits of a ResNet-18, and the largest norm of its convolutions.

    |W| p^(-1/2) prod_blocks (|S| + |C_2| |C_1|) |C_0|, p places in the mean at the end.
    Source: CN-3 of docs/theory.md.

    Args:
        network: in evaluation mode.
        shape: (height, width, channels) of an image.
    """
    body, (stem, *states) = network.body, network.state
    place = shape[:2]
    seen = [convolution_norm(body.stem, body.stem_norm, stem[0], place)]
    bound = seen[0]
    for block, state in zip(body.blocks, states, strict=True):
        first = convolution_norm(block.first, block.first_norm, state[0], place)
        inside = tuple(-(-n // block.first.stride) for n in place)
        second = convolution_norm(block.second, block.second_norm, state[1], inside)
        seen += [first, second]
        beside = 1.0
        if block.shortcut is not None:
            beside = convolution_norm(block.shortcut, block.shortcut_norm, state[2], place)
            seen.append(beside)
        bound *= beside + first * second
        place = inside
    head = float(np.linalg.norm(np.asarray(network.head.W, float), 2))
    return {"layer_norm": max(seen), "lipschitz": bound * head / math.sqrt(math.prod(place))}
