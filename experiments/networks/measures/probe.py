"""Linear probe: multinomial logistic regression on frozen features, by scikit-learn."""

from __future__ import annotations

import warnings
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from sklearn.exceptions import ConvergenceWarning
from sklearn.linear_model import LogisticRegression
from sklearn.model_selection import train_test_split

from experiments.networks.measures.inputs import matrix, with_labels
from ufm.collapse.inputs import count_classes, read_labels
from ufm.errors import InputError, require_positive
from ufm.typing import Array

MAX_STEPS = 1000
# Of the samples of every class, to choose l2 by.
HELD_OUT = 0.2


@dataclass(frozen=True, eq=False)
class Probe:
    """A linear classifier.

    Attributes:
        W: (K, d).
        b: (K,), of sum 0.
        l2: weight of |W|^2/2.
        converged: whether the solver reached its tolerance.
    """

    W: Array
    b: Array
    l2: float
    converged: bool

    def logits(self, features: npt.ArrayLike) -> Array:
        """H W^T + b, (N, K).

        Raises:
            InputError: features of another dimension.
        """
        H = matrix(features, "features")
        if H.shape[1] != self.W.shape[1]:
            rule = f"Need features of dimension {self.W.shape[1]}"
            raise InputError(rule, f"shape {H.shape}", "pass features of the same layer")
        return np.asarray(H @ self.W.T + self.b)

    def accuracy(self, features: npt.ArrayLike, labels: npt.ArrayLike) -> float:
        """Share of samples whose largest logit is that of the label."""
        predicted = np.argmax(self.logits(features), axis=1)
        return float(np.mean(predicted == read_labels(labels, predicted.size)))


def fit(
    features: npt.ArrayLike, labels: npt.ArrayLike, l2: float = 1e-3, tolerance: float = 1e-6
) -> Probe:
    """Minimise (1/N) sum_i -log softmax(W h_i + b)_{y_i} + (l2/2)|W|^2; the bias is free.

    Strictly convex but for a shift of b, so the minimiser with sum b = 0 is unique. Solved for
    features with their mean taken out and divided by s, the root mean square of what is left.

    Source: Kornblith, Shlens, Le 2019 for the protocol; scikit-learn's C is 1/(N l2).

    Args:
        features: (N, d), finite, not all equal.
        labels: (N,), every class of 0..K-1 with a sample, K >= 2.
        l2: > 0, per sample, in units of the features as they are.
        tolerance: on the largest entry of the gradient with respect to (W s, b), > 0.

    Raises:
        InputError: arguments not so.

    Example:
        >>> probe = fit([[-1.0], [1.0]], [0, 1], l2=0.1)
        >>> probe.converged, probe.accuracy([[-1.0], [1.0]], [0, 1])
        (True, 1.0)
    """
    H, y = with_labels(features, "features", labels)
    K = count_classes(y, int(y.max()) + 1).size
    l2 = require_positive(l2, "l2", "without it separable classes have no minimum")
    tolerance = require_positive(tolerance, "tolerance", "1e-6 is usual")
    centre = H.mean(axis=0)
    scale = float(np.sqrt(np.mean((H - centre) ** 2)))
    if scale == 0:
        raise InputError("Need features that differ between samples", "all equal", "change layer")
    # Of two classes the library has one row, the difference, which costs half of both.
    C = scale**2 / (len(y) * l2) * (2 if K == 2 else 1)
    made = LogisticRegression(C=C, tol=tolerance, max_iter=MAX_STEPS, solver="newton-cg")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ConvergenceWarning)  # ``converged`` says it
        made.fit((H - centre) / scale, y)
    V, c = made.coef_, made.intercept_
    if K == 2:
        V, c = np.vstack([-V, V]) / 2, np.concatenate([-c, c]) / 2
    W = V / scale
    b = c - W @ centre
    return Probe(W, b - b.mean(), l2, bool(made.n_iter_.max() < MAX_STEPS))


def choose(
    features: npt.ArrayLike, labels: npt.ArrayLike, grid: Sequence[float]
) -> tuple[Probe, list[float]]:
    """The probe of all samples, with the l2 of ``grid`` that is best for a fifth held out.

    The fifth has the same share of every class; of equally good l2 the largest is taken.

    Source: Kornblith, Shlens, Le 2019, who take 45 values between 1e-6 and 1e5.

    Args:
        features: (N, d).
        labels: (N,), every class of 0..K-1 with two samples or more.
        grid: at least one l2 > 0.

    Returns:
        The probe, and the held-out accuracy of every l2 in the order of ``grid``.

    Raises:
        InputError: an empty grid, a class with one sample, or what ``fit`` refuses.

    Example:
        >>> probe, accuracies = choose([[-1.0], [1.0]] * 5, [0, 1] * 5, [0.1, 1.0])
        >>> probe.l2, accuracies
        (1.0, [1.0, 1.0])
    """
    if not len(grid):
        raise InputError("Need at least one l2 to choose from", "none", "np.logspace(-6, 0, 13)")
    H, y = with_labels(features, "features", labels)
    counts = count_classes(y, int(y.max()) + 1)
    if counts.min() < 2:
        remedy = "add samples, or use fit with an l2 of your own"
        raise InputError("Need two samples or more of every class", counts.min(), remedy)
    size = max(counts.size, round(HELD_OUT * len(y)))
    train, held, own, other = train_test_split(H, y, test_size=size, stratify=y, random_state=0)
    accuracies = [fit(train, own, l2).accuracy(held, other) for l2 in grid]
    best = max(zip(accuracies, grid, strict=True))[1]
    return fit(H, y, best), accuracies
