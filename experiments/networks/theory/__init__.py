"""What the unconstrained feature model predicts of features and classifier, and how far that holds.

``predict_free``, ``predict_nonnegative`` and ``predict_fixed`` turn a model into numbers, and
``compare`` sets those of arrays beside them. No network is needed: which model a training run is a
realisation of is said in ``experiments.networks.runs``.
"""

from experiments.networks.theory.comparison import Comparison, Measured, Quantity, compare, measured
from experiments.networks.theory.prediction import (
    NoTheory,
    Prediction,
    predict_fixed,
    predict_free,
    predict_nonnegative,
)

__all__ = [
    "Comparison",
    "Measured",
    "NoTheory",
    "Prediction",
    "Quantity",
    "compare",
    "measured",
    "predict_fixed",
    "predict_free",
    "predict_nonnegative",
]
