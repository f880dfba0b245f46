"""The unconstrained feature model: the one place where 1/N is written."""

from __future__ import annotations

import math
from collections.abc import Sequence
from functools import cached_property
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from ufm.answers import (
    Certificate,
    Direction,
    Merge,
    Minimiser,
    Restriction,
    StrictMinimum,
    Structure,
)
from ufm.counts import counts_columns, samples_per_class
from ufm.decay import penalty
from ufm.errors import InputError, require_count, require_decay
from ufm.losses.columns import column_losses
from ufm.losses.loss import Loss
from ufm.losses.user import fixed_loss
from ufm.model import Model, finite
from ufm.plain import chain_rule
from ufm.plain.class_means import ClassMeans
from ufm.plain.convexity import strict_minimum
from ufm.plain.duality_gap import certificate
from ufm.plain.escape import outside_row_space
from ufm.plain.measures import measures
from ufm.plain.minimisers import global_minimiser
from ufm.plain.structure import structure
from ufm.plain.symmetry import class_kinds, ufm_generators
from ufm.point import Point, gaussian, narrow_start, row_space_of_start
from ufm.records import pytree_record
from ufm.typing import Array


@pytree_record(static=("d", "merged"), eq=False)
class UFM(Model[Point]):
    """Unconstrained feature model with weight decay and any classification loss.

    f(W, H, b) = (1/N) sum_{k,i} L(W h_{k,i} + b, k)
               + (lambda_W/2) |W|^2 + (lambda_H/2) |H|^2 + (lambda_b/2) |b|^2,
    with W (K, d), H (d, N), samples class-major. The merged model (A-1) has one column
    hbar_k = sqrt(n_k) h_k per class, logits W hbar_k / sqrt(n_k) + b and weights n_k / N.
    Source: Mixon et al. 2020; Zhu et al. 2021 (arXiv 2105.02375).

    Args:
        loss: a Loss, or any callable (logits, label) -> scalar, which is then probed.
        num_classes: K >= 2; leave out when ``counts`` is given.
        d: feature dimension >= 1.
        n: samples per class >= 1 (balanced).
        counts: samples per class (n_1, ..., n_K), instead of ``num_classes`` and ``n``.
        lambda_W, lambda_H: weight decay of classifier and features, 1e-100 to 1e100.
        lambda_b: None = no bias, 0 = unregularised bias, 1e-100 to 1e100 = regularised bias.

    Raises:
        InputError: a size, count or decay outside its domain, or n together with counts.

    Example:
        >>> from ufm import CrossEntropy
        >>> model = UFM(CrossEntropy(), 4, 6, lambda_W=0.02, lambda_H=0.02)
        >>> model.num_classes, model.num_samples, round(model.c, 12)
        (4, 4, 0.08)
    """

    loss: Loss
    counts: Any
    labels: Any
    lambda_W: Any
    lambda_H: Any
    lambda_b: Any
    d: int
    merged: bool

    def __init__(
        self,
        loss: Any,
        num_classes: int | None = None,
        d: int | None = None,
        n: int | None = None,
        *,
        counts: Sequence[int] | None = None,
        lambda_W: float,
        lambda_H: float,
        lambda_b: float | None = None,
    ) -> None:
        sizes = np.asarray(samples_per_class(num_classes, n, counts))
        bias = None if lambda_b is None else require_decay(lambda_b, "lambda_b", zero=True)
        values: dict[str, Any] = {
            "loss": fixed_loss(loss, tuple(sizes.tolist())),
            "counts": sizes.astype(np.float64),
            "labels": np.repeat(np.arange(len(sizes)), sizes),
            "lambda_W": require_decay(lambda_W, "lambda_W"),
            "lambda_H": require_decay(lambda_H, "lambda_H"),
            "lambda_b": bias,
            "d": require_count(d, "d", 1, "use a feature dimension of one or more"),
            "merged": False,
        }
        for name, value in values.items():
            object.__setattr__(self, name, value)

    def _replace(self, **changes: Any) -> UFM:
        model = object.__new__(UFM)
        for name in ("loss", "counts", "labels", "lambda_W", "lambda_H", "lambda_b", "d", "merged"):
            object.__setattr__(model, name, changes.get(name, getattr(self, name)))
        return model

    # ---- sizes and the numbers that control everything

    @property
    def family(self) -> str:
        """``plain``."""
        return "plain"

    @property
    def num_classes(self) -> int:
        """K."""
        return int(self.counts.shape[0])

    @property
    def num_columns(self) -> int:
        """Columns of H: N, or K when merged."""
        return int(self.labels.shape[0])

    @property
    def num_samples(self) -> Any:
        """N, the number of samples."""
        total = self.counts.sum()
        return total if isinstance(total, jax.Array) else int(total)

    @property
    def balanced(self) -> bool:
        """Whether every class has the same number of samples."""
        return bool(np.all(np.asarray(self.counts) == np.asarray(self.counts)[0]))

    # Kept: whether two points are one orbit asks for it again and again.
    @cached_property
    def kinds(self) -> Any:
        """A number for every class, (K,): those of one size that the loss treats alike share it.

        Relabellings that keep the kinds are symmetries of the model, and nothing assumes others.

        Example:
            >>> from ufm import CrossEntropy, ldam
            >>> decays = {"lambda_W": 0.1, "lambda_H": 0.1}
            >>> UFM(CrossEntropy(), counts=(3, 1, 3), d=2, **decays).kinds.tolist()
            [1, 0, 1]
        """
        return class_kinds(self.loss, self.counts)

    @property
    def free_shift(self) -> Any:
        """Where lambda_b = 0: the direction of the bias that costs nothing, (K,), or None."""
        unpriced = self.lambda_b is not None and float(self.lambda_b) == 0
        return self.loss.shift(self.num_classes) if unpriced else None

    @property
    def n(self) -> int:
        """Samples per class of a balanced model.

        Raises:
            InputError: the counts differ.
        """
        if not self.balanced:
            raise InputError("n needs balanced counts", self.counts_tuple, "use .counts")
        return int(np.asarray(self.counts)[0])

    @property
    def counts_tuple(self) -> tuple[int, ...]:
        """The counts as integers."""
        return tuple(int(count) for count in np.asarray(self.counts))

    @property
    def sigma(self) -> float:
        """sigma = sqrt(lambda_W lambda_H): the weight of the nuclear norm of W H."""
        return math.sqrt(float(self.lambda_W) * float(self.lambda_H))

    @property
    def c(self) -> float:
        """c = sqrt(K N lambda_W lambda_H) (balanced: K sqrt(n) sigma), the dimensionless decay."""
        return math.sqrt(self.num_classes * float(self.num_samples)) * self.sigma

    @property
    def num_parameters(self) -> int:
        """P = K d + d columns (+ K with bias)."""
        bias = 0 if self.lambda_b is None else self.num_classes
        return self.d * (self.num_classes + self.num_columns) + bias

    # ---- the model protocol

    def objective(self, point: Point) -> Any:
        """f at a point; shapes W (K, d), H (d, columns), b (K,) or None."""
        losses = column_losses(self.loss, self.column_logits(point), self.labels)
        return self.objective_of_losses(point, losses)

    # Methods of arrays, not jnp: on NumPy arrays only the losses are compiled, whatever d is.

    def column_logits(self, point: Point) -> Any:
        """Logits of every column, (K, columns): W H (/ sqrt n_k when merged) + b.

        Raises:
            InputError: a merged point in a full model, or the other way round.
        """
        if point.H.shape[-1] != self.num_columns:
            rule = f"Need one column of H per {'class' if self.merged else 'sample'}"
            remedy = "use model.merge(): .reduce and .lift go from samples to classes and back"
            raise InputError(f"{rule}, {self.num_columns}", point.H.shape[-1], remedy)
        Z = point.W @ point.H
        if self.merged:
            Z = Z / self.counts**0.5
        return Z if point.b is None else Z + point.b[:, None]

    @property
    def column_weights(self) -> Any:
        """Weight of every column in the mean loss: n_k / N when merged, else the number 1 / N."""
        total = self.counts.sum()
        return self.counts / total if self.merged else 1.0 / total

    def objective_of_losses(self, point: Point, losses: Any) -> Any:
        """The objective from the losses of the columns."""
        value = (self.column_weights * losses).sum()
        value += penalty(self.lambda_W, (point.W**2).sum())
        value += penalty(self.lambda_H, (point.H**2).sum())
        if point.b is not None:
            value += penalty(self.lambda_b, (point.b**2).sum())
        return value

    def random_point(self, key: Any, scale: float = 1.0) -> Point:
        """W, H and b with independent N(0, scale^2 / d) entries."""
        K, size = self.num_classes, scale / math.sqrt(self.d)
        W, H, b = gaussian(key, [(K, self.d), (self.d, self.num_columns), (K,)])
        return Point(size * W, size * H, None if self.lambda_b is None else size * b)

    def origin(self) -> Point:
        """W = 0, H = 0, b = 0."""
        K = self.num_classes
        bias = None if self.lambda_b is None else np.zeros(K)
        return Point(np.zeros((K, self.d)), np.zeros((self.d, self.num_columns)), bias)

    def with_dimension(self, d: int) -> UFM:
        """The same model with feature dimension ``d``."""
        return self._replace(d=require_count(d, "d", 1, "use one dimension or more"))

    def resized(self, counts: tuple[int, ...], d: int) -> UFM | None:
        """The same loss and decays at other sizes; None where the loss has numbers per class.

        Example:
            >>> from ufm import CrossEntropy
            >>> model = UFM(CrossEntropy(), 4, 6, lambda_W=0.02, lambda_H=0.02)
            >>> model.resized((3, 2, 1), 5).columns()["K"]
            3
        """
        if any(np.ndim(leaf) for leaf in jax.tree.leaves(self.loss)):
            return None
        sizes = np.asarray(samples_per_class(None, None, counts))
        columns = np.ones_like(sizes) if self.merged else sizes
        return self.with_dimension(d)._replace(
            counts=sizes.astype(np.float64), labels=np.repeat(np.arange(len(sizes)), columns)
        )

    def with_decays(self, lambda_W: float, lambda_H: float) -> UFM:
        """The same model with other weight decays; that of the bias stays.

        Raises:
            InputError: a decay that is not positive.

        Example:
            >>> from ufm import CrossEntropy
            >>> model = UFM(CrossEntropy(), 4, 6, lambda_W=0.02, lambda_H=0.02)
            >>> round(model.with_decays(0.04, 0.04).c, 12)
            0.16
        """
        return self._replace(
            lambda_W=require_decay(lambda_W, "lambda_W"),
            lambda_H=require_decay(lambda_H, "lambda_H"),
        )

    def generators(self, point: Point) -> Point:
        """Rotations, and where the loss allows it the bias shift and class rotations."""
        return ufm_generators(self, point)

    def merge(self) -> Merge | None:
        """A-1: one column per class; lossless when the loss is convex (or one sample a class)."""
        return None if self.merged else self._merge

    # Kept: making it takes a tenth of the time in which a small model is solved.
    @cached_property
    def _merge(self) -> Merge:
        merged = self._replace(labels=np.arange(self.num_classes), merged=True)
        return ClassMeans(self.counts_tuple).merge(merged, self.loss)

    def as_merged(self, point: Point) -> tuple[UFM, Point]:
        """The merged model with a point given in merged (K) or full (N) columns."""
        merge = self.merge()
        return (self, point) if merge is None else (merge.model, merge.reduce(point))

    def value_and_gradient(self, point: Point) -> tuple[float, Point]:
        """Objective and gradient in NumPy (merged or full columns, as the model has them)."""
        return chain_rule.value_and_gradient(self, point)

    def second_derivative(self, point: Point, direction: Point) -> float:
        """The Hessian at a point applied twice to a direction."""
        return chain_rule.second_derivative(self, point, direction)

    def dense_derivatives(self, point: Point) -> tuple[float, Array, Array]:
        """Objective, gradient and Hessian; merged models compile once per loss and K."""
        if not self.merged:
            return super().dense_derivatives(point)
        return chain_rule.dense_derivatives(self, point)

    def checked(self, point: Any) -> tuple[UFM, Point]:
        """The point in NumPy, and this model or, for one column a class, the merged one."""
        K, d = self.num_classes, self.d
        W, H, b = point if isinstance(point, tuple) and len(point) == 3 else Point(0.0, 0.0)
        columns = np.shape(H)[1] if np.ndim(H) == 2 else -1
        fits = np.shape(W) == (K, d) and np.shape(H) == (d, columns)
        fits = fits and columns in {K, self.num_columns} and (b is None) == (self.lambda_b is None)
        if not fits or not (b is None or np.shape(b) == (K,)):
            rule = f"Need W ({K}, {d}), H ({d}, {self.num_columns}) or merged ({d}, {K})"
            rule += ", no bias" if self.lambda_b is None else f", b ({K},)"
            named = zip("WHb", (W, H, b), strict=True)
            got = ", ".join(f"{name} {np.shape(leaf)}" for name, leaf in named if leaf is not None)
            raise InputError(rule, got or point, "check K, d, counts and the bias setting")
        model = self.as_merged(point)[0] if columns == K else self
        return model, finite(Point(W, H, b))

    def confined(self, point: Point) -> Restriction | None:
        """The row space of [W; H^T] at a start: every gradient method stays in it (O(d))."""
        return row_space_of_start(self, point)

    def random_start(self, key: Any) -> Restriction | None:
        """A random point in K dimensions where the loss is convex: then no minimum needs more."""
        if not self.loss.properties(self.num_classes).convex:
            return None
        return narrow_start(self, self.num_classes, key)

    def structure(self, point: Point) -> Structure | None:
        """The exact spectrum at collapsed points, from small blocks."""
        return structure(self, point)

    def strict_minimum(self, point: Point, larger_than: int = -1) -> StrictMinimum | None:
        """Index, nullity and a bound of the gap of a global minimum from one K x K SVD (A-7)."""
        return strict_minimum(self, point, larger_than)

    def escape(self, point: Point) -> Direction | None:
        """The eigenvector of most negative curvature outside the row space, or None."""
        return outside_row_space(self, point)

    def as_plain(self) -> UFM:
        """Itself."""
        return self

    def columns(self) -> dict[str, Any]:
        """Loss, K, d, counts, decays and c."""
        return {
            "loss": self.loss.name,
            "K": self.num_classes,
            "d": self.d,
            **counts_columns(self.counts_tuple),
            "lambda_W": float(self.lambda_W),
            "lambda_H": float(self.lambda_H),
            "lambda_b": None if self.lambda_b is None else float(self.lambda_b),
            "c": self.c,
        }

    def minimiser(self) -> Minimiser | None:
        """The closed-form global minimiser (merged columns), or None."""
        return global_minimiser(self)

    def measures(self, point: Point) -> dict[str, Any]:
        """Gaps of logits, what margins cost beyond SELI, and the cosines of classifier rows."""
        return measures(self, point)

    def certificate(self, point: Point) -> Certificate:
        """The duality gap at a point (merged or full columns)."""
        return certificate(self, point)

    def scales(self, point: Point) -> Point:
        """Scales in which both decays become sigma: W ~ (lh/lw)^(1/4), H ~ (lw/lh)^(1/4)."""
        ratio = (self.lambda_H / self.lambda_W) ** 0.25
        bias = None if point.b is None else jnp.ones_like(point.b)
        return Point(jnp.full_like(point.W, ratio), jnp.full_like(point.H, 1 / ratio), bias)
