"""Index 0 and the nullity of a global minimum from one singular value decomposition of G.

Where |G|_2 <= sigma the form 2 <G, A B> + lambda_W |A|^2 + lambda_H |B|^2 is not negative, and the
loss adds another that is not. Both vanish along the symmetry orbit only if sigma_{r+1}(G) < sigma
and the logit Hessians are positive definite modulo the shift. Everything is bounded from below by
numbers of order K (A-7 of docs/theory.md), so that no Hessian is formed.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from ufm.answers import StrictMinimum
from ufm.losses.columns import column_gradients
from ufm.plain.reduce import COLLAPSED, averaged
from ufm.plain.symmetry import orbit_dimension
from ufm.point import Point
from ufm.spectrum import pair

if TYPE_CHECKING:
    from ufm.plain.model import UFM

# Singular values of G this near sigma, relative to it, are those of the point's own directions.
# Whether the others are apart from sigma is for the margin to say, not for this number.
OWN = 1e-6
# Cosines between the own directions and the shift, or the sizes, beyond which none is critical.
ORTHOGONAL = 1e-3


def strict_minimum(model: UFM, point: Point, larger_than: int = -1) -> StrictMinimum | None:
    """What convexity says of a collapsed critical point; None where it says nothing.

    Source: A-7 of docs/theory.md, derived here.

    Args:
        model: a UFM, merged or not.
        point: merged or full columns.
        larger_than: None also where the eigenvalues are cheap: a range block (A-2) of up to this
            order, and no more logit Hessian entries, K^3, than such a block has.

    Example:
        >>> from ufm import UFM, CrossEntropy
        >>> model = UFM(CrossEntropy(), 3, 2, lambda_W=0.1, lambda_H=0.1)
        >>> told = strict_minimum(model, model.minimiser().point)
        >>> told.nullity, told.rank, told.margin > 0.01
        (1, 2, True)
        >>> strict_minimum(model, model.origin()) is None  # |G|_2 > sigma: a saddle
        True
    """
    bias = 0 if model.lambda_b is None else model.num_classes
    entries = model.num_classes**1.5
    largest = max(2 * model.num_classes * min(model.d, model.num_classes) + bias, entries)
    if largest <= larger_than:
        return None
    merged, small, spread = averaged(model, point)
    if not spread <= COLLAPSED:  # of NaN neither is true
        return None
    W, H, b = small.to_numpy()
    K, d, sigma = merged.num_classes, merged.d, merged.sigma
    lw, lh = float(merged.lambda_W), float(merged.lambda_H)
    lb = None if merged.lambda_b is None else float(merged.lambda_b)
    counts = np.asarray(merged.counts)
    N = float(counts.sum())
    Z = W @ H / np.sqrt(counts) + (0.0 if b is None else b[:, None])
    G = np.asarray(column_gradients(merged.loss, Z, np.arange(K))[1]) * np.sqrt(counts) / N
    if not np.all(np.isfinite(G)):
        return None
    U, values, Vt = np.linalg.svd(-G)
    rank = int(np.sum(values > (1 - OWN) * sigma))
    order = 2 * K * rank + bias
    if values[0] > (1 + OWN) * sigma or rank > d or max(order, entries) <= larger_than:
        return None
    # The critical point that has these directions exactly, and how far this one is from it.
    U, V = U[:, :rank], Vt[:rank].T
    inner = U.T @ W
    moved = float(
        np.hypot(
            np.linalg.norm(W - U @ inner), np.linalg.norm(H - (lw / lh) ** 0.5 * inner.T @ V.T)
        )
    )
    defect = float(np.abs(values[:rank] - sigma).max(initial=0.0))
    # The decay terms: smallest curvature off their own null space.
    outside = float(values[rank]) if rank < K else 0.0
    steep = min(lw + lh, pair(lw, lh, outside)[0] if rank < K else np.inf)
    if lb:
        steep = min(steep, lb)
    shift = merged.loss.shift(K)
    low, high = (float(x) for x in merged.loss.curvature_bounds(Z, np.arange(K)))
    squares = np.linalg.eigvalsh(inner @ inner.T) if rank else np.zeros(0)
    # The loss on that null space, off the orbit: rotations of the own directions and bias.
    along = 4 * low * lw / (N * (lw + lh)) * float(squares[0]) if rank else np.inf
    if lb == 0:
        along = min(along, low)
    slant = 0.0
    if shift is not None and rank:
        slant = float(np.linalg.norm(shift @ U) / np.linalg.norm(shift))
    if lb == 0 and rank:
        slant = max(slant, float(np.linalg.norm(np.sqrt(counts) @ V)) / N**0.5)
    if not (steep > 0 and along > 0) or slant > ORTHOGONAL:
        return None
    along *= (1 - slant) ** 2
    spread = float(squares[-1]) if rank else 0.0
    reach = (spread * (1 + lw / lh) + (0.0 if b is None else N)) / N
    # Only the part low |P x|^2 of the loss is used, which is as steep as it is flat.
    margin = _smaller_root(along, low * reach, steep)
    if np.any(counts > 1):
        margin = min(margin, lh)  # differences within a class: lambda_H at least
    columns = float(N if not model.merged else K)
    return StrictMinimum(
        margin=margin,
        nullity=orbit_dimension(rank, d) + (merged.free_shift is not None),
        rank=rank,
        smallest=float(pair(lw, lh, float(values[0]))[0]) if d > rank else 0.0,
        radius=high * reach + max(pair(lw, lh, float(values[0]))[1], lb or 0.0),
        typical=(lw * K + lh * columns) * d / (d * (K + columns) + bias),
        order=order,
        moved=moved,
        defect=defect,
    )


def _smaller_root(along: float, steepest: float, steep: float) -> float:
    """Smallest eigenvalue of [[a, -(a s)^(1/2)], [-(a s)^(1/2), s + p]], stably; p as a -> inf."""
    if not np.isfinite(along):
        return steep
    total = along + steepest + steep
    return 2 * along * steep / (total + float(np.sqrt(max(total**2 - 4 * along * steep, 0.0))))
