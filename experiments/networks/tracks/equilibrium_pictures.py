"""Figures of the track of equilibrium layers."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
from matplotlib.ticker import MaxNLocator

from experiments.networks.tracks.track import Result
from experiments.report.figures import name_artists
from landscape.plots.style import BLUE, FAINT, GREEN, INK, ORANGE

COLOURS = {"relu": BLUE, "linear": ORANGE, "explicit": GREEN}
MARKERS = {"relu": "o", "linear": "s", "explicit": "D"}
NAMES = {"relu": "equilibrium, ReLU", "linear": "equilibrium, linear", "explicit": "two steps"}
# Side by side around the places of the axis.
SHIFTS = {"relu": -0.2, "linear": 0.0, "explicit": 0.2}


def draw_eigenvalues(results: Sequence[Result], case: str, ax: Any) -> Any:
    """Eigenvalues of V by size, and those of least decay at the trained logits."""
    for method, colour in COLOURS.items():
        mine = [r for r in results if (r.cell.case, r.cell.method) == (case, method)]
        mine = [r for r in mine if "eigenvalues" in r.series]
        if not mine:
            continue
        seen = np.mean([r.series["eigenvalues"] for r in mine], axis=0)
        at = np.arange(1, len(seen) + 1) + SHIFTS[method]
        ax.plot(at, seen, MARKERS[method], color=colour, markersize=4, label=NAMES[method])
        told = np.mean([r.series["predicted"] for r in mine], axis=0)
        label = "predicted" if method == "linear" else None
        ax.plot(at, told, "x", color=INK, markersize=6, label=label)
    ax.set_title(case)
    ax.set_xlabel("number, by size")
    ax.set_ylabel("eigenvalue of V")
    ax.xaxis.set_major_locator(MaxNLocator(integer=True))
    ax.set_ylim(top=1.7 * ax.get_ylim()[1])  # room for the legend
    name_artists(ax, loc="upper right", fontsize="small")
    return ax


def draw_logits(
    results: Sequence[Result],
    predicted: Callable[[float], tuple[float, float]],
    c: float,
    ax: Any,
) -> Any:
    """Own logits by ratio; ``predicted`` gives those of majority and minority."""
    ratios = {r.cell.case: _ratio(r.cell.case) for r in results}
    at = np.geomspace(1, max(2.0, 1.2 * max(ratios.values())), 60)
    told = np.array([predicted(ratio) for ratio in at])
    if np.isfinite(told).any():
        ax.plot(at, told[:, 0], color=INK, label="minimum, majority")
        ax.plot(at, told[:, 1], color=INK, linestyle="--", label="minimum, minority")
        ax.axvline(1 / c**2, color=FAINT, linestyle=":")
    for method, colour in COLOURS.items():
        for key, filled in (("own", True), ("own_minority", False)):
            mine = [
                (ratios[r.cell.case], r.numbers[key])
                for r in results
                if r.cell.method == method and key in r.numbers
            ]
            places = sorted({ratio for ratio, _ in mine})
            means = [np.mean([y for ratio, y in mine if ratio == x]) for x in places]
            style = {"color": colour, "markerfacecolor": colour if filled else "none"}
            label = NAMES[method] if filled else None
            ax.plot(places, means, MARKERS[method], label=label, **style)
    ax.set_xscale("log")
    ax.set_xticks(sorted(set(ratios.values())), [f"{x:g}" for x in sorted(set(ratios.values()))])
    ax.minorticks_off()
    ax.set_xlabel("majority over minority")
    ax.set_ylabel("own logit")
    name_artists(ax, loc="lower left", fontsize="small")
    return ax


def _ratio(case: str) -> float:
    return 1.0 if case == "balanced" else float(case.split()[0])
