"""Linear equilibrium layers on free inputs: h = V h + x pays a penalty that levels off."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any, NamedTuple

import jax.numpy as jnp
import numpy as np

from ufm.answers import Certificate, Merge, Minimiser, Structure
from ufm.collapse.margins import own_logits
from ufm.counts import class_counts, counts_columns
from ufm.decay import balanced_factors, penalty, plateau
from ufm.errors import InputError, require_count, require_decay
from ufm.losses import CrossEntropy
from ufm.losses.columns import column_losses
from ufm.losses.loss import Loss
from ufm.losses.user import fixed_loss
from ufm.model import Model
from ufm.models.equilibrium_blocks import layer_structure
from ufm.models.equilibrium_codes import Saturated, best_simplex, saturated_codes
from ufm.plain.class_means import ClassMeans
from ufm.plain.quadratic_form import quadratic_form
from ufm.plain.symmetry import turned_classes
from ufm.point import gaussian, skew_basis
from ufm.records import pytree_record
from ufm.tolerance import EPSILON, RANK
from ufm.typing import Array

# Spectral norm of V at a random point of scale 1, about: I - V is then far from singular.
START = 0.25
# What W and X cost at points near escape, in units of the saturated decays.
ESCAPING = 1e-5


class Layer(NamedTuple):
    """Classifier ``W`` (K, d), layer ``V`` (d, d) and inputs ``X`` (d, columns)."""

    W: Any
    V: Any
    X: Any


@pytree_record(static=("d", "merged"), eq=False)
class Equilibrium(Model[Layer]):
    """Features that solve h = V h + x, with weight decay of the classifier, the layer and inputs.

    f(W, V, X) = (1/N) sum_i L(W h_i, y_i)
               + (lambda_W/2) |W|^2 + (lambda_V/2) |V|^2 + (lambda_X/2) |X|^2

    The merged model has one column sqrt(n_k) x_k per class, as in A-1.
    Source: after Sun & Shi 2024; this linear model is derived here (docs/theory.md, DQ-1 to DQ-3).

    Attributes:
        loss: of (logits, label).
        counts: n_k (K,).
        labels: class of every column.
        lambda_W, lambda_V, lambda_X: weight decays.
        d: feature dimension.
        merged: whether columns are classes.
    """

    loss: Loss
    counts: Any
    labels: Any
    lambda_W: Any
    lambda_V: Any
    lambda_X: Any
    d: int
    merged: bool = False

    @property
    def num_classes(self) -> int:
        """K."""
        return len(self.counts)

    @property
    def counts_tuple(self) -> tuple[int, ...]:
        """Samples per class."""
        return tuple(int(n) for n in np.asarray(self.counts))

    @property
    def sigma(self) -> float:
        """sqrt(lambda_W lambda_X)."""
        return math.sqrt(float(self.lambda_W) * float(self.lambda_X))

    @property
    def escape_value(self) -> float:
        """What points near a singular I - V approach: inf f is not larger (DQ-3).

        Two saturated directions, or one where K = 2, if the loss vanishes as logits grow; for
        squared error one for every class that is fitted.
        """
        return min(code.value(self.lambda_V) for code in self._saturated())

    def objective(self, point: Layer) -> Any:
        """f at a point; shapes W (K, d), V (d, d), X (d, N), or (d, K) where merged."""
        W, V, X = point
        share = (self.counts if self.merged else 1) / self.counts.sum()
        value = (share * column_losses(self.loss, self.logits(point), self.labels)).sum()
        value += penalty(self.lambda_W, (W**2).sum()) + penalty(self.lambda_V, (V**2).sum())
        return value + penalty(self.lambda_X, (X**2).sum())

    def logits(self, point: Layer) -> Any:
        """W (I - V)^-1 X, of every column (K, N), or of the mean of every class (K, K)."""
        Z = point.W @ jnp.linalg.solve(jnp.eye(self.d) - point.V, point.X)
        return Z / self.counts**0.5 if self.merged else Z

    def random_point(self, key: Any, scale: float = 1.0) -> Layer:
        """N(0, scale^2) entries of W and X; V smaller, so that I - V is far from singular."""
        K, d = self.num_classes, self.d
        W, V, X = gaussian(key, [(K, d), (d, d), (d, len(self.labels))])
        return Layer(scale * W, scale * START / (2 * math.sqrt(d)) * V, scale * X)

    def generators(self, point: Layer) -> Layer:
        """Rotations W -> W R, V -> R^T V R, X -> R^T X, and of classes.

        Classes of one size turn into each other where the loss is isometric (A-2).
        """
        W, V, X = (np.asarray(x) for x in point)
        A = skew_basis(self.d)
        Q, mix = turned_classes(self.loss, self.counts, self.labels, X.shape[1])
        rows, columns = Q @ W, X @ np.transpose(mix, (0, 2, 1))
        still = np.zeros((len(Q), *V.shape))
        turned = (W @ A, rows), (V @ A - A @ V, still), (-A @ X, columns)
        return Layer(*(np.concatenate(pair) for pair in turned))

    def checked(self, point: Any) -> tuple[Model[Any], Any]:
        """The point as float64 arrays, and the model whose point it is.

        Raises:
            InputError: shapes or numbers that do not fit, or I - V singular: no equilibrium.
        """
        model, told = super().checked(point)
        sizes = np.linalg.svd(np.eye(self.d) - told.V, compute_uv=False)
        least = float(sizes[-1])
        # Descent without a minimiser (DQ-3) ends close to the edge: only what rounding cannot tell
        # from singular is refused.
        if least <= self.d * EPSILON * sizes[0]:
            remedy = "an equilibrium h = V h + x needs it invertible; shrink V"
            raise InputError("Need I - V invertible", f"a singular value of {least:.1e}", remedy)
        return model, told

    def merge(self) -> Merge | None:
        """One column per class, as in A-1; lossless where the loss is convex."""
        if self.merged:
            return None
        labels, decays = np.arange(self.num_classes), (self.lambda_W, self.lambda_V, self.lambda_X)
        small = Equilibrium(self.loss, self.counts, labels, *decays, self.d, True)
        return ClassMeans(self.counts_tuple, "X").merge(small, self.loss)

    def structure(self, point: Layer) -> Structure | None:
        """The Hessian from its core, unused dimensions and classes (DQ-4).

        None where features differ within a class, or the core is too large to diagonalise.
        """
        merge = self.merge()
        if merge is None:
            return layer_structure(self, point)
        mean = merge.reduce(point)
        X, alike = np.asarray(point.X), merge.lift(mean).X
        if X.shape != alike.shape or np.abs(alike - X).max() > RANK * (1 + np.abs(X).max()):
            return None
        told: Structure | None = merge.model.structure(mean)
        return told

    # ---- what is known

    def minimiser(self) -> Minimiser | None:
        """Squared error: firm thresholding (DQ-2), None where the infimum is not attained.

        Losses that ignore common shifts, equal classes: the best simplex ("derived"), None where
        points of diverging scale lie as low.
        """
        squared = self._squared()
        if squared is not None:
            outputs, value = squared
            if outputs is None:
                return None
            point = self.aligned_point(np.diag(outputs))
            rank = int(np.sum(outputs > 0))
            return Minimiser(point, value, rank, None, "firm thresholding (DQ-2)", "proved")
        best = self._simplex()
        return None if best is None or best.value >= self.escape_value else best

    def certificate(self, point: Layer) -> Certificate:
        """Squared error: the minimum in closed form; where there is none, that (DQ-2)."""
        model, point = self.checked(point)
        value = float(model.value_and_gradient(point)[0])
        squared = self._squared()
        if squared is not None:
            outputs, bound = squared
            if outputs is None:
                reason = f"there is no minimiser: the infimum {bound:.10g} is not attained (DQ-2)"
                return Certificate.does_not_apply(reason)
            return Certificate(True, value - bound, bound, None, "minimum in closed form (DQ-2)")
        reason = "no dual bound is known for this loss"
        if value > self.escape_value:
            reason = f"not lowest: points of diverging scale reach {self.escape_value:.6g} (DQ-3)"
        return Certificate.does_not_apply(reason)

    def _squared(self) -> tuple[Array | None, float] | None:
        """Singular values of the merged logits at the minimum, None if none; and the infimum.

        None for a loss that is no squared error.
        """
        form, K = quadratic_form(self.loss, self.num_classes), self.num_classes
        if form is None:
            return None
        counts, sigma = np.asarray(self.counts), self.sigma
        bend, saturated = form.curvature / counts.sum(), float(self.lambda_V) / 2
        wanted = form.target * np.sqrt(counts)
        wanted[np.argsort(-counts, kind="stable")[self.d :]] = 0.0
        room = float(self.lambda_V) / sigma
        outputs, saved, attained = np.zeros(K), 0.0, True
        # A class is fitted exactly where its decay has levelled off, else shrunk, or dropped.
        for k, t in enumerate(wanted):
            alone = bend * t**2 / 2
            if t >= room and alone > saturated:
                saved, attained = saved + alone - saturated, False
            elif t < room and bend * t > sigma:
                s = (t - sigma / bend) / (1 - sigma / (bend * room))
                outputs[k] = s
                saved += alone - bend * (s - t) ** 2 / 2 - plateau(s, sigma, self.lambda_V)
        return (outputs if attained else None), float(form.at_zero - saved)

    def _simplex(self) -> Minimiser | None:
        """The best finite simplex of equal classes; None where it saturates or has no room."""
        K, counts = self.num_classes, self.counts_tuple
        properties = self.loss.properties(K)
        fits = properties.convex and properties.equivariant and properties.shift_invariant
        if len(set(counts)) > 1 or self.d < K - 1 or not fits:
            return None
        found = best_simplex(self.loss, K, counts[0], self.sigma, float(self.lambda_V))
        if found is None:
            return None
        code, value = found
        point = self.aligned_point(code.a * math.sqrt(counts[0]) * (np.eye(K) - 1 / K))
        return Minimiser(point, value, (K - 1) * (code.a > 0), code, "simplex (DQ-3)", "derived")

    def candidates(self) -> Mapping[str, Layer]:
        """A point near escape, and the simplex where it loses.

        "saturated" has eigenvalues of V that are almost 1, for cross entropy with classes on a
        circle, and lies within 10^-5 of its decay of what no point attains (DQ-3). Squared error
        has it where there is no minimiser (DQ-2).
        """
        squared = self._squared()
        if squared is not None and squared[0] is not None:
            return {}
        found, best = {"saturated": self._escaping()}, self._simplex()
        if best is not None and best.value >= self.escape_value:
            found["simplex"] = best.point
        merge = self.merge()
        return found if merge is None else {name: merge.lift(x) for name, x in found.items()}

    def _escaping(self) -> Layer:
        """Saturated logits: with eigenvalues 1 - room of V, W and X cost sigma z room."""
        code = min(self._saturated(), key=lambda x: x.value(self.lambda_V))
        left, values, right = np.linalg.svd(code.logits * np.sqrt(np.asarray(self.counts)))
        left, values, right = left[:, : code.rank], values[: code.rank], right[: code.rank]
        spent = ESCAPING * code.rank * float(self.lambda_V) / 2
        room = min(0.5, spent / (self.sigma * float(values.sum())))
        decays = (self.lambda_W, self.lambda_X)
        W, X = balanced_factors(left, values * room, right, self.d, *decays)
        V = np.diag((np.arange(self.d) < code.rank) * (1 - room))
        return Layer(W, V, X)

    def _saturated(self) -> tuple[Saturated, ...]:
        return saturated_codes(self.loss, self.counts_tuple, self.d)

    def measures(self, point: Layer) -> dict[str, Any]:
        """The largest eigenvalue of the layer, 1 where it is singular; own logits; escape (DQ-3).

        For equal classes and losses that ignore common shifts also the logit gap of the simplex,
        and the decay of the layer below which it loses against points of diverging scale.
        """
        model: Any
        model, point = self.checked(point)
        V = np.asarray(point.V)
        told: dict[str, Any] = {
            "layer_eigenvalue": float(np.abs(np.linalg.eigvals(V)).max()),
            "own_logits": own_logits(model.logits(point), model.labels),
            "escape_value": self.escape_value,
        }
        known = self.minimiser()
        if known is not None and known.code is not None:
            told["logit_gap"] = known.code.a
        loses = self.escape_decay()
        return told if loses is None else {**told, "escape_decay": loses}

    def escape_decay(self) -> float | None:
        """The lambda_V at which the best simplex costs what points of diverging scale do (DQ-3).

        None where no simplex is known, or where none loses.
        """
        if self._squared() is not None or self.num_classes < 3:
            return None
        codes = self._saturated()

        def excess(log: float) -> float:
            other = replace(self, lambda_V=math.exp(log))
            best = other._simplex()
            return 1.0 if best is None else best.value - min(x.value(other.lambda_V) for x in codes)

        low, high = -20.0, 20.0
        if excess(high) > 0:
            return None
        for _ in range(60):  # _simplex has no value beyond the root: halves, to float precision
            middle = (low + high) / 2
            low, high = (middle, high) if excess(middle) > 0 else (low, middle)
        return math.exp(high)

    def aligned_point(self, Z: Array) -> Layer:
        """The point of least decay whose merged logits are Z (K, K) (DQ-1).

        Raises:
            InputError: a rank above d, or a singular value that saturates.
        """
        left, values, right = np.linalg.svd(np.asarray(Z, dtype=float))
        rank = int(np.sum(values > 1e-14 * (1 + values[0])))
        if rank > self.d:
            raise InputError(f"Need logits of rank <= {self.d} = d", rank, "raise d")
        s, decay = values[:rank], float(self.lambda_V)
        if rank and self.sigma * s[0] >= decay:
            rule = f"Need singular values below lambda_V / sigma = {decay / self.sigma:.6g}"
            raise InputError(rule, float(s[0]), "beyond, no point attains the least decay")
        gains, decays = self.sigma * s / decay, (self.lambda_W, self.lambda_X)
        # The layer multiplies by 1 / (1 - gain).
        W, X = balanced_factors(left[:, :rank], s * (1 - gains), right[:rank], self.d, *decays)
        V = np.zeros((self.d, self.d))
        V[range(rank), range(rank)] = gains
        return Layer(W, V, X)

    def columns(self) -> dict[str, Any]:
        """Loss, K, d, counts and decays."""
        return {
            "loss": self.loss.name,
            "K": self.num_classes,
            "d": self.d,
            **counts_columns(self.counts_tuple),
            "lambda_W": float(self.lambda_W),
            "lambda_V": float(self.lambda_V),
            "lambda_X": float(self.lambda_X),
        }


def equilibrium(
    loss: Loss | None = None,
    num_classes: int = 3,
    d: int = 4,
    n: int = 2,
    lambda_W: float = 0.02,
    lambda_V: float = 1.0,
    lambda_X: float = 0.02,
    counts: str | Sequence[int] | None = None,
) -> Equilibrium:
    """A linear equilibrium layer on free inputs; squared error is solved exactly.

    f(W, V, X) = (1/N) sum_i L(W h_i, y_i)
               + (lambda_W/2) |W|^2 + (lambda_V/2) |V|^2 + (lambda_X/2) |X|^2

    with h = V h + x. Where the penalty saturates there is no minimiser, and answers say so.

    Args:
        loss: the classification loss, cross entropy by default.
        num_classes: K, 2 or more.
        d: feature dimension.
        n: samples per class.
        lambda_W: weight decay of the classifier, > 0.
        lambda_V: weight decay of the layer, > 0; large ones leave the plain model.
        lambda_X: weight decay of the inputs, > 0.
        counts: samples of every class with commas, instead of K and n.

    Raises:
        InputError: a value outside its domain.

    Example:
        >>> from ufm import MSE
        >>> model = equilibrium(MSE(), 3, 4, 2, 0.02, 1.0, 0.03)
        >>> round(model.minimiser().value, 10)
        0.0970725095
    """
    sizes = class_counts(num_classes, n, counts)
    return Equilibrium(
        fixed_loss(loss or CrossEntropy(), sizes),
        np.asarray(sizes, dtype=float),
        np.repeat(np.arange(len(sizes)), sizes),
        require_decay(lambda_W, "lambda_W"),
        require_decay(lambda_V, "lambda_V"),
        require_decay(lambda_X, "lambda_X"),
        require_count(d, "d", 1, "use a feature dimension of one or more"),
    )
