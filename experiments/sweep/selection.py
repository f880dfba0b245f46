"""Rows and columns as a figure asks for them: ``K=10, loss=ls`` and ``rate_nc2/lambda_W``."""

from __future__ import annotations

import re

import numpy as np
from numpy.typing import NDArray

from experiments.sweep.columns import ROUNDING, Table, column, is_text, numbers, take, texts
from ufm.errors import InputError
from ufm.typing import Array

# Values of a column that an error names.
MOST_NAMED = 20
_OPERATORS = re.compile(r"([*/])")


def select(table: Table, conditions: str) -> Table:
    """The rows that meet every condition; numbers are equal if they agree up to rounding.

    Args:
        table: of a sweep.
        conditions: name=value, separated by commas.

    Raises:
        InputError: no condition, an unknown column, no number where one is due, or no such row.

    Example:
        >>> rows = {"K": np.array([3, 4, 4]), "loss": np.array(["ce", "ce", "ls"], dtype=object)}
        >>> select(rows, "K=4, loss=ce")["K"].tolist()
        [4]
    """
    kept = np.ones(len(column(table, next(iter(table), "cell"))), dtype=np.bool_)
    for part in conditions.split(","):
        name, equals, value = (word.strip() for word in part.partition("="))
        if not (name and equals and value):
            raise InputError("Need conditions as NAME=VALUE", repr(part), "write K=10, loss=ce")
        here = _equal(table, name, value)
        if not here.any():
            known = ", ".join(dict.fromkeys(_words(table, name)))
            raise InputError(f"Need rows with {name}={value}", "none", f"use one of {known}")
        kept &= here
    if not kept.any():
        raise InputError("Need rows that meet all conditions", repr(conditions), "drop one")
    return take(table, kept)


def _equal(table: Table, name: str, value: str) -> NDArray[np.bool_]:
    if is_text(column(table, name)):
        return np.asarray(texts(table, name) == value, dtype=np.bool_)
    try:
        wanted = float(value)
    except ValueError as error:
        raise InputError(f"Need a number for {name}", repr(value), "write one") from error
    return np.asarray(np.abs(numbers(table, name) - wanted) <= ROUNDING * abs(wanted))


def _words(table: Table, name: str) -> list[str]:
    values = column(table, name)
    return [str(x) if is_text(values) else f"{x:g}" for x in np.unique(values)[:MOST_NAMED]]


def combined(table: Table, name: str) -> Table:
    """The table with one more column if ``name`` is a product or a quotient of its columns.

    Raises:
        InputError: an unknown column, or one that holds text.

    Example:
        >>> rows = {"rate_nc2": np.array([0.06]), "lambda_W": np.array([0.03])}
        >>> combined(rows, "rate_nc2/lambda_W")["rate_nc2/lambda_W"].tolist()
        [2.0]
    """
    if name in table or not _OPERATORS.search(name):
        return table
    first, *rest = (word.strip() for word in _OPERATORS.split(name))
    values: Array = numbers(table, first)
    with np.errstate(divide="ignore", invalid="ignore"):  # what is not finite is not drawn
        for sign, other in zip(rest[::2], rest[1::2], strict=True):
            factor = numbers(table, other)
            values = values * factor if sign == "*" else values / factor
    return {**table, name: values}
