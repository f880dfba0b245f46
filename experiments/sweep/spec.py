"""A sweep as a person writes it: a task, axes whose product are the cells, and options."""

from __future__ import annotations

import hashlib
import json
import math
import sys
import tomllib
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cached_property
from importlib import resources
from pathlib import Path
from typing import Any

from experiments.files import accessible
from experiments.losses import LossChoice
from experiments.nearest import shown, unknown
from experiments.sweep.axes import AXES, MAX_CELLS, expand_axis
from experiments.sweep.tasks import ANY_TASKS, TASKS
from ufm.errors import InputError

# Changes whenever the same spec would give other numbers, or other columns.
SCHEMA = 2
# Of an option.
SMALLEST = sys.float_info.min
LARGEST: Mapping[type, float] = {int: 2**31 - 1, float: sys.float_info.max}
PLAIN = "plain"
KEYS = ("name", "model", "task", "note", "axes", "options", "figure")
# What `ufm sweep figure` takes for granted when it is asked for nothing else.
FIGURE_KEYS = ("kind", "x", "y", "value", "by", "where")
DEFAULTS: Mapping[str, Any] = {
    "d": "K",
    "n": 1,
    "seed": 0,
}


@dataclass(frozen=True)
class Spec:
    """A sweep.

    Attributes:
        name: what it is called.
        task: what is done in every cell, a key of ``TASKS``.
        axes: values of every axis, the last one varying fastest.
        options: of the task, all of them.
        note: a sentence about the question it answers.
        figure: how its figure is drawn by default, by ``FIGURE_KEYS``; it is not part of the key.
        model: another model than the plain one, as ``--model`` names it; "" for the plain one.
    """

    name: str
    task: str
    axes: Mapping[str, tuple[Any, ...]]
    options: Mapping[str, Any]
    note: str = ""
    figure: Mapping[str, str] = field(default_factory=dict)
    model: str = ""

    @cached_property
    def key(self) -> str:
        """Content hash: of the task, the cells and the options, and of a user's own loss."""
        axes = {name: [_plain(value) for value in values] for name, values in self.axes.items()}
        content = {"schema": SCHEMA, "task": self.task, "axes": axes, "options": self.options}
        if self.model:
            from experiments.sweep.model_cells import model_text

            content["model"] = model_text(self.model)
        text = json.dumps(content, sort_keys=False, default=str)
        return hashlib.blake2b(text.encode(), digest_size=16).hexdigest()

    @property
    def num_cells(self) -> int:
        """Length of the table."""
        size = 1
        for values in self.axes.values():
            size *= len(values)
        return size


def _plain(value: Any) -> Any:
    """A value as it enters the hash; a user's loss enters with its source."""
    if not isinstance(value, LossChoice):
        return value
    return [value.spec, dict(value.parameters), value.source()]


def make_spec(written: Mapping[str, Any]) -> Spec:
    """A sweep from a mapping, as TOML gives it.

    Raises:
        InputError: an unknown key, axis, task or option (with the closest known one), contradicting
            axes, or more than ten million cells.

    Example:
        >>> spec = make_spec({"task": "minimise", "axes": {"K": [3, 4], "c": 0.1}})
        >>> spec.num_cells, sorted(spec.axes)
        (2, ['K', 'c', 'd', 'loss', 'n', 'seed'])
    """
    for key in written:
        if key not in KEYS:
            raise unknown(key, KEYS, "key of a sweep")
    task, axes = written.get("task"), written.get("axes")
    named = _text(written, "model", PLAIN)
    model = "" if named == PLAIN else named
    tasks = ANY_TASKS if model else TASKS
    if not isinstance(task, str) or task not in tasks:
        raise unknown(str(task), tasks, f"task of the model {model}" if model else "task")
    if not isinstance(axes, Mapping) or not axes:
        raise InputError(
            "Need a table [axes] in a sweep", shown(axes), "write for example K = [3, 4]"
        )
    if model:
        from experiments.sweep.model_cells import axes_of

        expanded = axes_of(model, axes)
        _require_few(expanded)
        return _made(written, task, expanded, model)
    for name in axes:
        if name not in AXES:
            raise unknown(name, AXES, "axis")
    _require_consistent(axes, task)
    whole = {"loss": "ce", **axes}
    if "counts" in axes:
        whole = {k: v for k, v in whole.items() if k != "K"}
    else:
        whole.setdefault("n", DEFAULTS["n"])
    for name in ("d", "seed"):
        whole.setdefault(name, DEFAULTS[name])
    return _made(written, task, _expanded(whole), "")


def _made(
    written: Mapping[str, Any], task: str, axes: Mapping[str, tuple[Any, ...]], model: str
) -> Spec:
    return Spec(
        _text(written, "name", "sweep"),
        task,
        axes,
        _options(task, written.get("options", {})),
        _text(written, "note", ""),
        _figure(written.get("figure", {})),
        model,
    )


def _require_few(axes: Mapping[str, tuple[Any, ...]]) -> None:
    size = math.prod(map(len, axes.values()))
    if size > MAX_CELLS:
        raise InputError(f"Need at most {MAX_CELLS:,} cells", f"{size:,}", "cut an axis")


def _expanded(axes: Mapping[str, Any]) -> dict[str, tuple[Any, ...]]:
    """The values of all axes; an axis too long ends it, before others take their time."""
    expanded: dict[str, tuple[Any, ...]] = {}
    size = 1
    for name, value in axes.items():
        expanded[name] = expand_axis(name, value)
        size *= len(expanded[name])
        if size > MAX_CELLS:
            rule = f"Need at most {MAX_CELLS:,} cells"
            raise InputError(rule, f"{size:,} with the axis {name}", "cut an axis")
    return expanded


def _figure(written: Any) -> dict[str, str]:
    """The columns and the kind of the figure, which are looked up when it is drawn."""
    if not isinstance(written, Mapping):
        raise InputError("Need a table [figure]", shown(written), 'write x = "c"')
    for key in written:
        if key not in FIGURE_KEYS:
            raise unknown(key, FIGURE_KEYS, "key of [figure]")
    return {key: _text(written, key, "") for key in written}


def _text(written: Mapping[str, Any], key: str, default: str) -> str:
    value = written.get(key, default)
    if not isinstance(value, str):
        raise InputError(f"Need text for {key}", shown(value), "quote it")
    return value


def _require_consistent(axes: Mapping[str, Any], task: str) -> None:
    """Axes that say the same thing twice, or leave something open."""
    both = (
        ("counts", ("K", "n", "imbalance", "majority"), "the classes"),
        ("c", ("decay", "lambda_W", "lambda_H"), "the decays"),
        ("decay", ("lambda_W", "lambda_H", "decay_ratio"), "the decays"),
        ("decay_ratio", ("lambda_W", "lambda_H"), "the decays"),
    )
    for name, others, what in both:
        for other in others:
            if name in axes and other in axes:
                rule = f"The axes {name} and {other} both say what {what} are"
                raise InputError(rule, "both", f"drop {name} or {other}")
    if "counts" not in axes and "K" not in axes:
        raise InputError("Need the axis K or counts", sorted(axes), "add K = [3, 4]")
    if "majority" in axes and "imbalance" not in axes:
        raise InputError("The axis majority needs imbalance", sorted(axes), "add imbalance = [2]")
    if ("lambda_W" in axes) != ("lambda_H" in axes):
        raise InputError("Need lambda_W and lambda_H together", sorted(axes), "use decay for both")
    decays = any(name in axes for name in ("c", "decay", "lambda_W"))
    if TASKS[task].finds_decay:
        if decays:
            rule = f"The task {task} looks for c itself"
            raise InputError(rule, sorted(axes), "drop the axes of the decays but decay_ratio")
    elif not decays:
        raise InputError("Need the axis c, decay or lambda_W and lambda_H", sorted(axes), "add one")
    if ("saddle" in axes) != TASKS[task].needs_saddle:
        if "saddle" in axes:
            raise InputError("Only from_saddle has the axis saddle", task, "drop the axis")
        raise InputError(f"The task {task} needs the axis saddle", sorted(axes), 'add "origin"')


def _options(task: str, written: Any) -> dict[str, Any]:
    defaults = TASKS[task].options
    if not isinstance(written, Mapping):
        raise InputError("Need a table [options]", shown(written), "write key = value")
    given = {}
    for name, value in written.items():
        if name not in defaults:
            raise unknown(name, defaults, f"option of the task {task}")
        kind = type(defaults[name])
        good = isinstance(value, int if kind is int else int | float)
        # The comparison refuses infinity, NaN, and integers beyond what a program can hold.
        if isinstance(value, bool) or not good or not SMALLEST <= value <= LARGEST[kind]:
            rule = f"Need a positive {kind.__name__} for the option {name}"
            raise InputError(rule, shown(value), f"the default is {defaults[name]}")
        given[name] = kind(value)  # 1 and 1.0 are one sweep
    return {**defaults, **given}


def ready_made() -> dict[str, str]:
    """Name and note of the specs that come with the lab.

    Example:
        >>> "threshold" in ready_made()
        True
    """
    folder = resources.files("experiments.sweep") / "specs"
    found = sorted(
        (item for item in folder.iterdir() if item.name.endswith(".toml")), key=lambda x: x.name
    )
    return {item.name[:-5]: _parse(item.read_text(), item.name).get("note", "") for item in found}


def read_spec(place: str | Path) -> Spec:
    """A sweep from a TOML file, or a ready-made one by its name.

    Raises:
        InputError: no such file or name, no TOML, or a spec with an error.

    Example:
        >>> read_spec("threshold").task
        'minimise'
    """
    path = Path(place)
    if path.suffix == ".toml" or path.is_file():
        if not path.is_file():
            raise InputError("Need an existing file for a sweep", place, "check the path")
        try:
            with accessible(path, "Need a readable file for a sweep", "give access to it"):
                text = path.read_text(encoding="utf-8")
        except UnicodeDecodeError as error:
            raise InputError(
                "Need a sweep in UTF-8", f"{path}: {error.reason}", "save it so"
            ) from error
        return make_spec({"name": path.stem, **_parse(text, str(path))})
    known = ready_made()
    if str(place) not in known:
        raise unknown(str(place), known, "ready-made sweep (or give a file ending in .toml)")
    item = resources.files("experiments.sweep") / "specs" / f"{place}.toml"
    return make_spec({"name": str(place), **_parse(item.read_text(), str(place))})


def _parse(text: str, place: str) -> dict[str, Any]:
    try:
        return tomllib.loads(text)
    except ValueError as error:  # also a number of more digits than Python reads
        raise InputError(f"Need TOML in {place}", str(error), "fix the line it names") from error
    except RecursionError as error:
        raise InputError(f"Need TOML in {place}", "deep nesting", "write it flat") from error
