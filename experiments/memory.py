"""What is too large for this machine is refused before any of it is allocated."""

from __future__ import annotations

import os
from pathlib import Path

from experiments.errors import input_error

MEMINFO, CONTAINER = Path("/proc/meminfo"), Path("/sys/fs/cgroup")
# Where the system does not tell: more than this is asked of no laptop.
UNKNOWN = 2**33


def available_memory() -> int:
    """Bytes that this machine can give without swapping; a guess where it does not tell.

    Example:
        >>> available_memory() > 0
        True
    """
    try:
        lines = dict(line.split(":", 1) for line in MEMINFO.read_text("ascii").splitlines())
        free = 1024 * int(lines["MemAvailable"].split()[0])
    except (OSError, ValueError, KeyError):
        try:
            free = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
        except (AttributeError, OSError, ValueError):
            return UNKNOWN
    try:  # of a container, which the first number knows nothing of
        most, used = (
            int((CONTAINER / f"memory.{name}").read_text()) for name in ("max", "current")
        )
        return min(free, max(0, most - used))
    except (OSError, ValueError):
        return free


def require_memory(size: int, what: str, remedy: str) -> None:
    """Refuse what would take more bytes than this machine has.

    Raises:
        InputError: there is less memory than ``size``.

    Example:
        >>> require_memory(1000, "a point", "use smaller sizes")
    """
    if size > available_memory():
        rule = f"Need memory for {what}, {size / 2**30:.2g} GiB"
        raise input_error(rule, f"{available_memory() / 2**30:.2g} GiB", remedy)
