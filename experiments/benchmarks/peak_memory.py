"""The most memory that a row takes: of this process, or on its accelerator."""

from __future__ import annotations

import resource  # POSIX only
import sys
from contextlib import suppress
from pathlib import Path

RESET, STATUS = Path("/proc/self/clear_refs"), Path("/proc/self/status")


def reset_peak() -> None:
    """Let the peak of this process begin anew; only Linux can, elsewhere it is that of all rows."""
    with suppress(OSError):
        RESET.write_text("5")


def peak_memory() -> int:
    """Bytes in use at most since ``reset_peak``: on the accelerator, or of this process.

    Example:
        >>> peak_memory() > 2**20
        True
    """
    import jax

    told = jax.devices()[0].memory_stats() or {}
    if "peak_bytes_in_use" in told:
        return int(told["peak_bytes_in_use"])
    with suppress(OSError, StopIteration):
        lines = STATUS.read_text("ascii", "replace").splitlines()
        return 1024 * int(next(x for x in lines if x.startswith("VmHWM:")).split()[1])
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return int(peak) * (1 if sys.platform == "darwin" else 1024)
