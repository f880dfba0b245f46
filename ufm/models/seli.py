"""Simplex-encoded labels: the cheapest classifier and features whose margins are all 1 or more."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import jax.numpy as jnp
import numpy as np
from numpy.typing import NDArray

from ufm.answers import Certificate, Minimiser, Restriction
from ufm.collapse.codes import code_measures
from ufm.collapse.margins import polar_factor, simplex_norm, weighted_simplex
from ufm.counts import class_counts, counts_columns
from ufm.decay import balanced_factors
from ufm.errors import InputError, require_count, require_positive
from ufm.model import Model
from ufm.point import Point, gaussian, rotation_generators, row_space_of_start
from ufm.records import pytree_record


@pytree_record(static=("counts", "d"), eq=False)
class Margins(Model[Point]):
    """Classifier and features that pay for every margin below 1: a support vector machine.

    f(W, H) = (|W|^2 + |H|^2) / 2 + price sum_i sum_{j != y_i} max(0, 1 - (w_{y_i} - w_j) . h_i)

    From a finite price on, which is below 1, the minimum misses no margin: it is exactly the
    geometry SELI. Source: Thrampoulidis et al. 2022 (UF-SVM) for hard margins; the price derived
    here (docs/theory.md, SE-1 and SE-2).

    Attributes:
        counts: n_k, samples of every class.
        d: feature dimension.
        price: of a unit of missing margin.
    """

    counts: tuple[int, ...]
    d: int
    price: Any

    @property
    def num_classes(self) -> int:
        """K."""
        return len(self.counts)

    @property
    def labels(self) -> NDArray[np.int64]:
        """Class of every column (N,)."""
        return np.repeat(np.arange(self.num_classes), self.counts)

    def missing(self, point: Point) -> Any:
        """1 - (w_y - w_j) . h of every sample and every other class j, (N (K - 1),)."""
        labels, Z = self.labels, point.W @ point.H
        samples, others = np.nonzero(labels[:, None] != np.arange(self.num_classes))
        return 1 - Z[labels[samples], samples] + Z[others, samples]

    def objective(self, point: Point) -> Any:
        """f at a point; shapes W (K, d), H (d, N)."""
        return self.pieces(point)[0]

    def pieces(self, point: Point, slopes: Any = None, shifts: Any = None) -> Any:
        """The objective with lines for what is missing, and what is missing."""
        u = self.missing(point)
        paid = jnp.maximum(u, 0.0) if slopes is None else slopes * u + shifts
        norms = (point.W**2).sum() + (point.H**2).sum()
        return norms / 2 + self.price * paid.sum(), u

    def random_point(self, key: Any, scale: float = 1.0) -> Point:
        """Independent N(0, scale^2) entries."""
        W, H = gaussian(key, [(self.num_classes, self.d), (self.d, sum(self.counts))])
        return Point(scale * W, scale * H)

    def generators(self, point: Point) -> Point:
        """Rotations W -> W R, H -> R^T H."""
        return rotation_generators(point)

    def confined(self, point: Point) -> Restriction | None:
        """The row space of [W; H^T] at a start."""
        return row_space_of_start(self, point)

    # ---- what is known

    @property
    def price_needed(self) -> float:
        """The largest multiplier of a margin at SELI: from this price on no margin is missed."""
        polar = polar_factor(self.counts) / np.sqrt(np.array(self.counts, dtype=float))
        return float(-polar.min())

    def minimiser(self) -> Minimiser | None:
        """SELI at a price that is high enough and for d >= K - 1 (SE-2); None elsewhere."""
        if self.d < self.num_classes - 1 or float(self.price) < self.price_needed:
            return None
        point, value = simplex_encoded_labels(d=self.d, counts=self.counts)
        name = "simplex-encoded labels (SE-2)"
        return Minimiser(point, value, self.num_classes - 1, None, name, "proved")

    def certificate(self, point: Point) -> Certificate:
        """|P D^(1/2)|_*, or the share of it that the price pays for, in every dimension (SE-2)."""
        share = min(1.0, float(self.price) / self.price_needed)
        bound = share * simplex_norm(self.counts)
        gap = float(self.value_and_gradient(point)[0]) - bound
        return Certificate(True, gap, bound, None, "multipliers of the margins (SE-2)", "proved")

    def measures(self, point: Point) -> dict[str, Any]:
        """The least margin, the price from which none is missed, and the classifier."""
        return {
            "least_margin": float(1 - np.asarray(self.missing(point)).max()),
            "price_needed": self.price_needed,
            **code_measures(np.asarray(point.W)),
        }

    def columns(self) -> dict[str, Any]:
        """K, d, counts and price."""
        return {
            "K": self.num_classes,
            "d": self.d,
            **counts_columns(self.counts),
            "price": float(self.price),
        }


def seli(
    num_classes: int = 4,
    d: int = 4,
    n: int = 1,
    price: float = 1.0,
    counts: str | Sequence[int] | None = None,
) -> Margins:
    """Classifier and features that pay for every margin below 1: simplex-encoded labels (SELI).

    f(W, H) = (|W|^2 + |H|^2) / 2 + price sum_i sum_{j != y_i} max(0, 1 - (w_{y_i} - w_j) . h_i)

    Args:
        num_classes: K, 2 or more.
        d: feature dimension.
        n: samples per class.
        price: of a unit of missing margin, > 0; at 1 no margin is missed, whatever the counts.
        counts: samples of every class with commas, instead of K and n.

    Raises:
        InputError: a value outside its domain.

    Example:
        >>> round(seli(counts="6,6,1,1").minimiser().value, 10)
        5.3203184362
    """
    sizes = class_counts(num_classes, n, counts)
    require_count(d, "d", 1, "use a feature dimension of one or more")
    return Margins(sizes, d, require_positive(price, "price", "use a price such as 1"))


def simplex_encoded_labels(
    num_classes: int = 4,
    d: int = 4,
    n: int = 1,
    counts: str | Sequence[int] | None = None,
) -> tuple[Point, float]:
    """The minimiser of (|W|^2 + |H|^2) / 2 with all margins 1 or more, one column per sample.

    min (|W|^2 + |H|^2) / 2  such that  (w_k - w_j) . h_i >= 1 for every sample i of class k, j != k

    With P = I - J/K and D = diag(n_k), class means have W H = P, W W^T = (P D P)^(1/2) and
    D^(1/2) H^T H D^(1/2) = (D^(1/2) P D^(1/2))^(1/2): the geometry SELI.
    Source: Thrampoulidis et al. 2022 (UF-SVM); the proof in docs/theory.md, SE-1.

    Args:
        num_classes: K, 2 or more.
        d: feature dimension, K - 1 or more.
        n: samples per class.
        counts: samples of every class with commas, instead of K and n.

    Returns:
        W (K, d) and H (d, N), and the value |P D^(1/2)|_*.

    Raises:
        InputError: sizes out of their domain, or d < K - 1.

    Example:
        >>> point, value = simplex_encoded_labels(counts="6,6,1,1")
        >>> round(value, 10), point.H.shape
        (5.3203184362, (4, 14))
    """
    sizes = class_counts(num_classes, n, counts)
    K = len(sizes)
    require_count(d, "d", 1, "use a feature dimension of one or more")
    if d < K - 1:
        remedy = "use more dimensions; codes of lower rank have no closed form"
        raise InputError(f"Need d >= K - 1 = {K - 1} for {K} classes", d, remedy)
    left, values, right = weighted_simplex(sizes)
    W, H = balanced_factors(left, values, right, d, 1.0, 1.0)
    columns = np.repeat(H / np.sqrt(np.array(sizes, dtype=float)), sizes, axis=1)
    return Point(W, columns), math.fsum(values)
