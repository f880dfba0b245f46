"""A positive multiple of a loss."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from ufm.errors import require_positive
from ufm.losses.dual import Dual
from ufm.losses.loss import Loss, Properties
from ufm.records import pytree_record
from ufm.typing import Array


@dataclass(frozen=True)
class ScaledDual:
    """The conjugate of s L: (s L)^*(v) = s L^*(v / s), standard.

    Example:
        >>> import numpy as np
        >>> from ufm.losses import QuadraticDual
        >>> ScaledDual(QuadraticDual(1.0, 1.0), 2.0).conjugate(2 * np.eye(2)).tolist()
        [3.0, 3.0]
    """

    inner: Dual
    factor: float

    def conjugate(self, V: Array) -> Array:
        """Columnwise conjugate values."""
        return self.factor * self.inner.conjugate(V / self.factor)

    def recentre(self, V: Array, proportions: Array) -> Array:
        """As the inner loss does, in its units."""
        return self.factor * self.inner.recentre(V / self.factor, proportions)

    def shrink(self, V: Array, columns: Array, sigma: float, norm: float) -> Array:
        """As the inner loss does, in its units."""
        s = self.factor
        return s * self.inner.shrink(V / s, columns, sigma / s, norm / s)


@pytree_record()
class Scaled(Loss):
    """factor * L(z, k), factor > 0: the minimisers of L with all decays divided by the factor.

    Raises:
        InputError: a factor that is not positive.

    Example:
        >>> import jax.numpy as jnp
        >>> from ufm import MSE
        >>> float(Scaled(MSE(), 20.0)(jnp.array([0.0, 2.0]), 1))
        10.0
    """

    loss: Loss
    factor: float

    def __post_init__(self) -> None:
        require_positive(self.factor, "factor", "use a number such as 10")

    def __call__(self, logits: Any, label: Any) -> Any:
        """The scaled loss of one sample, logits (K,), label in 0..K-1."""
        return self.factor * self.loss(logits, label)

    def properties(self, num_classes: int) -> Properties:
        """Those of the loss: each survives a positive factor."""
        return self.loss.properties(num_classes)

    def at(self, num_classes: int) -> Scaled:
        """The factor times the loss at this number of classes."""
        return Scaled(self.loss.at(num_classes), self.factor)

    def for_counts(self, counts: Sequence[int]) -> Scaled:
        """The factor times the loss with these class sizes."""
        return Scaled(self.loss.for_counts(counts), self.factor)

    def shift(self, num_classes: int) -> Any:
        """That of the loss."""
        return self.loss.shift(num_classes)

    def kinds(self, num_classes: int) -> Any:
        """Those of the loss."""
        return self.loss.kinds(num_classes)

    @property
    def name(self) -> str:
        """``factor * name``."""
        return f"{self.factor:g} * {self.loss.name}"

    @property
    def dual(self) -> Dual | None:
        """The scaled conjugate, where the loss has one."""
        inner = self.loss.dual
        return None if inner is None else ScaledDual(inner, float(self.factor))
