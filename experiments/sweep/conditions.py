"""Conditions on the rows of a table: which rows of a batch they keep, and which batches they miss.

A condition is a column and what to keep: a tuple (low, high) is an interval of numbers, both ends
included and None for an open end; any other collection is a choice of values; all else is one
value. NaN as a value keeps NaN.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from numbers import Real
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ufm.errors import InputError

# Kind of a column -> the types of the values that it can be compared with.
HOLDS = {"b": (bool, np.bool_), "i": (int, Real), "f": (float, Real), "O": (str,)}


def chosen_rows(part: Any, where: Mapping[str, Any]) -> NDArray[np.bool_]:
    """Which rows of a batch are kept by all conditions."""
    chosen = np.ones(len(part), dtype=bool)
    for name, value in where.items():
        chosen &= _kept(name, part[name].to_numpy(), value)
    return chosen


def excluded(metadata: Any, names: Sequence[str], where: Mapping[str, Any]) -> bool:
    """Whether a number asked for lies outside of what a column has in a whole file.

    Only one value or an interval is looked at, and NaN, which smallest and largest do not see, not.
    """
    places = {name: place for place, name in enumerate(names)}
    for name, value in where.items():
        low, high = value if isinstance(value, tuple) else (value, value)
        if not all(isinstance(x, Real) and x == x for x in (low, high)):
            continue
        rows = [metadata.row_group(i).column(places[name]) for i in range(metadata.num_row_groups)]
        known = [row.statistics for row in rows if row.is_stats_set]
        if len(known) == len(rows) and all(
            x.has_min_max and (x.max < low or x.min > high) for x in known
        ):
            return True
    return False


def _kept(name: str, values: NDArray[Any], value: Any) -> NDArray[np.bool_]:
    """Which rows are chosen; compared by Python, which is exact for any two numbers."""
    kind, interval = values.dtype.kind, isinstance(value, tuple)
    several = isinstance(value, Iterable) and not isinstance(value, str)
    items = list(value) if several else [value]
    types = (*HOLDS[kind], type(None)) if interval else HOLDS[kind]
    fits = not interval or (kind in "if" and len(items) == 2)
    if not (fits and all(isinstance(item, types) for item in items)):
        remedy = "give one value, a list of them, or (low, high) of numbers"
        raise InputError(f"Need {HOLDS[kind][0].__name__} for {name}", repr(value), remedy)
    if interval:
        low = -np.inf if items[0] is None else items[0]
        high = np.inf if items[1] is None else items[1]
        return np.array([low <= x <= high for x in values.tolist()], dtype=bool)
    chosen, nan = set(items), any(item != item for item in items)
    return np.array([x in chosen or (nan and x != x) for x in values.tolist()], dtype=bool)
