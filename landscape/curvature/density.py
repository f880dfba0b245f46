"""The spectral density of a symmetric operator, by stochastic Lanczos quadrature."""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum
from typing import Any

import jax
import numpy as np

from landscape.curvature.operators import (
    EPSILON,
    Operator,
    as_operator,
    gaussian,
    orthonormal_null_vectors,
    probe_norm,
    product,
    products,
    rounding_floor,
)
from ufm.eigen import eigh
from ufm.errors import InputError, require_count, require_positive
from ufm.precision import require_x64
from ufm.typing import Array

# A default grid reaches this many widths beyond the nodes: a Gaussian has 6e-7 of its mass outside.
GRID_WIDTHS = 5.0
# Grid points to a width: the trapezoidal rule then integrates a Gaussian to rounding.
POINTS_PER_WIDTH = 4
# Beyond this a default grid is refused; nobody looks at a curve of a million points.
MOST_GRID_POINTS = 10**6
# Columns multiplied together in the checks. The probes go one at a time, which keeps one basis.
CHECK_WIDTH = 4
# Share of the norm taken as the width when all nodes coincide and there is no range to divide.
POINT_MASS_WIDTH = 1e-3


class DensityResult(Enum):
    """How a run ended; the values are the messages."""

    CONSISTENT = "mass and moments of the quadrature agree with direct estimates"
    INCONSISTENT = "mass or moments of the quadrature differ from direct estimates"


@dataclass(frozen=True)
class Density:
    """Quadrature and smoothed density of the eigenvalues orthogonal to the null vectors.

    Attributes:
        nodes: (num_probes, m) Ritz values of each probe, ascending; m <= steps. A probe whose
            Krylov space closed early repeats its last node with weight 0.
        weights: (num_probes, m) >= 0, each row with sum 1.
        grid: (g,) points of the smoothed density.
        values: (g,) smoothed density: mean over probes of the sum of weight * Gaussian.
        broadening: standard deviation of the Gaussian.
        mass: total weight of the quadrature, 1.
        first_moment: mean over probes of the sum of weight * node; estimates tr A / (P - q).
        second_moment: the same with node^2; estimates tr A^2 / (P - q).
        direct_first_moment: mean over probes of v'Av, from products of their own.
        direct_second_moment: mean over probes of |Av|^2, from products of their own.
        moments_error: largest relative difference of mass and moments, the norm being the unit.
        moments_tolerance: what rounding allows it to be.
        null_fraction: q / P, q the rank of the null vectors. The density of the whole spectrum is
            null_fraction * delta_0 + (1 - null_fraction) * values.
        norm: lower estimate of |A|.
        num_matvecs: products with single vectors.
        breakdowns: probes whose Krylov space closed before ``steps``: exact for that probe.
        result: how the run ended.
    """

    nodes: Array
    weights: Array
    grid: Array
    values: Array
    broadening: float
    mass: float
    first_moment: float
    second_moment: float
    direct_first_moment: float
    direct_second_moment: float
    moments_error: float
    moments_tolerance: float
    null_fraction: float
    norm: float
    num_matvecs: int
    breakdowns: int
    result: DensityResult


def spectral_density(
    operator: Any,
    *,
    num_probes: int,
    steps: int,
    key: jax.Array,
    grid: Any = None,
    broadening: float | None = None,
    null_vectors: Any = None,
) -> Density:
    """How the eigenvalues of a symmetric operator are distributed, without computing any.

        v'f(A)v = sum_j w_j f(theta_j) for polynomials f of degree < 2 steps,
        T y_j = theta_j y_j,  w_j = (first entry of y_j)^2,  T the Lanczos matrix of the probe v

    A mean over random unit directions v orthogonal to the null vectors estimates tr f(A) / (P - q);
    its error falls like 1 / sqrt(num_probes), and like 1 / sqrt(P) when no few eigenvalues dominate
    f. Mass and first two moments are exact for each probe, and are compared with products that the
    quadrature does not use.

    Source: after Ubaru, Chen & Saad (2017). Full two-pass reorthogonalisation.

    Args:
        operator: Operator, square array, or object with ``shape`` and ``matvec``; symmetric, P x P.
        num_probes: random directions, >= 1.
        steps: Lanczos steps for each, >= 2 (the second moment needs two); more than P is P. The
            basis takes 8 P steps bytes.
        key: JAX random key; the same key gives the same answer.
        grid: (g,) ascending points, in units of the eigenvalues; by default all nodes and five
            broadenings beyond.
        broadening: > 0, width of the Gaussian that replaces a node; by default the range of the
            nodes divided by ``steps``, as far apart as the nodes are on average.
        null_vectors: (P, q) float64 columns known to satisfy A n = 0, dependent ones allowed; the
            density is that of the rest of the spectrum.

    Returns:
        Density, with the result of the comparison.

    Raises:
        InputError: not symmetric, not float64, NaN in a product, an argument out of range, null
            vectors that are not, or that leave nothing.

    Example:
        >>> A = np.diag([0.0, 2.0, 2.0, 2.0])
        >>> zero = np.array([[1.0], [0.0], [0.0], [0.0]])
        >>> key = jax.random.key(0)
        >>> density = spectral_density(A, num_probes=3, steps=5, key=key, null_vectors=zero)
        >>> density.nodes.round(12).tolist(), density.null_fraction
        ([[2.0], [2.0], [2.0]], 0.25)
    """
    require_x64()
    A = as_operator(operator)
    probes = require_count(num_probes, "num_probes", 1, "use ten for a first look")
    most = min(require_count(steps, "steps", 2, "the second moment needs two"), A.size)
    if broadening is not None:
        broadening = require_positive(broadening, "broadening", "or None for range / steps")
    points = _checked_grid(grid)
    norm, spent = probe_norm(A, key, CHECK_WIDTH)
    null, _ = orthonormal_null_vectors(A, null_vectors, norm, CHECK_WIDTH)
    rest = A.size - null.shape[1]
    if rest == 0:
        raise InputError("Need null vectors that leave a direction", "all of R^P", "pass fewer")
    starts = _probes(key, A.size, probes, null)
    quadratures, closed = [], 0
    for start in starts.T:
        nodes, weights, norm = _quadrature(A, start, min(most, rest), null, norm)
        quadratures.append((nodes, weights))
        closed += len(nodes) < min(most, rest)
        spent += len(nodes)
    longest = max(len(nodes) for nodes, _ in quadratures)
    all_nodes = np.stack([np.pad(t, (0, longest - len(t)), mode="edge") for t, _ in quadratures])
    all_weights = np.stack([np.pad(w, (0, longest - len(w))) for _, w in quadratures])
    width = broadening if broadening is not None else _default_width(all_nodes, most, norm)
    points = _default_grid(all_nodes, width) if points is None else points

    image = products(A, starts, CHECK_WIDTH)
    direct = [float(np.mean(np.sum(x * image, axis=0))) for x in (starts, image)]
    moments = [float(np.mean(np.sum(all_weights * all_nodes**k, axis=1))) for k in range(3)]
    unit = norm if norm > 0 else 1.0
    error = max(
        abs(moments[0] - 1.0),
        abs(moments[1] - direct[0]) / unit,
        abs(moments[2] - direct[1]) / unit**2,
    )
    # A product, and one rotation of the tridiagonal solver for each step.
    tolerance = rounding_floor(A.size) + most * EPSILON
    consistent = error <= tolerance
    return Density(
        nodes=all_nodes,
        weights=all_weights,
        grid=points,
        values=_smooth(all_nodes, all_weights, points, width),
        broadening=width,
        mass=moments[0],
        first_moment=moments[1],
        second_moment=moments[2],
        direct_first_moment=direct[0],
        direct_second_moment=direct[1],
        moments_error=error,
        moments_tolerance=tolerance,
        null_fraction=null.shape[1] / A.size,
        norm=norm,
        num_matvecs=spent + null.shape[1] + probes,
        breakdowns=closed,
        result=DensityResult.CONSISTENT if consistent else DensityResult.INCONSISTENT,
    )


def _probes(key: jax.Array, size: int, probes: int, null: Array) -> Array:
    """Unit columns, uniform on the sphere orthogonal to the null vectors; a stream for each."""
    # Stream 0 of the key went into the probes of the norm.
    starts = np.concatenate([gaussian(key, 1 + i, size, 1) for i in range(probes)], axis=1)
    for _ in range(2):  # twice, so that a complement of few dimensions is clean as well
        starts = starts - null @ (null.T @ starts)
        starts = starts / np.linalg.norm(starts, axis=0)
    return starts


def _quadrature(
    operator: Operator, start: Array, steps: int, null: Array, norm: float
) -> tuple[Array, Array, float]:
    """Gauss nodes and weights of the spectral measure of one unit vector, and the norm so far."""
    basis = np.empty((operator.size, steps), order="F")
    tridiagonal = np.zeros((steps, steps))
    vector = start
    for step in range(steps):
        basis[:, step] = vector
        image = product(operator, vector)
        norm = max(norm, float(np.linalg.norm(image)))
        tridiagonal[step, step] = vector @ image
        spanned = basis[:, : step + 1]
        image = image - spanned @ (spanned.T @ image)
        image = image - spanned @ (spanned.T @ image)
        length = float(np.linalg.norm(image))
        # The measure of the start depends on the square of a coupling: below the root of the
        # rounding floor it is not felt, and noise magnified by short steps is still below it.
        if length <= np.sqrt(rounding_floor(operator.size)) * norm or step + 1 == steps:
            break
        tridiagonal[step, step + 1] = tridiagonal[step + 1, step] = length
        vector = image / length
        vector = vector - null @ (null.T @ vector) - spanned @ (spanned.T @ vector)
        vector = vector / np.linalg.norm(vector)
    used = tridiagonal[: step + 1, : step + 1]
    nodes, vectors = eigh(used)
    return nodes, vectors[0] ** 2, max(norm, float(np.max(np.abs(nodes))))


def _checked_grid(grid: Any) -> Array | None:
    if grid is None:
        return None
    points = np.asarray(grid, dtype=np.float64)
    if points.ndim != 1 or points.size == 0 or not np.all(np.isfinite(points)):
        raise InputError("Need a grid of finite points", f"shape {points.shape}", "pass a 1-d one")
    if np.any(np.diff(points) <= 0):
        raise InputError("Need an ascending grid", "unsorted points", "sort it, without repeats")
    return points


def _default_width(nodes: Array, steps: int, norm: float) -> float:
    spread = float(np.ptp(nodes))
    if spread > rounding_floor(nodes.size) * norm:
        return spread / steps
    return POINT_MASS_WIDTH * norm if norm > 0 else 1.0


def _default_grid(nodes: Array, width: float) -> Array:
    low = float(np.min(nodes)) - GRID_WIDTHS * width
    high = float(np.max(nodes)) + GRID_WIDTHS * width
    count = POINTS_PER_WIDTH * (high - low) / width + 2
    if count > MOST_GRID_POINTS:
        raise InputError(
            f"Need a grid for a broadening this far below the range {high - low:.3g}",
            f"{width:.3g} and grid=None",
            "pass a grid or a larger broadening",
        )
    return np.linspace(low, high, int(count))


def _smooth(nodes: Array, weights: Array, grid: Array, width: float) -> Array:
    total = np.zeros(len(grid))
    for centres, shares in zip(nodes, weights, strict=True):  # one probe at a time: g m numbers
        distance = (grid[:, None] - centres) / width
        total += np.exp(-(distance**2) / 2) @ shares
    return total / (len(nodes) * width * np.sqrt(2 * np.pi))
