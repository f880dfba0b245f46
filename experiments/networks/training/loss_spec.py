"""An objective and its parameters, as they are written on the command line."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from experiments.networks.training.named_objectives import make_objective, objective_parameters
from ufm.errors import InputError


@dataclass(frozen=True)
class LossSpec:
    """An objective and its parameters, as in ``focal gamma=3``.

    Raises:
        InputError: an unknown objective or parameter, or a value outside its domain.

    Example:
        >>> LossSpec("focal", {"gamma": 3.0}).label
        'focal(3)'
    """

    name: str
    parameters: Mapping[str, float] = field(default_factory=dict)

    def __post_init__(self) -> None:
        object.__setattr__(self, "parameters", objective_parameters(self.name, **self.parameters))
        make_objective(self.name, **self.parameters)

    @property
    def label(self) -> str:
        """The name of the objective with its parameters."""
        return make_objective(self.name, **self.parameters).name


def read_loss_spec(text: str) -> LossSpec:
    """An objective as it is written on the command line: its name, then NAME=VALUE.

    Raises:
        InputError: as ``LossSpec``, or a word that is no NAME=VALUE.

    Example:
        >>> read_loss_spec("rescaled-mse kappa=5 target=2").label
        'rescaled-mse(5,2)'
    """
    words = text.split()
    if not words:
        raise InputError("Need the name of an objective", repr(text), "for example ce")
    given = {}
    for word in words[1:]:
        name, sign, value = word.partition("=")
        try:
            given[name] = float(value)
        except ValueError:
            sign = ""
        if not sign:
            remedy = 'write for example "focal gamma=3"'
            raise InputError("Need parameters of an objective as NAME=VALUE", repr(word), remedy)
    return LossSpec(words[0], given)
