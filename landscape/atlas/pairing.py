"""AT-6: all critical cells but those of the whole space have partners, one degree apart.

Euler sums (AT-4) and Morse inequalities (AT-5) count; this looks at heights too (docs/atlas.md).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache

import numpy as np
import scipy

from landscape.atlas.checksum import Stratum
from ufm.errors import require_count

# Heights of critical points are known to 1e-12; a pair may be this far the wrong way round, which
# only ever lets a wrong list pass.
SLACK = 1e-9
# SciPy's flows have 32 bits: where a degree has more cells, it and those above are left out.
LARGEST_FLOW = 2**31 - 1


@dataclass(frozen=True)
class Unpaired:
    """A dimension d in which the cells cannot be paired, and where it shows.

    Attributes:
        d: feature dimension.
        degree: the smallest degree whose cells up to it cannot all be paired.
    """

    d: int
    degree: int

    @property
    def text(self) -> str:
        """One line for a person."""
        return (
            f"d = {self.d}: some critical point of index {self.degree} or {self.degree + 1} lacks "
            "its partner (AT-6), so a point is missing or a listed one is wrong"
        )


def unpaired(strata: Sequence[tuple[float, Stratum]], d: int) -> Unpaired | None:
    """The first degree in which the cells of a list cannot be paired as AT-6 asks, or None.

    An orbit (f, count, r, iota, b) has count * [t^k] t^(iota + (d-r) b) / prod_{i<=d-r} (1 - t^i)
    cells of degree k at height f. All but those of BO(d), [t^k] 1 / prod_{i<=d} (1 - t^i), fall
    into pairs (k at f, k + 1 at f' > f), and that of degree 0 is at the lowest point. So this is a
    minimum, every other one has a saddle of index 1 above it, and so on; without heights: AT-5.
    Source: derived here (docs/atlas.md), after Barannikov (1994).

    Args:
        strata: objective and stratum of every orbit.
        d: feature dimension >= 1.

    Example:
        >>> origin, best = Stratum(1, 0, 0, 1), Stratum(1, 1, 0, 0)
        >>> unpaired([(0.7, origin), (0.5, best)], 1) is None
        True
        >>> unpaired([(0.7, best), (0.5, origin)], 1).degree  # a saddle lies lowest
        0
    """
    require_count(d, "d", 1, "use one dimension or more")
    return _unpaired(tuple(strata), d)


# Kept: the same list is asked before its last round and after it.
@lru_cache(maxsize=64)
def _unpaired(strata: tuple[tuple[float, Stratum], ...], d: int) -> Unpaired | None:
    inside = sorted(((f, s) for f, s in strata if s.rank <= d), key=lambda pair: pair[0])
    top = max((s.index + (d - s.rank) * s.overshoot for _, s in inside), default=0) + 2
    cells = [(f, _cells(s, d, top + 1)) for f, s in inside]
    whole = _series([1], d, top + 1)
    heights = np.array([f for f, _ in cells])
    counts = np.array([c for _, c in cells], dtype=object).reshape(len(cells), top + 1)
    sums = np.cumsum(counts.sum(axis=0) + np.array(whole, dtype=object))
    most = int(np.sum(sums <= LARGEST_FLOW)) - 1  # the last degree that is needed as a partner
    # All degrees at once; only a failure asks where it begins.
    if most < 1 or _matched(heights, counts, whole, most - 1):
        return None
    return next(Unpaired(d, k) for k in range(most) if not _matched(heights, counts, whole, k))


def _cells(s: Stratum, d: int, size: int) -> list[int]:
    """Cells of an orbit in degrees 0, ..., size - 1."""
    shift = s.index + (d - s.rank) * s.overshoot
    return ([0] * shift + _series(list(s.betti or [s.count]), d - s.rank, size))[:size]


def _series(numerator: Sequence[int], m: int, size: int) -> list[int]:
    """The first coefficients of numerator / prod_{i<=m} (1 - t^i)."""
    series = (list(numerator) + [0] * size)[:size]
    for i in range(1, m + 1):
        for k in range(i, size):
            series[k] += series[k - i]
    return series


def _matched(heights: np.ndarray, counts: np.ndarray, whole: Sequence[int], last: int) -> bool:
    """Whether the cells of degree <= last can be paired; those of last + 1 may serve as partners.

    A matching that covers the even cells and one that covers the odd ones give one that covers both
    (Mendelsohn and Dulmage 1958), so two flows decide.
    """
    return all(_covered(heights, counts, whole, last, parity) for parity in (0, 1))


def _covered(
    heights: np.ndarray, counts: np.ndarray, whole: Sequence[int], last: int, parity: int
) -> bool:
    """Whether all cells whose degree has this parity find partners: a flow through chains.

    Nodes: ("cell", k, i), ("whole", k) for the cells that survive, and chains ("up", k, i),
    ("down", k, i) which lead to the cells of degree k from height i upwards or downwards.
    """
    names: dict[object, int] = {"source": 0, "sink": 1}
    edges: dict[tuple[int, int], int] = {}
    wanted = 0

    def edge(tail: object, head: object, capacity: int) -> None:
        if capacity > 0:
            pair = names.setdefault(tail, len(names)), names.setdefault(head, len(names))
            edges[pair] = capacity

    n = len(heights)
    # The class 1 lives on every part of the space that is not empty, so from the lowest point on.
    lowest = set(np.flatnonzero(heights <= heights[:1] + SLACK))
    for k in range(last + 2):
        column = counts[:, k]
        if k % 2 == parity and k <= last:
            wanted += int(column.sum())
            for i in np.flatnonzero(column):
                size = int(column[i])
                edge("source", ("cell", k, i), size)
                edge(("cell", k, i), ("whole", k), size if k or i in lowest else 0)
                first = int(np.searchsorted(heights, heights[i] - SLACK))
                edge(("cell", k, i), ("up", k + 1, first), size)
                final = int(np.searchsorted(heights, heights[i] + SLACK, side="right")) - 1
                edge(("cell", k, i), ("down", k - 1, final), size if k else 0)
            edge(("whole", k), "sink", int(whole[k]))
        elif k % 2 != parity:
            for j in range(n):
                size = int(column[j])
                edge(("up", k, j), ("cell", k, j), size)
                edge(("down", k, j), ("cell", k, j), size)
                edge(("cell", k, j), "sink", size)
                edge(("up", k, j), ("up", k, j + 1), LARGEST_FLOW if j + 1 < n else 0)
                edge(("down", k, j), ("down", k, j - 1), LARGEST_FLOW if j else 0)
                kept = k <= last and (k or j in lowest)
                edge(("whole", k), ("cell", k, j), size if kept else 0)
            if k <= last:  # cells of the whole space need a cell of this list
                wanted += int(whole[k])
                edge("source", ("whole", k), int(whole[k]))
    if not wanted:
        return True
    tails, heads = zip(*edges, strict=True)
    capacities = np.array(list(edges.values()), dtype=np.int32)
    graph = scipy.sparse.csr_array((capacities, (tails, heads)), shape=(len(names), len(names)))
    return int(scipy.sparse.csgraph.maximum_flow(graph, 0, 1).flow_value) == wanted
