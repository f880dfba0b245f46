"""The saddle ladder: objective against index of every orbit of an atlas."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import cast

import numpy as np
from matplotlib.axes import Axes
from matplotlib.collections import PathCollection
from matplotlib.ticker import MaxNLocator
from numpy.typing import NDArray

from landscape.atlas import Atlas
from landscape.plots.placement import Spot, place_labels
from landscape.plots.style import FAINT, INK, RANK_COLOURS, RANK_MARKERS
from ufm.errors import InputError

Array = NDArray[np.float64]
# Up to this many rungs labels have the type size of tick labels; beyond, the smallest that prints.
FEW = 12
# Share of the index range left free on either side, for labels.
MARGIN = 0.09
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


def marker_area(count: int | None) -> float:
    """Area of a marker in square points: 22 + 16 log(number of Z); a continuum like 1,000 of them.

    Example:
        >>> marker_area(1), round(marker_area(60)), round(marker_area(None))
        (22.0, 88, 133)
    """
    return 22.0 + 16.0 * float(np.log(CONTINUUM if count is None else count))


def draw_ladder(data: Sequence[LadderPoint], ax: Axes, title: str = "") -> Axes:
    """Objective against index; colour and marker tell the rank, the area the size of the orbit.

    Labels (symmetry, orbit size) are laid out for the size that the axes have now. Where not all
    fit, the lowest, the highest and the most symmetric rungs come first, and a note says how many
    of the rungs are labelled.

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
    ax.set_xlabel("index (negative Hessian eigenvalues)")
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
    """Labels by importance; if some find no room, again with a note that says how many did."""
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
    if len(placed) < len(spots):
        for label in placed:
            label.remove()
        note = ax.text(0.01, 0.99, "", transform=ax.transAxes, va="top", color=FAINT, fontsize=6.5)
        note.set_text(f"{len(spots)} of {len(spots)} labelled")
        placed = place_labels(spots, ax, fontsize, [note])
        note.set_text(f"{len(placed)} of {len(spots)} labelled")
