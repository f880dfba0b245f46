"""The bifurcation diagram: every branch of critical points against the decay c."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from itertools import pairwise
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.lines import Line2D
from matplotlib.ticker import FuncFormatter, LogLocator, NullFormatter
from matplotlib.transforms import offset_copy

from landscape.branches.continuation import Branch
from landscape.branches.curve import Station, hermite
from landscape.branches.diagram import BranchDiagram, orbit_of
from landscape.branches.events import Kind
from landscape.plots.ladder import short_label
from landscape.plots.placement import within_bounds
from landscape.plots.style import FAINT, INK, RANK_COLOURS, spread
from ufm.decay import penalty
from ufm.typing import Array

Share = Callable[..., Array]
Piece = tuple[Station, Station]
MARKERS = {Kind.BIRTH: "o", Kind.SYMMETRY_BREAKING: "^", Kind.FOLD: "s"}
NAMES = {Kind.BIRTH: "birth", Kind.SYMMETRY_BREAKING: "symmetry breaking", Kind.FOLD: "fold"}
# Points drawn per piece between stations.
FINE = 16
# A descent below this part of the objective of the origin is not divided by: there
# c is within a few per cent of the threshold, and lines between points are not exact enough.
FLAT = 3e-4
# Rounding of the objective, which is constant along the branch of the origin.
SLACK = 1e-12
# Type of the labels in points, the distance between them in units of it, and the part of the
# height that they may fill: more would take them far from their branches.
LARGEST_TYPE, SMALLEST_TYPE, LINE_HEIGHT, FILLED = 8.0, 4.0, 1.4, 0.8
# Points from the axes to the labels, and from the axes to the legend below the label of c.
LEADER, BELOW = 14.0, 32.0
# Inches per decade of c from which the ticks are 1, 2, 5 and not the decades alone.
ROOMY = 1.5


def draw_bifurcation(diagram: BranchDiagram, ax: Axes, title: str = "") -> Axes:
    """Branches in c: the share of the descent from the origin to the lowest branch.

    Height: (f_origin - f) / (f_origin - f_lowest) at the same c, 0 for the origin and 1 for the
    global minimum if it was followed. Colour: rank of W H. Thick lines are minima in every feature
    dimension (range index and overshoot 0), thin lines saddles in some: dashes of branches that
    lie on each other would add up to a solid line. Labels name the orbits at the smallest c; they
    are as large as the height of the axes allows.

    Args:
        diagram: from ``branches`` or ``grow``.
        ax: where to draw, in its final size.
        title: heading.

    Example:
        >>> from matplotlib.figure import Figure
        >>> from landscape.atlas import atlas
        >>> from landscape.branches.diagram import branches
        >>> from ufm import UFM, CrossEntropy
        >>> found = atlas(UFM(CrossEntropy(), 3, 2, lambda_W=0.02, lambda_H=0.02))
        >>> ax = draw_bifurcation(branches(found, 0.05, 1.2), Figure().subplots())
        >>> ax.get_xscale(), len(ax.get_legend().get_texts())
        ('log', 6)
    """
    share = _share(diagram)
    for number, branch in enumerate(diagram.branches):
        for solid, pieces in _runs(diagram, number):
            log_c, objective = _fine(branch, pieces)
            height = share(log_c, objective, branch.rank == 0)
            ax.plot(np.exp(log_c), height, color=_colour(branch.rank), **_line(solid))
    for event in diagram.events:
        height = share(np.array([np.log(event.c)]), np.array([event.objective]))
        if np.isnan(height[0]):  # where the descent begins: all shares meet in the origin
            ax.plot([event.c, event.c], [0, 1], ":", color=FAINT, lw=1.0, zorder=1)
            height = np.zeros(1)
        ax.plot([event.c], height, **_marker(event.kind))
    ax.set_xscale("log")
    ax.set_xlim(diagram.low, diagram.high)
    ax.set_ylim(-0.05, 1.05)
    decades = np.log10(diagram.high / diagram.low)
    inches = ax.get_window_extent().width / ax.figure.dpi / decades
    ax.xaxis.set_major_locator(LogLocator(subs=(1, 2, 5) if inches > ROOMY else (1,)))
    ax.xaxis.set_major_formatter(FuncFormatter(lambda c, _: f"{c:g}"))
    ax.xaxis.set_minor_formatter(NullFormatter())
    ax.yaxis.tick_right()
    ax.yaxis.set_label_position("right")
    ax.set_xlabel(r"weight decay $c=\sqrt{KN\lambda_W\lambda_H}$")
    ax.set_ylabel(r"$(f_0-f)\,/\,(f_0-f_{\min})$,   $f_0$: origin")
    ax.set_title(title)
    _legend(diagram, ax)
    ax.figure.canvas.figure.draw_without_rendering()  # a layout may change the height
    _label(diagram, ax, share)
    return ax


def _colour(rank: int) -> str:
    return RANK_COLOURS[rank % len(RANK_COLOURS)]


def _share(diagram: BranchDiagram) -> Share:
    """(log c, f, whether it is the origin) -> share of the descent to the lowest branch, or NaN."""
    runs = [run for branch in diagram.branches for run in _monotone(*_fine(branch, branch.pieces))]
    origins = [branch for branch in diagram.branches if not branch.rank]
    if origins:
        top = float(origins[0].objective[0])  # constant along the branch
    else:
        top = float(diagram.model.objective(diagram.model.origin()))

    def share(log_c: Array, objective: Array, origin: bool = False) -> Array:
        levels = [np.interp(log_c, *run, left=np.inf, right=np.inf) for run in runs]
        depth = top - np.min(levels, axis=0)
        known, low = depth > FLAT * abs(top), top - objective
        # Above the collapse threshold there is no descent: the origin alone is left.
        alone = np.where(origin, 0.0, np.nan)
        return np.where(known, low / np.where(known, depth, 1.0), alone)

    return share


def _monotone(log_c: Array, objective: Array) -> list[tuple[Array, Array]]:
    """A curve in pieces along each of which log c increases."""
    ahead = np.sign(np.diff(log_c))
    cuts = np.flatnonzero(ahead[1:] != ahead[:-1]) + 1
    runs = []
    for first, last in pairwise([0, *cuts.tolist(), len(log_c) - 1]):
        order = slice(first, last + 1)
        x, y = log_c[order], objective[order]
        runs.append((x, y) if x[0] < x[-1] else (x[::-1], y[::-1]))
    return runs


def _runs(diagram: BranchDiagram, number: int) -> list[tuple[bool, list[Piece]]]:
    """Pieces of a branch, cut where it begins or ceases to be a minimum."""
    branch = diagram.branches[number]
    known = {id(s): s.range_index == 0 and s.overshoot == 0 for s in branch.stations}
    events = [e.station for e in diagram.events if e.parent == number and e.kind is not Kind.FOLD]
    runs: list[tuple[bool, list[Piece]]] = []
    for one, other in branch.pieces:
        inside = [s for s in events if _is_between(s, one, other)]
        inside.sort(key=lambda s: s.log_c, reverse=other.log_c < one.log_c)
        for piece in pairwise([one, *inside, other]):
            # At events, folds and ends an eigenvalue is zero: the other end of the piece tells.
            solid = all(known.get(id(s), True) for s in piece) and any(
                id(s) in known for s in piece
            )
            if not runs or runs[-1][0] != solid:
                runs.append((solid, []))
            runs[-1][1].append(piece)
    return runs


def _is_between(station: Station, one: Station, other: Station) -> bool:
    """Whether an event of a branch lies in a piece: f grows with c along it."""
    low, high = (one, other) if one.log_c < other.log_c else (other, one)
    across = low.log_c < station.log_c < high.log_c
    return across and low.objective - SLACK <= station.objective <= high.objective + SLACK


def _fine(branch: Branch, pieces: Sequence[Piece]) -> tuple[Array, Array]:
    """log c and f along neighbouring pieces, by cubics.

    In arclength where c may turn; towards an end, where f is an even function of it, in log c.
    """
    meetings = [end.meeting for end in (branch.first, branch.last) if end.meeting is not None]
    log_c, objective = [], []
    for one, other in pieces:
        straight = any(s is end for s in (one, other) for end in meetings)
        width = other.log_c - one.log_c
        length = float(np.linalg.norm(other.y - one.y))
        start, end = (
            _decay(branch, s) * (width if straight else length * float(s.tangent[-1]))
            for s in (one, other)
        )
        for t in np.arange(FINE) / FINE:
            value = one.objective + t**2 * (3 - 2 * t) * (other.objective - one.objective)
            curved = float(hermite(one, other, t)[0][-1])
            log_c.append(one.log_c + t * width if straight else curved)
            objective.append(value + t * (1 - t) ** 2 * start - t**2 * (1 - t) * end)
    last = pieces[-1][1]
    return np.array([*log_c, last.log_c]), np.array([*objective, last.objective])


def _decay(branch: Branch, station: Station) -> float:
    """df / dlog c: the weight decay part of f, as the point is critical."""
    model, (W, H, _) = branch.curve.model_at(station.log_c), station.point
    return float(penalty(model.lambda_W, np.sum(W**2)) + penalty(model.lambda_H, np.sum(H**2)))


def _label(diagram: BranchDiagram, ax: Axes, share: Share) -> None:
    """The names of the orbits at the smallest c, spread over the left margin."""
    names, heights, colours = list[str](), list[float](), list[str]()
    for branch in diagram.branches:
        for station in branch.at(diagram.low):
            names.append(short_label(orbit_of(branch.curve, station).label))
            drawn = share(np.array([station.log_c]), np.array([station.objective]), not branch.rank)
            heights.append(float(drawn[0]))
            colours.append(_colour(branch.rank))
    if not names:
        return
    points = 72 / ax.figure.dpi * ax.get_window_extent().height
    room = FILLED * points / LINE_HEIGHT / len(names)
    size = float(np.clip(room, SMALLEST_TYPE, LARGEST_TYPE))
    low, high = ax.get_ylim()
    gap = LINE_HEIGHT * size / points * (high - low)
    places = within_bounds(spread(heights, gap), gap, low, high)
    figure, edge = ax.figure.canvas.figure, ax.get_yaxis_transform()
    margin = offset_copy(edge, figure, x=-LEADER, units="points")
    line = {"arrowstyle": "-", "lw": 0.7, "shrinkA": 1.5, "shrinkB": 0}
    line |= {"relpos": (1, 0.5), "patchA": None}
    for name, height, place, colour in zip(names, heights, places, colours, strict=True):
        ax.annotate(
            name,
            (0, height),
            (0, place),
            xycoords=edge,
            textcoords=margin,
            fontsize=size,
            ha="right",
            va="center",
            annotation_clip=False,
            arrowprops={"color": colour, **line},
        )


def _legend(diagram: BranchDiagram, ax: Axes) -> None:
    """Ranks, kinds of events, and what the line styles mean; below the axes."""
    entries = [
        Line2D([], [], color=_colour(rank), lw=1.6, label=f"rank {rank}")
        for rank in sorted({branch.rank for branch in diagram.branches})
    ]
    for solid, name in ((True, "minimum for all d"), (False, "saddle for some d")):
        entries.append(Line2D([], [], color=FAINT, label=name, **_line(solid)))
    shown = {event.kind for event in diagram.events}
    for kind in (kind for kind in Kind if kind in shown):
        entries.append(Line2D([], [], label=NAMES[kind], **_marker(kind)))
    ax.legend(
        handles=entries,
        loc="upper center",
        bbox_to_anchor=(0.5, 0),
        bbox_transform=offset_copy(ax.transAxes, ax.figure.canvas.figure, y=-BELOW, units="points"),
        ncols=3,
        fontsize=7,
        columnspacing=1.0,
        handlelength=1.8,
    )


def _line(solid: bool) -> dict[str, Any]:
    if solid:
        return {"ls": "-", "lw": 2.8, "zorder": 3}
    return {"ls": "-", "lw": 0.8, "zorder": 2}


def _marker(kind: Kind) -> dict[str, Any]:
    marker = {"color": "white", "mec": INK, "mew": 0.9, "ms": 4.5, "zorder": 4}
    return {"ls": "", "marker": MARKERS[kind], **marker}
