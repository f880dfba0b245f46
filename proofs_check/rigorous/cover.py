"""All critical points of rank one, proved: branch and prune over the gaps of the classifier.

A box of gaps is dropped where an enclosure of the equations over it, by itself or from its middle
with their derivative, leaves out zero. What is left must lie in boxes around known orbits that are
proved to hold one critical point and no second. Derived here: docs/certificates.md.
"""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import combinations
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from proofs_check.rigorous.rank_one import RankOne
from ufm.errors import InputError
from ufm.typing import Array

# Half-widths that are tried for a box without a second point, and shares of it in which a first
# one is looked for: rounding alone, or what decays from an interval leave open.
HALF_WIDTHS = tuple(0.5 ** (i / 4) for i in range(4, 68))
SHARES = (1e-4, 0.25, 0.5, 0.75, 1.0)
# Of the largest box that can be proved to hold no second point this share is claimed: another
# program with other roundings shall prove it too.
ROOM = 0.8
# Marks of a leaf in the tree of boxes.
SETTLED, UNDECIDED = -1, -2
# Boxes evaluated at once: their enclosures take some 30 kB each.
BATCH = 4096


class Equations(Protocol):
    """What a search over boxes asks of the equations of some rank."""

    name: str

    def start(self) -> tuple[Array, Array]:
        """Ends of a box that holds everything."""

    def out_of_domain(self, low: Array, high: Array) -> NDArray[np.bool_]:
        """Boxes that others stand for."""

    def without_zero(self, low: Array, high: Array) -> NDArray[np.bool_]:
        """Which boxes are proved to hold no critical point."""

    def at_most_one(self, centre: Array, half: float) -> bool:
        """Whether a box is proved to hold no two."""

    def zero_within(self, centre: Array, half: float) -> bool:
        """Whether a box is proved to hold one."""


@dataclass(frozen=True)
class Cover:
    """What the search over boxes proved.

    Attributes:
        equations: whose zeros these are.
        orbits: gaps of the critical points of rank one, one of u and reversed u, (K-1,) each.
        within: half-widths of boxes around them in which a critical point is proved to be.
        alone: half-widths of boxes around them that have no second one.
        origin: the same of the box around u = 0.
        splits: the search tree in preorder: an axis where a box was halved (lower half first), -1
            where it was settled, -2 where it is left undecided.
        boxes: evaluated.
        undecided: boxes left over, as (2, m, K-1) lower and upper ends.
    """

    equations: RankOne
    orbits: tuple[Array, ...]
    within: tuple[float, ...]
    alone: tuple[float, ...]
    origin: float
    splits: tuple[int, ...]
    boxes: int
    undecided: Array

    @property
    def complete(self) -> bool:
        """Whether the orbits are proved to be all."""
        return not self.undecided.shape[1]

    def leaves(self) -> tuple[Array, Array]:
        """Lower and upper ends (m, K-1) of the boxes that were settled or left open."""
        return leaves(self.equations.start(), self.splits)

    def record(self) -> dict[str, Any]:
        """What the certificate claims, and the tree of boxes that proves it."""
        orbits = [
            {"gaps": u.tolist(), "within": within, "alone": alone}
            for u, within, alone in zip(self.orbits, self.within, self.alone, strict=True)
        ]
        spread = self.equations.largest_spread()
        claim = {"orbits": orbits, "origin": self.origin, "spread": spread}
        marks = {SETTLED: ".", UNDECIDED: "?"}
        return {"claim": claim, "tree": "".join(marks.get(x, str(x)) for x in self.splits)}


def prove_rank_one(
    equations: RankOne,
    known: Sequence[Array],
    *,
    smallest: float = 1e-4,
    most_boxes: int = 2_000_000,
    progress: Callable[[int, int], None] = lambda boxes, left: None,
    stop: Callable[[], bool] = lambda: False,
) -> Cover:
    """Prove that the known orbits are all critical points of rank one.

    Args:
        equations: K, decays (intervals where the statement is for all of them) and smoothing.
        known: gaps u >= 0 of the known orbits, (K-1,) each, to a few digits.
        smallest: boxes of less width are left undecided.
        most_boxes: work after which all that is open is left undecided.
        progress: told the boxes evaluated and the boxes left after every round.
        stop: once it says so, all that is open is left undecided.
    """
    L = equations.classes - 1
    given = [np.asarray(u, dtype=float) for u in known]
    isolated = [isolated_zero(equations, u) for u in given]
    _require_distinct(given, [within for within, _ in isolated])
    centres, halves = _with_reversed(given, [half for _, half in isolated])
    origin = alone(equations, np.zeros(L))
    tree, undecided, boxes = search(
        equations,
        np.array([*centres, np.zeros(L)]),
        np.array([*halves, origin]),
        smallest,
        most_boxes,
        progress,
        stop,
    )
    within, single = (tuple(x) for x in zip(*isolated, strict=True)) if isolated else ((), ())
    return Cover(equations, tuple(given), within, single, origin, tree, boxes, undecided)


def isolated_zero(equations: Equations, centre: Array) -> tuple[float, float]:
    """Half-widths of a box with a critical point, and of one that has no second.

    Raises:
        InputError: none is proved to be there.
    """
    single = alone(equations, centre)
    tried = [share * single for share in SHARES if single]
    within = next((h for h in tried if equations.zero_within(centre, h)), None)
    if within is None:
        raise InputError(
            f"Need a nondegenerate critical point of {equations.name} near every given one",
            np.array2string(centre, precision=6),
            "polish it; near a bifurcation take another decay",
        )
    return within, single


def _require_distinct(orbits: Sequence[Array], within: Sequence[float]) -> None:
    """Refuse a list in which an orbit, the origin included, stands twice.

    Raises:
        InputError: two of them are not proved to be different.
    """
    pairs = combinations(
        [*zip(orbits, within, strict=True), (0.0 * orbits[0], 0.0)] if orbits else [], 2
    )
    for (u, r), (v, s) in pairs:
        # True gaps may be negative by a radius, and sorting moves them by as much for every class.
        if min(abs(u - v).max(), abs(u - v[::-1]).max()) <= 2 * (len(u) + 1) * (r + s):
            raise InputError(
                "Need different orbits of rank one",
                f"{np.array2string(u, precision=6)} and {np.array2string(v, precision=6)}",
                "leave one out",
            )


def alone(equations: Equations, centre: Array) -> float:
    """Half-width of a box around a point that is proved to hold no two critical points, or 0."""
    # Enclosures grow with the box, so what cannot be proved of one is not proved of a larger one.
    first = bisect_left(HALF_WIDTHS, True, key=lambda h: equations.at_most_one(centre, h))
    return ROOM * HALF_WIDTHS[first] if first < len(HALF_WIDTHS) else 0.0


def _with_reversed(
    centres: Sequence[Array], halves: Sequence[float]
) -> tuple[list[Array], list[float]]:
    """Orbits and their mirror images (w -> -w) where these are others."""
    made = [(u, half) for u, half in zip(centres, halves, strict=True)]
    made += [(u[::-1], half) for u, half in made if not np.array_equal(u, u[::-1])]
    return [u for u, _ in made], [half for _, half in made]


def search(
    equations: Equations,
    centres: Array,
    halves: Array,
    smallest: float,
    most_boxes: int,
    progress: Callable[[int, int], None],
    stop: Callable[[], bool],
) -> tuple[tuple[int, ...], Array, int]:
    """Halve boxes until each is settled; the tree in preorder, what is open, and boxes seen.

    The widest come first, so that what is open in the end is as small as so much work makes it.
    """
    low, high = (x[None] for x in equations.start())
    nodes = np.array([0])
    # Node m was halved along axis[m] into child[m] and child[m] + 1.
    axis, child, count, boxes = [SETTLED], [0], 1, 0
    open_low, open_high = [], []
    while len(nodes):
        settled = equations.out_of_domain(low, high)
        for centre, half in zip(centres, halves, strict=True):
            settled |= np.all((low >= centre - half) & (high <= centre + half), axis=1)
        for start in range(0, len(nodes), BATCH):
            chosen = np.flatnonzero(~settled[start : start + BATCH]) + start
            if len(chosen) and boxes <= most_boxes and not stop():
                settled[chosen] = equations.without_zero(low[chosen], high[chosen])
                boxes += len(chosen)
                progress(boxes, len(nodes) - int(settled.sum()))
        low, high, nodes = low[~settled], high[~settled], nodes[~settled]
        width = high - low
        stuck = (width.max(axis=1, initial=0) < smallest) | (boxes > most_boxes) | stop()
        for m in nodes[stuck]:
            axis[m] = UNDECIDED
        open_low.append(low[stuck])
        open_high.append(high[stuck])
        low, high, nodes, width = low[~stuck], high[~stuck], nodes[~stuck], width[~stuck]
        along = np.argmax(width, axis=1)
        for m, i in zip(nodes, along, strict=True):
            axis[m], child[m] = int(i), count
            axis += [SETTLED, SETTLED]
            child += [0, 0]
            count += 2
        rows = np.arange(len(nodes))
        middle = 0.5 * (low[rows, along] + high[rows, along])
        first, second = child_ends(low, high, rows, along, middle)
        new = np.array([child[m] for m in nodes], dtype=int)
        low = np.concatenate([low, second])
        high = np.concatenate([first, high])
        nodes = np.concatenate([new, new + 1])
    order, stack = [], [0]
    while stack:
        m = stack.pop()
        order.append(axis[m])
        if axis[m] >= 0:
            stack += [child[m] + 1, child[m]]
    return tuple(order), np.stack([np.concatenate(open_low), np.concatenate(open_high)]), boxes


def leaves(start: tuple[Array, Array], splits: Sequence[int]) -> tuple[Array, Array]:
    """Lower and upper ends (m, unknowns) of the leaves of a tree of boxes in preorder."""
    todo = [start]
    low, high = [], []
    for axis in splits:
        a, b = todo.pop()
        if axis < 0:
            low.append(a)
            high.append(b)
            continue
        middle = 0.5 * (a[axis] + b[axis])
        first, second = b.copy(), a.copy()
        first[axis] = second[axis] = middle
        todo += [(second, b), (a, first)]
    return np.array(low), np.array(high)


def child_ends(
    low: Array, high: Array, rows: NDArray[np.int_], along: NDArray[np.int_], middle: Array
) -> tuple[Array, Array]:
    """Upper ends of the lower halves, and lower ends of the upper ones."""
    first, second = high.copy(), low.copy()
    first[rows, along] = middle
    second[rows, along] = middle
    return first, second
