"""Numbers against epochs: one line per objective, its spread over seeds as a band."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from matplotlib.ticker import FuncFormatter

from experiments.networks.runs import Run
from landscape.plots.style import FAINT, INK, LOSS_COLOURS, PURPLE, RED, SKY, YELLOW, loss_colour
from ufm.errors import InputError

# What a number is called on an axis, and whether its axis is logarithmic.
NAMES: Mapping[str, tuple[str, bool]] = {
    "nc0": ("NC0, |Wᵀ1|²/K", True),
    "nc1_geo": ("NC1, tr(Sw Sb⁺)/K", True),
    "nc1_ratio": ("NC1, tr Sw / tr Sb", True),
    "cdnv_mean": ("NC1, mean CDNV", True),
    "nc2_geo": ("NC2 of W", True),
    "nc2_rwu": ("NC2 of the means", True),
    "equiangle_means": ("NC2, mean |cos + 1/(K-1)|", True),
    "nc3_geo": ("NC3, W against means", True),
    "nc3_phd": ("NC3, |W/|W| - M/|M||²", True),
    "nc4_phd": ("NC4, share of disagreement", False),
    "train_error": ("train error", False),
    "test_error": ("test error", False),
    "train_accuracy": ("train accuracy", False),
    "test_accuracy": ("test accuracy", False),
    "square_W": ("|W|²", False),
    "square_H": ("|H|²", True),
    "logit_gap": ("logit gap", False),
    "objective_now": ("objective", True),
    "hessian_W_largest": ("largest eigenvalue in W", True),
    "path_distance": ("distance from the central path", True),
    "ece": ("ECE, 15 bins", False),
    "agreement": ("equal predictions", False),
    "cka": ("CKA of the features", False),
}
# Numbers that have an exact value beside them, and its name.
LAWS = {"nc0": "nc0_law"}
SPARE = (SKY, RED, YELLOW, PURPLE, INK, FAINT)
_RAISED = str.maketrans("-0123456789", "⁻⁰¹²³⁴⁵⁶⁷⁸⁹")
DASHES = ("-", "--", ":", "-.")


def label_of(name: str) -> str:
    """What a number is called.

    Example:
        >>> label_of("square_W"), label_of("probe_mnist")
        ('|W|²', 'probe mnist')
    """
    return NAMES.get(name, (name.replace("_", " "), False))[0]


def colours(labels: Sequence[str]) -> dict[str, str]:
    """A colour for every objective: that of its loss in all diagrams, else one that is left.

    Example:
        >>> colours(["ce", "sigmoid"])["ce"] == loss_colour("ce")
        True
    """
    spare = iter(SPARE * (1 + len(labels) // len(SPARE)))
    return {
        label: loss_colour(label) if label.split("(")[0] in LOSS_COLOURS else next(spare)
        for label in labels
    }


def curves(runs: Mapping[str, Sequence[Run]], name: str, ax: Any) -> Any:
    """One number after each measured epoch: the median over seeds, in a band from least to most.

    Values that are not positive are left out of a logarithmic axis, which becomes linear where they
    all lie within a factor of two. Runs that stopped early are
    drawn as far as they went. What a number is by an exact law stands on its line as dots.

    Args:
        runs: by objective, in the order of the legend.
        name: of a measure; ``test_error`` and ``train_error`` are 1 - accuracy.
        ax: to draw on.

    Raises:
        InputError: no run has the number.
    """
    chosen = colours(list(runs))
    drawn = False
    logarithmic = NAMES.get(name, ("", False))[1]
    for place, (label, members) in enumerate(runs.items()):
        at = _by_epoch(members, name, logarithmic)
        if not at:
            continue
        drawn = True
        x = np.array(sorted(at))
        low, middle, high = (
            np.array([f(at[epoch]) for epoch in x]) for f in (np.min, np.median, np.max)
        )
        dash = DASHES[place % len(DASHES)]
        ax.fill_between(x, low, high, color=chosen[label], alpha=0.2, linewidth=0)
        ax.plot(x, middle, color=chosen[label], linestyle=dash, label=label)
    if name in LAWS:
        _dots(runs, LAWS[name], ax)
    if not drawn:
        raise InputError("Need a number that some run has measured", name, "choose another")
    _by_decades(ax, "x")
    # Within a factor of two a logarithmic axis would have no number on it.
    if logarithmic and ax.dataLim.y1 > 2 * ax.dataLim.y0:
        _by_decades(ax, "y")
    ax.set_xlabel("epoch")
    ax.set_ylabel(label_of(name))
    return ax


def _by_epoch(members: Sequence[Run], name: str, logarithmic: bool) -> dict[int, list[float]]:
    """The values of some runs at every epoch that has one."""
    at: dict[int, list[float]] = {}
    for run in members:
        for record in run.records:
            value = _value(record.measures, name)
            if value is not None and (value > 0 or not logarithmic):
                at.setdefault(record.epoch, []).append(value)
    return at


def _dots(runs: Mapping[str, Sequence[Run]], name: str, ax: Any) -> None:
    """The median of a law over seeds; one entry in the legend for all objectives."""
    label: str | None = "exact law"
    for members in runs.values():
        at = _by_epoch(members, name, logarithmic=True)
        if at:
            x = sorted(at)
            y = [np.median(at[epoch]) for epoch in x]
            ax.plot(x, y, "o", color=INK, markersize=2.5, label=label)
            label = None


def _by_decades(ax: Any, which: str) -> None:
    """A logarithmic axis with labels in plain text, which draw ten times as fast as formulas."""
    getattr(ax, f"set_{which}scale")("log")
    axis = getattr(ax, f"{which}axis")
    low, high = axis.get_view_interval()
    narrow = high < 30 * low
    axis.set_major_formatter(FuncFormatter(lambda value, _: power_of_ten(value)))
    axis.set_minor_formatter(FuncFormatter(lambda value, _: _between(value) if narrow else ""))


def power_of_ten(value: float) -> str:
    """10ⁿ in plain text, and small whole powers as they are.

    Example:
        >>> power_of_ten(1e-3), power_of_ten(100.0), power_of_ten(1e5)
        ('10⁻³', '100', '10⁵')
    """
    exponent = round(math.log10(value))
    if 0 <= exponent <= 3:
        return f"{10**exponent}"
    return "10" + str(exponent).translate(_RAISED)


def _between(value: float) -> str:
    """2 and 5 times a power of ten."""
    first = f"{value:e}"[0]
    return f"{value:g}" if first in "25" else ""


def _value(measures: Mapping[str, float], name: str) -> float | None:
    if name.endswith("_error"):
        accuracy = measures.get(name.replace("_error", "_accuracy"))
        return None if accuracy is None else 1 - accuracy
    return measures.get(name)
