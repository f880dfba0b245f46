"""Mean squared error and its rescaled form."""

from __future__ import annotations

import math
from typing import Any

import jax
import jax.numpy as jnp

from ufm.errors import InputError, require_positive
from ufm.losses.dual import QuadraticDual
from ufm.losses.loss import Loss, Properties, separable_properties
from ufm.records import pytree_record


@pytree_record()
class MSE(Loss):
    """Squared error L(z, k) = |z - e_k|^2 / 2 (a sum over classes: PyTorch's mean times K / 2).

    Source: Zhou et al. 2022 (arXiv 2203.01238).

    Example:
        >>> float(MSE()(jnp.array([0.0, 2.0]), 1))
        0.5
    """

    def __call__(self, logits: Any, label: Any) -> Any:
        """Half the squared distance of logits (K,) to the one-hot label."""
        # The target in the precision of the logits, else float32 ones would become float64.
        target = jax.nn.one_hot(label, logits.shape[0], dtype=logits.dtype)
        return 0.5 * jnp.sum((logits - target) ** 2)

    def properties(self, num_classes: int) -> Properties:
        """Convex, equivariant and isometric; not shift invariant."""
        return separable_properties(isometric=True)

    def curvature_bounds(self, Z: Any, labels: Any) -> tuple[float, float]:
        """The logit Hessian is the identity."""
        return 1.0, 1.0

    @property
    def name(self) -> str:
        """``mse``."""
        return "mse"

    @property
    def concordance(self) -> float:
        """0: the Hessian is one and the same."""
        return 0.0

    @property
    def dual(self) -> QuadraticDual:
        """The quadratic conjugate with kappa = M = 1."""
        return QuadraticDual(1.0, 1.0)


@pytree_record()
class RescaledMSE(Loss):
    """Squared error with the true class weighted by kappa and its target moved to M.

    L(z, k) = (kappa (z_k - M)^2 + sum_{j != k} z_j^2) / 2,  kappa > 0.
    Source: Zhou et al. 2022 (arXiv 2203.01238); Hui & Belkin 2020. kappa = M = 1 is MSE.

    Raises:
        InputError: kappa <= 0, or M not finite.

    Example:
        >>> float(RescaledMSE(2.0, 3.0)(jnp.array([1.0, 2.0]), 0))  # (2 * 4 + 4) / 2
        6.0
    """

    kappa: float
    M: float

    def __post_init__(self) -> None:
        require_positive(self.kappa, "kappa", "use a value such as 5")
        if not math.isfinite(self.M):
            raise InputError("Need a finite target M", self.M, "use a value such as 2")

    def __call__(self, logits: Any, label: Any) -> Any:
        """Rescaled squared error of logits (K,) with label in 0..K-1."""
        own = jnp.arange(logits.shape[0]) == label
        return 0.5 * jnp.sum(jnp.where(own, self.kappa * (logits - self.M) ** 2, logits**2))

    def properties(self, num_classes: int) -> Properties:
        """Convex and equivariant; isometric only where it is a multiple of MSE (kappa = 1)."""
        return separable_properties(isometric=bool(self.kappa == 1))

    def curvature_bounds(self, Z: Any, labels: Any) -> tuple[float, float]:
        """The logit Hessian has kappa for the own class, 1 for the others."""
        return float(min(self.kappa, 1.0)), float(max(self.kappa, 1.0))

    @property
    def name(self) -> str:
        """``rescaled-mse(kappa,M)``."""
        return f"rescaled-mse({self.kappa:g},{self.M:g})"

    @property
    def concordance(self) -> float:
        """0: the Hessian is one and the same."""
        return 0.0

    @property
    def dual(self) -> QuadraticDual:
        """The quadratic conjugate."""
        return QuadraticDual(float(self.kappa), float(self.M))
