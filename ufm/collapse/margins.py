"""What margins cost with unequal classes: the nuclear norm that a margin of 1 needs, and more."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
from numpy.typing import ArrayLike

from ufm.typing import Array


def weighted_simplex(counts: Sequence[int]) -> tuple[Array, Array, Array]:
    """The singular value decomposition of P D^(1/2), P = I - J/K, D = diag(n_k), zero left out.

    Returns:
        Left vectors (K, K-1), values (K-1,) and right vectors as rows (K-1, K).

    Example:
        >>> weighted_simplex((4, 4))[1].round(12).tolist()
        [2.0]
    """
    roots = np.sqrt(np.array(counts, dtype=float))
    K = len(roots)
    left, values, right = np.linalg.svd((np.eye(K) - 1 / K) * roots)
    return left[:, :-1], values[:-1], right[:-1]


def simplex_norm(counts: Sequence[int]) -> float:
    """|P D^(1/2)|_*: no logits with margins of 1 have less (SE-1 of docs/theory.md).

    Example:
        >>> round(simplex_norm((6, 6, 1, 1)), 10)
        5.3203184362
    """
    return math.fsum(weighted_simplex(counts)[1])


def polar_factor(counts: Sequence[int]) -> Array:
    """The polar factor of P D^(1/2): multipliers of margins, with signs and weights (SE-1).

    Example:
        >>> polar_factor((3, 3)).round(12).tolist()
        [[0.5, -0.5], [-0.5, 0.5]]
    """
    left, _, right = weighted_simplex(counts)
    return np.asarray(left @ right)


def own_logits(logits: ArrayLike, labels: ArrayLike) -> list[float]:
    """The own logit of every class, the mean over its columns.

    Args:
        logits: a column each (K, columns).
        labels: class of every column.

    Example:
        >>> own_logits([[3.0, 5.0, 0.0], [0.0, 1.0, 2.0]], [0, 0, 1])
        [4.0, 2.0]
    """
    Z, classes = np.asarray(logits), np.asarray(labels)
    own = Z[classes, np.arange(len(classes))]
    return [float(own[classes == k].mean()) for k in range(len(Z))]


def margin_excess(logits: ArrayLike, counts: Sequence[int]) -> float:
    """How far logits cost more per margin than simplex-encoded labels: 0 for these (SE-1, SE-3).

    |Z D^(1/2)|_* / (least margin |P D^(1/2)|_*) - 1, NaN unless every margin is positive.

    Args:
        logits: of the mean feature of every class, a column each (K, K).
        counts: samples of every class.

    Example:
        >>> margin_excess(3 * np.eye(2), (4, 4)), margin_excess(np.zeros((2, 2)), (4, 4))
        (1.0, nan)
    """
    return float(margin_excesses(np.asarray(logits)[None], np.asarray(counts)[None])[0])


def margin_excesses(logits: ArrayLike, counts: ArrayLike) -> Array:
    """``margin_excess`` of many logits (any, K, K), each with counts of its own (any, K).

    Example:
        >>> margin_excesses([3 * np.eye(2), np.zeros((2, 2))], [(4, 4), (4, 1)]).tolist()
        [1.0, nan]
    """
    Z, sizes = np.asarray(logits, dtype=float), np.asarray(counts, dtype=float)
    own = np.diagonal(Z, axis1=1, axis2=2)
    least = np.min(own[:, None] - Z + np.diag(np.full(Z.shape[1], np.inf)), axis=(1, 2))
    positive = np.where((least > 0)[:, None, None], Z, 0.0)  # no NaN, which has no SVD
    norm = np.linalg.svd(positive * np.sqrt(sizes)[:, None], compute_uv=False).sum(axis=1)
    kinds, which = np.unique(sizes, axis=0, return_inverse=True)
    simplices = np.array([simplex_norm(kind) for kind in kinds])[which.ravel()]
    with np.errstate(divide="ignore", invalid="ignore"):
        return np.asarray(np.where(least > 0, norm / (least * simplices) - 1, np.nan))
