"""Weight matrices in a row on free features: their product, and the spaces between them."""

from __future__ import annotations

from collections.abc import Sequence
from functools import reduce
from itertools import pairwise
from typing import Any, NamedTuple

import numpy as np

from ufm.tolerance import RANK


class Network(NamedTuple):
    """Weight matrices (W_1, ..., W_M) in the order in which features pass, and features ``H``."""

    weights: tuple[Any, ...]
    H: Any

    def factors(self) -> list[Any]:
        """H, W_1, ..., W_M."""
        return [self.H, *self.weights]

    def logits(self) -> Any:
        """W_M ... W_1 H."""
        return product(self.factors())


def product(factors: Sequence[Any]) -> Any:
    """The last factor times ... times the first, None of none.

    Example:
        >>> product([np.array([[1.0], [2.0]]), np.array([[3.0, 4.0]])]).tolist()
        [[11.0]]
    """
    return reduce(lambda below, above: above @ below, factors) if factors else None


def in_hidden_spaces(point: Network) -> tuple[Network, float] | None:
    """The point in its hidden spaces, and how far it was moved; None where they are not shared."""
    factors = [np.asarray(x) for x in point.factors()]
    bases, dropped = [], 0.0
    for below, above in pairwise(factors):
        left, values, _ = np.linalg.svd(below)
        rank = int(np.sum(values > RANK * (1 + values[0])))
        bases.append(left[:, :rank])
        rest = above - above @ bases[-1] @ bases[-1].T
        leak = max(float(np.linalg.norm(values[rank:])), float(np.linalg.norm(rest)))
        if leak > RANK * (1 + np.linalg.norm(above)) or rank != bases[0].shape[1]:
            return None
        dropped = max(dropped, leak)
    H = bases[0].T @ factors[0]
    sides = [*bases[1:], np.eye(len(factors[-1]))]
    weights = [out.T @ W @ into for W, into, out in zip(factors[1:], bases, sides, strict=True)]
    return Network(tuple(weights), H), dropped
