"""Dimensions that a point does not use: one block of the Hessian for all of them (A-8)."""

from __future__ import annotations

from collections.abc import Callable
from functools import cache
from typing import Any

import jax
import numpy as np

from proofs_check.claim import Claim, Mutant, Tolerance
from proofs_check.claims.contrastive import value_and_slope as contrastive_slope
from proofs_check.claims.sphere import value_and_slope as sphere_slope
from proofs_check.instance import Specimen
from proofs_check.law import Law
from proofs_check.redraw import redrawn_by
from ufm.losses import CrossEntropy
from ufm.models.contrastive import contrastive
from ufm.models.sphere import Sphere
from ufm.point import as_rows
from ufm.tolerance import generator_rank
from ufm.typing import Array

Flat = Specimen[Any, Any]
STEP = 1e-3


def _thinned(listed: Flat, model: Any, seed: int) -> Flat | None:
    """A random point in as many turned dimensions as the listed one uses; None without others."""
    rank = listed.once(used)
    return None if model.d <= rank else _in_dimensions(model, rank, seed)


@redrawn_by(_thinned)
@cache
def flat_points(quick: bool = False) -> tuple[Flat, ...]:
    """Points of two models, critical or not, that leave one to three dimensions unused."""
    models: list[tuple[Any, int]] = [
        (Sphere(CrossEntropy(), 3, 5, 1, 1.7), 3),
        (contrastive(d=5, radius=0.8, counts=(2, 3)), 2),
        (Sphere(CrossEntropy(), 4, 3, 2, 0.6), 2),
        (contrastive(d=4, radius=1.3, counts=(3, 2, 2)), 2),
    ]
    return tuple(_in_dimensions(*each, 0) for each in models[: 2 if quick else None])


def _in_dimensions(model: Any, rank: int, seed: int) -> Flat:
    """Random vectors of lengths from 1 to 2: differences of a slope see no pole at length 0."""
    basis = np.linalg.qr(np.random.default_rng((8, seed)).normal(size=(model.d, rank)))[0]
    point = _moved(model.random_point(jax.random.key(seed)), basis @ basis.T)

    def stretched(name: str, x: Array) -> Array:
        axis = 1 if name == "W" else 0
        lengths = np.linalg.norm(x, axis=axis, keepdims=True)
        return x / lengths * np.linspace(1, 2, lengths.size).reshape(lengths.shape)

    return Specimen(model, _each(point, stretched), "random", note=f"{rank} dimensions")


def _each(point: Any, change: Callable[[str, Array], Array]) -> Any:
    parts = zip(point._fields, point, strict=True)
    return type(point)(*(None if x is None else change(name, np.asarray(x)) for name, x in parts))


def _moved(point: Any, matrix: Array) -> Any:
    """A matrix (m, d) applied along the feature axis: the last of a classifier, else the first."""
    return _each(point, lambda name, x: x @ matrix.T if name == "W" else matrix @ x)


def _rows(specimen: Flat) -> Array:
    """All vectors of a point, (vectors, d)."""
    parts = zip(specimen.point._fields, specimen.point, strict=True)
    return np.concatenate([x if name == "W" else x.T for name, x in parts if x is not None])


def used(specimen: Flat) -> int:
    """How many dimensions a point uses."""
    return int(np.linalg.matrix_rank(_rows(specimen), tol=1e-9))


def _narrowed(specimen: Flat, d: int) -> Flat:
    """The same point of the model in d dimensions, at least those that it uses."""
    turned = np.linalg.svd(_rows(specimen))[2]
    small = specimen.model.with_dimension(d)
    return Specimen(small, _moved(specimen.point, turned[:d]), "random")


def _orbit(specimen: Flat) -> int:
    return generator_rank(as_rows(specimen.model.generators(specimen.point)))


def _hessian(specimen: Flat) -> Array:
    """Of five-point differences of a gradient by hand."""
    model, x = specimen.model, np.concatenate([x.ravel() for x in jax.tree.leaves(specimen.point)])
    if isinstance(model, Sphere):
        about: Any = (model.num_classes, model.d, model.n, model.scale)
        both: Any = sphere_slope
    else:
        about, both = model, contrastive_slope

    def row(e: Array) -> Array:
        ahead, far = (both(x + h, about)[1] - both(x - h, about)[1] for h in (e, 2 * e))
        return np.asarray((8 * ahead - far) / (12 * STEP))

    told = np.array([row(e) for e in STEP * np.eye(len(x))])
    return (told + told.T) / 2


def _seen(specimen: Flat) -> tuple[Array, int]:
    """Eigenvalues of the Hessian in all dimensions, and the dimension of the orbit there."""
    return np.asarray(np.linalg.eigvalsh(_hessian(specimen))), _orbit(specimen)


def _core(specimen: Flat) -> Array:
    """Eigenvalues of the model in the dimensions that are used."""
    return _seen(_narrowed(specimen, specimen.once(used)))[0]


def _block(specimen: Flat) -> Array:
    """Eigenvalues of the Hessian on moves along one dimension more."""
    wide = _narrowed(specimen, specimen.once(used) + 1)
    only = np.diag(np.arange(wide.model.d) == wide.model.d - 1).astype(float)
    ones = _moved(jax.tree.map(np.ones_like, wide.point), only)
    last = np.concatenate([np.ravel(x) for x in jax.tree.leaves(ones)]) == 1
    return np.asarray(np.linalg.eigvalsh(_hessian(wide)[np.ix_(last, last)]))


# ---- formulas


def spectrum(core: Array, block: Array, orbit: int, d: int, r: int) -> tuple[Array, int]:
    """Core, the block of every unused dimension, and the orbit of the model in d dimensions."""
    return np.sort(np.concatenate([core, np.tile(block, d - r)])), orbit + r * (d - r)


def _one_block_less(core: Array, block: Array, orbit: int, d: int, r: int) -> tuple[Array, int]:
    flat = np.zeros(len(block))
    every = np.concatenate([core, np.tile(block, d - r - 1), flat])
    return np.sort(every), orbit + r * (d - r)


GIVEN: dict[str, Any] = {
    "core": _core,
    "block": _block,
    "orbit": lambda s: _orbit(_narrowed(s, s.once(used))),
    "r": used,
}

CLAIMS = (
    Claim(
        id="unused-dimensions",
        title="Unused dimensions have one block of the Hessian",
        statement="Where rotations leave a model alone and a point uses r of d dimensions, the "
        "spectrum is that in r dimensions and d - r times the block of one dimension more, at "
        "every point; the orbit grows by r (d - r).",
        latex=r"\operatorname{spec}\nabla^2f=\operatorname{spec}_r\cup(d-r)\times\operatorname{block}",
        source="A-8; derived here",
        region=flat_points,
        check=Law(spectrum, _seen, GIVEN),
        tolerance=Tolerance(1e-8, "differences of step 1e-3: truncation 1e-10, rounding 1e-12"),
        mutant=Mutant("one unused dimension is flat", Law(_one_block_less, _seen, GIVEN)),
    ),
)
