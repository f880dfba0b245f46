"""What a model says of itself: the numbers that labels, filters and formulas may name."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import fields, is_dataclass
from typing import Any

import numpy as np

from ufm.errors import InputError

# Formulas write the letters of docs/theory.md.
LETTERS = {"K": "num_classes", "N": "num_samples"}
SHORT = {"lambda_W": "lw", "lambda_H": "lh", "lambda_b": "lb"}


def columns_of(model: Any) -> Mapping[str, Any]:
    """Name -> value of a model: its own answer, or its numbers by name.

    Example:
        >>> from ufm import UFM, CrossEntropy
        >>> model = UFM(CrossEntropy(), 4, 6, 5, lambda_W=0.02, lambda_H=0.01)
        >>> list(columns_of(model))
        ['model', 'loss', 'K', 'd', 'n', 'N', 'lambda_W', 'lambda_H']
    """
    said: dict[str, Any] = {"model": type(model).__name__.lower()}
    answer = getattr(model, "columns", None)
    if answer is not None:
        return {**said, **answer()}
    loss = getattr(model, "loss", None)
    if loss is not None:
        said["loss"] = loss.name
    if hasattr(model, "counts_tuple"):
        counts = model.counts_tuple
        sizes = {"n": counts[0]} if len(set(counts)) == 1 else {"counts": counts}
        said.update(K=len(counts), d=model.d, **sizes, N=sum(counts))
    elif hasattr(model, "d"):
        said["d"] = model.d
    names = [field.name for field in fields(model)] if is_dataclass(model) else list(vars(model))
    for name in names:
        value = getattr(model, name, None)
        if name.startswith("lambda") and value is not None and np.ndim(value) == 0:
            said[name] = float(value)
    return said


def in_words(columns: Mapping[str, Any]) -> str:
    """Columns as one line, e.g. "ce K=4 d=6 n=5 lw=0.02 lh=0.01".

    Example:
        >>> in_words({"loss": "ce", "K": 4, "counts": (2, 1), "N": 3, "lambda_W": 0.02})
        'ce K=4 counts=2,1 lw=0.02'
    """
    words = [str(columns.get("loss", columns.get("model", "")))]
    for name, value in columns.items():
        if name in ("model", "loss", "N"):
            continue
        text = ",".join(map(str, value)) if isinstance(value, tuple) else f"{value:.3g}"
        words.append(f"{SHORT.get(name, name)}={text}")
    return " ".join(words)


def number_of(model: Any, name: str) -> Any:
    """A number of a model or of its loss, by the letter that formulas use.

    Raises:
        InputError: neither has it.

    Example:
        >>> from ufm import UFM, Focal
        >>> model = UFM(Focal(3.0), 4, 6, lambda_W=0.02, lambda_H=0.01)
        >>> number_of(model, "K"), number_of(model, "gamma"), number_of(model, "lambda_H")
        (4, 3.0, 0.01)
    """
    attribute = LETTERS.get(name, name)
    for holder in (model, getattr(model, "loss", None)):
        value = getattr(holder, attribute, None)
        if value is not None:
            return value if isinstance(value, int) else _plain(value)
    remedy = "give the claim's law a function that measures it"
    raise InputError(f"The model {type(model).__name__} has no number of this name", name, remedy)


def _plain(value: Any) -> Any:
    array = np.asarray(value)
    return array if array.ndim else float(array)
