"""What a model says of itself: the numbers that labels, filters and formulas may name."""

from __future__ import annotations

import inspect
import typing
from collections.abc import Mapping
from functools import cache
from typing import Any

import numpy as np

from ufm.errors import InputError
from ufm.registered import CONSTRUCTORS

SHORT = {"lambda_W": "lw", "lambda_H": "lh", "lambda_b": "lb"}
# Those that follow from the others, or stand first.
UNSAID = ("model", "loss", "N", "c")


def columns_of(model: Any) -> Mapping[str, Any]:
    """Name -> value of a model: what it says of itself and is known, its name, and N.

    Example:
        >>> from ufm import UFM, CrossEntropy
        >>> model = UFM(CrossEntropy(), 4, 6, 5, lambda_W=0.02, lambda_H=0.01)
        >>> list(columns_of(model))
        ['model', 'loss', 'K', 'd', 'n', 'lambda_W', 'lambda_H', 'c', 'N']
    """
    known = {name: value for name, value in model.columns().items() if value is not None}
    counts = known.get("counts")
    if counts is not None:
        known["N"] = sum(counts)
    if "n" in known:
        known.pop("counts", None)
    return {"model": name_of(model), **known}


def name_of(model: Any) -> str:
    """The name under which a model is registered, else that of its class in lower case.

    Example:
        >>> from ufm import UFM, CrossEntropy
        >>> name_of(UFM(CrossEntropy(), 4, 6, lambda_W=0.02, lambda_H=0.01))
        'plain'
    """
    return _names().get(type(model), type(model).__name__.lower())


@cache
def _names() -> dict[type, str]:
    found: dict[type, str] = {}
    for name, constructor in CONSTRUCTORS.items():
        is_class = inspect.isclass(constructor)
        made = constructor if is_class else typing.get_type_hints(constructor).get("return")
        found.setdefault(typing.cast(type, made), name)
    return found


def in_words(columns: Mapping[str, Any]) -> str:
    """Columns as one line, e.g. "ce K=4 d=6 n=5 lw=0.02 lh=0.01"; the plain model goes unsaid.

    Example:
        >>> in_words({"model": "plain", "loss": "ce", "K": 4, "counts": (2, 1), "lambda_W": 0.02})
        'ce K=4 counts=2,1 lw=0.02'
    """
    name, loss = columns.get("model", ""), columns.get("loss")
    words = [str(name)] if loss is None or name != "plain" else []
    words += [] if loss is None else [str(loss)]
    for name, value in columns.items():
        if name not in UNSAID:
            words.append(f"{SHORT.get(name, name)}={_text(value)}")
    return " ".join(words)


def _text(value: Any) -> str:
    if isinstance(value, tuple):
        return ",".join(map(str, value))
    return str(value) if isinstance(value, str) else f"{value:.3g}"


def number_of(model: Any, columns: Mapping[str, Any], name: str) -> Any:
    """A number by the letter that formulas use: a column, or a field of the model or of its loss.

    Raises:
        InputError: none has it.

    Example:
        >>> from ufm import UFM, Focal
        >>> model = UFM(Focal(3.0), 4, 6, lambda_W=0.02, lambda_H=0.01)
        >>> [number_of(model, columns_of(model), name) for name in ("K", "gamma", "lambda_H")]
        [4, 3.0, 0.01]
    """
    if name in columns:
        value = columns[name]
        return np.asarray(value, dtype=float) if isinstance(value, tuple) else value
    for holder in (model, getattr(model, "loss", None)):
        value = getattr(holder, name, None)
        if value is not None:
            array = np.asarray(value)
            return array if array.ndim else array.item()
    remedy = "give the claim's law a function that measures it"
    raise InputError(f"The model {name_of(model)} has no number of this name", name, remedy)
