"""What a network makes of a split in evaluation mode: features, logits, loss and guesses."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import numpy.typing as npt

from experiments.networks.architectures import Network, embed
from experiments.networks.data import Split
from experiments.networks.training.objective import Objective
from ufm.typing import Array


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
    logits: Array
    labels: npt.NDArray[np.int32]
    W: Array
    b: Array

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


@dataclass(frozen=True, eq=False)
class Evaluation:
    """How a network does on a split.

    Attributes:
        loss: mean over the samples, without penalties of the weights.
        guesses: predicted classes, (N,).
        correct: which of them are right, (N,).
    """

    loss: float
    guesses: npt.NDArray[np.intp]
    correct: npt.NDArray[np.bool_]

    @property
    def accuracy(self) -> float:
        """Share of right guesses."""
        return float(self.correct.mean())


def evaluate(objective: Objective, seen: Seen) -> Evaluation:
    """Evaluate in float64 what a network made of a split.

    Objectives with parameters of the training samples have none for other samples: zero here.

    Example:
        >>> from experiments.networks.training import make_objective
        >>> H, W = np.eye(2, dtype=np.float32), np.eye(2)
        >>> seen = Seen(H, H @ W.T, np.array([0, 0], np.int32), W, np.zeros(2))
        >>> found = evaluate(make_objective("mse"), seen)
        >>> found.loss, found.guesses.tolist(), found.accuracy
        (0.5, [0, 1], 0.5)
    """
    labels = jnp.asarray(seen.labels)
    start = objective.start(len(labels), len(seen.W), jax.random.key(0))
    nothing = jax.tree.map(jnp.zeros_like, start)
    logits, W = jnp.asarray(seen.logits), jnp.asarray(seen.W)
    features = jnp.asarray(seen.features, logits.dtype)
    losses, outputs = _answers(objective)(logits, labels, features, W, nothing)
    guesses = np.argmax(np.asarray(outputs), axis=1)
    return Evaluation(float(jnp.mean(losses)), guesses, guesses == seen.labels)


@lru_cache(maxsize=64)
def _answers(objective: Objective) -> Callable[..., tuple[Any, Any]]:
    def answers(logits: Any, labels: Any, features: Any, W: Any, rows: Any) -> tuple[Any, Any]:
        losses = objective.losses(logits, labels, features, W, rows)
        return losses, objective.outputs(logits, features, W)

    return jax.jit(answers)
