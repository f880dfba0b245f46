"""Class means and within-class scatter in two passes over blocks of samples, in float64."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator

import numpy as np
import numpy.typing as npt
import scipy

from ufm.collapse.inputs import Measured, require_finite
from ufm.typing import Array

# 8 MiB of float64: large enough for fast matrix products, small beside any data set.
BLOCK_ENTRIES = 2**20
# 128 MiB: blocks whose cost depends on the number of classes as well, see ``block_rows``.
LARGEST_BLOCK = 2**24


@dataclasses.dataclass(frozen=True)
class Means:
    """Class means (K, d) and mean_{i in k} |h_i|^2 (K,)."""

    M: Array
    mean_squares: Array


@dataclasses.dataclass(frozen=True)
class Scatter:
    """What the second pass finds: see ``second_pass``."""

    variances: Array
    energies: list[float]
    # None where decisions were not counted.
    classifier_hits: int | None
    # What needs every sample beside the final class means: None where samples are gone by then.
    centre_hits: int | None = None
    agreements: int | None = None
    agreements_without_bias: int | None = None


def block_rows(num_features: int, num_classes: int = 0) -> int:
    """Samples of a block.

    Args:
        num_features: d.
        num_classes: rows that every block costs besides its samples; eight samples for each of
            them keep that small, as far as memory allows.

    Example:
        >>> block_rows(2048), block_rows(2048, 1000)
        (512, 8000)
    """
    for_classes = min(8 * num_classes, LARGEST_BLOCK // num_features)
    return max(1, BLOCK_ENTRIES // num_features, for_classes)


def class_sums(labels: npt.NDArray[np.intp], rows: Array, num_classes: int) -> Array:
    """Sum of the rows of each class, (K, columns).

    A sparse product: a dense one would cost K times as much, ``np.add.at`` a loop over entries.

    Example:
        >>> class_sums(np.array([1, 0, 1]), np.eye(3), 2).tolist()
        [[0.0, 1.0, 0.0], [1.0, 0.0, 1.0]]
    """
    pointers = np.arange(labels.size + 1)
    membership = scipy.sparse.csr_array(
        (np.ones(labels.size), labels, pointers), shape=(labels.size, num_classes)
    )
    return np.asarray(membership.T @ rows)


def blocks(data: Measured) -> Iterator[tuple[npt.NDArray[np.intp], Array]]:
    """Labels and float64 copies of the features, a few thousand samples at a time."""
    num_samples, num_features = data.features.shape
    step = block_rows(num_features)
    for start in range(0, num_samples, step):
        rows = slice(start, start + step)
        # order="C" also makes the copy that lets callers subtract in place.
        yield data.labels[rows], np.array(data.features[rows], dtype=np.float64, order="C")


def class_means(data: Measured) -> Means:
    """mu_k = h_first + mean_{i in k} (h_i - h_first), in one pass.

    Shifting by the first sample of the class makes an exactly collapsed class have exactly zero
    scatter, and makes the rounding of the mean proportional to the spread, not to the norm.
    """
    num_classes = data.counts.size
    _, first = np.unique(data.labels, return_index=True)
    anchors = np.asarray(data.features[first], dtype=np.float64)
    sums = np.zeros_like(anchors)
    squares = np.zeros(num_classes)
    for labels, block in blocks(data):
        require_finite(block, "features")
        squares += np.bincount(labels, np.einsum("ij,ij->i", block, block), num_classes)
        block -= anchors[labels]
        sums += class_sums(labels, block, num_classes)
    return Means(anchors + sums / data.counts[:, None], squares / data.counts)


def second_pass(data: Measured, M: Array, C: Array, whiteners: list[Array]) -> Scatter:
    """Per-class variances, energies |D B|_F^2 for each whitener B (d, r), and decision counts.

    D (N, d) has rows h_i - mu_{y_i}. Energies are sums of squares, so they are never negative.
    Decisions: nearest class centre argmax_k (h - mu_C).c_k - |c_k|^2/2 (the common |h - mu_C|^2
    dropped), classifier argmax_k (W h + b)_k with and without b.
    """
    num_classes = data.counts.size
    variances = np.zeros(num_classes)
    energies = [0.0] * len(whiteners)
    centre_hits = classifier_hits = agreements = agreements_without_bias = 0
    # h - mu_C = (h - mu_y) + c_y: only deviations ever meet a matrix product, so a large common
    # offset of the features costs no accuracy.
    centre_scores = C @ C.T
    half_squares = np.diag(centre_scores) / 2
    for labels, block in blocks(data):
        block -= M[labels]
        variances += np.bincount(labels, np.einsum("ij,ij->i", block, block), num_classes)
        for index, whitener in enumerate(whiteners):
            projected = block @ whitener
            energies[index] += float(np.einsum("ij,ij->", projected, projected))
        nearest = np.argmax(block @ C.T + centre_scores[labels] - half_squares, axis=1)
        centre_hits += int(np.count_nonzero(nearest == labels))
        if data.head is not None:
            outputs = block @ data.head.W.T + (M @ data.head.W.T)[labels]
            decisions = np.argmax(outputs + data.head.b, axis=1)
            classifier_hits += int(np.count_nonzero(decisions == labels))
            agreements += int(np.count_nonzero(decisions == nearest))
            without_bias = np.argmax(outputs, axis=1)
            agreements_without_bias += int(np.count_nonzero(without_bias == nearest))
    return Scatter(
        variances / data.counts,
        energies,
        classifier_hits,
        centre_hits,
        agreements,
        agreements_without_bias,
    )
