"""Errors that name the rule, the value received and the way out, in one line."""

from __future__ import annotations

import math


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


def require_positive(value: float, name: str, remedy: str) -> float:
    """Return ``value`` as a float if it is finite and > 0, else raise InputError.

    Example:
        >>> require_positive(2, "lambda_W", "use a positive weight decay")
        2.0
    """
    if not (math.isfinite(value) and value > 0):
        raise InputError(f"Need {name} > 0 and finite", value, remedy)
    return float(value)


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
