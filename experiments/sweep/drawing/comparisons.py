"""What was measured against what theory predicts: rates, thresholds, escape times."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.lines import Line2D
from numpy.typing import NDArray

from experiments.sweep.columns import (
    Table,
    converged,
    loss_names,
    numbers,
)
from experiments.sweep.drawing.legends import Entry, legend_below, thin_ticks
from landscape.plots.style import FAINT, INK, darker, loss_colour, loss_marker
from ufm.errors import InputError

METRICS = ("nc1", "nc2", "nc3")
DASHES: tuple[Any, ...] = ("-", (0, (4, 1.5)), (0, (1.2, 1.2)), (0, (5, 1.2, 1, 1.2)))
# The last of several parameters of one loss is its colour with this share of black.
DARKEST = 0.7
# Every second row of thresholds.
BAND = "#f3f3f3"
# Rows of thresholds beyond this would have names too small to read.
MOST_ROWS = 60


def looks(names: Sequence[str]) -> dict[str, dict[str, Any]]:
    """Colour, marker and dashes for every loss; parameters of one loss are shades of its colour.

    Example:
        >>> found = looks(["ce", "ls(0.1)", "ls(0.2)"])
        >>> found["ls(0.1)"]["color"] == loss_colour("ls"), found["ls(0.2)"]["marker"]
        (True, 's')
    """
    found: dict[str, dict[str, Any]] = {}
    colours = {name: loss_colour(name) for name in names}
    many, seen = Counter(colours.values()), Counter[str]()
    for name, colour in colours.items():
        i = seen[colour]
        seen[colour] += 1
        found[name] = {
            "color": darker(colour, DARKEST * i / (many[colour] - 1)) if i else colour,
            "marker": loss_marker(name),
            "ls": DASHES[i % len(DASHES)],
        }
    return found


def rate_against_prediction(table: Table, ax: Axes, *, metric: str = "nc2") -> Axes:
    r"""Measured against predicted rates of decay of a collapse metric; on the line they agree.

    The panel says how large the worst relative deviation is, and in which loss.
    Source: the slowest linearised rates, LS-3 and section 7 of docs/theory.md.

    Args:
        table: a sweep of the task rate.
        ax: where to draw, in its final size.
        metric: "nc1", "nc2" or "nc3".

    Raises:
        InputError: another metric, a missing column, or no converged run with both rates.

    Example:
        >>> from matplotlib.figure import Figure
        >>> rows = {"rate_nc2": np.array([0.1, 0.022]), "predicted_nc2": np.array([0.1, 0.02])}
        >>> rows["loss"] = np.array(["ce", "mse"])
        >>> rate_against_prediction(rows, Figure().subplots()).texts[0].get_text()
        'worst deviation 10%\n(mse)'
    """
    if metric not in METRICS:
        raise InputError("Unknown metric", repr(metric), f"use one of {', '.join(METRICS)}")
    names = f"rate_{metric}", f"predicted_{metric}"
    return _against(table, ax, names, f"rate of {metric.upper()}")


def escape_times(table: Table, ax: Axes) -> Axes:
    """Measured against predicted times of escape from a saddle; on the line they agree.

    Args:
        table: a sweep of the task from_saddle.
        ax: where to draw, in its final size.

    Raises:
        InputError: a missing column, or no converged run with both times.

    Example:
        >>> from matplotlib.figure import Figure
        >>> rows = {"escape_time": np.array([30.0]), "predicted_time": np.array([29.0])}
        >>> escape_times({**rows, "loss": np.array(["ce"])}, Figure().subplots()).get_xscale()
        'log'
    """
    return _against(table, ax, ("escape_time", "predicted_time"), "time of escape")


def _against(table: Table, ax: Axes, names: tuple[str, str], what: str) -> Axes:
    """Two columns against each other on equal logarithmic axes, with the line of equality."""
    measured, predicted = (numbers(table, name) for name in names)
    both = np.isfinite(measured) & np.isfinite(predicted) & (measured > 0) & (predicted > 0)
    good = both & converged(table)
    if not good.any():
        rule = f"Need a converged run with a positive {names[0]} and {names[1]}"
        raise InputError(rule, f"none among {len(good)}", "choose another figure")
    losses = loss_names(table)
    shown = list(dict.fromkeys(losses[good].tolist()))
    entries: list[Entry] = []
    for name, look in looks(shown).items():
        here = good & (losses == name)
        style = {"color": look["color"], "marker": look["marker"], "ls": ""}
        style |= {"mec": INK, "mew": 0.4, "ms": 4.5, "alpha": 0.9}
        ax.plot(predicted[here], measured[here], **style)
        entries.append((Line2D([], [], **style), name))
    values = np.concatenate([measured[good], predicted[good]])
    low, high = float(values.min()), float(values.max())
    # At least a factor of two, so that a single point has a scale around it.
    pad = max((high / low) ** 0.12, (2 / min(high / low, 2)) ** 0.5, 1.1)
    limits = low / pad, high * pad
    ax.plot(limits, limits, color=FAINT, lw=1.0, zorder=1)
    entries.append((Line2D([], [], color=FAINT, lw=1.0), "measured = predicted"))
    ax.set_xscale("log")
    ax.set_yscale("log")
    ax.set_xlim(limits)
    ax.set_ylim(limits)
    ax.set_xlabel(f"predicted {what}")
    ax.set_ylabel(f"measured {what}")
    ax.minorticks_off()
    ax.figure.canvas.figure.draw_without_rendering()
    thin_ticks(ax, *(np.geomspace(*limits, 20) for _ in range(2)))
    deviation = np.where(good, np.abs(measured / np.where(both, predicted, 1.0) - 1), -1.0)
    worst = int(np.argmax(deviation))
    note = f"worst deviation {_percent(float(deviation[worst]))}\n({losses[worst]})"
    if np.any(~good):
        note += f"\n{int(np.sum(~good))} of {len(good)} runs not shown"
    # The line of equality leaves two corners free; the one with fewer points gets the text.
    above = int(np.sum(measured[good] > predicted[good] * pad))
    below = int(np.sum(measured[good] * pad < predicted[good]))
    x, y, side, edge = 0.03, 0.97, "left", "top"
    if above > below:
        x, y, side, edge = 0.97, 0.03, "right", "bottom"
    ax.text(x, y, note, transform=ax.transAxes, fontsize=7.5, ha=side, va=edge)
    legend_below(ax, entries)
    return ax


def _percent(share: float) -> str:
    return f"{100 * share:.2g}%" if share < 1 else f"{100 * share:.0f}%"


def measured_thresholds(table: Table, ax: Axes) -> Axes:
    """Measured thresholds with their brackets, relative to the predicted ones, row by row.

    One row for each loss, K and whatever else differs, with the predicted value; a point is a run,
    a bar its bracket [c_low, c_high]. Theory is the vertical line.
    Source: CE-1, LS-1, FL-3, MSE-1, MSE-4 of docs/theory.md.

    Args:
        table: a sweep of the task threshold.
        ax: where to draw, in its final size.

    Raises:
        InputError: a missing column, no run with a measured and a predicted threshold, or more
            than 60 rows.

    Example:
        >>> from matplotlib.figure import Figure
        >>> rows = {"c_low": np.array([0.98]), "c_high": np.array([1.01]), "K": np.array([3])}
        >>> rows |= {"c_measured": np.array([0.995]), "c_theory": np.array([1.0])}
        >>> ax = measured_thresholds({**rows, "loss": np.array(["ce"])}, Figure().subplots())
        >>> [text.get_text() for text in ax.get_yticklabels()]
        ['ce, $K$ = 3: $c^*$ = 1']
    """
    low, high, measured, theory = (
        numbers(table, name) for name in ("c_low", "c_high", "c_measured", "c_theory")
    )
    good = converged(table) & np.isfinite(measured) & np.isfinite(theory) & (theory > 0)
    if not good.any():
        rule = "Need a run with a measured and a predicted threshold"
        raise InputError(rule, f"none among {len(good)}", "choose another figure")
    names = _row_names(table, good)
    order = list(dict.fromkeys(names[good].tolist()))
    if len(order) > MOST_ROWS:
        raise InputError(f"Need at most {MOST_ROWS} rows", len(order), "draw a part of the table")
    losses = loss_names(table)
    look = looks(list(dict.fromkeys(losses[good].tolist())))
    for row, name in enumerate(order):
        runs = np.flatnonzero(good & (names == name))
        # Runs of one row lie side by side within its middle half.
        offsets = np.linspace(-0.25, 0.25, len(runs)) if len(runs) > 1 else np.zeros(1)
        if row % 2:
            ax.axhspan(row - 0.5, row + 0.5, color=BAND, lw=0, zorder=0)
        for i, offset in zip(runs, offsets, strict=True):
            left, middle, right = (100 * (c[i] / theory[i] - 1) for c in (low, measured, high))
            colour, marker = (look[losses[i]][key] for key in ("color", "marker"))
            bar = {"color": colour, "lw": 2.2, "solid_capstyle": "butt", "alpha": 0.55}
            ax.plot([left, right], [row + offset] * 2, **bar)
            ax.plot(middle, row + offset, marker, color=colour, mec=INK, mew=0.4, ms=4)
    ax.axvline(0.0, color=INK, lw=1.0, zorder=1)
    room = 72 * ax.figure.canvas.figure.get_figheight() * 0.7 / len(order)
    ax.set_yticks(range(len(order)), order)
    ax.tick_params(axis="y", labelsize=float(np.clip(room / 1.3, 4, 8)), length=0)
    ax.set_ylim(len(order) - 0.5, -0.5)
    ax.grid(False, axis="y")
    ax.margins(x=0.12)
    # It may reach below the names of the rows.
    ax.set_xlabel("measured / predicted − 1  [%]", loc="right")
    return ax


# What tells the rows of thresholds apart, beside the loss.
_TELLING = ("K", "d", "n", "imbalance", "lambda_b")


def _row_names(table: Table, good: NDArray[np.bool_]) -> NDArray[Any]:
    """Loss, K, what else differs, and the predicted threshold."""
    theory = numbers(table, "c_theory")
    names = loss_names(table)
    for name in _TELLING:
        if name not in table:
            continue
        values = numbers(table, name)
        # What follows from the loss and K, as d = K may, goes without saying.
        tells = any(len(np.unique(values[good & (names == row)])) > 1 for row in set(names[good]))
        if name == "K" or tells:
            word = "$\\lambda_b$" if name == "lambda_b" else f"${name}$" if len(name) == 1 else name
            more = ["no bias" if np.isnan(v) else f"{word} = {v:g}" for v in values]
            names = np.array([f"{row}, {x}" for row, x in zip(names, more, strict=True)], object)
    rows = [f"{row}: $c^*$ = {c:.4g}" for row, c in zip(names, theory, strict=True)]
    return np.array(rows, dtype=object)
