"""The layer-peeled model: classifier and features of fixed energies instead of weight decay."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ufm.answers import Certificate, Code, Minimiser, Structure
from ufm.collapse.codes import code_measures
from ufm.counts import class_counts, counts_columns
from ufm.decay import balanced_factors
from ufm.errors import InputError, require_count, require_positive
from ufm.frames import simplex_etf
from ufm.losses import CrossEntropy
from ufm.losses.columns import column_gradients, column_losses
from ufm.losses.logit_curve import logit_curve
from ufm.losses.loss import Loss
from ufm.losses.user import fixed_loss
from ufm.model import Model
from ufm.models.merging_ratio import merging_ratio
from ufm.models.unused_dimensions import AXES, unused_dimensions
from ufm.point import Point, gaussian, rotation_generators
from ufm.records import pytree_record


@pytree_record(static=("counts", "d"), eq=False)
class LayerPeeled(Model[Point]):
    """Classifier and features of given energies, those of every class counted alike.

    f(W, H) = (1/N) sum_i L(s W h_i, y_i),  s = K sqrt(E_W E_H) / (|W| |H|_c)

    with |H|_c^2 = sum_k (1/n_k) sum_{i in k} |h_i|^2: free arrays are brought to the energies
    (1/K) |W|^2 = E_W and (1/K) |H|_c^2 = E_H inside, so both lengths are among the symmetries.
    Source: Fang et al. 2021 (arXiv 2101.12699); docs/theory.md, LPM-1.

    Attributes:
        loss: the classification loss.
        counts: n_k, samples of every class.
        d: feature dimension.
        energy_W, energy_H: E_W and E_H.
    """

    loss: Loss
    counts: tuple[int, ...]
    d: int
    energy_W: Any
    energy_H: Any

    @property
    def num_classes(self) -> int:
        """K."""
        return len(self.counts)

    @property
    def labels(self) -> NDArray[np.int64]:
        """Class of every column (N,)."""
        return np.repeat(np.arange(self.num_classes), self.counts)

    @property
    def room(self) -> Any:
        """K sqrt(E_W E_H): the most that the nuclear norm of the class means' logits can be."""
        return self.num_classes * (self.energy_W * self.energy_H) ** 0.5

    def lengths(self, point: Point) -> tuple[Any, Any]:
        """|W|^2 and |H|_c^2."""
        shares = 1 / np.asarray(self.counts)[self.labels]
        return (point.W**2).sum(), (shares * (point.H**2).sum(axis=0)).sum()

    def logits(self, point: Point) -> Any:
        """Logits of every sample at the energies of the model, (K, N)."""
        squares = self.lengths(point)
        return self.room / (squares[0] * squares[1]) ** 0.5 * (point.W @ point.H)

    def objective(self, point: Point) -> Any:
        """f at a point; shapes W (K, d), H (d, N)."""
        return column_losses(self.loss, self.logits(point), self.labels).mean()

    def random_point(self, key: Any, scale: float = 1.0) -> Point:
        """Independent N(0, scale^2) entries."""
        W, H = gaussian(key, [(self.num_classes, self.d), (self.d, sum(self.counts))])
        return Point(scale * W, scale * H)

    def generators(self, point: Point) -> Point:
        """Rotations, and the lengths of W and of H."""
        turned, (W, H) = rotation_generators(point), (np.asarray(x) for x in point[:2])
        grown_W, grown_H = np.stack([W, 0 * W]), np.stack([0 * H, H])
        both = (np.concatenate(pair) for pair in ((turned.W, grown_W), (turned.H, grown_H)))
        return Point(*both)

    def checked(self, point: Any) -> tuple[Model[Any], Any]:
        """The point as float64 arrays, and this model.

        Raises:
            InputError: shapes or numbers that do not fit, or W or H that is zero.
        """
        model, told = super().checked(point)
        least = float(min(self.lengths(told)))
        if least == 0:
            remedy = "zero has no energy to be scaled: move W and H"
            raise InputError("Need W and H that are not zero", least, remedy)
        return model, told

    def structure(self, point: Point) -> Structure | None:
        """The Hessian at any point from the dimensions that it uses (A-8); None where d is few."""
        return unused_dimensions(self, point, AXES)

    # ---- what is known

    def minimiser(self) -> Minimiser | None:
        """With equal classes the simplex of logit gap room / (K - 1); None elsewhere (LPM-1).

        Needs a loss that is convex, the same for all classes and blind to common shifts, and that
        still falls there.
        """
        K, properties = self.num_classes, self.loss.properties(self.num_classes)
        known = properties.convex and properties.equivariant and properties.shift_invariant
        if not known or len(set(self.counts)) > 1 or self.d < K - 1:
            return None
        gap = float(self.room) / (K - 1)
        curve = logit_curve(self.loss, gap, 0.0, K)
        if curve.own >= 0:
            return None
        frame, values = simplex_etf(K), np.full(K - 1, gap)
        W, H = balanced_factors(frame, values, frame.T, self.d, self.energy_H, self.energy_W)
        point = Point(W, np.repeat(H, self.counts, axis=1))
        evidence = properties.convex.evidence
        code = Code(gap, 0.0, 0.0, K)
        return Minimiser(point, curve.value, K - 1, code, "simplex (LPM-1)", evidence)

    def certificate(self, point: Point) -> Certificate:
        """f of the class means is convex in their logits Z, which fill |Z|_* <= room (LPM-1).

        With G its gradient there, f >= f(Z) - <G, Z> - room |G|_2; valid for every d.
        """
        convex = self.loss.properties(self.num_classes).convex
        if not convex:
            return Certificate.does_not_apply("the loss is not convex: no bound is known")
        counts, Z = np.asarray(self.counts), np.asarray(self.logits(point))
        starts = np.cumsum(counts) - counts
        means = np.add.reduceat(Z, starts, axis=1) / counts
        losses, slopes = column_gradients(self.loss, means, np.arange(len(counts)))
        shares = counts / counts.sum()
        G = np.asarray(slopes) * shares
        fall = float(self.room) * float(np.linalg.norm(G, 2))
        bound = float(shares @ np.asarray(losses)) - float(np.sum(G * means)) - fall
        gap = float(self.value_and_gradient(point)[0]) - bound
        reason = "convex in the class means' logits (LPM-1)"
        return Certificate(True, gap, bound, None, reason, convex.evidence)

    def measures(self, point: Point) -> dict[str, Any]:
        """How far the smallest classes are apart, the room that is used, and the classifier.

        ``smallest_classes_spread`` is the largest difference of two logits of the smallest classes
        at a mean feature of one of them: zero where they have merged. For cross entropy and two
        sizes of class also the ratio of sizes, and the one from which on they merge (LPM-1).
        """
        counts, Z = np.asarray(self.counts), np.asarray(self.logits(point))
        means = np.add.reduceat(Z, np.cumsum(counts) - counts, axis=1) / counts
        small = counts == counts.min()
        among = means[np.ix_(small, small)]
        return {
            "smallest_classes_spread": float(np.ptp(among, axis=0).max()),
            "nuclear_norm": float(np.linalg.svd(means, compute_uv=False).sum()),
            "room": float(self.room),
            **self._ratios(),
            **code_measures(np.asarray(point.W)),
        }

    def _ratios(self) -> dict[str, float]:
        sizes, large = sorted(set(self.counts)), self.counts.count(max(self.counts))
        cross_entropy = self.loss.name == CrossEntropy().name
        if not cross_entropy or len(sizes) != 2 or not 2 <= large <= self.num_classes - 2:
            return {}
        found = merging_ratio(self.num_classes, large, float(self.energy_W), float(self.energy_H))
        return {"ratio": sizes[1] / sizes[0], "merging_ratio": found}

    def columns(self) -> dict[str, Any]:
        """Loss, K, d, counts and energies."""
        return {
            "loss": self.loss.name,
            "K": self.num_classes,
            "d": self.d,
            **counts_columns(self.counts),
            "energy_W": float(self.energy_W),
            "energy_H": float(self.energy_H),
        }


def layer_peeled(
    loss: Loss | None = None,
    num_classes: int = 4,
    d: int = 5,
    n: int = 1,
    energy_W: float = 1.0,
    energy_H: float = 5.0,
    counts: str | Sequence[int] | None = None,
) -> LayerPeeled:
    """The layer-peeled model: energies of classifier and features are given, there is no decay.

    f(W, H) = (1/N) sum_i L(W h_i, y_i),  |W|^2 = K E_W,  sum_k (1/n_k) sum_{i in k} |h_i|^2 = K E_H

    Args:
        loss: the classification loss, cross entropy by default.
        num_classes: K, 2 or more.
        d: feature dimension.
        n: samples per class.
        energy_W: E_W, mean square of a row of the classifier, > 0.
        energy_H: E_H, mean square of a feature, classes counted alike, > 0.
        counts: samples of every class with commas, instead of K and n.

    Raises:
        InputError: a value outside its domain.

    Example:
        >>> round(layer_peeled(num_classes=4, d=3).minimiser().code.a, 10)  # 4 sqrt(5) / 3
        2.98142397
    """
    sizes = class_counts(num_classes, n, counts)
    require_count(d, "d", 1, "use a feature dimension of one or more")
    require_positive(energy_W, "energy_W", "use a mean square such as 1")
    require_positive(energy_H, "energy_H", "use a mean square such as 5")
    if not math.isfinite(energy_W * energy_H) or energy_W * energy_H == 0:
        rule = "Need a product of energies that floats hold"
        raise InputError(rule, f"{energy_W:g} * {energy_H:g}", "use mean squares such as 1 and 5")
    chosen = fixed_loss(loss or CrossEntropy(), sizes)
    return LayerPeeled(chosen, sizes, d, energy_W, energy_H)
