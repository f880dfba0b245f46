"""What the map shows: models with losses, small enough to search, decays scaled by one number."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import ufm
from ufm import MODELS, UFM, Loss


@dataclass(frozen=True)
class Case:
    """A model at given numbers.

    Attributes:
        model: as it is registered.
        loss: as tables have it, "" where the model has its own.
        numbers: in words.
        make: the model with all weight decays multiplied by a factor.
        decays: whether there are any.
        theorem: tag of the theorem by which every other critical point is a strict saddle, or "".
        spread: standard deviations of random starts; none where only the known points are judged.
    """

    model: str
    loss: str
    numbers: str
    make: Callable[[float], Any]
    decays: bool = True
    theorem: str = ""
    spread: tuple[float, ...] = (0.05, 1.0)

    @property
    def name(self) -> str:
        """Model, loss and numbers."""
        return " ".join(word for word in (self.model, self.loss, self.numbers) if word)


def _plain(loss: Loss, counts: tuple[int, ...], d: int, decay: float, **more: Any) -> Case:
    """The plain model with decays of a ratio of 1.5."""

    def make(scale: float) -> UFM:
        return UFM(loss, d=d, counts=counts, lambda_W=1.5 * decay * scale, lambda_H=decay * scale)

    few = len(counts) < 6
    numbers = f"n={','.join(map(str, counts))} d={d}" if few else f"K={len(counts)} d={d}"
    return Case("plain", loss.name, numbers, make, **more)


def _named(
    model: str, numbers: str = "", *, decays: bool = True, theorem: str = "", **values: Any
) -> Case:
    """A registered model; every parameter whose name begins with lambda_ is a decay."""

    def make(scale: float) -> Any:
        lambdas = {p.name: p.default for p in MODELS[model].parameters if p.name in _DECAYS}
        told = {name: value for name, value in {**lambdas, **values}.items() if value is not None}
        scaled = {name: value * scale for name, value in told.items() if name in _DECAYS}
        return MODELS[model].build({**told, **scaled})

    loss = values.get("loss")
    parameter = MODELS[model].loss
    label = "" if parameter is None else getattr(loss, "name", "ce")
    return Case(model, label, numbers, make, decays, theorem)


# Not lambda_V of equilibrium layers, which says where they escape, and not that of a bias.
_DECAYS = ("lambda_W", "lambda_H", "lambda_X", "lambda_Z", "lambda_self")

CASES: tuple[Case, ...] = (
    _plain(ufm.CrossEntropy(), (2, 2, 2), 3, 0.02, theorem="CE-4"),
    _plain(ufm.CrossEntropy(), (4, 2, 1), 3, 0.02, theorem="CE-4"),
    _plain(ufm.CrossEntropy(), (1, 1, 1, 1, 1), 3, 0.001),
    _plain(ufm.LabelSmoothing(0.1), (2, 2, 2), 3, 0.02, theorem="CE-4"),
    _plain(ufm.Focal(2.0), (1, 1, 1, 1), 4, 0.02, theorem="FL-4"),
    _plain(ufm.Focal(3.0), (1,) * 30, 29, 0.0335, spread=()),
    _plain(ufm.MSE(), (3, 2, 1), 3, 0.02, theorem="MSE-3"),
    _plain(ufm.RescaledMSE(5.0, 2.0), (2, 2, 2), 3, 0.02),
    _plain(ufm.BCE(), (2, 2, 2), 3, 0.02, theorem="CE-4"),
    _plain(ufm.logit_adjusted(1.0), (4, 2, 1), 3, 0.02, theorem="CE-4"),
    _plain(ufm.ldam(0.5), (4, 2, 1), 3, 0.02, theorem="CE-4"),
    _named("fixed-classifier", "K=4 n=2", num_classes=4, n=2, theorem="E-1"),
    _named("nonnegative", "K=3 d=3", num_classes=3, d=3),
    _named("regression", "n=3 M=8 d=4", n=3, M=8, d=4, theorem="X-11"),
    _named("rate-reduction", "m=4,2,3 d=4"),
    _named("constrained-rate", "m=2,2 d=4", counts="2,2", d=4, eps=1.1, decays=False),
    _named("deep-linear", "M=2 K=3", loss=ufm.MSE(), num_classes=3, d=3, depth=2),
    _named("deep-linear", "M=2 K=4", loss=ufm.CrossEntropy(), num_classes=4, d=4, depth=2),
    _named("deep-relu", "M=2 K=3", loss=ufm.MSE(), num_classes=3, d=3, depth=2),
    _named("equilibrium", "K=3 d=3", loss=ufm.MSE(), num_classes=3, d=3),
    _named("equilibrium", "K=4 d=4", loss=ufm.CrossEntropy(), num_classes=4, d=4, n=2),
    _named("graph", "K=2 n=6, neighbours 4 and 1", theorem="GU-1"),
    _named("graph-network", "K=2 n=6, two random graphs", theorem="GU-6"),
    _named("layer-peeled", "n=3,3,1,1 d=4", counts="3,3,1,1", d=4, decays=False),
    _named("seli", "n=3,1,1 d=3", counts="3,1,1", d=3, decays=False),
    _named("sphere", "K=4 d=3 n=2", decays=False),
    _named("contrastive", "n=3,3,3 d=4", decays=False),
    _named("contrastive", "n=2,3,4 d=3, ReLU", counts="2,3,4", d=3, nonnegative=True, decays=False),
    _named("multilabel", "K=4 d=4", num_classes=4, d=4, theorem="TY-1"),
    _named("soft-labels", "four types, d=4", d=4, theorem="TY-1"),
    _named("tasks", "K=2,3 d=5", classes="2,3", d=5, theorem="TY-1"),
    _named("ordinal", "Q=4 d=3", d=3, theorem="TY-1"),
)
