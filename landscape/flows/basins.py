"""The disconnectivity tree: which basins join at which height, where spurious minima exist.

Below the rank of the global minimum (d < K - 1) there can be minima that are not global, and every
orbit of them is as many matrices Z as it has copies under relabelling. Two copies are connected
below a height h if a path between them stays below h; by Morse theory this changes at saddles
of index 1 only, and there the two ends of the unstable direction are joined.
"""

from __future__ import annotations

from dataclasses import dataclass
from itertools import permutations

import networkx
import numpy as np

from landscape.atlas.orbit import Orbit, centred_bias
from landscape.atlas.record import Atlas
from landscape.flows.descent import DISPLACEMENT, Descent, descend, displaced, leave
from landscape.flows.unstable import eigenspaces
from ufm.errors import InputError, require_count
from ufm.plain.model import UFM
from ufm.plain.relabelling import TOLERANCE, levels, matching, resolution
from ufm.point import Point, flatten
from ufm.typing import Array, Ints

Copy = tuple[int, bytes]  # position of the orbit, and the matrix in whole numbers
# All relabellings are listed: 6! = 720.
MAX_CLASSES = 6


@dataclass(frozen=True, eq=False)
class Leaf:
    """One minimum: a copy of an orbit under relabelling.

    Attributes:
        orbit: position in ``atlas.orbits``.
        objective: there.
        Z: W Hbar of the copy, (K, K).
        b: its bias or None.
    """

    orbit: int
    objective: float
    Z: Array
    b: Array | None


@dataclass(frozen=True)
class Merge:
    """Basins that join at the height of a saddle.

    Attributes:
        objective: the barrier.
        saddle: position of its orbit in ``atlas.orbits``.
        children: two or more nodes, see ``Tree``.
    """

    objective: float
    saddle: int
    children: tuple[int, ...]


@dataclass(frozen=True, eq=False)
class Tree:
    """Minima and the heights at which their basins join, modulo O(d).

    Attributes:
        atlas: where it comes from.
        d: feature dimension.
        leaves: nodes 0, 1, ...
        merges: nodes len(leaves), len(leaves) + 1, ..., in ascending order of objective.
        lost: flows from saddles of index 1 that ended at no minimum of the list.
    """

    atlas: Atlas
    d: int
    leaves: tuple[Leaf, ...]
    merges: tuple[Merge, ...]
    lost: tuple[Descent, ...] = ()

    @property
    def roots(self) -> tuple[int, ...]:
        """Nodes that join nothing further up; more than one shows a missing saddle."""
        inner = {child for merge in self.merges for child in merge.children}
        return tuple(i for i in range(len(self.leaves) + len(self.merges)) if i not in inner)

    def height(self, node: int) -> float:
        """The objective of a leaf or the barrier of a merge."""
        count = len(self.leaves)
        return (self.leaves[node] if node < count else self.merges[node - count]).objective


def disconnectivity(found: Atlas, d: int, *, seed: int = 0) -> Tree:
    """Join the copies of all minima through the saddles of index 1, lowest saddle first.

    From every saddle of index 1 both flows along its unstable direction end at two specific
    matrices Z; relabellings carry them to the other copies. Modulo O(d): for d = 1 the points
    +-(W, H) are two minima with one Z, and the barrier between those two is not in the tree.
    Source: disconnectivity graphs after Becker & Karplus (1997); derived here for orbits.

    Args:
        found: an atlas with isolated minima and K <= 6 classes.
        d: feature dimension >= 1.
        seed: of the perturbations of flows that end at another saddle.

    Returns:
        A Tree with as many leaves as there are matrices Z of minima.

    Raises:
        InputError: more than 6 classes, or minima that form a continuum (squared error).

    Example:
        >>> from landscape.atlas import atlas
        >>> from ufm import UFM, CrossEntropy
        >>> found = atlas(UFM(CrossEntropy(), 3, 2, lambda_W=0.02, lambda_H=0.02))
        >>> tree = disconnectivity(found, 1)
        >>> len(tree.leaves), [len(merge.children) for merge in tree.merges]
        (3, [3])
    """
    require_count(d, "d", 1, "use one dimension or more")
    K, kinds = found.model.num_classes, found.model.kinds
    if K > MAX_CLASSES:
        rule = f"A disconnectivity tree lists all copies of a minimum: K <= {MAX_CLASSES}"
        raise InputError(rule, K, "use fewer classes")
    index = {i: orbit.index(d) for i, orbit in enumerate(found.orbits) if orbit.rank <= d}
    lowest = {i: found.orbits[i] for i in index if not index[i]}
    if any(orbit.is_continuum for orbit in lowest.values()):
        rule = "A disconnectivity tree needs isolated minima"
        raise InputError(rule, "a continuum", "use a loss without class rotations")
    relabellings = [p for p in map(np.array, permutations(range(K))) if (kinds[p] == kinds).all()]
    leaves, numbers = list[Leaf](), dict[Copy, int]()
    for i, orbit in lowest.items():
        for p in relabellings:
            if (copy := (i, _code(orbit)[p][:, p].tobytes())) not in numbers:
                numbers[copy] = len(leaves)
                bias = None if orbit.bias is None else orbit.bias[p]
                leaves.append(Leaf(i, orbit.objective, orbit.Z[np.ix_(p, p)], bias))
    merges, lost = list[Merge](), list[Descent]()
    above = np.arange(len(leaves))  # the node that a leaf hangs from so far
    rng = np.random.default_rng(seed)
    for saddle in (i for i in index if index[i] == 1):  # in ascending order of objective
        orbit = found.orbits[saddle]
        ends = [
            _settled(end, found.model.with_dimension(d), lowest, rng)
            for end in _both_ends(orbit, d, rng)
        ]
        lost += [end for end in ends if isinstance(end, Descent)]
        joined = networkx.Graph()
        for p in relabellings:
            reached = [
                above[numbers[i, _code(lowest[i])[q[p]][:, q[p]].tobytes()]]
                for i, q in (end for end in ends if not isinstance(end, Descent))
            ]
            networkx.add_path(joined, reached)
        for part in sorted(map(sorted, networkx.connected_components(joined))):
            if len(part) > 1:
                above[np.isin(above, part)] = len(leaves) + len(merges)
                merges.append(Merge(orbit.objective, saddle, tuple(int(node) for node in part)))
    return Tree(found, d, tuple(leaves), tuple(merges), tuple(lost))


def _code(orbit: Orbit) -> Ints:
    """Z, with the bias on the diagonal, as whole numbers that are equal where the entries are."""
    bias = np.zeros(len(orbit.Z)) if orbit.bias is None else orbit.bias
    code, shift = levels(resolution(TOLERANCE, orbit.Z, bias), orbit.Z, bias)
    return code + np.diag((1 + code.max()) * shift)


def _both_ends(orbit: Orbit, d: int, rng: np.random.Generator) -> list[Descent]:
    """The flows along the unstable direction of a saddle of index 1, and against it."""
    (space,) = eigenspaces(orbit, d, rng)
    move = space.moves[0]
    back = Point(-move.W, -move.H, None if move.b is None else -move.b)
    return [leave(orbit.model, space.base, way) for way in (move, back)]


def _settled(
    end: Descent, model: UFM, lowest: dict[int, Orbit], rng: np.random.Generator
) -> tuple[int, Ints] | Descent:
    """The minimum where a flow ended, as (orbit, p) with Z[p, p] of its copy; or the end itself.

    A symmetric flow may end at another saddle: it goes on from a perturbed point.
    """
    K, d = model.num_classes, model.d
    while end.arrived:
        point = end.point
        Z, b = point.W @ point.H, centred_bias(model, point)
        for i, orbit in lowest.items():
            if abs(orbit.objective - end.objective) <= TOLERANCE * max(1.0, abs(end.objective)):
                p = matching(orbit.Z, Z, model.kinds, orbit.bias, b)
                if p is not None:
                    return i, np.array(p)
        noise = None if b is None else rng.normal(size=K)
        move = Point(rng.normal(size=(K, d)), rng.normal(size=(d, K)), noise)
        length = max(1.0, float(np.linalg.norm(flatten(point))))
        step = DISPLACEMENT * length / float(np.linalg.norm(flatten(move)))
        further = descend(model, displaced(point, move, step))
        if further.objective > end.objective - TOLERANCE:
            return end  # a minimum that is not in the list
        end = further
    return end
