"""Minimisers that are constant on classes of one size: G sizes cost what G classes cost (S-4).

Classes of one kind are permuted by a symmetry of the convex problem in (Z, b), which so has a
minimiser that is constant on them: with e_g = 1_g / sqrt(m_g), for G kinds of m_g classes each,

    Z = sum_gh M_gh e_g e_h^T + sum_g a_g (I_g - e_g e_g^T),   |Z|_* = |M|_* + sum_g (m_g - 1) |a_g|

and M = W H, a_g (m_g - 1) = w_g h_g in balanced factors is a problem of 2 G^2 + 2 G unknowns.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from ufm.decay import penalty
from ufm.losses.columns import column_losses
from ufm.model import Model
from ufm.plain.minimisers import factorised
from ufm.plain.model import UFM
from ufm.point import Point, gaussian
from ufm.records import pytree_record
from ufm.tolerance import EPSILON


class SizePoint(NamedTuple):
    """Factors of the part that is constant on kinds, and of the simplex inside each kind.

    Shapes: W (G, G), H (G, G), w (G,), h (G,), b (G,) or None.
    """

    W: Any
    H: Any
    w: Any
    h: Any
    b: Any


@pytree_record(static=("kinds",), eq=False)
class ClassSizes(Model[SizePoint]):
    """A plain model among points that are constant on classes of one kind.

    Its objective is that of the plain model at ``lift(point)``, where d allows it.
    Source: docs/theory.md, S-4; derived here.

    Example:
        >>> from ufm import CrossEntropy
        >>> plain = UFM(CrossEntropy(), counts=(4, 2, 4, 4), d=4, lambda_W=0.1, lambda_H=0.1)
        >>> ClassSizes.of(plain).members.tolist(), ClassSizes.of(plain).counts.tolist()
        ([1.0, 3.0], [2.0, 4.0])
    """

    loss: Any
    counts: Any
    members: Any
    lambda_W: Any
    lambda_H: Any
    lambda_b: Any
    kinds: tuple[int, ...]

    @staticmethod
    def of(model: UFM) -> ClassSizes:
        """The model among such points of a plain one."""
        kinds = np.asarray(model.kinds)
        _, first, kinds, members = np.unique(
            kinds, return_index=True, return_inverse=True, return_counts=True
        )
        counts = np.asarray(model.counts, float)[first]
        decays = (model.lambda_W, model.lambda_H, model.lambda_b)
        return ClassSizes(
            model.loss, counts, members.astype(float), *decays, tuple(int(k) for k in kinds)
        )

    def logits(self, point: SizePoint) -> Any:
        """Logits of the first class of each kind, (K, G)."""
        kinds = np.asarray(self.kinds)
        first = np.unique(kinds, return_index=True)[1]
        groups = np.arange(len(first))
        own = (kinds[:, None] == groups).astype(float)
        alone = (np.arange(len(kinds))[:, None] == first).astype(float)
        root = jnp.sqrt(jnp.asarray(self.members))
        Z = ((point.W @ point.H) / root / root[:, None])[kinds]
        inner = point.w * point.h / jnp.maximum(self.members - 1, 1.0) * (self.members > 1)
        Z = (Z + inner * (alone - own / self.members)) / jnp.sqrt(self.counts)
        return Z if point.b is None else Z + point.b[kinds][:, None]

    def objective(self, point: SizePoint) -> Any:
        """The objective of the plain model at the lifted point."""
        first = np.unique(np.asarray(self.kinds), return_index=True)[1]
        losses = column_losses(self.loss, self.logits(point), first)
        samples = self.members * self.counts
        value = (samples * losses).sum() / samples.sum()
        value += penalty(self.lambda_W, (point.W**2).sum() + (point.w**2).sum())
        value += penalty(self.lambda_H, (point.H**2).sum() + (point.h**2).sum())
        if point.b is not None:
            value += penalty(self.lambda_b, (self.members * point.b**2).sum())
        return value

    def random_point(self, key: Any, scale: float = 1.0) -> SizePoint:
        """W, H, b with independent Gaussian entries; the simplex of each kind points upwards."""
        G = len(self.members)
        W, H, w, h, b = gaussian(key, [(G, G), (G, G), (G,), (G,), (G,)])
        size = scale / G**0.5
        bias = None if self.lambda_b is None else size * b
        return SizePoint(size * W, size * H, scale * abs(w), scale * abs(h), bias)

    def scales(self, point: SizePoint) -> SizePoint:
        """Scales in which both decays become sigma, as those of the plain model."""
        ratio = (self.lambda_H / self.lambda_W) ** 0.25
        wide, narrow = (lambda x: jnp.full_like(x, ratio)), (lambda x: jnp.full_like(x, 1 / ratio))
        bias = None if point.b is None else jnp.ones_like(point.b)
        return SizePoint(wide(point.W), narrow(point.H), wide(point.w), narrow(point.h), bias)

    def lift(self, model: UFM, point: SizePoint) -> Point:
        """The balanced point of a plain model of these kinds, whose sizes may be others.

        Merged columns; singular directions beyond d are dropped.
        """
        kinds = np.asarray(self.kinds)
        point = jax.tree.map(np.asarray, point)
        first = np.unique(kinds, return_index=True)[1]
        bias = np.zeros(len(kinds)) if point.b is None else point.b[kinds]
        logits = np.asarray(self.logits(point)) - bias[:, None]
        # Columns of one kind are alike but for the place of the own class.
        Z, every, start = logits[:, kinds], np.arange(len(kinds)), first[kinds]
        own = Z[start, every].copy()
        Z[start, every] = Z[self._second()[kinds], every]
        Z[every, every] = own
        U, values, Vt = np.linalg.svd(Z * np.sqrt(np.asarray(model.counts)))
        # What rounding makes of zeros would have a root, and so factors, of a ten-millionth.
        values[values <= len(values) * EPSILON * values[0]] = 0.0
        room = slice(min(model.d, len(values)))
        return factorised(model, U[:, room], values[room], Vt[room], bias)

    def _second(self) -> Any:
        """Another class of each kind, (G,): the first itself where there is none."""
        kinds = np.asarray(self.kinds)
        return np.array([np.flatnonzero(kinds == g)[:2][-1] for g in range(len(self.members))])
