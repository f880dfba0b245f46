"""Norms, gap and objective of a network beside those of a model's minimum."""

from __future__ import annotations

import math
from dataclasses import dataclass, fields

import numpy.typing as npt

from experiments.networks.theory.prediction import Prediction
from experiments.networks.theory.sample_sums import Census, census
from ufm.decay import penalty
from ufm.errors import InputError
from ufm.losses import Loss


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

    @staticmethod
    def of(seen: Census) -> Measured:
        """The numbers that a comparison needs."""
        return Measured(**{item.name: getattr(seen, item.name) for item in fields(Measured)})

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

    Args: as ``census``.

    Raises:
        InputError: arrays of other shapes.

    Example:
        >>> import numpy as np
        >>> from ufm import MSE
        >>> found = measured(MSE(), np.eye(2), np.eye(2), None, [0, 1])
        >>> found.loss, found.gap, found.counts
        (0.0, 1.0, (1, 1))
    """
    return Measured.of(census(loss, features, W, b, labels))


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
