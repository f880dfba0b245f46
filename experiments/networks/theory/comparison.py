"""Norms, gap and objective of a network beside those of a model's minimum."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from experiments.networks.measures.sizes import logit_gaps, squared_norm
from experiments.networks.theory.prediction import Prediction
from ufm.collapse.inputs import read_labels
from ufm.decay import penalty
from ufm.errors import InputError
from ufm.losses import Loss
from ufm.losses.columns import column_losses

# Samples at a time: float64 copies of large float32 features stay small.
BLOCK = 65_536


@dataclass(frozen=True)
class Quantity:
    """A number of the network and the model's.

    Example:
        >>> Quantity(1.01, 1.0).ratio
        1.01
    """

    measured: float
    predicted: float

    @property
    def ratio(self) -> float:
        """measured / predicted; nan where the prediction is zero."""
        return self.measured / self.predicted if self.predicted else math.nan

    @property
    def root(self) -> Quantity:
        """The square roots of both: norms of squared norms."""
        return Quantity(math.sqrt(self.measured), math.sqrt(self.predicted))


@dataclass(frozen=True)
class Measured:
    """Numbers of a network on all training samples.

    Attributes:
        loss: mean over the samples, without decay.
        W_squared, H_squared, b_squared: |W|^2, |H|^2 over all samples, |b|^2.
        gap, gap_spread: mean and standard deviation of the logit gap.
        counts: samples per class.
    """

    loss: float
    W_squared: float
    H_squared: float
    b_squared: float
    gap: float
    gap_spread: float
    counts: tuple[int, ...]

    def objective(self, lambda_W: float, lambda_H: float, lambda_b: float | None) -> float:
        """The loss with the decays of a model."""
        decays = penalty(lambda_W, self.W_squared) + penalty(lambda_H, self.H_squared)
        return self.loss + decays + penalty(lambda_b or 0.0, self.b_squared)


def measured(
    loss: Loss,
    features: npt.ArrayLike,
    W: npt.ArrayLike,
    b: npt.ArrayLike | None,
    labels: npt.ArrayLike,
) -> Measured:
    """The numbers of arrays, in float64.

    Args:
        loss: of (logits, label).
        features: (N, d), of all training samples, in any order.
        W: (K, d).
        b: (K,) or None.
        labels: (N,), integers in 0..K-1.

    Raises:
        InputError: arrays of other shapes.

    Example:
        >>> from ufm import MSE
        >>> found = measured(MSE(), np.eye(2), np.eye(2), None, [0, 1])
        >>> found.loss, found.gap, found.counts
        (0.0, 1.0, (1, 1))
    """
    H, W = np.asarray(features), np.asarray(W, np.float64)
    if H.ndim != 2 or W.ndim != 2 or H.shape[1] != W.shape[1]:
        got = f"shapes {H.shape} and {W.shape}"
        raise InputError("Need features (N, d) and W (K, d) of one d", got, "transpose one")
    y = read_labels(labels, len(H))
    bias = np.zeros(len(W)) if b is None else np.asarray(b, np.float64)
    if bias.shape != (len(W),) or y.max() >= len(W):
        got = f"{len(W)} rows, a bias of shape {bias.shape} and labels up to {y.max()}"
        raise InputError("Need a row of W and an entry of b for every class", got, "match them")
    total = 0.0
    gaps = []
    for start in range(0, len(H), BLOCK):
        own = y[start : start + BLOCK]
        Z = H[start : start + BLOCK].astype(np.float64) @ W.T + bias
        gaps.append(logit_gaps(Z, own))
        total += float(np.sum(np.asarray(column_losses(loss, Z.T, own))))
    gap = np.concatenate(gaps)
    return Measured(
        loss=total / len(H),
        W_squared=squared_norm(W),
        H_squared=squared_norm(H),
        b_squared=squared_norm(bias),
        gap=float(gap.mean()),
        gap_spread=float(gap.std()),
        counts=tuple(np.bincount(y, minlength=len(W)).tolist()),
    )


@dataclass(frozen=True)
class Comparison:
    """How far a network is from the global minimum of its model.

    Attributes:
        objective: (1/N) sum L + (lambda_W/2) |W|^2 + (lambda_H/2) |H|^2 + (lambda_b/2) |b|^2.
        loss: the first term of it.
        W_squared, H_squared, b_squared: |W|^2, |H|^2 over all N features, |b|^2.
        gap: mean over samples of the own logit minus the mean of the others.
        gap_spread: standard deviation over samples of the same, 0 at the minimum of a balanced
            model.
        lambda_H: decay of the features.
        estimated: whether lambda_H was estimated from the network; then |W|^2 and |H|^2 deviate by
            equal factors, by construction.
        prediction: the model's minimum.
    """

    objective: Quantity
    loss: Quantity
    W_squared: Quantity
    H_squared: Quantity
    b_squared: Quantity
    gap: Quantity
    gap_spread: float
    lambda_H: float
    estimated: bool
    prediction: Prediction

    @property
    def c(self) -> float | None:
        """sqrt(K N lambda_W lambda_H); None for a fixed classifier, which has no decay."""
        return self.prediction.c


def compare(found: Measured, prediction: Prediction, *, estimated: bool = False) -> Comparison:
    """Set the numbers of a network beside those of a model's minimum.

    Args:
        found: on all training samples.
        prediction: of the model that the network is a realisation of.
        estimated: whether lambda_H of the model was estimated from the network.

    Raises:
        InputError: samples per class that are not the model's.

    Example:
        >>> from experiments.networks.theory import predict_free
        >>> from ufm import UFM, CrossEntropy, lift
        >>> model = UFM(CrossEntropy(), 3, 5, 4, lambda_W=0.01, lambda_H=0.01)
        >>> W, H, _ = lift(model, model.minimiser().point)
        >>> made = compare(measured(model.loss, H.T, W, None, model.labels), predict_free(model))
        >>> round(made.gap.ratio, 12), round(made.objective.ratio, 12)
        (1.0, 1.0)
    """
    if found.counts != prediction.counts:
        rule = f"Need {prediction.counts} samples per class, as the model has"
        raise InputError(rule, found.counts, "pass the training samples, all of them")
    objective = found.objective(*prediction.decays)
    return Comparison(
        objective=Quantity(objective, prediction.objective),
        loss=Quantity(found.loss, prediction.loss),
        W_squared=Quantity(found.W_squared, prediction.W_squared),
        H_squared=Quantity(found.H_squared, prediction.H_squared),
        b_squared=Quantity(found.b_squared, prediction.b_squared),
        gap=Quantity(found.gap, prediction.gap),
        gap_spread=found.gap_spread,
        lambda_H=prediction.decays[1],
        estimated=estimated,
        prediction=prediction,
    )
