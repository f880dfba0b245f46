"""The options of every track, each written once: type, default, and what --help says.

Nothing here needs JAX, because help must come at once.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Annotated, Any, ClassVar

from experiments.networks.options import of_data, of_network, of_training
from experiments.options import flag

SEEDS = 3
# Flags that several tracks have.
Images = Annotated[
    str,
    of_data(
        "--data",
        "NAME[:DIR]",
        "digits, mnist5k, fashion-mnist (of the system's package, or in DIR), ...",
    ),
]
Epochs = Annotated[int, of_training("--epochs", "INT", "Epochs.")]
BatchSize = Annotated[
    int, of_training("--batch-size", "INT", "Samples per step; 0 for all at once.")
]
FirstRate = Annotated[float, of_training("--lr", "RATE", "First learning rate.")]
WeightDecay = Annotated[float, of_training("--weight-decay", "VALUE", "Of every weight.")]
KeptPerClass = Annotated[
    int | None, of_data("--per-class", "INT", "Train samples kept of every class.")
]


@dataclass(frozen=True)
class TrackOptions:
    """What every track has: seeds 0, 1, ... of everything random.

    Attributes:
        FULL: option -> its value at the size of the paper; none where that size is not known.
        FULL_HOURS: what the cells of three seeds then take, in hours of one processor.
        UNKNOWN: why there is no such size.
    """

    FULL: ClassVar[Mapping[str, Any]] = {}
    FULL_HOURS: ClassVar[float] = 0.0
    UNKNOWN: ClassVar[str] = ""

    seeds: Annotated[int, flag("--seeds", "INT", "Seeds 0, 1, ... of every cell.", min=1)] = SEEDS


@dataclass(frozen=True)
class LabelNoiseOptions(TrackOptions):
    """Networks under wrong labels."""

    FULL: ClassVar[Mapping[str, Any]] = {"source": "fashion-mnist", "epochs": 300}
    # 36 cells of 300 epochs, 938 steps of 1.8 ms: 400 steps of either method, on two busy cores.
    FULL_HOURS: ClassVar[float] = 5.1

    source: Images = "digits"
    per_class: KeptPerClass = None
    kinds: Annotated[
        str, of_data("--kinds", "LIST", "Of noise, with commas: symmetric, asymmetric.")
    ] = "symmetric,asymmetric"
    rates: Annotated[str, of_data("--rates", "LIST", "Shares of wrong labels, with commas.")] = (
        "0.2,0.4,0.6"
    )
    epochs: Epochs = 100
    batch_size: BatchSize = 64
    learning_rate: FirstRate = 0.05
    weight_decay: WeightDecay = 5e-4
    rate_u: Annotated[float, of_training("--rate-u", "RATE", "Learning rate of u, per batch.")] = (
        10.0
    )
    rate_v: Annotated[float, of_training("--rate-v", "RATE", "Learning rate of v, per batch.")] = (
        100.0
    )


@dataclass(frozen=True)
class ReduNetOptions(TrackOptions):
    """Layers built forward from covariances."""

    # Mixtures always have the size of the public notebook: 200 layers, 100 a class, noise 0.1.
    FULL: ClassVar[Mapping[str, Any]] = {"per_class": 100, "depth": 50}
    # Ten cells of five seconds together.
    FULL_HOURS: ClassVar[float] = 0.004

    source: Annotated[
        str, of_data("--data", "NAME[:DIR]", "Grey images, e.g. digits or mnist5k.")
    ] = "digits"
    per_class: KeptPerClass = None
    depth: Annotated[int, of_training("--depth", "INT", "Layers.")] = 20
    step: Annotated[float, of_training("--step", "VALUE", "Step of a layer.")] = 0.5
    precision: Annotated[
        float, of_training("--eps", "VALUE", "Precision of the code; public code squares it.")
    ] = 0.7
    sharpness: Annotated[
        float, of_training("--sharpness", "VALUE", "Of estimated memberships.")
    ] = 200.0
    dimension: Annotated[int, of_training("--dimension", "INT", "Of the subspace of a class.")] = 5
    channels: Annotated[
        int, of_training("--channels", "INT", "Random filters that shifts are seen by.")
    ] = 8
    passes: Annotated[
        int, of_training("--passes", "INT", "Epochs of the MLP on every two classes.")
    ] = 20


@dataclass(frozen=True)
class SelfExpressionOptions(TrackOptions):
    """Networks that express every point by the others."""

    UNKNOWN: ClassVar[str] = "of the paper gamma = 200 and lambda = 0.9 are known, no size is"

    source: Images = "digits"
    per_class: Annotated[
        int, of_data("--per-class", "INT", "Points of every subspace or class.")
    ] = 20
    gamma: Annotated[float, of_training("--gamma", "VALUE", "Weight of the residual.")] = 20.0
    share: Annotated[float, of_training("--lambda", "VALUE", "Of the penalty, in (0, 1).")] = 0.9
    steps: Annotated[int, of_training("--steps", "INT", "Steps of Adam, all points at once.")] = (
        6000
    )
    learning_rate: FirstRate = 1e-3
    width: Annotated[
        int, of_training("--width", "INT", "Of the hidden layers of query and key.")
    ] = 128


@dataclass(frozen=True)
class GraphOptions(TrackOptions):
    """Graph networks, free features and spectral methods on random graphs."""

    FULL: ClassVar[Mapping[str, Any]] = {
        "cases": "2:12.5:0.85,2:9:0.6,4:25:1.7,4:18:1.2",
        "nodes": 1000,
        "graphs": 1000,
        "tests": 100,
        "free": 10,
        "layers": 32,
    }
    # 24 networks of 8000 steps, 0.03 to 0.05 s each, and 48 other cells of half a minute.
    FULL_HOURS: ClassVar[float] = 2.6

    cases: Annotated[
        str,
        of_data(
            "--cases",
            "LIST",
            "K:INSIDE:OUTSIDE with commas: classes, and mean numbers of neighbours in the own "
            "and in each other class.",
        ),
    ] = "2:12.5:0.85,4:25:1.7"
    methods: Annotated[
        str, of_data("--methods", "LIST", "What is measured, with commas; all of them.")
    ] = "gnn,gnn-w2-only,free,free-w2-only,bethe-hessian,laplacian"
    nodes: Annotated[int, of_data("--nodes", "INT", "Nodes of a graph; 1000 in the paper.")] = 400
    graphs: Annotated[int, of_data("--graphs", "INT", "Train graphs; 1000 in the paper.")] = 200
    tests: Annotated[int, of_data("--test-graphs", "INT", "Test graphs; 100 in the paper.")] = 20
    free: Annotated[int, of_data("--free-graphs", "INT", "Of free features; 10 in the paper.")] = 3
    layers: Annotated[int, of_training("--layers", "INT", "Hidden layers; 32 in the paper.")] = 16
    width: Annotated[
        int | None, of_training("--width", "INT", "Of layers and free features; 4 K.")
    ] = None
    epochs: Epochs = 8
    learning_rate: Annotated[float, of_training("--lr", "RATE", "Learning rate.")] = 0.004
    weight_decay: WeightDecay = 5e-4
    decay: Annotated[
        float, of_training("--lambda", "VALUE", "Weight decays of the model of free features.")
    ] = 5e-3


@dataclass(frozen=True)
class EquilibriumOptions(TrackOptions):
    """Equilibrium layers, balanced and not."""

    FULL: ClassVar[Mapping[str, Any]] = {
        "source": "fashion-mnist",
        "per_class": 6000,
        "ratios": "1,10,100",
        "epochs": 100,
    }
    # 27 cells of 100 epochs, 606 to 1200 steps of 1.7 ms at |V| = 0.4 (3 at 0.9), mean of 200.
    FULL_HOURS: ClassVar[float] = 1.0

    source: Images = "digits"
    per_class: Annotated[
        int, of_data("--per-class", "INT", "Train samples of a majority class.")
    ] = 100
    ratios: Annotated[
        str,
        of_data(
            "--ratios",
            "LIST",
            "Majority over minority, half the classes each, with commas; 1 for balanced.",
        ),
    ] = "1,4,10"
    loss: Annotated[str, of_training("--loss", "NAME", "mse, or ce: cross entropy.")] = "mse"
    c: Annotated[
        float,
        of_training(
            "--c",
            "VALUE",
            "N sigma / sqrt(n_1), n_1 the largest class: majority classes vanish at 1 (mse).",
        ),
    ] = 0.35
    layer_decay: Annotated[
        float,
        of_training(
            "--layer-decay", "VALUE", "N lambda_V / n_1, above c; a small one is a strong layer."
        ),
    ] = 0.7
    bound: Annotated[
        float, of_training("--bound", "VALUE", "Largest singular value of V, below 1.")
    ] = 0.95
    d: Annotated[int, of_training("-d", "INT", "Feature dimension.")] = 16
    hidden: Annotated[int, of_training("--hidden", "INT", "Units of the MLP.")] = 256
    epochs: Epochs = 150
    batch_size: BatchSize = 50
    learning_rate: Annotated[float, of_training("--lr", "RATE", "First learning rate of Adam.")] = (
        4e-3
    )


@dataclass(frozen=True)
class AllLossesOptions(TrackOptions):
    """Losses at every width and length of training."""

    FULL: ClassVar[Mapping[str, Any]] = {
        "source": "fashion-mnist",
        "network": "resnet18",
        "features": "relu",
        "weight_decay": 5e-4,
        "widths": "0.25,0.5,1,2",
        "lengths": "50,100,200",
        "batch_size": 512,
    }
    # Four losses, 350 epochs of 60,000 images at 20 a second and width 1 (docs/benchmarks.md); the
    # squares of the widths add up to 5.3.
    FULL_HOURS: ClassVar[float] = 18_600.0

    source: Images = "digits"
    per_class: KeptPerClass = None
    losses: Annotated[
        str,
        of_training(
            "--losses",
            "LIST",
            "Objectives and their parameters, with commas; the first is compared with.",
        ),
    ] = "ce,ls smoothing=0.05,focal gamma=3,mse"
    widths: Annotated[str, of_network("--widths", "LIST", "Multipliers of the hidden layers.")] = (
        "0.125,0.5,2"
    )
    lengths: Annotated[
        str, of_training("--lengths", "LIST", "Epochs of training, with commas.")
    ] = "10,40,160"
    network: Annotated[
        str, of_network("--network", "NAME", "mlp, convnet, resnet18 or FILE.py:NAME.")
    ] = "mlp"
    features: Annotated[str, of_network("--features", "KIND", "linear, or relu.")] = "linear"
    c: Annotated[float, of_training("--c", "VALUE", "Decay of the model, see `ufm train`.")] = 0.2
    weight_decay: Annotated[
        float | None,
        of_training(
            "--weight-decay", "VALUE", "Of every weight, instead of the decay of the model."
        ),
    ] = None
    batch_size: BatchSize = 128
    learning_rate: FirstRate = 0.1


@dataclass(frozen=True)
class QueryOptions(TrackOptions):
    """Students of a teacher that can be asked."""

    UNKNOWN: ClassVar[str] = "of the paper the abstract was read, which has no sizes"

    source: Images = "digits"
    manifolds: Annotated[
        str,
        of_data(
            "--manifolds",
            "LIST",
            "k:D with commas: dimension of what the teacher generates, and of its inputs.",
        ),
    ] = "2:16,2:64,6:16,6:64"
    components: Annotated[int, of_data("--components", "INT", "Of the decoder of images.")] = 16
    queries: Annotated[
        str, of_data("--queries", "LIST", "Numbers of queries, rising, with commas.")
    ] = "32,64,128,256,512"
    real: Annotated[int, of_data("--real", "INT", "Real inputs that a student may see.")] = 64
    noise: Annotated[float, of_data("--noise", "VALUE", "Of labels of the linear teacher.")] = 0.3
    steps: Annotated[int, of_training("--steps", "INT", "Steps of Adam, all queries at once.")] = (
        600
    )
    learning_rate: FirstRate = 5e-3
    width: Annotated[int, of_training("--width", "INT", "Of the student's two hidden layers.")] = 32
    search: Annotated[
        int, of_training("--search", "INT", "Steps of a search in the latent space.")
    ] = 5


@dataclass(frozen=True)
class ConvNormOptions(TrackOptions):
    """Convolutional networks with and without normalised convolutions."""

    FULL: ClassVar[Mapping[str, Any]] = {
        "source": "fashion-mnist",
        "per_class": None,
        "network": "resnet18",
        "epochs": 200,
        "batch_size": 128,
    }
    # 18 cells of 200 epochs of 60,000 images at 20 a second.
    FULL_HOURS: ClassVar[float] = 3000.0

    source: Images = "digits"
    per_class: KeptPerClass = 100
    noises: Annotated[
        str, of_data("--noises", "LIST", "Shares of wrong train labels, with commas.")
    ] = "0,0.2"
    network: Annotated[str, of_training("--network", "NAME", "convnet, or resnet18.")] = "convnet"
    width: Annotated[float, of_training("--width", "FACTOR", "Of the network's channels.")] = 1.0
    epochs: Epochs = 25
    batch_size: BatchSize = 50
    learning_rate: FirstRate = 0.05
    weight_decay: WeightDecay = 5e-4
    reaches: Annotated[
        str, of_training("--eps", "LIST", "Largest changes of a pixel in [0, 1], rising.")
    ] = "0.02,0.05,0.1,0.2"
    attack_steps: Annotated[int, of_training("--attack-steps", "INT", "Of PGD; FGSM has one.")] = 20
