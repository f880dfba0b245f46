"""One orbit of critical points: its numbers in its own rank, and its index in every dimension."""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import cached_property

import numpy as np

from landscape.atlas.labels import label
from landscape.atlas.search import Found
from landscape.curvature.count import count_curvature
from landscape.verdict import Curvature, global_slack
from ufm.errors import InputError, require_count
from ufm.losses.columns import column_hessians
from ufm.plain.model import UFM
from ufm.plain.reduce import Reduced, reduced
from ufm.plain.relabelling import (
    TOLERANCE,
    Item,
    Side,
    in_order,
    orbit_size,
    resolution,
    same_orbit,
    stabiliser_order,
)
from ufm.plain.structure import from_blocks
from ufm.point import Point
from ufm.spectrum import pair
from ufm.typing import Array

# A coupling this close to sigma, relatively, is a bifurcation: d - r further zero eigenvalues, and
# an index that rounding would decide. Couplings are known to 1e-9 at gradient norm 1e-12.
BIFURCATION = 1e-7


@dataclass(frozen=True, eq=False)
class Orbit:
    """A critical point modulo rotations and permutations of classes of one kind.

    Attributes:
        model: the merged model in the dimension of the point (rank, at least 1).
        point: W (K, r), H (r, K), b; r = 1 with zeros for the origin.
        objective, gradient_norm: there.
        rank: of Z = W Hbar.
        range_index: negative eigenvalues in dimension r.
        range_nullity, range_predicted: zero eigenvalues in dimension r, found and explained by
            symmetry; bias shift included.
        range_smallest: smallest eigenvalue in dimension r; None at the origin without bias.
        couplings: singular values of G outside the support, descending.
        stabiliser: number of permutations that leave Z alone.
        count: number of matrices Z.
        label: the symmetry in words.
        certified: whether the duality gap proves it global (where d >= the rank of the optimum).
        hits: how often a search that knows nothing of the list ended here.
        hits_eliminated: how many of them by the search with eliminated features.
        walked: whether the paths that leave it were followed.
        betti: Betti numbers (mod 2) of the manifold of matrices Z if they form a continuum modulo
            relabelling (squared error), whose Euler characteristic is ``count``; else empty.
    """

    model: UFM
    point: Point
    objective: float
    gradient_norm: float
    rank: int
    range_index: int
    range_nullity: int
    range_predicted: int
    range_smallest: float | None
    couplings: Array
    stabiliser: int
    count: int
    label: str
    certified: bool
    hits: int = 1
    hits_eliminated: int = 0
    walked: bool = False
    betti: tuple[int, ...] = ()

    @property
    def Z(self) -> Array:
        """W Hbar, (K, K): with the bias a complete invariant modulo rotations (A-3)."""
        return np.asarray(self.point.W @ self.point.H)

    @property
    def bias(self) -> Array | None:
        """The bias without the shift that costs nothing: with Z a complete invariant."""
        return centred_bias(self.model, self.point)

    @property
    def item(self) -> Item:
        """(objective, Z, bias): what tells orbits of one rank apart."""
        return self.objective, self.Z, self.bias

    @cached_property
    def _in_order(self) -> Side:
        return in_order(self.Z, self.model.kinds, self.bias)

    @property
    def is_continuum(self) -> bool:
        """Whether the matrices Z form a continuum modulo relabelling."""
        return len(self.betti) > 1

    def contains(self, item: Item) -> bool:
        """Whether a point (objective, Z, bias) lies in the orbit.

        Continua of squared error are told by objective and singular values of Z.
        """
        if not self.is_continuum:
            return same_orbit(self.item, item, self.model.kinds, first=self._in_order)
        sizes = [np.linalg.svd(np.asarray(M), compute_uv=False) for M in (self.Z, item[1])]
        unit = resolution(TOLERANCE, self.Z, np.asarray(item[1]))
        near = abs(self.objective - item[0]) <= TOLERANCE * max(1.0, abs(self.objective))
        return near and bool(np.abs(sizes[0] - sizes[1]).max() <= unit)

    @property
    def overshoot(self) -> int:
        """b of AT-4: singular values of G above sigma, each an unstable pair per new dimension."""
        return int(np.sum(self.couplings > self.model.sigma * (1 + BIFURCATION)))

    @property
    def bifurcating(self) -> int:
        """Couplings equal to sigma: new dimensions are flat there."""
        return int(np.sum(np.abs(self.couplings / self.model.sigma - 1) <= BIFURCATION))

    @property
    def morse_bott(self) -> bool:
        """Whether symmetry explains every zero eigenvalue, in every dimension."""
        return self.range_nullity == self.range_predicted and self.bifurcating == 0

    def _extra(self, d: int) -> int:
        require_count(d, "d", 1, "use one dimension or more")
        if d < self.rank:
            rule = f"A point of rank {self.rank} needs d >= {self.rank}"
            raise InputError(rule, d, "use a larger dimension")
        return d - self.rank

    def index(self, d: int) -> int:
        """Negative Hessian eigenvalues in dimension d (samples merged): A-2."""
        return self.range_index + self._extra(d) * self.overshoot

    def nullity(self, d: int) -> int:
        """Zero Hessian eigenvalues in dimension d."""
        return self.range_nullity + self._extra(d) * (self.rank + self.bifurcating)

    def predicted_nullity(self, d: int) -> int:
        """Dimension of the symmetry orbit in dimension d."""
        return self.range_predicted + self._extra(d) * self.rank

    def smallest(self, d: int) -> float:
        """Smallest Hessian eigenvalue in dimension d."""
        candidates = [] if self.range_smallest is None else [self.range_smallest]
        if self._extra(d):
            lw, lh = float(self.model.lambda_W), float(self.model.lambda_H)
            # r singular values of G are sigma itself and give the zeros of the rotations.
            top = max([*self.couplings[:1], *([self.model.sigma] if self.rank else [])])
            candidates.append(pair(lw, lh, float(top))[0])
        return min(candidates)

    def curvature(self, d: int) -> Curvature:
        """The verdict on curvature in dimension d, UNDECIDED where not all zeros are explained.

        What a search does not tell from zero counts as zero; ``verdict`` looks closer.
        """
        if self.index(d):
            return Curvature.STRICT_SADDLE
        if self.nullity(d) == self.predicted_nullity(d):
            return Curvature.MORSE_BOTT_MINIMUM
        return Curvature.UNDECIDED

    def seen_again(self, hits: int = 1, eliminated: int = 0) -> Orbit:
        """The same orbit, found more often; ``eliminated`` of the hits with eliminated features."""
        found = self.hits + hits, self.hits_eliminated + eliminated
        return replace(self, hits=found[0], hits_eliminated=found[1])


def centred_bias(model: UFM, point: Point) -> Array | None:
    """The bias without its part along a shift that costs nothing: its mean, for most losses."""
    if point.b is None:
        return None
    b, shift = np.asarray(point.b), model.free_shift
    return b if shift is None else b - (b @ shift) / (shift @ shift) * shift


def describe(model: UFM, found: Found) -> Orbit:
    """Everything about the orbit of a critical point of full rank (or the origin).

    Args:
        model: the merged model in the dimension of the point.
        found: the point.

    Example:
        >>> from ufm import CrossEntropy
        >>> model = UFM(CrossEntropy(), 3, 2, lambda_W=0.1, lambda_H=0.1)
        >>> orbit = describe(model, Found(model.minimiser().point, model.minimiser().value, 0.0))
        >>> orbit.label, orbit.index(5), orbit.count
        ('simplex ETF', 0, 1)
    """
    point = found.point.to_numpy()
    Z, kinds = point.W @ point.H, model.kinds
    parts = reduced(model, point)
    rank = parts.space.rank
    numbers = _range(model, point, found.gradient_norm, parts)
    bias = centred_bias(model, point)
    groups = [tuple(map(int, group)) for group in parts.groups]
    groups.sort(key=lambda group: (-len(group), group))
    stabiliser = stabiliser_order(Z, kinds, bias, groups=groups)
    couplings = parts.couplings
    return Orbit(
        model,
        point,
        found.objective,
        found.gradient_norm,
        rank,
        *numbers,
        couplings=couplings,
        stabiliser=stabiliser,
        count=orbit_size(kinds, stabiliser),
        label=label(Z, kinds, bias, order=stabiliser, groups=groups),
        certified=_certified(model, found, couplings),
    )


def _certified(model: UFM, found: Found, couplings: Array) -> bool:
    """Whether the duality gap vanishes; it cannot where |G| > sigma (CE-2)."""
    if couplings[:1].sum() > model.sigma * (1 + BIFURCATION):
        return False
    gap = model.certificate(found.point).gap
    return gap is not None and bool(gap <= global_slack(found.objective))


def _range(
    model: UFM, point: Point, gradient_norm: float, parts: Reduced
) -> tuple[int, int, int, float | None]:
    """Index, nullity, predicted nullity and smallest eigenvalue in the dimension of the point."""
    if not parts.space.rank:
        return _at_origin(model, point)
    count = count_curvature(model, point, gradient_norm, from_blocks(parts))
    if count.nullity_range is None or count.predicted_nullity is None:
        rule = "An atlas needs the exact index of every point"
        raise InputError(rule, count.route, "use fewer classes")
    # What is not told from zero counts as zero: two orbits of an atlas may be about to meet.
    return count.index_range[0], count.nullity_range[1], count.predicted_nullity, count.smallest


def _at_origin(model: UFM, point: Point) -> tuple[int, int, int, float | None]:
    """The same in dimension zero, where only the bias is left."""
    if point.b is None:
        return 0, 0, 0, None
    K, counts = model.num_classes, np.asarray(model.counts)
    Z = np.repeat(point.b[:, None], K, axis=1)
    S = np.asarray(column_hessians(model.loss, Z, np.arange(K)))
    hessian = np.einsum("k,kij->ij", counts / counts.sum(), S)
    values = np.linalg.eigvalsh(hessian + float(model.lambda_b) * np.eye(K))
    zero = BIFURCATION * float(np.abs(values).max())
    flat = model.free_shift is not None
    index, nullity = int(np.sum(values < -zero)), int(np.sum(np.abs(values) <= zero))
    return index, nullity, int(flat), float(values[0])
