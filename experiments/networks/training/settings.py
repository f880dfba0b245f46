"""Everything that a training run is determined by, apart from the data."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from typing import Any

import jax

from experiments.files import fingerprint
from experiments.losses import LossChoice
from experiments.networks.architectures import (
    Architecture,
    Network,
    build_network,
    natural_dimension,
)
from experiments.networks.architectures.network import PRECISIONS
from experiments.networks.options import TrainingOptions
from experiments.networks.training.augment import Augmentation
from experiments.networks.training.decay import FeatureDecay, WeightDecay, require_not_negative
from experiments.networks.training.named_objectives import make_objective, objective_parameters
from experiments.networks.training.objective import Objective
from experiments.networks.training.optimisers import ADAM, RATES
from experiments.networks.training.schedule import SCHEDULES
from ufm.errors import InputError, require_count, require_positive

# The random keys of a run: one for each use, so that none changes with another.
NETWORK_KEY, SAMPLES_KEY, STEPS_KEY = 0, 1, 2


@dataclass(frozen=True)
class TrainSettings(TrainingOptions):
    """Settings of a training run, checked when they are made.

    Args:
        objective: name, see ``make_objective``.
        parameters: of the objective; those left out get their defaults here.
        d: feature dimension; None for the one that adds no narrower layer.
        bias: whether the classifier has a bias.
        fixed_etf: fix the classifier at a simplex ETF.
        epochs: >= 1.
        batch_size: >= 1, or 0 for all samples at once. What is left over by the last full batch
            sits an epoch out, other samples each time.
        optimizer: sgd, adam, adamw or signsgd, see ``direction``.
        decoupled: whether the decay of parameters is left out of the gradient and shrinks them
            beside the step, theta <- theta - rate (direction + decay theta); adamw is adam with it.
        learning_rate: of the first epoch, > 0; None for that of the optimiser (``RATES``).
        schedule: cosine, step or constant, see ``learning_rate``.
        momentum: in [0, 1), PyTorch's convention (no dampening); beta1 of Adam.
        nesterov: look ahead along the momentum; of sgd and signsgd.
        max_gradient_norm: longer gradients are shortened to this norm before they enter the
            momentum; 0 leaves them. Squared errors with large targets start with gradients that the
            learning rates of the others do not survive.
        seed: >= 0, of the parameters, the order of samples, dropout and augmentation.
        precision: float32 or bfloat16, see ``Network``.
        architecture: the feature extractor.
        decay: ``FeatureDecay`` or ``WeightDecay``.
        augmentation: of the training images.

    Raises:
        InputError: a value outside its domain, or two that contradict each other.

    Example:
        >>> TrainSettings("ls", {"smoothing": 0.05}, epochs=3).make_objective().name
        'ls(0.05)'
    """

    architecture: Architecture = field(default_factory=Architecture)
    decay: FeatureDecay | WeightDecay = field(default_factory=WeightDecay)
    augmentation: Augmentation = field(default_factory=Augmentation)

    def __post_init__(self) -> None:
        every = objective_parameters(self.objective, **self.parameters)
        object.__setattr__(self, "parameters", every)
        self.make_objective()
        if self.d is not None:
            require_count(self.d, "d", 1, "use a feature dimension of one or more")
        require_count(self.epochs, "epochs", 1, "train for one epoch or more")
        require_count(self.batch_size, "batch_size", 0, "use 0 for all samples at once")
        if self.optimizer not in RATES:
            remedy = f"use one of {', '.join(RATES)}"
            raise InputError("Need an optimizer of the lab", repr(self.optimizer), remedy)
        if self.optimizer == "adamw":
            object.__setattr__(self, "decoupled", True)
        if self.learning_rate is None:
            object.__setattr__(self, "learning_rate", RATES[self.optimizer])
        require_positive(self.first_rate, "learning_rate", "use a value such as 0.05")
        require_count(self.seed, "seed", 0, "use 0 or more")
        if self.schedule not in SCHEDULES:
            remedy = f"use one of {', '.join(SCHEDULES)}"
            raise InputError("Need a schedule of the lab", repr(self.schedule), remedy)
        if not (math.isfinite(self.momentum) and 0 <= self.momentum < 1):
            raise InputError("Need a momentum in [0, 1)", self.momentum, "use 0.9, or 0 for none")
        require_not_negative(self.max_gradient_norm, "max_gradient_norm")
        if self.nesterov and self.momentum == 0:
            raise InputError("nesterov needs momentum > 0", self.momentum, "use momentum 0.9")
        if self.nesterov and self.optimizer in ADAM:
            raise InputError("nesterov is of sgd and signsgd", self.optimizer, "drop it")
        if self.precision not in PRECISIONS:
            remedy = f"use one of {', '.join(PRECISIONS)}"
            raise InputError("Need a precision of the lab", repr(self.precision), remedy)
        if not self.bias and self.decay.lambda_H is not None and self.decay.lambda_b:
            got, remedy = f"lambda_b={self.decay.lambda_b}", "set lambda_b to 0, or bias to True"
            raise InputError("lambda_b needs a bias", got, remedy)

    @property
    def dimension(self) -> int:
        """The feature dimension d, that of the last hidden layer where none was asked for."""
        return natural_dimension(self.architecture) if self.d is None else self.d

    @property
    def first_rate(self) -> float:
        """The learning rate of the first epoch."""
        return RATES[self.optimizer] if self.learning_rate is None else self.learning_rate

    @property
    def penalised(self) -> bool:
        """Whether the run rests where the objective with its decay has a critical point.

        Not with decoupled decay: SGD rests at those of (1 - momentum) decay, and Adam at none.
        """
        plain = self.optimizer == "sgd" and self.momentum == 0
        return plain or not self.decoupled

    @property
    def nonnegative(self) -> bool:
        """Whether the features leave a ReLU."""
        return self.architecture.features == "relu"

    def make_objective(self) -> Objective:
        """The objective, made anew."""
        return make_objective(self.objective, **self.parameters)

    def record(self) -> dict[str, Any]:
        """The settings as JSON can hold them."""
        decay = {"mode": self.decay.mode, **asdict(self.decay)}
        return {**asdict(self), "architecture": self.architecture.record(), "decay": decay}

    @staticmethod
    def from_record(record: Mapping[str, Any]) -> TrainSettings:
        """The settings of which ``record`` is the record.

        Raises:
            InputError: it is not the record of settings.

        Example:
            >>> TrainSettings.from_record(TrainSettings(d=5).record()) == TrainSettings(d=5)
            True
        """
        modes = {"ufm": FeatureDecay, "all": WeightDecay}
        try:
            decay = dict(record["decay"])
            made = {
                "architecture": Architecture(**record["architecture"]),
                "augmentation": Augmentation(**record["augmentation"]),
                "decay": modes[decay.pop("mode")](**decay),
            }
            return TrainSettings(**{**record, **made})
        except (KeyError, TypeError) as error:
            remedy = "make it by TrainSettings.record()"
            raise InputError("Need the record of training settings", error, remedy) from error

    @property
    def key(self) -> str:
        """16 hex digits that change with any setting, and with a user's own loss or network."""
        text = json.dumps(self.record(), sort_keys=True)
        source = LossChoice(self.objective, {}).source() if ":" in self.objective else ""
        source += self.architecture.source()
        if not source:
            return fingerprint(text.encode())
        return fingerprint(source.encode(errors="surrogateescape"), text)

    def random_key(self, use: int) -> Any:
        """The random key of one use."""
        return jax.random.fold_in(jax.random.key(self.seed), use)


def initial_network(
    settings: TrainSettings, image_shape: tuple[int, int, int], num_classes: int
) -> Network:
    """The network before training: it depends on the seed and on what it is built of, only.

    Example:
        >>> initial_network(TrainSettings(d=5), (2, 3, 1), 3).head.W.shape
        (3, 5)
    """
    return build_network(
        settings.architecture,
        image_shape,
        num_classes,
        settings.d,
        settings.random_key(NETWORK_KEY),
        bias=settings.bias,
        fixed_etf=settings.fixed_etf,
        precision=settings.precision,
    )
