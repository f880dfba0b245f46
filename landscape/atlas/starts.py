"""Where an index-blind search starts: random points, symmetric ones, and steps up a stratum.

Every function returns a batch: W (B, K, r), H (B, r, K) and b (B, K) or None, in NumPy. Sizes are
log-uniform, because critical points of one model lie at sizes a factor ten apart.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from ufm.point import Point
from ufm.typing import Array

# |W| entries of critical points found by experiment at c = 0.01 to 0.9 lie well inside.
SMALLEST, LARGEST = 0.5, 6.0
# Starts that presume nothing: independent sizes of W and H, two decades around those above.
BLIND = (0.1, 20.0)
# Relative noise on symmetric starts: a start that keeps its symmetry exactly can only reach points
# that have it, and rounding alone does not break it.
JITTER = (1e-3, 0.3)
# Relative noise on known points. At K = 7, ranks 2 and 3, 250 of 256 searches from here converged
# (35 to 159 from other starts), and they found as many new orbits.
NEIGHBOURHOOD = (0.1, 1.0)


def sizes(rng: np.random.Generator, count: int, rank: int) -> Array:
    """Log-uniform sizes of whole starts, shape (count, 1, 1)."""
    drawn = np.exp(rng.uniform(np.log(SMALLEST), np.log(LARGEST), count))
    return drawn[:, None, None] / np.sqrt(rank)


def blind_starts(rng: np.random.Generator, count: int, classes: int, rank: int) -> Point:
    """W and H with independent Gaussian entries, of independent log-uniform sizes.

    Example:
        >>> blind_starts(np.random.default_rng(0), 5, 4, 2).W.shape
        (5, 4, 2)
    """
    low, high = np.log(BLIND)
    size = np.exp(rng.uniform(low, high, (2, count, 1, 1))) / np.sqrt(rank)
    W = rng.normal(size=(count, classes, rank))
    return Point(size[0] * W, size[1] * rng.normal(size=(count, rank, classes)))


def gaussian_starts(rng: np.random.Generator, count: int, classes: int, rank: int) -> Point:
    """W and H with independent Gaussian entries, both of one log-uniform size.

    Example:
        >>> gaussian_starts(np.random.default_rng(0), 5, 4, 2).W.shape
        (5, 4, 2)
    """
    size = sizes(rng, count, rank)
    W = rng.normal(size=(count, classes, rank))
    return Point(size * W, size * rng.normal(size=(count, rank, classes)))


def aligned_starts(rng: np.random.Generator, count: int, classes: int, rank: int) -> Point:
    """W centred over the classes and H = W^T: positive logit gaps, as most critical points have."""
    W = rng.normal(size=(count, classes, rank))
    W -= W.mean(axis=1, keepdims=True)
    W *= sizes(rng, count, rank)
    return Point(W, np.swapaxes(W, 1, 2).copy())


def partition_starts(rng: np.random.Generator, count: int, classes: int, rank: int) -> Point:
    """Classes merged by random partitions into more than ``rank`` groups, or mirrored, with noise.

    Classes of a group share a code. Half of the starts have codes in pairs +-v, which puts mirror
    patterns such as (a, 0, -a) within reach.
    """
    K = classes
    start = aligned_starts(rng, count, K, rank)
    for i in range(count):
        groups = rng.integers(min(rank + 1, K), K + 1)
        member = rng.permutation(np.concatenate([np.arange(groups), rng.integers(0, groups, K)]))
        member = _relabelled(member[:K])
        codes = rng.normal(size=(int(member.max()) + 1, rank))
        if rng.random() < 0.5:
            pairs = len(codes) // 2
            codes[pairs : 2 * pairs] = -codes[:pairs]
            codes[2 * pairs :] = 0.0 if rng.random() < 0.5 else codes[2 * pairs :]
        size = float(np.linalg.norm(start.W[i])) / max(1e-12, float(np.linalg.norm(codes[member])))
        start.W[i] = size * codes[member]
    return _noisy(rng, Point(start.W, np.swapaxes(start.W, 1, 2).copy()))


def risen_starts(
    rng: np.random.Generator,
    count: int,
    below: Sequence[tuple[Point, Array, Array]],
    rank: int,
) -> Point:
    """Points of rank r - 1 with one more coordinate along unstable directions of the complement.

    Args:
        rng: random numbers.
        count: how many.
        below: (point in r - 1 dimensions, U, V): left and right singular vectors of G outside the
            support with singular values above sigma, as columns.
        rank: r.

    Returns:
        W (count, K, r), H (count, r, K): the last coordinate is a random combination of the pairs
        (-u_i, v_i), of log-uniform size.
    """
    K = len(below[0][0].W)
    W, H = np.zeros((count, K, rank)), np.zeros((count, rank, K))
    for i in range(count):
        point, U, V = below[int(rng.integers(len(below)))]
        mix = rng.normal(size=U.shape[1])
        if rng.random() < 0.5:  # a single pair: singular vectors of symmetric points are symmetric
            mix = np.eye(U.shape[1])[int(rng.integers(U.shape[1]))]
        step = float(np.exp(rng.uniform(np.log(0.1), np.log(LARGEST))))
        W[i, :, : rank - 1], H[i, : rank - 1] = point.W, point.H
        W[i, :, -1], H[i, -1] = -step * (U @ mix), step * (V @ mix)
    return _noisy(rng, Point(W, H))


def neighbouring_starts(
    rng: np.random.Generator, count: int, known: Sequence[Point], rank: int
) -> Point:
    """Known points of the stratum, disturbed by relative noise of log-uniform size.

    Args:
        rng: random numbers.
        count: how many.
        known: points in r dimensions; each is as likely as any other.
        rank: r.

    Returns:
        W (count, K, r), H (count, r, K).
    """
    chosen = [known[int(i)] for i in rng.integers(len(known), size=count)]
    low, high = np.log(NEIGHBOURHOOD)
    level = np.exp(rng.uniform(low, high, count))[:, None, None]
    parts = []
    for name in ("W", "H"):
        x = np.stack([getattr(point, name) for point in chosen])
        typical = np.sqrt(np.mean(x**2, axis=(1, 2), keepdims=True))
        parts.append(x + level * typical * rng.normal(size=x.shape))
    return Point(*parts)


def _relabelled(member: NDArray[np.int64]) -> NDArray[np.int64]:
    """Group numbers without gaps."""
    return np.asarray(np.unique(member, return_inverse=True)[1], dtype=np.int64)


def _noisy(rng: np.random.Generator, start: Point) -> Point:
    """Relative noise of log-uniform size on half of the starts."""
    count = len(start.W)
    low, high = np.log(JITTER)
    level = np.exp(rng.uniform(low, high, count)) * (rng.random(count) < 0.5)
    parts = []
    for x in (start.W, start.H):
        typical = np.sqrt(np.mean(x**2, axis=(1, 2)))
        parts.append(x + (level * typical)[:, None, None] * rng.normal(size=x.shape))
    return Point(*parts)
