"""Weight decay: the one place where lambda/2 is written."""

from __future__ import annotations

from typing import Any


def penalty(decay: Any, squared_norm: Any) -> Any:
    """(lambda/2) |x|^2 of parameters x with decay lambda.

    Example:
        >>> penalty(0.5, 4.0)
        1.0
    """
    return 0.5 * decay * squared_norm
