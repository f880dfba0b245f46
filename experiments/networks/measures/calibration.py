"""How far a network's confidence is from its accuracy, and one temperature that mends it.

Confidence is the largest softmax probability, whatever loss a network was trained with; where its
logits are no log-probabilities (squared error, say) the softmax is a convention.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal

import numpy as np
import numpy.typing as npt
from scipy.optimize import brentq
from scipy.special import log_softmax, softmax
from sklearn.calibration import calibration_curve

from experiments.networks.measures.inputs import Labels, logits_and_labels
from ufm.errors import InputError, require_count
from ufm.typing import Array

Binning = Literal["width", "mass"]
STRATEGIES: Mapping[str, str] = {"width": "uniform", "mass": "quantile"}

# 2^1000 times a logit of order 1 is still a float64.
MOST_DOUBLINGS = 1000


@dataclass(frozen=True, eq=False)
class Reliability:
    """Data of a reliability diagram: what happens in every bin of confidence that has samples.

    Attributes:
        counts: samples in the bin, (B,).
        confidence: their mean confidence, (B,).
        accuracy: the share of them that is classified correctly, (B,).
    """

    counts: npt.NDArray[np.intp]
    confidence: Array
    accuracy: Array

    @property
    def ece(self) -> float:
        """Expected calibration error, sum_b (n_b/N) |accuracy_b - confidence_b|."""
        gaps = np.abs(self.accuracy - self.confidence)
        return float(self.counts @ gaps / self.counts.sum())


def reliability(
    logits: npt.ArrayLike,
    labels: npt.ArrayLike,
    num_bins: int = 15,
    binning: Binning = "width",
) -> Reliability:
    """Mean confidence and accuracy in B bins of confidence; its ``ece`` is the usual number.

    Equal width: bin b has the confidences in (b/B, (b+1)/B], and 0 is in the first. Equal mass: the
    edges are the quantiles b/B of the confidences. Equal confidences share a bin, the lowest that
    ends with them: collapsed networks have many, at confidence 1.

    Source: Guo et al. 2017, section 2 (equal width, 15 bins); Nguyen and O'Connor 2015 (equal
    mass); scikit-learn's ``calibration_curve``.

    Args:
        logits: (N, K), K >= 2, finite.
        labels: (N,), in 0..K-1.
        num_bins: B >= 1.
        binning: "width" or "mass".

    Raises:
        InputError: arguments not so.

    Example:
        >>> logits = np.log([[0.9, 0.1], [0.3, 0.7], [0.4, 0.6], [0.8, 0.2]])
        >>> round(reliability(logits, [0, 1, 0, 0], num_bins=1).ece, 12)  # |3/4 - 0.75|
        0.0
        >>> round(reliability(logits, [0, 1, 0, 0], num_bins=2, binning="mass").ece, 12)
        0.15
    """
    z, y = logits_and_labels(logits, labels)
    num_bins = require_count(num_bins, "number of bins", 1, "15 is usual")
    if binning not in STRATEGIES:
        raise InputError("Need equal width or equal mass bins", repr(binning), "'width' or 'mass'")
    confidence = softmax(z, axis=1).max(axis=1)
    correct = np.argmax(z, axis=1) == y
    accuracy, mean = calibration_curve(
        correct, confidence, n_bins=num_bins, strategy=STRATEGIES[binning]
    )
    # The curve comes without the weights of its bins, so they are counted with the same edges.
    shares = np.linspace(0, 1, num_bins + 1)
    edges = shares if binning == "width" else np.percentile(confidence, 100 * shares)
    bins = np.searchsorted(edges[1:-1], confidence)
    return Reliability(np.unique(bins, return_counts=True)[1], mean, accuracy)


def negative_log_likelihood(logits: npt.ArrayLike, labels: npt.ArrayLike) -> float:
    """-(1/N) sum_i log softmax(z_i)_{y_i}, in nats.

    Args:
        logits: (N, K), K >= 2, finite.
        labels: (N,), in 0..K-1.

    Raises:
        InputError: arguments not so.

    Example:
        >>> round(negative_log_likelihood([[0.0, 0.0]], [1]), 6)  # log 2
        0.693147
    """
    return _nll(*logits_and_labels(logits, labels))


def brier_score(logits: npt.ArrayLike, labels: npt.ArrayLike) -> float:
    """(1/N) sum_i |softmax(z_i) - e_{y_i}|^2, between 0 and 2.

    Source: Brier 1950, all classes summed; half of it for K = 2 is the binary score.

    Args:
        logits: (N, K), K >= 2, finite.
        labels: (N,), in 0..K-1.

    Raises:
        InputError: arguments not so.

    Example:
        >>> brier_score([[0.0, 0.0]], [1])
        0.5
    """
    z, y = logits_and_labels(logits, labels)
    error = softmax(z, axis=1)
    error[np.arange(y.size), y] -= 1
    return float(np.mean(np.sum(error**2, axis=1)))


@dataclass(frozen=True)
class Temperature:
    """What one temperature does on the split that it was fitted on.

    Attributes:
        value: T > 0 that minimises the mean negative log-likelihood of logits/T; None if none does.
        reason: why there is none, else empty.
        nll_before, nll_after: at T = 1 and at the minimum, or at its limit if there is none.
        slope: d nll/d log(1/T) at the value, 0 up to rounding; 0 if there is none.
    """

    value: float | None
    reason: str
    nll_before: float
    nll_after: float
    slope: float = 0.0


def fit_temperature(logits: npt.ArrayLike, labels: npt.ArrayLike) -> Temperature:
    """The T > 0 that minimises the negative log-likelihood of logits/T on a held-out split.

    With beta = 1/T the function is convex, and its slope (1/N) sum_i (E_softmax(beta z_i)[z_i] -
    z_{i,y_i}) increases with beta, from the value at beta = 0 to mean(max_k z_ik - z_{i,y_i}) >= 0.
    The minimum is where it crosses 0, by Brent's method. There is none if every sample is correct
    (T -> 0 is ever better), or if logits are of the wrong sign on average (T -> infinity is).

    Source: Guo et al. 2017, section 4.2; existence derived here.

    Args:
        logits: (N, K) of samples that the network was not trained on.
        labels: (N,), in 0..K-1.

    Raises:
        InputError: arguments not so.

    Example:
        >>> overconfident = 3 * np.log([[0.75, 0.25]] * 4)
        >>> round(fit_temperature(overconfident, [0, 0, 0, 1]).value, 12)
        3.0
    """
    z, y = logits_and_labels(logits, labels)
    before = _nll(z, y)
    z = z - z.max(axis=1, keepdims=True)
    scale = float(-z.min())
    own = z[np.arange(y.size), y]
    if not own.any():
        # Ties between the label and another class leave log(number of ties).
        ties = np.log(np.count_nonzero(z == 0, axis=1))
        why = "no sample is misclassified, so that T -> 0 is ever better"
        return Temperature(None, why, before, float(ties.mean()))

    def slope(beta: float) -> float:
        return float(np.mean(np.sum(softmax(beta * z, axis=1) * z, axis=1) - own))

    if slope(0.0) >= 0:
        why = "the logits favour wrong classes on average, so that T -> infinity is ever better"
        return Temperature(None, why, before, float(np.log(z.shape[1])))
    low = high = 1 / scale
    for _ in range(MOST_DOUBLINGS):
        if slope(high) >= 0:
            break
        low, high = high, 2 * high
    if slope(low) > 0:
        low = 0.0
    # The relative tolerance is the finest that the method takes; no absolute one stops it earlier.
    beta = float(brentq(slope, low, high, xtol=1e-300, rtol=4 * np.finfo(float).eps, maxiter=5000))
    after = _nll(beta * z, y)
    return Temperature(1 / beta, "", before, after, beta * slope(beta))


def _nll(z: Array, y: Labels) -> float:
    return float(-np.mean(log_softmax(z, axis=1)[np.arange(y.size), y]))
