"""The model with free features that a training run is a realisation of, if it is one."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from experiments.networks.architectures import natural_dimension
from experiments.networks.objectives import ufm_model
from experiments.networks.training import FeatureDecay, TrainSettings
from ufm.errors import InputError
from ufm.losses import Loss
from ufm.models.fixed_classifier import FixedClassifier
from ufm.plain.model import UFM


@dataclass(frozen=True)
class NoTheory:
    """The answer that no prediction is known, with the reason; it counts as false.

    Example:
        >>> bool(NoTheory("the features are of unknown sign"))
        False
    """

    reason: str

    def __bool__(self) -> bool:
        return False


def matching_model(
    settings: TrainSettings,
    counts: Sequence[int],
    norms: tuple[float, float] | None = None,
) -> UFM | FixedClassifier | NoTheory:
    """The model with the loss, sizes and decays of a run.

    With ``FeatureDecay`` the decays are given. With ``WeightDecay`` of strength w those of W and b
    are w, and that of the features is estimated: at a stationary point of the model
    lambda_W |W|^2 = lambda_H |H|^2 (CE-3), so lambda_H = lambda_W |W|^2 / |H|^2 of the network.
    lambda_H goes with the sum over all N features, in both. A fixed classifier has a model of its
    own, with given decays and equal counts only.
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
    if objective.ufm_loss is None:
        return NoTheory(f"{objective.name} is no function of the logits alone")
    extra = objective.extra_lambda_W
    d = natural_dimension(settings.architecture) if settings.d is None else settings.d
    if settings.fixed_etf:
        return _fixed(settings, objective.ufm_loss, counts, d)
    if isinstance(decay, FeatureDecay):
        lambda_W, lambda_H, lambda_b = decay.lambda_W, decay.lambda_H, decay.lambda_b
    else:
        if norms is None:
            rule = "Need the norms of the network to estimate lambda_H from weight decay"
            raise InputError(rule, None, "pass (|W|^2, |H|^2), or train with FeatureDecay")
        if decay.weight_decay == 0:
            return NoTheory("without weight decay the objective has no minimiser")
        if min(norms) == 0:
            return NoTheory("W or H is zero, which leaves lambda_H without an estimate")
        lambda_W = lambda_b = decay.weight_decay
        lambda_H = (lambda_W + extra) * norms[0] / norms[1]
    return ufm_model(
        objective,
        counts,
        d,
        lambda_W=lambda_W,
        lambda_H=lambda_H,
        lambda_b=lambda_b if settings.bias else None,
    ) or NoTheory(f"{objective.name} has no unconstrained feature model")


def _fixed(
    settings: TrainSettings, loss: Loss, counts: Sequence[int], d: int
) -> FixedClassifier | NoTheory:
    decay, K = settings.decay, len(counts)
    if not isinstance(decay, FeatureDecay):
        return NoTheory("a fixed classifier has no decay to estimate that of the features from")
    if min(counts) != max(counts):
        return NoTheory("no closed form is known for a fixed classifier and unequal counts")
    if d < K and settings.architecture.features == "relu":
        return NoTheory("no closed form is known for non-negative features with d < K")
    lambda_b = decay.lambda_b if settings.bias else None
    return FixedClassifier(loss, K, counts[0], decay.lambda_H, lambda_b)
