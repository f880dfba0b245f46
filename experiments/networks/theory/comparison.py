"""A trained network's norms, gap and objective beside those of the model's minimum."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from experiments.networks.architectures import Network
from experiments.networks.data import Split
from experiments.networks.measures.inputs import logits_and_labels, matrix, same_samples
from experiments.networks.monitor import look
from experiments.networks.monitor.sizes import logit_gaps, sizes
from experiments.networks.theory.matching import NoTheory, matching_model
from experiments.networks.theory.prediction import Prediction, predict
from experiments.networks.training import FeatureDecay, TrainSettings
from ufm.errors import InputError
from ufm.losses.columns import column_losses
from ufm.models.fixed_classifier import FixedClassifier
from ufm.plain.model import UFM


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


@dataclass(frozen=True)
class Measured:
    """Numbers of a network on all training samples.

    Attributes:
        loss: mean over the samples, without decay.
        W_squared, H_squared, b_squared: |W|^2, |H|^2 over all samples, |b|^2.
        gap, gap_spread: mean and standard deviation of the logit gap.
    """

    loss: float
    W_squared: float
    H_squared: float
    b_squared: float
    gap: float
    gap_spread: float


@dataclass(frozen=True)
class Comparison:
    """How far a network is from the global minimum of its model.

    Attributes:
        objective: (1/N) sum L + (lambda_W/2) |W|^2 + (lambda_H/2) |H|^2 + (lambda_b/2) |b|^2.
        W_squared, H_squared: |W|^2, and |H|^2 over all N features.
        gap: mean over samples of the own logit minus the mean of the others.
        gap_spread: standard deviation over samples of the same, 0 at the minimum of a balanced
            model.
        c: sqrt(K N lambda_W lambda_H); None for a fixed classifier, which has no decay.
        lambda_H: decay of the features.
        estimated: whether lambda_H was estimated from the network; then |W|^2 and |H|^2 deviate by
            equal factors, by construction.
        prediction: the model's minimum.
    """

    objective: Quantity
    W_squared: Quantity
    H_squared: Quantity
    gap: Quantity
    gap_spread: float
    c: float | None
    lambda_H: float
    estimated: bool
    prediction: Prediction


def compare(
    model: UFM | FixedClassifier,
    prediction: Prediction,
    features: npt.ArrayLike,
    logits: npt.ArrayLike,
    W: npt.ArrayLike,
    b: npt.ArrayLike | None,
    labels: npt.ArrayLike,
    *,
    estimated: bool = False,
) -> Comparison:
    """Compare arrays of a network with the minimum of a model, in float64.

    Args:
        model: for its loss and decays.
        prediction: of that model.
        features: (N, d), of all training samples, in any order.
        logits: (N, K).
        W: (K, d).
        b: (K,) or None.
        labels: (N,), integers.
        estimated: whether lambda_H of the model was estimated.

    Raises:
        InputError: arrays of other shapes, or samples per class that are not the model's.

    Example:
        >>> from ufm import CrossEntropy, lift
        >>> model = UFM(CrossEntropy(), 3, 5, 4, lambda_W=0.01, lambda_H=0.01)
        >>> W, H, _ = lift(model, model.minimiser().point)
        >>> made = compare(model, predict(model), H.T, (W @ H).T, W, None, model.labels)
        >>> round(made.gap.ratio, 12), round(made.objective.ratio, 12)
        (1.0, 1.0)
    """
    Z, y = logits_and_labels(logits, labels)
    H, W = matrix(features, "features"), matrix(W, "W")
    same_samples(Z, H)
    counts = tuple(np.bincount(y, minlength=Z.shape[1]).tolist())
    if counts != model.counts_tuple:
        rule = f"Need {model.counts_tuple} samples per class, as the model has"
        raise InputError(rule, counts, "pass the training samples, all of them")
    gaps = logit_gaps(Z, y)
    bias = np.zeros(len(W)) if b is None else np.asarray(b, np.float64)
    measured = Measured(
        loss=float(np.mean(np.asarray(column_losses(model.loss, Z.T, y)))),
        W_squared=float(np.sum(W**2)),
        H_squared=float(np.sum(H**2)),
        b_squared=float(bias @ bias),
        gap=float(gaps.mean()),
        gap_spread=float(gaps.std()),
    )
    return beside(model, prediction, measured, estimated=estimated)


def beside(
    model: UFM | FixedClassifier,
    prediction: Prediction,
    measured: Measured,
    *,
    estimated: bool = False,
) -> Comparison:
    """Numbers of a network beside those of a model's minimum.

    Args:
        model: for its decays.
        prediction: of that model.
        measured: on all training samples.
        estimated: whether lambda_H of the model was estimated.
    """
    value = measured.loss + 0.5 * (
        float(model.lambda_W) * measured.W_squared
        + float(model.lambda_H) * measured.H_squared
        + float(model.lambda_b or 0.0) * measured.b_squared
    )
    return Comparison(
        objective=Quantity(value, prediction.objective),
        W_squared=Quantity(measured.W_squared, prediction.W_squared),
        H_squared=Quantity(measured.H_squared, prediction.H_squared),
        gap=Quantity(measured.gap, prediction.gap),
        gap_spread=measured.gap_spread,
        c=model.c if isinstance(model, UFM) else None,
        lambda_H=float(model.lambda_H),
        estimated=estimated,
        prediction=prediction,
    )


def network_against_theory(
    settings: TrainSettings, network: Network, images: npt.ArrayLike, labels: npt.ArrayLike
) -> Comparison | NoTheory:
    """Compare a trained network with the minimum of the model that its settings describe.

    Args:
        settings: with which the network was trained.
        network: the network.
        images: (N, height, width, channels), those it was trained on, all of them.
        labels: (N,).

    Returns:
        The comparison, or the reason why there is none.

    Raises:
        InputError: as ``embed`` and ``compare``.

    Example:
        >>> from experiments.networks.training import FeatureDecay, initial_network
        >>> settings = TrainSettings(d=5, decay=FeatureDecay(0.01, 0.01))
        >>> network = initial_network(settings, (2, 3, 1), 3)
        >>> images, labels = np.zeros((6, 2, 3, 1), np.float32), np.arange(6) % 3
        >>> network_against_theory(settings, network, images, labels).gap.measured
        0.0
    """
    seen = look(network, Split(np.asarray(images), np.asarray(labels)))
    counts = np.bincount(seen.labels, minlength=network.num_classes).tolist()
    measured = sizes(seen)
    norms = measured["square_W"], measured["square_H"]
    found = theory_of(settings, counts, norms)
    if isinstance(found, NoTheory):
        return found
    estimated = not isinstance(settings.decay, FeatureDecay)
    b = None if network.head.b is None else seen.b
    return compare(*found, seen.features, seen.logits, seen.W, b, seen.labels, estimated=estimated)


def theory_of(
    settings: TrainSettings, counts: Sequence[int], norms: tuple[float, float]
) -> tuple[UFM | FixedClassifier, Prediction] | NoTheory:
    """The model that settings describe, and the prediction of its minimum.

    Args: as ``matching_model``.

    Example:
        >>> model, prediction = theory_of(TrainSettings(d=5), [4, 4, 4], (1.0, 1.0))
        >>> prediction.frame
        'simplex ETF'
    """
    model = matching_model(settings, counts, norms)
    if isinstance(model, NoTheory):
        return model
    prediction = predict(model, nonnegative=settings.architecture.features == "relu")
    return prediction if isinstance(prediction, NoTheory) else (model, prediction)
