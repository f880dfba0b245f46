"""The pathway diagram: from which critical point the gradient flow leads to which, by index."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from itertools import pairwise, product

import networkx
import numpy as np
from matplotlib.axes import Axes
from matplotlib.legend import Legend
from matplotlib.lines import Line2D
from matplotlib.offsetbox import AnnotationBbox, OffsetImage
from matplotlib.patches import FancyArrowPatch
from matplotlib.path import Path
from matplotlib.patheffects import withStroke
from matplotlib.ticker import FixedLocator, NullLocator
from scipy.optimize import isotonic_regression

from landscape.atlas.orbit import Orbit
from landscape.flows.connections import Connections
from landscape.plots.gram import COLOURS, canonical_order
from landscape.plots.ladder import explained, marker_area, short_label
from landscape.plots.style import FAINT, INK, RANK_COLOURS, RANK_MARKERS, RED
from ufm.typing import Array

# A place in a layer: an orbit, or where the arrow (source, target) passes the layer (row).
Stop = int | tuple[int, int, int]
# Type sizes tried for the labels, in points; nothing smaller is legible in print.
SIZES = (8.0, 7.0, 6.0)
# Free space around a node, and around an arrow that passes, in points.
PADDING, LANE = 4.0, 3.5
# Side of a thumbnail in points, and at most this share of the distance between layers.
THUMBNAIL, SHARE = 20.0, 0.8
# Layers are stretched to this share of the width, but not more than so many times.
FILLED, STRETCH = 0.96, 2.0
# How far the control points of a curve reach across the distance of two layers: arrows are close to
# vertical where they pass a layer, and run sideways between layers.
UPRIGHT = 0.7
# What the arrows and the thumbnails mean, below the diagram.
READING = "red: fastest way down; faint: implied by others"
SIGNS = "images: Z, blue positive, orange negative"
# Sweeps down and up of the barycentre heuristic; orders settle after a few.
SWEEPS = 24


def draw_pathway(
    connections: Connections, ax: Axes, title: str = "", *, thumbnails: bool = False
) -> Axes:
    """Orbits in layers of equal index, arrows along the gradient flow, the origin on top.

    Colour and marker tell the rank, the area the number of matrices Z. Arrows that a chain of
    others implies are faint; red ones are ``Connections.steepest_path``. The layout is made for the
    size that the axes have now. Where labels do not fit, orbit sizes are left out of them, then
    numbers take their place: positions in ``atlas.orbits``, lowest first.
    Source: layered drawings after Sugiyama, Tagawa & Toda (1981).

    Args:
        connections: what to draw.
        ax: where.
        title: heading.
        thumbnails: draw Z beside every node in the colours of ``draw_gram``, on one scale; for few
            orbits.
    """
    graph = connections.graph()
    orbits = {i: connections.atlas.orbits[i] for i in graph}
    indices = sorted({graph.nodes[i]["index"] for i in graph})
    rows: dict[Stop, int] = {i: indices.index(graph.nodes[i]["index"]) for i in graph}
    names = [short_label(orbit.label) for orbit in orbits.values()]
    notes = [READING, *explained(names), *([SIGNS] if thumbnails else [])]
    legend = _dressed(ax, indices, sorted({orbit.rank for orbit in orbits.values()}), title, notes)
    figure = ax.figure.canvas.figure
    figure.draw_without_rendering()
    frame, point = ax.get_window_extent(), figure.dpi / 72
    wide, step = frame.width / point, frame.height / point / (len(indices) + 0.2)
    side = min(THUMBNAIL, SHARE * step) if thumbnails else 0.0
    radii = {i: float(np.sqrt(marker_area(orbit.count))) / 2 for i, orbit in orbits.items()}
    # Layers that the legend covers begin on its right.
    corner = ax.transData.inverted().transform(legend.get_window_extent().get_points()[1])
    begins = [float(corner[0]) if row - 0.5 < corner[1] else 0.0 for row in range(len(indices))]

    path = list(pairwise(connections.steepest_path))
    routed = networkx.transitive_reduction(graph)
    routed.add_edges_from(path)
    routes = {(one, other): _route(one, other, rows) for one, other in routed.edges}
    rows |= {stop: stop[2] for route in routes.values() for stop in route[1:-1]}  # type: ignore[index]
    room = {stop: np.array([LANE, LANE]) / wide for stop in rows}
    for i, radius in radii.items():
        room[i] = (np.array([radius + side, radius]) + PADDING) / wide
    labels, fontsize, room = _labels(orbits, rows, room, begins, ax)
    x = _columns(routes, rows, room, begins)

    for edge in graph.edges:
        strong, plain = edge in path, edge in routes
        ax.add_patch(
            FancyArrowPatch(
                path=_curve(
                    [(x[stop], rows[stop]) for stop in routes.get(edge, edge)],
                    [(radii[i] + 0.5) / step for i in edge],
                ),
                arrowstyle="-|>",
                mutation_scale=7 if strong else 5,
                color=RED if strong else INK if plain else FAINT,
                fill=True,
                lw=1.5 if strong else 0.6 if plain else 0.3,
                alpha=1.0 if strong else 0.6 if plain else 0.3,
                zorder=2.5 if strong else 2.0 if plain else 1.5,
            )
        )
    for i, orbit in orbits.items():
        ax.scatter(
            [x[i]],
            [rows[i]],
            s=marker_area(orbit.count),
            c=RANK_COLOURS[orbit.rank % len(RANK_COLOURS)],
            marker=RANK_MARKERS[orbit.rank % len(RANK_MARKERS)],
            edgecolors=INK,
            linewidths=0.6,
            zorder=4,
        )
        ax.annotate(
            labels[i],
            (x[i], rows[i]),
            (radii[i] + 0.6 * PADDING, 0),
            textcoords="offset points",
            fontsize=fontsize,
            va="center",
            zorder=5,
            path_effects=[withStroke(linewidth=2, foreground="white")],
        )
    if side:
        largest = max(float(np.abs(orbit.Z).max()) for orbit in orbits.values())
        for i, orbit in orbits.items():
            offset = -radii[i] - 0.4 * PADDING - side / 2
            ax.add_artist(_thumbnail(orbit, largest, side, (x[i], rows[i]), offset))
    return ax


def _dressed(
    ax: Axes, indices: Sequence[int], ranks: Sequence[int], title: str, notes: Sequence[str]
) -> Legend:
    """Axes with a layer for every index that occurs, the legend, and how to read the names."""
    ax.set_xlim(0, 1)
    ax.set_ylim(-0.6, len(indices) - 0.4)
    ax.yaxis.set_major_locator(FixedLocator(range(len(indices))))
    ax.set_yticklabels([str(index) for index in indices])
    ax.xaxis.set_major_locator(NullLocator())
    ax.set_ylabel("index (negative Hessian eigenvalues)")
    ax.set_xlabel("\n".join(notes), fontsize=6.5)
    ax.set_title(title)
    handles = [
        Line2D(
            [],
            [],
            ls="",
            marker=RANK_MARKERS[rank % len(RANK_MARKERS)],
            color=RANK_COLOURS[rank % len(RANK_COLOURS)],
            mec=INK,
            mew=0.6,
            ms=np.sqrt(marker_area(3)),
            label=f"{rank}",
        )
        for rank in ranks
    ]
    return ax.legend(
        handles=handles,
        title="rank of Z\narea: number of Z",
        loc="lower left",
        ncols=2,
        title_fontsize=6.5,
        fontsize=7,
        handletextpad=0.1,
        columnspacing=0.8,
        labelspacing=0.3,
        borderpad=0.1,
    )


def _route(source: int, target: int, rows: Mapping[Stop, int]) -> list[Stop]:
    """The places through which an arrow passes from layer to layer."""
    between = range(rows[source] - 1, rows[target], -1)
    return [source, *((source, target, row) for row in between), target]


def _labels(
    orbits: Mapping[int, Orbit],
    rows: Mapping[Stop, int],
    room: Mapping[Stop, Array],
    begins: Sequence[float],
    ax: Axes,
) -> tuple[dict[int, str], float, dict[Stop, Array]]:
    """Labels, their type size and the room (left, right) of every stop, such that all rows fit.

    Room that is left over in the fullest row is shared out.
    """
    names = {i: short_label(orbit.label) for i, orbit in orbits.items()}
    sizes = {i: f" ×{orbit.count}" if orbit.count > 1 else "" for i, orbit in orbits.items()}
    full = {i: names[i] + sizes[i] for i in orbits}
    free = FILLED - np.array(begins)
    for labels, fontsize in product((full, names, {i: str(i) for i in orbits}), SIZES):
        used = dict(room)
        for i, text in labels.items():
            drawn = ax.text(0, 0, text, fontsize=fontsize)
            width = drawn.get_window_extent().width / ax.get_window_extent().width
            drawn.remove()
            used[i] = room[i] + np.array([0.0, width])
        need = np.bincount([rows[stop] for stop in used], [np.sum(used[stop]) for stop in used])
        spare = float(np.min(free / need))
        if spare >= 1:
            break
    stretch = min(spare, STRETCH)
    return labels, fontsize, {stop: stretch * both for stop, both in used.items()}


def _columns(
    routes: Mapping[tuple[int, int], Sequence[Stop]],
    rows: Mapping[Stop, int],
    room: Mapping[Stop, Array],
    begins: Sequence[float],
) -> dict[Stop, float]:
    """Where stops stand in their rows: near their neighbours, in the order of fewest crossings."""
    steps = [pair for route in routes.values() for pair in pairwise(route)]
    lanes = networkx.DiGraph(steps)
    layers = [[stop for stop in rows if rows[stop] == row] for row in range(len(begins))]
    x = dict.fromkeys(rows, 0.5)
    best, fewest = x, np.inf
    for sweep in range(SWEEPS):
        down = sweep % 2 == 0
        for row in reversed(range(len(layers))) if down else range(len(layers)):
            wanted = {}
            for stop in layers[row]:
                near = [*lanes.predecessors(stop)] if down else [*lanes.successors(stop)]
                wanted[stop] = float(np.mean([x[other] for other in near or [stop]]))
            x |= _packed(wanted, room, begins[row])
        crossings = _crossings(steps, rows, x)
        if crossings < fewest:
            best, fewest = dict(x), crossings
    return best


def _packed(
    wanted: Mapping[Stop, float], room: Mapping[Stop, Array], begin: float
) -> dict[Stop, float]:
    """Places in (begin, 1) close to the wanted ones, in their order and without overlap."""
    order = sorted(wanted, key=lambda stop: wanted[stop])
    gaps = [room[one][1] + room[other][0] for one, other in pairwise(order)]
    offsets = np.cumsum([0.0, *gaps])
    free = isotonic_regression(np.array([wanted[stop] for stop in order]) - offsets).x
    last = 1 - room[order[-1]][1] - offsets[-1]
    places = np.clip(free, min(begin + room[order[0]][0], last), last) + offsets
    return dict(zip(order, places.tolist(), strict=True))


def _crossings(
    steps: Sequence[tuple[Stop, Stop]], rows: Mapping[Stop, int], x: Mapping[Stop, float]
) -> int:
    """Pairs of steps between the same layers that cross."""
    row = np.array([rows[source] for source, _ in steps])
    above, below = (np.array([x[step[end]] for step in steps]) for end in (0, 1))
    apart = np.subtract.outer(above, above) * np.subtract.outer(below, below) < 0
    return int(np.sum(apart & np.equal.outer(row, row))) // 2


def _curve(stops: Sequence[tuple[float, float]], trimmed: Sequence[float]) -> Path:
    """A smooth way down through all stops, vertical at each; its ends keep clear of the markers."""
    places = np.array(stops, dtype=np.float64)
    places[0, 1] -= trimmed[0]
    places[-1, 1] += trimmed[1]
    vertices = [places[0]]
    for one, other in pairwise(places):
        reach = np.array([0.0, UPRIGHT * (other[1] - one[1])])
        vertices += [one + reach, other - reach, other]
    return Path(vertices, [Path.MOVETO] + [Path.CURVE4] * (len(vertices) - 1))


def _thumbnail(
    orbit: Orbit, largest: float, side: float, place: tuple[float, float], offset: float
) -> AnnotationBbox:
    """Z on a scale from -largest to largest, classes in ``canonical_order``."""
    order = canonical_order(orbit)
    shares = (orbit.Z[np.ix_(order, order)] / max(largest, 1e-300) + 1) / 2
    zoom = side / len(shares)
    image = OffsetImage(COLOURS(shares), zoom=zoom, interpolation="nearest")
    return AnnotationBbox(
        image,
        place,
        (offset, 0),
        boxcoords="offset points",
        pad=0.05,
        bboxprops={"lw": 0.4, "ec": FAINT},
        zorder=3,
    )
