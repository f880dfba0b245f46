"""The curvature of a point: index, nullity, extreme eigenvalues, by the best exact route.

Routes, in order: the structured spectrum (UFM, collapsed point), inertia by factorisation when its
range block is too large to diagonalise, a dense Hessian, and for anything larger block Lanczos,
which can prove a saddle but never a minimum.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import jax
import numpy as np
from jax.flatten_util import ravel_pytree
from numpy.typing import NDArray

from landscape.curvature.hessian import MAX_DENSE_SIZE, dense_hessian
from landscape.curvature.lanczos import lanczos
from landscape.curvature.operators import hessian_operator
from ufm.model import Model
from ufm.plain.blocks import GroupData
from ufm.plain.inertia import count_range_below
from ufm.plain.model import UFM
from ufm.plain.reduce import Reduced, assembled, outer_levels, reduced
from ufm.plain.symmetry import predicted_nullity
from ufm.spectrum import Spectrum
from ufm.tolerance import NEAR_NULL, consistent_tolerance, generator_rank, zero_tolerance

Array = NDArray[np.float64]
# Range blocks up to here are diagonalised (a few seconds); beyond, inertia counts signs.
MAX_DIAGONALISED = 3000


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
    model: Model, point: Any, gradient_norm: float, parts: Reduced | None = None
) -> CurvatureCount:
    """Index, nullity and extreme eigenvalues of the full Hessian at a point.

    Args:
        model: any model; a UFM gets the structured routes at collapsed points.
        point: a point with a small gradient.
        gradient_norm: Euclidean norm of the gradient there (enters the tolerance).
        parts: ``reduced(model, point)``, if it is at hand.

    Example:
        >>> from ufm import UFM, CrossEntropy
        >>> model = UFM(CrossEntropy(), 3, 2, lambda_W=0.1, lambda_H=0.1)
        >>> count = count_curvature(model, model.origin(), 0.0)
        >>> count.index, count.nullity, count.route
        (4, 0, 'structured')
    """
    if isinstance(model, UFM) and is_collapsed(model, point):
        parts = parts or reduced(model, point)
        if parts.types_shrink or parts.data.size <= MAX_DIAGONALISED:
            return _structured(model, point, parts, gradient_norm)
        return _by_inertia(model, point, parts, gradient_norm)
    size = sum(np.size(leaf) for leaf in jax.tree.leaves(point))
    if size <= MAX_DENSE_SIZE // 4:
        return _dense(model, point, gradient_norm)
    return _by_lanczos(model, point, gradient_norm, size)


def is_collapsed(model: UFM, point: Any) -> bool:
    """Whether all features of a class agree to six digits, so that the reductions apply."""
    merged, small = model.as_merged(point)
    H = np.asarray(point.H)
    if H.shape[1] == merged.num_classes:
        return True
    merge = model.merge()
    back = np.asarray(merge.lift(small).H) if merge is not None else H
    return bool(np.abs(back - H).max() <= 1e-6 * (1 + np.abs(H).max()))


def _length(point: Any) -> float:
    return float(np.sqrt(sum(np.sum(np.square(leaf)) for leaf in jax.tree.leaves(point))))


def _from_spectrum(
    spectrum: Spectrum,
    size: int,
    expected: int | None,
    gradient_norm: float,
    point: Any,
    rank: int | None,
    route: str,
) -> CurvatureCount:
    values = np.array([level.value for level in spectrum])
    times = np.array([level.multiplicity for level in spectrum])
    radius = spectrum.radius
    tolerance, source = consistent_tolerance(values, size, gradient_norm, _length(point))
    positive = values[values > tolerance]
    return CurvatureCount(
        spectrum.count_below(-tolerance),
        spectrum.count_within(tolerance),
        expected,
        spectrum.smallest,
        float(positive.min()) if len(positive) else None,
        radius,
        float(np.sqrt(np.sum(times * values**2) / times.sum())),
        tolerance,
        source,
        rank,
        route,
    )


def _expected_nullity(model: UFM, parts: Reduced) -> int | None:
    inner = parts.space.point
    return predicted_nullity(model, parts.space.rank, model.d, inner.W @ inner.H, inner.b)


def _structured(model: UFM, point: Any, parts: Reduced, gradient_norm: float) -> CurvatureCount:
    spectrum = assembled(parts)
    expected = _expected_nullity(model, parts)
    size = max(min(parts.data.size, MAX_DIAGONALISED), model.num_classes)
    return _from_spectrum(
        spectrum, size, expected, gradient_norm, point, parts.space.rank, "structured"
    )


def _by_inertia(model: UFM, point: Any, parts: Reduced, gradient_norm: float) -> CurvatureCount:
    """Complement and within blocks as usual; signs of the range block by factorisation."""
    rest = Spectrum.of(outer_levels(parts))
    radius = max(rest.radius if rest.levels else 0.0, _range_radius(parts.data))
    expected = _expected_nullity(model, parts)
    gap = NEAR_NULL * radius
    tolerance, source = zero_tolerance(parts.data.size, radius, gradient_norm, gap, _length(point))
    below = count_range_below(parts.data, -tolerance, expect_none=True).below
    null = count_range_below(parts.data, tolerance).below - below
    smallest = rest.smallest if rest.levels else tolerance
    if below:
        smallest = min(smallest, _smallest_in_range(parts, -radius, -tolerance))
    squares = sum(level.multiplicity * level.value**2 for level in rest)
    decays = float(model.lambda_W) + float(model.lambda_H)
    typical = float(np.sqrt(squares / rest.size)) if rest.levels else decays
    return CurvatureCount(
        below + rest.count_below(-tolerance),
        null + rest.count_within(tolerance),
        expected,
        float(smallest),
        None,
        radius,
        typical,
        tolerance,
        source,
        parts.space.rank,
        "inertia",
    )


def _range_radius(data: GroupData) -> float:
    """An upper bound of the spectral radius of the range block: norms of its four parts.

    For a symmetric block matrix |[[A, C], [C^T, B]]| <= max(|A|, |B|) + |C|, and the bias adds its
    own corner and coupling; Frobenius norms bound each part where eigenvalues would cost too much.
    """
    N, S = data.num_samples, data.S
    logit = np.linalg.eigvalsh(S)[:, -1]  # largest logit curvature of each group
    features = np.sum(data.H**2, axis=0)
    spread = float(np.linalg.norm(data.W, 2)) ** 2
    classifier = data.decays[0] + float(np.sum(np.abs(logit) * features)) / N
    feature = data.decays[1] + float(np.max(np.abs(logit))) * spread / N
    cross = float(np.sqrt(classifier * feature)) + float(np.linalg.norm(data.G))
    bias = 0.0
    if data.decays[2] is not None:
        corner = data.decays[2] + float(np.sum(data.counts * np.abs(logit))) / N
        bias = corner + float(np.sqrt(corner * max(classifier, feature)))
    return max(classifier, feature) + cross + bias


def _smallest_in_range(parts: Reduced, low: float, high: float) -> float:
    """Bisection on exact counts to a relative 1e-6."""
    while count_range_below(parts.data, low).below:
        low *= 2
    while high - low > 1e-6 * abs(low):
        middle = 0.5 * (low + high)
        if count_range_below(parts.data, middle, expect_none=True).below:
            high = middle
        else:
            low = middle
    return 0.5 * (low + high)


def _dense(model: Model, point: Any, gradient_norm: float) -> CurvatureCount:
    values = np.linalg.eigvalsh(dense_hessian(model, point))
    spectrum = Spectrum.of((x, 1, "dense") for x in values)
    generators = model.generators(point)
    rows = np.concatenate(
        [
            np.reshape(leaf, (leaf.shape[0], int(np.prod(leaf.shape[1:]))))
            for leaf in jax.tree.leaves(generators)
        ],
        axis=1,
    )
    expected = generator_rank(rows)
    return _from_spectrum(spectrum, len(values), expected, gradient_norm, point, None, "dense")


def _by_lanczos(model: Model, point: Any, gradient_norm: float, size: int) -> CurvatureCount:
    """One-sided: a Ritz value below zero proves negative curvature, nothing else is proved."""
    operator = hessian_operator(model.objective, point)
    pairs = lanczos(operator, num_eigenvalues=1, max_steps=40, key=jax.random.key(0))
    radius = float(pairs.norm)
    tolerance, source = zero_tolerance(
        min(size, 1000), radius, gradient_norm, NEAR_NULL * radius, _length(point)
    )
    smallest = float(pairs.eigenvalues[0])
    return CurvatureCount(
        None, None, None, smallest, None, radius, radius, tolerance, source, None, "lanczos"
    )


def flat(point: Any) -> Array:
    """A point as one float64 vector."""
    return np.asarray(ravel_pytree(point)[0])
