"""Training a network on an objective: settings, steps, epochs, checkpoints, and what is measured.

Objectives are the losses of ``ufm``, Kornblith's nine, over-parameterisation, and a user's own.
"""

import experiments.networks.architectures  # noqa: F401  says what to install without equinox
from experiments.networks.training.augment import Augmentation
from experiments.networks.training.checkpoint import load_checkpoint, save_checkpoint
from experiments.networks.training.decay import FeatureDecay, WeightDecay
from experiments.networks.training.evaluate import Evaluation, Seen, evaluate, look
from experiments.networks.training.loop import continued, epochs, start, train
from experiments.networks.training.monitor import CURVATURE_EPOCHS, Monitor
from experiments.networks.training.named_objectives import (
    PARAMETERS,
    make_objective,
    objective_parameters,
    ufm_model,
)
from experiments.networks.training.objective import Objective, PlainObjective
from experiments.networks.training.over_parameterised import OverParameterised
from experiments.networks.training.progress import EpochRecord, Outcome, Progress
from experiments.networks.training.schedule import SCHEDULES, learning_rate
from experiments.networks.training.settings import TrainSettings, initial_network
from experiments.networks.training.softmax_variants import (
    CosineSoftmax,
    Dropout,
    ExtraL2,
    LogitNormalisation,
    LogitPenalty,
    Sigmoid,
)
from experiments.networks.training.step import StepValues, TrainState, make_step

__all__ = [
    "CURVATURE_EPOCHS",
    "PARAMETERS",
    "SCHEDULES",
    "Augmentation",
    "CosineSoftmax",
    "Dropout",
    "EpochRecord",
    "Evaluation",
    "ExtraL2",
    "FeatureDecay",
    "LogitNormalisation",
    "LogitPenalty",
    "Monitor",
    "Objective",
    "Outcome",
    "OverParameterised",
    "PlainObjective",
    "Progress",
    "Seen",
    "Sigmoid",
    "StepValues",
    "TrainSettings",
    "TrainState",
    "WeightDecay",
    "continued",
    "epochs",
    "evaluate",
    "initial_network",
    "learning_rate",
    "load_checkpoint",
    "look",
    "make_objective",
    "make_step",
    "objective_parameters",
    "save_checkpoint",
    "start",
    "train",
    "ufm_model",
]
