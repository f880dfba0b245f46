"""Networks as a feature extractor and a classifier, in JAX.

Written with Equinox: a module is a frozen dataclass and a pytree at once, like every model of
``ufm``, so gradients, optimisers and checkpoints see one tree of arrays and need no library of
parameter names. Its own layers are not used: they take one image at a time, channels first, and
its batch normalisation needs a named axis; the layers here take a batch (N, height, width,
channels), which is what XLA's convolutions are fastest at.
"""

from __future__ import annotations

from ufm.errors import InputError

try:
    import equinox as _equinox  # noqa: F401
except ImportError as error:
    raise InputError(
        "Networks need equinox", error, "pip install '.[deep]' in the clone"
    ) from error

from experiments.networks.architectures.build import Architecture, build_network, natural_dimension
from experiments.networks.architectures.counting import count_parameters
from experiments.networks.architectures.head import fixed_etf_head, linear_head
from experiments.networks.architectures.network import Network, activations, embed, trainable

__all__ = [
    "Architecture",
    "Network",
    "activations",
    "build_network",
    "count_parameters",
    "embed",
    "fixed_etf_head",
    "linear_head",
    "natural_dimension",
    "trainable",
]
