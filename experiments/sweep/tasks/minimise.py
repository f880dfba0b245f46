"""Descend from a random start in every cell, and hold the end against theory."""

from __future__ import annotations

from operator import itemgetter
from typing import Any

import jax
import numpy as np
from numpy.typing import NDArray

from experiments.sweep.tasks.registry import Columns
from experiments.sweep.work import Work
from landscape.solvers.devices import shard
from landscape.solvers.minimise import Minimised, minimise_many
from ufm.collapse.geometry import etf_target
from ufm.collapse.margins import margin_excesses
from ufm.plain.reduce import RANK_TOLERANCE, SMALLEST_LOGIT
from ufm.plain.symmetric_values import symmetric_values
from ufm.typing import Array


def minimise(work: Work) -> Columns:
    """Where descent ends: objective, rank, norms, NC2, NC3, and the height above theory.

    Columns: result, reason, reduction, objective, gradient_norm, iterations, rank, W_norm, H_norm,
    nc2, nc3, margin_excess, theory (closed-form global minimum), excess (objective - theory).
    """
    return ending(work, descend(work, work.models))


def descend(work: Work, models: Any) -> Minimised:
    """The ends of the descents as NumPy arrays."""
    options = work.options
    found = shard(minimise_many, batched=2)(
        models,
        work.starts(),
        float(options["tolerance"]),
        int(options["max_iterations"]),
        slots=work.slots,
    )
    return jax.tree.map(np.asarray, jax.block_until_ready(found))


def ending(work: Work, found: Minimised) -> Columns:
    """The columns that every descent has."""
    norms = found.gradient_norm
    converged = norms <= work.options["tolerance"]
    spent = found.iterations >= work.options["max_iterations"]
    finite = np.isfinite(norms) & np.isfinite(found.objective)
    result = np.where(spent, "MAX_ITERATIONS", "STALLED")
    result = np.where(~finite, "DIVERGED", np.where(converged, "CONVERGED", result))
    reason = [
        "" if good else f"gradient norm {size:.1e} after {count} steps"
        for good, size, count in zip(converged, norms, found.iterations, strict=True)
    ]
    W, H, _ = found.point
    values = np.linalg.svd(np.where(finite[:, None, None], W @ H, 0.0), compute_uv=False)
    rank = ranks(values, work.options["tolerance"])
    means = H / np.sqrt(work.models.counts)[:, None, :]
    theory = closed_forms(work)
    return {
        "result": result.astype(object),
        "reason": np.array(reason, dtype=object),
        "reduction": np.full(len(norms), reduction(work), dtype=object),
        "objective": found.objective,
        "gradient_norm": norms,
        "iterations": np.asarray(found.iterations, dtype=np.int64),
        "rank": rank,
        "W_norm": np.linalg.norm(W, axis=(1, 2)),
        "H_norm": np.linalg.norm(H, axis=(1, 2)),
        "nc2": frame_distance(W @ np.swapaxes(W, 1, 2), rank),
        "nc3": frame_distance(W @ (means - means.mean(axis=2, keepdims=True)), rank),
        "margin_excess": _margin_excess(W @ means, work.models.counts, rank),
        "theory": theory,
        "excess": found.objective - theory,
    }


def _margin_excess(logits: Array, counts: Array, rank: NDArray[np.int64]) -> Array:
    """What margins cost beyond simplex-encoded labels; NaN where one is not positive, or rank 0."""
    return np.where(rank > 0, margin_excesses(logits, counts), np.nan)


def reduction(work: Work) -> str:
    """Whether merging the samples of a class loses nothing, or means collapsed points only."""
    merge = work.first.merge()
    return "exact" if merge is None or merge.lossless else "collapsed points"


def ranks(values: Array, tolerance: float) -> NDArray[np.int64]:
    """Ranks of W Hbar from its singular values, as ``ufm.plain.reduce.row_space`` counts them.

    Just above a threshold the origin is nearly flat, and a descent to a gradient norm tau stops
    within tau / curvature of it: products up to tau are left by that and count as none.

    Example:
        >>> ranks(np.array([[2.0, 1e-3, 0.0], [4e-10, 3e-10, 1e-10]]), 1e-9).tolist()
        [2, 0]
    """
    scale = np.maximum(values[:, :1], SMALLEST_LOGIT)
    counted = np.sum(values > RANK_TOLERANCE * scale, axis=1)
    return np.where(values[:, 0] > tolerance, counted, 0).astype(np.int64)


def frame_distance(product: Array, rank: NDArray[np.int64]) -> Array:
    """|u(A B^T) - E|_F with the simplex E, u(X) = X / |X|: GEO's NC2 and NC3; NaN at rank 0.

    Example:
        >>> simplex = 5 * etf_target(3)[None]
        >>> float(frame_distance(simplex, np.array([2]))[0].round(12))
        0.0
    """
    size = np.linalg.norm(product, axis=(1, 2), keepdims=True)
    with np.errstate(divide="ignore", invalid="ignore"):
        distance = np.linalg.norm(product / size - etf_target(product.shape[1]), axis=(1, 2))
    return np.where(rank > 0, distance, np.nan)


def closed_forms(work: Work) -> Array:
    """The closed-form global minimum of every cell, NaN where none is proved."""
    cells, columns = work.cells, work.cells.columns
    K = work.first.num_classes
    found = np.full(len(cells), np.nan)
    for which in np.unique(cells.which):
        here = np.flatnonzero(cells.which == which)
        properties = cells.loss(int(here[0])).properties(K)
        symmetric = properties.equivariant.evidence == "proved" and properties.equivariant
        if symmetric and properties.convex and properties.shift_invariant:
            fits = (columns["imbalance"][here] == 1) & (columns["d"][here] >= K - 1)
            losses = jax.tree.map(itemgetter(here), work.models.loss)
            values = np.asarray(symmetric_values(losses, columns["c"][here], num_classes=K)[1])
            found[here] = np.where(fits, values, np.nan)
            continue
        known: dict[Any, float] = {}
        for i in here:
            model = cells.model(int(i))
            mark = (model.counts_tuple, model.d, model.lambda_W, model.lambda_H, model.lambda_b)
            if mark not in known:
                best = model.minimiser()
                proved = best is not None and best.evidence == "proved"
                known[mark] = best.value if best is not None and proved else np.nan
            found[i] = known[mark]
    return found
