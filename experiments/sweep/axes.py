"""Axes of a sweep: what may be swept, and how its values are written."""

from __future__ import annotations

import math
import re
import sys
from collections.abc import Mapping, Sequence
from itertools import product
from typing import Any

import numpy as np

from experiments.losses import PARAMETERS, LossChoice, choose_loss
from experiments.nearest import shown, unknown
from ufm.errors import InputError

# Cells of one sweep: a table of 30 columns then takes 2.4 GB.
MAX_CELLS = 10_000_000
# Losses that one entry of the axis loss stands for; each is an object of its own.
MAX_LOSSES = 10_000
# Axes in the order in which a table lists them; those in the second line derive the others.
PLAIN = ("loss", "K", "d", "n", "counts", "lambda_W", "lambda_H", "lambda_b", "seed", "saddle")
DERIVED = ("c", "decay", "decay_ratio", "imbalance", "majority")
AXES = PLAIN + DERIVED
RANGE = ("from", "to", "num", "step", "scale")
# Sizes and counts: K N, which is K^2 n, is then exact in 64 bits.
MAX_SIZE = 1_000_000
WHOLE = {"K": MAX_SIZE, "d": MAX_SIZE, "n": MAX_SIZE, "majority": MAX_SIZE, "seed": 2**63 - 1}
# d = K - 1, "K+2", "2K": a size that follows the number of classes.
_SIZE = re.compile(r"\s*(\d{0,7})\s*\*?\s*K\s*(?:([+-])\s*(\d{1,7}))?\s*", re.ASCII)


def expand_axis(name: str, written: Any) -> tuple[Any, ...]:
    """The values of one axis: a value, a list of values, or {from, to, num or step, scale}.

    Raises:
        InputError: an unknown key, an empty range, or a value that is no number where one is due.

    Example:
        >>> expand_axis("c", {"from": 0.1, "to": 10.0, "num": 3, "scale": "log"})
        (0.1, 1.0, 10.0)
        >>> expand_axis("K", {"from": 3, "to": 5})
        (3, 4, 5)
        >>> [x.parameters for x in expand_axis("loss", {"name": "ls", "smoothing": [0, 0.1]})]
        [{'smoothing': 0.0}, {'smoothing': 0.1}]
    """
    if name == "loss":
        entries = written if isinstance(written, list) else [written]
        return tuple(choice for entry in entries for choice in _losses(entry))
    if isinstance(written, Mapping):
        return _range(name, written)
    several = isinstance(written, list | tuple) and not (name == "counts" and _is_counts(written))
    values = tuple(written) if several else (written,)
    if not values:
        raise InputError(f"Need at least one value on the axis {name}", "none", "add one")
    return tuple(_value(name, value) for value in values)


def _is_counts(written: Sequence[Any]) -> bool:
    return bool(written) and all(isinstance(x, int) and not isinstance(x, bool) for x in written)


def _losses(entry: Any) -> list[LossChoice]:
    """One loss, or several where a parameter has several values."""
    if isinstance(entry, str):
        return [choose_loss(entry, {})]
    if not isinstance(entry, Mapping) or not isinstance(entry.get("name"), str):
        rule = 'Need a loss as "ce" or {name = "ls", smoothing = 0.1}'
        raise InputError(rule, shown(entry), "name the loss")
    name = entry["name"]
    choose_loss(name, {})
    known = PARAMETERS.get(name, {})
    for key in entry:
        if key != "name" and key not in known:
            raise unknown(key, ("name", *known), f"parameter of the loss {name}")
    swept = [expand_axis(key, value) for key, value in entry.items() if key != "name"]
    keys = [key for key in entry if key != "name"]
    if math.prod(map(len, swept)) > MAX_LOSSES:
        rule = f"Need at most {MAX_LOSSES:,} losses per entry of the axis loss"
        raise InputError(rule, f"{math.prod(map(len, swept)):,}", "give fewer parameters")
    return [
        choose_loss(name, dict(zip(keys, map(float, chosen), strict=True)))
        for chosen in product(*swept)
    ]


def _range(name: str, written: Mapping[str, Any]) -> tuple[Any, ...]:
    for key in written:
        if key not in RANGE:
            raise unknown(key, RANGE, f"key of the range {name}")
    if "from" not in written or "to" not in written:
        raise InputError(f"Need from and to in the range {name}", shown(dict(written)), "give both")
    low, high = (_number(f"{name}.{key}", written[key]) for key in ("from", "to"))
    scale = written.get("scale", "linear")
    if scale not in ("linear", "log"):
        raise InputError(f"Unknown scale of the range {name}", shown(scale), "use linear or log")
    if high < low or (scale == "log" and low <= 0):
        rule = f"Need from <= to in the range {name}" + (", from > 0" if scale == "log" else "")
        raise InputError(rule, f"from {low:g} to {high:g}", "swap or change them")
    if "num" in written:
        num = written["num"]
        if not isinstance(num, int) or isinstance(num, bool) or not 1 <= num <= MAX_CELLS:
            rule = f"Need 1 <= num <= {MAX_CELLS:,} in the range {name}"
            raise InputError(rule, shown(num), "count the values")
        if "step" in written:
            raise InputError(f"Give num or step in the range {name}", "both", "drop one")
        # A span beyond the largest float overflows here, and its values are refused below.
        with np.errstate(all="ignore"):
            points = np.geomspace(low, high, num) if scale == "log" else np.linspace(low, high, num)
        values = [float(x) for x in points]
    else:
        if scale == "log":
            raise InputError(f"Need num in the log range {name}", "none", "count the values")
        step = _number(f"{name}.step", written.get("step", 1))
        if step <= 0:
            raise InputError(f"Need step > 0 in the range {name}", f"{step:g}", "make it positive")
        # Some roundings of slack, so that 0.1, 0.2, ..., 1.0 ends at 1.0.
        steps = (high - low) / step * (1 + 1e-12)
        if steps >= MAX_CELLS:
            rule = f"Need at most {MAX_CELLS:,} values in the range {name}"
            raise InputError(rule, f"{steps:.3g}", "take a larger step")
        count = math.floor(steps) + 1
        values = [low + i * step for i in range(count)]
    whole = all(isinstance(written.get(key, 1), int) for key in ("from", "to", "step"))
    # Roundings of linspace and geomspace, not steps that are small beside their values.
    if whole and all(math.isfinite(x) and abs(x - round(x)) <= 1e-12 * abs(x) for x in values):
        return tuple(_value(name, x) for x in dict.fromkeys(round(x) for x in values))
    if not all(isinstance(x, int) for x in values):
        # 0.2 and not 0.19999999999999998, so that it is found again by what was written.
        values = [float(f"{x:.{sys.float_info.dig}g}") for x in values]
    return tuple(_value(name, x) for x in values)


def _number(name: str, value: Any) -> float:
    good = isinstance(value, int | float) and not isinstance(value, bool)
    # Not isfinite(), which fails at integers that no float can hold.
    if not (good and abs(value) <= sys.float_info.max):
        raise InputError(f"Need a finite number for {name}", shown(value), "write a number")
    return value


def _value(name: str, value: Any) -> Any:
    """A value as it is kept; sizes may follow K."""
    if name == "saddle":
        if not isinstance(value, str):
            rule = 'Need a saddle as "origin" or sizes of merged groups such as "2|2"'
            raise InputError(rule, shown(value), "quote it")
        return value
    if name == "counts":
        if not (isinstance(value, list | tuple) and _is_counts(value)):
            rule = "Need counts as a list of integers per entry"
            raise InputError(rule, shown(value), "write counts = [[3, 2, 2, 1]]")
        if max(value) > MAX_SIZE:
            raise InputError(f"Need counts <= {MAX_SIZE:,}", max(value), "write fewer samples")
        return tuple(value)
    if name == "lambda_b" and value == "none":
        return None
    if name in ("d", "majority") and isinstance(value, str):
        if _SIZE.fullmatch(value) is None:
            rule = f'Need {name} as a number or as "K-1", "K+2", "2K"'
            raise InputError(rule, shown(value), "follow one of these forms")
        return value
    number = _number(name, value)
    if name in WHOLE:
        if number != int(number):
            raise InputError(f"Need whole numbers on the axis {name}", number, "round them")
        if abs(number) > WHOLE[name]:
            rule = f"Need {name} <= {WHOLE[name]:,}"
            raise InputError(rule, f"{number:,}", "use a smaller one")
        return int(number)
    return float(number)


def size_of(value: Any, K: int) -> int:
    """A size that may follow K.

    Example:
        >>> size_of("K-1", 4), size_of("2K", 4), size_of(7, 4)
        (3, 8, 7)
    """
    if not isinstance(value, str):
        return int(value)
    found = _SIZE.fullmatch(value)
    if found is None:
        raise InputError('Need a size as a number or as "K-1"', shown(value), "rewrite it")
    times, sign, offset = found.groups()
    size = int(times or 1) * K + (-1 if sign == "-" else 1) * int(offset or 0)
    if size > MAX_SIZE:
        raise InputError(f"Need sizes <= {MAX_SIZE:,}", f"{value} = {size:,}", "use a smaller one")
    return size
