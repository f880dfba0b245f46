"""A point of a model with free features: classifier, features and, optionally, a bias."""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np


class Point(NamedTuple):
    """Classifier ``W`` (K, d), features ``H`` (d, columns) and bias ``b`` (K,) or None.

    Columns are samples in class-major order, or one column per class in reduced problems.

    Example:
        >>> Point(np.eye(3), np.eye(3)).logits()[0].tolist()
        [1.0, 0.0, 0.0]
    """

    W: Any
    H: Any
    b: Any = None

    def logits(self) -> Any:
        """W H (+ b on every column), shape (K, columns)."""
        Z = self.W @ self.H
        return Z if self.b is None else Z + self.b[:, None]

    def to_numpy(self) -> Point:
        """The same point as float64 NumPy arrays on the host."""
        bias = None if self.b is None else np.asarray(self.b, dtype=np.float64)
        return Point(np.asarray(self.W, np.float64), np.asarray(self.H, np.float64), bias)
