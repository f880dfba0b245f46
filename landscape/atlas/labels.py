"""A readable name for the symmetry of a critical point.

The first row that applies gives the name; G is the number of groups of merged classes (equal rows
and columns of Z, count and bias), m_g their sizes, s the order of the symmetry group.

    origin                    Z = 0
    simplex ETF               s = K!, Z = a (I - J / K), a > 0
    orthogonal frame          s = K!, Z = a I, a > 0
    fully symmetric           s = K!, any other Z = a I + c J with a != 0
    merged 3|2|1              some m_g > 1; every relabelling that keeps partition and kinds is a
                              symmetry, and rank Z = G - 1: the groups sit at a simplex
    mirror 2|1|2              rank Z = 1, Z = u v^T, and a relabelling turns (u, v) into (-u, -v);
                              the number of classes at each value of u: (a, a, 0, -a, -a)
    5-gon                     rank Z = 2, and a cyclic shift of all classes is a symmetry
    5-gon of 2|2|2|2|2        rank Z = 2, and a cyclic shift of G >= 3 equal groups is a symmetry
    merged 2|1|1 (...)        some m_g > 1; in brackets what differs: the rank, if it is not G - 1,
                              and s, if it is less than the partition allows
    symmetry of order s       s > 1
    asymmetric                s = 1

With unequal counts few relabellings are left: three classes with counts 3, 2, 1 are "asymmetric"
whatever Z is. More than eight groups are written with exponents: 2^50 for fifty pairs.
"""

from __future__ import annotations

from collections import Counter
from math import factorial, prod

import numpy as np
from numpy.typing import ArrayLike

from ufm.plain.relabelling import (
    TOLERANCE,
    checked,
    levels,
    resolution,
    stabiliser_order,
)
from ufm.typing import Array

Group = tuple[int, ...]
# From how many groups on a partition is written with exponents; eight still read well.
LONGEST_PARTITION = 8


def label(
    Z: ArrayLike,
    kinds: ArrayLike,
    b: ArrayLike | None = None,
    *,
    order: int | None = None,
    groups: list[Group] | None = None,
    tolerance: float = TOLERANCE,
) -> str:
    """Name the symmetry of a point by the table above; the name depends on its orbit only.

    Different orbits can share a name. Source: derived here.

    Args:
        Z: W Hbar, (K, K).
        kinds: a number for every class (K,), ``model.kinds``.
        b: bias (K,) or None; where a constant may be added to it, it does not matter.
        order: ``stabiliser_order`` of the point, if it is at hand.
        groups: ``merged_classes`` of the point, if they are at hand.
        tolerance: relative, see ``orbits.resolution``.

    Example:
        >>> w = np.array([2.0, 0.0, -2.0])
        >>> label(np.outer(w, w), [1, 1, 1]), label(np.outer(w, w), [2, 1, 1])
        ('mirror 1|1|1', 'asymmetric')
    """
    matrix, bias = checked(Z, kinds, b)
    unit, K = resolution(tolerance, matrix, bias), len(matrix)
    if np.abs(matrix).max() <= unit:
        return "origin"
    order = order or stabiliser_order(matrix, kinds, bias, tolerance=tolerance)
    if groups is None:
        groups = merged_classes(matrix, kinds, bias, tolerance=tolerance)
    sizes = [len(group) for group in groups]
    if len(groups) == K and order == factorial(K):
        return _fully_symmetric(matrix, unit)
    # Equal rows and columns do not change the rank; entries within unit move singular values by at
    # most K * unit (Weyl).
    first = [group[0] for group in groups]
    small = matrix[np.ix_(first, first)]
    rank = int(np.sum(np.linalg.svd(small, compute_uv=False) > K * unit))
    within = prod(factorial(m) for m in sizes)
    repeated = Counter((len(group), np.asarray(kinds)[group[0]].item()) for group in groups)
    allowed = within * prod(factorial(m) for m in repeated.values())
    merged = f"merged {_partition(sizes)}"
    notes = [f"rank {rank}"] * (rank != len(groups) - 1) + [f"order {order}"] * (order != allowed)
    if len(groups) < K and not notes:
        return merged
    # A symmetry of u v^T maps u to +-u; those with + only permute merged classes.
    if rank == 1 and order == 2 * within:
        return f"mirror {_partition(_along(matrix, unit))}"
    if rank == 2 and _is_cyclic(matrix, kinds, bias, groups, unit):
        return f"{len(groups)}-gon" + (f" of {_partition(sizes)}" if len(groups) < K else "")
    if len(groups) < K:
        return f"{merged} ({', '.join(notes)})"
    return "asymmetric" if order == 1 else f"symmetry of order {order}"


def merged_classes(
    Z: ArrayLike, kinds: ArrayLike, b: ArrayLike | None = None, *, tolerance: float = TOLERANCE
) -> list[Group]:
    """Groups of classes with equal rows and columns of Z, one kind and equal bias.

    Returns:
        The groups, largest first, then by first class.

    Example:
        >>> merged_classes([[3, -2, -2], [-2, 3, 3], [-2, 3, 3]], [1, 1, 1])
        [(1, 2), (0,)]
    """
    matrix, bias = checked(Z, kinds, b)
    unit = resolution(tolerance, matrix, bias)
    (code,) = levels(unit, matrix)
    number = np.unique(np.asarray(kinds), return_inverse=True)[1]
    (shift,) = levels(unit, np.zeros(len(matrix)) if bias is None else bias)
    groups: dict[bytes, list[int]] = {}
    for k, mark in enumerate(np.stack([number, shift], axis=1)):
        key = np.concatenate([mark, code[k], code[:, k]]).tobytes()
        groups.setdefault(key, []).append(k)
    return sorted(map(tuple, groups.values()), key=lambda group: (-len(group), group))


def _fully_symmetric(Z: Array, unit: float) -> str:
    """Z = a I + c J with a != 0."""
    K = len(Z)
    off = float(Z.sum() - np.trace(Z)) / (K * (K - 1)) if K > 1 else 0.0
    own = float(np.trace(Z)) / K
    if own > off and abs(own + (K - 1) * off) <= K * unit:
        return "simplex ETF"
    return "orthogonal frame" if own > 0 and abs(off) <= unit else "fully symmetric"


def _along(Z: Array, unit: float) -> list[int]:
    """How many classes sit at each point of the line of a rank-one Z = u v^T, from end to end."""
    u = Z[:, np.linalg.norm(Z, axis=0).argmax()]
    v = Z[np.linalg.norm(Z, axis=1).argmax()]
    places = np.stack([*levels(unit, u), *levels(unit, v)], axis=1)
    return [int(m) for m in np.unique(places, axis=0, return_counts=True)[1]]


def _is_cyclic(
    Z: Array, kinds: ArrayLike, b: Array | None, groups: list[Group], unit: float
) -> bool:
    """Whether shifting G >= 3 equal groups along a circle is a symmetry of a rank-two Z.

    A cyclic symmetry turns the plane of the left singular vectors, so it is the order of angles.
    """
    alike = len({len(group) for group in groups}) == 1 and len(np.unique(kinds)) == 1
    if len(groups) < 3 or not alike or (b is not None and np.ptp(b) > unit):
        return False
    first = [group[0] for group in groups]
    Q = Z[np.ix_(first, first)]
    U = np.linalg.svd(Q)[0]
    circle = np.argsort(np.arctan2(U[:, 1], U[:, 0]))
    shifted = np.roll(circle, 1)
    return bool(np.abs(Q[np.ix_(circle, circle)] - Q[np.ix_(shifted, shifted)]).max() <= unit)


def _partition(sizes: list[int]) -> str:
    """3|2|1, or with exponents for runs of equal sizes: 2^50."""
    if len(sizes) <= LONGEST_PARTITION:
        return "|".join(map(str, sizes))
    runs: list[list[int]] = []
    for size in sizes:
        if runs and runs[-1][0] == size:
            runs[-1][1] += 1
        else:
            runs.append([size, 1])
    return "|".join(f"{size}^{number}" if number > 1 else f"{size}" for size, number in runs)
