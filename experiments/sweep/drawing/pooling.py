"""Rows of a sweep pooled into cells of a plane: their places, their values, what is missing."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from matplotlib.scale import SymmetricalLogTransform
from numpy.typing import NDArray

from experiments.losses import PARAMETERS
from experiments.sweep.columns import (
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
from ufm.errors import InputError
from ufm.typing import Array

# From the best to the worst: of several runs in one cell the worst is shown.
ORDERS: tuple[tuple[str, ...], ...] = (
    ("CONVERGED", "SADDLE_START", "STALLED", "MAX_ITERATIONS", "INTERRUPTED", "DIVERGED", "FAILED"),
    ("MORSE_BOTT_MINIMUM", "DEGENERATE", "STRICT_SADDLE", "UNDECIDED", "NOT_CRITICAL"),
    ("GLOBAL", "UNKNOWN", "NOT_GLOBAL"),
)
# Runs that have no point to judge.
LOST = ("DIVERGED", "FAILED")
# Kinds of text that colours can tell apart; the rarest others are one more.
MOST_KINDS, OTHER = 8, "other"
# What may differ between the runs of one cell, as it is named beside the colours.
SWEPT = ("K", "d", "n", "imbalance", "lambda_b", "c", "saddle", "seed")
PLURALS = {"seed": "seeds", "saddle": "saddles"}
# Below this share of a grid that is filled, the rows of the plane have values of their own.
FILLED = 0.5


@dataclass(frozen=True)
class Field:
    """Cells of a plane.

    Attributes:
        x, y: distinct values on the axes, increasing.
        x_scale, y_scale: linear, log or symlog.
        x_label, y_label: what is written at the axes.
        at: (cells, 2) values on the axes of each cell.
        corners: (cells, 4, 2) its corners.
        values: numbers (NaN: none) or text ("": none).
        failed: cells in which no run counts.
        partial: cells in which some runs do not count.
        what: what the values are, and how several runs of a cell were made one.
        share: whether the values are shares of runs.
    """

    x: Array
    y: Array
    x_scale: str
    y_scale: str
    x_label: str
    y_label: str
    at: Array
    corners: Array
    values: NDArray[Any]
    failed: NDArray[np.bool_]
    partial: NDArray[np.bool_]
    what: str
    share: bool

    @property
    def text(self) -> bool:
        """Whether the values are text."""
        return is_text(self.values)

    @property
    def missing(self) -> NDArray[np.bool_]:
        """Cells with runs that count, but without a value."""
        none = self.values == "" if self.text else np.isnan(self.values)
        return np.asarray(none & ~self.failed, dtype=np.bool_)


def pool(table: Table, x: str, y: str, value: str, *, share: str | None = None) -> Field:
    """The cells of a plane: median of numbers that converged, worst or most frequent text.

    Args:
        table: cells of a sweep with results.
        x: column along the horizontal axis.
        y: column along the vertical axis.
        value: column to pool.
        share: pool text to the share of runs in which it is this.

    Raises:
        InputError: an empty table, an unknown column, an axis that holds text or no number, one
            column for both axes, or a share of what is not in the column.

    Example:
        >>> rows = {"c": np.ones(3), "d": np.full(3, 2), "seed": np.arange(3)}
        >>> rows["nc2"] = np.array([0.1, 0.2, 0.6])
        >>> field = pool(rows, "c", "d", "nc2")
        >>> field.values.tolist(), field.what
        ([0.2], 'NC2, median of 3 seeds')
    """
    if x == y:
        raise InputError("Need two different columns for the axes", x, "choose another one")
    places = np.stack([snap(numbers(table, name)) for name in (x, y)], axis=1)
    values = texts(table, value) if is_text(column(table, value)) else numbers(table, value)
    placed = np.all(np.isfinite(places), axis=1)
    for i, name in enumerate((x, y)):
        if not np.isfinite(places[:, i]).any():
            rule = f"Need numbers in the column {name}"
            raise InputError(rule, "NaN only: its rows have none", "choose another axis")
    if not placed.any():
        raise InputError(f"Need rows with both {x} and {y}", "none", "choose other axes")
    at, member = np.unique(places[placed], axis=0, return_inverse=True)
    member = member.reshape(-1)
    counts = _counting(table, value, values)[placed]
    values = values[placed]
    if share is not None:
        if not is_text(values):
            got = f"numbers in {value}"
            raise InputError("Need text for a share", got, "choose a result or a verdict")
        known = sorted({str(v) for v in values})
        if share not in known:
            raise InputError(f"Need a value of {value} for the share", share, f"use one of {known}")
        values = (values == share).astype(np.float64)
    groups = [np.flatnonzero(member == i) for i in range(len(at))]
    kept = [rows[counts[rows]] for rows in groups]
    pooled: NDArray[Any]
    if share is not None:
        pooled, how = np.array([_mean(values[rows]) for rows in kept]), "share of"
    elif is_text(values):
        pooled, how = _pooled_text(values, kept)
    else:
        pooled, how = np.array([_median(values[rows]) for rows in kept]), "median of"
    named = kind_name(share) if share is not None else label(value)
    runs = _runs(table, placed, member, (x, y))
    scales = scale_of(np.unique(at[:, 0])), scale_of(np.unique(at[:, 1]))
    return Field(
        np.unique(at[:, 0]),
        np.unique(at[:, 1]),
        *scales,
        _axis_label(table, x, places[:, 0]),
        _axis_label(table, y, places[:, 1]),
        at,
        _corners(at, scales),
        pooled,
        np.array([not len(rows) for rows in kept]),
        np.array([0 < len(rows) < len(all_) for rows, all_ in zip(kept, groups, strict=True)]),
        f"{named}, {how} {runs}" if runs else named,
        share is not None,
    )


def _counting(table: Table, value: str, values: NDArray[Any]) -> NDArray[np.bool_]:
    """The rows whose value counts: a number needs convergence, a verdict says it itself."""
    if value == "result" or "result" not in table:
        return np.ones(len(values), dtype=np.bool_)
    if is_text(values):
        return np.asarray(~np.isin(texts(table, "result"), LOST), dtype=np.bool_)
    return converged(table)


def _median(values: Array) -> float:
    finite = values[np.isfinite(values)]
    return float(np.median(finite)) if len(finite) else np.nan


def _mean(values: Array) -> float:
    return float(np.mean(values)) if len(values) else np.nan


def _pooled_text(values: NDArray[Any], kept: list[NDArray[Any]]) -> tuple[NDArray[Any], str]:
    """One text for each cell: the worst where there is an order, else the most frequent."""
    names, many = np.unique(values[values != ""].astype(str), return_counts=True)
    order = next((kinds for kinds in ORDERS if set(names) <= set(kinds)), None)
    if order is None and len(names) > MOST_KINDS:
        rare = names[np.argsort(-many, kind="stable")[MOST_KINDS - 1 :]]
        values = np.where(np.isin(values.astype(str), rare), OTHER, values)
    pooled = []
    for rows in kept:
        here = [str(v) for v in values[rows] if v != ""]
        rank = here.count if order is None else order.index
        pooled.append(max(sorted(set(here)), key=rank, default=""))
    return np.array(pooled, dtype=object), "most frequent of" if order is None else "worst of"


def _runs(table: Table, placed: Any, member: Any, axes: tuple[str, str]) -> str:
    """What several runs of a cell differ in: "5 seeds"; nothing if all cells have one run."""
    sizes = np.bincount(member)
    if sizes.max() == 1:
        return ""
    columns: dict[str, NDArray[Any]] = {}
    for name in SWEPT:
        if name in table:
            values = np.asarray(table[name])
            columns[name] = (values if is_text(values) else snap(numbers(table, name)))[placed]
    if "loss" in table:
        known = all(name in table for names in PARAMETERS.values() for name in names)
        loss = loss_names(table) if known else texts(table, "loss")
        columns = {"loss": loss[placed], **columns}
    first = np.unique(member, return_index=True)[1][member]
    names = [
        name
        for name, values in columns.items()
        if name not in axes and np.any(values.astype(str) != values[first].astype(str))
    ]
    many = f"{sizes.max()}" if sizes.min() == sizes.max() else f"up to {sizes.max()}"
    if len(names) == 1:
        return f"{many} {PLURALS.get(names[0], f'values of {names[0]}')}"
    return f"{many} runs" + (f" ({', '.join(names)})" if names else "")


def _axis_label(table: Table, name: str, values: Array) -> str:
    word = label(name)
    if name == "n" and "counts" in table and np.any(texts(table, "counts") != ""):
        word = "samples of the smallest class $n$"
    left_out = int(np.sum(~np.isfinite(values)))
    return f"{word}  ({left_out} of {len(values)} rows have none)" if left_out else word


def kind_name(name: str) -> str:
    """A result or verdict as it is written in a legend.

    Example:
        >>> kind_name("MORSE_BOTT_MINIMUM"), kind_name("2|2")
        ('Morse-Bott minimum', '2|2')
    """
    known = {kind for order in ORDERS for kind in order}
    words = name.replace("_", " ").lower() if name in known else name
    return words.replace("morse bott", "Morse-Bott")


# ---- geometry


def _corners(at: Array, scales: tuple[str, str]) -> Array:
    """Corners of every cell: half way to its neighbours, on the scale of the axis.

    Where most of the grid is empty, as with a decay that follows the number of classes, a cell
    reaches to its neighbours in its own row or column instead.
    """
    nodes = [np.unique(at[:, i]) for i in (0, 1)]
    ragged = len(at) < FILLED * len(nodes[0]) * len(nodes[1])
    long = int(len(nodes[1]) > len(nodes[0]))
    low, high = np.empty_like(at), np.empty_like(at)
    for i in (0, 1):
        lines = np.unique(at[:, 1 - i]) if ragged and i == long else [None]
        for line in lines:
            here = slice(None) if line is None else at[:, 1 - i] == line
            own = np.unique(at[here, i])
            edges = cell_edges(own, scales[i])
            place = np.searchsorted(own, at[here, i])
            low[here, i], high[here, i] = edges[place], edges[place + 1]
    corners = [(low[:, 0], low[:, 1]), (high[:, 0], low[:, 1])]
    corners += [(high[:, 0], high[:, 1]), (low[:, 0], high[:, 1])]
    return np.stack([np.stack(corner, axis=1) for corner in corners], axis=1)


def cell_edges(nodes: Array, scale: str) -> Array:
    """Edges between values of an axis, and half a step beyond the first and the last one.

    Args:
        nodes: distinct values, increasing.
        scale: linear, log or symlog.

    Example:
        >>> cell_edges(np.array([1.0, 2.0, 4.0]), "linear").tolist()
        [0.5, 1.5, 3.0, 5.0]
        >>> cell_edges(np.array([1.0, 100.0]), "log").round(6).tolist()
        [0.1, 10.0, 1000.0]
    """
    if scale == "log":
        return np.asarray(np.exp(cell_edges(np.log(nodes), "linear")))
    if scale == "symlog":
        bend = SymmetricalLogTransform(10, float(nodes[nodes > 0].min()), 1)
        inner = np.asarray(bend.transform(nodes), dtype=np.float64)
        return np.asarray(bend.inverted().transform(cell_edges(inner, "linear")))
    if len(nodes) == 1:
        whole = float(nodes[0]).is_integer()
        half = 0.5 if whole else 0.5 * abs(float(nodes[0]))
        return np.array([nodes[0] - half, nodes[0] + half])
    middle = (nodes[1:] + nodes[:-1]) / 2
    return np.concatenate([[2 * nodes[0] - middle[0]], middle, [2 * nodes[-1] - middle[-1]]])
