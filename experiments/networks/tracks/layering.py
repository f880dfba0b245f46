"""Layers of rate reduction, built forward in a folder so that a kill changes no number."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np

from experiments.networks.tracks.stepping import Record, stepped
from ufm.redunet import (
    Layer,
    covariances,
    entering,
    next_layer,
    rate_reduction,
)
from ufm.typing import AnyArray

# Checkpoints of a network, which hold all its layers so far.
LOOKS = 4


def no_layers(depth: int, num_classes: int, blocks: int, d: int, dtype: Any) -> Layer:
    """Room for so many layers, the axis of layers first.

    Example:
        >>> no_layers(2, 3, 1, 4, float).compress.shape
        (2, 3, 1, 4, 4)
    """
    return Layer(
        np.zeros((depth, blocks, d, d), dtype),
        np.zeros((depth, num_classes, blocks, d, d), dtype),
        np.zeros((depth, num_classes)),
        np.zeros((depth, num_classes)),
    )


def built(
    Z: AnyArray,
    labels: AnyArray,
    folder: Path,
    key: str,
    *,
    eps: float,
    eta: float,
    depth: int,
    normalisation: str,
) -> tuple[list[Layer], AnyArray, list[float]]:
    """``ufm.redunet.build`` with a checkpoint after every quarter of the layers.

    Ends early, with fewer layers, after one before which rate reduction was not finite.

    Args:
        Z: as ``build``.
        labels: as ``build``.
        folder: for the checkpoint, see ``stepped``.
        key: as ``stepped``.
        eps: as ``build``.
        eta: as ``build``.
        depth: as ``build``.
        normalisation: as ``build``.

    Example:
        >>> import tempfile
        >>> Z, labels = np.array([[[1.0, 0.9, 0.1], [0.0, 0.1, 1.0]]]), np.array([0, 0, 1])
        >>> given = {"eps": 0.5, "eta": 0.5, "depth": 3, "normalisation": "sample"}
        >>> layers, _, rates = built(Z, labels, Path(tempfile.mkdtemp()), "5eed", **given)
        >>> len(layers), len(rates)
        (3, 4)
    """
    counts = np.bincount(labels)
    K, (blocks, d, _) = len(counts), Z.shape
    Z = entering(Z, labels, counts, normalisation)

    def grown(state: Any, number: int) -> tuple[Any, Record]:
        layers, before = state
        layer, after, rate = next_layer(
            before, labels, counts, eps=eps, eta=eta, normalisation=normalisation
        )
        for room, part in zip(layers, layer, strict=True):
            room[number] = part
        return (layers, after), {"rate": [rate]}

    start = no_layers(depth, K, blocks, d, Z.dtype), Z
    state, records = stepped(start, depth, grown, folder, key, -(-depth // LOOKS))
    layers = layers_of(state[0], len(records))
    last = rate_reduction(covariances(state[1], labels, K), counts, eps)
    return layers, state[1], [*(record["rate"][0] for record in records), last]


def layers_of(room: Layer, depth: int, num_classes: int | None = None) -> list[Layer]:
    """The first layers of a room, and of each the first classes.

    Example:
        >>> len(layers_of(no_layers(3, 2, 1, 4, float), 2))
        2
    """
    E, C, shares, scales = room
    some = slice(num_classes)
    return [Layer(E[i], C[i, some], shares[i, some], scales[i, some]) for i in range(depth)]
