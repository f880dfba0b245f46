"""Binary cross entropy: one class against the rest, once for every class."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import scipy

from ufm.losses.dual import Dual
from ufm.losses.loss import Loss, Properties, separable_properties
from ufm.records import pytree_record
from ufm.typing import Array


@pytree_record()
class BCE(Loss):
    """Binary cross entropy L(z, k) = sum_j log(1 + exp(z_j)) - z_k: a sum over classes.

    PyTorch's ``BCEWithLogitsLoss`` is the mean over classes: this one divided by K.
    Source: standard; one-vs-rest. Not shift invariant: without a bias it has minimisers of rank K,
    K - 1 and 1 (BCE-2 of docs/theory.md).

    Example:
        >>> round(float(BCE()(jnp.zeros(4), 0)), 6)  # 4 log 2
        2.772589
    """

    def __call__(self, logits: Any, label: Any) -> Any:
        """The sum of the binary losses of one sample, logits (K,), label in 0..K-1."""
        own = jnp.arange(logits.shape[0]) == label
        # log(1 + e^-z) for the own class: no cancellation at large logits.
        return jnp.sum(jax.nn.softplus(jnp.where(own, -logits, logits)))

    def properties(self, num_classes: int) -> Properties:
        """Convex, equivariant, equalising and nonnegative; not shift invariant: all proved."""
        return separable_properties()

    def curvature_bounds(self, Z: Any, labels: Any) -> tuple[float, float]:
        """The logit Hessian is diagonal: q (1 - q), q the sigmoid of each logit."""
        curvature = scipy.special.expit(np.asarray(Z)) * scipy.special.expit(-np.asarray(Z))
        return float(curvature.min()), float(curvature.max())

    @property
    def name(self) -> str:
        """``bce``."""
        return "bce"

    @property
    def dual(self) -> CubeDual:
        """Binary entropies on the unit cube."""
        return CubeDual()


@dataclass(frozen=True)
class CubeDual(Dual):
    """L_k^*(v) = sum_j q_j log q_j + (1 - q_j) log(1 - q_j) for q = v + e_k in [0, 1]^K, else +inf.

    Source: conjugate of softplus, shifted by the target (derived here).

    Example:
        >>> CubeDual().conjugate(np.zeros((2, 2))).tolist()  # one-hot: entropies zero
        [0.0, 0.0]
    """

    def conjugate(self, V: Array) -> Array:
        """Minus the sum of the binary entropies of v_k + e_k, columnwise."""
        q = np.clip(V + np.eye(len(V)), 0.0, 1.0)  # rounding only; see recentre
        return np.asarray(
            np.sum(scipy.special.xlogy(q, q) + scipy.special.xlogy(1 - q, 1 - q), axis=0)
        )

    def recentre(self, V: Array, proportions: Array) -> Array:
        """Subtract the mean, then mix with the proportions until every entry is a probability."""
        target = np.eye(len(V))
        V = V - (V @ proportions)[:, None]
        q, mean = V + target, proportions[:, None]  # the mean lies inside the cube
        outside = q - np.clip(q, 0.0, 1.0)
        mix = float(np.max(outside / np.where(outside == 0, 1.0, q - mean)))
        return (1 - mix) * V + mix * (mean - target)
