"""The curvature of a point: index, nullity, extreme eigenvalues, by the best exact route.

Routes, in order: the exact structure that the model answers with, a dense Hessian, and for anything
larger block Lanczos, which can prove a saddle but never a minimum.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

import jax
import numpy as np

from landscape.curvature.hessian import MAX_DENSE_SIZE, dense_hessian
from landscape.curvature.kinks import surface_at
from landscape.curvature.lanczos import lanczos
from landscape.curvature.operators import hessian_operator
from landscape.solvers.newton import polished
from ufm.answers import HiddenBlock, Structure
from ufm.model import Model
from ufm.point import as_rows, length
from ufm.spectrum import Spectrum
from ufm.tolerance import NEWTON_STEP, generator_rank, gradient_rounding, resolution

# Dense Hessians up to here are diagonalised for a verdict (half a minute on two cores).
MAX_DIAGONALISED = MAX_DENSE_SIZE // 4
# Beyond this, in units of radius max(1, |x|), a gradient is larger than solvers leave it,
# and the point not the one whose symmetry counts.
NOISE = 1e-10
# Newton's method solves dense systems of up to this many variables, half a second each.
MAX_POLISHED = 1000
# A point is critical when |g| <= this times (typical curvature) max(1, |x|): a Newton step then
# moves it by about 1e-6 of its size, and blocks at the point are blocks at the solution.
CRITICAL = 1e-6


@dataclass(frozen=True)
class CurvatureCount:
    """Signs of the Hessian eigenvalues of a point.

    Attributes:
        index_range: fewest and most negative eigenvalues that the numbers allow; most is None if
            only a lower bound is known.
        nullity_range: fewest and most zero eigenvalues, None if unknown.
        predicted_nullity: rank of the symmetry generators; None if unknown.
        smallest: smallest eigenvalue (an upper bound of it for "lanczos").
        smallest_positive: smallest eigenvalue > tolerance, None if not computed.
        radius: largest absolute eigenvalue, or an estimate of it.
        typical: root mean square eigenvalue, the natural scale of the curvature.
        tolerance: below it no eigenvalue is read by its sign.
        tolerance_source: how it was derived.
        rank: rank of W H, None for a general model.
        route: "structured", "inertia", "dense", "lanczos", "surface" at kinks, or "convexity" where
            a bound of the eigenvalues decided (``landscape.curvature.convexity``).
        kinks: places at which second derivatives jump at the point.
        doubt: at kinks, why no eigenvalue counts; "" where all numbers are those along the surface
            of the kinks, and at points without any.
        residual: at kinks the least generalised gradient that was found, else None.
        settled: whether Newton's method ends beside the point, in rounding; None where the numbers
            did not ask for it. Where True, everything is said of that end.
    """

    index_range: tuple[int, int | None]
    nullity_range: tuple[int, int] | None
    predicted_nullity: int | None
    smallest: float
    smallest_positive: float | None
    radius: float
    typical: float
    tolerance: float
    tolerance_source: str
    rank: int | None
    route: str
    kinks: int = 0
    doubt: str = ""
    residual: float | None = None
    settled: bool | None = None

    @property
    def index(self) -> int | None:
        """Number of negative eigenvalues, None where the numbers do not decide."""
        least, most = self.index_range
        return least if least == most else None

    @property
    def nullity(self) -> int | None:
        """Number of zero eigenvalues, None where the numbers do not decide."""
        if self.nullity_range is None or self.nullity_range[0] != self.nullity_range[1]:
            return None
        return self.nullity_range[0]


def count_curvature(
    model: Model[Any], point: Any, gradient_norm: float, structure: Structure | None = None
) -> CurvatureCount:
    """Index, nullity and extreme eigenvalues of the full Hessian at a point.

    Where an eigenvalue is too small for the gradient that is left, the end of Newton's method
    beside the point is counted; without such an end the counts are ranges.

    Args:
        model: any model.
        point: a point with a small gradient.
        gradient_norm: Euclidean norm of the gradient there (enters the tolerance).
        structure: ``model.structure(point)``, if it is at hand.

    Raises:
        InputError: a loss with kinks, whose Hessian says nothing of what is nearby.

    Example:
        >>> from ufm import UFM, CrossEntropy
        >>> model = UFM(CrossEntropy(), 3, 2, lambda_W=0.1, lambda_H=0.1)
        >>> count = count_curvature(model, model.origin(), 0.0)
        >>> count.index, count.nullity, count.route
        (4, 0, 'structured')
    """
    model.require_smooth()
    kinks = model.kinks(point)
    if kinks:
        return _at_kinks(model, point, kinks)
    count = _counted(model, point, gradient_norm, structure)
    expected = count.predicted_nullity
    if count.nullity_range is None or expected is None:
        return count
    # The symmetry is ranked at the point itself, where noise may add to it.
    noisy = gradient_norm > NOISE * count.radius * max(1.0, length(point))
    doubtful = noisy or count.nullity is None or count.nullity < expected
    rounding = gradient_rounding(count.radius, length(point))
    near_critical = gradient_norm <= CRITICAL * count.typical * max(1.0, length(point))
    if not doubtful or not near_critical or gradient_norm <= rounding:
        return count
    told = _newton_end(model, point, collapsed=count.rank is not None)
    if told is None:
        return count
    end, size, moved = told
    there = _counted(model, end, size, start=gradient_norm, moved=moved)
    # At small decays rounding of the loss exceeds that of the Hessian: a gradient that no step
    # lowers is enough where every eigenvalue is read in spite of it.
    ended = size <= rounding or there.nullity == expected
    if not ended or moved > NEWTON_STEP * max(1.0, length(point)):
        return replace(count, settled=False)
    return replace(there, settled=True)


def _newton_end(model: Model[Any], point: Any, collapsed: bool) -> tuple[Any, float, float] | None:
    """Where Newton's method ends from a point, the gradient norm there, and how far away it is.

    Samples that are alike stay so, and rows stay in the span of the rows of the start: the search
    is in there. None where that has too many variables.
    """
    small, start = model.checked(point)
    merge = small.merge() if collapsed else None
    if merge is not None:
        small, start = merge.model, merge.reduce(start)
    inner = small.confined(start)
    if inner is not None:
        small, start = inner.model, inner.point
    if sum(np.size(leaf) for leaf in jax.tree.leaves(start)) > MAX_POLISHED:
        return None
    end, _, size = polished(small, start)
    moved = length(jax.tree.map(np.subtract, end, start))
    end = end if inner is None else inner.lift(end)
    return (end if merge is None else merge.lift(end)), size, moved


def _counted(
    model: Model[Any],
    point: Any,
    gradient_norm: float,
    structure: Structure | None = None,
    start: float = 0.0,
    moved: float = 0.0,
) -> CurvatureCount:
    """The counts at a point itself, by the first route that it allows."""
    structure = structure or model.structure(point)
    if structure is not None and structure.hidden is not None:
        return _by_inertia(structure, structure.hidden, gradient_norm, length(point), start, moved)
    if structure is not None:
        return _from_spectrum(structure, "structured", gradient_norm, length(point), start, moved)
    size = sum(np.size(leaf) for leaf in jax.tree.leaves(point))
    if size > MAX_DIAGONALISED:
        return _by_lanczos(model, point, gradient_norm, size)
    dense = dense_structure(model, point)
    return _from_spectrum(dense, "dense", gradient_norm, length(point), start, moved)


def dense_structure(model: Model[Any], point: Any) -> Structure:
    """What ``model.structure`` would say, from the dense Hessian and the symmetry generators.

    Raises:
        InputError: too many variables (``dense_hessian``).

    Example:
        >>> from ufm import UFM, CrossEntropy
        >>> model = UFM(CrossEntropy(), 3, 2, lambda_W=0.1, lambda_H=0.1)
        >>> told = dense_structure(model, model.origin())
        >>> told.levels.count_below(-1e-12), told.predicted_nullity
        (4, 0)
    """
    values = np.linalg.eigvalsh(dense_hessian(model, point))
    tangents = model.generators(point)
    expected = None if tangents is None else generator_rank(as_rows(tangents))
    return Structure(Spectrum.of((x, 1, "dense") for x in values), expected, len(values))


def _at_kinks(model: Model[Any], point: Any, kinks: int) -> CurvatureCount:
    """The counts along the surface on which a point keeps its kinks (DR-5)."""
    surface = surface_at(model, point)
    if surface is None:
        raise RuntimeError("there are kinks")
    tangents = model.generators(point)
    expected = None if tangents is None else generator_rank(as_rows(tangents))
    order = len(surface.slopes) + len(surface.directions)
    known = Structure(Spectrum.of((x, 1, "surface") for x in surface.values), expected, order)
    count = _from_spectrum(known, "surface", surface.residual, length(point), 0.0, 0.0)
    count = replace(count, kinks=kinks, doubt=surface.doubt, residual=surface.residual)
    return replace(count, index_range=(0, None), nullity_range=None) if surface.doubt else count


def _ranges(
    below: int, within: int, rounded: int | None, expected: int | None
) -> tuple[tuple[int, int], tuple[int, int]]:
    """Index and nullity, each from the fewest to the most.

    Args:
        below: eigenvalues that are negative beyond doubt.
        within: eigenvalues that are not read by their sign.
        rounded: those of them that are zero to rounding; None where that is not told.
        expected: zeros that symmetry explains.
    """
    # As many zeros as symmetry explains are there, so all are, if no more are unread. Others are
    # zeros only where rounding is all that limits them, and the next eigenvalue is well apart.
    fewest = within if rounded == within else min(expected or 0, within)
    return (below, below + within - fewest), (fewest, within)


def _from_spectrum(
    known: Structure, route: str, gradient_norm: float, size: float, start: float, moved: float
) -> CurvatureCount:
    """Counts from all eigenvalues."""
    spectrum = known.levels
    values = np.array([level.value for level in spectrum])
    times = np.array([level.multiplicity for level in spectrum])
    zero, unread, source = resolution(
        known.order, spectrum.radius, gradient_norm, size, known.moved + moved, known.defect, start
    )
    positive = values[values > unread]
    index, nullity = _ranges(
        spectrum.count_below(-unread),
        spectrum.count_within(unread),
        spectrum.count_within(zero) if zero else None,
        known.predicted_nullity,
    )
    return CurvatureCount(
        index_range=index,
        nullity_range=nullity,
        predicted_nullity=known.predicted_nullity,
        smallest=spectrum.smallest,
        smallest_positive=float(positive.min()) if len(positive) else None,
        radius=spectrum.radius,
        typical=float(np.sqrt(np.sum(times * values**2) / times.sum())),
        tolerance=unread,
        tolerance_source=source,
        rank=known.rank,
        route=route,
    )


def _by_inertia(
    known: Structure,
    hidden: HiddenBlock,
    gradient_norm: float,
    size: float,
    start: float,
    moved: float,
) -> CurvatureCount:
    """Counts from the known levels and the signs of the block that was not diagonalised."""
    rest = known.levels
    radius = max(rest.radius if rest.levels else 0.0, hidden.radius)
    zero, unread, source = resolution(
        hidden.size, radius, gradient_norm, size, known.moved + moved, known.defect, start
    )
    below = hidden.count_below(-unread, expect_none=True)
    within = hidden.count_below(unread) - below + rest.count_within(unread)
    rounded = None
    if zero and within > (known.predicted_nullity or 0):
        rounded = hidden.count_below(zero) - hidden.count_below(-zero) + rest.count_within(zero)
    smallest = rest.smallest if rest.levels else unread
    if below:
        smallest = min(smallest, _smallest(hidden, -radius, -unread))
    squares = sum(level.multiplicity * level.value**2 for level in rest)
    index, nullity = _ranges(
        below + rest.count_below(-unread), within, rounded, known.predicted_nullity
    )
    return CurvatureCount(
        index_range=index,
        nullity_range=nullity,
        predicted_nullity=known.predicted_nullity,
        smallest=float(smallest),
        smallest_positive=None,
        radius=radius,
        typical=float(np.sqrt(squares / rest.size)) if rest.levels else hidden.typical,
        tolerance=unread,
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
    _, unread, source = resolution(min(size, 1000), radius, gradient_norm, length(point))
    smallest = float(pairs.eigenvalues[0])
    return CurvatureCount(
        index_range=(int(smallest < -unread), None),
        nullity_range=None,
        predicted_nullity=None,
        smallest=smallest,
        smallest_positive=None,
        radius=radius,
        typical=radius,
        tolerance=unread,
        tolerance_source=source,
        rank=None,
        route="lanczos",
    )
