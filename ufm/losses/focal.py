"""Focal loss, and the exact region where it is convex."""

from __future__ import annotations

import math
from functools import cache
from typing import Any

import jax
import jax.numpy as jnp
import scipy

from ufm.errors import InputError
from ufm.losses.loss import Fact, Loss, Properties
from ufm.records import pytree_record

SMALLEST = 1e-300


@cache
def focal_convexity_threshold(gamma: float) -> float:
    """The probability u*(gamma) from which focal loss is convex in the logits.

    The logit Hessian is positive semidefinite iff
    (2 gamma + 1)(1 - u) + gamma (1 - (gamma + 1) u) log u >= 0, whatever K and the other
    probabilities are; that set of u is [u*(gamma), 1].
    Source: derived here (docs/theory.md, FL-2).

    Args:
        gamma: focusing parameter, >= 0.

    Returns:
        u* in [0, 1 / (gamma + 1)); 0 for gamma = 0, where focal loss is cross entropy, and for
        gamma below about 1/690, where u* is smaller than any float.

    Example:
        >>> round(focal_convexity_threshold(2.0), 6)
        0.057846
    """
    if gamma == 0:
        return 0.0

    def criterion(log_u: float) -> float:
        u = math.exp(log_u)
        return -(2 * gamma + 1) * math.expm1(log_u) + gamma * (1 - (gamma + 1) * u) * log_u

    lowest = math.log(SMALLEST)
    if criterion(lowest) >= 0:
        return 0.0  # u* ~ exp(-2 - 1/gamma) has left the range of float64
    # In log u, because u* falls like exp(-1/gamma): an absolute tolerance in u would be too coarse.
    return math.exp(scipy.optimize.brentq(criterion, lowest, -math.log1p(gamma), xtol=1e-14))


@pytree_record()
class Focal(Loss):
    """Focal loss L(z, k) = -(1 - u)^gamma log u, with u = softmax(z)_k and gamma >= 0.

    Source: Lin et al. 2017; as a neural-collapse loss Zhou et al. 2022 (arXiv 2210.02192).
    Not convex in the logits for gamma > 0: collapse is then a finding, not a fact.

    Raises:
        InputError: gamma negative or not finite.

    Example:
        >>> round(float(Focal(2.0)(jnp.zeros(2), 1)), 6)  # log(2) / 4
        0.173287
    """

    gamma: float

    def __post_init__(self) -> None:
        if not (math.isfinite(self.gamma) and self.gamma >= 0):
            raise InputError("Need a focusing gamma >= 0", self.gamma, "use a value such as 2")

    def __call__(self, logits: Any, label: Any) -> Any:
        """Focal loss of one sample, logits (K,), label in 0..K-1."""
        nothing = jnp.full_like(logits, -jnp.inf)
        others = jnp.where(jnp.arange(logits.shape[0]) == label, nothing, logits)
        normaliser = jax.nn.logsumexp(logits)
        # log(1 - u) from the other classes, never as 1 - u: no cancellation, no 0^gamma.
        log_rest = jax.nn.logsumexp(others) - normaliser
        return jnp.exp(self.gamma * log_rest) * (normaliser - logits[label])

    def properties(self, num_classes: int) -> Properties:
        """Convex only for gamma = 0; contrastive iff 1/K >= u*(gamma) (FL-3)."""
        threshold = focal_convexity_threshold(float(self.gamma))
        return Properties(
            convex=Fact(self.gamma == 0, note=f"convex only where u >= {threshold:.6f}"),
            shift_invariant=Fact(True),
            equivariant=Fact(True),
            equalising=Fact(True),
            contrastive=Fact(1 / num_classes >= threshold, note="iff 1/K >= u*(gamma)"),
            isometric=Fact(False),
            nonnegative=Fact(True),
            smooth=Fact(True),
        )

    @property
    def name(self) -> str:
        """``focal(gamma)``."""
        return f"focal({self.gamma:g})"
