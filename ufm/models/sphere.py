"""Normalised classifiers and features: a product of spheres with a temperature."""

from __future__ import annotations

from typing import Any

import numpy as np

from ufm.answers import Certificate, Code, Minimiser, Structure
from ufm.collapse.codes import code_measures, one_vs_rest_distances
from ufm.errors import InputError, require_count, require_positive
from ufm.frames import simplex_etf
from ufm.losses import CrossEntropy
from ufm.losses.columns import column_losses
from ufm.losses.logit_curve import logit_curve
from ufm.losses.loss import Loss
from ufm.losses.user import fixed_loss
from ufm.model import Model
from ufm.models.unused_dimensions import AXES, unused_dimensions
from ufm.point import Point, gaussian, rotation_generators
from ufm.records import pytree_record


@pytree_record(static=("num_classes", "n", "d"), eq=False)
class Sphere(Model[Point]):
    """Classifier rows and features on the unit sphere, logits tau times their cosines.

    f(W, H) = (1/N) sum_i L(tau W' h'_i, y_i),  w'_k = w_k / |w_k|, h'_i = h_i / |h_i|

    Free vectors are normalised inside, so radial moves are among the symmetries.
    Source: Yaras et al. 2022 (arXiv 2209.09211); docs/theory.md, SP-1.

    Args:
        loss: the classification loss, cross entropy by default.
        num_classes: K, 2 or more.
        d: feature dimension.
        n: samples per class.
        scale: tau, the inverse temperature, > 0.

    Raises:
        InputError: a value outside its domain.

    Example:
        >>> round(Sphere(CrossEntropy(), 4, 3, 2).minimiser().value, 10)
        0.5826576531
    """

    loss: Loss = CrossEntropy()
    num_classes: int = 4
    d: int = 3
    n: int = 2
    scale: float = 1.0

    def __post_init__(self) -> None:
        require_count(self.num_classes, "K", 2, "give two classes or more")
        require_count(self.d, "d", 1, "use a feature dimension of one or more")
        require_count(self.n, "n", 1, "give one sample or more per class")
        require_positive(self.scale, "scale", "use an inverse temperature such as 1")
        object.__setattr__(self, "loss", fixed_loss(self.loss, self.counts_tuple))

    @property
    def counts_tuple(self) -> tuple[int, ...]:
        """Samples per class."""
        return (self.n,) * self.num_classes

    def objective(self, point: Point) -> Any:
        """f at a point; shapes W (K, d), H (d, N)."""
        rows = (point.W**2).sum(axis=1, keepdims=True) ** 0.5
        columns = (point.H**2).sum(axis=0) ** 0.5
        Z = self.scale * ((point.W / rows) @ (point.H / columns))
        labels = np.repeat(np.arange(self.num_classes), self.n)
        return column_losses(self.loss, Z, labels).mean()

    def random_point(self, key: Any, scale: float = 1.0) -> Point:
        """Independent N(0, scale^2) entries."""
        K = self.num_classes
        W, H = gaussian(key, [(K, self.d), (self.d, K * self.n)])
        return Point(scale * W, scale * H)

    def generators(self, point: Point) -> Point:
        """Rotations, and the radial move of every row of W and every column of H."""
        turned, (W, H) = rotation_generators(point), (np.asarray(x) for x in point[:2])
        K, N = W.shape[0], H.shape[1]
        rows, columns = np.arange(K), np.arange(N)
        grown_W = np.zeros((K + N, *W.shape), W.dtype)
        grown_H = np.zeros((K + N, *H.shape), H.dtype)
        grown_W[rows, rows] = W
        grown_H[K + columns, :, columns] = H.T
        both = (np.concatenate(pair) for pair in ((turned.W, grown_W), (turned.H, grown_H)))
        return Point(*both)

    def checked(self, point: Any) -> tuple[Model[Any], Any]:
        """The point as float64 arrays, and this model.

        Raises:
            InputError: shapes or numbers that do not fit, or a vector of length zero.
        """
        model, told = super().checked(point)
        least = min(np.linalg.norm(told.W, axis=1).min(), np.linalg.norm(told.H, axis=0).min())
        if least == 0:
            remedy = "zero has no direction: move the row of W or the column of H"
            raise InputError("Need vectors that are not zero", float(least), remedy)
        return model, told

    def structure(self, point: Point) -> Structure | None:
        """The Hessian at any point from the dimensions that it uses (A-8); None where d is few."""
        return unused_dimensions(self, point, AXES)

    # ---- what is known

    def simplex_value(self) -> float | None:
        """L at the gap tau K/(K-1): a lower bound at any d, reached for d >= K - 1; None: unknown.

        Needs a loss that is convex, equalising and blind to common shifts, and still falls there.
        """
        K, properties = self.num_classes, self.loss.properties(self.num_classes)
        known = properties.convex and properties.equivariant and properties.shift_invariant
        curve = logit_curve(self.loss, self.gap, 0.0, K)
        return curve.value if known and properties.equalising and curve.own < 0 else None

    def minimiser(self) -> Minimiser | None:
        """The simplex with w_k = h_k (SP-1), or None where it is not known."""
        value, K = self.simplex_value(), self.num_classes
        if value is None or self.d < K - 1:
            return None
        W = simplex_etf(K, self.d)
        W = W / np.linalg.norm(W, axis=1, keepdims=True)
        point, code = Point(W, np.repeat(W.T, self.n, axis=1)), Code(self.gap, 0.0, 0.0, K)
        evidence = self.loss.properties(K).convex.evidence
        return Minimiser(point, value, K - 1, code, "simplex on the sphere (SP-1)", evidence)

    @property
    def gap(self) -> float:
        """tau K/(K-1): the logit gap of the simplex."""
        return float(self.scale) * self.num_classes / (self.num_classes - 1)

    def measures(self, point: Point) -> dict[str, Any]:
        """Generalised neural collapse: how far classes are apart, and features from their rows."""
        W, H = (np.asarray(x) for x in point[:2])
        W, H = W / np.linalg.norm(W, axis=1, keepdims=True), H / np.linalg.norm(H, axis=0)
        own = np.repeat(W.T, self.n, axis=1)
        return {
            "one_vs_rest_distance": float(one_vs_rest_distances(W).min()),
            **code_measures(W),
            "farthest_feature": float(np.linalg.norm(H - own, axis=0).max()),
        }

    def certificate(self, point: Point) -> Certificate:
        """The value of the simplex, which nothing is below (SP-1)."""
        bound = self.simplex_value()
        if bound is None:
            return Certificate.does_not_apply("no bound is known for this loss and temperature")
        value = float(self.value_and_gradient(point)[0])
        evidence = self.loss.properties(self.num_classes).convex.evidence
        return Certificate(True, value - bound, bound, None, "simplex (SP-1)", evidence)

    def columns(self) -> dict[str, Any]:
        """Loss, K, d, n and scale."""
        return {
            "loss": self.loss.name,
            "K": self.num_classes,
            "d": self.d,
            "n": self.n,
            "counts": self.counts_tuple,
            "scale": float(self.scale),
        }
