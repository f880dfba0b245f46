"""Lines of columns along another one: the median of each group, its band from least to most."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

import matplotlib as mpl
import numpy as np
from matplotlib.axes import Axes
from matplotlib.colors import to_hex
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.text import Text
from numpy.typing import NDArray

from experiments.sweep.columns import (
    ROUNDING,
    Table,
    column,
    converged,
    is_text,
    label,
    loss_names,
    numbers,
    scale_of,
    snap,
    texts,
)
from experiments.sweep.drawing.colours import MARKERS
from experiments.sweep.drawing.comparisons import DASHES, looks
from experiments.sweep.drawing.legends import (
    Entry,
    fit_titles,
    legend_above,
    legend_below,
    set_scale,
    thin_ticks,
)
from landscape.plots.style import INK
from ufm.errors import InputError
from ufm.typing import Array

# Lines that can be told apart.
MOST_LINES = 10
# A scale shows orders of magnitude from this range on.
WIDE = 30.0
# Markers of a line that do not hide it.
MOST_MARKERS = 20
# Panels that can be read on a page, inches of width for each, and the type of their headings.
MOST_PANELS = 6
PANEL = 2.3
HEADING = 8.5
# What a legend says where a line stands for several rows.
BANDS = "line: median, band: least to most"
# What the proved global minimiser has of a column: drawn on top.
THEORIES = {"objective": "theory", "size": "theory_size"}
PREDICTED = "closed form"
PREDICTION: Mapping[str, Any] = {"lw": 1.3, "ls": (0, (1, 1))}
# Where all runs of a line failed there is no point: a cross on the axis, a row for each line.
FAILED = "no run converged"
CROSS: Mapping[str, Any] = {"marker": "x", "ls": "none", "ms": 4.5, "mew": 1.2}
FLOOR, ROW = 0.03, 0.05


def profile(table: Table, ax: Axes, *, x: str, value: str, by: str = "loss") -> Axes:
    """Lines of a column along another one: the median of each group, its band from least to most.

    Over the objective and the size lies what the global minimiser has of them, where one is proved;
    a cross on the axis says that no run of the line converged there.

    Args:
        table: cells of a sweep with results; rows that did not converge are left out.
        ax: where to draw, in its final size.
        x: column along the horizontal axis.
        value: column along the vertical axis.
        by: a line for each loss with its parameters, or for each value of this column.

    Raises:
        InputError: an unknown column, one that holds text, no converged row, or more than
            ten lines.

    Example:
        >>> rows = {"d": np.array([1, 1, 2]), "objective": np.array([3.0, 5.0, 1.0])}
        >>> rows["K"] = np.full(3, 4)
        >>> ax = profile(rows, Figure().subplots(), x="d", value="objective", by="K")
        >>> ax.lines[0].get_xydata().tolist()
        [[1.0, 4.0], [2.0, 1.0]]
    """
    entries, several = _lines(table, ax, x, value, by)
    ax.set_xlabel(label(x))
    ax.set_ylabel(label(value))
    ax.figure.canvas.figure.draw_without_rendering()
    thin_ticks(ax, _nodes(table, x, value), _heights(ax))
    legend_below(ax, entries, BANDS if several else "")
    return ax


def profiles(
    table: Table, figure: Figure, *, x: str, values: Sequence[str], by: str = "loss"
) -> tuple[Axes, ...]:
    """One profile for each of several columns, over a shared axis and with one legend.

    Args:
        table: cells of a sweep with results; rows that did not converge are left out.
        figure: an empty figure of the final size.
        x: column along the horizontal axes.
        values: columns along the vertical axes, a panel each.
        by: a line for each loss with its parameters, or for each value of this column.

    Returns:
        The axes of the panels, in the order of ``values``.

    Raises:
        InputError: as for ``profile``, or more than six panels.

    Example:
        >>> rows = {"c": np.array([0.1, 0.2]), "K": np.ones(2), "rank": np.array([2, 1])}
        >>> rows["gap"] = np.array([3.0, 4.0])
        >>> panels = profiles(rows, Figure(), x="c", values=["rank", "gap"], by="K")
        >>> [panel.get_title() for panel in panels]
        ['rank of $WH$', 'smallest positive eigenvalue']
    """
    if not 1 <= len(values) <= MOST_PANELS:
        rule = f"Need at most {MOST_PANELS} columns, a panel each"
        raise InputError(rule, len(values), "drop some, or draw two figures")
    if figure.get_layout_engine() is None:
        figure.set_layout_engine("constrained")
    down, across = arranged(len(values), figure.get_figwidth())
    grid = figure.subplots(down, across, sharex=True, squeeze=False).ravel().tolist()
    entries: list[Entry] = []
    titles: list[Text] = []
    panels, several = tuple(grid[: len(values)]), False
    for ax, value in zip(panels, values, strict=True):
        found, more = _lines(table, ax, x, value, by)
        entries, several = [*entries, *found], several or more
        titles.append(ax.set_title(label(value)))
    for i, ax in enumerate(grid):
        ax.set_visible(i < len(values))
        # The lowest panel of its column has the numbers, also above an empty place.
        ax.tick_params(labelbottom=i + across >= len(values))
    figure.supxlabel(label(x), fontsize=9)
    legend_above(figure, entries, BANDS if several else "")
    figure.draw_without_rendering()
    fit_titles(titles, HEADING)
    for ax, value in zip(panels, values, strict=True):
        thin_ticks(ax, _nodes(table, x, value), _heights(ax))
    return panels


def arranged(panels: int, width: float) -> tuple[int, int]:
    """Rows and columns of panels in a figure of this width in inches.

    Example:
        >>> arranged(3, 3.4), arranged(3, 7.0), arranged(4, 7.0)
        ((3, 1), (1, 3), (2, 2))
    """
    down = math.ceil(panels / max(1, int(width / PANEL)))
    return down, math.ceil(panels / down)


def _lines(table: Table, ax: Axes, x: str, value: str, by: str) -> tuple[list[Entry], bool]:
    """The lines of a panel: what a legend explains, and whether a place has several rows."""
    places, values = snap(numbers(table, x)), numbers(table, value)
    names = _group_names(table, by)
    good = converged(table) & np.isfinite(places) & np.isfinite(values)
    if not good.any():
        rule = f"Need a converged run with a number for {x} and {value}"
        raise InputError(rule, f"none among {len(good)}", "choose other columns")
    order = list(dict.fromkeys(names[good].tolist()))
    if len(order) > MOST_LINES:
        rule = f"Need at most {MOST_LINES} lines"
        raise InputError(rule, f"{len(order)} values of {by}", "choose another column")
    entries: list[Entry] = []
    several, rows, heights = False, 0, [values[good]]
    for name, look in _line_looks(order, by).items():
        here = good & (names == name)
        nodes, member = np.unique(places[here], return_inverse=True)
        groups = [values[here][member.reshape(-1) == i] for i in range(len(nodes))]
        several |= any(len(group) > 1 for group in groups)
        style = {**look, "ms": 4, "lw": 1.5, "mec": INK, "mew": 0.4}
        style["markevery"] = -(-len(nodes) // MOST_MARKERS)
        ax.plot(nodes, [np.median(group) for group in groups], **style)
        ax.fill_between(
            nodes,
            [group.min() for group in groups],
            [group.max() for group in groups],
            color=look["color"],
            alpha=0.18,
            lw=0,
        )
        entries.append((Line2D([], [], **style), name))
        heights.append(_predicted(table, ax, value, places, names == name, look["color"]))
        tried = (names == name) & np.isfinite(places) & ~converged(table)
        lost = np.setdiff1d(places[tried], nodes)
        if len(lost):
            at = np.full(len(lost), FLOOR + ROW * rows)
            ax.plot(lost, at, color=look["color"], transform=ax.get_xaxis_transform(), **CROSS)
            rows += 1
    if rows:
        entries.append((Line2D([], [], color=INK, **CROSS), FAILED))
    if any(map(len, heights[1:])):
        entries.append((Line2D([], [], color=INK, **PREDICTION), PREDICTED))
    nodes = np.unique(places[good])
    set_scale(ax.set_xscale, scale_of(nodes), nodes)
    _vertical_scale(ax, np.concatenate(heights), FLOOR + ROW * rows if rows else 0.0)
    ax.minorticks_off()
    return entries, several


def _predicted(
    table: Table, ax: Axes, value: str, places: Array, rows: NDArray[np.bool_], color: str
) -> Array:
    """Draw what theory has of a column, and tell its heights: none if a place has two models."""
    if THEORIES.get(value) not in table:
        return np.empty(0)
    theory = numbers(table, THEORIES[value])
    rows = rows & np.isfinite(theory) & np.isfinite(places)
    nodes, first, member = np.unique(places[rows], return_index=True, return_inverse=True)
    heights = theory[rows][first]
    told = heights[member.reshape(-1)]
    if not len(nodes) or np.any(np.abs(theory[rows] - told) > ROUNDING * np.abs(told)):
        return np.empty(0)
    ax.plot(nodes, heights, color=color, zorder=3, **PREDICTION)
    return heights


def _heights(ax: Axes) -> Array:
    """Places along the vertical axis, for its numbers."""
    low, high = ax.get_ylim()
    return np.asarray(np.linspace(low, high, 20), dtype=np.float64)


def _nodes(table: Table, x: str, value: str) -> Array:
    """The places that have a value."""
    places, values = snap(numbers(table, x)), numbers(table, value)
    return np.unique(places[converged(table) & np.isfinite(places) & np.isfinite(values)])


def _group_names(table: Table, by: str) -> NDArray[Any]:
    if by == "loss":
        return loss_names(table)
    values = column(table, by)
    if is_text(values):
        said = "counts " if by == "counts" else ""  # other words speak for themselves
        return np.array([f"{said}{text}" for text in texts(table, by)], dtype=object)
    word = f"${by}$" if len(by) == 1 else label(by)
    return np.array([f"{word} = {v:g}" for v in values.astype(np.float64)], dtype=object)


def _line_looks(order: Sequence[str], by: str) -> Mapping[str, dict[str, Any]]:
    """Losses have their own colours; values of another column a sequence from dark to light."""
    if by == "loss":
        return looks(order)
    shades = mpl.colormaps["viridis"](np.linspace(0.0, 0.85, len(order)))
    return {
        name: {"color": to_hex(shade), "marker": MARKERS[i % 7], "ls": DASHES[i % len(DASHES)]}
        for i, (name, shade) in enumerate(zip(order, shades, strict=True))
    }


def _vertical_scale(ax: Axes, values: Array, below: float = 0.0) -> None:
    """Logarithmic for positive values over more than a factor of 30, and with room around them.

    ``below`` is a share of the height that is left free under them.
    """
    low, high = float(values.min()), float(values.max())
    if low > 0 and high > WIDE * low:
        ax.set_yscale("log")
        pad = (high / low) ** 0.06
        ax.set_ylim(low / pad / (high / low * pad**2) ** (below / (1 - below)), high * pad)
    else:
        # A constant has no range of its own, and roundings of one have none to show.
        constant = high - low <= ROUNDING * max(abs(low), abs(high))
        pad = 0.5 * (abs(high) or 1.0) if constant else 0.06 * (high - low)
        ax.set_ylim(low - pad - (high - low + 2 * pad) * below / (1 - below), high + pad)
