"""A network's loss and accuracy on a set of images, in evaluation mode."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from experiments.networks.architectures import Network, embed
from experiments.networks.objectives import Objective


@dataclass(frozen=True)
class Evaluation:
    """Mean loss of the samples, without penalties of the weights, and share of right guesses."""

    loss: float
    accuracy: float


def evaluate(network: Network, objective: Objective, images: Any, labels: Any) -> Evaluation:
    """Evaluate on images (N, height, width, channels) with labels (N,).

    The mean is taken in float64. Objectives with parameters of the training samples have none for
    other samples: they are zero here.

    Raises:
        InputError: as ``embed``.

    Example:
        >>> from experiments.networks.objectives import make_objective
        >>> from experiments.networks.training.settings import TrainSettings, initial_network
        >>> network = initial_network(TrainSettings(), (2, 3, 1), 3)
        >>> images, labels = np.zeros((4, 2, 3, 1), np.float32), np.array([0, 1, 2, 0])
        >>> evaluate(network, make_objective("mse"), images, labels)  # the logits are zero
        Evaluation(loss=0.5, accuracy=0.5)
    """
    features, logits = embed(network, images)
    features, logits = (np.asarray(array, np.float64) for array in (features, logits))
    W = np.asarray(network.head.W, np.float64)
    labels = jnp.asarray(labels)
    start = objective.start(len(labels), network.num_classes, jax.random.key(0))
    nothing = jax.tree.map(jnp.zeros_like, start)
    losses = objective.losses(jnp.asarray(logits), labels, jnp.asarray(features), W, nothing)
    guess = np.argmax(objective.outputs(jnp.asarray(logits), jnp.asarray(features), W), axis=-1)
    return Evaluation(float(jnp.mean(losses)), float(np.mean(guess == np.asarray(labels))))
