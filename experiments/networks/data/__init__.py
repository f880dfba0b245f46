"""Labelled images from packages and files on this machine, and changes of them; no downloads."""

from experiments.networks.data.changes import (
    asymmetric_noise,
    balanced,
    choose_classes,
    long_tail,
    random_labels,
    standardise,
    step_imbalance,
    subset,
    symmetric_noise,
)
from experiments.networks.data.record import Dataset, Split, Standardisation
from experiments.networks.data.registry import SOURCES, load

__all__ = [
    "SOURCES",
    "Dataset",
    "Split",
    "Standardisation",
    "asymmetric_noise",
    "balanced",
    "choose_classes",
    "load",
    "long_tail",
    "random_labels",
    "standardise",
    "step_imbalance",
    "subset",
    "symmetric_noise",
]
