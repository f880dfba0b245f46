"""A-1 on points: the features of a class become one, sqrt(n_k) times their mean, and back."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

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

    def reduce(self, point: Any) -> Any:
        """hbar_k = sum_i h_{k,i} / sqrt(n_k); a merged point stays what it is."""
        features = np.asarray(getattr(point, self.field))
        if features.shape[1] == len(self.counts) != sum(self.counts):
            return point
        starts = np.concatenate([[0], np.cumsum(self.counts)[:-1]]).astype(int)
        sums = np.add.reduceat(features, starts, axis=1)
        return point._replace(**{self.field: sums / np.sqrt(self.counts)})

    def lift(self, point: Any) -> Any:
        """Every sample of class k gets hbar_k / sqrt(n_k)."""
        means = np.asarray(getattr(point, self.field)) / np.sqrt(self.counts)
        return point._replace(**{self.field: np.repeat(means, self.counts, axis=1)})

    def merge(self, merged: Any, loss: Loss) -> Merge:
        """A-1: lossless when the loss is convex, or with one sample a class."""
        single = Fact(True, note="one sample per class")
        lossless = single if max(self.counts) == 1 else loss.properties(len(self.counts)).convex
        return Merge(merged, self.reduce, self.lift, lossless)
