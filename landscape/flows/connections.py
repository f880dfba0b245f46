"""Which critical point flows to which: gradient flows from every saddle of an atlas.

Every unstable eigenspace is left along a few directions, and ends are identified on Z. Symmetric
directions lead from saddle to saddle, random ones to minima of the stratum, since a flow never
leaves the dimensions that it has entered. Along the fastest eigenspace, or inside the symmetry of
its direction, a flow is determined by the saddle; along slower eigenspaces it is one of a family
of flows tangent to the direction.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any

import networkx
import numpy as np

from landscape.atlas.orbit import Orbit, centred_bias
from landscape.atlas.record import Atlas
from landscape.flows.descent import Descent, leave
from landscape.flows.unstable import ALIKE, eigenspaces
from ufm.errors import require_count
from ufm.plain.model import UFM
from ufm.plain.reduce import row_space
from ufm.point import Point


@dataclass(frozen=True)
class Edge:
    """Flows from one orbit to another along one unstable eigenspace.

    Attributes:
        source, target: positions in ``atlas.orbits``.
        eigenvalue: negative, of the Hessian at the source.
        dimension: of the eigenspace in dimension d.
        complement: whether it enters new feature dimensions.
        flows: number of flows along it that ended at the target.
        drop: of the objective, > 0.
    """

    source: int
    target: int
    eigenvalue: float
    dimension: int
    complement: bool
    flows: int
    drop: float


@dataclass(frozen=True, eq=False)
class Lost:
    """A flow that ended at no orbit of the list: if it arrived, an orbit is missing there.

    Attributes:
        source, eigenvalue, complement: where it began.
        end: where it ended; compressed to its rank, so that ``atlas(known=...)`` takes it in.
    """

    source: int
    eigenvalue: float
    complement: bool
    end: Descent


@dataclass(frozen=True, eq=False)
class Connections:
    """The descents between the orbits of an atlas in one feature dimension.

    Attributes:
        atlas: where they were looked for.
        d: feature dimension.
        edges: in the order of the sources, then of the eigenvalues.
        lost: flows that ended elsewhere.
    """

    atlas: Atlas
    d: int
    edges: tuple[Edge, ...]
    lost: tuple[Lost, ...] = ()

    @property
    def nodes(self) -> tuple[int, ...]:
        """Positions in ``atlas.orbits`` of the orbits that fit in dimension d."""
        return tuple(i for i, orbit in enumerate(self.atlas.orbits) if orbit.rank <= self.d)

    @property
    def steepest_path(self) -> tuple[int, ...]:
        """From the highest orbit down along the fastest eigenspace, each time to the nearest orbit.

        At every saddle the edge with the most negative eigenvalue; among equal ones the smallest
        drop.
        """
        path = [max(self.nodes)]
        while out := [edge for edge in self.edges if edge.source == path[-1]]:
            fastest = min(edge.eigenvalue for edge in out) * (1 - ALIKE)
            path.append(max(edge.target for edge in out if edge.eigenvalue <= fastest))
        return tuple(path)

    def graph(self) -> networkx.DiGraph:
        """One node per orbit and one arrow per pair, the fastest of its eigenspaces; all scalars.

        Example:
            >>> from landscape.atlas import atlas
            >>> from ufm import UFM, CrossEntropy
            >>> found = atlas(UFM(CrossEntropy(), 3, 2, lambda_W=0.02, lambda_H=0.02))
            >>> graph = connect(found, 2).graph()
            >>> len(graph), networkx.is_directed_acyclic_graph(graph)
            (4, True)
        """
        graph = networkx.DiGraph(d=self.d)
        for i in self.nodes:
            graph.add_node(i, **_numbers(self.atlas.orbits[i], self.d))
        for edge in sorted(self.edges, key=lambda edge: -edge.eigenvalue):
            flows = edge.flows
            if graph.has_edge(edge.source, edge.target):
                flows += graph.edges[edge.source, edge.target]["flows"]
            fields = _fields(edge) | {"flows": flows}
            graph.add_edge(edge.source, edge.target, **fields)
        return graph

    def as_dict(self) -> dict[str, Any]:
        """Nodes, edges and lost flows as JSON takes them."""
        return {
            "d": self.d,
            "nodes": [{"id": i} | _numbers(self.atlas.orbits[i], self.d) for i in self.nodes],
            "edges": [
                {"source": edge.source, "target": edge.target} | _fields(edge)
                for edge in self.edges
            ],
            "lost": [
                {
                    "source": lost.source,
                    "eigenvalue": lost.eigenvalue,
                    "complement": lost.complement,
                    "arrived": lost.end.arrived,
                    "objective": lost.end.objective,
                    "gradient_norm": lost.end.gradient_norm,
                    "W": lost.end.point.W.tolist(),
                    "H": lost.end.point.H.tolist(),
                    "b": None if lost.end.point.b is None else lost.end.point.b.tolist(),
                }
                for lost in self.lost
            ],
        }


def _numbers(orbit: Orbit, d: int) -> dict[str, Any]:
    """What is known about an orbit in dimension d, as scalars."""
    return {
        "objective": orbit.objective,
        "rank": orbit.rank,
        "index": orbit.index(d),
        "nullity": orbit.nullity(d),
        "count": orbit.count,
        "label": orbit.label,
        "verdict": orbit.curvature(d).name,
    }


def _fields(edge: Edge) -> dict[str, Any]:
    return {
        "eigenvalue": edge.eigenvalue,
        "dimension": edge.dimension,
        "complement": edge.complement,
        "flows": edge.flows,
        "drop": edge.drop,
    }


def connect(
    found: Atlas, d: int, *, seed: int = 0, progress: Callable[[int, int], None] | None = None
) -> Connections:
    """Follow the gradient flow from every orbit along every unstable eigenspace.

    x' = -grad f in the Euclidean metric of (W, Hbar, b), from x* + eps v for unit vectors v of
    the eigenspace: the most symmetric ones, in both directions, and a random one.
    Source: derived here; symmetric directions after Vanderbauwhede 1980 and Cicogna 1981.

    Args:
        found: an atlas; orbits of rank above d are left out.
        d: feature dimension >= 1.
        seed: of the random directions.
        progress: called with (orbits done, orbits) after each.

    Returns:
        Connections; edges go strictly down in objective.

    Example:
        >>> from landscape.atlas import atlas
        >>> from ufm import UFM, CrossEntropy
        >>> found = atlas(UFM(CrossEntropy(), 3, 2, lambda_W=0.02, lambda_H=0.02))
        >>> made = connect(found, 2)
        >>> {edge.target for edge in made.edges if edge.source == 3}, made.lost
        ({0, 1, 2}, ())
    """
    require_count(d, "d", 1, "use one dimension or more")
    rng = np.random.default_rng(seed)
    made = Connections(found, d, ())
    edges, lost = list[Edge](), list[Lost]()
    for number, source in enumerate(made.nodes, start=1):
        orbit = found.orbits[source]
        for part in eigenspaces(orbit, d, rng):
            edge = Edge(source, source, part.eigenvalue, part.dimension, part.complement, 0, 0.0)
            here = dict[int, Edge]()
            for move in part.moves:
                end = leave(orbit.model, part.base, move)
                target = _identified(found, orbit, end)
                if target is None:
                    missed = replace(end, point=_compressed(orbit.model, end.point))
                    lost.append(Lost(source, part.eigenvalue, part.complement, missed))
                    continue
                drop = orbit.objective - found.orbits[target].objective
                old = here.get(target, replace(edge, target=target, drop=drop))
                here[target] = replace(old, flows=old.flows + 1)
            edges += [here[target] for target in sorted(here)]
        if progress is not None:
            progress(number, len(made.nodes))
    return replace(made, edges=tuple(edges), lost=tuple(lost))


def _identified(found: Atlas, source: Orbit, end: Descent) -> int | None:
    """The orbit below the source in which a flow ended."""
    if not end.arrived:
        return None
    item = (end.objective, end.point.W @ end.point.H, centred_bias(source.model, end.point))
    below = (i for i, o in enumerate(found.orbits) if o.objective < source.objective)
    return next((i for i in below if found.orbits[i].contains(item)), None)


def _compressed(model: UFM, point: Point) -> Point:
    space = row_space(model, point)
    return space.point if space.rank else point
