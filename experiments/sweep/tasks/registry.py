"""The tasks by name, with their options and columns; their code is imported when it runs."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from importlib import import_module
from types import MappingProxyType
from typing import Any

import numpy as np
from numpy.typing import NDArray

# Results of a batch: an array a column, one entry a cell.
Columns = dict[str, NDArray[Any]]
# Gradient norm to reach: curvatures of the sweeps are 1e-4 or more, so that points are known to
# 1e-5 of their size, and verdicts say which tolerance follows from it.
DESCENT: Mapping[str, Any] = MappingProxyType({"tolerance": 1e-9, "max_iterations": 20_000})

ENDING = ("result", "reason")
DESCENDED = (*ENDING, "reduction", "objective", "gradient_norm", "iterations", "rank")
MINIMISE = (*DESCENDED, "W_norm", "H_norm", "nc2", "nc3", "margin_excess", "theory", "excess")
JUDGED = (*MINIMISE, "index", "nullity", "predicted_nullity", "gap", "lambda_min")
VERDICT = (*JUDGED, "curvature", "globality")
CONDITIONS = ("condition", "condition_W", "condition_H", "loss_condition_W", "loss_condition_H")
SPECTRUM = (*MINIMISE, "smallest", "largest", *CONDITIONS)
MEASURED = (*MINIMISE, "step", "rate_nc1", "rate_nc2", "rate_nc3")
RATE = (*MEASURED, "predicted_nc1", "predicted_nc2", "predicted_nc3")
THRESHOLD = (*ENDING, "c_low", "c_high", "c_measured", "c_origin", "c_theory")
LEFT = (*ENDING, "objective", "gradient_norm", "index", "lambda_min")
FROM_SADDLE = (*LEFT, "escape_time", "predicted_time", "end_objective", "theory")
# What stands where nothing is known.
TEXTS = {"result", "reason", "reduction", "curvature", "globality"}
COUNTS = {"iterations", "rank", "index", "nullity", "predicted_nullity"}


@dataclass(frozen=True)
class Task:
    """A task of a sweep.

    Attributes:
        name: of the task, and of the module and function that do it.
        summary: one line.
        options: every option with its default.
        columns: of its results; "result" is CONVERGED where all went well, else see "reason".
        finds_decay: whether it looks for c itself, so that cells have no decay of their own.
        needs_saddle: whether cells name a saddle to start from.
        module: where its code is, by default under its name.
    """

    name: str
    summary: str
    options: Mapping[str, Any]
    columns: tuple[str, ...]
    finds_decay: bool = False
    needs_saddle: bool = False
    module: str = ""

    @property
    def compute(self) -> Callable[[Any], Columns]:
        """The function (work) -> result columns of this task."""
        module = import_module(f"experiments.sweep.tasks.{self.module or self.name}")
        function: Callable[[Any], Columns] = getattr(module, self.name)
        return function

    def blank(self, size: int) -> Columns:
        """The result columns of cells that could not be computed.

        Example:
            >>> TASKS["verdict"].blank(2)["index"].tolist()
            [-1, -1]
        """
        found: Columns = {}
        for name in self.columns:
            if name in TEXTS:
                found[name] = np.full(size, "", dtype=object)
            else:
                found[name] = np.full(size, -1) if name in COUNTS else np.full(size, np.nan)
        return found


_ALL = (
    Task("minimise", "descend from a random start, hold the end against theory", DESCENT, MINIMISE),
    Task("verdict", "the same, with index, nullity and gap of the end", DESCENT, VERDICT),
    Task("spectrum", "extreme eigenvalues and condition numbers of the end", DESCENT, SPECTRUM),
    Task(
        "rate",
        "rates of NC1, NC2, NC3 under gradient descent, measured and predicted",
        MappingProxyType({**DESCENT, "amplitude": 1e-3}),
        RATE,
    ),
    Task(
        "threshold",
        "the c at which descent ends at the origin, by bisection",
        MappingProxyType({**DESCENT, "precision": 1e-3}),
        THRESHOLD,
        finds_decay=True,
    ),
    Task(
        "from_saddle",
        "time that gradient flow takes to leave a saddle, measured and predicted",
        MappingProxyType({**DESCENT, "amplitude": 1e-6}),
        FROM_SADDLE,
        needs_saddle=True,
    ),
)
# Of any model: what needs neither W and H nor classes.
_SIZED = ("theory", "excess", "size", "theory_size")
_ENDED = (*ENDING, "objective", "gradient_norm", "iterations", *_SIZED)
_SAID = ("index", "nullity", "predicted_nullity", "gap", "lambda_min", "curvature", "globality")
_ANY = (
    Task("minimise", _ALL[0].summary, DESCENT, _ENDED, module="any_model"),
    Task("verdict", _ALL[1].summary, DESCENT, (*_ENDED, *_SAID), module="any_model"),
)
ANY_TASKS: Mapping[str, Task] = MappingProxyType({task.name: task for task in _ANY})
TASKS: Mapping[str, Task] = MappingProxyType({task.name: task for task in _ALL})
