"""What theory asks of features, labels and a classifier, summed up in one pass over the samples."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from experiments.networks.measures.sizes import logit_gaps, squared_norm
from ufm.collapse.accumulate import class_sums
from ufm.collapse.inputs import EPS_64, read_labels, real_array, spacing_at_one
from ufm.errors import InputError
from ufm.losses import Loss
from ufm.losses.columns import column_gradients
from ufm.typing import Array

# Entries of a block of logits or features in float64, 32 MiB: large float32 features stay small.
BLOCK_ENTRIES = 2**22


@dataclass(frozen=True)
class Census:
    """Sums over all training samples of a network.

    With z_i = W h_i + b and v_i = grad L(z_i, y_i):

    Attributes:
        loss: mean over the samples, without decay.
        W, b: the classifier (K, d) and its bias, (K,) or None.
        H_squared: |H|^2.
        gap, gap_spread: mean and standard deviation of the logit gap.
        counts: samples per class.
        error: share of samples whose largest logit is another class's.
        slope_W: (1/N) sum_i v_i h_i^T (K, d), the gradient of the mean loss.
        slope_b: (1/N) sum_i v_i (K,).
        slope_size: (1/N) sum_i |v_i|.
        class_slopes: mean of v_i over each class, rows (K, K).
        means: class means of the features (K, d).
        least: the smallest entry of the features.
        norms: the smallest and the largest |h_i|.
        eps: spacing of the features' dtype at 1.
    """

    loss: float
    W: Array
    b: Array | None
    H_squared: float
    gap: float
    gap_spread: float
    counts: tuple[int, ...]
    error: float
    slope_W: Array
    slope_b: Array
    slope_size: float
    class_slopes: Array
    means: Array
    least: float
    norms: tuple[float, float]
    eps: float

    @property
    def num_samples(self) -> int:
        """N."""
        return sum(self.counts)

    @property
    def W_squared(self) -> float:
        """|W|^2."""
        return squared_norm(self.W)

    @property
    def b_squared(self) -> float:
        """|b|^2, 0 without bias."""
        return 0.0 if self.b is None else squared_norm(self.b)

    @property
    def scatter(self) -> float:
        """sum_i |h_i - mu_{y_i}|^2 / sum_k n_k |mu_k - mu|^2, mu the mean; 0 below rounding."""
        n = np.asarray(self.counts, np.float64)
        within = self.H_squared - float(n @ np.sum(self.means**2, axis=1))
        if within <= 4 * self.eps * self.H_squared:
            return 0.0
        centred = self.means - n @ self.means / n.sum()
        between = float(n @ np.sum(centred**2, axis=1))
        return within / between if between else math.inf


class Meter:
    """One pass over batches: ``update`` with features and labels, then ``census``.

    Args:
        loss: of (logits, label); one whose numbers come from the class sizes has them already.
        W: (K, d).
        b: (K,) or None.

    Raises:
        InputError: arrays that do not fit.

    Example:
        >>> from ufm import MSE
        >>> meter = Meter(MSE(), np.eye(2))
        >>> meter.update(np.eye(2), [0, 1])
        >>> found = meter.census()
        >>> found.loss, found.gap, found.error, found.counts
        (0.0, 1.0, 0.0, (1, 1))
    """

    def __init__(self, loss: Loss, W: npt.ArrayLike, b: npt.ArrayLike | None = None) -> None:
        self.loss = loss
        self.W = real_array(W, "classifier", 2).astype(np.float64)
        self.b = None if b is None else real_array(b, "bias", 1).astype(np.float64)
        K, d = self.W.shape
        if self.b is not None and self.b.shape != (K,):
            got = f"{K} rows and a bias of shape {self.b.shape}"
            raise InputError("Need a row of W and an entry of b for every class", got, "match them")
        self._counts = np.zeros(K, np.intp)
        self._losses: list[float] = []
        self._gaps: list[Array] = []
        self._errors = 0
        self._slope_W, self._means = np.zeros((K, d)), np.zeros((K, d))
        self._class_slopes = np.zeros((K, K))
        self._slope_size = self._squares = 0.0
        self._least, self._shortest, self._longest = math.inf, math.inf, 0.0
        self._eps = EPS_64

    def update(self, features: npt.ArrayLike, labels: npt.ArrayLike) -> None:
        """Take in features (B, d) and labels (B,) in 0..K-1."""
        H = real_array(features, "features", 2)
        K, d = self.W.shape
        if H.shape[1] != d:
            got = f"shapes {H.shape} and {self.W.shape}"
            raise InputError("Need features (N, d) and W (K, d) of one d", got, "transpose one")
        y = read_labels(labels, len(H))
        if y.max() >= K:
            got = f"{K} rows and labels up to {y.max()}"
            raise InputError("Need a row of W and an entry of b for every class", got, "match them")
        step = max(1, BLOCK_ENTRIES // max(K, d))
        for start in range(0, len(H), step):
            self._take(H[start : start + step].astype(np.float64), y[start : start + step])
        self._eps = max(self._eps, spacing_at_one(H.dtype))

    def _take(self, H: Array, y: npt.NDArray[np.intp]) -> None:
        K = len(self.W)
        Z = H @ self.W.T + (0.0 if self.b is None else self.b)
        losses, V = (np.asarray(x) for x in column_gradients(self.loss, Z.T, y))
        squares = np.einsum("ij,ij->i", H, H)
        self._counts += np.bincount(y, minlength=K)
        self._losses.append(float(losses.sum()))
        self._gaps.append(logit_gaps(Z, y))
        self._errors += int(np.count_nonzero(np.argmax(Z, axis=1) != y))
        self._slope_W += V @ H
        self._means += class_sums(y, H, K)
        self._class_slopes += class_sums(y, V.T, K)
        self._slope_size += float(np.linalg.norm(V, axis=0).sum())
        self._squares += float(squares.sum())
        self._least = min(self._least, float(H.min()))
        self._shortest = min(self._shortest, math.sqrt(squares.min()))
        self._longest = max(self._longest, math.sqrt(squares.max()))

    def census(self) -> Census:
        """The sums of all samples so far.

        Raises:
            InputError: no sample yet.
        """
        N = int(self._counts.sum())
        if N == 0:
            raise InputError("Need at least one sample", "0 samples", "call update first")
        gaps = np.concatenate(self._gaps)
        sizes = np.maximum(self._counts, 1)[:, None]
        return Census(
            loss=math.fsum(self._losses) / N,
            W=self.W,
            b=self.b,
            H_squared=self._squares,
            gap=float(gaps.mean()),
            gap_spread=float(gaps.std()),
            counts=tuple(self._counts.tolist()),
            error=self._errors / N,
            slope_W=self._slope_W / N,
            slope_b=self._class_slopes.sum(axis=0) / N,
            slope_size=self._slope_size / N,
            class_slopes=self._class_slopes / sizes,
            means=self._means / sizes,
            least=self._least,
            norms=(self._shortest, self._longest),
            eps=self._eps,
        )


def census(
    loss: Loss,
    features: npt.ArrayLike,
    W: npt.ArrayLike,
    b: npt.ArrayLike | None,
    labels: npt.ArrayLike,
) -> Census:
    """The sums of arrays that are there as a whole.

    Args:
        loss: of (logits, label).
        features: (N, d), of all training samples, in any order.
        W: (K, d).
        b: (K,) or None.
        labels: (N,), integers in 0..K-1.

    Raises:
        InputError: arrays of other shapes.

    Example:
        >>> from ufm import MSE
        >>> census(MSE(), np.eye(2), np.eye(2), None, [0, 1]).slope_W.tolist()
        [[0.0, 0.0], [0.0, 0.0]]
    """
    meter = Meter(loss, W, b)
    meter.update(features, labels)
    return meter.census()
