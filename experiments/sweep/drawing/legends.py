"""Ticks, legends and headings that fit: measured in the figure's final size, fewer until they do.

A layout costs a second on a page of panels, so none is made here: the caller lays the figure out
once (``figure.draw_without_rendering``), and what is chosen here changes it little.
"""

from __future__ import annotations

import math
import textwrap
from collections.abc import Callable, Iterator, Sequence
from functools import partial
from itertools import pairwise
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.legend import Legend
from matplotlib.text import Text
from matplotlib.ticker import FixedLocator, FuncFormatter, MaxNLocator, NullLocator
from matplotlib.transforms import offset_copy

from ufm.typing import Array

# An artist, or several on top of each other, and its label.
Entry = tuple[Any, str]
# Points from the axes to the legend, below the label of the axis.
BELOW = 32.0
# Type of a legend, and inches that a letter of it takes.
TYPE, LETTER = 7.0, 0.056
# Inches by which a legend may be wider than the axes: numbers and labels beside them.
OVERHANG = 0.5
# The final layout is a few per cent narrower than the one that was measured: numbers come last.
SLACK = 0.93
# Values of an axis that all get a tick, if they fit and have two digits at most.
MOST_TICKS = 12
# Pixels between numbers.
APART = 3.0


def legend_below(ax: Axes, entries: Sequence[Entry], title: str = "") -> None:
    """A legend below the label of the horizontal axis, in as many columns as there is room for.

    Args:
        ax: axes that were laid out.
        entries: artists and labels; each label is shown once.
        title: heading of the legend.

    Example:
        >>> from matplotlib.lines import Line2D
        >>> ax = Figure().subplots()
        >>> legend_below(ax, [(Line2D([], []), "theory"), (Line2D([], []), "theory")])
        >>> [text.get_text() for text in ax.get_legend().get_texts()]
        ['theory']
    """
    figure = ax.figure.canvas.figure
    entries = _once(entries)
    if not entries:
        return
    room = _width(ax) + OVERHANG
    for columns in range(min(len(entries), 4), 0, -1):
        legend = ax.legend(
            handles=[artist for artist, _ in entries],
            labels=_wrapped(entries, room if columns == 1 else np.inf),
            loc="upper center",
            bbox_to_anchor=(0.5, 0),
            bbox_transform=offset_copy(ax.transAxes, figure, y=-BELOW, units="points"),
            ncols=columns,
            title=title or None,
            **_type(),
        )
        if _width(legend) <= room:
            return


def legend_above(figure: Figure, entries: Sequence[Entry], title: str = "") -> None:
    """A legend of a whole figure above its panels; below them is the common label.

    Args:
        figure: a figure with a constrained layout.
        entries: artists and labels; each label is shown once.
        title: heading of the legend.

    Example:
        >>> from matplotlib.lines import Line2D
        >>> figure = Figure(layout="constrained")
        >>> legend_above(figure, [(Line2D([], []), "theory")])
        >>> len(figure.legends)
        1
    """
    entries = _once(entries)
    room = figure.get_figwidth() - 0.2
    for columns in range(min(len(entries), 4), 0, -1):
        legend = figure.legend(
            handles=[artist for artist, _ in entries],
            labels=_wrapped(entries, room if columns == 1 else np.inf),
            loc="outside upper center",
            ncols=columns,
            title=title or None,
            **_type(),
        )
        if columns == 1 or _width(legend) <= room:
            return
        legend.remove()


def make_room(figure: Figure) -> None:
    """Make a figure higher by what its legends take of it, so that its panels keep their shape.

    Example:
        >>> from matplotlib.lines import Line2D
        >>> figure = Figure(figsize=(3, 3), layout="constrained")
        >>> legend_above(figure, [(Line2D([], []), "theory")])
        >>> make_room(figure)
        >>> bool(3.1 < figure.get_figheight() < 3.4)
        True
    """
    legends = [*figure.legends, *(ax.get_legend() for ax in figure.axes)]
    heights = [legend.get_window_extent().height for legend in legends if legend is not None]
    figure.set_figheight(figure.get_figheight() + sum(heights) / figure.dpi)


def _type() -> dict[str, Any]:
    return {"fontsize": TYPE, "title_fontsize": TYPE, "columnspacing": 1.0, "handlelength": 2.2}


def _once(entries: Sequence[Entry]) -> list[Entry]:
    first = {name: artist for artist, name in reversed(entries)}
    return [(artist, name) for name, artist in reversed(first.items())]


def _wrapped(entries: Sequence[Entry], room: float) -> list[str]:
    letters = 1000 if np.isinf(room) else max(int(room / LETTER) - 4, 12)
    # A break inside a formula would spoil it.
    return [name if "$" in name else textwrap.fill(name, letters) for _, name in entries]


def _width(artist: Axes | Legend) -> float:
    """Inches."""
    return float(artist.get_window_extent().width / artist.figure.canvas.figure.dpi)


def thin_ticks(ax: Axes, x: Array, y: Array) -> None:
    """Ticks at the values of a table, or at round numbers, as many as fit without touching.

    Args:
        ax: axes with scales and limits that were laid out.
        x: distinct values along the horizontal axis, increasing.
        y: distinct values along the vertical axis, increasing.

    Example:
        >>> ax = Figure(figsize=(3, 3)).subplots()
        >>> ax.set_xlim(2.5, 5.5), ax.set_ylim(0, 1)
        ((2.5, 5.5), (0.0, 1.0))
        >>> thin_ticks(ax, np.array([3.0, 4.0, 5.0]), np.array([0.5]))
        >>> ax.get_xticks().tolist()
        [3.0, 4.0, 5.0]
    """
    for axis, nodes, low_high in ((ax.xaxis, x, ax.get_xlim()), (ax.yaxis, y, ax.get_ylim())):
        axis.set_minor_locator(NullLocator())
        for ticks in _choices(nodes, axis.get_scale(), *low_high):
            axis.set_major_locator(FixedLocator(ticks.tolist()))
            axis.set_major_formatter(FuncFormatter(_writer(ticks)))
            labels = [text for text in axis.get_ticklabels() if text.get_text()]
            side = 0 if axis is ax.xaxis else 1
            ends = sorted((box.min[side], box.max[side]) for box in map(_box, labels))
            if all(after[0] - before[1] >= APART for before, after in pairwise(ends)):
                break


def _box(text: Text) -> Any:
    return text.get_window_extent()


def _writer(ticks: Array) -> Callable[[float, int | None], str]:
    """How all numbers of an axis are written: as powers of ten, or none of them."""
    powers = np.log10(np.where(ticks > 0, ticks, 1.0))
    whole = np.abs(powers - np.round(powers)) < 1e-9
    # From a thousand or a thousandth on; a zero stays a zero.
    if np.all(whole) and np.max(np.abs(powers)) > 2.5:
        return lambda v, _: f"$10^{{{round(np.log10(v))}}}$" if v > 0 else "0"
    return lambda v, _: f"{v:.3g}" if abs(v) < 1e3 else f"{v:g}"


def fit_titles(titles: Sequence[Text], size: float) -> None:
    """Titles of panels in one size, as large as the longest one may be above its panel.

    Args:
        titles: of axes that were laid out.
        size: largest size of type.

    Example:
        >>> ax = Figure(figsize=(2, 2)).subplots()
        >>> title = ax.set_title("a heading that is too long")
        >>> fit_titles([title], 12.0)
        >>> 0 < title.get_fontsize() < 12
        True
    """
    for title in titles:
        title.set_fontsize(size)
    shares = [
        title.axes.get_window_extent().width / title.get_window_extent().width
        for title in titles
        if title.axes is not None and title.get_text()
    ]
    for title in titles:
        title.set_fontsize(size * min(1.0, SLACK * min(shares, default=1.0)))


def _choices(nodes: Array, scale: str, low: float, high: float) -> Iterator[Array]:
    """Sets of ticks, from many to few."""
    if len(nodes) <= MOST_TICKS and all(math.isclose(float(f"{v:.2g}"), v) for v in nodes):
        yield nodes
    if scale != "linear":
        smallest = float(nodes[nodes > 0].min()) * (1 - 1e-9) if scale == "symlog" else low
        for factors, step in (((1, 2, 5), 1), *(((1,), step) for step in (1, 2, 3, 5, 10))):
            decades = 10.0 ** np.arange(-300 // step * step, 300, step)
            ticks = np.unique(np.concatenate([decades * f for f in factors]))
            ticks = ticks[(ticks >= smallest) & (ticks <= high)]
            if len(ticks) >= 2:
                yield np.append(0.0, ticks) if scale == "symlog" else ticks
    whole = bool(np.all(nodes == np.round(nodes)))
    locator = partial(MaxNLocator, integer=whole, steps=[1, 2, 2.5, 5, 10])
    for many in (8, 6, 5, 4, 3):
        ticks = np.asarray(locator(many).tick_values(low, high))
        yield ticks[(ticks >= low) & (ticks <= high)]
    for step in range(2, len(nodes) + 1):
        yield nodes[::step]


def set_scale(put: Callable[..., None], scale: str, nodes: Array) -> None:
    """Put a scale on an axis; symlog is straight up to the smallest positive value.

    Args:
        put: ``ax.set_xscale`` or ``ax.set_yscale``.
        scale: linear, log or symlog.
        nodes: values on the axis.

    Example:
        >>> ax = Figure().subplots()
        >>> set_scale(ax.set_xscale, "log", np.array([0.1, 1.0]))
        >>> ax.get_xscale()
        'log'
    """
    if scale == "symlog":
        put(scale, linthresh=float(nodes[nodes > 0].min()))
    else:
        put(scale)
