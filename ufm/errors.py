"""Errors that name the rule, the value received and the way out, in one line."""

from __future__ import annotations

import math
from typing import Any

import jax
import numpy as np

DECAYS = (1e-100, 1e100)
SOME_DECAY = "use a positive weight decay such as 5e-4"


class InputError(ValueError):
    """A rule about the input was broken: ``rule``, the value ``got`` and the ``remedy``.

    Example:
        >>> print(InputError("Need K >= 2 classes", 1, "give at least two classes"))
        Need K >= 2 classes. Got 1. Remedy: give at least two classes.
    """

    def __init__(self, rule: str, got: object, remedy: str) -> None:
        super().__init__(f"{rule}. Got {got}. Remedy: {remedy}.")
        self.rule, self.got, self.remedy = rule, got, remedy

    def __reduce__(self) -> tuple[type[InputError], tuple[str, str, str]]:
        # Errors come back from worker processes; what was got may not travel, its text does.
        return type(self), (self.rule, str(self.got), self.remedy)


def require_positive(value: object, name: str, remedy: str) -> float:
    """Return ``value`` as a float if it is finite and > 0, else raise InputError.

    Example:
        >>> require_positive(2, "lambda_W", "use a positive weight decay")
        2.0
    """
    number = real_number(value)
    if not (math.isfinite(number) and number > 0):
        raise InputError(f"Need {name} > 0 and finite", shown(value), remedy)
    return number


def require_decay(value: Any, name: str, *, zero: bool = False) -> Any:
    """Return a weight decay whose products and quotients are float64 numbers, as a float.

    Theory multiplies decays (sigma^2 = lambda_W lambda_H, N^2 sigma^2), divides them
    (lambda_H / lambda_W) and multiplies the results by curvatures of their own size: 1e-100 to
    1e100 leaves room for three factors. With ``zero`` it may be 0. A traced decay has no value to
    look at.

    Example:
        >>> require_decay(5e-4, "lambda_W"), require_decay(0, "lambda_b", zero=True)
        (0.0005, 0.0)
    """
    if isinstance(value, jax.core.Tracer):
        return value
    if zero and real_number(value) == 0:
        return 0.0
    remedy = "use 0 for an unregularised bias, None for none" if zero else SOME_DECAY
    if zero and not 0 <= real_number(value) < math.inf:
        raise InputError(f"Need {name} >= 0 and finite", shown(value), remedy)
    number = require_positive(value, name, remedy)
    low, high = DECAYS
    if not low <= number <= high:
        rule = f"Need {name} from {low:g} to {high:g}: floats hold products of three"
        raise InputError(rule, number, SOME_DECAY)
    return number


def real_number(value: object) -> float:
    """A real number as a float, NaN for anything else: text, dates, complex and truth values.

    Example:
        >>> real_number("1"), real_number(1)
        (nan, 1.0)
    """
    try:
        array = np.asarray(value)
        return float(array) if array.ndim == 0 and array.dtype.kind in "iuf" else math.nan
    except (TypeError, ValueError, OverflowError):
        return math.nan


def shown(value: object) -> object:
    """What an error says of a value: text in quotes, so that '0.1' is no number."""
    return repr(value) if isinstance(value, str | bytes) else value


def require_count(value: object, name: str, least: int, remedy: str) -> int:
    """Return ``value`` as an int if it is an integer >= ``least``, else raise InputError.

    Example:
        >>> require_count(3, "K", 2, "use two classes or more")
        3
    """
    try:
        number = int(value)  # type: ignore[call-overload]
        exact = number == value
    except (TypeError, ValueError, OverflowError):
        exact = False
        number = least - 1
    if not exact or number < least:
        raise InputError(f"Need an integer {name} >= {least}", value, remedy)
    return number
