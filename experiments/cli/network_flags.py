"""The flags of ``ufm train`` and ``ufm compare`` that are no options of one run, and the settings.

The others are the fields of ``experiments.networks.options``.
"""

from __future__ import annotations

import functools
import os
from collections.abc import Callable
from dataclasses import dataclass, fields, replace
from functools import partial
from pathlib import Path
from typing import Annotated, Any

from experiments.cli.flags import expand_flags
from experiments.cli.output import prepare
from experiments.errors import input_error
from experiments.networks.options import (
    ArchitectureOptions,
    AugmentationOptions,
    TrainingOptions,
    of_data,
    of_training,
)
from experiments.options import flag, option

# Where small networks reach the minimum of the model within a per cent: c well below the threshold,
# and |H|^2 not much larger than |W|^2.
LAMBDA_W, C = 0.02, 0.2
MLP_FEATURES = 32

of_decay = partial(option, "Decay")

Folder = Annotated[
    Path | None, flag("--out", "DIR", "Folder of the results.", show_default="runs/...")
]
Probes = Annotated[
    list[str] | None,
    of_data(
        "--other",
        "NAME[:DIR]",
        "Another data set for out-of-distribution detection and transfer; may be repeated.",
    ),
]
MeasureEvery = Annotated[
    int | None,
    of_training(
        "--measure-every",
        "EPOCHS",
        "Epochs between measurements.",
        min=1,
        show_default="about 50 in all",
    ),
]


@dataclass(frozen=True)
class NetworkDecayFlags:
    """Decay as in the unconstrained feature model, or of all weights."""

    kind: Annotated[
        str, of_decay("--decay", "KIND", "ufm: of W, b and the features; all: of all weights.")
    ] = "ufm"
    lambda_w: Annotated[
        float | None,
        of_decay("--lambda-w", "VALUE", "With ufm: decay of W.", show_default=str(LAMBDA_W)),
    ] = None
    lambda_h: Annotated[
        float | None,
        of_decay(
            "--lambda-h",
            "VALUE",
            "With ufm: decay of the features, a sum over all samples.",
            show_default="by --c",
        ),
    ] = None
    c: Annotated[
        float | None,
        of_decay(
            "--c",
            "VALUE",
            "With ufm: sqrt(K N lambda_W lambda_H), instead of --lambda-h; collapse of cross "
            "entropy to the origin is at 1.",
            show_default=str(C),
        ),
    ] = None
    lambda_b: Annotated[
        float | None,
        of_decay("--lambda-b", "VALUE", "With ufm: decay of the bias.", show_default="0"),
    ] = None
    weight_decay: Annotated[
        float | None,
        of_decay(
            "--weight-decay", "VALUE", "With all: decay of every weight.", show_default="0.0005"
        ),
    ] = None

    def make(self, num_classes: int, num_samples: int) -> Any:
        """The decay for so many classes and train samples.

        Raises:
            InputError: an unknown kind, or flags that contradict each other.
        """
        from experiments.networks.training import FeatureDecay, WeightDecay

        given = {
            f"--{item.name.replace('_', '-')}": getattr(self, item.name)
            for item in fields(self)
            if item.name != "kind" and getattr(self, item.name) is not None
        }
        weights = given.pop("--weight-decay", None)
        if self.kind == "all":
            if given:
                rule = f"{', '.join(given)}: only with --decay ufm"
                raise input_error(rule, "--decay all", "drop it")
            return WeightDecay() if weights is None else WeightDecay(weights)
        if self.kind != "ufm":
            raise input_error("Need --decay ufm or all", repr(self.kind), "choose one")
        if weights is not None:
            raise input_error("--weight-decay: only with --decay all", "--decay ufm", "drop it")
        if self.lambda_h is not None and self.c is not None:
            raise input_error("Give --lambda-h or --c, not both", f"--c {self.c:g}", "drop one")
        lambda_w = LAMBDA_W if self.lambda_w is None else self.lambda_w
        lambda_b = 0.0 if self.lambda_b is None else self.lambda_b
        if self.lambda_h is not None:
            return FeatureDecay(lambda_w, self.lambda_h, lambda_b)
        c = C if self.c is None else self.c
        return FeatureDecay.at(c, lambda_w, num_classes, num_samples, lambda_b)


def network_command(command: Callable[..., None]) -> Callable[..., None]:
    """A command with these groups of flags, that refuses before any work where packages lack.

    Raises:
        InputError: equinox cannot be imported; with the command that installs it.
    """
    flat = expand_flags(command)

    @functools.wraps(flat)
    def run(**values: Any) -> None:
        # Before NumPy: small products are faster in one thread than in several.
        os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")
        prepare()
        import experiments.networks.architectures  # noqa: F401  raises the error itself

        flat(**values)

    return run


def make_settings(
    architecture: ArchitectureOptions,
    training: TrainingOptions,
    augmentation: AugmentationOptions,
    decay: NetworkDecayFlags,
    dataset: Any,
) -> Any:
    """The settings for a data set, with objective, width and seed still at their defaults.

    Raises:
        InputError: a value outside its domain, or a network of one's own that is none.
    """
    from experiments.networks.architectures import Architecture
    from experiments.networks.training import Augmentation, TrainSettings, initial_network

    d, own = training.d, ":" in architecture.name
    if d is None and (own or architecture.name == "mlp"):
        # Wide linear features start far away, where large steps kill squared errors.
        d = max(MLP_FEATURES, dataset.num_classes)
    settings = TrainSettings(
        **vars(replace(training, d=d)),
        architecture=Architecture(**vars(architecture)),
        augmentation=Augmentation(**vars(augmentation)),
        decay=decay.make(dataset.num_classes, dataset.train.num_samples),
    )
    if own:  # what is wrong with it is said once, before any training
        initial_network(settings, dataset.image_shape, dataset.num_classes)
    return settings
