"""Training a network on an objective: settings, steps, epochs, checkpoints, and what is measured.

Objectives are the losses of ``ufm``, Kornblith's nine, over-parameterisation, and a user's own.
"""

import experiments.networks.architectures  # noqa: F401  says what to install without equinox
from experiments.networks.training.augment import Augmentation
from experiments.networks.training.checkpoint import load_checkpoint, save_checkpoint
from experiments.networks.training.decay import FeatureDecay, WeightDecay
from experiments.networks.training.evaluate import Seen, evaluate, look
from experiments.networks.training.loop import continued, epochs, start, train
from experiments.networks.training.monitor import CURVATURE_EPOCHS, Monitor
from experiments.networks.training.named_objectives import PARAMETERS, make_objective, ufm_model
from experiments.networks.training.objective import Objective
from experiments.networks.training.progress import EpochRecord, Outcome, Progress
from experiments.networks.training.schedule import learning_rate
from experiments.networks.training.settings import TrainSettings, initial_network
from experiments.networks.training.step import StepValues, make_step

__all__ = [
    "CURVATURE_EPOCHS",
    "PARAMETERS",
    "Augmentation",
    "EpochRecord",
    "FeatureDecay",
    "Monitor",
    "Objective",
    "Outcome",
    "Progress",
    "Seen",
    "StepValues",
    "TrainSettings",
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
    "save_checkpoint",
    "start",
    "train",
    "ufm_model",
]
