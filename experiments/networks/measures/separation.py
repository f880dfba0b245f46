"""Class separation R^2: how much closer features are within classes than in all."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from experiments.networks.measures.inputs import with_labels
from ufm.collapse.inputs import count_classes
from ufm.errors import InputError


@dataclass(frozen=True)
class Separation:
    """Mean cosine distances and what they say.

    Attributes:
        within: mean over classes of the mean over pairs of one class.
        total: mean over pairs of classes, equal ones included, of the mean over pairs of samples.
    """

    within: float
    total: float

    @property
    def r_squared(self) -> float:
        """1 - within/total: 1 for collapsed classes, 0 if classes say nothing; nan if total = 0."""
        return 1 - self.within / self.total if self.total > 0 else float("nan")


def class_separation(features: npt.ArrayLike, labels: npt.ArrayLike) -> Separation:
    """Mean cosine distance 1 - cos(h_i, h_j) within classes and in all, each class weighing 1/K.

    Pairs of a sample with itself count, as in the paper. With unit vectors u_i, class means c_k and
    their mean c, the double sums are within = mean_k mean_{i in k} |u_i - c_k|^2 and total =
    within + mean_k |c_k - c|^2, which takes O(N d) and loses no digits near collapse.

    Source: Kornblith, Chen, Lee, Norouzi 2021, section 4.1; the closed form is derived here from
    mean_{i,j} u_i.u_j = |mean u|^2.

    Args:
        features: (N, d), no row zero; not centred, since the paper does not.
        labels: (N,), every class of 0..K-1 with a sample, K >= 2.

    Raises:
        InputError: arguments not so.

    Example:
        >>> class_separation([[1.0, 0.0], [2.0, 0.0], [0.0, 3.0]], [0, 0, 1]).r_squared
        1.0
    """
    H, y = with_labels(features, "features", labels)
    counts = count_classes(y, int(y.max()) + 1)
    largest = np.max(np.abs(H), axis=1, keepdims=True)
    if not largest.all():
        rule = "Need features that are not zero, since zero has no direction"
        got = f"{np.count_nonzero(largest == 0)} zero rows of {len(H)}"
        raise InputError(rule, got, "leave these samples out, and say how many there were")
    U = H / largest
    U /= np.linalg.norm(U, axis=1, keepdims=True)
    # Shifted by one sample of the class: equal samples then have exactly zero scatter.
    _, first = np.unique(y, return_index=True)
    shifted = U - U[first][y]
    offsets = np.zeros((counts.size, H.shape[1]))
    np.add.at(offsets, y, shifted)
    offsets /= counts[:, None]
    scatter = np.bincount(y, np.sum((shifted - offsets[y]) ** 2, axis=1), counts.size)
    within = float(np.mean(scatter / counts))
    means = U[first] + offsets
    between = float(np.mean(np.sum((means - means.mean(axis=0)) ** 2, axis=1)))
    return Separation(within, within + between)
