"""The two ways of weight decay: that of the unconstrained feature model, and that of practice."""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from dataclasses import dataclass, replace
from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp

from experiments.networks.architectures.network import Network, trainable
from ufm.decay import penalty
from ufm.errors import InputError, require_positive

REMEDY = "use a positive weight decay such as 5e-4"


class Decay(ABC):
    """A penalty of parameters, and perhaps of features."""

    @abstractmethod
    def of_parameters(self, network: Network) -> Any:
        """The penalty of what is trained: the part that decoupled decay takes out."""

    def of_features(self, features: Any, num_samples: int) -> Any:
        """The penalty of a batch with these features (B, d) out of ``num_samples``."""
        return 0.0

    def penalty(self, network: Network, features: Any, num_samples: int) -> Any:
        """Both, of a batch with these features (B, d) out of ``num_samples``."""
        return self.of_features(features, num_samples) + self.of_parameters(network)


@dataclass(frozen=True)
class FeatureDecay(Decay):
    """Decay of classifier, features and bias, as in ``ufm.UFM``; no other weight decays.

    (lambda_W/2) |W|^2 + (lambda_H/2) (N/B) sum_{i in batch} |h_i|^2 + (lambda_b/2) |b|^2: its mean
    over batches of size B is the penalty of the model with N samples, and with B = N it is that
    penalty. A fixed classifier has no decay.

    Args:
        lambda_W, lambda_H: > 0; lambda_H goes with a sum over N samples, so it is smaller than
            lambda_W by about a factor N/K in networks.
        lambda_b: >= 0; 0 for an unregularised bias, or none.

    Raises:
        InputError: a decay outside its domain.

    Example:
        >>> FeatureDecay(5e-4, 1e-6).mode
        'ufm'
    """

    lambda_W: float
    lambda_H: float
    lambda_b: float = 0.0

    mode = "ufm"

    @staticmethod
    def at(
        c: float, lambda_W: float, num_classes: int, num_samples: int, lambda_b: float = 0.0
    ) -> FeatureDecay:
        """The decay with lambda_H = c^2 / (K N lambda_W): c alone decides where collapse ends.

        Args:
            c: > 0; the threshold of cross entropy is 1.
            lambda_W: > 0; the ratio to lambda_H sets |W| against |H|, and with ReLU features a
                small one switches units off at the start.
            num_classes: K.
            num_samples: N.
            lambda_b: as above.

        Raises:
            InputError: a value outside its domain.

        Example:
            >>> FeatureDecay.at(0.5, 0.125, 2, 8).lambda_H
            0.125
        """
        remedy = "use 0.2, below the threshold 1"
        c = require_positive(c, "c", remedy)
        lambda_W = require_positive(lambda_W, "lambda_W", REMEDY)
        return FeatureDecay(lambda_W, c**2 / (num_classes * num_samples * lambda_W), lambda_b)

    def __post_init__(self) -> None:
        require_positive(self.lambda_W, "lambda_W", REMEDY)
        require_positive(self.lambda_H, "lambda_H", REMEDY)
        require_not_negative(self.lambda_b, "lambda_b")

    def of_features(self, features: Any, num_samples: int) -> Any:
        """The penalty of a batch with these features (B, d) out of ``num_samples``."""
        per_feature = self.lambda_H * num_samples / features.shape[0]
        return penalty(per_feature, jnp.sum(features * features))

    def of_parameters(self, network: Network) -> Any:
        """That of W and b."""
        head, value = network.head, 0.0
        if not head.fixed:
            value += penalty(self.lambda_W, jnp.sum(head.W * head.W))
        if head.b is not None:
            value += penalty(self.lambda_b, jnp.sum(head.b * head.b))
        return value

    def times(self, factor: float) -> FeatureDecay:
        """The decay with lambda_H multiplied."""
        return replace(self, lambda_H=factor * self.lambda_H)


@dataclass(frozen=True)
class WeightDecay(Decay):
    """Decay of everything that is trained: (weight_decay/2) |theta|^2, as SGD's in PyTorch.

    Biases and normalisations decay too, as they do there by default.

    Raises:
        InputError: a negative decay.

    Example:
        >>> WeightDecay(0.0).mode
        'all'
    """

    weight_decay: float = 5e-4

    mode = "all"
    # Nobody decays the features; at a minimum their decay can be estimated, see runs.
    lambda_H = None

    @property
    def lambda_W(self) -> float:
        """That of all weights."""
        return self.weight_decay

    lambda_b = lambda_W

    def times(self, factor: float) -> WeightDecay:
        """The decay multiplied."""
        return WeightDecay(factor * self.weight_decay)

    def __post_init__(self) -> None:
        require_not_negative(self.weight_decay, "weight_decay")

    def of_parameters(self, network: Network) -> Any:
        """That of all weights, the same for every batch."""
        leaves = jax.tree.leaves(eqx.filter(network, trainable(network)))
        return penalty(self.weight_decay, sum(jnp.sum(leaf * leaf) for leaf in leaves))


def require_not_negative(value: float, name: str) -> None:
    """Raise InputError unless the value is finite and not below 0.

    Example:
        >>> require_not_negative(0.0, "lambda_b")
    """
    if not (math.isfinite(value) and value >= 0):
        raise InputError(f"Need {name} >= 0 and finite", value, "use 0 for none")
