"""A network's loss and guesses on a split, in evaluation mode."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import numpy.typing as npt

from experiments.networks.monitor.seen import Seen
from experiments.networks.objectives import Objective


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
        >>> from experiments.networks.objectives import make_objective
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
