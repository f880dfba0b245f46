"""The Hessian of equilibrium layers as small blocks: a core, unused dimensions, and classes."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import jax.numpy as jnp
import numpy as np
from jax import grad

from ufm.answers import Structure
from ufm.losses.columns import column_hessians, column_losses
from ufm.point import as_rows
from ufm.spectrum import MAX_DIAGONALISED, Spectrum
from ufm.tolerance import EPSILON, RANK, generator_rank
from ufm.typing import Array


def layer_structure(model: Any, point: Any) -> Structure | None:
    """All eigenvalues of the Hessian at a point with one column per class (DQ-4).

    W, V and X use r of the d dimensions. With T = (I - V)^-1 and G the gradient in the logits,
    every other dimension q has the form, in a = W_q, u = V_{.q}, b = X_q, p = V_{q.},

        lambda_W |a|^2 + lambda_V |u|^2 + lambda_X |b|^2 + lambda_V |p|^2
            + 2 (a + W T u)^T G (b + (T X)^T p),

    and lambda_V between any two of them. Moves within class k that leave its mean have
    lambda_X + T^T W^T S_k W T / N, S_k the logit Hessian of the loss.

    Args:
        model: an ``Equilibrium``, merged.
        point: its W, V and X.

    Returns:
        None where the core is too large to diagonalise.
    """
    W, V, X = (np.asarray(x) for x in point)
    d, K = model.d, model.num_classes
    left, sizes, _ = np.linalg.svd(np.hstack([W.T, X, V, V.T]))
    rank = int(np.sum(sizes > RANK * (1 + sizes[0])))
    if rank * (2 * K + rank) > MAX_DIAGONALISED:
        return None
    kept = left[:, :rank]
    core = type(point)(W @ kept, kept.T @ V @ kept, kept.T @ X)
    small = replace(model, d=rank)
    T = np.linalg.inv(np.eye(rank) - core.V)
    out, seen = core.W @ T, T @ core.X
    decays = [float(x) for x in (model.lambda_W, model.lambda_V, model.lambda_X)]
    levels: list[tuple[float, int, str]] = []
    if rank:
        levels = [(x, 1, "core") for x in np.linalg.eigvalsh(small.dense_derivatives(core)[2])]
    coupling = np.vstack([np.eye(K), out.T]) @ _slope(model, out @ core.X)
    coupling = coupling @ np.hstack([np.eye(K), seen.T])
    one = np.diag([decays[0]] * K + [decays[1]] * rank)
    two = np.diag([decays[2]] * K + [decays[1]] * rank)
    block = np.block([[one, coupling], [coupling.T, two]])
    free = d - rank
    levels += [(x, free, "unused dimensions") for x in np.linalg.eigvalsh(block)]
    levels.append((decays[1], free**2, "between unused dimensions"))
    counts = np.asarray(model.counts)
    curved = np.asarray(column_hessians(model.loss, out @ core.X / np.sqrt(counts), model.labels))
    for k, n in enumerate(model.counts_tuple):
        bent = np.linalg.eigvalsh(out.T @ curved[k] @ out) / counts.sum()
        values = [*(decays[2] + bent), *[decays[2]] * free]
        levels += [(x, n - 1, "within classes") for x in values]
    expected = rank * free
    if rank:
        expected += generator_rank(as_rows(small.generators(core)))
    order = max(rank * (2 * K + rank), len(block))
    dropped = float(np.linalg.norm(sizes[rank:]))
    spectrum = Spectrum.of(levels)
    # T is known to rank cond(I - V) roundings, and four of its factors are in the curvatures.
    blurred = 4 * rank * EPSILON * float(np.linalg.cond(T)) * spectrum.radius if rank else 0.0
    return Structure(spectrum, expected, order, rank, moved=dropped, defect=blurred)


def _slope(model: Any, Z: Array) -> Array:
    """Gradient of the mean loss in merged logits (K, K)."""
    counts = jnp.asarray(model.counts)

    def value(logits: Any) -> Any:
        losses = column_losses(model.loss, logits / counts**0.5, model.labels)
        return (counts * losses).sum() / counts.sum()

    return np.asarray(grad(value)(jnp.asarray(Z)))
