"""Curvature of the objective in the classifier alone, features held fixed."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

import jax
import numpy as np

from experiments.networks.training.evaluate import Seen
from landscape.curvature.lanczos import Eigenpairs, lanczos
from ufm.losses import Loss
from ufm.typing import Array


@dataclass(frozen=True, eq=False)
class ClassifierHessian:
    """The Hessian of (1/N) sum_i L(W h_i + b, y_i) + (lambda_W / 2) |W|^2 in W, as an operator.

    V -> (1/N) sum_i S_i V h_i h_i^T + lambda_W V, with S_i the Hessian of the loss at the logits
    of sample i. In NumPy and float64: a product costs four matrix products, nothing is compiled.

    Attributes:
        S: (N, K, K).
        H: (N, d).
        lambda_W: >= 0.

    Example:
        >>> one = ClassifierHessian(np.ones((1, 1, 1)), np.array([[2.0]]), 0.5)
        >>> one.matvec(np.ones(1)).tolist(), one.trace
        ([4.5], 4.5)
    """

    S: Array
    H: Array
    lambda_W: float

    @property
    def shape(self) -> tuple[int, int]:
        """(K d, K d)."""
        size = self.S.shape[1] * self.H.shape[1]
        return size, size

    def matvec(self, vector: Array) -> Array:
        """(K d,) to (K d,)."""
        V = np.asarray(vector).reshape(self.S.shape[1], self.H.shape[1])
        moved = np.matmul(self.S, (self.H @ V.T)[:, :, None])[:, :, 0]
        return np.asarray(moved.T @ self.H / len(self.H) + self.lambda_W * V).ravel()

    @property
    def trace(self) -> float:
        """Ave tr(S_i) |h_i|^2 + K d lambda_W."""
        traces = np.trace(self.S, axis1=1, axis2=2)
        return float(np.mean(traces * np.sum(self.H**2, axis=1)) + self.shape[0] * self.lambda_W)


def classifier_hessian(seen: Seen, loss: Loss, lambda_W: float) -> ClassifierHessian:
    """The Hessian in W at a network's classifier and features.

    Example:
        >>> from ufm import MSE
        >>> H, W = np.eye(2, dtype=np.float32), np.eye(2)
        >>> seen = Seen(H, H @ W.T, np.array([0, 1], np.int32), W, np.zeros(2))
        >>> classifier_hessian(seen, MSE(), 0.5).matvec(np.ones(4)).tolist()
        [1.0, 1.0, 1.0, 1.0]
    """
    S = np.asarray(_logit_hessians(loss)(seen.logits, seen.labels), np.float64)
    return ClassifierHessian(S, np.asarray(seen.features, np.float64), lambda_W)


@lru_cache(maxsize=64)
def _logit_hessians(loss: Loss) -> Callable[[Any, Any], Any]:
    return jax.jit(jax.vmap(jax.hessian(loss)))


def classifier_curvature(hessian: ClassifierHessian, num: int) -> Eigenpairs:
    """Its ``num`` largest eigenvalues by block Lanczos, with residuals.

    What the model of the same objective predicts is ``ufm.plain.spectra.classifier_spectrum``.

    Args:
        hessian: of a network's classifier.
        num: how many, at most K d; (K - 1)^2 + 1 show all outliers of cross entropy and the bulk.
    """
    wanted = min(num, hessian.shape[0])
    return lanczos(hessian, num_eigenvalues=wanted, which="largest", key=jax.random.key(0))


def largest_and_trace(seen: Seen, loss: Loss, lambda_W: float) -> dict[str, float]:
    """Largest eigenvalue and trace of the Hessian in W, as they go into the record of an epoch."""
    hessian = classifier_hessian(seen, loss, lambda_W)
    largest = classifier_curvature(hessian, 1).eigenvalues[-1]
    return {"hessian_W_largest": float(largest), "hessian_W_trace": hessian.trace}
