"""Free features of samples of several types, each with a convex loss of its own.

Types are to soft labels, sets of labels or ordered classes what classes are to a label: samples of
one type merge (A-1), the rest is a nuclear norm. A model says its loss and its best logits.
"""

from __future__ import annotations

import math
from abc import abstractmethod
from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import scipy

from ufm.answers import Certificate, Merge, Minimiser, Restriction, Structure
from ufm.decay import balanced_factors, penalty
from ufm.errors import InputError, require_count, require_decay
from ufm.losses.dual import spectral_norm
from ufm.losses.loss import Fact
from ufm.model import Model
from ufm.plain.class_means import ClassMeans
from ufm.point import (
    Point,
    as_rows,
    gaussian,
    rotation_generators,
    row_space_of_start,
)
from ufm.records import pytree_record
from ufm.spectrum import MAX_DIAGONALISED, Spectrum, pair
from ufm.tolerance import RANK, generator_rank
from ufm.typing import Array

# Numbers in the table of targets: 80 MB.
MOST_TARGETS = 10_000_000
# Relative accuracy of the scalar roots: four roundings.
ROUNDING = 1e-15
# Logarithm of a price at which all roots are below 1e-17.
FARTHEST = 40.0


@pytree_record(static=("d", "merged"), eq=False)
class SampleTypes(Model[Point]):
    """Features of samples of T types under one classifier.

    f(W, H) = (1/N) sum_i L(W h_i, t_i) + (lambda_W/2) |W|^2 + (lambda_H/2) |H|^2

    with L(z, t) >= 0 convex in z. The merged model has one column sqrt(n_t) h_t per type.
    Source: A-1 and section C with types for classes (docs/theory.md, TY-1).

    Attributes:
        counts: n_t (T,).
        labels: type of every column.
        lambda_W, lambda_H: weight decays.
        d: feature dimension.
        merged: whether columns are types.
    """

    counts: Any
    labels: Any
    lambda_W: Any
    lambda_H: Any
    d: int
    merged: bool

    @property
    @abstractmethod
    def num_logits(self) -> int:
        """Rows of W."""

    @abstractmethod
    def sample_loss(self, z: Any, kind: Any) -> Any:
        """L(z, t), convex in z and never negative: logits (rows,), type, scalar out."""

    def floors(self) -> Array:
        """The infimum of the loss of every type (T,), or what is not above it."""
        return np.zeros(len(self.counts))

    def best_logits(self) -> tuple[Array, str] | None:
        """Logits of every type (rows, T) at the minimum below collapse, and their source."""
        return None

    @property
    def counts_tuple(self) -> tuple[int, ...]:
        """Samples of every type."""
        return tuple(int(n) for n in np.asarray(self.counts))

    @property
    def num_samples(self) -> int:
        """N."""
        return sum(self.counts_tuple)

    @property
    def sigma(self) -> float:
        """sqrt(lambda_W lambda_H)."""
        return math.sqrt(float(self.lambda_W) * float(self.lambda_H))

    def objective(self, point: Point) -> Any:
        """f at a point; shapes W (rows, d), H (d, N), or (d, T) where merged."""
        Z, share = point.W @ point.H, 1 / self.counts.sum()
        if self.merged:
            Z, share = Z / self.counts**0.5, self.counts / self.counts.sum()
        losses = jax.vmap(self.sample_loss, in_axes=(1, 0))(Z, self.labels)
        value = (share * losses).sum() + penalty(self.lambda_W, (point.W**2).sum())
        return value + penalty(self.lambda_H, (point.H**2).sum())

    def random_point(self, key: Any, scale: float = 1.0) -> Point:
        """Independent N(0, scale^2) entries."""
        W, H = gaussian(key, [(self.num_logits, self.d), (self.d, len(self.labels))])
        return Point(scale * W, scale * H)

    def generators(self, point: Point) -> Point:
        """Rotations W -> W R, H -> R^T H."""
        return rotation_generators(point)

    def merge(self) -> Merge | None:
        """One column per type: lossless, for the loss is convex (A-1)."""
        if self.merged:
            return None
        small = replace(self, labels=np.arange(len(self.counts)), merged=True)
        means = ClassMeans(self.counts_tuple)
        return Merge(small, means.reduce, means.lift, Fact(True))

    def confined(self, point: Point) -> Restriction | None:
        """The row space of [W; H^T] at a start."""
        return row_space_of_start(self, point)

    # ---- what is known

    def slopes(self, Z: Array) -> tuple[Array, Array, Array]:
        """Losses (T,), their gradients (rows, T), and those in merged columns, sqrt(n_t) / N."""
        losses, V = (np.asarray(x) for x in _slopes(self, Z))
        return losses, V, V * np.sqrt(np.asarray(self.counts)) / self.num_samples

    def collapse_value(self) -> float:
        """The sigma from which the minimum is zero: |G|_2 at the origin (TY-1)."""
        return spectral_norm(self.slopes(np.zeros((self.num_logits, len(self.counts))))[2])

    def minimiser(self) -> Minimiser | None:
        """Zero beyond collapse, the best logits where they are known and d holds them, else None.

        The point is that of the merged model.
        """
        Z, source = np.zeros((self.num_logits, len(self.counts))), "collapse (TY-1)"
        if self.collapse_value() > self.sigma:
            told = self.best_logits()
            if told is None:
                return None
            Z, source = told
        counts = np.asarray(self.counts)
        left, values, right = np.linalg.svd(Z * np.sqrt(counts), full_matrices=False)
        rank = int(np.sum(values > RANK * (1e-300 + values[0])))
        if rank > self.d:
            return None
        kept, decays = slice(rank), (self.lambda_W, self.lambda_H)
        W, H = balanced_factors(left[:, kept], values[kept], right[kept], self.d, *decays)
        value = float(counts @ self.slopes(Z)[0]) / self.num_samples + self.sigma * values.sum()
        return Minimiser(Point(W, H), float(value), rank, None, source, "proved")

    def certificate(self, point: Point) -> Certificate:
        """Fenchel's bound at the scaled gradient, above the infima of the losses (TY-1)."""
        model, point = self.checked(point)
        value = float(model.value_and_gradient(point)[0])
        counts = np.asarray(self.counts)
        H = ClassMeans(self.counts_tuple).reduce(point).H
        Z = point.W @ H / np.sqrt(counts)
        losses, V, G = self.slopes(Z)
        ratio = spectral_norm(G) / self.sigma
        floors, share = self.floors(), counts / self.num_samples
        # The gradient may be scaled by any factor up to 1 / ratio, also by 0.
        rise = float(share @ (losses - floors - np.sum(V * Z, axis=0)))
        bound = float(share @ floors) + max(0.0, rise) * min(1.0, 1.0 / ratio if ratio else 1.0)
        return Certificate(True, value - bound, bound, ratio, "convex in W H (TY-1)")

    def measures(self, point: Point) -> dict[str, Any]:
        """lambda_W lambda_H from which the minimum is zero (TY-1)."""
        return {"collapse_decays": self.collapse_value() ** 2}

    def structure(self, point: Point) -> Structure | None:
        """The Hessian where features agree within types, from its row space (TY-2); else None."""
        counts, N = np.asarray(self.counts_tuple), self.num_samples
        means = ClassMeans(self.counts_tuple)
        W, H = np.asarray(point.W), np.asarray(means.reduce(point).H)
        spread = 0.0
        if np.shape(point.H) != H.shape:
            apart = np.asarray(means.lift(Point(W, H)).H) - np.asarray(point.H)
            spread = float(np.linalg.norm(apart))
            if np.abs(apart).max() > RANK * (1 + np.abs(point.H).max()):
                return None
        rows, T = self.num_logits, len(counts)
        values, right = np.linalg.svd(np.concatenate([W, H.T], axis=0))[1:]
        rank = int(np.sum(values > RANK * (1 + values[0])))
        if rank * (rows + T) > MAX_DIAGONALISED:
            return None
        basis = right[:rank].T
        W, H = W @ basis, basis.T @ H
        Z = W @ H / np.sqrt(counts)
        G, outside = self.slopes(Z)[2], self.d - rank
        decays = float(self.lambda_W), float(self.lambda_H)
        levels = []
        for coupling in np.linalg.svd(G, compute_uv=False):
            levels += [(x, outside, "outside the row space") for x in pair(*decays, coupling)]
        levels.append((decays[rows < T], outside * abs(T - rows), "outside the row space"))
        small = replace(self, labels=np.arange(T), merged=True, d=rank)
        if rank:
            core = small.dense_derivatives(Point(W, H))[2]
            levels += [(x, 1, "core") for x in np.linalg.eigvalsh(core)]
        if not self.merged and max(counts) > 1:
            for S, n in zip(np.asarray(_bends(self, Z)), counts, strict=True):
                within = np.linalg.eigvalsh(W.T @ S @ W) / N + decays[1]
                levels += [(x, int(n) - 1, "within types") for x in within]
            levels.append((decays[1], outside * int(N - T), "within types, outside"))
        turned = generator_rank(as_rows(rotation_generators(Point(W, H)))) if rank else 0
        moved = math.hypot(float(np.linalg.norm(values[rank:])), spread)
        order = max(rank * (rows + T), 10)
        return Structure(Spectrum.of(levels), turned + rank * outside, order, rank, moved=moved)

    def columns(self) -> dict[str, Any]:
        """Rows, d, counts and decays."""
        return {
            "K": self.num_logits,
            "d": self.d,
            "counts": self.counts_tuple,
            "lambda_W": float(self.lambda_W),
            "lambda_H": float(self.lambda_H),
        }


@jax.jit
def _slopes(model: SampleTypes, Z: Any) -> Any:
    """Losses of all types and their gradients at columns of Z, by one program."""
    each = jax.vmap(jax.value_and_grad(model.sample_loss), in_axes=(1, 0), out_axes=(0, 1))
    return each(Z, jnp.arange(Z.shape[1]))


@jax.jit
def _bends(model: SampleTypes, Z: Any) -> Any:
    """Logit Hessians of all types (T, rows, rows)."""
    return jax.vmap(jax.hessian(model.sample_loss), in_axes=(1, 0))(Z, jnp.arange(Z.shape[1]))


def of_types(counts: Sequence[int], d: int, lambda_W: float, lambda_H: float) -> dict[str, Any]:
    """What every model of types is made from, checked.

    Raises:
        InputError: d < 1, or a decay that is not positive.

    Example:
        >>> of_types((2, 1), 3, 0.1, 0.2)["labels"].tolist()
        [0, 0, 1]
    """
    return {
        "counts": np.asarray(counts, dtype=float),
        "labels": np.repeat(np.arange(len(counts)), counts),
        "lambda_W": require_decay(lambda_W, "lambda_W"),
        "lambda_H": require_decay(lambda_H, "lambda_H"),
        "d": require_count(d, "d", 1, "use a feature dimension of one or more"),
        "merged": False,
    }


def require_room(rows: int, types: int) -> None:
    """Refuse a table of targets that is too large, before it is made.

    Raises:
        InputError: more than ten million entries.

    Example:
        >>> require_room(4, 10)
    """
    if rows * types > MOST_TARGETS:
        rule = f"Targets are a table of at most {MOST_TARGETS:,} numbers"
        raise InputError(rule, f"{types:,} types of {rows:,}", "use fewer classes")


def proportional(
    slope: Callable[[int, float], float], weights: Sequence[float], level: float
) -> Array:
    """The z_g with slope_g(z_g) = -rho z_g for one rho, and sum_g w_g slope_g(z_g)^2 = level^2.

    For increasing slopes |z_g| falls and |slope_g| rises in rho, so both are bracketed roots.
    Source: derived here (docs/theory.md, TY-3).

    Args:
        slope: of (group, z), increasing in z.
        weights: w_g of the groups.
        level: > 0 and below the root of sum_g w_g slope_g(0)^2; just below it all roots are 0.

    Example:
        >>> z = proportional(lambda g, z: z - 1, [1.0], 0.25)  # |z - 1| = 1/4
        >>> round(float(z[0]), 12)
        0.75
    """

    def roots(rho: float) -> Array:
        def price(g: int) -> Callable[[float], float]:
            return lambda z: slope(g, z) + rho * z

        return np.array([_root(price(g)) for g in range(len(weights))])

    def excess(log_rho: float) -> float:
        rho = math.exp(log_rho)
        return 2 * math.log(rho / level) + math.log(float(np.asarray(weights) @ roots(rho) ** 2))

    low = high = 0.0
    while excess(low) > 0:
        low -= 2.0
    while excess(high) <= 0:
        high += 2.0
        if high > FARTHEST:  # level is the root of sum_g w_g slope_g(0)^2 to rounding
            return np.zeros(len(weights))
    return roots(math.exp(scipy.optimize.brentq(excess, low, high, xtol=ROUNDING, rtol=ROUNDING)))


def _root(function: Callable[[float], float]) -> float:
    """Root of an increasing function, bracketed outwards from 0."""
    start = function(0.0)
    if start == 0:
        return 0.0
    far = -math.copysign(1.0, start)
    while function(far) * start > 0:
        far *= 2
    return float(
        scipy.optimize.brentq(function, min(0.0, far), max(0.0, far), xtol=ROUNDING, rtol=ROUNDING)
    )
