"""Ordered classes: a scalar logit between thresholds."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import scipy

from ufm.counts import class_counts, counts_columns
from ufm.errors import InputError
from ufm.models.sample_types import SampleTypes, of_types, proportional
from ufm.plain.class_means import ClassMeans
from ufm.point import Point
from ufm.records import pytree_record
from ufm.typing import Array


@pytree_record(static=("d", "merged"), eq=False)
class Ordinal(SampleTypes):
    """Cumulative logits: class q between the thresholds b_q and b_{q+1} of a scalar logit.

    f(w, H) = -(1/N) sum_i log(g(b_{q+1} - w h_i) - g(b_q - w h_i))
            + (lambda_W/2) |w|^2 + (lambda_H/2) |H|^2

    with the logistic g, q the class of sample i, and infinite thresholds at both ends.
    Source: the threshold model of arXiv 2506.05801; docs/theory.md, OR-1.

    Attributes:
        thresholds: finite ones, ascending (classes - 1,).
    """

    thresholds: Any

    @property
    def num_logits(self) -> int:
        """1."""
        return 1

    def sample_loss(self, z: Any, kind: Any) -> Any:
        """softplus(z - b_{q+1}) + softplus(b_q - z) - log(1 - exp(b_q - b_{q+1}))."""
        b = jnp.asarray(self.thresholds)
        first, last = kind == 0, kind == len(b)
        lower, upper = b[jnp.maximum(kind - 1, 0)], b[jnp.minimum(kind, len(b) - 1)]
        above = jnp.where(last, 0.0, jax.nn.softplus(z[0] - upper))
        below = jnp.where(first, 0.0, jax.nn.softplus(lower - z[0]))
        width = jnp.where(first | last, 1.0, upper - lower)
        return above + below - jnp.where(first | last, 0.0, jnp.log(-jnp.expm1(-width)))

    def floors(self) -> Array:
        """-log tanh(width / 4), at the midpoint; 0 for the classes at both ends."""
        inner = -np.log(np.tanh(np.diff(np.asarray(self.thresholds)) / 4))
        return np.concatenate([[0.0], inner, [0.0]])

    def best_logits(self) -> tuple[Array, str]:
        """The root of every class at one common price (OR-1)."""
        b = np.concatenate([[-np.inf], np.asarray(self.thresholds), [np.inf]])

        def slope(q: int, z: float) -> float:
            return float(scipy.special.expit(z - b[q + 1]) - scipy.special.expit(b[q] - z))

        z = proportional(slope, self.counts_tuple, self.num_samples * self.sigma)
        return z[None, :], "one root per class (OR-1)"

    def measures(self, point: Point) -> dict[str, Any]:
        """As of other samples of types, and the logit of every class, the mean over its samples.

        As decays go to zero those of inner classes go to the middle of their thresholds.
        """
        H = ClassMeans(self.counts_tuple).reduce(point).H
        means = np.asarray(point.W @ H)[0] / np.sqrt(self.counts)
        return {**super().measures(point), "logits": means.tolist()}

    def columns(self) -> dict[str, Any]:
        """Classes, d, thresholds, counts and decays."""
        told = {**super().columns(), "K": len(self.counts), **counts_columns(self.counts_tuple)}
        return {**told, "thresholds": tuple(float(b) for b in np.asarray(self.thresholds))}


def ordinal(
    thresholds: str | Sequence[float] = "-1.5,-0.5,0.5,1.5",
    n: int = 10,
    d: int = 3,
    lambda_W: float = 0.01,
    lambda_H: float = 0.02,
    counts: str | Sequence[int] | None = None,
) -> Ordinal:
    """Ordered classes between thresholds of one logit, with one scalar root per class.

    f(w, H) = -(1/N) sum_i log(g(b_{q+1} - w h_i) - g(b_q - w h_i)) + (lambda_W/2) |w|^2
            + (lambda_H/2) |H|^2

    Args:
        thresholds: ascending, with commas: one fewer than classes.
        n: samples per class.
        d: feature dimension.
        lambda_W: weight decay of the classifier, > 0.
        lambda_H: weight decay of the features, > 0.
        counts: samples of every class with commas, instead of n.

    Raises:
        InputError: a value outside its domain, or thresholds that do not ascend.

    Example:
        >>> round(ordinal().collapse_value() ** 2, 10)
        0.0068964622
    """
    try:
        words = thresholds.split(",") if isinstance(thresholds, str) else thresholds
        b = np.array([float(x) for x in words])
    except ValueError:
        remedy = "write for example -1,0,1"
        raise InputError(
            "Need thresholds as numbers with commas", repr(thresholds), remedy
        ) from None
    if not len(b) or not np.all(np.isfinite(b)) or np.any(np.diff(b) <= 0):
        raise InputError(
            "Need finite thresholds that ascend", b.tolist(), "sort them, drop equal ones"
        )
    sizes = class_counts(len(b) + 1, n, counts)
    if len(sizes) != len(b) + 1:
        rule = f"Need {len(b) + 1} classes between {len(b)} thresholds"
        raise InputError(rule, f"{len(sizes)} counts", "give one count per class")
    return Ordinal(**of_types(sizes, d, lambda_W, lambda_H), thresholds=b)
