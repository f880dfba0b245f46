"""A-1 on points: the features of a class become one, sqrt(n_k) times their mean, and back."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from ufm.point import Point


@dataclass(frozen=True)
class ClassMeans:
    """The two maps between full columns (class-major samples) and merged ones (one per class).

    Attributes:
        counts: samples per class.

    Example:
        >>> means = ClassMeans((2, 1))
        >>> merged = means.reduce(Point(np.ones((2, 1)), np.array([[1.0, 3.0, 5.0]])))
        >>> merged.H.round(6).tolist(), means.lift(merged).H.round(6).tolist()
        ([[2.828427, 5.0]], [[2.0, 2.0, 5.0]])
    """

    counts: tuple[int, ...]

    def reduce(self, point: Point) -> Point:
        """hbar_k = sum_i h_{k,i} / sqrt(n_k); a merged point stays what it is."""
        columns = point.H.shape[1]
        if columns == len(self.counts) != sum(self.counts):
            return point
        starts = np.concatenate([[0], np.cumsum(self.counts)[:-1]]).astype(int)
        sums = np.add.reduceat(np.asarray(point.H), starts, axis=1)
        return Point(point.W, sums / np.sqrt(self.counts), point.b)

    def lift(self, point: Point) -> Point:
        """Every sample of class k gets hbar_k / sqrt(n_k)."""
        means = np.asarray(point.H) / np.sqrt(self.counts)
        return Point(point.W, np.repeat(means, self.counts, axis=1), point.b)
