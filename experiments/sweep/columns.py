"""Columns of a sweep's table: asked for by name, read as numbers, named as people say them."""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType
from typing import Any

import numpy as np
from numpy.typing import NDArray

from experiments.losses import PARAMETERS, loss_label
from experiments.nearest import unknown
from ufm.errors import InputError
from ufm.typing import Array

Table = Mapping[str, NDArray[Any]]

# Numbers that a few operations have made different: a few roundings, with room.
ROUNDING = 1e-9

LABELS: Mapping[str, str] = MappingProxyType(
    {
        "K": "classes $K$",
        "d": "feature dimension $d$",
        "n": "samples per class $n$",
        "N": "samples $N$",
        "c": r"weight decay $c=\sqrt{KN\lambda_W\lambda_H}$",
        "imbalance": r"imbalance $n_{\max}/n_{\min}$",
        "lambda_W": r"weight decay $\lambda_W$",
        "lambda_H": r"feature decay $\lambda_H$",
        "lambda_b": r"bias decay $\lambda_b$",
        "smoothing": r"smoothing $\delta$",
        "gamma": r"focusing $\gamma$",
        "kappa": r"own weight $\kappa$",
        "target": "target $M$",
        "tau": r"adjustment $\tau$",
        "margin": "margin",
        "objective": "objective $f$",
        "gradient_norm": "gradient norm",
        "rank": "rank of $WH$",
        "W_norm": r"$\Vert W\Vert$",
        "H_norm": r"$\Vert H\Vert$",
        "nc1": "NC1",
        "nc2": "NC2",
        "nc3": "NC3",
        "margin_excess": "cost of margins above SELI",
        "rate_nc1": "rate of NC1",
        "rate_nc2": "rate of NC2",
        "rate_nc3": "rate of NC3",
        "theory": "global minimum $f^*$",
        "excess": "excess $f-f^*$",
        "size": "norm of the point",
        "theory_size": "norm of the global minimum",
        "gap": "smallest positive eigenvalue",
        "c_measured": "measured threshold $c^*$",
        "c_theory": "predicted threshold $c^*$",
        "condition": "condition number",
        "condition_W": "condition number, $W$ block",
        "condition_H": "condition number, $H$ block",
        "loss_condition_W": "condition number, $W$ block, no decay",
        "loss_condition_H": "condition number, $H$ block, no decay",
        "smallest": "smallest eigenvalue",
        "largest": "largest eigenvalue",
        "depth": "weight matrices above the features",
        "inside": "neighbours in the own class",
        "outside": "neighbours in each other class",
        "seconds": "seconds",
        "result": "result",
    }
)


def label(name: str) -> str:
    r"""A column, or a product or quotient of columns, as it is written at an axis.

    Example:
        >>> label("rank"), label("escape_time"), label("lambda_Z")
        ('rank of $WH$', 'escape time', 'weight decay $\\lambda_{Z}$')
        >>> label("rate_nc2/lambda_W"), label("rate_nc2*step")
        ('rate of NC2 / $\\lambda_W$', 'rate of NC2 · step')
    """
    for sign, between in (("/", " / "), ("*", " · ")):
        if sign in name:
            first, *rest = (label(part.strip()) for part in name.split(sign))
            # Symbols say enough of what it is taken relative to.
            return between.join([first, *(word[max(word.find("$"), 0) :] for word in rest)])
    if name.startswith("lambda_") and name not in LABELS:
        return rf"weight decay $\lambda_{{{name.removeprefix('lambda_')}}}$"
    return LABELS.get(name, name.replace("_", " "))


def column(table: Table, name: str) -> NDArray[Any]:
    """A column by its name.

    Raises:
        InputError: an empty table, or no such column; it names the closest one.

    Example:
        >>> column({"rank": np.array([2])}, "rnak")
        Traceback (most recent call last):
        ufm.errors.InputError: Unknown column. Got 'rnak'. Remedy: write 'rank'.
    """
    if not table or not len(next(iter(table.values()))):
        raise InputError("Need a table with at least one row", "an empty one", "run the sweep")
    if name not in table:
        raise unknown(name, table, "column")
    return np.asarray(table[name])


def is_text(values: NDArray[Any]) -> bool:
    """Whether a column holds text.

    Example:
        >>> is_text(np.array(["ce"], dtype=object)), is_text(np.array([1.0]))
        (True, False)
    """
    return values.dtype.kind in "OUS"


def numbers(table: Table, name: str) -> Array:
    """A column as floats.

    Raises:
        InputError: no such column, or it holds text.

    Example:
        >>> numbers({"K": np.array([3, 4])}, "K").tolist()
        [3.0, 4.0]
    """
    values = column(table, name)
    if is_text(values):
        numeric = [key for key in table if not is_text(np.asarray(table[key]))]
        rule = f"Need numbers in the column {name}"
        raise InputError(rule, f"text such as {str(values[0])!r}", f"use {', '.join(numeric)}")
    return values.astype(np.float64)


def snap(values: Array) -> Array:
    """Numbers in which those that agree up to rounding are equal; NaN stays.

    A decay c that is computed from lambda_W, lambda_H and K differs by roundings between cells.

    Example:
        >>> snap(np.array([0.3, 0.1 + 0.2, 0.4])).tolist()
        [0.3, 0.3, 0.4]
    """
    distinct, member = np.unique(values, return_inverse=True)
    if len(distinct) < 2:
        return values
    apart = np.diff(distinct) > ROUNDING * np.abs(distinct[1:])
    first = np.concatenate([[True], apart | np.isnan(distinct[1:])])
    return np.asarray(distinct[first][np.cumsum(first) - 1][member.reshape(values.shape)])


def texts(table: Table, name: str) -> NDArray[Any]:
    """A column as text; a missing value is empty.

    Example:
        >>> texts({"saddle": np.array(["2|2", None], dtype=object)}, "saddle").tolist()
        ['2|2', '']
    """
    values = column(table, name)
    return np.array(["" if x is None or x != x else str(x) for x in values], dtype=object)


def loss_names(table: Table) -> NDArray[Any]:
    """The loss of every row with its parameters; of a user's own file the name without folders.

    Raises:
        InputError: no column loss, or none of a parameter that a loss of the table has.

    Example:
        >>> rows = {"loss": np.array(["ls", "lib/own.py:hot"]), "smoothing": np.array([0.1, 0])}
        >>> loss_names(rows).tolist()
        ['ls(0.1)', 'own.py:hot']
    """
    specs = texts(table, "loss")
    named = np.empty(len(specs), dtype=object)
    for spec in set(specs.tolist()):
        here = specs == spec
        written = [numbers(table, key)[here] for key in PARAMETERS.get(spec, {})]
        rows = zip(*written, strict=True) if written else [()] * int(here.sum())
        named[here] = [loss_label(spec, row) for row in rows]
    return named


def converged(table: Table) -> NDArray[np.bool_]:
    """The rows whose numbers count: those that converged, all where nothing is said.

    Example:
        >>> converged({"result": np.array(["CONVERGED", "STALLED"])}).tolist()
        [True, False]
    """
    if "result" not in table:
        return np.ones(len(next(iter(table.values()))), dtype=np.bool_)
    return np.asarray(texts(table, "result") == "CONVERGED", dtype=np.bool_)


def take(table: Table, rows: Any) -> Table:
    """Some rows of a table, by a mask or by indices.

    Example:
        >>> take({"K": np.array([3, 4, 5])}, [2])["K"].tolist()
        [5]
    """
    return {name: np.asarray(values)[rows] for name, values in table.items()}


def scale_of(nodes: Array) -> str:
    """The scale on which values are spaced most evenly: linear, log, or symlog for a log with zero.

    Args:
        nodes: values, increasing; those that agree up to rounding are one.

    Example:
        >>> scale_of(np.array([1.0, 2, 3])), scale_of(np.array([1.0, 10, 100]))
        ('linear', 'log')
        >>> scale_of(np.array([0.0, 0.01, 0.1, 1.0]))
        'symlog'
    """
    nodes = np.unique(snap(nodes))
    positive = nodes[nodes > 0]
    # Less than a factor of ten shows as well on a line, and two values are even on any scale.
    if np.any(nodes < 0) or len(positive) < 2 or positive[-1] < 10 * positive[0]:
        return "linear"
    if len(positive) > 2 and _unevenness(positive) <= _unevenness(np.log(positive)):
        return "linear"
    return "log" if len(positive) == len(nodes) else "symlog"


def _unevenness(places: Array) -> float:
    """Logarithm of the largest over the smallest step: 0 for an even spacing."""
    steps = np.log(np.diff(places))
    return float(steps.max() - steps.min())
