"""How many parameters a network has, and what fixing the classifier saves."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import equinox as eqx
import jax

from experiments.networks.architectures.build import Architecture, build_network
from experiments.networks.architectures.network import trainable


@dataclass(frozen=True)
class ParameterCount:
    """Numbers in a network: all parameters, and those that are trained.

    Running statistics are no parameters. A fixed classifier counts in ``total`` only.
    """

    total: int
    trained: int


def count_parameters(
    architecture: Architecture,
    image_shape: tuple[int, int, int],
    num_classes: int,
    d: int | None = None,
    *,
    bias: bool = True,
    fixed_etf: bool = False,
) -> ParameterCount:
    """Count the parameters of a network without making their values.

    Args: as ``build_network``.

    Raises:
        InputError: as ``build_network``.

    Example:
        >>> count_parameters(Architecture("resnet18", features="relu"), (32, 32, 3), 10)
        ParameterCount(total=11173962, trained=11173962)
    """

    def make(key: Any) -> Any:
        return build_network(
            architecture, image_shape, num_classes, d, key, bias=bias, fixed_etf=fixed_etf
        )

    network = eqx.filter_eval_shape(make, jax.random.key(0))

    def size(tree: Any) -> int:
        return sum(math.prod(leaf.shape) for leaf in jax.tree.leaves(tree))

    return ParameterCount(
        size((network.body, network.head)), size(eqx.filter(network, trainable(network)))
    )
