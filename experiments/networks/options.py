"""The options of a training run, each written once: its type, its default, and what --help says.

The settings of the library inherit these fields and check their values: ``DataRequest``,
``Architecture``, ``Augmentation`` and ``TrainSettings``. ``ufm train`` and ``ufm compare`` read
their flags off the same fields. Nothing here needs JAX, because help must come at once.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import partial
from typing import Annotated

import typer

DATA_PANEL, NETWORK_PANEL, TRAINING_PANEL = "Data", "Network", "Training"
_data = partial(typer.Option, rich_help_panel=DATA_PANEL)
_network = partial(typer.Option, rich_help_panel=NETWORK_PANEL)
_training = partial(typer.Option, rich_help_panel=TRAINING_PANEL)


@dataclass(frozen=True)
class DataOptions:
    """Which images, and what is done to them before training."""

    source: Annotated[
        str,
        _data(
            "--data",
            metavar="NAME[:DIR]",
            help="digits, mnist5k, fashion-mnist, mnist, idx, cifar-10 or cifar-100; a folder for "
            "those made of files; or FILE.npz of your own, with arrays X, y, and X_test, y_test.",
        ),
    ] = "digits"
    per_class: Annotated[
        int | None, _data("--per-class", metavar="INT", help="Train samples kept of every class.")
    ] = None
    imbalance: Annotated[
        float | None,
        _data(
            "--imbalance",
            metavar="RATIO",
            help="Largest over smallest class, falling exponentially.",
        ),
    ] = None
    balanced: Annotated[
        bool,
        _data(
            "--balanced/--unbalanced",
            help="Cut the train classes to equal counts, as theory needs; not with --imbalance.",
        ),
    ] = True
    noise: Annotated[
        float, _data("--noise", metavar="SHARE", help="Share of train labels that are wrong.")
    ] = 0.0
    noise_kind: Annotated[
        str,
        _data(
            "--noise-kind",
            metavar="KIND",
            help="Of wrong labels: symmetric, any other class; asymmetric, the next class.",
        ),
    ] = "symmetric"
    random_labels: Annotated[bool, _data("--random-labels", help="Permute the train labels.")] = (
        False
    )
    seed: Annotated[int, _data("--data-seed", min=0, help="Seed of wrong and random labels.")] = 0


@dataclass(frozen=True)
class ArchitectureOptions:
    """Which feature extractor, how wide and how deep."""

    name: Annotated[
        str,
        _network(
            "--network",
            metavar="NAME",
            help="mlp, convnet or resnet18; or FILE.py:NAME, your own equinox.Module, made as "
            "NAME(key, image_shape, d), which gives features (d,) of one image.",
        ),
    ] = "mlp"
    width: float = 1.0
    depth: Annotated[
        int | None,
        _network(
            "--depth",
            metavar="INT",
            help="Hidden layers of mlp, stages of convnet.",
            show_default="2",
        ),
    ] = None
    features: Annotated[
        str,
        _network("--features", metavar="KIND", help="linear, or relu for non-negative features."),
    ] = "linear"
    normalisation: Annotated[
        str | None,
        _network(
            "--normalisation",
            metavar="KIND",
            help="Of convolutions: batch; circular or padded are ConvNorm (resnet18: with batch).",
            show_default="none of convnet, batch of resnet18",
        ),
    ] = None


@dataclass(frozen=True)
class AugmentationOptions:
    """Random changes of the train images."""

    crop: Annotated[
        int,
        _training(
            "--crop", metavar="PIXELS", help="Move train images at random by up to so many pixels."
        ),
    ] = 0
    flip: Annotated[bool, _training("--flip", help="Mirror train images at random.")] = False


@dataclass(frozen=True)
class TrainingOptions:
    """The objective, the classifier, and how it is descended."""

    objective: str = "ce"
    parameters: Mapping[str, float] = field(default_factory=dict)
    d: Annotated[
        int | None,
        _network(
            "-d",
            metavar="INT",
            help="Feature dimension.",
            show_default="32 of mlp and your own (or K), else that of the last hidden layer",
        ),
    ] = None
    bias: Annotated[bool, _network("--bias/--no-bias", help="Of the classifier.")] = True
    fixed_etf: Annotated[
        bool, _network("--fixed-etf", help="Fix the classifier at a simplex ETF.")
    ] = False
    epochs: Annotated[int, _training("--epochs", metavar="INT", help="Epochs.")] = 300
    batch_size: Annotated[
        int,
        _training("--batch-size", metavar="INT", help="Samples per step; 0 for all at once."),
    ] = 128
    optimizer: Annotated[
        str, _training("--optimizer", metavar="NAME", help="sgd, adam, adamw or signsgd.")
    ] = "sgd"
    decoupled: Annotated[
        bool,
        _training(
            "--decoupled/--coupled",
            help="Weights shrink by the decay beside the step instead of it being part of the "
            "gradient; adamw is adam with it. The decay of features stays in the gradient.",
        ),
    ] = False
    learning_rate: Annotated[
        float | None,
        _training(
            "--lr",
            metavar="RATE",
            help="First learning rate.",
            show_default="0.1 of sgd, 0.001 of the others",
        ),
    ] = None
    schedule: Annotated[
        str, _training("--schedule", metavar="NAME", help="cosine, step or constant.")
    ] = "cosine"
    momentum: Annotated[
        float, _training("--momentum", metavar="VALUE", help="In [0, 1); beta1 of Adam.")
    ] = 0.9
    nesterov: Annotated[bool, _training("--nesterov", help="Look ahead along the momentum.")] = (
        False
    )
    max_gradient_norm: Annotated[
        float,
        _training(
            "--max-gradient-norm",
            metavar="NORM",
            help="Longer gradients are shortened to it; 0 for never.",
        ),
    ] = 1.0
    seed: int = 0
    precision: Annotated[
        str, _network("--precision", metavar="NAME", help="float32 or bfloat16.")
    ] = "float32"
