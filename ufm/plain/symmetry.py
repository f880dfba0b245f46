"""The symmetry group of a UFM at a point.

O(d) acts by W -> W R, H -> R^T H. A shift-invariant loss with an unregularised bias
adds b -> b + t 1 (or t u, see ``Loss.shift``). An isometric loss (MSE, an
isotropic quadratic) adds class rotations Q that mix classes of equal size:
W -> Q W, Hbar -> Hbar Q^T, b -> Q b, with Q 1 = 1 when there is a bias.
Predicted nullity of a Hessian = rank of these generators.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from ufm.point import Point, rotation_generators
from ufm.typing import Array

if TYPE_CHECKING:
    from ufm.losses.loss import Loss
    from ufm.plain.model import UFM

DENSE_CLASS_ROTATIONS = 32  # largest K whose K(K-1)/2 class rotations are ranked densely


def class_kinds(loss: Loss, counts: Any) -> NDArray[np.int64]:
    """A number for every class, (K,): those of one size that the loss treats alike share it.

    Example:
        >>> from ufm import CrossEntropy
        >>> class_kinds(CrossEntropy(), (3, 1, 3)).tolist()
        [1, 0, 1]
    """
    numbers = np.stack([np.asarray(counts), loss.kinds(len(counts))], axis=1)
    told = np.unique(numbers, axis=0, return_inverse=True)[1].ravel()
    return np.asarray(told, dtype=np.int64)


def class_rotations(kinds: Any, bias: bool) -> Array:
    """Basis of the skew matrices Q (m, K, K) under which an isometric model is invariant.

    Skew matrices within groups of classes of one kind; with a bias also Q 1 = 0.
    """
    K = len(kinds)
    basis: list[Array] = []
    for kind in np.unique(kinds):
        members = np.flatnonzero(kinds == kind)
        if len(members) < 2:
            continue
        frame = np.eye(K)[:, members]
        if bias:
            from ufm.frames import simplex_etf

            frame = frame @ simplex_etf(len(members))
        width = frame.shape[1]
        for i, j in zip(*np.triu_indices(width, 1), strict=True):
            basis.append(np.outer(frame[:, i], frame[:, j]) - np.outer(frame[:, j], frame[:, i]))
    return np.array(basis).reshape(len(basis), K, K)


def turned_classes(
    loss: Loss, counts: Any, labels: Any, columns: int, bias: bool = False
) -> tuple[Array, Array]:
    """What class rotations of an isometric loss do to rows of logits, and to columns.

    Args:
        loss: none of them unless it is isometric.
        counts: samples per class.
        labels: class of every column.
        columns: of the point, K or N.
        bias: whether the logits have a bias.

    Returns:
        Q (m, K, K) and the same on columns (m, N, N), or (m, K, K) where they are classes.

    Example:
        >>> from ufm import MSE
        >>> [Q.shape for Q in turned_classes(MSE(), (2, 2, 1), (0, 0, 1, 1, 2), 5)]
        [(1, 3, 3), (1, 5, 5)]
    """
    isometric = bool(loss.properties(len(counts)).isometric)
    kinds = class_kinds(loss, counts) if isometric else np.arange(len(counts))
    Q = class_rotations(kinds, bias)
    if columns == len(counts):
        return Q, Q
    if not len(Q):
        return Q, np.zeros((0, columns, columns))
    return Q, np.stack([_on_samples(np.asarray(labels), np.asarray(counts), q) for q in Q])


def ufm_generators(model: UFM, point: Point) -> Point:
    """All generators of a UFM at a point, merged or full columns, stacked on a leading axis."""
    rotations = rotation_generators(point)
    W, H, b = np.asarray(point.W), np.asarray(point.H), point.b
    parts = [rotations]
    shift = model.free_shift
    if shift is not None:
        parts.append(Point(np.zeros((1, *W.shape)), np.zeros((1, *H.shape)), shift[None]))
    biased = model.lambda_b is not None
    Q, mix = turned_classes(model.loss, model.counts, model.labels, H.shape[1], biased)
    if len(Q):
        bias = None if b is None else Q @ np.asarray(b)
        parts.append(Point(Q @ W, H @ np.transpose(mix, (0, 2, 1)), bias))
    stacked = [np.concatenate([getattr(part, name) for part in parts]) for name in ("W", "H")]
    bias = None if b is None else np.concatenate([part.b for part in parts])
    return Point(stacked[0], stacked[1], bias)


def _on_samples(labels: Any, counts: Any, Q: Array) -> Array:
    """Q on classes as a map on samples: it mixes the i-th samples of classes of equal size."""
    position = np.concatenate([np.arange(count) for count in counts.astype(int)])
    return Q[np.ix_(labels, labels)] * (position[:, None] == position[None, :])


def orbit_dimension(rank: int, d: int) -> int:
    """Dimension of the O(d) orbit of a point of this rank: r (r - 1) / 2 + r (d - r).

    Example:
        >>> orbit_dimension(2, 5)
        7
    """
    return rank * (rank - 1) // 2 + rank * (d - rank)


def predicted_nullity(model: UFM, rank: int, d: int, Z: Array, b: Array | None) -> int | None:
    """Dimension of the symmetry orbit through a critical point: the nullity of a Morse-Bott point.

    r (r - 1) / 2 + r (d - r) + s + m, with s = 1 for the bias shift (lambda_b = 0, shift-invariant
    loss) and m the orbit of (Z, b) under the class rotations of an isometric loss.
    Source: A-2 of docs/theory.md; derived here as the rank of the generators.

    Args:
        model: the UFM (for its loss, counts and bias).
        rank: r = rank of Z.
        d: feature dimension.
        Z: W Hbar without bias, merged columns, (K, K).
        b: bias (K,) or None.

    Returns:
        The nullity, or None when the class rotations are too many to rank (K > 32, isometric).

    Example:
        >>> from ufm import UFM, CrossEntropy
        >>> model = UFM(CrossEntropy(), 3, 5, lambda_W=0.1, lambda_H=0.1)
        >>> predicted_nullity(model, 2, 5, np.eye(3) - 1 / 3, None)  # rotations of a 2-frame in R^5
        7
    """
    nullity = orbit_dimension(rank, d)
    properties = model.loss.properties(model.num_classes)
    if model.free_shift is not None:
        nullity += 1
    if properties.isometric:
        if model.num_classes > DENSE_CLASS_ROTATIONS:
            return None
        logits = Z if rank else np.zeros_like(Z)  # what descent leaves of the origin is no orbit
        turns = class_rotations(model.kinds, model.lambda_b is not None)
        nullity += _orbit_dimension(turns, logits, b)
    return nullity


def _orbit_dimension(Q: Array, Z: Array, b: Array | None) -> int:
    """Rank of Q -> (Q Z - Z Q, Q b): the singular values split by many orders of magnitude."""
    if not len(Q):
        return 0
    moves = (Q @ Z - Z @ Q).reshape(len(Q), -1)
    if b is not None:
        moves = np.concatenate([moves, Q @ b], axis=1)
    values = np.linalg.svd(moves, compute_uv=False)
    # A critical point known to about 1e-12 leaves zero modes of that size; true ones are O(|Z|),
    # which is small just below a threshold.
    size = max(float(np.abs(x).max(initial=0.0)) for x in (Z, b if b is not None else 0.0))
    return int(np.sum(values > 1e-7 * size))
