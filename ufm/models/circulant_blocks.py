"""Graphs whose classes have equal neighbours exactly: every block of the adjacency is circulant."""

from __future__ import annotations

import numpy as np

from ufm.errors import InputError
from ufm.typing import Array


def circulant_blocks(num_classes: int, n: int, inside: int, outside: int) -> Array:
    """Adjacency of K classes of n nodes, each with given neighbours in its own and every other.

    Raises:
        InputError: degrees that such a graph cannot have.

    Example:
        >>> circulant_blocks(2, 3, 2, 1).sum(axis=0).tolist()
        [3.0, 3.0, 3.0, 3.0, 3.0, 3.0]
    """
    remedy = "choose degrees that fit, or more nodes"
    if not 0 <= inside < n or (inside % 2 and n % 2):
        rule = f"Need 0 <= inside < n = {n}, and an even one where n is odd"
        raise InputError(rule, inside, remedy)
    if not 0 <= outside <= n:
        raise InputError(f"Need 0 <= outside <= n = {n}", outside, remedy)
    steps = [*range(1, inside // 2 + 1)]
    steps = sorted({x for s in steps for x in (s, n - s)} | ({n // 2} if inside % 2 else set()))
    shift = np.eye(n)
    own = sum((np.roll(shift, s, axis=1) for s in steps), np.zeros((n, n)))
    other = sum((np.roll(shift, s, axis=1) for s in range(outside)), np.zeros((n, n)))
    blocks = [[own] * num_classes for _ in range(num_classes)]
    for i in range(num_classes):
        for j in range(num_classes):
            if i != j:
                blocks[i][j] = other if i < j else other.T
    return np.asarray(np.block(blocks))
