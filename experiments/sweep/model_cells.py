"""Sweeps over any model: its parameters are the axes, cells of one structure run as one program.

The plain model keeps its own cells and its accelerated judge (``cells``, ``work``), which serve
many K, d and losses with few programs; here nothing is known of a model but its declaration.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import Any

import jax
import numpy as np
from numpy.typing import NDArray

from experiments.losses import LossChoice
from experiments.models import built_loss, named_model
from experiments.nearest import unknown
from experiments.sweep.axes import expand_axis
from experiments.sweep.tasks.registry import ANY_TASKS, Task
from ufm import stack
from ufm.errors import InputError
from ufm.typing import AnyArray


def axes_of(model: str, written: Mapping[str, Any]) -> dict[str, tuple[Any, ...]]:
    """The values of every axis of a sweep over a model: its parameters, and the seed.

    Raises:
        InputError: an unknown model or parameter, or a required one that is missing.

    Example:
        >>> axes_of("regression", {"d": [1, 2], "lambda_W": 0.3})
        {'d': (1, 2), 'lambda_W': (0.3,), 'seed': (0,)}
    """
    declared = named_model(model)
    names = {parameter.name: parameter for parameter in declared.parameters}
    found = {}
    for name, value in {**written, "seed": written.get("seed", 0)}.items():
        if name != "seed" and name not in names:
            raise unknown(name, (*names, "seed"), f"axis of the model {model}")
        loss, listed = name == declared.loss, value if isinstance(value, list) else [value]
        worded = name != "seed" and not loss and names[name].kind in (str, bool)
        if worded and name != "counts" and all(isinstance(x, str | bool) for x in listed):
            found[name] = tuple(dict.fromkeys(listed))
            continue
        found[name] = expand_axis("loss" if loss else name, value)
    for name, parameter in names.items():
        if parameter.required and name not in found:
            rule = f"The model {model} needs the axis {name}"
            raise InputError(rule, sorted(found), parameter.help or "give it")
    return found


def model_text(model: str) -> str:
    """What a model is, for the key of a sweep: its name, and a user's file by its content."""
    place = Path(model.rpartition(":")[0])
    if place.suffix != ".py" or not place.is_file():
        return model
    return f"{model} {hashlib.blake2b(place.read_bytes(), digest_size=16).hexdigest()}"


@dataclass(frozen=True)
class AnyCells:
    """Cells of a sweep over a model, one entry per cell in every column.

    Attributes:
        columns: cell, model, the swept parameters, seed; a loss as its name and parameters.
        spec: what ``--model`` would name.
        values: of every swept parameter, as the model takes them.
    """

    columns: Mapping[str, AnyArray]
    spec: str
    values: Mapping[str, AnyArray]

    def __len__(self) -> int:
        return len(self.columns["cell"])

    def take(self, indices: Any) -> AnyCells:
        """Some of the cells."""
        columns = {name: column[indices] for name, column in self.columns.items()}
        return AnyCells(columns, self.spec, {k: v[indices] for k, v in self.values.items()})

    def model(self, i: int) -> Any:
        """The model of one cell."""
        declared = named_model(self.spec)
        kinds = {parameter.name: parameter.kind for parameter in declared.parameters}
        chosen = {}
        for name, column in self.values.items():
            value = column[i]
            if isinstance(value, LossChoice):
                chosen[name] = built_loss(value)
            elif value is not None:
                chosen[name] = kinds[name](value)
        return declared.build(chosen)

    def grouped(self) -> tuple[list[tuple[str, str]], NDArray[np.int64]]:
        """What fixes a program, each once, and which of these every cell has.

        The structure of the model, which holds all that is no number, and the shapes of the rest.
        """
        told = []
        for i in range(len(self)):
            leaves, structure = jax.tree.flatten(self.model(i))
            told.append(f"{structure} {[np.shape(leaf) for leaf in leaves]}")
        kinds, which = np.unique(told, return_inverse=True)
        marks = [hashlib.blake2b(x.encode(), digest_size=8).hexdigest() for x in kinds]
        return [(self.spec, mark) for mark in marks], np.asarray(which, np.int64)


@dataclass(frozen=True)
class AnyWork:
    """Cells of one structure, and how to compute them.

    Attributes:
        cells: as many as the program takes.
        options: of the task.
        slots: cells that step together.
        together: unused here; judgements are made one by one.
    """

    cells: AnyCells
    options: Mapping[str, Any]
    slots: int
    together: bool

    @property
    def tasks(self) -> Mapping[str, Task]:
        """The tasks that know no model."""
        return ANY_TASKS

    def portable(self, absolute: Callable[[str], str]) -> AnyWork:
        """The same with a user's own model by its whole path, as another process finds it."""
        return replace(self, cells=replace(self.cells, spec=absolute(self.cells.spec)))

    @cached_property
    def each(self) -> list[Any]:
        """The model of every cell."""
        return [self.cells.model(i) for i in range(len(self.cells))]

    @cached_property
    def models(self) -> Any:
        """The models, stacked."""
        return stack(self.each)

    def starts(self) -> Any:
        """The random points of the seeds, stacked."""
        seeds = self.cells.columns["seed"]
        return stack(
            [
                jax.tree.map(np.asarray, model.random_point(jax.random.key(int(seed))))
                for model, seed in zip(self.each, seeds, strict=True)
            ]
        )


def expand_any(model: str, axes: Mapping[str, tuple[Any, ...]]) -> AnyCells:
    """The table of cells of a sweep over a model, in the order of its axes.

    Raises:
        InputError: a cell outside the domain of the model, as the model says it.

    Example:
        >>> cells = expand_any("regression", axes_of("regression", {"d": [1, 2], "seed": [0, 1]}))
        >>> len(cells), cells.columns["d"].tolist(), cells.model(3).d
        (4, [1, 1, 2, 2], 2)
    """
    lengths = [len(values) for values in axes.values()]
    grids = np.indices(lengths).reshape(len(lengths), -1)
    size = grids.shape[1]
    columns: dict[str, AnyArray] = {
        "cell": np.arange(size),
        "model": np.full(size, model, dtype=object),
    }
    held: dict[str, AnyArray] = {}
    for (name, written), at in zip(axes.items(), grids, strict=True):
        values = np.empty(len(written), dtype=object)
        values[:] = written
        if isinstance(written[0], LossChoice):
            columns["loss"] = np.array([x.spec for x in written], dtype=object)[at]
            for key in sorted({key for x in written for key in x.parameters}):
                numbers = [x.parameters.get(key, np.nan) for x in written]
                columns[key] = np.array(numbers, dtype=float)[at]
        elif all(isinstance(x, int) for x in written):
            columns[name] = np.array(written, dtype=np.int64)[at]
        elif all(isinstance(x, int | float) for x in written):
            columns[name] = np.array(written, dtype=float)[at]
        else:
            columns[name] = np.array([str(x) for x in written], dtype=object)[at]
        if name != "seed" or any(p.name == "seed" for p in named_model(model).parameters):
            held[name] = values[at]
    return AnyCells(columns, model, held)
