"""Telling images of another data set from those of the own: scores, and how well they do it.

Every score is higher for samples that look like the train set.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from sklearn.metrics import roc_auc_score, roc_curve

from experiments.networks.measures.inputs import matrix, vector
from ufm.errors import InputError
from ufm.typing import Array


def max_softmax(logits: npt.ArrayLike) -> Array:
    """log max_k softmax(z)_k = -log(1 + sum of e^(z_j - max z) over the other classes), (N,).

    It orders samples as the probability does, but does not saturate: where a collapsed network's
    probabilities all round to 1, the logarithms still differ.

    Source: Hendrycks and Gimpel 2017; the logarithm is ours.

    Args:
        logits: (N, K), finite.

    Raises:
        InputError: arguments not so.

    Example:
        >>> max_softmax([[100.0, 0.0], [200.0, 0.0]]).tolist() == [-np.exp(-100.0), -np.exp(-200.0)]
        True
    """
    z = matrix(logits, "logits")
    gaps = z - z.max(axis=1, keepdims=True)
    # One of the largest is left out; others that equal it stay.
    gaps[np.arange(len(z)), np.argmax(z, axis=1)] = -np.inf
    return -np.log1p(np.exp(gaps).sum(axis=1))


def max_logit(logits: npt.ArrayLike) -> Array:
    """max_k z_k, (N,).

    Source: Hendrycks et al. 2022.

    Args:
        logits: (N, K), finite.

    Raises:
        InputError: arguments not so.

    Example:
        >>> max_logit([[1.0, 3.0]]).tolist()
        [3.0]
    """
    return np.asarray(matrix(logits, "logits").max(axis=1))


def feature_norm(features: npt.ArrayLike) -> Array:
    """|h|, (N,).

    Args:
        features: (N, d), finite.

    Raises:
        InputError: arguments not so.

    Example:
        >>> feature_norm([[3.0, 4.0]]).tolist()
        [5.0]
    """
    return np.asarray(np.linalg.norm(matrix(features, "features"), axis=1))


@dataclass(frozen=True)
class Detection:
    """How well a score tells the own samples (positives) from the others.

    Attributes:
        auroc: P(own > other) + P(own = other)/2 for a random pair.
        fpr: share of the others at or above the threshold.
        threshold: the highest one that at least ``tpr`` of the own samples reach.
        tpr: the share asked for.
    """

    auroc: float
    fpr: float
    threshold: float
    tpr: float


def detection(own: npt.ArrayLike, other: npt.ArrayLike, tpr: float = 0.95) -> Detection:
    """Area under the ROC curve, ties counted half, and false positives at a true positive rate.

    Source: Mann and Whitney 1947 for the area; FPR at 95 % TPR as in Liang et al. 2018.

    Args:
        own: scores (N,) of test samples of the own data set.
        other: scores (M,) of samples of another one.
        tpr: 0 < tpr <= 1.

    Raises:
        InputError: arguments not so.

    Example:
        >>> made = detection([2.0, 3.0, 3.0, 4.0], [1.0, 3.0], tpr=0.75)
        >>> made.auroc, made.fpr, made.threshold  # 6 of 8 pairs, ties half
        (0.75, 0.5, 3.0)
    """
    inside, outside = vector(own, "own scores"), vector(other, "other scores")
    if not 0 < tpr <= 1:
        raise InputError("Need a true positive rate in (0, 1]", tpr, "0.95 is usual")
    truth = np.repeat([True, False], [inside.size, outside.size])
    scores = np.concatenate([inside, outside])
    false, true, thresholds = roc_curve(truth, scores, drop_intermediate=False)
    first = int(np.argmax(true >= tpr))
    area = float(roc_auc_score(truth, scores))
    return Detection(area, float(false[first]), float(thresholds[first]), float(tpr))
