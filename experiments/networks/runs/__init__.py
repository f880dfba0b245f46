"""One training run as a folder: what was asked for, the curve, and what the network can do."""

from experiments.networks.runs.against_theory import (
    matching_model,
    network_against_theory,
    prediction_of,
    run_against_theory,
)
from experiments.networks.runs.out_of_distribution import OtherSet, other_sets
from experiments.networks.runs.request import DataRequest, RunRequest
from experiments.networks.runs.run import Run, perform, read_run

__all__ = [
    "DataRequest",
    "OtherSet",
    "Run",
    "RunRequest",
    "matching_model",
    "network_against_theory",
    "other_sets",
    "perform",
    "prediction_of",
    "read_run",
    "run_against_theory",
]
