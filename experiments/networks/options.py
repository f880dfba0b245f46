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

from experiments.options import option

of_data = partial(option, "Data")
of_network = partial(option, "Network")
of_training = partial(option, "Training")


@dataclass(frozen=True)
class DataOptions:
    """Which images, and what is done to them before training."""

    source: Annotated[
        str,
        of_data(
            "--data",
            "NAME[:DIR]",
            "digits, mnist5k, fashion-mnist, mnist, idx, cifar-10 or cifar-100; a folder for "
            "those made of files; or FILE.npz of your own, with arrays X, y, and X_test, y_test.",
        ),
    ] = "digits"
    per_class: Annotated[
        int | None, of_data("--per-class", "INT", "Train samples kept of every class.")
    ] = None
    imbalance: Annotated[
        float | None,
        of_data("--imbalance", "RATIO", "Largest over smallest class, falling exponentially."),
    ] = None
    balanced: Annotated[
        bool,
        of_data(
            "--balanced/--unbalanced",
            help="Cut the train classes to equal counts, as theory needs; not with --imbalance.",
        ),
    ] = True
    noise: Annotated[
        float, of_data("--noise", "SHARE", "Share of train labels that are wrong.")
    ] = 0.0
    noise_kind: Annotated[
        str,
        of_data(
            "--noise-kind",
            "KIND",
            "Of wrong labels: symmetric, any other class; asymmetric, the next class.",
        ),
    ] = "symmetric"
    random_labels: Annotated[bool, of_data("--random-labels", help="Permute the train labels.")] = (
        False
    )
    seed: Annotated[int, of_data("--data-seed", min=0, help="Seed of wrong and random labels.")] = 0


@dataclass(frozen=True)
class ArchitectureOptions:
    """Which feature extractor, how wide and how deep."""

    name: Annotated[
        str,
        of_network(
            "--network",
            "NAME",
            "mlp, convnet or resnet18; or FILE.py:NAME, your own equinox.Module, made as "
            "NAME(key, image_shape, d), which gives features (d,) of one image.",
        ),
    ] = "mlp"
    width: float = 1.0
    depth: Annotated[
        int | None,
        of_network("--depth", "INT", "Hidden layers of mlp, stages of convnet.", show_default="2"),
    ] = None
    features: Annotated[
        str, of_network("--features", "KIND", "linear, or relu for non-negative features.")
    ] = "linear"
    normalisation: Annotated[
        str | None,
        of_network(
            "--normalisation",
            "KIND",
            "Of convolutions: batch; circular or padded are ConvNorm (resnet18: with batch).",
            show_default="none of convnet, batch of resnet18",
        ),
    ] = None


@dataclass(frozen=True)
class AugmentationOptions:
    """Random changes of the train images."""

    crop: Annotated[
        int, of_training("--crop", "PIXELS", "Move train images at random by up to so many pixels.")
    ] = 0
    flip: Annotated[bool, of_training("--flip", help="Mirror train images at random.")] = False


@dataclass(frozen=True)
class TrainingOptions:
    """The objective, the classifier, and how it is descended."""

    objective: str = "ce"
    parameters: Mapping[str, float] = field(default_factory=dict)
    d: Annotated[
        int | None,
        of_network(
            "-d",
            "INT",
            "Feature dimension.",
            show_default="32 of mlp and your own (or K), else that of the last hidden layer",
        ),
    ] = None
    bias: Annotated[bool, of_network("--bias/--no-bias", help="Of the classifier.")] = True
    fixed_etf: Annotated[
        bool, of_network("--fixed-etf", help="Fix the classifier at a simplex ETF.")
    ] = False
    epochs: Annotated[int, of_training("--epochs", "INT", "Epochs.")] = 300
    batch_size: Annotated[
        int, of_training("--batch-size", "INT", "Samples per step; 0 for all at once.")
    ] = 128
    optimizer: Annotated[
        str, of_training("--optimizer", "NAME", "sgd, adam, adamw or signsgd.")
    ] = "sgd"
    decoupled: Annotated[
        bool,
        of_training(
            "--decoupled/--coupled",
            help="Weights shrink by the decay beside the step instead of it being part of the "
            "gradient; adamw is adam with it. The decay of features stays in the gradient.",
        ),
    ] = False
    learning_rate: Annotated[
        float | None,
        of_training(
            "--lr", "RATE", "First learning rate.", show_default="0.1 of sgd, 0.001 of the others"
        ),
    ] = None
    schedule: Annotated[str, of_training("--schedule", "NAME", "cosine, step or constant.")] = (
        "cosine"
    )
    momentum: Annotated[float, of_training("--momentum", "VALUE", "In [0, 1); beta1 of Adam.")] = (
        0.9
    )
    nesterov: Annotated[bool, of_training("--nesterov", help="Look ahead along the momentum.")] = (
        False
    )
    max_gradient_norm: Annotated[
        float,
        of_training(
            "--max-gradient-norm", "NORM", "Longer gradients are shortened to it; 0 for never."
        ),
    ] = 1.0
    seed: int = 0
    precision: Annotated[str, of_network("--precision", "NAME", "float32 or bfloat16.")] = "float32"
