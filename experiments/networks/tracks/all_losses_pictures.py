"""Figures of the all-losses map: width across, length of training up."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
from matplotlib import colormaps
from matplotlib.colors import Normalize
from matplotlib.patches import Rectangle

from experiments.networks.measures.equivalence import DIFFERS, EQUAL, OPEN
from experiments.networks.tracks.all_losses_judged import Judged, case_of, has_fitted
from experiments.networks.tracks.track import Result
from experiments.report.figures import (
    COLOURS,
    DARK,
    SPREADS,
    colours_over,
    draw_over_seeds,
    name_artists,
)
from landscape.plots.style import FAINT, INK, loss_colour, loss_marker

SIGNS = {EQUAL: "=", DIFFERS: "≠", OPEN: "?"}
FILLS = {EQUAL: "#bfe3d5", DIFFERS: "#f3c98b", OPEN: "white"}


def size_of(results: Sequence[Result]) -> tuple[float, float]:
    """Inches of a panel for so many widths and lengths.

    Example:
        >>> size_of([])
        (2.6, 2.6)
    """
    widths, lengths = _axes([r.cell.case for r in results])
    return max(2.6, 1.0 + 0.75 * len(widths)), max(2.6, 1.2 + 0.55 * len(lengths))


def draw_accuracy(results: Sequence[Result], method: str, ax: Any) -> Any:
    """Mean test accuracy of one loss at every width and length; hatched where a run did not fit."""
    norm = _colours(results)
    told = {case: (100 * m, 100 * s) for case, m, s in _by_case(results, method)}

    def cell(case: str) -> tuple[Any, str, bool, bool]:
        mine = [r for r in results if (r.cell.case, r.cell.method) == (case, method)]
        unfit = sum(not has_fitted(r) for r in mine)
        if not mine:
            return "white", "", False, False
        mean, std = told.get(case, (np.nan, np.nan))
        text = "stopped" if np.isnan(mean) else f"{mean:.1f}"
        text += "" if np.isnan(std) else f"\n± {std:.1f}"
        if unfit:
            return "white", f"{text}\n{unfit}/{len(mine)} unfit", True, False
        return colormaps[COLOURS](norm(mean)), text, False, float(norm(mean)) > DARK

    return _drawn([r.cell.case for r in results], cell, f"{method} (%)", ax)


def draw_verdicts(judged: Sequence[Judged], method: str, ax: Any) -> Any:
    """Difference to the first loss at every width and length, with its interval and verdict."""
    mine = {one.case: one for one in judged if one.method == method}

    def cell(case: str) -> tuple[Any, str, bool, bool]:
        one = mine.get(case)
        if one is None or one.told is None:
            return "white", "" if one is None else "did not\nfit", one is not None, False
        told = one.told
        text = f"{SIGNS[told.verdict]}  {100 * told.mean:+.1f}"
        if np.isfinite(told.low):
            text += f"\n{100 * told.low:+.1f} to {100 * told.high:+.1f}"
        return FILLS[told.verdict], text, False, False

    return _drawn([one.case for one in judged], cell, method, ax)


def draw_excess(results: Sequence[Result], width: float, ax: Any) -> Any:
    """Objective over the minimum of the model, minus 1, by length of training, at one width."""
    for method in dict.fromkeys(r.cell.method for r in results):
        at: dict[int, list[float]] = {}
        for r in results:
            seen, epochs = case_of(r.cell.case)
            if (r.cell.method, seen) == (method, width) and r.numbers.get("excess", 0.0) > 0:
                at.setdefault(epochs, []).append(r.numbers["excess"])
        x = sorted(at)
        look = {"marker": loss_marker(method), "color": loss_colour(method), "label": method}
        draw_over_seeds(ax, x, [at[epochs] for epochs in x], np.median, capsize=2, **look)
    every = [r.numbers["excess"] for r in results if r.numbers.get("excess", 0.0) > 0]
    ax.set_xscale("log")
    ax.set_yscale("log")
    if every:
        ax.set_ylim(min(every) / 1.5, max(every) * 1.5)  # of all widths
    ax.set_xticks(sorted({case_of(r.cell.case)[1] for r in results}))
    ax.minorticks_off()
    ax.xaxis.set_major_formatter("{x:g}")
    ax.set_title(f"width {width:g}")
    ax.set_xlabel("epochs of training")
    ax.set_ylabel("objective / minimum $-$ 1")
    name_artists(ax, loc="best", fontsize="small")
    return ax


def _colours(results: Sequence[Result]) -> Normalize:
    """One scale for all losses, over what fitted, in per cent."""
    told = _by_case([r for r in results if has_fitted(r)])
    means = np.array([100 * mean for _, mean, _ in told] or [50.0])
    spreads = [100 * std for _, _, std in told if std > 0]
    return colours_over(means, SPREADS * float(np.median(spreads)) if spreads else 1.0)


def _axes(cases: Sequence[str]) -> tuple[list[float], list[int]]:
    told = [case_of(case) for case in cases]
    return sorted({width for width, _ in told}), sorted({epochs for _, epochs in told})


def _by_case(
    results: Sequence[Result], method: str | None = None
) -> list[tuple[str, float, float]]:
    """Case, mean and spread of the test accuracy, of one loss or of every one."""
    values: dict[tuple[str, str], list[float]] = {}
    for r in results:
        if method in (None, r.cell.method) and "test_accuracy" in r.numbers:
            key = r.cell.case, r.cell.method
            values.setdefault(key, []).append(r.numbers["test_accuracy"])
    return [
        (case, float(np.mean(v)), float(np.std(v, ddof=1)) if len(v) > 1 else np.nan)
        for (case, _), v in values.items()
    ]


def _drawn(
    cases: Sequence[str], cell: Callable[[str], tuple[Any, str, bool, bool]], title: str, ax: Any
) -> Any:
    """A rectangle per width and length: its colour, its text, whether hatched, whether dark."""
    widths, lengths = _axes(cases)
    for case in dict.fromkeys(cases):
        width, epochs = case_of(case)
        place = widths.index(width), lengths.index(epochs)
        colour, text, hatched, dark = cell(case)
        box = Rectangle((place[0] - 0.5, place[1] - 0.5), 1, 1, facecolor=colour, edgecolor="white")
        if hatched:
            box.set(hatch="///", edgecolor=FAINT, linewidth=0.5, alpha=0.5)
        ax.add_patch(box)
        label = ax.text(*place, text, ha="center", va="center", size=7)
        label.set_color("white" if dark else INK)
        if hatched:
            label.set_bbox({"facecolor": "white", "edgecolor": "none", "pad": 1.0})
    ax.set_xlim(-0.5, len(widths) - 0.5)
    ax.set_ylim(-0.5, len(lengths) - 0.5)
    ax.set_xticks(range(len(widths)), [f"{width:g}" for width in widths])
    ax.set_yticks(range(len(lengths)), [str(epochs) for epochs in lengths])
    ax.set_xlabel("width")
    ax.set_ylabel("epochs")
    ax.set_title(title)
    ax.grid(False)
    ax.tick_params(length=0)
    return ax
