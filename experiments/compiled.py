"""Compiled programs kept on disk between runs: where, and what is said where that fails.

JAX keeps them (its persistent compilation cache) and computes the same without. It never replaces a
damaged entry, though, and warns once for every program. Here the first trouble is said in one line,
and what is damaged is removed, so that it is written anew.
"""

from __future__ import annotations

import os
import re
import warnings
from contextlib import suppress
from pathlib import Path
from typing import Any

from experiments.files import cache_folder
from experiments.notices import notice
from experiments.programs import keep_programs

# What JAX says of an entry, in the versions that are supported: the name of the program, the cause.
TROUBLE = re.compile(
    r"Error (reading|writing) persistent compilation cache entry for '([^']+)': (.*)", re.DOTALL
)
# How an entry is called: the name of its program, and a digest of everything it depends on.
ENTRY = "{}-*-cache"
OTHER_PLACE = "set XDG_CACHE_HOME to a folder that can be written to"
_usual = warnings.showwarning
_told: set[str] = set()


def keep_compiled() -> None:
    """Keep what XLA compiles in the user's cache, or where the environment says; before any work.

    A place that cannot be written to, is full or damaged costs a line on stderr and the time of
    compiling again, never a result.

    Example:
        >>> keep_compiled()
    """
    import jax

    warnings.showwarning = _Watch()
    if "JAX_COMPILATION_CACHE_DIR" in os.environ:
        return
    home = cache_folder()
    try:
        if home is None:
            raise OSError("no folder for this user can be written to")
        folder = home / "jax"
        folder.mkdir(exist_ok=True)
    except OSError as error:
        notice(f"compiled programs are not kept ({error.strerror or error}): {OTHER_PLACE}")
        return
    jax.config.update("jax_compilation_cache_dir", str(folder))
    jax.config.update("jax_persistent_cache_min_compile_time_secs", 0)
    jax.config.update("jax_persistent_cache_min_entry_size_bytes", -1)
    # Processes started from here share the cache.
    os.environ["JAX_COMPILATION_CACHE_DIR"] = str(folder)
    os.environ["JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS"] = "0"
    os.environ["JAX_PERSISTENT_CACHE_MIN_ENTRY_SIZE_BYTES"] = "-1"
    keep_programs(home / "programs", _tell)


class _Watch:
    """Shows warnings as usual, but those of the cache once, with what is done about them."""

    def __call__(
        self,
        message: Warning | str,
        category: type[Warning],
        filename: str,
        lineno: int,
        file: Any = None,
        line: str | None = None,
    ) -> None:
        trouble = TROUBLE.fullmatch(str(message))
        if trouble is None:
            _usual(message, category, filename, lineno, file, line)
            return
        import jax

        flags: Any = jax.config
        doing, program, cause = trouble.groups()
        folder = Path(flags.jax_compilation_cache_dir)
        entries = sorted(folder.glob(ENTRY.format(program)), key=_age)
        # Of one that was being written a part may be there, the newest of all.
        for entry in entries if doing == "reading" else entries[:1]:
            with suppress(OSError):
                entry.unlink()
        _tell(doing, folder, cause)


def _tell(doing: str, folder: Path, cause: str) -> None:
    """Say once what is in the way of reading from a folder, and of writing to it."""
    if doing in _told:
        return
    _told.add(doing)
    done = "damaged, removed and compiled anew" if doing == "reading" else "not kept"
    remedy = "" if doing == "reading" else f". Make room there, or {OTHER_PLACE}"
    notice(f"compiled programs in {folder} are {done} ({' '.join(cause.split())}){remedy}")


def _age(entry: Path) -> float:
    """Larger for what was written longer ago."""
    with suppress(OSError):
        return -entry.stat().st_mtime
    return 0.0
