"""Norms, logit gaps and feature spectra: what a closed form predicts of a network."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

from ufm.typing import Array


def logit_gaps(logits: Array, labels: npt.NDArray[np.integer]) -> Array:
    """z_y - mean of the other logits, of every sample, (N,): alpha at a collapsed minimiser.

    Example:
        >>> logit_gaps(np.array([[3.0, 0.0, 1.0]]), np.array([0], np.int32)).tolist()
        [2.5]
    """
    own = logits[np.arange(len(labels)), labels]
    others = (logits.sum(axis=1) - own) / (logits.shape[1] - 1)
    return np.asarray(own - others)


def squared_norm(values: Any) -> float:
    """Sum of the squared entries, in float64 whatever the array is.

    Example:
        >>> squared_norm(np.array([3.0, 4.0], np.float32))
        25.0
    """
    return float(np.sum(np.square(values, dtype=np.float64)))


def feature_spectrum(features: Any, num: int) -> Array:
    """The ``num`` largest singular values of the features (N, d) over sqrt(N), descending.

    From the d x d matrix of second moments in float64; values below about 1e-8 of the largest are
    rounding. Not centred: a simplex ETF has K - 1 equal ones, an orthogonal frame K.

    Example:
        >>> feature_spectrum(np.array([[3.0, 0.0], [0.0, 0.0]]), 3).round(6).tolist()
        [2.12132, 0.0]
    """
    H = np.asarray(features, np.float64)
    moments = np.linalg.eigvalsh(H.T @ H / len(H))[::-1]
    return np.asarray(np.sqrt(np.maximum(moments[:num], 0.0)))
