"""Training a network on an objective: settings, steps, epochs, checkpoints."""

from experiments.networks.training.augment import Augmentation
from experiments.networks.training.checkpoint import load_checkpoint, save_checkpoint
from experiments.networks.training.decay import FeatureDecay, WeightDecay
from experiments.networks.training.loop import continued, epochs, start, train
from experiments.networks.training.progress import EpochRecord, Outcome, Progress
from experiments.networks.training.schedule import SCHEDULES, learning_rate
from experiments.networks.training.settings import TrainSettings, initial_network
from experiments.networks.training.step import StepValues, TrainState, make_step

__all__ = [
    "SCHEDULES",
    "Augmentation",
    "EpochRecord",
    "FeatureDecay",
    "Outcome",
    "Progress",
    "StepValues",
    "TrainSettings",
    "TrainState",
    "WeightDecay",
    "continued",
    "epochs",
    "initial_network",
    "learning_rate",
    "load_checkpoint",
    "make_step",
    "save_checkpoint",
    "start",
    "train",
]
