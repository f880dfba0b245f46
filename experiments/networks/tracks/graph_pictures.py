"""Figures of the track of graph networks."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from experiments.networks.tracks.track import Result
from experiments.report.figures import draw_over_seeds, name_artists
from landscape.plots.style import BLUE, FAINT, GREEN, INK, ORANGE, PURPLE, RED, SKY

COLOURS = {
    "gnn": BLUE,
    "gnn-w2-only": ORANGE,
    "free": SKY,
    "free-w2-only": PURPLE,
    "bethe-hessian": GREEN,
    "laplacian": RED,
}
NAMES = {
    "gnn": "network",
    "gnn-w2-only": "network, W2 alone",
    "free": "free features",
    "free-w2-only": "free, W2 alone",
    "bethe-hessian": "Bethe-Hessian",
    "laplacian": "Laplacian",
}
# The network beside which free features are drawn.
BESIDE = {"gnn": "free", "gnn-w2-only": "free-w2-only"}
MARKERS = "osD^vPX"


def draw_layers(results: Sequence[Result], case: str, method: str, ax: Any) -> Any:
    """NC1 by layer, at the end and on the way, and that of free features."""
    mine = [r for r in results if (r.cell.case, r.cell.method) == (case, method) and r.series]
    if mine:
        epochs = sorted(
            int(name.split()[-1]) for name in mine[0].series if name.startswith("nc1 after")
        )
        curves = [np.mean([r.series[f"nc1 after {k}"] for r in mine], axis=0) for k in epochs]
        at = np.arange(len(curves[0]))
        for number, curve in enumerate(curves[:-1], 1):
            strength = 0.15 + 0.5 * number / len(curves)
            label = "fewer epochs" if number == 1 else None
            ax.plot(at, curve, color=COLOURS[method], alpha=strength, linewidth=1, label=label)
        ends = np.array([r.series[f"nc1 after {epochs[-1]}"] for r in mine])
        style = {"color": COLOURS[method], "marker": "o", "markersize": 4, "capsize": 2}
        draw_over_seeds(ax, at, ends.T, label=f"{NAMES[method]}, all epochs", **style)
    free = [r for r in results if (r.cell.case, r.cell.method) == (case, BESIDE[method])]
    if free:
        level = float(np.mean([r.numbers["nc1"] for r in free]))
        ax.axhline(level, color=INK, linestyle="--", label=f"{NAMES[BESIDE[method]]}: {level:.2g}")
    ax.set_yscale("log")
    ax.set_xlabel("layer")
    ax.set_ylabel("NC1")
    # Beside the curves: those of W2 alone fall earlier.
    place: dict[str, Any] = {"loc": "upper right"}
    if method == "gnn":
        place = {"loc": "lower left", "bbox_to_anchor": (0, 0.08)}
    name_artists(ax, **place)
    return ax


def draw_methods(results: Sequence[Result], methods: Sequence[str], ax: Any) -> Any:
    """Overlap of every method by case."""
    cases = list(dict.fromkeys(r.cell.case for r in results))
    room = 0.8 / len(methods)
    for number, method in enumerate(methods):
        for place, case in enumerate(cases):
            mine = [r for r in results if (r.cell.case, r.cell.method) == (case, method)]
            x = place + (number - (len(methods) - 1) / 2) * room
            own = [r.numbers.get("overlap", r.numbers.get("overlap_train")) for r in mine]
            label = NAMES[method] if place == 0 else None
            style = {"color": COLOURS[method], "marker": MARKERS[number], "capsize": 3}
            _draw_spread(ax, x, own, label=label, **style)
            few = [r.numbers.get("overlap_steps") for r in mine]
            _draw_spread(ax, x, few, markerfacecolor="none", label=None, **style)
    ax.set_xticks(range(len(cases)), [f"case {case}" for case in cases])
    ax.set_xlim(-0.6, len(cases) - 0.4)
    ax.set_ylabel("overlap")
    ax.set_ylim(-0.05, 1.05)
    name_artists(ax, loc="center right", fontsize="small")
    return ax


def _draw_spread(ax: Any, x: float, values: Sequence[float | None], **style: Any) -> None:
    told = [v for v in values if v is not None]
    draw_over_seeds(ax, [x], [told] if told else [], linestyle="none", **style)


def draw_steps(curves: Mapping[str, tuple[Any, Any]], marked: int, ax: Any) -> Any:
    """Cosine of the power iteration with the second eigenvector by steps, from the spectrum.

    Args:
        curves: method -> ratios mu_j / mu_2 and parts c_j of the start, from j = 2 on.
        marked: steps at which a line stands.
        ax: where.
    """
    at = np.unique(np.geomspace(1, 2000, 80).astype(int))
    for method, (ratios, parts) in curves.items():
        weights = [parts**2 * ratios ** (2 * steps) for steps in at]
        cosines = [np.sqrt(w[0] / w.sum()) for w in weights]
        ax.plot(at, cosines, color=COLOURS[method], label=NAMES[method])
    ax.axvline(marked, color=FAINT, linestyle="--", label=f"{marked} steps")
    ax.set_xscale("log")
    ax.set_xlabel("steps")
    ax.set_ylabel("cosine with the second eigenvector")
    ax.set_ylim(0, 1.05)
    name_artists(ax, loc="lower right")
    return ax
