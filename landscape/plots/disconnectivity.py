"""The disconnectivity graph: minima hang from the barriers at which their basins join."""

from __future__ import annotations

from itertools import cycle

from matplotlib.axes import Axes
from matplotlib.ticker import NullLocator

from landscape.flows.basins import Tree
from landscape.plots.ladder import short_label
from landscape.plots.style import (
    BLUE,
    FAINT,
    GREEN,
    INK,
    ORANGE,
    PURPLE,
    RED,
    SKY,
    spread,
)

COLOURS = (BLUE, ORANGE, GREEN, PURPLE, SKY, RED)
# Room below the lowest minimum, for the line above the highest barrier, and for the legend above
# that line: shares of the height between minimum and barrier.
BELOW, STEM, ABOVE = 0.08, 0.07, 0.3
# Names of barriers: their type size in points, and the distance of two of them in lines.
FONTSIZE, LINES = 7.0, 1.2


def draw_disconnectivity(tree: Tree, ax: Axes, title: str = "") -> Axes:
    """Each minimum is a line from its objective up to the barrier where its basin joins others.

    Bars are at the heights of the saddles of index 1 that are named on the right. Colours tell the
    orbits of the minima; the legend has their symmetry and the number of their matrices Z.
    Source: after Becker & Karplus (1997).

    Args:
        tree: from ``landscape.flows.basins.disconnectivity``.
        ax: where to draw.
        title: heading.
    """
    heights = [tree.height(node) for node in range(len(tree.leaves) + len(tree.merges))]
    low, high = min(heights), max(heights)
    span = high - low or 0.1 * (abs(low) or 1.0)  # a single minimum has no barrier
    ax.set_ylim(low - BELOW * span, high + ABOVE * span)
    ax.set_xlim(-0.7, len(tree.leaves) - 0.3)
    ax.xaxis.set_major_locator(NullLocator())
    ax.set_xlabel("minima, modulo rotations")
    ax.set_ylabel("objective")
    ax.set_title(title)

    x = {leaf: float(place) for place, leaf in enumerate(_from_left(tree))}
    upper = dict.fromkeys(tree.roots, high + STEM * span)
    for node, merge in enumerate(tree.merges, start=len(tree.leaves)):
        ends = [x[child] for child in merge.children]
        x[node] = (min(ends) + max(ends)) / 2
        upper |= dict.fromkeys(merge.children, merge.objective)
        ax.plot([min(ends), max(ends)], [merge.objective] * 2, color=INK, lw=1.2, zorder=2)
    colours = dict(zip(sorted({leaf.orbit for leaf in tree.leaves}), cycle(COLOURS), strict=False))
    for node, height in enumerate(heights):
        colour = colours[tree.leaves[node].orbit] if node < len(tree.leaves) else INK
        ax.plot([x[node]] * 2, [height, upper[node]], color=colour, lw=1.2, zorder=3)
    for orbit, colour in colours.items():
        places = [
            (x[k], leaf.objective) for k, leaf in enumerate(tree.leaves) if leaf.orbit == orbit
        ]
        name = f"{short_label(tree.atlas.orbits[orbit].label)} ×{len(places)}"
        ax.plot(*zip(*places, strict=True), "o", ms=3.5, color=colour, label=name, zorder=4)
    ax.legend(loc="upper left", ncols=2, fontsize=FONTSIZE, borderpad=0.1, handletextpad=0.2)
    _name_barriers(tree, ax)
    return ax


def _from_left(tree: Tree) -> list[int]:
    """The leaves in an order in which those of every node are neighbours."""
    found, waiting = list[int](), list(reversed(tree.roots))
    while waiting:
        node = waiting.pop()
        if node < len(tree.leaves):
            found.append(node)
        else:
            waiting += reversed(tree.merges[node - len(tree.leaves)].children)
    return found


def _name_barriers(tree: Tree, ax: Axes) -> None:
    """The symmetry of every saddle that is a barrier, at its height."""
    figure = ax.figure.canvas.figure
    figure.draw_without_rendering()
    low, high = ax.get_ylim()
    points = 72 / figure.dpi * ax.get_window_extent().height
    barriers = sorted({(merge.objective, merge.saddle) for merge in tree.merges})
    gap = LINES * FONTSIZE * (high - low) / points
    wanted = [objective for objective, _ in barriers]
    for (objective, saddle), place in zip(barriers, spread(wanted, gap), strict=True):
        ax.axhline(objective, color=FAINT, lw=0.5, ls=":", zorder=1)
        ax.annotate(
            short_label(tree.atlas.orbits[saddle].label),
            (1.0, place),
            (3, 0),
            xycoords=("axes fraction", "data"),
            textcoords="offset points",
            va="center",
            fontsize=FONTSIZE,
            annotation_clip=False,
        )
