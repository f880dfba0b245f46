"""What a trained network can do beyond its own test set, measured once at the end."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from experiments.networks.architectures import Network, activations, embed
from experiments.networks.data import Dataset
from experiments.networks.measures.calibration import (
    brier_score,
    fit_temperature,
    negative_log_likelihood,
    reliability,
)
from experiments.networks.measures.ood import detection, feature_norm, max_logit, max_softmax
from experiments.networks.measures.probe import choose
from experiments.networks.measures.separation import class_separation
from experiments.networks.measures.similarity import linear_cka
from experiments.networks.runs.out_of_distribution import OtherSet
from experiments.networks.training import Objective, Seen, evaluate, look
from ufm.errors import InputError

# l2 of the linear probe.
PROBE_GRID = tuple(np.logspace(-6, 0, 7).tolist())
# Samples for similarities between layers: memory grows with their number and the layer's size.
MOST_COMPARED = 500


@dataclass(frozen=True, eq=False)
class Assessment:
    """What was measured at the end of a run.

    Attributes:
        numbers: by name, see ``assess``.
        answers: logits (N, K), features (N, d), guesses (N,) and correct (N,) on the test split, in
            its order, by which runs are compared with each other.
        layers: debiased linear CKA between the layers on test images, (L, L), the features last.
    """

    numbers: dict[str, float]
    answers: dict[str, npt.NDArray[np.generic]]
    layers: npt.NDArray[np.float64]


def assess(
    network: Network, objective: Objective, dataset: Dataset, others: Sequence[OtherSet]
) -> Assessment:
    """Calibration, out-of-distribution detection, transfer, separation and layer similarity.

    Numbers, all on the test split unless said otherwise:

    * ece, ece_mass: expected calibration error in 15 bins of equal width or mass; nll; brier.
    * temperature, ece_cooled, nll_cooled: the temperature fitted on every second test sample, and
      ECE and NLL with it on the others.
    * separation_train, separation_test: class separation R^2 of the features.
    * auroc_softmax_X, auroc_logit_X, auroc_norm_X, fpr95_X: telling test images from those of the
      set X, by three scores; FPR at 95 % TPR is that of the softmax.
    * probe_X: test accuracy of a linear probe on the features of the labelled set X.

    Numbers that do not exist (a temperature when every sample is right, a separation with zero
    features, all of them when features are infinite) are left out.

    Args:
        network: trained.
        objective: that it was trained with.
        dataset: its data.
        others: sets that it has not seen.
    """
    train, test = look(network, dataset.train), look(network, dataset.test)
    if not (train.finite and test.finite):
        return Assessment({}, {}, np.zeros((0, 0)))
    found = _calibration(test) | _separation(train, test)
    for other in others:
        features, logits = embed(network, other.images)
        found |= _detection(other.name, test, features, logits)
        if other.labelled is not None:
            found[f"probe_{other.name}"] = _probe(network, other.labelled)
    evaluation = evaluate(objective, test)
    answers: dict[str, npt.NDArray[np.generic]] = {
        "logits": test.logits,
        "features": test.features,
        "guesses": evaluation.guesses,
        "correct": evaluation.correct,
    }
    numbers = {name: value for name, value in found.items() if math.isfinite(value)}
    return Assessment(numbers, answers, _layers(network, dataset.test.images[:MOST_COMPARED]))


def _calibration(test: Seen) -> dict[str, float]:
    z, y = test.logits, test.labels
    found = {
        "ece": reliability(z, y).ece,
        "ece_mass": reliability(z, y, binning="mass").ece,
        "nll": negative_log_likelihood(z, y),
        "brier": brier_score(z, y),
    }
    if len(y) < 2:
        return found
    T = fit_temperature(z[::2], y[::2]).value
    if T is not None:
        held_z, held_y = z[1::2] / T, y[1::2]
        found["temperature"] = T
        found["ece_cooled"] = reliability(held_z, held_y).ece
        found["nll_cooled"] = negative_log_likelihood(held_z, held_y)
    return found


def _separation(train: Seen, test: Seen) -> dict[str, float]:
    found = {}
    for which, seen in (("train", train), ("test", test)):
        try:
            found[f"separation_{which}"] = class_separation(seen.features, seen.labels).r_squared
        except InputError:  # zero features have no direction, and a test split may lack a class
            continue
    return found


def _detection(
    name: str, test: Seen, features: npt.NDArray[np.float32], logits: npt.NDArray[np.float32]
) -> dict[str, float]:
    by_softmax = detection(max_softmax(test.logits), max_softmax(logits))
    by_logit = detection(max_logit(test.logits), max_logit(logits))
    by_norm = detection(feature_norm(test.features), feature_norm(features))
    return {
        f"auroc_softmax_{name}": by_softmax.auroc,
        f"auroc_logit_{name}": by_logit.auroc,
        f"auroc_norm_{name}": by_norm.auroc,
        f"fpr95_{name}": by_softmax.fpr,
    }


def _probe(network: Network, other: Dataset) -> float:
    """Accuracy on the test split."""
    probe, _ = choose(embed(network, other.train.images)[0], other.train.labels, PROBE_GRID)
    return probe.accuracy(embed(network, other.test.images)[0], other.test.labels)


def _layers(network: Network, images: npt.NDArray[np.float32]) -> npt.NDArray[np.float64]:
    layers = activations(network, images)
    found = np.full((len(layers), len(layers)), np.nan)
    for i, one in enumerate(layers):
        for j, other in enumerate(layers[: i + 1]):
            try:
                found[i, j] = found[j, i] = linear_cka(one, other, debiased=True)
            except InputError:  # too few images, or a layer that is constant
                continue
    return found
