"""The model with free features that a training run is a realisation of, and the run beside it."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

from experiments.networks.architectures import Network
from experiments.networks.data import Split
from experiments.networks.runs.run import Run
from experiments.networks.theory import (
    Comparison,
    Measured,
    NoTheory,
    Prediction,
    compare,
    measured,
    predict_fixed,
    predict_free,
    predict_nonnegative,
)
from experiments.networks.training import Objective, Outcome, TrainSettings, look, ufm_model
from ufm.errors import InputError
from ufm.losses import Loss
from ufm.models.fixed_classifier import FixedClassifier
from ufm.plain.model import UFM


def matching_model(
    settings: TrainSettings,
    counts: Sequence[int],
    norms: tuple[float, float] | None = None,
) -> UFM | NoTheory:
    """The model with the loss, sizes and decays of a run whose classifier is trained.

    With ``FeatureDecay`` the decays are given. With ``WeightDecay`` of strength w those of W and b
    are w, and that of the features is estimated: at a stationary point of the model
    lambda_W |W|^2 = lambda_H |H|^2 (CE-3), so lambda_H = lambda_W |W|^2 / |H|^2 of the network.
    lambda_H goes with the sum over all N features, in both.
    Source: the model of Zhu et al. 2021 (arXiv 2105.02375); the estimate is derived here.

    Args:
        settings: of the run.
        counts: training samples per class.
        norms: (|W|^2, |H|^2) of the trained network; needed with ``WeightDecay`` only.

    Raises:
        InputError: ``WeightDecay`` without norms.

    Example:
        >>> from experiments.networks.training import WeightDecay
        >>> settings = TrainSettings(d=5, decay=WeightDecay(0.01))
        >>> matching_model(settings, [4, 4, 4], (2.0, 8.0)).lambda_H
        0.0025
    """
    objective, decay = settings.make_objective(), settings.decay
    lambda_W, lambda_H = decay.lambda_W, decay.lambda_H
    if lambda_H is None:
        if norms is None:
            rule = "Need the norms of the network to estimate lambda_H from weight decay"
            raise InputError(rule, None, "pass (|W|^2, |H|^2), or train with FeatureDecay")
        if lambda_W == 0:
            return NoTheory("without weight decay the objective has no minimiser")
        if min(norms) == 0:
            return NoTheory("W or H is zero, which leaves lambda_H without an estimate")
        lambda_H = (lambda_W + objective.extra_lambda_W) * norms[0] / norms[1]
    decays = lambda_W, lambda_H, decay.lambda_b if settings.bias else None
    return ufm_model(objective, counts, settings.dimension, *decays) or _no_loss(objective)


def _fixed_model(
    settings: TrainSettings, loss: Loss, counts: Sequence[int]
) -> FixedClassifier | NoTheory:
    """The model of a classifier fixed at a simplex ETF: given decays and equal counts only."""
    decay, K = settings.decay, len(counts)
    if decay.lambda_H is None:
        return NoTheory("a fixed classifier has no decay to estimate that of the features from")
    if min(counts) != max(counts):
        return NoTheory("no closed form is known for a fixed classifier and unequal counts")
    if settings.dimension < K and settings.nonnegative:
        return NoTheory("no closed form is known for non-negative features with d < K")
    lambda_b = decay.lambda_b if settings.bias else None
    return FixedClassifier(loss, K, counts[0], decay.lambda_H, lambda_b)


def prediction_of(
    settings: TrainSettings, counts: Sequence[int], norms: tuple[float, float]
) -> Prediction | NoTheory:
    """The minimum of the model that settings describe, or the reason why none is known.

    Args: as ``matching_model``.

    Example:
        >>> prediction_of(TrainSettings(d=5), [4, 4, 4], (1.0, 1.0)).frame
        'simplex ETF'
    """
    objective = settings.make_objective()
    if objective.ufm_loss is None:
        return _no_loss(objective)
    if not settings.penalised:
        return NoTheory(
            "decoupled decay is no part of the gradient: the run rests at critical points of the "
            "objective for other decays, if for any"
        )
    if settings.fixed_etf:
        fixed = _fixed_model(settings, objective.ufm_loss, counts)
        if isinstance(fixed, NoTheory):
            return fixed
        return predict_fixed(fixed, nonnegative=settings.nonnegative)
    model = matching_model(settings, counts, norms)
    if isinstance(model, NoTheory):
        return model
    return predict_nonnegative(model) if settings.nonnegative else predict_free(model)


def _no_loss(objective: Objective) -> NoTheory:
    return NoTheory(f"{objective.name} is no function of the logits alone")


def _beside(settings: TrainSettings, found: Measured) -> Comparison | NoTheory:
    theory = prediction_of(settings, found.counts, (found.W_squared, found.H_squared))
    if isinstance(theory, NoTheory):
        return theory
    return compare(found, theory, estimated=settings.decay.lambda_H is None)


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
    objective = settings.make_objective()
    if objective.ufm_loss is None:
        return _no_loss(objective)
    seen = look(network, Split(np.asarray(images), np.asarray(labels)))
    return _beside(
        settings, measured(objective.ufm_loss, seen.features, seen.W, seen.b, seen.labels)
    )


def run_against_theory(run: Run) -> Comparison | NoTheory:
    """Compare a run with the minimum of the model that its settings describe.

    The same as ``network_against_theory`` at the last measurement, without the network.

    Args:
        run: with an outcome.
    """
    if run.outcome is not Outcome.COMPLETED:
        return NoTheory(f"the run did not end: {run.outcome.value}")
    numbers = run.final
    if "square_W" not in numbers:
        return NoTheory("its features are no longer finite")
    found = Measured(
        loss=numbers["train_loss"],
        W_squared=numbers["square_W"],
        H_squared=numbers["square_H"],
        b_squared=numbers["square_b"],
        gap=numbers["logit_gap"],
        gap_spread=numbers["logit_gap_spread"],
        counts=run.counts,
    )
    return _beside(run.request.settings, found)
