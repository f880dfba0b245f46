"""What an unknown name may have meant."""

from __future__ import annotations

import difflib
from collections.abc import Iterable
from typing import TYPE_CHECKING, Any

from experiments.errors import input_error

if TYPE_CHECKING:
    from ufm.errors import InputError

# Characters of a value in an error, and names where none looks like it.
MOST_SHOWN, MOST_NAMED = 120, 20
# Share of the letters that two names have in common from which one may be meant by the other.
ALIKE = 0.5


def unknown(name: Any, known: Iterable[str], what: str) -> InputError:
    """The error for an unknown name, with the known one that looks most like it.

    Example:
        >>> str(unknown("lamda_W", ["K", "lambda_W"], "axis"))
        "Unknown axis. Got 'lamda_W'. Remedy: write 'lambda_W'."
        >>> str(unknown("x", ["K", "lambda_W"], "axis"))
        "Unknown axis. Got 'x'. Remedy: use one of K, lambda_W."
    """
    known = list(known)
    near = difflib.get_close_matches(str(name), known, n=1, cutoff=ALIKE)
    rest = ", ..." if len(known) > MOST_NAMED else ""
    remedy = f"write {near[0]!r}" if near else f"use one of {', '.join(known[:MOST_NAMED])}{rest}"
    return input_error(f"Unknown {what}", shown(name), remedy)


def shown(value: Any) -> str:
    """A value as an error shows it: in a few words, whatever it is.

    Example:
        >>> shown([3, 4]), shown("a" * 1000)[-4:], shown(1 << 100_000)
        ('[3, 4]', ' ...', 'a huge integer')
    """
    try:
        text = repr(value)
    except (ValueError, RecursionError):  # Python writes no more than 4300 digits
        return "a huge integer" if isinstance(value, int) else f"a {type(value).__name__}"
    return text if len(text) <= MOST_SHOWN else f"{text[:MOST_SHOWN]} ..."
