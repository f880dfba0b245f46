"""Index, nullity and smallest eigenvalue, against dense Hessians and against ARPACK."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from time import perf_counter
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax.flatten_util import ravel_pytree
from scipy.sparse.linalg import ArpackNoConvergence, LinearOperator, eigsh

from experiments.benchmarks.minimum import cross_entropy
from experiments.benchmarks.record import Record, against, measured
from experiments.benchmarks.timing import Settings, alternate
from landscape.atlas.symmetries import merged
from landscape.curvature.count import CurvatureCount, count_curvature
from landscape.curvature.hessian import dense_hessian
from landscape.solvers.solve import solve
from ufm.model import norm, value_and_gradient
from ufm.models.symmetric import Symmetric
from ufm.plain.model import UFM
from ufm.plain.reduce import lift
from ufm.point import Point
from ufm.typing import Array

OURS = "ufm-lab count_curvature"
DENSE, ARPACK = "jax.hessian + eigvalsh", "ARPACK, Hessian-vector products"
# Of the spectral radius; eigenvalues of a dense matrix agree to a few roundings.
AGREE = 1e-9
# ARPACK to this fraction of c: it needs one or two restarts.
ARPACK_TOLERANCE = 1e-8


def saddle(model: UFM, groups: tuple[int, ...]) -> tuple[Point, float]:
    """A merged-class saddle of rank groups - 1, all samples, and its gradient norm.

    The classes of a group share w and h: a minimum under that restriction is a critical point of
    the model (CE-6). It is solved in as many dimensions as it needs, and padded with zeros.

    Example:
        >>> bool(saddle(cross_entropy(4, 6, 2), (2, 2))[1] < 1e-12)
        True
    """
    blocks = [(0, size, alike) for size, alike in Counter(groups).items()]
    symmetry = merged(model.counts_tuple, blocks)
    point = symmetry.expand(solve(Symmetric(model, symmetry)).point)
    short = model.d - (len(groups) - 1)
    W, H = np.pad(point.W, ((0, 0), (0, short))), np.pad(point.H, ((0, short), (0, 0)))
    padded = Point(W, H, point.b)
    whole, _ = model.as_merged(padded)
    return padded, float(norm(value_and_gradient(whole, padded)[1]))


def index_small(row: str, sizes: tuple[int, int, int], settings: Settings) -> list[Record]:
    """At a saddle with two groups of classes: ours against every eigenvalue of the dense Hessian.

    Example:
        >>> records = index_small("index", (4, 3, 2), Settings(quick=True, repeats=1))
        >>> [record.wrong for record in records]
        [False, False]
    """
    model = cross_entropy(*sizes)
    K = model.num_classes
    point, size = saddle(model, (K // 2, K - K // 2))
    full = lift(model, point)
    work = f"index, nullity, lambda_min at a saddle, P={model.num_parameters:,}"
    dense_hessian(model, full)  # compiles, so that the first call below does not
    work_of: dict[str, Callable[[], Any]] = {
        OURS: lambda: count_curvature(model, full, size),
        DENSE: lambda: np.linalg.eigvalsh(dense_hessian(model, full)),
    }
    timed = alternate(work_of, settings, frozenset({OURS}))
    count: CurvatureCount = timed[OURS].result
    values: Array = timed[DENSE].result
    # The dense eigenvalues carry rounding of their own, larger than our tolerance may be.
    zero = max(count.tolerance, AGREE * count.radius)
    dense = int(np.sum(values < -zero)), int(np.sum(np.abs(values) <= zero))
    off = abs(count.smallest - float(values[0]))
    agree = (count.index, count.nullity) == dense and off <= AGREE * count.radius
    note = f"index {dense[0]:,}, nullity {dense[1]:,}, lambda_min {values[0]:.3e}"
    own = measured(row, work, OURS, timed[OURS], wrong=not agree, note=described(count))
    other = measured(row, work, DENSE, timed[DENSE], own.seconds, note=note)
    return [own, against(other, 100.0)]


def described(count: CurvatureCount) -> str:
    """Index, nullity and smallest eigenvalue in one line."""
    exact = f"index {count.index:,}, nullity {count.nullity:,}"
    return f"{exact}, lambda_min {count.smallest:.3e}"


@dataclass(frozen=True)
class Extreme:
    """What ARPACK found: the smallest eigenvalue (None if it did not converge) and its cost."""

    smallest: float | None
    products: int
    capped: bool


class _Late(Exception):
    """The time of ARPACK is up."""


def compiled_product(model: UFM, point: Point) -> Callable[[Array], Any]:
    """The Hessian times a flat vector, compiled for this point before any clock runs."""
    flat, unravel = ravel_pytree(jax.tree.map(jnp.asarray, point))

    @jax.jit
    def product(there: Any, vector: Any) -> Any:
        def gradient(x: Any) -> Any:
            return jax.grad(lambda y: model.objective(unravel(y)))(x)

        return jax.jvp(gradient, (there,), (vector,))[1]

    jax.block_until_ready(product(flat, flat))
    return lambda vector: product(flat, vector)


def arpack_smallest(
    product: Callable[[Array], Any], size: int, shift: float, cap: float
) -> Extreme:
    """The smallest eigenvalue of a Hessian by ARPACK on shift I - H, from its products alone.

    Example:
        >>> levels = np.arange(30.0)
        >>> found = arpack_smallest(lambda vector: levels * vector, 30, 30.0, 60.0)
        >>> found.capped, abs(found.smallest) < 1e-5
        (False, True)
    """
    began, used = perf_counter(), 0

    def matvec(vector: Any) -> Array:
        nonlocal used
        used += 1
        if perf_counter() - began > cap:
            raise _Late
        return shift * vector.ravel() - np.asarray(product(vector.ravel()))

    operator = LinearOperator((size, size), matvec=matvec, dtype=np.float64)
    start = np.random.default_rng(0).standard_normal(size)
    try:
        values = eigsh(
            operator,
            k=1,
            which="LA",
            v0=start,
            tol=ARPACK_TOLERANCE,
            return_eigenvectors=False,
        )
    except _Late:
        return Extreme(None, used, True)
    except ArpackNoConvergence:
        return Extreme(None, used, False)
    return Extreme(shift - float(values[0]), used, False)


def index_large(
    row: str,
    sizes: tuple[int, int, int],
    groupings: tuple[tuple[int, ...], ...],
    settings: Settings,
) -> list[Record]:
    """At merged-class saddles too large for a dense Hessian: ours against ARPACK."""
    model = cross_entropy(*sizes)
    records, cap = [], settings.short_cap
    for groups in groupings:
        point, size = saddle(model, groups)
        full = lift(model, point)
        work = f"saddle of rank {len(groups) - 1}, P={model.num_parameters:,}"
        radius = count_curvature(model, point, size).radius
        product = compiled_product(model, full)
        both: dict[str, Callable[[], Any]] = {
            OURS: partial(count_curvature, model, full, size),
            ARPACK: partial(arpack_smallest, product, model.num_parameters, radius, cap),
        }
        timed = alternate(both, settings, frozenset({OURS}))
        records += compared(row, work, timed)
    return records


def compared(row: str, work: str, timed: dict[str, Any]) -> list[Record]:
    """Records of ours and of ARPACK; ours must match the generators of the symmetry group."""
    count: CurvatureCount = timed[OURS].result
    found: Extreme = timed[ARPACK].result
    wrong = count.index is None or count.nullity != count.predicted_nullity
    if found.smallest is None:
        note = f"nothing after {found.products} products"
    else:
        off = found.smallest - count.smallest
        wrong = wrong or off < -AGREE * count.radius  # a Ritz value is an upper bound
        note = f"lambda_min only, off by {off:.1e}, {found.products} products"
    own = measured(row, work, OURS, timed[OURS], wrong=wrong, note=described(count))
    other = measured(
        row,
        work,
        ARPACK,
        timed[ARPACK],
        own.seconds,
        capped=found.capped,
        solved=found.smallest is not None,
        note=f"{note}; no index, no nullity",
    )
    return [own, against(other, 1.0)]
