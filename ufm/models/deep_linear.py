"""Deep linear networks on free features: depth makes the decay a Schatten quasi-norm."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import numpy as np
import scipy

from ufm.answers import Certificate, Merge, Minimiser, Structure
from ufm.collapse.margins import own_logits
from ufm.counts import class_counts, counts_columns, parsed_counts
from ufm.decay import penalty
from ufm.errors import InputError, require_count, require_decay
from ufm.losses import CrossEntropy
from ufm.losses.columns import column_gradients, column_hessians, column_losses
from ufm.losses.loss import Loss
from ufm.losses.user import fixed_loss
from ufm.model import Model
from ufm.models.factors import Network, in_hidden_spaces, product
from ufm.models.first_order import collapse_price, shrunk_output
from ufm.plain.class_means import ClassMeans
from ufm.plain.model import UFM
from ufm.plain.quadratic_form import quadratic_form
from ufm.plain.symmetry import turned_classes
from ufm.point import Point, as_rows, gaussian, skew_basis
from ufm.records import pytree_record
from ufm.spectrum import MAX_DIAGONALISED, Spectrum
from ufm.tolerance import RANK, generator_rank
from ufm.typing import Array

# A program traces every factor.
MAX_DEPTH = 100


@pytree_record(static=("widths", "merged"), eq=False)
class DeepLinear(Model[Network]):
    """M weight matrices on free features, every one of them with weight decay.

    f(W, H) = (1/N) sum_i L(W_M ... W_1 h_i, y_i) + (lambda_W/2) sum_l |W_l|^2 + (lambda_H/2) |H|^2

    The merged model has one column sqrt(n_k) h_k per class, as in A-1.
    Source: after Dang et al. 2023 (arXiv 2301.00437); docs/theory.md, DL-1 to DL-4.

    Attributes:
        loss: of (logits, label).
        counts: n_k (K,).
        labels: class of every column.
        lambda_W, lambda_H: weight decay of every weight matrix and of the features.
        widths: d_1, ..., d_M: inputs of W_1, ..., W_M.
        merged: whether columns are classes.
    """

    loss: Loss
    counts: Any
    labels: Any
    lambda_W: Any
    lambda_H: Any
    widths: tuple[int, ...]
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
    def num_factors(self) -> int:
        """M + 1."""
        return len(self.widths) + 1

    @property
    def decay(self) -> float:
        """Geometric mean of the decays of all factors."""
        M = self.num_factors - 1
        return math.exp((M * math.log(self.lambda_W) + math.log(self.lambda_H)) / (M + 1))

    def objective(self, point: Network) -> Any:
        """f at a point; shapes W_l (d_{l+1}, d_l), H (d_1, N), or (d_1, K) where merged."""
        return self.height(point.logits(), point)

    def height(self, Z: Any, point: Network) -> Any:
        """The loss of logits Z, however they were made, and the decay of a point."""
        share = 1 / self.counts.sum()
        if self.merged:
            Z, share = Z / self.counts**0.5, self.counts / self.counts.sum()
        value = (share * column_losses(self.loss, Z, self.labels)).sum()
        squares = sum((W**2).sum() for W in point.weights)
        return value + penalty(self.lambda_W, squares) + penalty(self.lambda_H, (point.H**2).sum())

    def random_point(self, key: Any, scale: float = 1.0) -> Network:
        """Independent N(0, scale^2) entries."""
        sides = (*self.widths, self.num_classes)
        shapes = [(sides[0], len(self.labels)), *zip(sides[1:], sides[:-1], strict=True)]
        H, *weights = (scale * x for x in gaussian(key, shapes))
        return Network(tuple(weights), H)

    def generators(self, point: Network) -> Network:
        """Rotations of every hidden space, W_{l+1} -> W_{l+1} R^T, W_l -> R W_l, and of classes.

        Classes of one size turn into each other where the loss is isometric (A-2).
        """
        factors = [np.asarray(x) for x in point.factors()]
        moves = []
        for i, width in enumerate(self.widths):
            skew = skew_basis(width)
            parts = [np.zeros((len(skew), *x.shape)) for x in factors]
            parts[i], parts[i + 1] = skew @ factors[i], -factors[i + 1] @ skew
            moves.append(parts)
        Q, mix = turned_classes(self.loss, self.counts, self.labels, factors[0].shape[1])
        parts = [np.zeros((len(Q), *x.shape)) for x in factors]
        parts[0], parts[-1] = factors[0] @ np.transpose(mix, (0, 2, 1)), Q @ factors[-1]
        moves.append(parts)
        H, *weights = (np.concatenate(x) for x in zip(*moves, strict=True))
        return Network(tuple(weights), H)

    # ---- samples

    def merge(self) -> Merge | None:
        """One column per class, as in A-1; lossless where the loss is convex."""
        if self.merged:
            return None
        small = self._with(labels=np.arange(self.num_classes), merged=True)
        return ClassMeans(self.counts_tuple).merge(small, self.loss)

    def _with(self, **changes: Any) -> DeepLinear:
        names = ("loss", "counts", "labels", "lambda_W", "lambda_H", "widths", "merged")
        return DeepLinear(**{name: changes.get(name, getattr(self, name)) for name in names})

    # ---- curvature

    def structure(self, point: Network) -> Structure | None:
        """The Hessian at a critical point from its core and small blocks (DL-3).

        None where the factors do not share their hidden spaces, as they do at critical points, or
        features differ within a class, or the core is too large to diagonalise.
        """
        merge = self.merge()
        if merge is not None:
            mean = merge.reduce(point)
            alike, H = merge.lift(mean).H, np.asarray(point.H)
            if alike.shape == H.shape and np.abs(alike - H).max() > RANK * (1 + np.abs(H).max()):
                return None
            told: Structure | None = merge.model.structure(mean)
            return told
        cut = in_hidden_spaces(point)
        if cut is None or sum(np.size(x) for x in cut[0].factors()) > MAX_DIAGONALISED:
            return None
        core, dropped = cut
        rank = core.H.shape[0]
        small = self._with(widths=(rank,) * len(self.widths))
        levels = [(x, 1, "core") for x in _eigenvalues(small, core)]
        factors = [np.asarray(x) for x in core.factors()]
        spare = [width - rank for width in self.widths]
        decays = [float(self.lambda_H)] + [float(self.lambda_W)] * len(self.widths)
        slope = self._logit_slope(core)
        for i, free in enumerate(spare):
            above, below = product(factors[i + 2 :]), product(factors[:i])
            bypass = slope if above is None else above.T @ slope
            bypass = bypass if below is None else bypass @ below.T
            rows, columns = bypass.shape
            block = np.block(
                [
                    [decays[i + 1] * np.eye(rows), bypass],
                    [bypass.T, decays[i] * np.eye(columns)],
                ]
            )
            levels += [(x, free, "new neurons") for x in np.linalg.eigvalsh(block)]
            if i:
                levels.append((decays[i], free * spare[i - 1], "between new neurons"))
        levels += self._within_classes(core)
        moved = sum(rank * free for free in spare)
        turned = generator_rank(as_rows(small.generators(core)))
        order = sum(x.size for x in factors)
        return Structure(Spectrum.of(levels), turned + moved, order, rank, moved=dropped)

    def _logit_slope(self, point: Network) -> Array:
        """Gradient of the loss in the merged logits (K, K)."""
        root = np.sqrt(np.asarray(self.counts))
        Z = np.asarray(point.logits()) / root
        slopes = np.asarray(column_gradients(self.loss, Z, self.labels)[1])
        return np.asarray(slopes * root / np.sum(self.counts))

    def _within_classes(self, point: Network) -> list[tuple[float, int, str]]:
        """Eigenvalues of moves that leave class means where they are."""
        weights = np.asarray(product(list(point.weights)))
        Z = np.asarray(point.logits()) / np.sqrt(np.asarray(self.counts))
        curved = np.asarray(column_hessians(self.loss, Z, self.labels))
        levels = []
        for k, n in enumerate(self.counts_tuple):
            bent = np.linalg.eigvalsh(weights.T @ curved[k] @ weights) / np.sum(self.counts)
            idle = self.widths[0] - len(bent)
            values = [*(float(self.lambda_H) + bent), *[float(self.lambda_H)] * idle]
            levels += [(x, n - 1, "within classes") for x in values]
        return levels

    # ---- closed forms

    def minimiser(self) -> Minimiser | None:
        """Squared error: every class its own direction, while it pays (DL-2); else None.

        With one weight matrix, what is known of the plain model.
        """
        K, plain = self.num_classes, self.one_layer()
        if plain is not None:
            known = plain.minimiser()
            return known and replace(known, point=Network((known.point.W,), known.point.H))
        form = quadratic_form(self.loss, K)
        if form is None:
            return None
        counts, target, L = np.asarray(self.counts), form.target, self.num_factors
        saves = self._saves(form)
        price = self._prices(form)
        outputs = np.array([shrunk_output(float(B), L) for B in price])
        outputs[np.argsort(-counts, kind="stable")[min(self.widths) :]] = 0.0
        kept = outputs > 0
        saved = 1 - (outputs - 1) ** 2 - np.where(kept, price * outputs ** (2 / L), 0.0)
        value = form.at_zero - float(saves @ saved) / 2
        point = self.aligned_point(np.diag(target * outputs * np.sqrt(counts)))
        source = "products of factors (DL-2)"
        return Minimiser(point, value, int(kept.sum()), None, source, "proved")

    def one_layer(self) -> UFM | None:
        """The plain model, where there is one weight matrix."""
        if len(self.widths) > 1:
            return None
        counts, decays = self.counts_tuple, {"lambda_W": self.lambda_W, "lambda_H": self.lambda_H}
        return UFM(self.loss, d=self.widths[0], counts=counts, **decays)

    def candidates(self) -> dict[str, Network]:
        """The best simplex, and the best of classes in opposite pairs, where widths allow (DL-4).

        Pairs have half the rank: blocks [[1, -1], [-1, 1]], and a single 1 for an odd class.
        """
        K = self.num_classes
        pairs = np.kron(np.eye((K + 1) // 2), np.array([[1.0, -1.0], [-1.0, 1.0]]))[:K, :K]
        shapes = {"simplex": (np.eye(K) - 1 / K, K - 1), "pairs": (pairs, (K + 1) // 2)}
        least = min(self.widths)
        return {x: self._best_multiple(Z) for x, (Z, rank) in shapes.items() if rank <= least}

    def _best_multiple(self, shape: Array) -> Network:
        """The lowest of aligned points whose logits are a multiple of given ones (K, K)."""
        counts, L = np.asarray(self.counts), self.num_factors
        spread = shape * np.sqrt(counts)
        price = L * self.decay / 2 * np.sum(np.linalg.svd(spread, compute_uv=False) ** (2 / L))
        classes = np.arange(self.num_classes)

        def height(log: float) -> float:
            a = math.exp(log)
            losses = np.asarray(column_losses(self.loss, a * shape, classes))
            return float(losses @ counts) / counts.sum() + price * a ** (2 / L)

        steps = np.linspace(-4, 5, 28)
        i = int(np.clip(np.argmin([height(x) for x in steps]), 1, len(steps) - 2))
        options = {"xatol": 1e-9}
        ends = (steps[i - 1], steps[i + 1])
        best = scipy.optimize.minimize_scalar(
            height, bounds=ends, method="bounded", options=options
        )
        point, merge = self.aligned_point(math.exp(best.x) * spread), self.merge()
        return point if merge is None else merge.lift(point)

    def measures(self, point: Network) -> dict[str, Any]:
        """Own logit of every class and, of squared error, price and that of collapse (DL-2).

        The price is that of the largest class: all classes are dropped from the second one on.
        """
        Z = np.asarray(point.logits()) / (np.sqrt(np.asarray(self.counts)) if self.merged else 1.0)
        told: dict[str, Any] = {"own_logits": own_logits(Z, self.labels)}
        form = quadratic_form(self.loss, self.num_classes)
        if form is not None and self.num_factors > 2:
            told["price"] = float(self._prices(form).min())
            told["collapse_price"] = collapse_price(self.num_factors)
        return told

    def _prices(self, form: Any) -> Array:
        """B of every class: L prod(decays)^(1/L) (n_k t^2)^(1/L) over what z_k = t saves, twice."""
        spread, L = np.asarray(self.counts) * form.target**2, self.num_factors
        return np.asarray(L * self.decay * spread ** (1 / L) / self._saves(form))

    def _saves(self, form: Any) -> Array:
        """What every class saves by z_k = target, twice."""
        counts = np.asarray(self.counts)
        return np.asarray(counts / counts.sum() * form.curvature * form.target**2)

    def certificate(self, point: Network) -> Certificate:
        """With one weight matrix, the duality gap of the plain model."""
        plain = self.one_layer()
        if plain is None:
            return Certificate.does_not_apply("no dual bound is known for products of factors")
        return plain.certificate(Point(point.weights[0], point.H))

    def aligned_point(self, Z: Array) -> Network:
        """The factors of least decay whose product is Z (K, K), in merged columns (DL-1).

        Raises:
            InputError: a rank above the smallest width.
        """
        left, values, right = np.linalg.svd(np.asarray(Z, dtype=float))
        rank, least = int(np.sum(values > 1e-14 * (1 + values[0]))), min(self.widths)
        if rank > least:
            raise InputError(f"Need logits of rank <= {least}, the smallest width", rank, "widen")
        share = (values[:rank] * self.decay ** (self.num_factors / 2)) ** (1 / self.num_factors)
        H = np.zeros((self.widths[0], len(right)))
        H[:rank] = (share / math.sqrt(self.lambda_H))[:, None] * right[:rank]
        weights = []
        for below, above in zip(self.widths, (*self.widths[1:], len(left)), strict=True):
            weights.append(np.zeros((above, below)))
            size = share / math.sqrt(self.lambda_W)
            last = len(weights) == len(self.widths)
            weights[-1][:, :rank] = left[:, :rank] * size if last else np.eye(above, rank) * size
        return Network(tuple(weights), H)

    def columns(self) -> dict[str, Any]:
        """Loss, K, widths, depth, counts and decays."""
        return {
            "loss": self.loss.name,
            "K": self.num_classes,
            "d": min(self.widths),
            "depth": len(self.widths),
            **counts_columns(self.counts_tuple),
            "lambda_W": float(self.lambda_W),
            "lambda_H": float(self.lambda_H),
        }


def _eigenvalues(model: DeepLinear, point: Network) -> Array:
    """Of the dense Hessian; decays alone where nothing is left to couple."""
    if point.H.size:
        return np.asarray(np.linalg.eigvalsh(model.dense_derivatives(point)[2]))
    return np.zeros(0)


def deep_linear(
    loss: Loss | None = None,
    num_classes: int = 3,
    d: int = 5,
    n: int = 1,
    depth: int | None = None,
    lambda_W: float = 0.02,
    lambda_H: float = 0.02,
    counts: str | Sequence[int] | None = None,
    widths: str | Sequence[int] | None = None,
) -> DeepLinear:
    """A deep linear network on free features; squared error is solved exactly at every depth.

    f(W, H) = (1/N) sum_i L(W_M ... W_1 h_i, y_i) + (lambda_W/2) sum_l |W_l|^2 + (lambda_H/2) |H|^2

    Args:
        loss: the classification loss, cross entropy by default.
        num_classes: K, 2 or more.
        d: width of the features and of every layer.
        n: samples per class.
        depth: M, weight matrices above the features, 1 or more, 2 by default; 1 is the plain model.
        lambda_W: weight decay of every weight matrix, > 0.
        lambda_H: weight decay of the features, > 0.
        counts: samples of every class with commas, instead of K and n.
        widths: inputs of W_1, ..., W_M with commas, instead of d and depth.

    Raises:
        InputError: a value outside its domain.

    Example:
        >>> from ufm import MSE
        >>> round(deep_linear(MSE(), 3, 5, 2, 1, 0.02, 0.02).minimiser().value, 6)  # c - c^2/2
        0.081253
    """
    sizes = class_counts(num_classes, n, counts)
    if widths is None:
        width = require_count(d, "d", 1, "use a width of one or more")
        layers = 2 if depth is None else depth
        layers = require_count(layers, "depth", 1, "give one weight matrix or more")
        sides: tuple[int, ...] = (width,) * min(layers, MAX_DEPTH)
    else:
        sides = parsed_counts(widths, "widths", least=1)
        layers = len(sides)
        if depth not in (None, layers):
            rule, got = "Need as many widths as depth says", f"depth {depth}, {layers} widths"
            raise InputError(rule, got, "give widths alone: one for each weight matrix")
    if layers > MAX_DEPTH:
        raise InputError(f"Need depth <= {MAX_DEPTH}", layers, "use fewer weight matrices")
    return DeepLinear(
        fixed_loss(loss or CrossEntropy(), sizes),
        np.asarray(sizes, dtype=float),
        np.repeat(np.arange(len(sizes)), sizes),
        require_decay(lambda_W, "lambda_W"),
        require_decay(lambda_H, "lambda_H"),
        sides,
    )
