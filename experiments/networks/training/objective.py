"""What every objective offers a network: its value, what it predicts with, and its theory."""

from __future__ import annotations

from abc import ABC, abstractmethod
from dataclasses import dataclass
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from ufm.losses import Loss


def coins(key: Any, shape: tuple[int, ...], probability: float) -> Any:
    """Independent booleans, true with a probability below 1 (to 2^-32).

    From random integers: JAX's uniform numbers pass through float64 constants.

    Example:
        >>> coins(jax.random.key(0), (4,), 0.0).tolist()
        [False, False, False, False]
    """
    return jax.random.bits(key, shape, jnp.uint32) < np.uint32(probability * 2**32)


class Objective(ABC):
    """A training objective: (logits, labels, features, W) -> scalar, without weight decay.

    mean_i losses_i + penalty(W), the mean over the samples of the batch.

    Attributes:
        keep: probability with which a feature is kept in training; 1 is no dropout.
    """

    keep: float = 1.0

    @abstractmethod
    def losses(self, logits: Any, labels: Any, features: Any, W: Any, auxiliary: Any) -> Any:
        """The loss of every sample, (N,).

        Args:
            logits: (N, K), with the bias of the classifier, if any.
            labels: integers (N,).
            features: (N, d), after dropout in training.
            W: the classifier (K, d).
            auxiliary: the samples' rows of ``start(...)``, () where there are none.
        """

    @property
    @abstractmethod
    def name(self) -> str:
        """A short readable name with the parameters."""

    def __call__(self, logits: Any, labels: Any, features: Any, W: Any, auxiliary: Any = ()) -> Any:
        """The value on a batch, shapes as in ``losses``."""
        value = jnp.mean(self.losses(logits, labels, features, W, auxiliary))
        return value + self.penalty(W)

    def penalty(self, W: Any) -> Any:
        """A term of the classifier alone; 0 unless an objective says otherwise."""
        return 0.0

    def outputs(self, logits: Any, features: Any, W: Any) -> Any:
        """What the class is predicted from, (N, K): the logits unless an objective differs."""
        return logits

    def dropped(self, features: Any, key: Any) -> Any:
        """Features in training: each kept with probability ``keep`` and divided by it, else 0."""
        if self.keep == 1:
            return features
        return jnp.where(coins(key, features.shape, self.keep), features / self.keep, 0)

    # ---- parameters of the samples

    def start(self, num_samples: int, num_classes: int, key: Any) -> Any:
        """Parameters that belong to samples: a tree of arrays (num_samples, ...), () by default."""
        return ()

    @property
    def rates(self) -> Any:
        """Their learning rates, a tree like ``start``."""
        return ()

    # ---- the unconstrained feature model of the same objective

    @property
    def ufm_loss(self) -> Loss | None:
        """The loss of the model with this objective, None where it is no function of the logits."""
        return None

    @property
    def extra_lambda_W(self) -> float:
        """Decay of W that the objective adds to the model's."""
        return 0.0


@dataclass(frozen=True)
class PlainObjective(Objective):
    """The mean of a loss L(logits, label) of ``ufm``: the same object in model and network.

    (1/N) sum_i L(W h_i + b, y_i)

    Example:
        >>> from ufm import CrossEntropy
        >>> float(PlainObjective(CrossEntropy())(jnp.zeros((3, 1)), jnp.zeros(3, int), None, None))
        0.0
    """

    loss: Loss
    label: str = ""

    def losses(self, logits: Any, labels: Any, features: Any, W: Any, auxiliary: Any) -> Any:
        return jax.vmap(self.loss)(logits, labels)

    @property
    def name(self) -> str:
        """The label, or the name of the loss."""
        return self.label or self.loss.name

    @property
    def ufm_loss(self) -> Loss:
        """The loss itself."""
        return self.loss
