"""The curvature of a point: index, nullity, extreme eigenvalues, by the best exact route.

Routes, in order: the exact structure that the model answers with, a dense Hessian, and for anything
larger block Lanczos, which can prove a saddle but never a minimum.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import jax
import numpy as np
from numpy.typing import NDArray

from landscape.curvature.hessian import MAX_DENSE_SIZE, dense_hessian
from landscape.curvature.lanczos import lanczos
from landscape.curvature.operators import hessian_operator
from ufm.answers import HiddenBlock, Structure
from ufm.model import Model
from ufm.point import as_rows, length
from ufm.spectrum import Spectrum
from ufm.tolerance import NEAR_NULL, consistent_tolerance, generator_rank, zero_tolerance

Array = NDArray[np.float64]
# Dense Hessians up to here are diagonalised for a verdict (half a minute on two cores).
MAX_DIAGONALISED = MAX_DENSE_SIZE // 4


@dataclass(frozen=True)
class CurvatureCount:
    """Signs of the Hessian eigenvalues of a point.

    Attributes:
        index: number of eigenvalues < -tolerance; None if only a lower bound is known.
        nullity: number within the tolerance of zero; None if unknown.
        predicted_nullity: rank of the symmetry generators; None if unknown.
        smallest: smallest eigenvalue (an upper bound of it for "lanczos").
        smallest_positive: smallest eigenvalue > tolerance, None if not computed.
        radius: largest absolute eigenvalue, or an estimate of it.
        typical: root mean square eigenvalue, the natural scale of the curvature.
        tolerance: what counts as zero.
        tolerance_source: how it was derived.
        rank: rank of W H, None for a general model.
        route: "structured", "inertia", "dense" or "lanczos".
    """

    index: int | None
    nullity: int | None
    predicted_nullity: int | None
    smallest: float
    smallest_positive: float | None
    radius: float
    typical: float
    tolerance: float
    tolerance_source: str
    rank: int | None
    route: str


def count_curvature(
    model: Model[Any], point: Any, gradient_norm: float, structure: Structure | None = None
) -> CurvatureCount:
    """Index, nullity and extreme eigenvalues of the full Hessian at a point.

    Args:
        model: any model.
        point: a point with a small gradient.
        gradient_norm: Euclidean norm of the gradient there (enters the tolerance).
        structure: ``model.structure(point)``, if it is at hand.

    Example:
        >>> from ufm import UFM, CrossEntropy
        >>> model = UFM(CrossEntropy(), 3, 2, lambda_W=0.1, lambda_H=0.1)
        >>> count = count_curvature(model, model.origin(), 0.0)
        >>> count.index, count.nullity, count.route
        (4, 0, 'structured')
    """
    structure = structure or model.structure(point)
    if structure is not None and structure.hidden is not None:
        return _by_inertia(structure, structure.hidden, gradient_norm, length(point))
    if structure is not None:
        return _from_spectrum(structure, "structured", gradient_norm, length(point))
    size = sum(np.size(leaf) for leaf in jax.tree.leaves(point))
    if size > MAX_DIAGONALISED:
        return _by_lanczos(model, point, gradient_norm, size)
    values = np.linalg.eigvalsh(dense_hessian(model, point))
    tangents = model.generators(point)
    expected = None if tangents is None else generator_rank(as_rows(tangents))
    dense = Structure(Spectrum.of((x, 1, "dense") for x in values), expected, size)
    return _from_spectrum(dense, "dense", gradient_norm, length(point))


def _from_spectrum(
    known: Structure, route: str, gradient_norm: float, size: float
) -> CurvatureCount:
    """Counts from all eigenvalues."""
    spectrum = known.levels
    values = np.array([level.value for level in spectrum])
    times = np.array([level.multiplicity for level in spectrum])
    tolerance, source = consistent_tolerance(values, known.order, gradient_norm, size, known.moved)
    positive = values[values > tolerance]
    return CurvatureCount(
        index=spectrum.count_below(-tolerance),
        nullity=spectrum.count_within(tolerance),
        predicted_nullity=known.predicted_nullity,
        smallest=spectrum.smallest,
        smallest_positive=float(positive.min()) if len(positive) else None,
        radius=spectrum.radius,
        typical=float(np.sqrt(np.sum(times * values**2) / times.sum())),
        tolerance=tolerance,
        tolerance_source=source,
        rank=known.rank,
        route=route,
    )


def _by_inertia(
    known: Structure, hidden: HiddenBlock, gradient_norm: float, size: float
) -> CurvatureCount:
    """Counts from the known levels and the signs of the block that was not diagonalised."""
    rest = known.levels
    radius = max(rest.radius if rest.levels else 0.0, hidden.radius)
    gap = NEAR_NULL * radius
    tolerance, source = zero_tolerance(hidden.size, radius, gradient_norm, gap, size, known.moved)
    below = hidden.count_below(-tolerance, expect_none=True)
    null = hidden.count_below(tolerance) - below
    smallest = rest.smallest if rest.levels else tolerance
    if below:
        smallest = min(smallest, _smallest(hidden, -radius, -tolerance))
    squares = sum(level.multiplicity * level.value**2 for level in rest)
    return CurvatureCount(
        index=below + rest.count_below(-tolerance),
        nullity=null + rest.count_within(tolerance),
        predicted_nullity=known.predicted_nullity,
        smallest=float(smallest),
        smallest_positive=None,
        radius=radius,
        typical=float(np.sqrt(squares / rest.size)) if rest.levels else hidden.typical,
        tolerance=tolerance,
        tolerance_source=source,
        rank=known.rank,
        route="inertia",
    )


def _smallest(hidden: HiddenBlock, low: float, high: float) -> float:
    """The smallest eigenvalue by bisection on exact counts, to a relative 1e-6."""
    while hidden.count_below(low):
        low *= 2
    while high - low > 1e-6 * abs(low):
        middle = 0.5 * (low + high)
        if hidden.count_below(middle, expect_none=True):
            high = middle
        else:
            low = middle
    return 0.5 * (low + high)


def _by_lanczos(model: Model[Any], point: Any, gradient_norm: float, size: int) -> CurvatureCount:
    """One-sided: a Ritz value below zero proves negative curvature, nothing else is proved."""
    operator = hessian_operator(model.objective, point)
    pairs = lanczos(operator, num_eigenvalues=1, max_steps=40, key=jax.random.key(0))
    radius = float(pairs.norm)
    tolerance, source = zero_tolerance(
        min(size, 1000), radius, gradient_norm, NEAR_NULL * radius, length(point)
    )
    return CurvatureCount(
        index=None,
        nullity=None,
        predicted_nullity=None,
        smallest=float(pairs.eigenvalues[0]),
        smallest_positive=None,
        radius=radius,
        typical=radius,
        tolerance=tolerance,
        tolerance_source=source,
        rank=None,
        route="lanczos",
    )
