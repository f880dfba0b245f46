"""Unconstrained feature models: exact models, closed forms, reductions and certificates.

Importing this package switches JAX to float64 (``jax_enable_x64``), because every statement the
lab makes is a float64 statement. Set ``UFM_ENABLE_X64=0`` to leave JAX as it is; verdicts are then
refused until you switch it on yourself.
"""

import os

import jax

if os.environ.get("UFM_ENABLE_X64", "1") != "0":
    jax.config.update("jax_enable_x64", True)

from ufm.answers import Certificate, Minimiser
from ufm.collapse import Collapse, collapse
from ufm.errors import InputError
from ufm.frames import merged_code, orthogonal_frame, polygon, simplex_etf
from ufm.losses import (
    MSE,
    CrossEntropy,
    Focal,
    LabelSmoothing,
    Loss,
    RescaledMSE,
    UserLoss,
)
from ufm.model import Model
from ufm.models.regression import Regression
from ufm.plain.certificate import certificate
from ufm.plain.minimisers import global_minimiser
from ufm.plain.model import UFM
from ufm.plain.reduce import full_spectrum, lift, reduce
from ufm.plain.spectra import minimiser_spectrum, origin_spectrum
from ufm.plain.symmetry import predicted_nullity
from ufm.point import Point
from ufm.spectrum import Spectrum
from ufm.version import __version__

__all__ = [
    "MSE",
    "UFM",
    "Certificate",
    "Collapse",
    "CrossEntropy",
    "Focal",
    "InputError",
    "LabelSmoothing",
    "Loss",
    "Minimiser",
    "Model",
    "Point",
    "Regression",
    "RescaledMSE",
    "Spectrum",
    "UserLoss",
    "__version__",
    "certificate",
    "collapse",
    "full_spectrum",
    "global_minimiser",
    "lift",
    "merged_code",
    "minimiser_spectrum",
    "origin_spectrum",
    "orthogonal_frame",
    "polygon",
    "predicted_nullity",
    "reduce",
    "simplex_etf",
]
