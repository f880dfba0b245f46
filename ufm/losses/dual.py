"""Convex conjugates of the losses, and how to move a gradient into the dual feasible set.

A dual variable is a matrix V (K, K) whose column k belongs to class k; the bound of THEORY C is
D(V) = - sum_k pi_k L_k^*(v_k) - ... . Everything here is host-side float64 NumPy.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol

import numpy as np
import scipy
from numpy.linalg import LinAlgError, eigvalsh

from ufm.typing import Array

# Of so few eigenvalues one takes no less time than all, and SciPy need not be there.
FEW = 50


class Dual(Protocol):
    """The conjugate of a loss and the two projections that the duality gap needs."""

    def conjugate(self, V: Array) -> Array:
        """L_k^*(v_k) for every column, shape (K,)."""

    def recentre(self, V: Array, proportions: Array) -> Array:
        """Columns moved so that sum_k proportions_k v_k = 0, inside the domain of L^*."""

    def shrink(self, V: Array, columns: Array, sigma: float, norm: float) -> Array:
        """Columns moved so that the spectral norm of V diag(columns), now norm, is at most sigma.

        The caller knows the norm already, and at K = 1000 it is most of the work. Unless a loss
        knows better they are scaled towards 0, which the convex domain of L^* has inside.
        """
        return V if norm <= sigma else V * (sigma / norm)


def spectral_norm(Y: Array) -> float:
    """The largest singular value of Y, as the root of the top eigenvalue of a Gram matrix.

    Squaring costs small singular values their digits, but not the largest; one eigenvalue of the
    smaller Gram matrix takes a fifth of the time of all singular values at K = 1000.

    Example:
        >>> spectral_norm(np.diag([1.0, 3.0]))
        3.0
    """
    scale = float(np.abs(Y).max(initial=0.0))
    if scale == 0.0:
        return 0.0
    unit = Y / scale  # squares neither overflow nor underflow
    gram = unit @ unit.T if Y.shape[0] <= Y.shape[1] else unit.T @ unit
    last = len(gram) - 1
    if last < FEW:
        return scale * float(np.sqrt(max(eigvalsh(gram)[-1], 0.0)))
    try:
        top = scipy.linalg.eigh(
            gram, eigvals_only=True, subset_by_index=(last, last), check_finite=False
        )
    except LinAlgError:  # LAPACK's syevr gives up on some highly degenerate matrices
        top = eigvalsh(gram)[-1:]
    return scale * float(np.sqrt(top[0]))


@dataclass(frozen=True)
class SimplexDual(Dual):
    """Cross entropy against the target tau_k = (1 - delta) e_k + delta / K.

    L_k^*(v) = - Ent(v + tau_k) on v + tau_k in the probability simplex, +inf elsewhere.
    Source: standard conjugate of log-sum-exp, shifted by the target (derived here).

    Example:
        >>> float(SimplexDual(0.0).conjugate(np.zeros((2, 2)))[0])  # one-hot: entropy zero
        0.0
    """

    delta: float

    def target(self, num_classes: int) -> Array:
        """Smoothed targets as columns, (K, K)."""
        return (1 - self.delta) * np.eye(num_classes) + self.delta / num_classes

    def conjugate(self, V: Array) -> Array:
        """Minus the entropy of v_k + tau_k, columnwise."""
        q = np.clip(V + self.target(len(V)), 0.0, None)  # rounding only; see recentre
        return np.sum(q * np.log(np.where(q > 0, q, 1.0)), axis=0)

    def recentre(self, V: Array, proportions: Array) -> Array:
        """Subtract the mean, then mix with the mean target until every column is a probability."""
        target = self.target(len(V))
        V = V - (V @ proportions)[:, None]
        q = V + target
        mean_target = (target @ proportions)[:, None]
        short = q < 0
        if np.any(short):
            mix = float(np.max(np.where(short, -q / np.where(short, mean_target - q, 1.0), 0.0)))
            V = (1 - mix) * V + mix * (mean_target - target)
        return V


@dataclass(frozen=True)
class QuadraticDual:
    """The quadratic loss (kappa (z_k - M)^2 + sum_{j != k} z_j^2) / 2.

    L_k^*(v) = (v_k^2 / kappa + sum_{j != k} v_j^2) / 2 + M v_k, finite everywhere.
    Source: conjugate of a quadratic (derived here).

    Example:
        >>> QuadraticDual(1.0, 1.0).conjugate(np.eye(2)).tolist()
        [1.5, 1.5]
    """

    kappa: float
    M: float

    def conjugate(self, V: Array) -> Array:
        """Columnwise conjugate values."""
        own = np.diag(V)
        return 0.5 * (np.sum(V * V, axis=0) + (1 / self.kappa - 1) * own**2) + self.M * own

    def recentre(self, V: Array, proportions: Array) -> Array:
        """Subtract the weighted mean column."""
        return V - (V @ proportions)[:, None]

    def shrink(self, V: Array, columns: Array, sigma: float, norm: float) -> Array:
        """Clip the singular values of V diag(columns) at sigma (tighter than scaling)."""
        if norm <= sigma:
            return V
        left, values, right = np.linalg.svd(V * columns, full_matrices=False)
        return (left * np.minimum(values, sigma)) @ right / columns
