"""The error of bad input, where help must come at once: the class brings JAX."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from ufm.errors import InputError


def input_error(rule: str, got: object, remedy: str) -> InputError:
    """The error that names a broken rule, what was given, and the way out.

    Example:
        >>> str(input_error("Need K >= 2", 1, "give two classes"))
        'Need K >= 2. Got 1. Remedy: give two classes.'
    """
    from ufm.errors import InputError

    return InputError(rule, got, remedy)
