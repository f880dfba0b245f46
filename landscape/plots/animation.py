"""A film of a flow: the classifiers in space, and how high the flow stands on the ladder."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from matplotlib.animation import FuncAnimation
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from numpy.typing import NDArray

from landscape.flows.past_saddles import Trajectory
from landscape.plots.arrangements import dress_space, in_space
from landscape.plots.ladder import LadderPoint, marker_area
from landscape.plots.staircase import visited
from landscape.plots.style import BLUE, INK, RANK_COLOURS, RANK_MARKERS, RED
from ufm.errors import InputError

# Share of the frames that follow the height, the others the time: a film by the clock would show
# standstill beside saddles, one by height none of it.
BY_HEIGHT = 0.6
# Milliseconds of a frame.
PAUSE = 60


def frames(data: Trajectory, count: int) -> NDArray[np.int64]:
    """The steps that a film shows: some of them at equal heights apart, the others at equal times.

    Args:
        data: a flow.
        count: frames.

    Returns:
        Steps in ascending order, the first and the last among them.

    Example:
        >>> from ufm import UFM, CrossEntropy
        >>> from landscape.flows import one_by_one, trajectory
        >>> model = UFM(CrossEntropy(), 3, 2, lambda_W=0.02, lambda_H=0.02).merge().model
        >>> path = trajectory(model, one_by_one(model), model.minimiser().value)
        >>> chosen = frames(path, 30)
        >>> len(chosen), int(chosen[0]), int(chosen[-1]) == len(path.times) - 1
        (30, 0, True)
    """
    drop = (data.objective[0] - data.objective) / (data.objective[0] - data.objective[-1])
    progress = BY_HEIGHT * drop + (1 - BY_HEIGHT) * data.times / data.times[-1]
    return np.searchsorted(progress, np.linspace(0, progress[-1], count)).astype(np.int64)


def descent_film(
    data: Trajectory, levels: Sequence[LadderPoint], figure: Figure, *, count: int = 90
) -> FuncAnimation:
    """Classifiers on the left, on the right the ladder with the height of the flow.

    Args:
        data: a flow in dimension three or less.
        levels: the orbits in its dimension.
        figure: empty; twice as wide as high.
        count: frames.

    Returns:
        The film; ``film.save("descent.gif", writer="pillow")`` writes it.

    Raises:
        InputError: more than three dimensions.
    """
    W = np.asarray(data.points.W)
    if W.shape[2] > 3:
        raise InputError("A film shows up to three dimensions", f"d = {W.shape[2]}", "lower d")
    space: Any = figure.add_axes((0.0, 0.02, 0.46, 0.88), projection="3d")
    ladder = figure.add_axes((0.56, 0.16, 0.42, 0.74))
    reach = float(np.linalg.norm(W[-1], axis=1).max())
    spokes = [space.plot([0, 0], [0, 0], [0, 0], color=BLUE, lw=2)[0] for _ in range(W.shape[1])]
    (tips,) = space.plot([], [], [], ls="", marker="o", color=BLUE, ms=5)
    dress_space(space, 1.1 * reach)
    line, words = _ladder(data, levels, ladder)

    def show(step: int) -> Sequence[Any]:
        ends = in_space(W[step])
        for spoke, end in zip(spokes, ends, strict=True):
            spoke.set_data_3d(*np.stack([0 * end, end], axis=1))
        tips.set_data_3d(*ends.T)
        line.set_ydata([data.objective[step]] * 2)
        words.set_text(f"time {data.times[step]:.0f}")
        return [*spokes, tips, line, words]

    return FuncAnimation(figure, show, frames=frames(data, count).tolist(), interval=PAUSE)


def _ladder(data: Trajectory, levels: Sequence[LadderPoint], ax: Axes) -> tuple[Any, Any]:
    met = visited(data, levels)
    widest = max(point.index for point in levels)
    for point in levels:
        ax.scatter(
            [point.index],
            [point.objective],
            s=0.5 * marker_area(point.count),
            c=RANK_COLOURS[point.rank % len(RANK_COLOURS)],
            marker=RANK_MARKERS[point.rank % len(RANK_MARKERS)],
            edgecolors=INK,
            linewidths=0.5,
            alpha=1.0 if point in met else 0.25,
            zorder=3,
        )
        if point in met:
            ax.annotate(
                point.label,
                (point.index, point.objective),
                (-6 if point.index == widest else 6, -3),
                textcoords="offset points",
                ha="right" if point.index == widest else "left",
                va="top",
                fontsize=7,
            )
    ax.set_xlim(-0.12 * widest, 1.1 * widest)
    ax.margins(y=0.14)  # for the name below the lowest
    ax.set_xlabel("index", fontsize=8)
    ax.set_ylabel("objective", fontsize=8)
    ax.tick_params(labelsize=7)
    line = ax.axhline(data.objective[0], color=RED, lw=1.5, zorder=2)
    words = ax.text(0.97, 0.06, "", transform=ax.transAxes, ha="right", fontsize=7, color=RED)
    return line, words
