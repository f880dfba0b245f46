"""A UFM restricted to merged classes: groups of classes share w, h and b."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, ClassVar

import numpy as np

from ufm.errors import InputError, require_count
from ufm.model import Model
from ufm.plain import UFM
from ufm.point import Point
from ufm.records import pytree_record
from ufm.symmetry import rotation_generators


@pytree_record(static=("d",), eq=False)
class Grouped(Model):
    """The restriction of a UFM to points with w_k, h_k, b_k equal within groups of classes.

    The fixed subspace of a group of class permutations: by symmetric criticality its critical
    points are critical points of the UFM, so a minimum here is a merged-class saddle there (CE-6).
    Points have G rows and columns instead of K; ``expand`` gives the point of the UFM.
    Source: Palais 1979; CE-6 for equal groups.

    Args:
        model: a UFM with an equivariant loss; samples are merged.
        groups: sizes m_1, ..., m_G of the groups, classes in order; equal counts within a group.

    Raises:
        InputError: sizes that do not add up to K, unequal counts within a group, or a loss that is
            not equivariant.

    Example:
        >>> from ufm import CrossEntropy
        >>> model = UFM(CrossEntropy(), 4, 1, lambda_W=0.02, lambda_H=0.02)
        >>> Grouped(model, (2, 2)).expand(Point(np.ones((2, 1)), np.ones((1, 2)))).W.shape
        (4, 1)
    """

    rotation_invariant: ClassVar[bool] = True
    base: Any
    membership: Any
    sizes: Any
    d: int

    def __init__(self, model: UFM, groups: Sequence[int]) -> None:
        sizes = [require_count(size, "group size", 1, "drop empty groups") for size in groups]
        if sum(sizes) != model.num_classes:
            rule = f"Group sizes add up to K={model.num_classes}"
            raise InputError(rule, tuple(sizes), "list every class once")
        membership = np.repeat(np.arange(len(sizes)), sizes)
        counts = np.asarray(model.counts)
        if any(np.ptp(counts[membership == g]) for g in range(len(sizes))):
            rule = "Classes of a group need equal counts"
            raise InputError(rule, model.counts_tuple, "merge classes of one size")
        equivariant = model.loss.properties(model.num_classes).equivariant
        if not equivariant:
            rule = "Merging classes needs a loss that treats classes alike (equivariant)"
            raise InputError(rule, model.loss.name, "use an equivariant loss")
        merge = model.merge()
        object.__setattr__(self, "base", model if merge is None else merge.model)
        object.__setattr__(self, "membership", membership)
        object.__setattr__(self, "sizes", np.asarray(sizes, dtype=np.float64))
        object.__setattr__(self, "d", model.d)

    def expand(self, point: Point) -> Point:
        """The point of the UFM (merged columns): rows and columns repeated within groups."""
        bias = None if point.b is None else point.b[self.membership]
        return Point(point.W[self.membership], point.H[:, self.membership], bias)

    def objective(self, point: Point) -> Any:
        """The UFM objective at the expanded point; shapes W (G, d), H (d, G), b (G,)."""
        return self.base.objective(self.expand(point))

    def generators(self, point: Point) -> Point:
        """Rotations, and the bias shift of the UFM where it has one (it acts on groups alike)."""
        rotations = rotation_generators(point)
        properties = self.base.loss.properties(self.base.num_classes)
        if point.b is None or float(self.base.lambda_b) != 0 or not properties.shift_invariant:
            return rotations
        parts = (np.zeros((1, *point.W.shape)), np.zeros((1, *point.H.shape)))
        return Point(
            np.concatenate([rotations.W, parts[0]]),
            np.concatenate([rotations.H, parts[1]]),
            np.concatenate([rotations.b, np.ones((1, len(point.b)))]),
        )

    def random_point(self, key: Any, scale: float = 1.0) -> Point:
        """Group rows of a random point of the UFM."""
        point = self.base.random_point(key, scale)
        first = np.concatenate([[0], np.cumsum(self.sizes)[:-1]]).astype(int)
        bias = None if point.b is None else point.b[first]
        return Point(point.W[first], point.H[:, first], bias)

    def with_dimension(self, d: int) -> Grouped:
        """The same restriction with feature dimension ``d``."""
        return Grouped(self.base.with_dimension(d), tuple(int(size) for size in self.sizes))
