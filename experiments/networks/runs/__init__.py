"""One training run as a folder: what was asked for, the curve, and what the network can do."""

from experiments.networks.runs.assess import Assessment, assess
from experiments.networks.runs.others import OtherSet, other_sets
from experiments.networks.runs.request import DataRequest, RunRequest
from experiments.networks.runs.run import Run, perform, read_run

__all__ = [
    "Assessment",
    "DataRequest",
    "OtherSet",
    "Run",
    "RunRequest",
    "assess",
    "other_sets",
    "perform",
    "read_run",
]
