"""The objectives by name, their constants, and their unconstrained feature models."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Mapping, Sequence

from experiments import losses
from experiments.models import built_loss
from experiments.nearest import unknown
from experiments.networks.training.objective import Objective, PlainObjective
from experiments.networks.training.over_parameterised import OverParameterised
from experiments.networks.training.softmax_variants import (
    CosineSoftmax,
    Dropout,
    ExtraL2,
    LogitNormalisation,
    LogitPenalty,
    Sigmoid,
)
from ufm.errors import InputError
from ufm.losses import CrossEntropy, LabelSmoothing, RescaledMSE, Scaled
from ufm.plain.model import UFM


def softmax() -> PlainObjective:
    """Cross entropy under the name it has among the nine.

    Example:
        >>> softmax().name
        'softmax'
    """
    return PlainObjective(CrossEntropy(), "softmax")


def label_smoothing(smoothing: float = 0.1) -> PlainObjective:
    """Label smoothing times 1 / (1 - smoothing), which keeps the true class's weight at 1.

    Example:
        >>> label_smoothing().ufm_loss.name
        '1.11111 * ls(0.1)'
    """
    inner = LabelSmoothing(smoothing)
    return PlainObjective(Scaled(inner, 1 / (1 - smoothing)), f"label-smoothing({smoothing:g})")


def squared_error(kappa: float = 9.0, target: float = 60.0, scale: float = 10.0) -> PlainObjective:
    """scale (kappa (z_k - target)^2 + sum_{j != k} z_j^2): twice scale times the rescaled MSE.

    Example:
        >>> squared_error().ufm_loss.name
        '20 * rescaled-mse(9,60)'
    """
    loss = Scaled(RescaledMSE(kappa, target), 2 * scale)
    return PlainObjective(loss, f"squared-error({kappa:g},{target:g},{scale:g})")


# In the order of the tables of Kornblith et al., with the constants of their ImageNet experiments.
MAKERS: Mapping[str, Callable[..., Objective]] = {
    "softmax": softmax,
    "label-smoothing": label_smoothing,
    "dropout": Dropout,
    "extra-l2": ExtraL2,
    "logit-penalty": LogitPenalty,
    "logit-normalisation": LogitNormalisation,
    "cosine-softmax": CosineSoftmax,
    "sigmoid": Sigmoid,
    "squared-error": squared_error,
    "sop": OverParameterised,
}
# Their numbers come from the class sizes of a model; a network is trained without them.
BY_CLASS_SIZES = ("logit-adjusted", "weighted-ce", "vs", "ldam")
# Name -> parameters and defaults; those of the losses of ufm are the command line's.
PARAMETERS: Mapping[str, Mapping[str, float]] = {
    **{name: losses.PARAMETERS[name] for name in losses.PARAMETERS if name not in BY_CLASS_SIZES},
    **{
        name: {key: value.default for key, value in inspect.signature(maker).parameters.items()}
        for name, maker in MAKERS.items()
    },
}


def objective_parameters(name: str, **given: float) -> dict[str, float]:
    """All parameters of an objective, those given and the defaults of the others.

    A user's own loss (FILE.py:NAME or MODULE:NAME) has none.

    Raises:
        InputError: an unknown objective or parameter; the closest name is in the message.

    Example:
        >>> objective_parameters("squared-error", target=15.0)
        {'kappa': 9.0, 'target': 15.0, 'scale': 10.0}
    """
    if ":" not in name and name not in PARAMETERS:
        raise unknown(name, PARAMETERS, "objective")
    defaults = PARAMETERS.get(name, {})
    for parameter in given:
        if not defaults:
            remedy = f"drop {parameter}"
            raise InputError(f"The objective {name} has no parameters", parameter, remedy)
        if parameter not in defaults:
            raise unknown(parameter, defaults, f"parameter of {name}")
    return {**defaults, **{key: float(value) for key, value in given.items()}}


def make_objective(name: str, **parameters: float) -> Objective:
    """The objective of that name; parameters left out have the constants of their papers.

    Args:
        name: a loss of ``ufm`` (ce, ls, focal, mse, rescaled-mse, bce), one of ``MAKERS``,
            or a user's own loss as FILE.py:NAME or MODULE:NAME.
        parameters: of that objective, see ``PARAMETERS``.

    Raises:
        InputError: an unknown name or parameter, or a value out of its domain.

    Example:
        >>> make_objective("ls", smoothing=0.05).name, make_objective("dropout").name
        ('ls(0.05)', 'dropout(0.7)')
    """
    every = objective_parameters(name, **parameters)
    if name in MAKERS:
        return MAKERS[name](**every)
    return PlainObjective(built_loss(losses.LossChoice(name, every)))


def ufm_model(
    objective: Objective,
    counts: Sequence[int],
    d: int,
    lambda_W: float,
    lambda_H: float,
    lambda_b: float | None,
) -> UFM | None:
    """The unconstrained feature model that a network with this objective is compared to, or None.

    Args: as ``UFM``; an objective's own decay of W is added to ``lambda_W``.

    Example:
        >>> decays = {"lambda_W": 1e-3, "lambda_H": 1e-3, "lambda_b": None}
        >>> round(ufm_model(make_objective("extra-l2"), [4, 4, 4], 5, **decays).lambda_W, 6)
        0.0018
    """
    loss = objective.ufm_loss
    if loss is None:
        return None
    total = lambda_W + objective.extra_lambda_W
    return UFM(loss, counts=counts, d=d, lambda_W=total, lambda_H=lambda_H, lambda_b=lambda_b)
