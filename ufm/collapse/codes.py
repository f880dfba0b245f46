"""Generalised neural collapse: how far the rows of a classifier are apart, below d = K - 1 too."""

from __future__ import annotations

from typing import Any

import numpy as np
import scipy

from ufm.collapse.geometry import cosines
from ufm.tolerance import RANK
from ufm.typing import Array

# Classes up to which all cosines are listed: 15 pairs.
FEW = 6


def one_vs_rest_distances(W: Array) -> Array:
    """Distance of every row, made a unit vector, to the convex hull of the others (K,).

    min over x >= 0, sum x = 1 of |w_k - sum_j x_j w_j|: with a = t x, non-negative least squares of
    |V a|^2 + (sum a - 1)^2, V the differences, has the same x for its best t.

    Source: the margin of a softmax code (Jiang et al. 2023, arXiv 2310.05351).

    Example:
        >>> one_vs_rest_distances(np.eye(2)).round(12).tolist()
        [1.414213562373, 1.414213562373]
    """
    rows = np.asarray(W, dtype=float)
    rows = rows / np.linalg.norm(rows, axis=1, keepdims=True)
    found = []
    for k, row in enumerate(rows):
        V = (np.delete(rows, k, axis=0) - row).T
        system = np.concatenate([V, np.ones((1, V.shape[1]))])
        shares = scipy.optimize.nnls(system, np.eye(len(system))[-1])[0]
        found.append(float(np.linalg.norm(V @ shares) / shares.sum()))
    return np.array(found)


def code_measures(W: Array) -> dict[str, Any]:
    """Cosines of classifier rows, all of them for six classes or fewer, and how long rows are.

    Example:
        >>> code_measures(np.diag([1.0, 2.0]))
        {'largest_cosine': 0.0, 'smallest_cosine': 0.0, 'cosines': [0.0], 'row_norms': [1.0, 2.0]}
    """
    rows = np.asarray(W, dtype=float)
    norms = np.linalg.norm(rows, axis=1)
    if norms.min() <= RANK * (1 + norms.max()):
        return {}  # a row of length zero, up to what descents leave, has no direction
    found = np.sort(cosines(rows))
    told: dict[str, Any] = {"largest_cosine": float(found[-1]), "smallest_cosine": float(found[0])}
    if len(rows) <= FEW:
        told |= {"cosines": found.tolist(), "row_norms": np.sort(norms).tolist()}
    return told
