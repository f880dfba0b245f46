"""Compiled programs are many memory mappings, and a process may have only so many."""

from __future__ import annotations

from pathlib import Path

MAPPINGS = Path("/proc/self/maps")
# Linux allows 65,530; a program takes hundreds, and beyond the limit XLA crashes. The rest is
# room for what is compiled before the next look.
ENOUGH = 50_000


def relieve(enough: int = ENOUGH) -> bool:
    """Let go of all compiled programs once a process has too many mappings; whether it did.

    They are compiled again, or read from the cache on disk, when they are needed. Only Linux tells
    the number; elsewhere nothing is done.

    Example:
        >>> relieve(1_000_000_000)
        False
    """
    try:
        with MAPPINGS.open("rb") as stream:
            count = sum(1 for _ in stream)
    except OSError:
        return False
    if count <= enough:
        return False
    from ufm.kept import forget

    forget()
    return True
