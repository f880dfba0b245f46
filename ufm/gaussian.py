"""Gaussian random arrays, drawn so that few programs are compiled."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import jax
import numpy as np

SMALLEST_DRAW = 128


def gaussian(key: Any, shapes: Sequence[tuple[int, ...]]) -> list[Any]:
    """Independent N(0, 1) entries in arrays of the given shapes.

    One flat draw is cut into pieces. Its length is the next power of two, because a generator is
    compiled per length and takes longer to compile than a small model takes to solve.

    Args:
        key: random key, or a traced one: then the arrays are traced too, with the same numbers.
        shapes: the shapes.

    Returns:
        NumPy arrays (of JAX's default float), or traced arrays.

    Example:
        >>> [piece.shape for piece in gaussian(jax.random.key(0), [(2, 3), (4,)])]
        [(2, 3), (4,)]
    """
    sizes = [math.prod(shape) for shape in shapes]
    length = max(SMALLEST_DRAW, 1 << (sum(sizes) - 1).bit_length())
    draw: Any = jax.random.normal(key, (length,))
    if not isinstance(draw, jax.core.Tracer):
        draw = np.asarray(draw)
    ends = np.cumsum(sizes)
    return [
        draw[end - size : end].reshape(shape)
        for end, size, shape in zip(ends, sizes, shapes, strict=True)
    ]
