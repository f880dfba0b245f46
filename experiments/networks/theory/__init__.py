"""What unconstrained feature models predict of features and classifier, and how far that holds.

``predict_free``, ``predict_nonnegative``, ``predict_fixed``, ``predict_sphere`` turn a model into
numbers, and ``compare`` sets those of arrays beside them. ``appraise`` finds out which of them
applies to arrays of unknown origin, and whether they are at a minimum at all. No network is needed:
which model a training run is a realisation of is said in ``experiments.networks.runs``.
"""

from experiments.networks.theory.appraisal import Terms, appraise, headline, quantities
from experiments.networks.theory.comparison import Comparison, Measured, Quantity, compare, measured
from experiments.networks.theory.measurement import Measurement, measure, measure_batches
from experiments.networks.theory.prediction import (
    NoTheory,
    Prediction,
    predict_fixed,
    predict_free,
    predict_nonnegative,
)
from experiments.networks.theory.sample_sums import census

__all__ = [
    "Comparison",
    "Measured",
    "Measurement",
    "NoTheory",
    "Prediction",
    "Quantity",
    "Terms",
    "appraise",
    "census",
    "compare",
    "headline",
    "measure",
    "measure_batches",
    "measured",
    "predict_fixed",
    "predict_free",
    "predict_nonnegative",
    "quantities",
]
