"""Cross entropy and label smoothing."""

from __future__ import annotations

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import scipy

from ufm.errors import InputError
from ufm.losses.dual import SimplexDual
from ufm.losses.loss import Fact, Loss, Properties
from ufm.records import pytree_record

_SMOOTHED_CROSS_ENTROPY = Properties(
    convex=Fact(True),
    shift_invariant=Fact(True),
    equivariant=Fact(True),
    equalising=Fact(True),
    contrastive=Fact(True),
    isometric=Fact(False),
    nonnegative=Fact(True),
    smooth=Fact(True),
)


def softmax_bounds(Z: Any) -> tuple[float, float]:
    """Bounds of diag(p) - p p^T, p = softmax of the columns of Z: min p and max 2 p (1 - p).

    For x orthogonal to 1: sum_j p_j (x_j - p^T x)^2 >= min p |x|^2; the other is Gershgorin's.

    Example:
        >>> softmax_bounds(np.zeros((4, 1)))
        (0.25, 0.375)
    """
    p = scipy.special.softmax(np.asarray(Z), axis=0)
    return float(p.min()), float((2 * p * (1 - p)).max())


@pytree_record()
class CrossEntropy(Loss):
    """Cross entropy L(z, k) = log sum_j exp(z_j) - z_k.

    Source: Zhu et al. 2021 (arXiv 2105.02375). Finite for every finite z.

    Example:
        >>> round(float(CrossEntropy()(jnp.zeros(4), 0)), 6)  # log 4
        1.386294
    """

    def __call__(self, logits: Any, label: Any) -> Any:
        """Cross entropy of one sample, logits (K,), label in 0..K-1."""
        return jax.nn.logsumexp(logits) - logits[label]

    def properties(self, num_classes: int) -> Properties:
        """Convex, shift invariant, equivariant, contrastive, nonnegative: all proved."""
        return _SMOOTHED_CROSS_ENTROPY

    def curvature_bounds(self, Z: Any, labels: Any) -> tuple[float, float]:
        """Of S = diag(p) - p p^T: min p across the shift, and max 2 p (1 - p) (Gershgorin)."""
        return softmax_bounds(Z)

    @property
    def name(self) -> str:
        """``ce``."""
        return "ce"

    @property
    def concordance(self) -> float:
        """1: the derivatives are variance and third central moment of v under the softmax."""
        return 1.0

    @property
    def dual(self) -> SimplexDual:
        """Entropy on the simplex."""
        return SimplexDual(0.0)


@pytree_record()
class LabelSmoothing(Loss):
    """Cross entropy against (1 - delta) e_k + delta / K (the convention of PyTorch).

    L(z, k) = logsumexp(z) - (1 - delta) z_k - (delta / K) sum_j z_j,  delta in [0, 1).
    Source: Guo et al. 2024 (arXiv 2402.03979). Where a paper spreads delta over the K - 1 other
    classes, use delta K / (K - 1) here.

    Raises:
        InputError: delta outside [0, 1).

    Example:
        >>> round(float(LabelSmoothing(0.1)(jnp.array([1.0, 0.0]), 0)), 6)  # CE + 0.05
        0.363262
    """

    delta: float

    def __post_init__(self) -> None:
        if not 0 <= self.delta < 1:
            raise InputError(
                "Need a smoothing delta in [0, 1)", self.delta, "use a value such as 0.1"
            )

    def __call__(self, logits: Any, label: Any) -> Any:
        """Smoothed cross entropy of one sample, logits (K,), label in 0..K-1."""
        # As mean_j over the target of (logsumexp - z_j): no cancellation at large logits.
        losses = jax.nn.logsumexp(logits) - logits
        return (1 - self.delta) * losses[label] + self.delta * jnp.mean(losses)

    def properties(self, num_classes: int) -> Properties:
        """Convex, shift invariant, equivariant, contrastive, nonnegative: all proved."""
        return _SMOOTHED_CROSS_ENTROPY

    def curvature_bounds(self, Z: Any, labels: Any) -> tuple[float, float]:
        """Of S = diag(p) - p p^T: min p across the shift, and max 2 p (1 - p) (Gershgorin)."""
        return softmax_bounds(Z)

    @property
    def name(self) -> str:
        """``ls(delta)``."""
        return f"ls({self.delta:g})"

    @property
    def concordance(self) -> float:
        """1: the derivatives are variance and third central moment of v under the softmax."""
        return 1.0

    @property
    def dual(self) -> SimplexDual:
        """Entropy on the simplex, shifted by the smoothed target."""
        return SimplexDual(float(self.delta))
