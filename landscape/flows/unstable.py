"""The unstable directions of a saddle, and the few along which it is left.

In dimension d they are those of the range block and, for every singular value of G above sigma
outside the support, one more per new feature dimension (A-2). Each eigenspace is left along its
most symmetric directions, which lead from saddle to saddle, and a random one.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from itertools import combinations

import numpy as np
from numpy.typing import NDArray

from landscape.atlas.orbit import Orbit, centred_bias
from landscape.flows.descent import far
from ufm.eigen import eigh
from ufm.plain.reduce import complement_gradient, reduced
from ufm.plain.relabelling import invariant, levels, stabiliser_order
from ufm.point import Point, flatten, unflatten
from ufm.spectrum import pair
from ufm.tolerance import SEPARATION, zero_tolerance
from ufm.typing import Array

# Symmetric directions of one eigenspace that are followed, the most symmetric first.
MOST_DIRECTIONS = 12
# Up to here all partitions of the classes are tried as patterns (Bell(9) = 21147), beyond only
# those into two groups.
ALL_PARTITIONS = 8
# Directions whose invariants agree to this relative accuracy are taken for equivalent.
ALIKE = 1e-5


@dataclass(frozen=True, eq=False)
class Eigenspace:
    """An unstable eigenspace of a saddle, and the directions in it that are followed.

    Attributes:
        eigenvalue: negative.
        dimension: of the eigenspace in dimension d.
        complement: whether it enters new feature dimensions.
        base: the saddle in dimension r.
        moves: unit displacements of W, H and b; those that enter j new dimensions have r + j
            columns, where ``base`` is padded with zeros.
    """

    eigenvalue: float
    dimension: int
    complement: bool
    base: Point
    moves: tuple[Point, ...]


def eigenspaces(orbit: Orbit, d: int, rng: np.random.Generator) -> Iterator[Eigenspace]:
    """The unstable eigenspaces of an orbit in dimension d and the directions to follow.

    Range block: eigenvectors in dimension r. Complement: (s U M, (mu - lambda_W) M^T V^T) up to
    length, with the singular vectors U, V (K, m) of G outside the support for a value s > sigma, mu
    the lower eigenvalue of [[lambda_W, s], [s, lambda_H]], and M (m, j) for j new dimensions.
    Source: A-2; derived here.

    Args:
        orbit: of critical points.
        d: feature dimension >= its rank.
        rng: for the random directions.

    Example:
        >>> from landscape.atlas import atlas
        >>> from ufm import UFM, CrossEntropy
        >>> found = atlas(UFM(CrossEntropy(), 3, 2, lambda_W=0.02, lambda_H=0.02))
        >>> (space,) = eigenspaces(found.orbits[-1], 2, np.random.default_rng(0))  # the origin
        >>> round(space.eigenvalue, 9), space.dimension  # 0.02 - 1/3
        (-0.313333333, 4)
    """
    model, lw = orbit.model, float(orbit.model.lambda_W)
    parts = reduced(model, orbit.point)
    base = parts.space.point
    _, _, hessian = model.dense_derivatives(orbit.point)
    radius, length = float(np.linalg.norm(hessian, 2)), float(np.linalg.norm(flatten(base)))
    first = 0 if orbit.rank else 2 * model.num_classes  # W = H = 0: the range block is the bias's
    values, vectors = eigh(hessian[first:, first:])
    values, vectors = values[: orbit.range_index], vectors[:, : orbit.range_index]
    new = d - orbit.rank
    U, sizes, Vt = np.linalg.svd(complement_gradient(parts))
    sizes = sizes[: orbit.overshoot if new else 0]
    low = np.array([pair(lw, float(model.lambda_H), s)[0] for s in sizes])
    # Eigenvalues closer to one another than they are known are one.
    gap = -float(max([*values, *low], default=0.0))
    known, _ = zero_tolerance(len(hessian), radius, orbit.gradient_norm, gap, length)
    for group in _equal(values, SEPARATION * known):
        Q = np.pad(vectors[:, group], ((first, 0), (0, 0)))
        moves = _chosen(orbit, orbit.point, *_range_moves(orbit.point, Q, rng))
        yield Eigenspace(float(values[group[0]]), len(group), False, orbit.point, moves)
    for group in _equal(low, SEPARATION * known):
        s, mu = sizes[group[0]], float(low[group[0]])
        x, y = np.array([s, mu - lw]) / np.hypot(s, mu - lw)
        moves = _chosen(orbit, base, *_new_moves(base, x * U[:, group], y * Vt[group], new, rng))
        yield Eigenspace(mu, len(group) * new, True, base, moves)


def _equal(values: Array, unit: float) -> list[NDArray[np.int64]]:
    """Positions of equal values, in ascending order of the values."""
    if not len(values):
        return []
    (level,) = levels(unit, values)
    return [np.flatnonzero(level == k) for k in range(level.max() + 1)]


def _range_moves(
    base: Point, Q: Array, rng: np.random.Generator
) -> tuple[list[Point], list[Point]]:
    """+-Q x for projections of a c^T W and H c a^T, differences a and c of classes; and random."""
    (K, r), m = base.W.shape, Q.shape[1]
    if m == 1:
        return [unflatten(sign * Q[:, 0], base) for sign in (1.0, -1.0)], []
    e = np.eye(K)
    mixed = [e[i] + sign * e[j] for i, j in combinations(range(K), 2) for sign in (-1.0, 1.0)]
    patterns = np.stack([*e, *mixed])
    top, below = np.split(Q[: 2 * K * r], 2)
    halves = [top.reshape(K, r, m), below.reshape(r, K, m).swapaxes(0, 1)]
    x = [
        np.einsum("ak,krm,cr->acm", patterns, half, patterns @ code).reshape(-1, m)
        for half, code in zip(halves, (base.W, base.H.T), strict=True)
    ]
    symmetric, random = np.concatenate(x), rng.normal(size=(1, m))
    return tuple(  # type: ignore[return-value]
        [unflatten(Q @ y, base) for y in _units(np.concatenate([rows, -rows]))]
        for rows in (symmetric, random)
    )


def _units(rows: Array) -> Array:
    """Different unit vectors among the directions of the rows."""
    lengths = np.linalg.norm(rows, axis=1)
    kept = lengths > ALIKE * float(lengths.max())
    rows = rows[kept] / lengths[kept, None]
    _, first = np.unique(np.round(rows / ALIKE), axis=0, return_index=True)
    return np.asarray(rows[np.sort(first)])


def _new_moves(
    base: Point, U: Array, V: Array, new: int, rng: np.random.Generator
) -> tuple[list[Point], list[Point]]:
    """(U M, M^T V), |M| = 1: patterns of partitions of the classes; random M of every rank."""
    K, m = U.shape
    shapes, random = [np.ones((1, 1))], list[Array]()
    if m > 1:
        shapes = [M for M in _partition_frames(U) if M.shape[1] <= new]
        random = [rng.normal(size=(m, j)) for j in range(1, min(m, new) + 1)]

    def move(M: Array) -> Point:
        M = M / np.linalg.norm(M)
        nothing = np.zeros_like(base.W)
        H = np.concatenate([nothing.T, M.T @ V])
        bias = None if base.b is None else np.zeros(K)
        return Point(np.concatenate([nothing, U @ M], axis=1), H, bias)

    return [move(M) for M in shapes], [move(M) for M in random]


def _partition_frames(U: Array) -> Iterator[Array]:
    """M with M M^T = U^T Q U, Q = sum_g 1_g 1_g^T / |g| for disjoint groups g, centred or not."""
    K = len(U)
    least, most = (0, K) if K <= ALL_PARTITIONS else (1, 2)
    strings: list[tuple[int, ...]] = [()]  # the group of every class; those in group 0 are left out
    for _ in range(K):
        strings = [
            (*s, g) for s in strings for g in range(least, min(max(s, default=0) + 1, most) + 1)
        ]
    for string in strings:
        member = np.eye(K + 1)[list(string)][:, 1:]
        sizes = member.sum(axis=0)
        codes = member[:, sizes > 0] / np.sqrt(sizes[sizes > 0])
        Q, whole = codes @ codes.T, member.sum(axis=1)
        for matrix in (Q, Q - np.outer(whole, whole) / max(1.0, whole.sum())):
            values, vectors = eigh(U.T @ matrix @ U)
            kept = values > ALIKE * np.linalg.norm(U) ** 2
            if kept.any():
                yield vectors[:, kept] * np.sqrt(values[kept])


def _chosen(
    orbit: Orbit, base: Point, symmetric: list[Point], random: list[Point]
) -> tuple[Point, ...]:
    """One of each kind of directions with more symmetry than random ones, and the random ones."""
    usual = min((_symmetry(orbit, base, move) for move in random), default=0)
    kept = dict[bytes, Point]()
    for move in symmetric:
        point = far(base, move)
        vector = invariant(point.W @ point.H, orbit.model.kinds, centred_bias(orbit.model, point))
        key = np.round(vector / (ALIKE * np.abs(vector).max())) + 0.0  # no minus zero
        kept.setdefault(key.tobytes(), move)
    order = {key: _symmetry(orbit, base, move) for key, move in kept.items()}
    best = sorted((key for key in kept if order[key] > usual), key=lambda key: -order[key])
    return (*(kept[key] for key in best[:MOST_DIRECTIONS]), *random)


def _symmetry(orbit: Orbit, base: Point, move: Point) -> int:
    """How many relabellings keep the saddle and the direction."""
    point = far(base, move)
    return stabiliser_order(point.W @ point.H, orbit.model.kinds, centred_bias(orbit.model, point))
