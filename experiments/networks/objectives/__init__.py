"""What networks are trained on: the losses of ``ufm``, Kornblith's nine, over-parameterisation."""

from experiments.networks.objectives.kornblith import (
    CosineSoftmax,
    Dropout,
    ExtraL2,
    LogitNormalisation,
    LogitPenalty,
    Sigmoid,
)
from experiments.networks.objectives.objective import Objective
from experiments.networks.objectives.over_parameterised import OverParameterised
from experiments.networks.objectives.plain import PlainObjective
from experiments.networks.objectives.registry import (
    KORNBLITH,
    PARAMETERS,
    make_objective,
    objective_parameters,
    ufm_loss,
    ufm_model,
)
from experiments.networks.objectives.scaled import Scaled

__all__ = [
    "KORNBLITH",
    "PARAMETERS",
    "CosineSoftmax",
    "Dropout",
    "ExtraL2",
    "LogitNormalisation",
    "LogitPenalty",
    "Objective",
    "OverParameterised",
    "PlainObjective",
    "Scaled",
    "Sigmoid",
    "make_objective",
    "objective_parameters",
    "ufm_loss",
    "ufm_model",
]
