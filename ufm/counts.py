"""Samples per class, as people write them."""

from __future__ import annotations

from collections.abc import Sequence

from ufm.errors import InputError, require_count


def parsed_counts(written: str | Sequence[int], name: str = "counts") -> tuple[int, ...]:
    """Samples of two or more classes from a text such as "3,2,2", or from integers.

    Raises:
        InputError: no integers, one below 1, or fewer than two.

    Example:
        >>> parsed_counts("3,2,2"), parsed_counts([4, 1])
        ((3, 2, 2), (4, 1))
    """
    try:
        counts = [int(x) for x in written.split(",")] if isinstance(written, str) else written
    except ValueError:
        rule, remedy = f"Need {name} as integers with commas", f"write for example {name} 3,2,2,1"
        raise InputError(rule, repr(written), remedy) from None
    sizes = [require_count(count, "count", 1, "give every class a sample") for count in counts]
    require_count(len(sizes), "K", 2, "give two classes or more")
    return tuple(sizes)
