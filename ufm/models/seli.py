"""Simplex-encoded labels: the cheapest classifier and features whose margins are all 1 or more."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np

from ufm.counts import class_counts
from ufm.decay import balanced_factors
from ufm.errors import InputError, require_count
from ufm.point import Point


def simplex_encoded_labels(
    num_classes: int = 4,
    d: int = 4,
    n: int = 1,
    counts: str | Sequence[int] | None = None,
) -> tuple[Point, float]:
    """The minimiser of (|W|^2 + |H|^2) / 2 with all margins 1 or more, one column per sample.

    min (|W|^2 + |H|^2) / 2  such that  (w_k - w_j) . h_i >= 1 for every sample i of class k, j != k

    With P = I - J/K and D = diag(n_k), class means have W H = P, W W^T = (P D P)^(1/2) and
    D^(1/2) H^T H D^(1/2) = (D^(1/2) P D^(1/2))^(1/2): the geometry SELI.
    Source: Thrampoulidis et al. 2022 (UF-SVM); the proof in docs/theory.md, SE-1.

    Args:
        num_classes: K, 2 or more.
        d: feature dimension, K - 1 or more.
        n: samples per class.
        counts: samples of every class with commas, instead of K and n.

    Returns:
        W (K, d) and H (d, N), and the value |P D^(1/2)|_*.

    Raises:
        InputError: sizes out of their domain, or d < K - 1.

    Example:
        >>> point, value = simplex_encoded_labels(counts="6,6,1,1")
        >>> round(value, 10), point.H.shape
        (5.3203184362, (4, 14))
    """
    sizes = class_counts(num_classes, n, counts)
    K = len(sizes)
    require_count(d, "d", 1, "use a feature dimension of one or more")
    if d < K - 1:
        remedy = "use more dimensions; codes of lower rank have no closed form"
        raise InputError(f"Need d >= K - 1 = {K - 1} for {K} classes", d, remedy)
    roots = np.sqrt(np.array(sizes, dtype=float))
    spread = (np.eye(K) - 1 / K) * roots
    left, values, right = np.linalg.svd(spread)
    W, H = balanced_factors(left[:, :-1], values[:-1], right[:-1], d, 1.0, 1.0)
    return Point(W, np.repeat(H / roots, sizes, axis=1)), math.fsum(values[:-1])
