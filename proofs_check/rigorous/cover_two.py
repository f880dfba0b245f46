"""All critical points of rank two of four classes: branch and prune over five unknowns.

As for rank one (``cover``); but rank one lies in the same boxes, with y = 0, so that boxes around
its points have to be left out, too. Derived here: docs/certificates.md.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import combinations

import numpy as np

from proofs_check.rigorous.cover import alone, isolated_zero, leaves, search
from proofs_check.rigorous.intervals import Interval
from proofs_check.rigorous.rank_two import RankTwo
from proofs_check.rigorous.rank_two_coordinates import UNKNOWNS, entries, images
from ufm.errors import InputError
from ufm.typing import Array

# Boxes after which what is open is left so: some minutes.
MOST_BOXES = 500_000


@dataclass(frozen=True)
class CoverTwo:
    """What the search over boxes proved of rank two.

    Attributes:
        equations: whose zeros these are.
        orbits: unknowns of one image of each orbit of rank two, (5,).
        boxes: evaluated.
        undecided: boxes left over, as (2, m, 5) lower and upper ends.
        share: of the volume that no other stands for and the bound of |W| leaves, what is open.
    """

    equations: RankTwo
    orbits: tuple[Array, ...]
    boxes: int
    undecided: Array
    share: float

    @property
    def complete(self) -> bool:
        """Whether the orbits are proved to be all."""
        return not self.undecided.shape[1]


def prove_rank_two(
    equations: RankTwo,
    planes: Sequence[Array],
    lines: Sequence[Array],
    *,
    smallest: float = 1e-6,
    most_boxes: int = MOST_BOXES,
    progress: Callable[[str], None] = lambda text: None,
    stop: Callable[[], bool] = lambda: False,
) -> CoverTwo:
    """Prove that the known orbits are all critical points of rank two.

    A critical point in a box around a rank one has y = 0 as well: the box is its own mirror image
    under y -> -y, and has no second one.

    Args:
        equations: decays and smoothing.
        planes: classifiers (4, 2) of the known orbits of rank two, to a few digits.
        lines: classifiers (4, 1) of those of rank one. One that is missing leaves boxes open.
        smallest: boxes of less width are left undecided.
        most_boxes: work after which all that is open is left undecided.
        progress: told how far the proof is.
        stop: once it says so, all that is open is left undecided.

    Raises:
        InputError: a known orbit is degenerate or not of rank two, or stands in the list twice.
    """
    centres = [np.zeros(UNKNOWNS)]
    halves = [0.0 if stop() else alone(equations, centres[0])]
    todo = [(np.asarray(W), True) for W in planes]
    todo += [(np.hstack([W, np.zeros_like(W)]), False) for W in lines]
    held: list[tuple[Array, float]] = []
    for number, (W, plane) in enumerate(todo):
        for image, u in enumerate(images(W)):
            progress(f"around orbit {number + 1} of {len(todo)}")
            if stop():
                break
            centre = equations.polished(u)
            if plane:
                within, half = isolated_zero(equations, centre)
                if image == 0:
                    held.append((centre, within))
            else:
                centre[3:] = 0.0
                half = alone(equations, centre)
            centres.append(centre)
            halves.append(half)
    _require_distinct(held)
    tree, undecided, boxes = search(
        equations,
        np.array(centres),
        np.array(halves),
        smallest,
        most_boxes,
        lambda boxes, left: progress(f"{boxes:,} boxes, {left:,} left"),
        stop,
    )
    low, high = leaves(equations.start(), tree)
    inside = ~equations.out_of_domain(low, high)
    whole = np.prod(high - low, axis=1)[inside].sum()
    share = float(np.prod(undecided[1] - undecided[0], axis=1).sum() / whole)
    return CoverTwo(equations, tuple(u for u, _ in held), boxes, undecided, share)


def _require_distinct(held: Sequence[tuple[Array, float]]) -> None:
    """Refuse a list of points in which one is not of rank two, or an orbit stands twice.

    The squared lengths of the rows of W, in their order, are the same all along an orbit.

    Raises:
        InputError: it is not proved that none is.
    """
    lengths = []
    for u, within in held:
        if u[3] <= within:
            raise InputError(
                "Need critical points of rank two", np.array2string(u, precision=6), "leave it out"
            )
        box = Interval.of(u[None]) + Interval.between(-within, within)
        squares = entries(box).square().sum(-1)
        lengths.append((np.sort(squares.lo[0]), np.sort(squares.hi[0]), u))
    for (low, high, u), (other_low, other_high, v) in combinations(lengths, 2):
        if not np.any((high < other_low) | (other_high < low)):
            raise InputError(
                "Need different orbits of rank two",
                f"{np.array2string(u, precision=6)} and {np.array2string(v, precision=6)}",
                "leave one out",
            )
