"""Lines on stderr that are no errors."""

from __future__ import annotations

import sys


def notice(message: str) -> None:
    """Say something beside the result.

    Example:
        >>> notice("a large problem")
    """
    print(f"ufm: {message}", file=sys.stderr, flush=True)
