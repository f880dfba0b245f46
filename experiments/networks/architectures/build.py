"""The architectures by name, at any width."""

from __future__ import annotations

import math
from dataclasses import asdict, dataclass
from typing import Any

import jax

from experiments.nearest import unknown
from experiments.networks.architectures.conv_norm import BATCH, CIRCULAR, NONE, PADDED
from experiments.networks.architectures.convnet import ConvNet
from experiments.networks.architectures.head import Head, fixed_etf_head, linear_head
from experiments.networks.architectures.mlp import MLP
from experiments.networks.architectures.network import PRECISIONS, Network
from experiments.networks.architectures.resnet import CHANNELS, ResNet18
from experiments.networks.architectures.user_network import own_body, source_of
from experiments.networks.options import ArchitectureOptions
from ufm.errors import InputError, require_count, require_positive

# Name -> (depth by default, size at width 1): hidden layers of 256; stages of 16, 32, ... channels;
# ResNet-18's own. The first two are sized so that digits are learnt in seconds.
ARCHITECTURES = {"mlp": (2, 256), "convnet": (2, 16), "resnet18": (4, CHANNELS[0])}
FEATURES = ("linear", "relu")
# Feature dimension of a network of one's own where none is asked for.
OWN_DIMENSION = 32
# What convolutions may be normalised by; the first is that of the architecture itself.
NORMALISATIONS = {
    "mlp": (NONE,),
    "convnet": (NONE, BATCH, CIRCULAR, PADDED),
    "resnet18": (BATCH, CIRCULAR, PADDED),
}


@dataclass(frozen=True)
class Architecture(ArchitectureOptions):
    """Which feature extractor, how wide and how deep.

    Args:
        name: mlp, convnet or resnet18, or FILE.py:NAME of one's own, see ``own_body``.
        width: multiplies the width of every hidden layer; the papers' range is 0.25 to 2.
        depth: hidden layers of mlp, stages of convnet (2 each by default); not of resnet18.
            A network of one's own is given width (other than 1) and depth if it has such arguments.
        features: ``linear``, or ``relu`` for non-negative features, as in the papers' ResNets.
        normalisation: of convolutions, one of ``NORMALISATIONS``; None for the architecture's own.

    Raises:
        InputError: an unknown name, or a value out of its domain.

    Example:
        >>> Architecture("resnet18", width=0.25).sizes
        (16, 32, 64, 128)
    """

    def __post_init__(self) -> None:
        if self.name not in ARCHITECTURES and not self.own:
            raise unknown(self.name, (*ARCHITECTURES, "FILE.py:NAME"), "architecture")
        require_positive(self.width, "width", "use a multiplier such as 0.5")
        if self.depth is not None:
            require_count(self.depth, "depth", 1, "use one layer or more")
            if self.name == "resnet18":
                raise InputError("resnet18 has its own depth", f"depth={self.depth}", "drop it")
        if self.features not in FEATURES:
            raise InputError("Need linear or relu features", repr(self.features), "use one of them")
        offered = NORMALISATIONS.get(self.name, ())
        if self.normalisation is not None and self.normalisation not in offered:
            rule = f"Need a normalisation of {self.name}: {', '.join(offered) or 'its own'}"
            remedy = "use one of them" if offered else "drop it"
            raise InputError(rule, repr(self.normalisation), remedy)

    @property
    def norm(self) -> str:
        """What convolutions are normalised by."""
        return self.normalisation or NORMALISATIONS[self.name][0]

    def record(self) -> dict[str, Any]:
        """The fields as JSON can hold them; without the normalisation where it is the own one.

        Example:
            >>> sorted(Architecture().record())
            ['depth', 'features', 'name', 'width']
        """
        # Runs from before there was a choice have the same key.
        fields = asdict(self)
        return {k: v for k, v in fields.items() if k != "normalisation" or v is not None}

    @property
    def own(self) -> bool:
        """Whether the network is a user's own code."""
        return ":" in self.name

    def source(self) -> str:
        """The text of a user's own code, which stands for what it computes; else empty."""
        return source_of(self.name) if self.own else ""

    @property
    def sizes(self) -> tuple[int, ...]:
        """Widths of the hidden layers, or channels of the stages."""
        depth, base = ARCHITECTURES[self.name]
        depth = self.depth or depth
        grows = 1 if self.name == "mlp" else 2
        return tuple(max(1, round(self.width * base * grows**i)) for i in range(depth))


def natural_dimension(architecture: Architecture) -> int:
    """The feature dimension that adds no narrower layer: the size of the last hidden one.

    Of a network of one's own, whose layers nobody knows, it is 32.

    Example:
        >>> natural_dimension(Architecture("resnet18")), natural_dimension(Architecture("convnet"))
        (512, 32)
    """
    return OWN_DIMENSION if architecture.own else architecture.sizes[-1]


def build_network(
    architecture: Architecture,
    image_shape: tuple[int, int, int],
    num_classes: int,
    d: int | None,
    key: Any,
    *,
    bias: bool = True,
    fixed_etf: bool = False,
    precision: str = "float32",
) -> Network:
    """A network with random parameters.

    Args:
        architecture: the feature extractor.
        image_shape: (height, width, channels).
        num_classes: K >= 2.
        d: feature dimension; None for ``natural_dimension``.
        key: random key; the feature extractor does not depend on the kind of classifier.
        bias: whether the classifier has a bias.
        fixed_etf: fix the classifier at a simplex ETF.
        precision: float32 or bfloat16, see ``Network``.

    Raises:
        InputError: a size out of its domain, d < K - 1 with ``fixed_etf``, or as ``own_body``.

    Example:
        >>> net = build_network(Architecture("mlp"), (2, 3, 1), 3, 5, jax.random.key(0))
        >>> net.num_classes, net.d
        (3, 5)
    """
    K = require_count(num_classes, "K", 2, "give two classes or more")
    size = natural_dimension(architecture) if d is None else d
    size = require_count(size, "d", 1, "use a feature dimension of one or more")
    if precision not in PRECISIONS:
        raise InputError("Need a precision of the lab", repr(precision), "use float32 or bfloat16")
    body_key, head_key = jax.random.split(key)
    body, state = _body(architecture, image_shape, size, body_key)
    head: Head
    head = fixed_etf_head(K, size, bias) if fixed_etf else linear_head(head_key, K, size, bias)
    return Network(body, state, head, precision)


def _body(
    architecture: Architecture, image_shape: tuple[int, int, int], d: int, key: Any
) -> tuple[Any, Any]:
    """A feature extractor and its state."""
    relu = architecture.features == "relu"
    if architecture.own:
        changed = {"width": architecture.width} if architecture.width != 1 else {}
        changed |= {"depth": architecture.depth} if architecture.depth is not None else {}
        return own_body(architecture.name, key, image_shape, d, relu=relu, sizes=changed)
    body: Any
    if architecture.name == "mlp":
        body = MLP(key, math.prod(image_shape), architecture.sizes, d, relu)
    elif architecture.name == "convnet":
        body = ConvNet(key, image_shape, architecture.sizes, d, relu, architecture.norm)
    else:
        body = ResNet18(key, image_shape[-1], architecture.sizes, d, relu, architecture.norm)
    return body, body.start()
