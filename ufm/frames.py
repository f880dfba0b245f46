"""The codes that classifiers and features settle into."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import scipy

from ufm.errors import InputError, require_count
from ufm.typing import Array


def _padded(code: Array, d: int | None, name: str) -> Array:
    rank = code.shape[1]
    width = rank if d is None else require_count(d, "d", 1, "use one dimension or more")
    if width < rank:
        raise InputError(f"Need d >= {rank} for {name}", f"d={width}, K={len(code)}", "increase d")
    return np.pad(code, ((0, 0), (0, width - rank)))


def simplex_etf(num_classes: int, d: int | None = None) -> Array:
    """Rows of the simplex equiangular tight frame: Q (K, d) with Q Q^T = I - 1 1^T / K.

    Source: Papyan, Han & Donoho 2020; the basis is Helmert's. d >= K - 1, default K - 1.

    Raises:
        InputError: d < K - 1.

    Example:
        >>> Q = simplex_etf(3, 4)
        >>> Q.shape, round(float(Q[0] @ Q[1]), 12)
        ((3, 4), -0.333333333333)
    """
    K = require_count(num_classes, "K", 2, "give two classes or more")
    return _padded(np.ascontiguousarray(scipy.linalg.helmert(K).T), d, "a simplex ETF")


def orthogonal_frame(num_classes: int, d: int | None = None) -> Array:
    """Rows of an orthogonal frame: Q (K, d) with Q Q^T = I; d >= K, default K.

    Raises:
        InputError: d < K.

    Example:
        >>> orthogonal_frame(2, 3).tolist()
        [[1.0, 0.0, 0.0], [0.0, 1.0, 0.0]]
    """
    return _padded(np.eye(require_count(num_classes, "K", 1, "give a class")), d, "an OF")


def polygon(num_classes: int, d: int = 2) -> Array:
    """Rows of a regular K-gon in the plane: q_k = (cos 2 pi k / K, sin 2 pi k / K), (K, d).

    Source: the two-dimensional softmax code (Jiang et al. 2023, arXiv 2310.05351).

    Raises:
        InputError: K < 3 or d < 2.

    Example:
        >>> np.round(polygon(4), 12).tolist()[1]
        [0.0, 1.0]
    """
    K = require_count(num_classes, "K", 3, "a polygon needs three vertices")
    angle = 2 * np.pi * np.arange(K) / K
    return _padded(np.stack([np.cos(angle), np.sin(angle)], axis=1), d, "a polygon")


def merged_code(groups: Sequence[int], d: int | None = None) -> Array:
    """Rows of a simplex ETF on groups, repeated for the classes of each group.

    Args:
        groups: group sizes m_1, ..., m_G (G >= 2), classes in order.
        d: width, >= G - 1, default G - 1.

    Returns:
        (sum m_g, d), rows of a group equal, Gram matrix of group rows I_G - J / G.

    Raises:
        InputError: fewer than two groups, an empty group, or d < G - 1.

    Example:
        >>> np.round(merged_code((2, 1)), 6).tolist()
        [[0.707107], [0.707107], [-0.707107]]
    """
    sizes = [require_count(size, "group size", 1, "drop empty groups") for size in groups]
    return np.repeat(simplex_etf(len(sizes), d), sizes, axis=0)
