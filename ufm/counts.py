"""Samples per class, as people write them."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from ufm.errors import InputError, require_count


def parsed_counts(
    written: str | Sequence[int], name: str = "counts", least: int = 2
) -> tuple[int, ...]:
    """Samples of two or more classes from a text such as "3,2,2" or "(3, 2, 2)", or from integers.

    Args:
        written: the text, or the integers.
        name: what an error calls them.
        least: how many are needed.

    Raises:
        InputError: no integers, one below 1, or too few.

    Example:
        >>> parsed_counts("3,2,2"), parsed_counts([4, 1])
        ((3, 2, 2), (4, 1))
    """
    try:
        text = written.strip("()[] ") if isinstance(written, str) else ""
        counts = [int(x) for x in text.split(",")] if isinstance(written, str) else written
    except ValueError:
        rule, remedy = f"Need {name} as integers with commas", f"write for example {name} 3,2,2,1"
        raise InputError(rule, repr(written), remedy) from None
    what = ("count", "give every class a sample") if least > 1 else (name, "use one or more")
    sizes = [require_count(count, what[0], 1, what[1]) for count in counts]
    require_count(len(sizes), "K", least, "give two classes or more")
    return tuple(sizes)


def parsed_ranks(written: str) -> tuple[int, ...] | None:
    """Ranks of several classes from a text such as "2,0,1"; None for any other text.

    Example:
        >>> parsed_ranks("2,0,1"), parsed_ranks("origin"), parsed_ranks("2,-1")
        ((2, 0, 1), None, None)
    """
    words = written.split(",")
    return tuple(int(x) for x in words) if all(x.isdecimal() for x in words) else None


def counts_columns(counts: Sequence[int]) -> dict[str, Any]:
    """What tables say of samples per class: n where all have as many, and the counts.

    Example:
        >>> counts_columns((2, 2)), counts_columns((3, 1))["n"] is None
        ({'n': 2, 'counts': (2, 2)}, True)
    """
    alike = len(set(counts)) == 1
    return {"n": counts[0] if alike else None, "counts": tuple(counts)}


def class_counts(
    num_classes: int, n: int, counts: str | Sequence[int] | None = None
) -> tuple[int, ...]:
    """n samples for each of K classes, or the counts instead where they are given.

    Raises:
        InputError: K < 2, n < 1, or counts out of their domain.

    Example:
        >>> class_counts(3, 2), class_counts(3, 2, "4,1")
        ((2, 2, 2), (4, 1))
    """
    if counts is not None:
        return parsed_counts(counts)
    K = require_count(num_classes, "K", 2, "give two classes or more")
    return (require_count(n, "n", 1, "give one sample or more per class"),) * K


def samples_per_class(
    num_classes: int | None, n: int | None, counts: Sequence[int] | None
) -> tuple[int, ...]:
    """n samples, one by default, for each of K classes, or the counts: one of the two.

    Raises:
        InputError: both, a count below 1, fewer than two classes, or not K counts.

    Example:
        >>> samples_per_class(3, 2, None), samples_per_class(None, None, [4, 1])
        ((2, 2, 2), (4, 1))
    """
    remedy = "give two classes or more"
    if counts is None:
        K = require_count(num_classes, "K", 2, remedy)
        size = require_count(1 if n is None else n, "n", 1, "give one sample or more per class")
        return (size,) * K
    if n is not None:
        raise InputError("Give n or counts, not both", f"n={n}, counts={tuple(counts)}", "drop n")
    sizes = [require_count(count, "count", 1, "give every class a sample") for count in counts]
    require_count(len(sizes), "K", 2, remedy)
    if num_classes is not None and num_classes != len(sizes):
        rule = f"Need one count per class, K={num_classes}"
        raise InputError(rule, f"{len(sizes)} counts", "drop K or fix the counts")
    return tuple(sizes)
