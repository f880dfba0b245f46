"""``ufm sweep figure``: which figure suits a table, along which columns, and in which size."""

from __future__ import annotations

import math
from collections.abc import Mapping
from pathlib import Path

from matplotlib.figure import Figure

from experiments.figures import blank_figure, save_figure
from experiments.nearest import unknown
from experiments.sweep.columns import Table, column, loss_names
from experiments.sweep.drawing.figures import (
    FIGURES,
    escape_times,
    measured_thresholds,
    phase_diagram,
    profile,
    profiles,
    rate_against_prediction,
    small_multiples,
    swept,
)
from experiments.sweep.drawing.legends import make_room
from experiments.sweep.drawing.phase import PANEL, panels_of
from experiments.sweep.drawing.profiles import arranged
from experiments.sweep.selection import combined, select
from landscape.plots import style
from ufm.errors import InputError

# The column that answers the question of each task; a line needs numbers.
VALUES = {
    "minimise": "rank",
    "verdict": "curvature",
    "spectrum": "condition",
    "rate": "rate_nc2",
    "threshold": "c_measured",
    "from_saddle": "escape_time",
}
IN_NUMBERS = {"curvature": "index"}
# The figure of a task that is drawn along chosen columns no more.
FIXED = {"rate": "rate", "threshold": "thresholds", "from_saddle": "escape"}
TAKES = {
    "phase": {"x", "y", "value"},
    "profile": {"x", "value", "by"},
    "multiples": {"x", "y", "value", "by"},
    "rate": {"value"},
    "thresholds": set[str](),
    "escape": set[str](),
}
# Height over width of one panel, and of each of several profiles; inches of a row and a frame.
ASPECT = {"phase": 0.9, "profile": 0.75, "rate": 0.95, "escape": 0.95}
STACKED = 0.6
ROW, FRAME = 0.15, 0.8
MOST_ROWS = 60


def draw_figure(
    table: Table,
    task: str,
    file: Path,
    kind: str | None,
    columns: Mapping[str, str | None],
    width: float,
) -> str:
    """Draw a table into a file, which appears all at once.

    Args:
        table: of a sweep.
        task: of the sweep.
        file: ends in .pdf, .svg or .png.
        kind: a key of ``TAKES``; None for what suits the task and the columns.
        columns: "x", "y", "value", "by" and "where", the rows to draw; None where the table
            decides. Several values, separated by commas, have a profile each.
        width: of the figure in inches.

    Returns:
        What was drawn, in words.

    Raises:
        InputError: an unknown column, one that the kind does not take, or a table that does not
            suit the kind.
    """
    if task not in VALUES:
        raise unknown(task, VALUES, "task")
    given = {name: value for name, value in columns.items() if value is not None}
    if "where" in given:
        table = select(table, given.pop("where"))
    if kind != "rate":
        for name in _names(given):
            table = combined(table, name)
            column(table, name)
    kind = kind or _suited(table, task, given)
    if kind not in TAKES:
        raise unknown(kind, TAKES, "kind of figure")
    if kind in FIXED.values() and FIXED.get(task) != kind:
        needed = next(name for name, drawn in FIXED.items() if drawn == kind)
        rule = f"--kind {kind} draws a sweep of the task {needed}"
        raise InputError(rule, f"the task {task}", "choose another kind")
    for name in given:
        if name not in TAKES[kind]:
            flags = ", ".join(f"--{other}" for other in sorted(TAKES[kind])) or "none"
            rule = f"Need the columns that --kind {kind} takes: {flags}"
            raise InputError(rule, f"--{name}", "drop it, or choose another kind")
    with style():
        figure = blank_figure(width, width)
        words = _draw(table, task, figure, kind, given, width)
        make_room(figure)
        save_figure(figure, file)
    return words


def _values(given: Mapping[str, str]) -> list[str]:
    """The columns that are drawn: one, or several for a profile each."""
    return [name.strip() for name in given.get("value", "").split(",") if name.strip()]


def _names(given: Mapping[str, str]) -> list[str]:
    """All columns that were asked for."""
    return [*(name for key, name in given.items() if key != "value"), *_values(given)]


def _suited(table: Table, task: str, given: Mapping[str, str]) -> str:
    """The kind of figure for a task and the columns that were asked for."""
    if not given and task in FIXED:
        return FIXED[task]
    if len(_values(given)) > 1:
        return "profile"
    if "y" in given:
        return "multiples" if "by" in given else "phase"
    if "by" in given and task in FIGURES:
        return "profile"
    several = "loss" in table and len(set(loss_names(table).tolist())) > 1
    if len(swept(table)) == 1:
        return "profile"
    return "multiples" if several else "phase"


def _draw(
    table: Table, task: str, figure: Figure, kind: str, given: Mapping[str, str], width: float
) -> str:
    if kind == "thresholds":
        rows = min(MOST_ROWS, len(set(zip(loss_names(table), table["K"], strict=True))))
        figure.set_size_inches(width, FRAME + max(4, rows) * ROW)
        measured_thresholds(table, figure.subplots())
        return "measured thresholds"
    figure.set_size_inches(width, ASPECT.get(kind, 1.0) * width)
    if kind == "rate":
        metric = given.get("value", "nc2")
        rate_against_prediction(table, figure.subplots(), metric=metric)
        return f"rates of {metric}"
    if kind == "escape":
        escape_times(table, figure.subplots())
        return "times of escape"
    x, y = _axes(table, given, kind)
    value = given.get("value", VALUES[task] if VALUES[task] in table else "objective")
    by = given.get("by", "loss" if "loss" in table else "model")
    if kind == "profile":
        values = _values(given) or [IN_NUMBERS.get(value, value)]
        if len(values) > 1:
            down, across = arranged(len(values), width)
            figure.set_size_inches(width, FRAME + STACKED * down * width / across)
            profiles(table, figure, x=x, values=values, by=by)
        else:
            profile(table, figure.subplots(), x=x, value=values[0], by=by)
        return f"{', '.join(values)} over {x}"
    if len(_values(given)) > 1:
        raise InputError(f"Need one value for --kind {kind}", repr(value), "use --kind profile")
    if kind == "phase":
        phase_diagram(table, figure.subplots(), x=x, y=y, value=value)
        return f"{value} over {x} and {y}"
    panels = len(panels_of(table, by, x, y))
    across = max(1, min(panels, int(width / PANEL)))
    down = math.ceil(panels / across)
    figure.set_size_inches(width, FRAME + down * min(PANEL, 0.9 * width / across))
    small_multiples(table, figure, x=x, y=y, value=value, by=by)
    return f"{value} over {x} and {y}, by {by}"


def _axes(table: Table, given: Mapping[str, str], kind: str) -> tuple[str, str]:
    """The columns along the axes: as asked for, else those that span the table."""
    if "x" in given and ("y" in given or kind == "profile"):
        return given["x"], given.get("y", "")
    free = [name for name in swept(table) if name not in given.values()]
    x = given.get("x") or free.pop(0)
    if kind == "profile":
        return x, ""
    if "y" not in given and not free:
        raise InputError("Need a second column that varies", "one", "give --y, or --kind profile")
    return x, given.get("y") or free[0]
