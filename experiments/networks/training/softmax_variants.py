"""The objectives of Kornblith et al. 2021 that are more than a loss of ``ufm``.

Source of all of them: Kornblith, Chen, Lee & Norouzi 2021, "Why do better loss functions lead to
less transferable features?", with the formulas of its published code and the constants of its
ImageNet experiments. Softmax, label smoothing and squared error are losses of ``ufm`` times a
factor; the registry makes them.
"""

from __future__ import annotations

import math
from abc import abstractmethod
from dataclasses import dataclass
from typing import Any

import jax
import jax.numpy as jnp

from experiments.networks.training.objective import Objective
from ufm.decay import penalty
from ufm.errors import InputError, require_positive
from ufm.losses import CrossEntropy, Loss, UserLoss

# The least squared norm that is divided by, so that a zero vector has a direction: zero.
LEAST_SQUARED_NORM = 1e-12


def normalised(x: Any) -> Any:
    """Rows of x divided by their norms; a zero row stays zero.

    Example:
        >>> normalised(jnp.array([[0.0, 4.0], [0.0, 0.0]])).tolist()
        [[0.0, 1.0], [0.0, 0.0]]
    """
    squared = jnp.sum(x * x, axis=-1, keepdims=True)
    return x * jax.lax.rsqrt(jnp.maximum(squared, LEAST_SQUARED_NORM))


def cross_entropies(logits: Any, labels: Any) -> Any:
    """Cross entropy of every row of logits (N, K), (N,).

    Example:
        >>> cross_entropies(jnp.zeros((1, 2)), jnp.array([0])).round(6).tolist()
        [0.693147]
    """
    return jax.vmap(CrossEntropy())(logits, labels)


@dataclass(frozen=True)
class Dropout(Objective):
    """Cross entropy with dropout of the penultimate features: keep 0.7.

    No function of the logits alone, so no UFM loss.

    Raises:
        InputError: keep outside (0, 1].
    """

    keep: float = 0.7

    def __post_init__(self) -> None:
        if not 0 < self.keep <= 1:
            remedy = "use a probability such as 0.7"
            raise InputError("Need a keep probability in (0, 1]", self.keep, remedy)

    def losses(self, logits: Any, labels: Any, features: Any, W: Any, auxiliary: Any) -> Any:
        return cross_entropies(logits, labels)

    @property
    def name(self) -> str:
        """``dropout(keep)``."""
        return f"dropout({self.keep:g})"


@dataclass(frozen=True)
class ExtraL2(Objective):
    """Cross entropy plus (strength / 2) |W|^2 on top of any weight decay: strength 8e-4.

    As a UFM: cross entropy with lambda_W larger by ``strength``. A fixed classifier makes the
    penalty a constant.
    """

    strength: float = 8e-4

    def __post_init__(self) -> None:
        require_positive(self.strength, "strength", "use a value such as 8e-4")

    def losses(self, logits: Any, labels: Any, features: Any, W: Any, auxiliary: Any) -> Any:
        return cross_entropies(logits, labels)

    def penalty(self, W: Any) -> Any:
        return penalty(self.strength, jnp.sum(W * W))

    @property
    def name(self) -> str:
        """``extra-l2(strength)``."""
        return f"extra-l2({self.strength:g})"

    @property
    def ufm_loss(self) -> Loss:
        """Cross entropy; ``extra_lambda_W`` has the rest."""
        return CrossEntropy()

    @property
    def extra_lambda_W(self) -> float:
        """The strength."""
        return self.strength


class OfLogits(Objective):
    """An objective whose sample losses are a function of (logits, label): ``of_logits``."""

    @abstractmethod
    def of_logits(self, logits: Any, label: Any) -> Any:
        """The loss of one sample, logits (K,)."""

    def losses(self, logits: Any, labels: Any, features: Any, W: Any, auxiliary: Any) -> Any:
        return jax.vmap(self.of_logits)(logits, labels)

    @property
    def ufm_loss(self) -> Loss:
        """The same function, its properties probed."""
        return UserLoss(self.of_logits, self.name)


@dataclass(frozen=True)
class LogitPenalty(OfLogits):
    """Cross entropy plus (strength / 2) |z|^2 of the logits: strength 6e-4."""

    strength: float = 6e-4

    def __post_init__(self) -> None:
        require_positive(self.strength, "strength", "use a value such as 6e-4")

    def of_logits(self, logits: Any, label: Any) -> Any:
        return CrossEntropy()(logits, label) + penalty(self.strength, jnp.sum(logits * logits))

    @property
    def name(self) -> str:
        """``logit-penalty(strength)``."""
        return f"logit-penalty({self.strength:g})"


@dataclass(frozen=True)
class LogitNormalisation(OfLogits):
    """Cross entropy of z / (temperature |z|): temperature 0.04. Not convex in the logits."""

    temperature: float = 0.04

    def __post_init__(self) -> None:
        require_positive(self.temperature, "temperature", "use a value such as 0.04")

    def of_logits(self, logits: Any, label: Any) -> Any:
        return CrossEntropy()(normalised(logits) / self.temperature, label)

    def outputs(self, logits: Any, features: Any, W: Any) -> Any:
        return normalised(logits) / self.temperature

    @property
    def name(self) -> str:
        """``logit-normalisation(temperature)``."""
        return f"logit-normalisation({self.temperature:g})"


@dataclass(frozen=True)
class CosineSoftmax(Objective):
    """Cross entropy of cos(h, w_k) / temperature: temperature 0.05.

    It ignores the bias, and predicts by the cosines. No function of the logits, so no UFM loss.
    """

    temperature: float = 0.05

    def __post_init__(self) -> None:
        require_positive(self.temperature, "temperature", "use a value such as 0.05")

    def outputs(self, logits: Any, features: Any, W: Any) -> Any:
        return normalised(features) @ normalised(W).T / self.temperature

    def losses(self, logits: Any, labels: Any, features: Any, W: Any, auxiliary: Any) -> Any:
        return cross_entropies(self.outputs(logits, features, W), labels)

    @property
    def name(self) -> str:
        """``cosine-softmax(temperature)``."""
        return f"cosine-softmax({self.temperature:g})"


@dataclass(frozen=True)
class Sigmoid(OfLogits):
    """The sum over classes of binary cross entropies of z_j - log K against 'is it class j?'.

    log(1 + exp(-a_k)) + sum_{j != k} log(1 + exp(a_j)),  a = z - log K: at z = 0 every class has
    probability 1 / (K + 1), as a softmax would nearly say.
    """

    def of_logits(self, logits: Any, label: Any) -> Any:
        shifted = logits - math.log(logits.shape[0])
        own = jnp.arange(logits.shape[0]) == label
        return jnp.sum(jax.nn.softplus(jnp.where(own, -shifted, shifted)))

    def outputs(self, logits: Any, features: Any, W: Any) -> Any:
        return logits - math.log(logits.shape[-1])

    @property
    def name(self) -> str:
        """``sigmoid``."""
        return "sigmoid"
