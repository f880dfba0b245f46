"""What a hidden unit that is off could gain by being turned on."""

from __future__ import annotations

from itertools import product

import numpy as np

from ufm.tolerance import NEAR_NULL
from ufm.typing import Array

# A sample is on, off or at zero for a unit: 3^N cases.
MOST_SAMPLES = 8


def unit_gain(inputs: Array, slopes: Array) -> float:
    """max over |w| = 1 of |sum_i relu(w . x_i) e_i|: what a unit gains per |w| |v|.

    At the maximum some samples S are on and some Z at zero; there w is the first right singular
    vector of sum_{i in S} e_i x_i^T on the orthogonal complement of the inputs Z. Every case whose
    vector has the signs that it assumes is counted, and any whose first singular value is multiple.
    Source: derived here (docs/theory.md, DR-5).

    Args:
        inputs: x_i, what enters the layer (r, N), N at most 8.
        slopes: e_i, gradients in what the next layer makes (q, N).

    Example:
        >>> unit_gain(np.array([[1.0, -1.0]]), np.array([[3.0, -5.0]]))
        5.0
    """
    best, N = 0.0, inputs.shape[1]
    for signs in product((1, 0, -1), repeat=N):
        on, zero, off = (np.array([s == t for s in signs]) for t in (1, 0, -1))
        if not on.any():
            continue
        space = np.eye(len(inputs))
        if zero.any():
            _, values, rows = np.linalg.svd(inputs[:, zero].T)
            space = rows[int(np.sum(values > NEAR_NULL)) :].T
        image = slopes[:, on] @ inputs[:, on].T @ space
        if 0 in image.shape:
            continue
        _, values, rows = np.linalg.svd(image)
        if values[0] <= best:
            continue
        w = space @ rows[0]
        slack = NEAR_NULL * (1 + np.abs(inputs).max())
        fits = any(
            np.all(s * (w @ inputs[:, on]) >= -slack) and np.all(s * (w @ inputs[:, off]) <= slack)
            for s in (1.0, -1.0)
        )
        multiple = len(values) > 1 and values[1] > (1 - NEAR_NULL) * values[0]
        if fits or multiple:
            best = float(values[0])
    return best
