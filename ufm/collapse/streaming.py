"""Neural collapse of features that come in batches, in one pass and d x d memory."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from ufm.collapse.accumulate import Means, Scatter, block_rows, class_sums
from ufm.collapse.inputs import (
    EPS_64,
    Head,
    count_classes,
    read_features,
    read_head,
    read_labels,
    require_finite,
    require_rows,
    spacing_at_one,
)
from ufm.collapse.measure import record_of
from ufm.collapse.record import Collapse
from ufm.errors import InputError
from ufm.typing import Array


class CollapseMetric:
    r"""Neural collapse NC1 to NC4 of a stream of batches: update, compute, merge, reset.

    Kept are, per class, the count n, the mean m, the trace t of the scatter and sum |h|^2, and
    over all classes the within-class scatter S = sum_i (h_i - m_{y_i})(h_i - m_{y_i})^T (d, d), in
    float64. Two parts a, b of a class join by
    m = m_a + n_b/(n_a + n_b) e, S = S_a + S_b + n_a n_b/(n_a + n_b) e e^T with e = m_b - m_a, which
    never subtracts large squares, so that order and size of the batches matter to rounding
    only. ``compute`` is then ``collapse`` of all samples, with one difference: what compares each
    sample with the *final* class means (``nc4_phd``, ``ncc_agreement``, ``nc4_rwu``, ``nc4_cls``)
    needs the samples again and is None. ``classifier_accuracy`` is counted as samples pass.

    Source: Chan, Golub & LeVeque 1983, applied class by class.

    Args:
        classifier: W (K, d); without it K is the largest label plus one.
        bias: b (K,).
        lambda_W: weight decay of W, for ``lambda_H_hat``.
        accuracy: whether to count the decisions of the classifier, which takes its logits: a
            product as large as that for the scatter. Without it ``classifier_accuracy`` is None.

    Raises:
        InputError: (a ValueError) as ``collapse``, at the batch or the classifier that is wrong;
            the metric is then as it was before.

    Example:
        >>> metric = CollapseMetric()
        >>> metric.update([[1.0], [-1.0]], [0, 1])
        >>> metric.update([[3.0], [-3.0]], [0, 1])
        >>> round(metric.compute().nc1_phd, 12)
        0.25
    """

    def __init__(
        self,
        classifier: npt.ArrayLike | None = None,
        bias: npt.ArrayLike | None = None,
        lambda_W: float | None = None,
        accuracy: bool = True,
    ) -> None:
        shape = np.shape(0 if classifier is None else classifier)
        columns = shape[1] if len(shape) == 2 else 0
        self._head: Head | None = read_head(classifier, bias, lambda_W, columns)
        self._accuracy = accuracy
        self.reset()

    def reset(self) -> None:
        """Forget every sample; the classifier stays."""
        classes = 0 if self._head is None else len(self._head.W)
        columns = 0 if self._head is None else self._head.W.shape[1]
        self._counts = np.zeros(classes, np.intp)
        self._means = np.zeros((classes, columns))
        self._traces, self._squares = np.zeros(classes), np.zeros(classes)
        self._scatter: Array | None = None
        self._hits = 0
        self._eps = EPS_64

    @property
    def num_samples(self) -> int:
        """Samples seen since the start or the last ``reset``."""
        return int(self._counts.sum())

    def update(self, features: npt.ArrayLike, labels: npt.ArrayLike) -> None:
        """Take in a batch: features (B, d) and labels (B,), classes in any order, some missing.

        Anything with ``__array__``: NumPy, JAX, a torch CPU tensor. Pass features in the dtype
        they were computed in: the coarsest one decides the rank cut-off. Every sum is float64.
        """
        H = read_features(features)
        y = read_labels(labels, len(H))
        if self._scatter is not None or self._head is not None:
            self._require_columns(H.shape[1])
        if self._head is not None:
            require_rows(y, len(self._head.W))
        step = block_rows(H.shape[1], max(len(self._counts), int(y.max()) + 1))
        parts = [slice(start, start + step) for start in range(0, len(H), step)]
        for part in parts:  # all of it before any of it is taken in
            require_finite(H[part], "features")
        for part in parts:
            self._take(np.array(H[part], dtype=np.float64, order="C"), y[part])
        self._eps = max(self._eps, spacing_at_one(H.dtype))

    def _take(self, block: Array, y: npt.NDArray[np.intp]) -> None:
        """Take in a few thousand samples; the block is changed."""
        present, first, inverse = np.unique(y, return_index=True, return_inverse=True)
        counts = np.bincount(inverse)
        squares = _sums_of_squares(block, inverse)
        if self._head is not None and self._accuracy:
            decisions = np.argmax(block @ self._head.W.T + self._head.b, axis=1)
            self._hits += int(np.count_nonzero(decisions == y))
        # Shifted by a sample of the class, as in ``class_means``: exact collapse stays exact.
        anchors = block[first]
        block -= anchors[inverse]
        shifts = class_sums(inverse, block, len(present)) / counts[:, None]
        block -= shifts[inverse]
        traces = _sums_of_squares(block, inverse)
        rows = self._join(present, counts, anchors + shifts, traces, squares)
        deviations = np.concatenate([block, rows])
        self._add(deviations.T @ deviations)

    def merge(self, other: CollapseMetric) -> None:
        """Take in what another metric of the same features has seen, e.g. in another process."""
        if other._scatter is None:
            return
        if self._scatter is not None or self._head is not None:
            self._require_columns(len(other._scatter))
        mine, theirs = self._head, other._head
        if mine is not theirs and not (
            mine is not None
            and theirs is not None
            and np.array_equal(mine.W, theirs.W)
            and np.array_equal(mine.b, theirs.b)
        ):
            rule = "Metrics that are merged need the same classifier"
            raise InputError(rule, "another one, or none", "give both the same W and b")
        present = np.flatnonzero(other._counts)
        rows = self._join(
            present,
            other._counts[present],
            other._means[present],
            other._traces[present],
            other._squares[present],
        )
        self._add(rows.T @ rows + other._scatter)
        self._hits += other._hits
        self._accuracy = self._accuracy and other._accuracy
        self._eps = max(self._eps, other._eps)

    def compute(self) -> Collapse:
        """The measurements of all samples so far.

        Raises:
            InputError: no sample yet, fewer than two classes, or a class without a sample.
        """
        if self._scatter is None:
            raise InputError("Need at least one sample", "0 samples", "call update first")
        count_classes(np.flatnonzero(self._counts), len(self._counts))
        pooled = self._scatter

        def scatter(M: Array, C: Array, whiteners: list[Array]) -> Scatter:
            energies = [float(np.einsum("ij,ij->", B, pooled @ B)) for B in whiteners]
            hits = self._hits if self._accuracy else None
            return Scatter(self._traces / self._counts, energies, hits)

        means = Means(self._means.copy(), self._squares / self._counts)
        return record_of(self._counts.copy(), means, scatter, self._head, self._eps)

    def _require_columns(self, columns: int) -> None:
        known = self._means.shape[1]
        if columns != known:
            rule = f"Need features with d = {known} columns, as before"
            raise InputError(rule, f"d = {columns}", "measure each layer with a metric of its own")

    def _join(
        self,
        present: npt.NDArray[np.intp],
        counts: npt.NDArray[np.intp],
        means: Array,
        traces: Array,
        squares: Array,
    ) -> Array:
        """Add classes with their counts, means, traces and squares.

        Returns:
            Rows whose scatter is that between the means before and those that were added.
        """
        missing = int(present[-1]) + 1 - len(self._counts)
        if missing > 0:
            self._counts = np.pad(self._counts, (0, missing))
            self._traces, self._squares = (
                np.pad(x, (0, missing)) for x in (self._traces, self._squares)
            )
            grown = np.zeros((len(self._counts), means.shape[1]))
            grown[: len(self._means)] = self._means.reshape(len(self._means), means.shape[1])
            self._means = grown
        before = self._counts[present]
        total = before + counts
        moves = np.where((before > 0)[:, None], means - self._means[present], 0.0)
        weights = before * (counts / total)
        rows = np.sqrt(weights)[:, None] * moves
        self._traces[present] += traces + np.einsum("ij,ij->i", rows, rows)
        self._squares[present] += squares
        share = (counts / total)[:, None]
        self._means[present] = np.where(
            (before > 0)[:, None], self._means[present] + share * moves, means
        )
        self._counts[present] = total
        return rows

    def _add(self, scatter: Array) -> None:
        if self._scatter is None:
            self._scatter = scatter
        else:
            self._scatter += scatter


def _sums_of_squares(block: Array, groups: npt.NDArray[np.intp]) -> Array:
    """Sum of |row|^2 over the rows of each group."""
    return np.asarray(np.bincount(groups, np.einsum("ij,ij->i", block, block)), np.float64)
