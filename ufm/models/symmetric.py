"""A UFM restricted to the points with a given symmetry: a few unknowns, whatever K is."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from ufm.decay import penalty
from ufm.errors import InputError
from ufm.losses.columns import column_losses
from ufm.model import Model
from ufm.plain.model import UFM
from ufm.point import Point, gaussian, rotation_generators
from ufm.records import pytree_record
from ufm.typing import Array, Ints


@dataclass(frozen=True, eq=False)
class Symmetry:
    """How a group of relabellings acts on the points it leaves alone, up to rotation.

    Classes of one type are carried into each other. The features split into components; class k
    sits at a multiple of its row in the frame of each, and the multiple depends on its type only:
    w_k = (W[t(k), c] F_c[k])_c, and so for hbar_k.

    Attributes:
        name: in words.
        types: type of every class, (K,), numbered from 0 without gaps.
        frames: F_c (K, r_c), one for every component; rows of length 1, or 0 for a type that takes
            no part.
    """

    name: str
    types: Ints
    frames: tuple[Array, ...]

    @property
    def sizes(self) -> Ints:
        """Classes of each type (T,)."""
        return np.bincount(self.types)

    @property
    def first(self) -> Ints:
        """The first class of each type (T,)."""
        return np.unique(self.types, return_index=True)[1].astype(np.int64)

    @property
    def shape(self) -> tuple[int, int]:
        """(T, C): types and components."""
        return int(self.types.max()) + 1, len(self.frames)

    def expand(self, point: Point) -> Point:
        """The point of the merged UFM: W (K, sum r_c), H (sum r_c, K), b (K,) or None."""
        types = self.shape[0]
        W, H, b = point.to_numpy()
        W, H, b = W[:types], H[:, :types], None if b is None else b[:types]
        roots = np.sqrt(self.sizes)[:, None]
        rows, columns = (W / roots)[self.types], (H.T / roots)[self.types]
        bias = None if b is None else (b / roots[:, 0])[self.types]
        parts = [
            np.concatenate([x[:, [c]] * F for c, F in enumerate(self.frames)], axis=1)
            for x in (rows, columns)
        ]
        return Point(parts[0], parts[1].T, bias)


@pytree_record(eq=False)
class Symmetric(Model[Point]):
    """The restriction of a UFM to the fixed points of a symmetry.

    Its critical points are critical points of the UFM (symmetric criticality). Points are W (T, C),
    H (C, T) and b (T,): one row per type of classes, one column per component, in units that make
    ``Symmetry.expand`` an isometry, so gradients keep their norm.
    Source: Palais (1979) for symmetric criticality; the coordinates are derived here.

    Args:
        model: a UFM; samples are merged.
        symmetry: of relabellings that keep the kinds of classes (``UFM.kinds``).
        shape: at least (T, C); larger points have idle entries, and one compiled program serves
            many symmetries.

    Raises:
        InputError: types of another number of classes, or classes of several kinds within a type.

    Example:
        >>> import jax
        >>> from ufm import UFM, CrossEntropy
        >>> from ufm.frames import simplex_etf
        >>> model = UFM(CrossEntropy(), 4, 3, lambda_W=0.02, lambda_H=0.02)
        >>> vertices = Symmetry("ETF", np.zeros(4, int), (simplex_etf(4) * (4 / 3) ** 0.5,))
        >>> small = Symmetric(model, vertices)
        >>> small.random_point(jax.random.key(0)).W.shape  # one unknown, and another for H
        (1, 1)
    """

    base: Any
    types: Any
    first: Any
    roots: Any
    weights: Any
    gram: Any

    def __init__(
        self, model: UFM, symmetry: Symmetry, shape: tuple[int, int] | None = None
    ) -> None:
        K, counts = model.num_classes, np.asarray(model.counts)
        if len(symmetry.types) != K:
            raise InputError(f"Need a type per class, K={K}", len(symmetry.types), "give one each")
        if any(np.ptp(model.kinds[symmetry.types == t]) for t in range(symmetry.shape[0])):
            rule = "Classes of one type need equal counts, and a loss that treats them alike"
            got = f"counts {model.counts_tuple}, loss {model.loss.name}"
            raise InputError(rule, got, "relabel classes of one kind only")
        types, components = symmetry.shape
        idle = np.array(shape or symmetry.shape) - symmetry.shape
        if idle.min() < 0:
            raise InputError(f"Need a shape of at least {symmetry.shape}", shape, "enlarge it")
        first = np.pad(symmetry.first, (0, idle[0]))
        gram = np.zeros((components + idle[1], K, types + idle[0]))
        for c, F in enumerate(symmetry.frames):
            gram[c, :, :types] = F @ F[symmetry.first].T
        weights = symmetry.sizes * counts[symmetry.first] / counts.sum()
        object.__setattr__(self, "base", model.as_merged(model.origin())[0])
        object.__setattr__(self, "types", symmetry.types)
        object.__setattr__(self, "first", first)
        object.__setattr__(
            self, "roots", np.pad(symmetry.sizes**0.5, (0, idle[0]), constant_values=1)
        )
        object.__setattr__(self, "weights", np.pad(weights, (0, idle[0])))
        object.__setattr__(self, "gram", gram)

    @property
    def d(self) -> int:
        """Number of components."""
        return int(self.gram.shape[0])

    def objective(self, point: Point) -> Any:
        """The UFM objective at the expanded point."""
        W, H = point.W / self.roots[:, None], point.H / self.roots
        Z = jnp.einsum("kc,ckt,ct->kt", W[self.types], self.gram, H)
        Z = Z / self.base.counts[self.first] ** 0.5
        if point.b is not None:
            Z = Z + (point.b / self.roots)[self.types][:, None]
        losses = column_losses(self.base.loss, Z, self.first)
        value = (self.weights * losses).sum()
        norms = self._takes_part
        value += penalty(self.base.lambda_W, (norms * point.W**2).sum())
        value += penalty(self.base.lambda_H, (norms * point.H.T**2).sum())
        if point.b is not None:
            value += penalty(self.base.lambda_b, (point.b**2).sum())
        return value

    @property
    def _takes_part(self) -> Any:
        """1 where a type has vectors in a component, else 0: |F_c[first class]|^2, (T, C)."""
        return jnp.einsum("ctt->tc", self.gram[:, self.first])

    def generators(self, point: Point) -> Point:
        """Rotations of components with one frame, idle entries, and the bias shift of the UFM."""
        gram = np.asarray(self.gram)
        rows, columns = np.triu_indices(len(gram), 1)
        alike = [np.array_equal(gram[i], gram[j]) for i, j in zip(rows, columns, strict=True)]
        turned = rotation_generators(point)
        parts = [Point(*(x if x is None else x[np.array(alike, dtype=bool)] for x in turned))]
        zero = jax.tree.map(np.zeros_like, point.to_numpy())
        for t, c in np.argwhere(np.asarray(self._takes_part) == 0):
            W, H = zero.W.copy(), zero.H.copy()
            W[t, c] = H[c, t] = 1.0
            parts += [zero._replace(W=W), zero._replace(H=H)]
        if point.b is not None and float(self.base.lambda_b) == 0:
            parts += [
                zero._replace(b=b) for b in np.eye(len(zero.b))[np.asarray(self.weights) == 0]
            ]
            shift = self.base.free_shift
            if shift is not None:
                along = shift[np.asarray(self.first)]
                parts.append(zero._replace(b=np.asarray(self.roots) * along))
        stacked = [parts[0], *(jax.tree.map(lambda x: x[None], part) for part in parts[1:])]
        return jax.tree.map(lambda *xs: np.concatenate(xs), *stacked)

    def require_smooth(self) -> None:
        """Refuse a loss with kinks (InputError)."""
        self.base.require_smooth()

    def random_point(self, key: Any, scale: float = 1.0) -> Point:
        """Independent N(0, scale^2) entries."""
        types, components = len(self.first), self.d
        W, H, b = gaussian(key, [(types, components), (components, types), (types,)])
        return Point(scale * W, scale * H, None if self.base.lambda_b is None else scale * b)
