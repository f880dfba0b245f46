"""Deep ReLU networks on free features, and low-rank networks that lie below collapse."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

import jax.numpy as jnp
import numpy as np

from ufm.answers import Certificate, Minimiser
from ufm.losses import MSE
from ufm.losses.columns import column_gradients
from ufm.losses.loss import Loss
from ufm.model import Model
from ufm.models.deep_linear import DeepLinear, deep_linear
from ufm.models.factors import Network
from ufm.models.first_order import shrunk_output
from ufm.models.idle_units import MOST_SAMPLES, unit_gain
from ufm.models.low_rank_codes import circulant, cycle_scales, low_rank_codes
from ufm.plain.quadratic_form import quadratic_form
from ufm.point import skew_basis
from ufm.records import pytree_record
from ufm.tolerance import RANK
from ufm.typing import Array


@pytree_record(eq=False)
class DeepReLU(Model[Network]):
    """M weight matrices on free features, with a ReLU after each but the last.

    f(W, H) = (1/N) sum_i L(W_M relu(... relu(W_1 h_i)), y_i) + (lambda_W/2) sum_l |W_l|^2
              + (lambda_H/2) |H|^2

    Source: after Sukenik et al. 2024 (arXiv 2405.14468); docs/theory.md, DR-1 to DR-3.

    Attributes:
        linear: the network without its ReLUs.
    """

    linear: DeepLinear

    @property
    def loss(self) -> Loss:
        """Of (logits, label)."""
        return self.linear.loss

    @property
    def num_classes(self) -> int:
        """K."""
        return self.linear.num_classes

    def objective(self, point: Network) -> Any:
        """f at a point; shapes W_l (d_{l+1}, d_l), H (d_1, N)."""
        return self.linear.height(self.layers(point)[-1], point)

    def layers(self, point: Network, slopes: Any = None, shifts: Any = None) -> list[Any]:
        """W_1 H, W_2 relu(W_1 H), ..., the logits: what every layer makes before its ReLU.

        With slopes and shifts, one for every hidden unit and sample, layer by layer, each ReLU is
        slope * u + shift.
        """
        made, passed = [point.weights[0] @ point.H], 0
        for W in point.weights[1:]:
            A = made[-1]
            part = slice(passed, passed + A.size)
            if slopes is None:
                seen = jnp.maximum(A, 0.0)
            else:
                seen = slopes[part].reshape(A.shape) * A + shifts[part].reshape(A.shape)
            made.append(W @ seen)
            passed = part.stop
        return made

    def pieces(self, point: Network, slopes: Any = None, shifts: Any = None) -> Any:
        """The objective with lines for ReLUs, and what enters them."""
        *hidden, logits = self.layers(point, slopes, shifts)
        if not hidden:
            return None
        return self.linear.height(logits, point), jnp.concatenate([A.ravel() for A in hidden])

    def unfelt_growth(self, point: Network, slopes: Any, kinks: Any) -> float | None:
        """Least curvature of units that are off, at rows and columns of zero; None of others.

        A unit that enters by w and leaves by v costs lambda_W (|w|^2 + |v|^2) / 2 and gains at
        most |w| |v| times ``unit_gain`` (DR-5).
        """
        N = point.H.shape[1]
        if N > MOST_SAMPLES:
            return None
        weights, kinks = [np.asarray(W) for W in point.weights], np.asarray(kinks)
        made = [np.asarray(A) for A in self.layers(point, slopes, np.zeros(len(slopes)))]
        error = np.asarray(column_gradients(self.loss, made[-1], self.linear.labels)[1]) / N
        errors, ends = [error], np.cumsum([A.size for A in made[:-1]])
        for W, A, end in zip(weights[:0:-1], made[-2::-1], ends[::-1], strict=True):
            error = (W.T @ error) * slopes[end - A.size : end].reshape(A.shape)
            errors.append(error)
        errors, least = errors[::-1], np.inf
        inputs = [np.asarray(point.H), *(np.maximum(A, 0.0) for A in made[:-2])]
        for layer, end in enumerate(ends):
            size = made[layer].size
            own = kinks[(kinks >= end - size) & (kinks < end)] - (end - size)
            units = np.unique(own // N)
            rows, columns = weights[layer][units], weights[layer + 1][:, units]
            if not len(units):
                continue
            if max(np.abs(rows).max(), np.abs(columns).max()) > RANK:
                return None
            gain = unit_gain(inputs[layer], errors[layer + 1])
            least = min(least, float(self.linear.lambda_W) - gain)
        return least

    def random_point(self, key: Any, scale: float = 1.0) -> Network:
        """Independent N(0, scale^2) entries."""
        return self.linear.random_point(key, scale)

    def generators(self, point: Network) -> Network:
        """Rotations of the features: H -> R H, W_1 -> W_1 R^T; hidden layers have none."""
        H, first, *rest = (np.asarray(x) for x in point.factors())
        skew = skew_basis(len(H))
        still = (np.zeros((len(skew), *W.shape)) for W in rest)
        return Network((-first @ skew, *still), skew @ H)

    # ---- what is known

    def minimiser(self) -> Minimiser | None:
        """One weight matrix: that of the plain model. Two, squared error, equal classes: collapse.

        None elsewhere: from four weight matrices on, collapse is not optimal (DR-3).
        """
        layers, counts = len(self.linear.widths), set(self.linear.counts_tuple)
        if layers == 1:
            known, merge = self.linear.minimiser(), self.linear.merge()
            return replace(known, point=merge.lift(known.point)) if known and merge else known
        if layers > 2 or len(counts) > 1:
            return None
        point = self.collapsed_point()
        if point is None:
            return None
        value = float(self.value_and_gradient(point)[0])
        rank = self.num_classes if np.any(point.H) else 0
        return Minimiser(point, value, rank, None, "collapse in two layers (DR-1)", "derived")

    def collapsed_point(self) -> Network | None:
        """Deep neural collapse: outputs y I, as without ReLUs, by features of rank K (DR-1).

        None unless the loss is a squared one and every width is K or more.
        """
        K = self.num_classes
        # Below zero off the diagonal, so that the first ReLU is not at its kink.
        inner = np.eye(K) * (1 + 1 / (2 * K - 2)) - 1 / (2 * K - 2)
        return self.network(inner, np.eye(K), np.eye(K))

    def candidates(self) -> Mapping[str, Network]:
        """Collapse and networks of lower rank (DR-3), these at an output of (M - 1)/M or more.

        Below that output no multiple pays at any decay; descents from there may still end lower.
        """
        found = {"collapse": self.collapsed_point()}
        for name, unit in low_rank_codes(self.num_classes).items():
            M = len(self.linear.widths)
            found[name] = self.network(*unit, least=(M - 1) / M) if M > 2 else None
        found["cycle"] = self.cycle()
        return {name: point for name, point in found.items() if point is not None}

    def cycle(self) -> Network | None:
        """Four classes as the edges of a cycle, at their best outputs, which are not y I (DR-4).

        None unless there are four equal classes, squared error and three weight matrices or more.
        """
        linear, M, counts = self.linear, len(self.linear.widths), self.linear.counts_tuple
        form = quadratic_form(linear.loss, self.num_classes)
        fits = len(counts) == 4 and len(set(counts)) == 1 and min(linear.widths) >= 4 and M > 2
        if form is None or not fits or (form.target, form.curvature) != (1.0, 1.0):
            return None
        best = cycle_scales(M, float(linear.lambda_W), float(linear.lambda_H) * counts[0])
        size, passed, a, w = best[0], best[1], best[2:4], best[4:]
        edges = circulant(np.array([1.0, 1.0, 0.0, 0.0]))
        left, values, right = np.linalg.svd(size * edges)
        root = np.sqrt(values[:3])
        ratio = (float(linear.lambda_H) * counts[0] / float(linear.lambda_W)) ** 0.25
        between = passed * (np.eye(4) - circulant(np.array([1.0, -1.0, 1.0, -1.0])) / 4)
        # The last layer but one turns edges back: eigenvalues a_0, a_1, a_1, 0 up to phases.
        phases = np.exp(-0.25j * np.pi * np.array([0, 1, 0, -1])) * np.array([a[0], a[1], 0, a[1]])
        turned = np.real(np.fft.ifft(phases.conj()))
        last = np.real(np.fft.ifft(w[[0, 1, 2, 1]]))
        weights = [left[:, :3] * root * ratio, *[between] * (M - 3)]
        weights += [circulant(turned), circulant(last)]
        H = root[:, None] * right[:3] / ratio
        factors = [np.repeat(H, counts[0], axis=1), *weights]
        sides = (linear.labels.shape[0], *linear.widths, 4)
        sizes = zip(sides[1:], sides[:-1], strict=True)
        padded = [
            np.pad(F, ((0, rows - F.shape[0]), (0, columns - F.shape[1])))
            for F, (rows, columns) in zip(factors, sizes, strict=True)
        ]
        return Network(tuple(padded[1:]), padded[0])

    def network(
        self, features: Array, inner: Array, outer: Array, least: float = 0.0
    ) -> Network | None:
        """The best network with outputs y I of given unit layers (DR-2).

        W_1 H = features, layers between keep relu(features), and outer relu(inner relu(features))
        = I; every factor is scaled, and units are balanced, at the least decay.

        Args:
            features: of every class (r, K).
            inner: the last layer but one (u, r).
            outer: the last layer (K, u); with two weight matrices it is the product of both.
            least: outputs are y >= least, also where none pays.

        Returns:
            None where the loss is not a squared one or a layer is too narrow; zero where no
            positive y pays and ``least`` is 0.
        """
        linear, K = self.linear, self.num_classes
        form, M = quadratic_form(linear.loss, K), len(linear.widths)
        seen = np.maximum(features, 0.0)
        room = (len(features),) * (M - 2) + (len(inner),) if M > 2 else (len(features),)
        needed = (np.linalg.matrix_rank(features), *room)
        if form is None or M < 2 or any(w < x for w, x in zip(linear.widths, needed, strict=True)):
            return None
        left, values, right = np.linalg.svd(features, full_matrices=False)
        kept = values > RANK * values[0]
        half = np.sqrt(values[kept])
        between = seen @ np.linalg.pinv(seen)
        ends = [outer @ inner]
        if M > 2:
            into, out = np.linalg.norm(inner, axis=1), np.linalg.norm(outer, axis=0)
            share = np.sqrt(out / into)
            ends = [inner * share[:, None], outer / share]
        units = [left[:, kept] * half, *[between] * (M - 3 if M > 2 else 0), *ends]
        codes = half[:, None] * right[kept]
        L, H = M + 1, np.repeat(codes, linear.counts_tuple, axis=1)
        factors = [H, *units]
        decays = [float(linear.lambda_H)] + [float(linear.lambda_W)] * M
        costs = [decay * float(np.sum(F**2)) for decay, F in zip(decays, factors, strict=True)]
        mean = math.exp(math.fsum(map(math.log, costs)) / L)
        saves = form.curvature * form.target**2
        y = max(least, shrunk_output(L * mean * form.target ** (2 / L) / saves, L))
        size = (form.target * y) ** (1 / L) * math.sqrt(mean)
        scaled = [F * size / math.sqrt(cost) for F, cost in zip(factors, costs, strict=True)]
        sides = [*linear.widths, K]
        H, *weights = scaled
        padded = [_padded(W, (b, a)) for W, a, b in zip(weights, sides, sides[1:], strict=False)]
        return Network(tuple(padded), _padded(H, (sides[0], H.shape[1])))

    def certificate(self, point: Network) -> Certificate:
        """With one weight matrix, the duality gap of the plain model."""
        if len(self.linear.widths) == 1:
            return self.linear.certificate(point)
        return Certificate.does_not_apply("no dual bound is known for networks with ReLUs")

    def columns(self) -> dict[str, Any]:
        """Loss, K, widths, depth, counts and decays."""
        return self.linear.columns()


def _padded(X: Array, shape: tuple[int, int]) -> Array:
    return np.pad(X, [(0, big - small) for big, small in zip(shape, X.shape, strict=True)])


def deep_relu(
    loss: Loss | None = None,
    num_classes: int = 3,
    d: int = 5,
    n: int = 1,
    depth: int | None = None,
    lambda_W: float = 0.02,
    lambda_H: float = 0.02,
    counts: str | Sequence[int] | None = None,
    widths: str | Sequence[int] | None = None,
) -> DeepReLU:
    """A deep ReLU network on free features; networks of low rank lie below collapse from M = 4 on.

    f(W, H) = (1/N) sum_i L(W_M relu(... relu(W_1 h_i)), y_i) + (lambda_W/2) sum_l |W_l|^2
              + (lambda_H/2) |H|^2

    Args:
        loss: the classification loss, squared error by default.
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
        >>> model = deep_relu(num_classes=3, depth=4, lambda_W=0.035, lambda_H=0.035)
        >>> heights = {name: float(model.objective(x)) for name, x in model.candidates().items()}
        >>> heights["plane"] < heights["collapse"]
        True
    """
    if loss is None:
        loss = MSE()
    return DeepReLU(deep_linear(loss, num_classes, d, n, depth, lambda_W, lambda_H, counts, widths))
