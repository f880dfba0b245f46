"""The flags of ``ufm train`` and ``ufm compare``, and the data and settings that they make."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any

import typer

DATA_PANEL, NETWORK_PANEL, TRAINING_PANEL, DECAY_PANEL = "Data", "Network", "Training", "Decay"
# Where small networks reach the minimum of the model within a per cent: c well below the threshold,
# and |H|^2 not much larger than |W|^2.
LAMBDA_W, C = 0.02, 0.2
MLP_FEATURES = 32

Folder = Annotated[
    Path | None,
    typer.Option("--out", metavar="DIR", help="Folder of the results.", show_default="runs/..."),
]
Probes = Annotated[
    list[str] | None,
    typer.Option(
        "--other",
        metavar="NAME[:DIR]",
        help="Another data set for out-of-distribution detection and transfer; may be repeated.",
        rich_help_panel=DATA_PANEL,
    ),
]
Measured = Annotated[
    int | None,
    typer.Option(
        "--measure-every",
        min=1,
        metavar="EPOCHS",
        help="Epochs between measurements.",
        show_default="about 50 in all",
        rich_help_panel=TRAINING_PANEL,
    ),
]


@dataclass(frozen=True)
class DataFlags:
    """--data and what is done to it."""

    data: Annotated[
        str,
        typer.Option(
            "--data",
            metavar="NAME[:DIR]",
            help="digits, mnist5k, fashion-mnist, mnist, idx, cifar-10 or cifar-100; a folder for "
            "those made of files.",
            rich_help_panel=DATA_PANEL,
        ),
    ] = "digits"
    balanced: Annotated[
        bool,
        typer.Option(
            "--balanced/--unbalanced",
            help="Cut the train classes to equal counts, as theory needs.",
            rich_help_panel=DATA_PANEL,
        ),
    ] = True
    per_class: Annotated[
        int | None,
        typer.Option(
            "--per-class",
            metavar="INT",
            help="Train samples kept of every class.",
            rich_help_panel=DATA_PANEL,
        ),
    ] = None
    imbalance: Annotated[
        float | None,
        typer.Option(
            "--imbalance",
            metavar="RATIO",
            help="Largest over smallest class, falling exponentially.",
            rich_help_panel=DATA_PANEL,
        ),
    ] = None
    noise: Annotated[
        float,
        typer.Option(
            "--noise",
            metavar="SHARE",
            help="Share of train labels that are wrong.",
            rich_help_panel=DATA_PANEL,
        ),
    ] = 0.0
    random_labels: Annotated[
        bool,
        typer.Option(
            "--random-labels", help="Permute the train labels.", rich_help_panel=DATA_PANEL
        ),
    ] = False
    data_seed: Annotated[
        int,
        typer.Option(
            "--data-seed",
            min=0,
            help="Seed of wrong and random labels.",
            rich_help_panel=DATA_PANEL,
        ),
    ] = 0

    def request(self) -> Any:
        """The data request."""
        from experiments.networks.runs import DataRequest

        return DataRequest(
            self.data,
            self.per_class,
            self.imbalance,
            self.balanced,
            self.noise,
            self.random_labels,
            self.data_seed,
        )


@dataclass(frozen=True)
class NetworkFlags:
    """The architecture and the classifier."""

    network: Annotated[
        str,
        typer.Option(
            "--network",
            metavar="NAME",
            help="mlp, convnet or resnet18.",
            rich_help_panel=NETWORK_PANEL,
        ),
    ] = "mlp"
    depth: Annotated[
        int | None,
        typer.Option(
            "--depth",
            metavar="INT",
            help="Hidden layers of mlp, stages of convnet.",
            show_default="2",
            rich_help_panel=NETWORK_PANEL,
        ),
    ] = None
    features: Annotated[
        str,
        typer.Option(
            "--features",
            metavar="KIND",
            help="linear, or relu for non-negative features.",
            rich_help_panel=NETWORK_PANEL,
        ),
    ] = "linear"
    d: Annotated[
        int | None,
        typer.Option(
            "-d",
            metavar="INT",
            help="Feature dimension.",
            show_default="32 of mlp (or K), else that of the last hidden layer",
            rich_help_panel=NETWORK_PANEL,
        ),
    ] = None
    bias: Annotated[
        bool,
        typer.Option("--bias/--no-bias", help="Of the classifier.", rich_help_panel=NETWORK_PANEL),
    ] = True
    fixed_etf: Annotated[
        bool,
        typer.Option(
            "--fixed-etf",
            help="Fix the classifier at a simplex ETF.",
            rich_help_panel=NETWORK_PANEL,
        ),
    ] = False
    precision: Annotated[
        str,
        typer.Option(
            "--precision",
            metavar="NAME",
            help="float32 or bfloat16.",
            rich_help_panel=NETWORK_PANEL,
        ),
    ] = "float32"


@dataclass(frozen=True)
class TrainingFlags:
    """Stochastic gradient descent."""

    epochs: Annotated[
        int,
        typer.Option("--epochs", metavar="INT", help="Epochs.", rich_help_panel=TRAINING_PANEL),
    ] = 300
    batch_size: Annotated[
        int,
        typer.Option(
            "--batch-size",
            metavar="INT",
            help="Samples per step; 0 for all at once.",
            rich_help_panel=TRAINING_PANEL,
        ),
    ] = 128
    learning_rate: Annotated[
        float,
        typer.Option(
            "--lr", metavar="RATE", help="First learning rate.", rich_help_panel=TRAINING_PANEL
        ),
    ] = 0.1
    schedule: Annotated[
        str,
        typer.Option(
            "--schedule",
            metavar="NAME",
            help="cosine, step or constant.",
            rich_help_panel=TRAINING_PANEL,
        ),
    ] = "cosine"
    momentum: Annotated[
        float,
        typer.Option(
            "--momentum", metavar="VALUE", help="In [0, 1).", rich_help_panel=TRAINING_PANEL
        ),
    ] = 0.9
    nesterov: Annotated[
        bool,
        typer.Option(
            "--nesterov", help="Look ahead along the momentum.", rich_help_panel=TRAINING_PANEL
        ),
    ] = False
    max_gradient_norm: Annotated[
        float,
        typer.Option(
            "--max-gradient-norm",
            metavar="NORM",
            help="Longer gradients are shortened to it; 0 for never.",
            rich_help_panel=TRAINING_PANEL,
        ),
    ] = 1.0
    flip: Annotated[
        bool,
        typer.Option(
            "--flip", help="Mirror train images at random.", rich_help_panel=TRAINING_PANEL
        ),
    ] = False
    crop: Annotated[
        int,
        typer.Option(
            "--crop",
            metavar="PIXELS",
            help="Move train images at random by up to so many pixels.",
            rich_help_panel=TRAINING_PANEL,
        ),
    ] = 0


@dataclass(frozen=True)
class NetworkDecayFlags:
    """Decay as in the unconstrained feature model, or of all weights."""

    decay: Annotated[
        str,
        typer.Option(
            "--decay",
            metavar="KIND",
            help="ufm: of W, b and the features; all: of all weights.",
            rich_help_panel=DECAY_PANEL,
        ),
    ] = "ufm"
    lambda_w: Annotated[
        float | None,
        typer.Option(
            "--lambda-w",
            metavar="VALUE",
            help="With ufm: decay of W.",
            show_default=str(LAMBDA_W),
            rich_help_panel=DECAY_PANEL,
        ),
    ] = None
    lambda_h: Annotated[
        float | None,
        typer.Option(
            "--lambda-h",
            metavar="VALUE",
            help="With ufm: decay of the features, a sum over all samples.",
            show_default="by --c",
            rich_help_panel=DECAY_PANEL,
        ),
    ] = None
    c: Annotated[
        float | None,
        typer.Option(
            "--c",
            metavar="VALUE",
            help="With ufm: sqrt(K N lambda_W lambda_H), instead of --lambda-h; collapse of cross "
            "entropy to the origin is at 1.",
            show_default=str(C),
            rich_help_panel=DECAY_PANEL,
        ),
    ] = None
    lambda_b: Annotated[
        float | None,
        typer.Option(
            "--lambda-b",
            metavar="VALUE",
            help="With ufm: decay of the bias.",
            show_default="0",
            rich_help_panel=DECAY_PANEL,
        ),
    ] = None
    weight_decay: Annotated[
        float | None,
        typer.Option(
            "--weight-decay",
            metavar="VALUE",
            help="With all: decay of every weight.",
            show_default="0.0005",
            rich_help_panel=DECAY_PANEL,
        ),
    ] = None

    def make(self, num_classes: int, num_samples: int) -> Any:
        """The decay for so many classes and train samples.

        Raises:
            InputError: an unknown kind, or flags that contradict each other.
        """
        from experiments.networks.training import FeatureDecay, WeightDecay
        from ufm.errors import InputError

        own = {
            "--lambda-w": self.lambda_w,
            "--lambda-h": self.lambda_h,
            "--c": self.c,
            "--lambda-b": self.lambda_b,
        }
        given = [flag for flag, value in own.items() if value is not None]
        if self.decay == "all":
            if given:
                raise InputError(
                    f"{', '.join(given)}: only with --decay ufm", "--decay all", "drop it"
                )
            return WeightDecay() if self.weight_decay is None else WeightDecay(self.weight_decay)
        if self.decay != "ufm":
            raise InputError("Need --decay ufm or all", repr(self.decay), "choose one")
        if self.weight_decay is not None:
            raise InputError("--weight-decay: only with --decay all", "--decay ufm", "drop it")
        if self.lambda_h is not None and self.c is not None:
            raise InputError("Give --lambda-h or --c, not both", f"--c {self.c:g}", "drop one")
        lambda_w = LAMBDA_W if self.lambda_w is None else self.lambda_w
        lambda_b = 0.0 if self.lambda_b is None else self.lambda_b
        if self.lambda_h is not None:
            return FeatureDecay(lambda_w, self.lambda_h, lambda_b)
        c = C if self.c is None else self.c
        return FeatureDecay.at(c, lambda_w, num_classes, num_samples, lambda_b)


def make_settings(
    network: NetworkFlags, training: TrainingFlags, decay: NetworkDecayFlags, dataset: Any
) -> Any:
    """The settings for a data set, with objective, width and seed still at their defaults.

    Raises:
        InputError: a value outside its domain.
    """
    from experiments.networks.architectures import Architecture
    from experiments.networks.training import Augmentation, TrainSettings

    d = network.d
    if d is None and network.network == "mlp":
        # Wide linear features start far away, where large steps kill squared errors.
        d = max(MLP_FEATURES, dataset.num_classes)
    return TrainSettings(
        architecture=Architecture(network.network, depth=network.depth, features=network.features),
        d=d,
        bias=network.bias,
        fixed_etf=network.fixed_etf,
        epochs=training.epochs,
        batch_size=training.batch_size or None,
        learning_rate=training.learning_rate,
        schedule=training.schedule,
        momentum=training.momentum,
        nesterov=training.nesterov,
        max_gradient_norm=training.max_gradient_norm or None,
        decay=decay.make(dataset.num_classes, dataset.train.num_samples),
        augmentation=Augmentation(crop=training.crop, flip=training.flip),
        precision=network.precision,
    )
