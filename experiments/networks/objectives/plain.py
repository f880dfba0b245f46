"""A loss of ``ufm`` as it is."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import jax

from experiments.networks.objectives.objective import Objective
from ufm.losses import Loss


@dataclass(frozen=True)
class PlainObjective(Objective):
    """The mean of a loss L(logits, label) of ``ufm``: the same object in model and network.

    (1/N) sum_i L(W h_i + b, y_i)

    Example:
        >>> import jax.numpy as jnp
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
