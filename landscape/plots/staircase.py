"""Loss against time of a flow that passes saddles: a staircase, with the levels of the orbits."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from matplotlib.axes import Axes

from landscape.flows.past_saddles import Trajectory
from landscape.plots.ladder import LadderPoint
from landscape.plots.style import BLUE, FAINT, INK, RANK_COLOURS, spread

# A flow waits at the orbit of its height if they differ by less than this share of the descent.
NEAR = 0.02
# Distance of labels in units of the height of the axes.
GAP = 0.065


def visited(data: Trajectory, levels: Sequence[LadderPoint]) -> list[LadderPoint]:
    """The orbits beside which a flow waits, with those beside which it starts and ends.

    Args:
        data: a flow.
        levels: orbits in its dimension.

    Returns:
        From the highest to the lowest: of each wait the one nearest in height, if it is near.
    """
    drop = data.objective[0] - data.objective[-1]
    stops = [0, *data.waits, len(data.times) - 1]
    met: dict[float, LadderPoint] = {}
    for value in data.objective[stops]:
        nearest = min(levels, key=lambda level: abs(level.objective - value))
        if abs(nearest.objective - value) < NEAR * drop:
            met[nearest.objective] = nearest
    return [met[value] for value in sorted(met, reverse=True)]


def draw_staircase(
    data: Trajectory, levels: Sequence[LadderPoint], ax: Axes, title: str = ""
) -> Axes:
    """The objective along a flow; lines at the heights of the orbits, named where it waits.

    Args:
        data: a flow.
        levels: orbits in its dimension.
        ax: where to draw.
        title: heading.
    """
    met = visited(data, levels)
    for level in levels:
        seen = level in met
        colour = RANK_COLOURS[level.rank % len(RANK_COLOURS)] if seen else FAINT
        ax.axhline(level.objective, color=colour, lw=0.9 if seen else 0.3, zorder=1)
    ax.plot(data.times, data.objective, color=BLUE, lw=2.0, zorder=3)
    low, high = data.objective[-1], data.objective[0]
    ax.set_ylim(low - 0.06 * (high - low), high + 0.08 * (high - low))
    ax.set_xlim(0, data.times[-1])
    span = np.diff(ax.get_ylim())[0]
    places = spread([level.objective for level in met], GAP * span)
    for level, place in zip(met, places, strict=True):
        ax.annotate(
            f"{level.label}\nindex {level.index}",
            (1, level.objective),
            (1.03, place),
            xycoords=ax.get_yaxis_transform(),
            textcoords=ax.get_yaxis_transform(),
            va="center",
            fontsize=7,
            color=INK,
            annotation_clip=False,
        )
    ax.grid(False)
    ax.set_xlabel("time of the gradient flow")
    ax.set_ylabel("objective")
    ax.set_title(title)
    return ax
