"""The saddle ladder: objective against index of every orbit of an atlas."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import cast

import numpy as np
from matplotlib.axes import Axes
from matplotlib.collections import PathCollection
from matplotlib.legend import Legend
from matplotlib.ticker import MaxNLocator

from landscape.atlas import Atlas
from landscape.plots.placement import Spot, list_labels, place_labels
from landscape.plots.style import FAINT, INK, RANK_COLOURS, RANK_MARKERS
from ufm.errors import InputError

# Up to this many rungs labels have the type size of tick labels; beyond, the smallest that prints.
FEW = 12
# Share of the index range left free on either side, for labels.
MARGIN = 0.09
# From the axes down to what the words in the labels mean, in points.
BELOW = 30.0
# A continuum is drawn as large as this many matrices Z.
CONTINUUM = 1000


@dataclass(frozen=True)
class LadderPoint:
    """One orbit of critical points under rotations and class permutations.

    Attributes:
        objective: value there.
        index: number of negative Hessian eigenvalues in the model's dimension.
        rank: rank of W H.
        count: number of matrices Z = W H in the orbit; None for a continuum.
        label: which classes share a code ("2|1|1"), or the name of the code.
        hits: how often the search found it.
    """

    objective: float
    index: int
    rank: int
    count: int | None
    label: str
    hits: int = 1


def ladder_points(found: Atlas, d: int) -> tuple[LadderPoint, ...]:
    """The rungs of an atlas in dimension d: every orbit that fits, with its index there.

    Args:
        found: an atlas.
        d: feature dimension.

    Returns:
        Orbits in ascending order of objective.

    Example:
        >>> from landscape.atlas import atlas
        >>> from ufm import UFM, CrossEntropy
        >>> model = UFM(CrossEntropy(), 3, 3, lambda_W=0.02, lambda_H=0.02)
        >>> points = ladder_points(atlas(model), 3)
        >>> points[0].label, points[0].index, points[-1].label
        ('simplex ETF', 0, 'origin')
    """
    return tuple(
        LadderPoint(
            o.objective,
            o.index(d),
            o.rank,
            None if o.is_continuum else o.count,
            short_label(o.label),
            o.hits,
        )
        for o in found.orbits
        if o.rank <= d
    )


def short_label(label: str) -> str:
    """The symmetry of an orbit in a word or two, for the margin of a diagram.

    Example:
        >>> short_label("merged 2|1|1 (rank 1, order 2)"), short_label("symmetry of order 6")
        ('2|1|1', 'order 6')
    """
    return label.split(" (")[0].removeprefix("merged ").removeprefix("symmetry of ")


def explained(labels: Sequence[str]) -> list[str]:
    """What the words in short labels mean, a line for each kind of word that occurs.

    Example:
        >>> explained(["simplex ETF", "order 6", "2|1|1"])
        ['2|1|1: sizes of merged classes', 'order n: n relabellings leave Z as it is']
    """
    met = " ".join(labels)
    lines = []
    merged = next((label for label in labels if re.fullmatch(r"\d+(\|\d+)+", label)), None)
    if merged is not None:
        lines.append(f"{merged}: sizes of merged classes")
    if "mirror" in met:
        lines.append("mirror: the first group opposite to the last")
    if "order " in met:
        lines.append("order n: n relabellings leave Z as it is")
    return lines


def marker_area(count: int | None) -> float:
    """Area of a marker in square points: 22 + 16 log(number of Z); a continuum like 1,000 of them.

    Example:
        >>> marker_area(1), round(marker_area(60)), round(marker_area(None))
        (22.0, 88, 133)
    """
    return 22.0 + 16.0 * float(np.log(CONTINUUM if count is None else count))


def draw_ladder(data: Sequence[LadderPoint], ax: Axes, title: str = "") -> Axes:
    """Objective against index; colour and marker tell the rank, the area the size of the orbit.

    Labels (symmetry, orbit size) are laid out for the size that the axes have now: beside the
    markers where all find room, else in a column on the right, in the order of the objective, each
    with a line to its marker. Where the axes are too low for that, the lowest, the highest and the
    most symmetric rungs come first, and a note says how many of the rungs are labelled. Below
    stands what the words in the labels mean.

    Args:
        data: the orbits.
        ax: where to draw.
        title: heading.

    Raises:
        InputError: no orbits.
    """
    if not data:
        raise InputError("Need at least one rung", 0, "use a dimension in which orbits fit")
    for rank in sorted({point.rank for point in data}):
        chosen = [point for point in data if point.rank == rank]
        ax.scatter(
            [point.index for point in chosen],
            [point.objective for point in chosen],
            s=[marker_area(point.count) for point in chosen],
            c=RANK_COLOURS[rank % len(RANK_COLOURS)],
            marker=RANK_MARKERS[rank % len(RANK_MARKERS)],
            edgecolors=INK,
            linewidths=0.6,
            label=f"{rank}",
            zorder=3,
        )
    heights = [point.objective for point in data]
    span = max(heights) - min(heights) or 1.0
    widest = max(point.index for point in data) or 1
    ax.set_xlim(-MARGIN * widest, (1 + MARGIN) * widest)
    ax.set_ylim(min(heights) - MARGIN * span, max(heights) + MARGIN * span)
    ax.xaxis.set_major_locator(MaxNLocator(integer=True))
    notes = explained([point.label for point in data])
    ax.set_xlabel("index (negative Hessian eigenvalues)")
    if notes:
        note = ax.annotate(
            "\n".join(notes),
            (0.5, 0),
            (0, -BELOW),
            xycoords="axes fraction",
            textcoords="offset points",
            ha="center",
            va="top",
            fontsize=6.5,
            linespacing=1.3,
        )
        note.set_gid("notes")
    ax.set_ylabel("objective")
    ax.set_title(title)
    # Rungs climb from the lower left to the upper right.
    legend = ax.legend(
        title="rank of Z\narea: number of Z",
        loc="lower right",
        ncols=2,
        title_fontsize=7,
        columnspacing=0.8,
        handletextpad=0.1,
        borderpad=0.1,
    )
    for handle in legend.legend_handles:
        cast(PathCollection, handle).set_sizes([marker_area(3)])
    _label(data, ax)
    return ax


def _times(count: int | None) -> str:
    if count is None:
        return " (continuum)"
    return f" ×{count}" if count > 1 else ""


def _label(data: Sequence[LadderPoint], ax: Axes) -> None:
    """Labels beside the markers, or in a column; where neither has room for all, by importance."""
    heights = [point.objective for point in data]
    ends = (min(heights), max(heights))
    # Few matrices Z: many symmetries.
    order = sorted(data, key=lambda p: (p.objective not in ends, p.count or CONTINUUM, p.objective))
    spots = [
        Spot(
            point.index,
            point.objective,
            float(np.sqrt(marker_area(point.count))) / 2,
            point.label + _times(point.count),
        )
        for point in order
    ]
    fontsize = 8.0 if len(data) <= FEW else 6.5
    placed = place_labels(spots, ax, fontsize)
    if len(placed) == len(spots):
        return
    for label in placed:
        label.remove()
    if list_labels(spots, ax):
        cast(Legend, ax.get_legend()).set_loc("upper left")  # clear of the lines to the column
    else:
        note = ax.text(0.01, 0.99, "", transform=ax.transAxes, va="top", color=FAINT, fontsize=6.5)
        note.set_text(f"{len(spots)} of {len(spots)} labelled")
        placed = place_labels(spots, ax, fontsize, [note])
        note.set_text(f"{len(placed)} of {len(spots)} labelled")
