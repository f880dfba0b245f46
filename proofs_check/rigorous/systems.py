"""The scalar systems that are enclosed to any number of digits, by name."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from fractions import Fraction
from typing import Any

import flint

from proofs_check.rigorous.balls import BITS
from proofs_check.rigorous.depth import pairs_crossing
from proofs_check.rigorous.saddles import merged_saddle, polygon_saddle
from proofs_check.rigorous.scalar import GUARD, SPARE
from proofs_check.rigorous.simplex import Level, simplex
from proofs_check.rigorous.thresholds import (
    focal_convexity,
    focal_window,
    largest_focal_convexity,
    merging_threshold,
    smoothing_without_drop,
    vanishing_minority,
)
from ufm.errors import InputError

# Characters of a number that a person types, and digits of its exponent below.
LONGEST = 250
SYSTEMS: dict[str, Callable[..., Any]] = {
    function.__name__.replace("_", "-"): function
    for function in (
        simplex, merged_saddle, polygon_saddle, merging_threshold, smoothing_without_drop,
        focal_convexity, largest_focal_convexity, focal_window, vanishing_minority, pairs_crossing,
    )
}  # fmt: skip


@dataclass(frozen=True)
class Enclosed:
    """What a system says, in balls.

    Attributes:
        numbers: name -> ball, or a whole number; empty where the answer is that there is none.
        levels: eigenvalues with multiplicities, where the system has them.
    """

    numbers: dict[str, Any]
    levels: tuple[Level, ...]


def bits_of(digits: int) -> int:
    """Bits inside with which numbers near one come out to so many decimal digits.

    Example:
        >>> bits_of(20), bits_of(60)
        (131, 264)
    """
    return max(BITS, math.ceil((digits + 1) / math.log10(2)) + SPARE + GUARD - 3)


def exact(text: str) -> Fraction:
    """The number that a decimal or a fraction writes.

    Raises:
        InputError: any other text, or one too long to be meant.

    Example:
        >>> exact("5e-3"), exact("1/3")
        (Fraction(1, 200), Fraction(1, 3))
    """
    try:
        if len(text) > LONGEST or len(text.lower().partition("e")[2]) > 4:
            raise ValueError(text)
        return Fraction(text)
    except (ValueError, ZeroDivisionError):
        rule = "Need a decimal or a fraction"
        raise InputError(rule, text[:LONGEST], "such as 5e-3, 0.1 or 1/3") from None


def enclose(name: str, digits: int, **values: Any) -> Enclosed:
    """The numbers of a system, to so many decimal digits where they are near one.

    Args:
        name: of a system.
        digits: decimal ones.
        values: its parameters; text is read by ``exact``.

    Raises:
        InputError: what the system refuses.
        Undecided: what it cannot prove.

    Example:
        >>> enclose("merging-threshold", 20, groups=3).numbers["threshold"].str(12, radius=False)
        '0.130550650882'
    """
    chosen = {key: exact(x) if isinstance(x, str) else x for key, x in values.items()}
    told = SYSTEMS[name](**chosen, bits=bits_of(digits))
    if told is None:
        return Enclosed({}, ())
    if isinstance(told, flint.arb):
        return Enclosed({"threshold": told}, ())
    fields: dict[str, Any] = told._asdict() if hasattr(told, "_asdict") else dict(vars(told))
    levels = fields.pop("levels", ())
    if hasattr(told, "inertia"):
        fields.update(zip(("negative", "zero", "positive"), told.inertia(), strict=True))
    return Enclosed(fields, levels)
