"""Supervised contrastive loss of features on a sphere: no classifier, samples meet each other."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import jax.numpy as jnp
import numpy as np
from jax.scipy.special import logsumexp
from numpy.typing import NDArray

from ufm.answers import Certificate, Minimiser, Structure
from ufm.counts import class_counts, counts_columns
from ufm.errors import InputError, require_count, require_positive
from ufm.frames import simplex_etf
from ufm.model import Model
from ufm.models.unused_dimensions import unused_dimensions
from ufm.point import gaussian, skew_basis
from ufm.records import pytree_record


class Features(NamedTuple):
    """Features ``H`` (d, N), class by class."""

    H: Any


@pytree_record(static=("counts", "d", "nonnegative"), eq=False)
class Contrastive(Model[Features]):
    """Supervised contrastive loss of one batch of features on a sphere.

    f(H) = sum_i [log sum_{j != i} e^{u_i . u_j} - mean_{j != i, y_j = y_i} u_i . u_j]

    with u_i = rho h_i / |h_i|; where features leave a ReLU, u_i = rho h_i o h_i / |h_i o h_i|.
    Source: Graf et al. 2021 (arXiv 2102.08817); docs/theory.md, SC-1 and SC-2.

    Attributes:
        counts: n_k, samples of every class.
        d: feature dimension.
        radius: rho.
        nonnegative: whether features leave a ReLU, and the loss sees their squares.
    """

    counts: tuple[int, ...]
    d: int
    radius: Any
    nonnegative: bool = False

    @property
    def labels(self) -> NDArray[np.int64]:
        """Class of every column (N,)."""
        return np.repeat(np.arange(len(self.counts)), self.counts)

    def objective(self, point: Features) -> Any:
        """f at a point; shape H (d, N)."""
        raw = point.H**2 if self.nonnegative else point.H
        U = self.radius * raw / (raw**2).sum(axis=0) ** 0.5
        similar, labels = U.T @ U, self.labels
        others = 1.0 - np.eye(len(labels))
        positive = others * (labels == labels[:, None])
        positive = positive / positive.sum(axis=1, keepdims=True)
        return logsumexp(similar, axis=1, b=others).sum() - (positive * similar).sum()

    def random_point(self, key: Any, scale: float = 1.0) -> Features:
        """Independent N(0, scale^2) entries."""
        (H,) = gaussian(key, [(self.d, sum(self.counts))])
        return Features(scale * H)

    def generators(self, point: Features) -> Features:
        """The length of every column, and rotations unless features are non-negative."""
        H = np.asarray(point.H)
        grown = np.zeros((H.shape[1], *H.shape), H.dtype)
        columns = np.arange(H.shape[1])
        grown[columns, :, columns] = H.T
        turned = np.zeros((0, *H.shape)) if self.nonnegative else skew_basis(self.d) @ H
        return Features(jnp.concatenate([turned, grown]))

    def checked(self, point: Any) -> tuple[Model[Any], Any]:
        """The point as float64 arrays, and this model.

        Raises:
            InputError: shapes or numbers that do not fit, or a column of length zero.
        """
        model, told = super().checked(point)
        least = float(np.linalg.norm(told.H, axis=0).min())
        if least == 0:
            remedy = "zero has no direction: move the column of H"
            raise InputError("Need features that are not zero", least, remedy)
        return model, told

    def structure(self, point: Features) -> Structure | None:
        """The Hessian at any point from the dimensions that it uses (A-8); None after a ReLU."""
        return None if self.nonnegative else unused_dimensions(self, point, Features(0))

    # ---- what is known

    @property
    def cosine(self) -> float | None:
        """Of two classes at the minimum: -1/(K-1), 0 where non-negative; None: not known."""
        if self.nonnegative:
            return 0.0
        return None if len(set(self.counts)) > 1 else -1 / (len(self.counts) - 1)

    def bound(self) -> float | None:
        """sum_k n_k log(n_k - 1 + (N - n_k) e^{-rho^2 (1 - cosine)}), which nothing is below.

        None for classes of several sizes whose features may be negative (SC-1, SC-2).
        """
        if self.cosine is None:
            return None
        fall = math.exp(-(float(self.radius) ** 2) * (1 - self.cosine))
        N = sum(self.counts)
        return math.fsum(n * math.log(n - 1 + (N - n) * fall) for n in self.counts)

    def minimiser(self) -> Minimiser | None:
        """The simplex (SC-1), or an orthogonal frame (SC-2); None where it is not known."""
        value, rank = self.bound(), self._rank
        if value is None or self.d < rank:
            return None
        name = "orthogonal frame (SC-2)" if self.nonnegative else "simplex (SC-1)"
        return Minimiser(self._frame(), value, rank, None, name, "proved")

    @property
    def _rank(self) -> int:
        return len(self.counts) - (not self.nonnegative)

    def _frame(self) -> Features:
        K = len(self.counts)
        frame = np.eye(K, self.d) if self.nonnegative else simplex_etf(K, self.d)
        frame = frame / np.linalg.norm(frame, axis=1, keepdims=True)
        return Features(np.repeat(frame.T, self.counts, axis=1))

    def candidates(self) -> Mapping[str, Features]:
        """The simplex of unequal classes, which is not the lowest in a single batch (SC-1)."""
        unknown = self.bound() is None and self.d >= self._rank
        return {"simplex": self._frame()} if unknown else {}

    def certificate(self, point: Features) -> Certificate:
        """The bound of SC-1 or SC-2, valid in every dimension."""
        bound = self.bound()
        if bound is None:
            reason = "no bound is known for classes of several sizes without a ReLU"
            return Certificate.does_not_apply(reason)
        gap = float(self.value_and_gradient(point)[0]) - bound
        return Certificate(True, gap, bound, None, "Jensen's inequality (SC-1, SC-2)", "proved")

    def columns(self) -> dict[str, Any]:
        """K, d, counts, radius and whether features are non-negative."""
        return {
            "K": len(self.counts),
            "d": self.d,
            **counts_columns(self.counts),
            "radius": float(self.radius),
            "nonnegative": self.nonnegative,
        }


def contrastive(
    num_classes: int = 3,
    d: int = 4,
    n: int = 3,
    radius: float = 1.3,
    nonnegative: bool = False,
    counts: str | Sequence[int] | None = None,
) -> Contrastive:
    """Supervised contrastive loss of features on a sphere, with or without a ReLU.

    f(H) = sum_i [log sum_{j != i} e^{u_i . u_j} - mean_{j != i, y_j = y_i} u_i . u_j]

    Args:
        num_classes: K, 2 or more.
        d: feature dimension.
        n: samples per class, 2 or more: every sample needs another one of its class.
        radius: rho, the length of the features that the loss sees, > 0; 1 / sqrt(temperature).
        nonnegative: whether features leave a ReLU.
        counts: samples of every class with commas, instead of K and n.

    Raises:
        InputError: a value outside its domain.

    Example:
        >>> round(contrastive(3, 4, 3, 1.3).minimiser().value, 10)
        8.1582372001
    """
    sizes = class_counts(num_classes, n, counts)
    if min(sizes) < 2:
        remedy = "give every class a second sample: alone it has no positive pair"
        raise InputError("Need two samples or more in every class", min(sizes), remedy)
    require_count(d, "d", 1, "use a feature dimension of one or more")
    require_positive(radius, "radius", "use a length such as 1")
    return Contrastive(sizes, d, radius, nonnegative)
