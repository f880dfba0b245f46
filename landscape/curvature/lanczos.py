"""Block Lanczos for a few extreme eigenvalues, where breakdown is the normal case.

The Hessians of unconstrained feature models have about ten distinct eigenvalues, so a Krylov space
closes after about ten steps and holds at most ``block_size`` copies of each. Pairs found are
therefore locked, and fresh random chains search their orthogonal complement until one finds nothing
that belongs among the wanted pairs.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from enum import Enum
from typing import Any, get_args

import jax
import numpy as np
from numpy.typing import NDArray

from landscape.curvature.krylov import KrylovSearch, Which, working_columns
from landscape.curvature.operators import (
    as_operator,
    hessian_operator,
    orthonormal_null_vectors,
    probe_norm,
    products,
)
from ufm.eigen import eigh
from ufm.errors import InputError, require_count, require_positive
from ufm.precision import require_x64
from ufm.typing import Array


class LanczosResult(Enum):
    """How a run ended; the values are the messages."""

    CONFIRMED = "every pair converged, and a search of what is left found none that was missed"
    CONVERGED = "every pair converged; missed pairs were not looked for"
    UNCONFIRMED = "every pair converged, but max_steps ended the search for missed pairs"
    OUT_OF_STEPS = "max_steps reached before every pair converged"
    ROUNDING = "tolerance is below what rounding in the products allows"


@dataclass(frozen=True)
class Eigenpairs:
    """Ritz pairs of a symmetric operator and what is known about them.

    Attributes:
        eigenvalues: (k,) Ritz values, ascending.
        eigenvectors: (P, k) orthonormal columns.
        residuals: (k,) actual |A v - theta v|, computed from the returned vectors.
        converged: (k,) whether residual <= tolerance * norm.
        norm: lower estimate of |A|, the unit of the tolerance.
        num_matvecs: products with single vectors.
        steps: block steps, over all chains.
        chains: searches started, each from a block orthogonal to everything found before.
        breakdowns: chains whose next block vanished (size below a tenth of the tolerance): all
            their pairs converged. Noise that rounding lifts above that is not seen as a breakdown.
        restarts: times a chain was compressed to stay below the memory limit.
        exhausted: null vectors and found pairs span the whole space.
        null_residual: |A N| of the deflated null vectors (0 without).
        result: how the run ended.
    """

    eigenvalues: Array
    eigenvectors: Array
    residuals: Array
    converged: NDArray[np.bool_]
    norm: float
    num_matvecs: int
    steps: int
    chains: int
    breakdowns: int
    restarts: int
    exhausted: bool
    null_residual: float
    result: LanczosResult

    @property
    def intervals(self) -> Array:
        """(k, 2): each [theta - residual, theta + residual] contains an eigenvalue of A."""
        return np.stack([self.eigenvalues - self.residuals, self.eigenvalues + self.residuals], 1)

    @property
    def note(self) -> str:
        """What the counts mean."""
        if self.exhausted:
            return "the whole space is spanned: values and multiplicities are complete"
        return "multiplicities are lower bounds; a more extreme eigenvalue cannot be excluded"


def lanczos(
    operator: Any,
    *,
    num_eigenvalues: int,
    key: jax.Array,
    which: Which = "smallest",
    block_size: int = 4,
    max_steps: int = 300,
    tolerance: float = 1e-10,
    null_vectors: Any = None,
    start: Any = None,
    confirm: bool = True,
    memory_limit: int = 2**29,
) -> Eigenpairs:
    """A few extreme eigenpairs of a symmetric operator, by block Lanczos with deflation.

        A Q = Q T + R,   T y = theta y,   v = Q y,   |A v - theta v| = |R y|

    For every returned pair, [theta - residual, theta + residual] contains an eigenvalue of A (up to
    rounding in the products). That is all that is guaranteed: a Ritz value is not an eigenvalue,
    two intervals may hold the same one, and "the smallest" is certain only if ``exhausted``. The
    smallest eigenvalue is certainly <= the smallest theta. With ``confirm``, the run ends only when
    a chain from a random block, orthogonal to all pairs found, has converged to nothing that
    belongs among them: further copies of an eigenvalue, and parts that the first block did not
    touch, are then found with probability one if that chain closed, and very likely otherwise.

    Source: after Golub & Underwood (1977), block Lanczos; Wu & Simon (2000), thick restart; Parlett
    (1998), residual intervals. Full two-pass reorthogonalisation; locking and restarts after
    breakdown as described here.

    Args:
        operator: Operator, square array, or object with ``shape`` and ``matvec``; symmetric, P x P.
        num_eigenvalues: k, at most P minus the rank of ``null_vectors``.
        key: JAX random key; the same key gives the same answer.
        which: "smallest" (most negative first), "largest", or "both" ends in turn.
        block_size: vectors multiplied together, >= 1; a chain finds as many copies of a value.
        max_steps: block steps in all, each of ``block_size`` products or fewer.
        tolerance: residual wanted, relative to the norm of A.
        null_vectors: (P, q) float64 columns known to satisfy A n = 0, dependent ones allowed; the
            search runs in their orthogonal complement and does not return them.
        start: (P,) or (P, s) first block instead of a random one.
        confirm: look for missed pairs; False stops at the first k converged pairs.
        memory_limit: bytes for the basis, 8 P a column; a full basis is restarted with its best
            half. More saves steps and costs orthogonalisation: each step reads the whole basis.

    Returns:
        Eigenpairs; fewer than k of them if ``max_steps`` ended the run before k directions.

    Raises:
        InputError: not symmetric, not float64, NaN in a product, an argument out of range, null
            vectors that are not, a start inside their span, or a memory limit too low.

    Example:
        >>> A = np.diag([3.0, -1.0, 2.0, 2.0])
        >>> pairs = lanczos(A, num_eigenvalues=2, key=jax.random.key(0))
        >>> pairs.eigenvalues.round(12).tolist(), pairs.exhausted
        ([-1.0, 2.0], True)
    """
    require_x64()
    A = as_operator(operator)
    if which not in get_args(Which):
        raise InputError(f"Need which in {get_args(Which)}", repr(which), "choose an end")
    width = min(require_count(block_size, "block_size", 1, "multiply some vectors"), A.size)
    steps = require_count(max_steps, "max_steps", 1, "allow a step")
    require_positive(tolerance, "tolerance", "use 1e-10 for ten digits of the norm")
    wanted = require_count(num_eigenvalues, "num_eigenvalues", 1, "ask for an eigenvalue")
    norm, spent = probe_norm(A, key, width)
    null, null_residual = orthonormal_null_vectors(A, null_vectors, norm, width)
    if wanted > A.size - null.shape[1]:
        rule = f"Need num_eigenvalues <= {A.size - null.shape[1]} = P minus the null vectors"
        raise InputError(rule, wanted, "ask for fewer")
    needed = min(A.size, null.shape[1] + wanted + working_columns(wanted, width))
    capacity = min(A.size, max(0, int(memory_limit)) // (8 * A.size))
    if capacity < needed:
        least = 8 * A.size * needed
        rule = f"Need memory_limit >= {least} bytes for {needed} columns of P = {A.size}"
        raise InputError(rule, memory_limit, "raise it, or reduce num_eigenvalues or block_size")
    search = KrylovSearch(
        operator=A,
        key=key,
        which=which,
        wanted=wanted,
        width=width,
        max_steps=steps,
        tolerance=tolerance,
        store=np.empty((A.size, capacity), order="F"),
        null=null.shape[1],
        norm=norm,
        num_matvecs=spent + null.shape[1],
    )
    search.store[:, : null.shape[1]] = null
    first_width = search.begin(_start_block(start, A.size, width))
    if first_width == 0:
        raise InputError("Need a start outside the null vectors", "rank 0", "pass start=None")
    ending, confirmed = search.run_chain(first_width), False
    while ending != "stopped":
        enough = len(search.locked) >= wanted
        confirmed = confirmed or search.room == 0
        if confirmed or (enough and not confirm):
            break
        if search.steps >= steps:
            ending = "stopped"
            break
        before = search.best()
        ending = search.run_chain(search.begin(None))
        after = search.best()
        same = len(after) == len(before) == wanted
        same = same and bool(np.all(np.abs(after - before) <= tolerance * search.norm))
        confirmed = same and ending != "stopped"  # a chain that was cut off has found what it had
    return _finish(search, ending, confirmed, null_residual)


def _start_block(start: Any, size: int, width: int) -> Array | None:
    if start is None:
        return None
    block = np.asarray(start)
    block = block[:, None] if block.ndim == 1 else block
    if block.dtype != np.float64 or block.ndim != 2 or block.shape[0] != size:
        rule = f"Need start as float64 of shape ({size},) or ({size}, s)"
        raise InputError(rule, f"{block.dtype} {block.shape}", "pass flat vectors as columns")
    if not 1 <= block.shape[1] <= width:
        rule = f"Need start to have 1 to block_size = {width} columns"
        raise InputError(rule, block.shape[1], "drop columns or raise block_size")
    if not np.all(np.isfinite(block)) or not np.all(block.any(axis=0)):
        raise InputError("Need start columns that are finite and not zero", "others", "drop them")
    return block


def _finish(search: KrylovSearch, ending: str, confirmed: bool, null_residual: float) -> Eigenpairs:
    """The wanted pairs, with residuals from fresh products with the vectors that are returned."""
    chosen = search.preference(search.locked)[: search.wanted]
    vectors = np.linalg.qr(search.store[:, search.null + chosen])[0]
    image = products(search.operator, vectors, search.width)
    small = vectors.T @ image
    values, rotation = eigh((small + small.T) / 2)
    vectors, image = vectors @ rotation, image @ rotation
    residuals = np.linalg.norm(image - vectors * values, axis=0)
    norm = max(search.norm, float(np.max(np.abs(values))))
    converged = residuals <= search.tolerance * norm
    complete = len(values) == search.wanted and bool(np.all(converged))
    if complete and confirmed:
        result = LanczosResult.CONFIRMED
    elif complete and ending == "stopped":
        result = LanczosResult.UNCONFIRMED
    elif complete:
        result = LanczosResult.CONVERGED
    elif ending == "stopped":
        result = LanczosResult.OUT_OF_STEPS
    else:
        result = LanczosResult.ROUNDING
    return Eigenpairs(
        eigenvalues=values,
        eigenvectors=vectors,
        residuals=residuals,
        converged=converged,
        norm=norm,
        num_matvecs=search.num_matvecs + vectors.shape[1],
        steps=search.steps,
        chains=search.chains,
        breakdowns=search.breakdowns,
        restarts=search.restarts,
        exhausted=search.room == 0,
        null_residual=null_residual,
        result=result,
    )


def hessian_eigenvalues(
    function: Callable[[Any], Any],
    point: Any,
    *,
    num_eigenvalues: int,
    key: jax.Array,
    **options: Any,
) -> Eigenpairs:
    """A few extreme eigenpairs of the Hessian of a scalar function of a pytree at a point.

    ``lanczos(hessian_operator(function, point), ...)``; every option is that of ``lanczos``.

    Example:
        >>> def saddle(x):
        ...     return x[0] ** 2 - x[1] ** 2
        >>> key = jax.random.key(0)
        >>> pairs = hessian_eigenvalues(saddle, np.zeros(2), num_eigenvalues=1, key=key)
        >>> pairs.eigenvalues.round(12).tolist()
        [-2.0]
    """
    operator = hessian_operator(function, point)
    return lanczos(operator, num_eigenvalues=num_eigenvalues, key=key, **options)
