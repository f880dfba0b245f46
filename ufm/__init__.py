"""Unconstrained feature models: exact models, closed forms, reductions and certificates.

Importing this package switches JAX to float64 (``jax_enable_x64``), because every statement the
lab makes is a float64 statement. Set ``UFM_ENABLE_X64=0`` to leave JAX as it is; verdicts are then
refused until you switch it on yourself.
"""

import os

import jax

if os.environ.get("UFM_ENABLE_X64", "1") != "0":
    jax.config.update("jax_enable_x64", True)

from ufm.answers import (
    Certificate,
    Code,
    Direction,
    HiddenBlock,
    Merge,
    Minimiser,
    Restriction,
    Structure,
)
from ufm.collapse import CONVENTIONS, Collapse, CollapseMetric, collapse
from ufm.errors import InputError
from ufm.frames import merged_code, orthogonal_frame, polygon, simplex_etf
from ufm.losses import (
    BCE,
    MSE,
    AdjustedCrossEntropy,
    CrossEntropy,
    Fact,
    Focal,
    LabelSmoothing,
    Loss,
    Properties,
    RescaledMSE,
    UserLoss,
    class_weighted,
    ldam,
    logit_adjusted,
    vector_scaling,
)
from ufm.losses.focal import focal_convexity_threshold
from ufm.model import Model
from ufm.models.constrained_rate import ConstrainedRate, constrained_rate
from ufm.models.contrastive import Contrastive, contrastive
from ufm.models.deep_linear import DeepLinear, deep_linear
from ufm.models.deep_relu import DeepReLU, deep_relu
from ufm.models.equilibrium import Equilibrium, equilibrium
from ufm.models.fixed_classifier import Features, FixedClassifier, fixed_minimiser
from ufm.models.graph import GraphUFM, graph, graph_of
from ufm.models.graph_chance import equal_counts_probability
from ufm.models.graph_network import GraphNetwork, graph_network
from ufm.models.layer_peeled import LayerPeeled, layer_peeled
from ufm.models.merging_ratio import merging_ratio
from ufm.models.multilabel import MultiLabel, multilabel
from ufm.models.nonnegative import Nonnegative, nonnegative_minimiser, nonnegative_threshold
from ufm.models.ordinal import Ordinal, ordinal
from ufm.models.rate_reduction import RateReduction, rate_reduction
from ufm.models.regression import Regression
from ufm.models.sample_types import SampleTypes
from ufm.models.seli import Margins, seli, simplex_encoded_labels
from ufm.models.soft_labels import SoftLabels, soft_labels
from ufm.models.sphere import Sphere
from ufm.models.symmetric import Symmetric, Symmetry
from ufm.models.tasks import Tasks, tasks
from ufm.plain.duality_gap import certificate
from ufm.plain.minimisers import Thresholds, global_minimiser, thresholds
from ufm.plain.model import UFM
from ufm.plain.reduce import full_spectrum, lift, reduce
from ufm.plain.spectra import classifier_spectrum, minimiser_spectrum, origin_spectrum
from ufm.plain.symmetry import predicted_nullity
from ufm.point import Point, as_rows, flatten, rotation_generators, skew_basis, unflatten
from ufm.records import pytree_record
from ufm.registered import MODELS, Parameter, Registered, declared, registered
from ufm.spectrum import Level, Spectrum
from ufm.stack import stack, stacked_size
from ufm.version import __version__

__all__ = [
    "BCE",
    "CONVENTIONS",
    "MODELS",
    "MSE",
    "UFM",
    "AdjustedCrossEntropy",
    "Certificate",
    "Code",
    "Collapse",
    "CollapseMetric",
    "ConstrainedRate",
    "Contrastive",
    "CrossEntropy",
    "DeepLinear",
    "DeepReLU",
    "Direction",
    "Equilibrium",
    "Fact",
    "Features",
    "FixedClassifier",
    "Focal",
    "GraphNetwork",
    "GraphUFM",
    "HiddenBlock",
    "InputError",
    "LabelSmoothing",
    "LayerPeeled",
    "Level",
    "Loss",
    "Margins",
    "Merge",
    "Minimiser",
    "Model",
    "MultiLabel",
    "Nonnegative",
    "Ordinal",
    "Parameter",
    "Point",
    "Properties",
    "RateReduction",
    "Registered",
    "Regression",
    "RescaledMSE",
    "Restriction",
    "SampleTypes",
    "SoftLabels",
    "Spectrum",
    "Sphere",
    "Structure",
    "Symmetric",
    "Symmetry",
    "Tasks",
    "Thresholds",
    "UserLoss",
    "__version__",
    "as_rows",
    "certificate",
    "class_weighted",
    "classifier_spectrum",
    "collapse",
    "constrained_rate",
    "contrastive",
    "declared",
    "deep_linear",
    "deep_relu",
    "equal_counts_probability",
    "equilibrium",
    "fixed_minimiser",
    "flatten",
    "focal_convexity_threshold",
    "full_spectrum",
    "global_minimiser",
    "graph",
    "graph_network",
    "graph_of",
    "layer_peeled",
    "ldam",
    "lift",
    "logit_adjusted",
    "merged_code",
    "merging_ratio",
    "minimiser_spectrum",
    "multilabel",
    "nonnegative_minimiser",
    "nonnegative_threshold",
    "ordinal",
    "origin_spectrum",
    "orthogonal_frame",
    "polygon",
    "predicted_nullity",
    "pytree_record",
    "rate_reduction",
    "reduce",
    "registered",
    "rotation_generators",
    "seli",
    "simplex_encoded_labels",
    "simplex_etf",
    "skew_basis",
    "soft_labels",
    "stack",
    "stacked_size",
    "tasks",
    "thresholds",
    "unflatten",
    "vector_scaling",
]
