"""Small images in three classes that a network learns at once, and arrays compared to the bit."""

from typing import Any

import jax
import numpy as np

from experiments.networks.architectures import Architecture
from experiments.networks.training import TrainSettings

K, N, D, SHAPE = 3, 12, 5, (4, 6, 2)
TINY = Architecture("mlp", width=7 / 256, depth=1)
# Narrow enough to compile fast: stages of 2, 4, 8 and 16 channels.
TINY_RESNET = Architecture("resnet18", width=1 / 32)


def images(count: int = N, seed: int = 0) -> np.ndarray:
    """Noise around one picture per class, classes in order."""
    rng = np.random.default_rng(seed)
    pictures = rng.normal(size=(K, *SHAPE))
    noise = 0.3 * rng.normal(size=(count, *SHAPE))
    return (pictures[labels(count)] + noise).astype(np.float32)


def labels(count: int = N) -> np.ndarray:
    """The first count / K are of class 0, and so on."""
    return np.repeat(np.arange(K, dtype=np.int32), count // K)


def settings(objective: str = "ce", **given: Any) -> TrainSettings:
    """Settings of a small run, with what is given in place of the rest."""
    tiny = {"architecture": TINY, "d": D, "batch_size": 4, "epochs": 3, "max_gradient_norm": 0.0}
    return TrainSettings(objective, **{**tiny, **given})


def same_bits(first: Any, second: Any) -> bool:
    """Whether two trees have the same arrays, bit for bit."""
    pairs = zip(jax.tree.leaves(first), jax.tree.leaves(second), strict=True)
    return all(np.asarray(a).tobytes() == np.asarray(b).tobytes() for a, b in pairs)
