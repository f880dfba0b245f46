"""The saddle ladder: objective against index of every orbit of an atlas."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from matplotlib.axes import Axes
from matplotlib.ticker import MaxNLocator

from landscape.atlas import Atlas
from landscape.plots.style import FAINT, INK, RANK_COLOURS, RANK_MARKERS, spread


@dataclass(frozen=True)
class LadderPoint:
    """One orbit of critical points under rotations and class permutations.

    Attributes:
        objective: value there.
        index: number of negative Hessian eigenvalues in the model's dimension.
        rank: rank of W H.
        count: number of matrices Z = W H in the orbit.
        label: which classes share a code ("2|1|1"), or the name of the code.
        hits: how often the search found it.
    """

    objective: float
    index: int
    rank: int
    count: int
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
        LadderPoint(o.objective, o.index(d), o.rank, o.count, short_label(o.label), o.hits)
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


def draw_ladder(data: Sequence[LadderPoint], ax: Axes, title: str = "") -> Axes:
    """Objective against index; colour and marker tell the rank, labels the code and orbit size.

    Args:
        data: the orbits.
        ax: where to draw.
        title: heading.
    """
    for rank in sorted({point.rank for point in data}):
        chosen = [point for point in data if point.rank == rank]
        ax.plot(
            [point.index for point in chosen],
            [point.objective for point in chosen],
            RANK_MARKERS[rank % len(RANK_MARKERS)],
            color=RANK_COLOURS[rank % len(RANK_COLOURS)],
            mec=INK,
            mew=0.6,
            ms=7,
            label=f"{rank}",
            zorder=3,
        )
    _label(data, ax)
    ax.xaxis.set_major_locator(MaxNLocator(integer=True))
    ax.set_xlabel("index (negative Hessian eigenvalues)")
    ax.set_ylabel("objective")
    ax.set_title(title)
    ax.legend(title="rank of W H", loc="lower right", title_fontsize=8)
    return ax


def _label(data: Sequence[LadderPoint], ax: Axes) -> None:
    """Labels beside the points: points of similar height send theirs to the left and the right."""
    heights = [point.objective for point in data]
    span = max(heights) - min(heights) or 1.0
    widest = max(point.index for point in data) or 1
    ax.set_ylim(min(heights) - 0.13 * span, max(heights) + 0.1 * span)
    ax.set_xlim(-0.06 * widest, 1.3 * widest)
    gap = 0.06 * span
    clusters: list[list[LadderPoint]] = []
    for point in sorted(data, key=lambda point: point.objective):
        if clusters and point.objective - clusters[-1][-1].objective < 0.6 * gap:
            clusters[-1].append(point)
        else:
            clusters.append([point])
    for cluster in clusters:
        cluster.sort(key=lambda point: (point.index, -point.objective))
        first, last = cluster[0].index, cluster[-1].index
        # The diagram runs from the lower left to the upper right, so above on the left and below
        # on the right there is room; nothing fits to the left of the first rungs.
        half = len(cluster) // 2 if first > 0.2 * widest else 0
        left, right = first - 0.07 * widest, last + 0.07 * widest
        below = 1.3 if first == 0 else 0.6  # the lowest rung has the next one to its right
        for side, members, x, shift in (
            ("right", cluster[:half], left, 0.6 * gap),
            ("left", cluster[half:], right, -below * gap),
        ):
            places = spread([point.objective + shift for point in members], gap)
            for point, height in zip(members, places, strict=True):
                times = f" ×{point.count}" if point.count > 1 else ""
                ax.plot([point.index, x], [point.objective, height], color=FAINT, lw=0.7, zorder=2)
                nudge = -0.01 * widest if side == "right" else 0.01 * widest
                text = f"{point.label}{times}"
                ax.text(x + nudge, height, text, fontsize=8, va="center", ha=side)
