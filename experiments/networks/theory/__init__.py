"""What the unconstrained feature model predicts of a trained network, and how far that is true.

``matching_model`` turns the settings of a run into a model, ``predict`` the model into numbers, and
``compare`` sets a network's own beside them.
"""

from experiments.networks.theory.comparison import (
    Comparison,
    Quantity,
    compare,
    network_against_theory,
)
from experiments.networks.theory.matching import NoTheory, matching_model
from experiments.networks.theory.prediction import Prediction, predict

__all__ = [
    "Comparison",
    "NoTheory",
    "Prediction",
    "Quantity",
    "compare",
    "matching_model",
    "network_against_theory",
    "predict",
]
