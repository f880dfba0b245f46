"""The figures of a sweep, and the one that each task is drawn as when nothing else is asked for."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import partial
from types import MappingProxyType
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from experiments.losses import EVERY_PARAMETER
from experiments.sweep.columns import (
    Table,
    column,
    converged,
    is_text,
    loss_names,
    numbers,
    snap,
    texts,
)
from experiments.sweep.drawing.comparisons import (
    METRICS,
    escape_times,
    measured_thresholds,
    rate_against_prediction,
)
from experiments.sweep.drawing.phase import phase_diagram, small_multiples
from experiments.sweep.drawing.profiles import profile, profiles
from ufm.errors import InputError
from ufm.typing import Array

__all__ = [
    "FIGURES",
    "escape_times",
    "measured_thresholds",
    "phase_diagram",
    "profile",
    "profiles",
    "rate_against_prediction",
    "small_multiples",
    "swept",
]

# Columns that make good axes, the horizontal ones first.
AXES = ("c", "lambda_W", "lambda_H", "lambda_b", *EVERY_PARAMETER, "imbalance", "K", "n", "d")
# Of columns that follow each other, the first of these: decays follow sizes, not the reverse.
LEADING = (*EVERY_PARAMETER, "imbalance", "K", "n", "d", "lambda_b", "c", "lambda_W", "lambda_H")


def swept(table: Table) -> tuple[str, ...]:
    """The columns that span a table: the pair that tells most cells apart on the smallest grid.

    What follows from other columns is no axis: c and K are taken, and not the decay that they
    determine. Columns come in the order of ``AXES``.

    Returns:
        Two names, or one if a single column varies.

    Raises:
        InputError: an empty table, or one in which nothing varies.

    Example:
        >>> rows = {"c": np.array([1.0, 2, 1, 2]), "K": np.array([3, 3, 4, 4])}
        >>> swept({**rows, "lambda_W": rows["c"] / rows["K"]})
        ('c', 'K')
    """
    columns: dict[str, Array] = {}
    several = "loss" in table and len(set(texts(table, "loss").tolist())) > 1
    own = _own_axes(table)
    for name in own or AXES:
        # Losses side by side have no common parameter.
        if name in table and not (several and name in EVERY_PARAMETER):
            values = snap(numbers(table, name))
            if len(np.unique(values[np.isfinite(values)])) > 1:
                columns[name] = values
    if not columns:
        got = f"the same model in all of {len(column(table, next(iter(table), 'c')))} rows"
        raise InputError("Need a column that varies", got, "sweep an axis")
    # Of columns that follow each other one is enough.
    names: list[str] = []
    for name in sorted(columns, key=(own or LEADING).index):
        if not any(_same(columns[name], columns[other]) for other in names):
            names.append(name)
    # A decay follows from c and K; it has more values than either, for c would follow from it too.
    few = {name: _places(columns[name]) for name in names}
    names = [
        name
        for name in sorted(names, key=(own or AXES).index)
        if not _follows(columns[name], [columns[x] for x in names if few[x] < few[name]])
    ]
    pairs = [(a, b) for i, a in enumerate(names) for b in names[i + 1 :]]

    def spans(pair: tuple[str, str]) -> tuple[int, int]:
        one, other = (columns[name] for name in pair)
        return _places(one, other), -_places(one) - _places(other)

    return max(pairs, key=spans, default=(names[0],))


def _own_axes(table: Table) -> list[str]:
    """The numbers that a sweep over another model than the plain one varied, in its order."""
    if "model" not in table or "result" not in table:
        return []
    written = list(table)[: list(table).index("result")]
    return [x for x in written if x not in ("cell", "seed") and not is_text(table[x])]


def _places(*columns: Array) -> int:
    """How many combinations of values there are, of rows that have all of them."""
    places = np.stack(columns)
    return int(np.unique(places[:, np.all(np.isfinite(places), axis=0)], axis=1).shape[1])


def _follows(column: Array, others: list[Array]) -> bool:
    """Whether a column is a function of others."""
    return bool(others) and _places(*others) == _places(*others, column)


def _same(one: Array, other: Array) -> bool:
    """Whether each of two columns is a function of the other one."""
    return _places(one) == _places(other) == _places(one, other)


def _plane(table: Table, figure: Figure, value: str) -> tuple[Axes, ...]:
    """A column over the two axes of a sweep, a panel for each loss; a profile over one axis."""
    axes = swept(table)
    several = len(set(loss_names(table).tolist())) > 1 and not set(EVERY_PARAMETER) & set(axes)
    if len(axes) == 2:
        x, y = axes
        if several:
            return small_multiples(table, figure, x=x, y=y, value=value)
        return (phase_diagram(table, _panel(figure), x=x, y=y, value=value),)
    return (profile(table, _panel(figure), x=axes[0], value=value),)


def _verdicts(table: Table, figure: Figure) -> tuple[Axes, ...]:
    """Curvature over the plane; over one axis, where a line of words is none, the index."""
    return _plane(table, figure, "curvature" if len(swept(table)) == 2 else "index")


def _rates(table: Table, figure: Figure) -> tuple[Axes, ...]:
    """NC2, or the first metric that has a measured and a predicted rate."""
    for metric in ("nc2", *METRICS):
        both = [numbers(table, f"{kind}_{metric}") for kind in ("rate", "predicted")]
        if np.any(np.all(np.isfinite(both), axis=0) & converged(table)):
            break
    return (rate_against_prediction(table, _panel(figure), metric=metric),)


def _thresholds(table: Table, figure: Figure) -> tuple[Axes, ...]:
    return (measured_thresholds(table, _panel(figure)),)


def _escapes(table: Table, figure: Figure) -> tuple[Axes, ...]:
    return (escape_times(table, _panel(figure)),)


def _panel(figure: Figure) -> Any:
    if figure.get_layout_engine() is None:
        figure.set_layout_engine("constrained")
    return figure.subplots()


# What a task is drawn as: (table, an empty figure of the final size) -> its panels.
FIGURES: Mapping[str, Callable[[Table, Figure], tuple[Axes, ...]]] = MappingProxyType(
    {
        "minimise": partial(_plane, value="rank"),
        "verdict": _verdicts,
        "threshold": _thresholds,
        "rate": _rates,
        "from_saddle": _escapes,
        "spectrum": partial(_plane, value="condition"),
    }
)
