"""What a network makes of a split: one pass over the images, then arrays alone."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from experiments.networks.architectures import Network, embed
from experiments.networks.data import Split

Matrix = npt.NDArray[np.float64]


@dataclass(frozen=True, eq=False)
class Seen:
    """Features of a split in evaluation mode, and the classifier on top.

    Attributes:
        features: (N, d), float32 as the network computes them: their rounding sets the rank cut-off
            of ``ufm.collapse``.
        logits: (N, K), computed from them in float64.
        labels: (N,).
        W: (K, d), float64.
        b: (K,), float64, zero without a bias.
    """

    features: npt.NDArray[np.float32]
    logits: Matrix
    labels: npt.NDArray[np.int32]
    W: Matrix
    b: Matrix

    @property
    def finite(self) -> bool:
        """Whether features and logits are numbers: finite weights may give others."""
        return bool(np.isfinite(self.features).all() and np.isfinite(self.logits).all())


def look(network: Network, split: Split) -> Seen:
    """Send every image of a split through the network once.

    Example:
        >>> from experiments.networks.training import TrainSettings, initial_network
        >>> split = Split(np.zeros((4, 2, 3, 1)), [0, 1, 2, 0])
        >>> look(initial_network(TrainSettings(d=5), (2, 3, 1), 3), split).logits.shape
        (4, 3)
    """
    features = embed(network, split.images)[0]
    head: Any = network.head
    W = np.asarray(head.W, np.float64)
    b = np.zeros(len(W)) if head.b is None else np.asarray(head.b, np.float64)
    with np.errstate(invalid="ignore"):  # infinite features give nan, see ``finite``
        logits = features.astype(np.float64) @ W.T + b
    return Seen(features, logits, split.labels, W, b)
