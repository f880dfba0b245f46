"""A-1 on points: the features of a class become one, sqrt(n_k) times their mean, and back."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ufm.answers import Merge
from ufm.losses.loss import Fact, Loss


@dataclass(frozen=True)
class ClassMeans:
    """The two maps between full columns (class-major samples) and merged ones (one per class).

    Attributes:
        counts: samples per class.
        field: what holds the features in a point, (d, columns).

    Example:
        >>> from ufm.point import Point
        >>> means = ClassMeans((2, 1))
        >>> merged = means.reduce(Point(np.ones((2, 1)), np.array([[1.0, 3.0, 5.0]])))
        >>> merged.H.round(6).tolist(), means.lift(merged).H.round(6).tolist()
        ([[2.828427, 5.0]], [[2.0, 2.0, 5.0]])
    """

    counts: tuple[int, ...]
    field: str = "H"

    # Kept: they take longer than to merge a small point.
    @cached_property
    def _roots(self) -> NDArray[np.float64]:
        return np.sqrt(self.counts)

    @cached_property
    def _starts(self) -> NDArray[np.int64]:
        return np.cumsum((0, *self.counts[:-1]))

    def reduce(self, point: Any) -> Any:
        """hbar_k = sum_i h_{k,i} / sqrt(n_k); a merged point stays what it is."""
        features = np.asarray(getattr(point, self.field))
        if features.shape[1] == len(self.counts) != sum(self.counts):
            return point
        sums = np.add.reduceat(features, self._starts, axis=1)
        return point._replace(**{self.field: sums / self._roots})

    def lift(self, point: Any) -> Any:
        """Every sample of class k gets hbar_k / sqrt(n_k)."""
        means = np.asarray(getattr(point, self.field)) / self._roots
        return point._replace(**{self.field: np.repeat(means, self.counts, axis=1)})

    def merge(self, merged: Any, loss: Loss) -> Merge:
        """A-1: lossless when the loss is convex, or with one sample a class."""
        single = Fact(True, note="one sample per class")
        lossless = single if max(self.counts) == 1 else loss.properties(len(self.counts)).convex
        return Merge(merged, self.reduce, self.lift, lossless)
