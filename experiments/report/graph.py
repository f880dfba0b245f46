"""What rests on what: claims in layers, each to the right of those that its proof uses."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise

import networkx as nx

from experiments.report.view import Card

# Pixels: a letter of a label, its row, an edge that passes a layer, the gap between layers.
LETTER, ROW, LANE, GAP, PAD = 7.0, 27.0, 9.0, 54.0, 9.0
# Sweeps over the layers, each sorting one by the middle of its neighbours.
SWEEPS = 12


@dataclass(frozen=True)
class Box:
    """A claim in the drawing: where, and what it says."""

    card: Card
    x: float
    y: float
    width: float
    height: float = ROW - 7


@dataclass(frozen=True)
class Edge:
    """A curve from a claim to one that uses it."""

    used: str
    user: str
    path: str


@dataclass(frozen=True)
class Drawing:
    """Boxes and curves, and the size of the whole in pixels."""

    boxes: tuple[Box, ...]
    edges: tuple[Edge, ...]
    width: float
    height: float


def dependencies(cards: Iterable[Card]) -> nx.DiGraph:
    """The graph with an edge from every claim that is shown to each that uses it.

    A circle, which proofs have none of but a user's file may, is opened at its last edge.

    Example:
        >>> dependencies([]).number_of_nodes()
        0
    """
    graph = nx.DiGraph()
    shown = {card.outcome.claim.id: card for card in cards}
    for name, card in shown.items():
        graph.add_node(name, card=card)
    for name, card in shown.items():
        for used in card.outcome.claim.uses:
            if used in shown and used != name and not nx.has_path(graph, name, used):
                graph.add_edge(used, name)
    return graph


def components(graph: nx.DiGraph) -> list[nx.DiGraph]:
    """The connected parts with an edge, the largest first, without edges that others imply."""
    parts = [part for part in nx.weakly_connected_components(graph) if len(part) > 1]
    found = []
    for part in sorted(parts, key=lambda part: (-len(part), min(part))):
        reduced = nx.transitive_reduction(graph.subgraph(part))
        reduced.add_nodes_from((name, graph.nodes[name]) for name in part)
        found.append(reduced)
    return found


def neighbourhood(graph: nx.DiGraph, name: str) -> nx.DiGraph:
    """A claim with those it uses and those that use it."""
    near = [*graph.predecessors(name), name, *graph.successors(name)]
    edges = [(a, b) for a, b in graph.edges if name in (a, b) and a in near and b in near]
    found = nx.DiGraph()
    found.add_nodes_from((each, graph.nodes[each]) for each in near)
    found.add_edges_from(edges)
    return found


def drawing(graph: nx.DiGraph) -> Drawing:
    """Place the claims of an acyclic graph.

    Sugiyama's way: layers by the longest path, long edges through a lane in every layer between,
    each layer sorted by its neighbours, rows moved towards them.
    """
    level = {
        name: depth for depth, layer in enumerate(nx.topological_generations(graph))
        for name in layer
    }  # fmt: skip
    # A claim that uses little stands next to the first that uses it, not far to its left.
    for name in reversed(list(nx.topological_sort(graph))):
        after = [level[other] for other in graph.successors(name)]
        if after:
            level[name] = min(after) - 1
    chains = {
        (a, b): [a, *((a, b, depth) for depth in range(level[a] + 1, level[b])), b]
        for a, b in graph.edges
    }
    layers = _layers(graph, level, chains)
    rows = _rows(layers, chains.values())
    return _placed(graph, layers, rows, chains)


def _layers(
    graph: nx.DiGraph, level: Mapping[str, int], chains: Mapping[tuple[str, str], Sequence[object]]
) -> list[list[object]]:
    depth = max(level.values(), default=-1) + 1
    layers: list[list[object]] = [[] for _ in range(depth)]
    for name in sorted(graph, key=lambda name: (level[name], name)):
        layers[level[name]].append(name)
    for (used, _), chain in sorted(chains.items()):
        for step, lane in enumerate(chain[1:-1], start=level[used] + 1):
            layers[step].append(lane)
    return layers


def _rows(
    layers: list[list[object]], chains: Iterable[Sequence[object]]
) -> dict[object, float]:  # fmt: skip
    """The middle of every box and lane; sorts the layers on the way."""
    left: dict[object, list[object]] = {}
    right: dict[object, list[object]] = {}
    for chain in chains:
        for a, b in pairwise(chain):
            right.setdefault(a, []).append(b)
            left.setdefault(b, []).append(a)
    rows = {node: float(i) * ROW for layer in layers for i, node in enumerate(layer)}

    def wish(node: object, beside: Mapping[object, list[object]]) -> float:
        near = beside.get(node, [])
        return sum(rows[other] for other in near) / len(near) if near else rows[node]

    for sweep in range(SWEEPS):
        beside, order = (left, layers) if sweep % 2 == 0 else (right, layers[::-1])
        for layer in order:
            wishes = {node: wish(node, beside) for node in layer}
            layer.sort(key=lambda node: wishes[node])
            rows.update(_spread(layer, wishes))
    return rows


def _spread(layer: Sequence[object], wishes: Mapping[object, float]) -> dict[object, float]:
    """Places in this order as near to the wishes as rows allow: least squares, by pooling."""
    offsets, place = [], 0.0
    for before, node in zip([None, *layer], layer, strict=False):
        place += (_size(before) + _size(node)) / 2 if before is not None else 0.0
        offsets.append(place)
    # Wishes less the offsets have to increase: neighbours that do not are pooled to their mean.
    pools: list[tuple[float, int]] = []
    for node, offset in zip(layer, offsets, strict=True):
        pools.append((wishes[node] - offset, 1))
        while len(pools) > 1 and pools[-2][0] >= pools[-1][0]:
            (a, m), (b, n) = pools[-2:]
            pools[-2:] = [((m * a + n * b) / (m + n), m + n)]
    shifts = [mean for mean, count in pools for _ in range(count)]
    return {n: s + o for n, s, o in zip(layer, shifts, offsets, strict=True)}


def _size(node: object) -> float:
    return ROW if isinstance(node, str) else LANE


def _placed(
    graph: nx.DiGraph,
    layers: Sequence[Sequence[object]],
    rows: Mapping[object, float],
    chains: Mapping[tuple[str, str], Sequence[object]],
) -> Drawing:
    top = min(rows.values(), default=0.0) - ROW / 2
    width_of: Callable[[str], float] = lambda name: LETTER * len(name) + 2 * PAD  # noqa: E731
    start: dict[object, float] = {}
    end: dict[object, float] = {}
    x = 2.0
    for layer in layers:
        widest = max((width_of(node) for node in layer if isinstance(node, str)), default=0.0)
        for node in layer:
            start[node] = x
            end[node] = x + (width_of(node) if isinstance(node, str) else widest)
        x += widest + GAP
    boxes = tuple(
        Box(
            graph.nodes[name]["card"],
            start[name],
            round(rows[name] - top - (ROW - 7) / 2, 1),
            round(end[name] - start[name], 1),
        )
        for layer in layers
        for name in layer
        if isinstance(name, str)
    )
    edges = []
    for (used, user), chain in chains.items():
        here = end[used], rows[used] - top
        path = [f"M{here[0]:.1f} {here[1]:.1f}"]
        for node in chain[1:]:
            there = start[node], rows[node] - top
            middle = (here[0] + there[0]) / 2
            path.append(
                f"C{middle:.1f} {here[1]:.1f} {middle:.1f} {there[1]:.1f} "
                f"{there[0]:.1f} {there[1]:.1f}"
            )
            here = end[node], rows[node] - top
            if not isinstance(node, str):
                path.append(f"H{here[0]:.1f}")
        edges.append(Edge(used, user, " ".join(path)))
    bottom = max(rows.values(), default=0.0) - top + ROW / 2
    return Drawing(boxes, tuple(edges), round(x - GAP + 2), round(bottom))
