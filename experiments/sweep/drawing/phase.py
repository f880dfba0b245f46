"""Phase diagrams: a column of a sweep over the plane of two others, with theory's lines on top."""

from __future__ import annotations

import math
import textwrap
from collections.abc import Sequence
from itertools import groupby
from typing import Any

import numpy as np
from matplotlib import patheffects
from matplotlib.axes import Axes
from matplotlib.cm import ScalarMappable
from matplotlib.collections import PolyCollection
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.patches import Patch
from matplotlib.text import Text

from experiments.sweep.columns import Table, column, is_text, label, loss_names, take, texts
from experiments.sweep.drawing.colours import Look, coloured, look_of
from experiments.sweep.drawing.legends import (
    Entry,
    fit_titles,
    legend_above,
    legend_below,
    set_scale,
    thin_ticks,
)
from experiments.sweep.drawing.pooling import Field, kind_name, pool
from experiments.sweep.theory.curves import Curve
from experiments.sweep.theory.curves import curves as curves_of
from landscape.plots.style import BLUE, FAINT, INK, PURPLE, RED, darker
from ufm.errors import InputError

# One pattern of dashes for each law, so that it looks the same in every panel.
PATTERNS: dict[str, Any] = {
    "window": (0, (4, 1.5)),
    "minority": (0, (4, 1.2, 1, 1.2)),
    "first dropped": (0, (4, 1.2, 1, 1.2, 1, 1.2)),
    "vanishing": (0, (1.2, 1.2)),
    "merged": (0, (2.5, 1.2)),
    "etf": (0, (6, 2)),
    "frame": (0, (2, 1)),
}
# Lines of one law in one panel, for several losses or sizes.
VARIANTS = (INK, darker(RED), darker(BLUE, 0.2), darker(PURPLE, 0.4))
HALO = (patheffects.withStroke(linewidth=3.2, foreground="white"),)
_HATCHED: dict[str, Any] = {"facecolor": "#d4d4d4", "hatch": "////", "edgecolor": FAINT, "lw": 0.0}
_PALE: dict[str, Any] = {"facecolor": "#f0f0f0", "edgecolor": "#dddddd", "lw": 0.5}
# Points of a cell's side from which texts are told apart by markers too.
MARKED = 8.0
# Panels beyond this are too small to read on a page.
MOST_PANELS = 24
# Type of the headings of panels, at most.
HEADING = 8.5
# Inches of width for each column of panels.
PANEL = 1.65


def phase_diagram(
    table: Table,
    ax: Axes,
    *,
    x: str,
    y: str,
    value: str,
    curves: bool | Sequence[Curve] = True,
    share: str | None = None,
) -> Axes:
    """One column over the plane of two others, a coloured cell for each pair of their values.

    Rows of one cell (seeds, and whatever else varies there) are pooled: numbers by their median,
    over the rows that converged; results and verdicts by the worst, other text by the most
    frequent. The colour bar or the legend says so. A cell is hatched where no run converged,
    crossed where some did not, and pale where the value does not exist. Whole numbers, wide ranges
    and signs have colours of their own kind; the scale of an axis follows the spacing of its
    values.

    Args:
        table: cells of a sweep with results.
        ax: where to draw, in its final size.
        x: column along the horizontal axis.
        y: column along the vertical axis.
        value: column shown by colour.
        curves: whether to draw the lines of theory, or the lines to draw.
        share: show the share of runs in which ``value`` is this text.

    Raises:
        InputError: an empty table, an unknown column, an axis that holds text or nothing, or the
            same column twice.

    Example:
        >>> rows = {"c": np.array([0.5, 2.0]), "K": np.array([3, 3]), "rank": np.array([2, 0])}
        >>> ax = phase_diagram(rows, Figure().subplots(), x="c", y="K", value="rank", curves=False)
        >>> ax.collections[0].get_array().tolist()
        [2.0, 0.0]
    """
    field = pool(table, x, y, value, share=share)
    look = look_of([field])
    _axes(ax, field)
    _cells(ax, field, look)
    lines = _chosen(table, x, y, curves)
    _draw_lines(ax, lines)
    ax.set_xlabel(field.x_label)
    ax.set_ylabel(field.y_label)
    if look.norm is not None:
        _colour_bar(ax.figure.canvas.figure, [ax], look)
    ax.figure.canvas.figure.draw_without_rendering()
    thin_ticks(ax, field.x, field.y)
    legend_below(ax, _entries([field], look, [lines]), look.what if look.kinds else "")
    return ax


def small_multiples(
    table: Table,
    figure: Figure,
    *,
    x: str,
    y: str,
    value: str,
    by: str = "loss",
    curves: bool | Sequence[Curve] = True,
    share: str | None = None,
) -> tuple[Axes, ...]:
    """One phase diagram for each loss with its parameters, or each value of another column.

    Axes, colours and legend are shared; what is pooled and how is as in ``phase_diagram``.

    Args:
        table: cells of a sweep with results.
        figure: an empty figure of the final size.
        x: column along the horizontal axes.
        y: column along the vertical axes.
        value: column shown by colour.
        by: column that tells the panels apart.
        curves: whether to draw the lines of theory, or the lines to draw in all panels.
        share: show the share of runs in which ``value`` is this text.

    Returns:
        The axes of the panels, in the order of the table.

    Raises:
        InputError: as for ``phase_diagram``, or more than 24 panels.

    Example:
        >>> rows = {"c": np.array([0.5, 2.0] * 2), "K": np.array([3] * 4), "d": np.arange(4)}
        >>> rows["loss"] = np.repeat(["ce", "mse"], 2)
        >>> panels = small_multiples(rows, Figure(), x="c", y="K", value="d", curves=False)
        >>> [panel.get_title() for panel in panels]
        ['ce', 'mse']
    """
    parts = panels_of(table, by, x, y)
    fields = [pool(part, x, y, value, share=share) for part in parts.values()]
    whole = pool(table, x, y, value, share=share)
    look = look_of(fields)
    if figure.get_layout_engine() is None:
        figure.set_layout_engine("constrained")
    columns = max(1, min(len(parts), int(figure.get_figwidth() / PANEL)))
    rows = math.ceil(len(parts) / columns)
    columns = math.ceil(len(parts) / rows)
    grid = figure.subplots(rows, columns, sharex=True, sharey=True, squeeze=False).ravel().tolist()
    drawn: list[Sequence[Curve]] = []
    titles: list[Text] = []
    for ax, (name, part), field in zip(grid, parts.items(), fields, strict=False):
        _axes(ax, whole)
        _cells(ax, field, look)
        lines = _chosen(part, x, y, curves)
        _draw_lines(ax, lines)
        drawn.append(lines)
        titles.append(ax.set_title(name))
    panels = tuple(grid[: len(parts)])
    for i, ax in enumerate(grid):
        if i >= len(parts):
            ax.set_visible(False)
        # The lowest panel of its column has the numbers, also above an empty place.
        ax.tick_params(labelbottom=i + columns >= len(parts), labelleft=i % columns == 0)
    figure.supxlabel(whole.x_label, fontsize=9)
    figure.supylabel(whole.y_label, fontsize=9)
    if look.norm is not None:
        _colour_bar(figure, panels, look)
    legend_above(figure, _entries(fields, look, drawn), look.what if look.kinds else "")
    figure.draw_without_rendering()
    fit_titles(titles, HEADING)
    thin_ticks(panels[(rows - 1) * columns], whole.x, whole.y)
    return panels


def panels_of(table: Table, by: str, x: str, y: str) -> dict[str, Table]:
    """The parts of a table by the heading of their panel; those with a place on both axes.

    Raises:
        InputError: an unknown column, or more than 24 parts.

    Example:
        >>> rows = {"K": np.array([4, 3]), "c": np.ones(2), "d": np.ones(2)}
        >>> list(panels_of(rows, "K", "c", "d"))
        ['classes $K$ = 4', 'classes $K$ = 3']
    """
    if by == "loss":
        names = loss_names(table)
    else:
        values = column(table, by)
        word = label(by)
        names = np.array(
            list(texts(table, by)) if is_text(values) else [f"{word} = {v:g}" for v in values],
            dtype=object,
        )
    placed = np.ones(len(names), dtype=bool)
    for name in (x, y):
        values = column(table, name)
        placed &= np.ones(len(names), bool) if is_text(values) else np.isfinite(values)
    order = list(dict.fromkeys(names[placed].tolist())) or list(dict.fromkeys(names.tolist()))
    if len(order) > MOST_PANELS:
        rule = f"Need at most {MOST_PANELS} panels"
        raise InputError(
            rule, f"{len(order)} values of {by}", "choose another column, or fewer rows"
        )
    return {name or "(none)": take(table, names == name) for name in order}


def _axes(ax: Axes, field: Field) -> None:
    """Scales, and limits at the outer edges of the cells."""
    ax.grid(False)
    set_scale(ax.set_xscale, field.x_scale, field.x)
    set_scale(ax.set_yscale, field.y_scale, field.y)
    ax.minorticks_off()
    corners = field.corners.reshape(-1, 2)
    ax.set_xlim(corners[:, 0].min(), corners[:, 0].max())
    ax.set_ylim(corners[:, 1].min(), corners[:, 1].max())


def _cells(ax: Axes, field: Field, look: Look) -> None:
    """The cells of a panel: coloured, hatched or pale, with crosses and the markers of texts."""
    shown = ~field.failed & ~field.missing
    # Seams between cells would show as white lines in a PDF.
    whole: dict[str, Any] = {"edgecolors": "face", "linewidths": 0.3}
    if field.text:
        colours = [look.kinds[value][0] for value in field.values[shown]]
        ax.add_collection(PolyCollection(list(field.corners[shown]), facecolors=colours, **whole))
    elif shown.any():
        cells = PolyCollection(list(field.corners[shown]), cmap=look.cmap, norm=look.norm, **whole)
        cells.set_array(coloured(field.values[shown], look))
        ax.add_collection(cells)
    for chosen, options in ((field.failed, _HATCHED), (field.missing, _PALE)):
        if chosen.any():
            ax.add_collection(PolyCollection(list(field.corners[chosen]), **options))
    if field.text and _room(ax, field) >= MARKED:
        for value, (colour, marker) in look.kinds.items():
            ax.plot(
                *field.at[shown & (field.values == value)].T,
                marker,
                color=darker(colour, 0.45),
                ms=MARKED / 2.2,
                mew=0,
            )
    if field.partial.any():
        size = float(np.clip(_room(ax, field) / 2, 1.5, 4.0))
        cross: dict[str, Any] = {"ms": size, "mew": size / 4.5, "path_effects": HALO}
        ax.plot(*field.at[field.partial].T, "x", color=INK, **cross)


def _room(ax: Axes, field: Field) -> float:
    """Points of the smallest side of a cell, about."""
    box = ax.get_window_extent()
    sides = box.width / len(field.x), box.height / len(field.y)
    return 72 / ax.figure.canvas.figure.dpi * min(sides)


def _chosen(table: Table, x: str, y: str, curves: bool | Sequence[Curve]) -> tuple[Curve, ...]:
    if curves is True:
        return curves_of(table, x, y)
    return tuple(curves) if curves else ()


def _draw_lines(ax: Axes, lines: Sequence[Curve]) -> None:
    """Lines of theory, dark with a white border that shows on every colour."""
    for _, kind in groupby(lines, key=lambda line: line.law):
        for i, line in enumerate(kind):
            look = _line_look(line.law, i)
            if isinstance(line.x, float):
                ax.axvline(line.x, **look)
            elif isinstance(line.y, float):
                ax.axhline(line.y, **look)
            elif line.x is not None and line.y is not None:
                ax.plot(line.x, line.y, **look)


def _line_look(law: str, i: int) -> dict[str, Any]:
    return {
        "color": VARIANTS[i % len(VARIANTS)],
        "ls": PATTERNS.get(law, "-"),
        "lw": 1.5,
        "path_effects": HALO,
        "zorder": 5,
    }


def _entries(fields: Sequence[Field], look: Look, panels: Sequence[Sequence[Curve]]) -> list[Entry]:
    """What a legend explains: texts, cells without a value, lines."""
    found: list[Entry] = []
    counts = "has a verdict" if look.kinds else "converged"
    for value, (colour, marker) in look.kinds.items():
        mark = Line2D([], [], marker=marker, color=darker(colour, 0.45), ms=4, mew=0, ls="")
        found.append(((Patch(facecolor=colour), mark), kind_name(value)))
    if any(field.failed.any() for field in fields):
        found.append((Patch(**_HATCHED), f"no run {counts}"))
    if any(field.partial.any() for field in fields):
        cross = Line2D([], [], marker="x", color=INK, ms=4, ls="")
        found.append((cross, f"not every run {counts}"))
    if any(field.missing.any() for field in fields):
        found.append((Patch(**_PALE), "no value"))
    return found + _line_entries(panels)


def _line_entries(panels: Sequence[Sequence[Curve]]) -> list[Entry]:
    """Lines that look and are called the same in all panels, with all their sources."""
    found: dict[tuple[str, str], tuple[dict[str, Any], list[str]]] = {}
    for lines in panels:
        for law, kind in groupby(lines, key=lambda line: line.law):
            for i, line in enumerate(kind):
                look = _line_look(law, i)
                key = f"{look['color']} {look['ls']}", line.label
                found.setdefault(key, (look, []))[1].extend(line.source.split(", "))
    return [
        (Line2D([], [], **look), f"{name} ({', '.join(dict.fromkeys(sources))})")
        for (_, name), (look, sources) in found.items()
    ]


def _colour_bar(figure: Figure, panels: Sequence[Axes], look: Look) -> None:
    bar = figure.colorbar(
        ScalarMappable(look.norm, look.cmap), ax=list(panels), extend=look.extend, pad=0.02
    )
    room = 72 * figure.get_figheight() * 0.75 / 5.0
    bar.set_label(textwrap.fill(look.what, int(room)), fontsize=8)
    bar.ax.tick_params(labelsize=7.5)
    bar.outline.set_visible(False)
    if look.ticks is not None:
        bar.set_ticks(look.ticks.tolist())
        bar.ax.minorticks_off()
