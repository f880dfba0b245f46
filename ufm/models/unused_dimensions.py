"""The Hessian of a model that rotations leave alone, from the dimensions that a point uses."""

from __future__ import annotations

from typing import Any

import jax
import numpy as np
from numpy.typing import NDArray

from ufm.answers import Structure
from ufm.point import Point, as_rows
from ufm.spectrum import MAX_DIAGONALISED, Spectrum
from ufm.tolerance import RANK, generator_rank
from ufm.typing import Array

# The feature axis of W (K, d) and H (d, columns).
AXES = Point(1, 0)


def unused_dimensions(model: Any, point: Any, axes: Any) -> Structure | None:
    """All eigenvalues of the Hessian at any point of a model with the symmetry O(d).

    A point that uses r of d dimensions is left alone by the reflections of each of the others.
    So they do not couple, with the r ones or with each other, and all have the block that one
    dimension more than r has: one dense Hessian in r + 1 dimensions holds core and block.

    Source: derived here (docs/theory.md, A-8), for any objective with this symmetry.

    Args:
        model: with ``with_dimension`` and ``d``.
        point: of any pytree of arrays, each with one axis of length d.
        axes: that axis, in a pytree of the same structure.

    Returns:
        None where fewer than two dimensions are idle, or the rest is too large to diagonalise.

    Example:
        >>> from ufm import Sphere
        >>> model = Sphere(d=9)
        >>> known = unused_dimensions(model, model.minimiser().point, AXES)
        >>> known.rank, known.order, known.levels.size, known.predicted_nullity
        (3, 48, 108, 33)
    """
    sides = jax.tree.map(lambda x, axis: np.moveaxis(np.asarray(x), axis, 0), point, axes)
    rows = [x.reshape(model.d, -1) for x in jax.tree.leaves(sides)]
    left, sizes, _ = np.linalg.svd(np.hstack(rows))
    rank = int(np.sum(sizes > RANK * (1 + sizes[0])))
    order, idle = (rank + 1) * sum(x.shape[1] for x in rows), model.d - rank
    if not rank or idle < 2 or order > MAX_DIAGONALISED:
        return None
    # The first idle direction is that of the block; the point is zero there.
    kept = left[:, : rank + 1].copy()
    kept[:, rank] = 0.0

    def narrowed(x: Array, axis: int) -> Array:
        return np.asarray(np.moveaxis(np.tensordot(kept.T, x, (1, 0)), 0, axis))

    small, start = model.with_dimension(rank + 1), jax.tree.map(narrowed, sides, axes)
    hessian = small.dense_derivatives(start)[2]
    pairs = zip(jax.tree.leaves(start), jax.tree.leaves(axes), strict=True)
    extra = np.concatenate([_last(np.shape(x), axis) for x, axis in pairs])
    core = np.linalg.eigvalsh(hessian[np.ix_(~extra, ~extra)])
    block = np.linalg.eigvalsh(hessian[np.ix_(extra, extra)])
    levels = [(x, 1, "core") for x in core]
    levels += [(x, idle, "unused dimensions") for x in block]
    inner = jax.tree.map(lambda x, axis: np.take(x, range(rank), axis), start, axes)
    turned = generator_rank(as_rows(model.with_dimension(rank).generators(inner)))
    moved = float(np.linalg.norm(sizes[rank:]))
    return Structure(Spectrum.of(levels), turned + rank * idle, order, rank, moved=moved)


def _last(shape: tuple[int, ...], axis: int) -> NDArray[np.bool_]:
    """Which entries of an array are the last ones along an axis, as one vector."""
    mask = np.zeros(shape, dtype=bool)
    np.moveaxis(mask, axis, 0)[-1] = True
    return mask.ravel()
