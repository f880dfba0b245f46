"""What the commands print and write: tables for people, JSON for programs, files all at once."""

from __future__ import annotations

import json
import math
import os
import sys
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import IO, TYPE_CHECKING, Any

from experiments.compiled import keep_compiled
from experiments.errors import input_error
from experiments.files import write_whole

# Rich takes a quarter of the time of --help, which draws nothing: the first table brings it.
if TYPE_CHECKING:
    from rich.console import Console
    from rich.table import Table

SCHEMA = 1
# Piped output has no width of its own.
PIPED_WIDTH = 100


def console(stream: IO[str] | None = None) -> Console:
    """A console on stdout (or ``stream``) that prints brackets and colons as they are."""
    from rich.console import Console

    stream = sys.stdout if stream is None else stream
    width = None if stream.isatty() or "COLUMNS" in os.environ else PIPED_WIDTH
    return Console(file=stream, width=width, highlight=False, markup=False, emoji=False)


def number(value: Any, digits: int = 6) -> str:
    """A number as people read it: separators in large integers, ``digits`` in floats.

    Example:
        >>> number(2625536000), number(0.0123456789), number(None), number(1e-13)
        ('2,625,536,000', '0.0123457', '-', '1e-13')
    """
    if value is None:
        return "-"
    if isinstance(value, bool | str):
        return str(value)
    if isinstance(value, int):
        return f"{value:,}"
    return f"{float(value):.{digits}g}"


def table(columns: Sequence[str], *, right: Iterable[str] = ()) -> Table:
    """An empty table; columns named in ``right`` are flush right and never wrapped.

    Without a single column name it is a plain list with neither header nor rules.
    """
    from rich.box import SIMPLE_HEAD
    from rich.table import Table

    headed = any(columns)
    made = Table(box=SIMPLE_HEAD if headed else None, show_header=headed)
    numbers = set(right)
    for name in columns:
        flush = name in numbers
        made.add_column(name, justify="right" if flush else "left", no_wrap=flush, overflow="fold")
    return made


def show(*parts: Any) -> None:
    """Print tables and lines to stdout."""
    out = console()
    for part in parts:
        out.print(part, soft_wrap=isinstance(part, str))


def plain(value: Any) -> Any:
    """A value as JSON can carry it: NaN is None, infinity its name, arrays lists, enums names.

    Example:
        >>> plain({"a": float("nan"), "b": (1, 2.5), "c": -math.inf})
        {'a': None, 'b': [1, 2.5], 'c': '-Infinity'}
    """
    if isinstance(value, Mapping):
        return {str(key): plain(item) for key, item in value.items()}
    if value is None or isinstance(value, bool | int | str):
        return value
    if isinstance(value, float):
        if math.isinf(value):
            return "Infinity" if value > 0 else "-Infinity"
        return None if math.isnan(value) else value
    if hasattr(value, "tolist"):
        return plain(value.tolist())
    if isinstance(value, Iterable):
        return [plain(item) for item in value]
    return str(value)


def envelope(command: str, inputs: Mapping[str, Any], record: Mapping[str, Any]) -> dict[str, Any]:
    """The record of a command with schema number, versions and the resolved inputs."""
    import platform

    import jax
    import numpy

    from ufm.version import __version__

    versions = {
        "lab": __version__,
        "jax": jax.__version__,
        "numpy": numpy.__version__,
        "python": platform.python_version(),
    }
    head = {"schema": SCHEMA, "command": command, "versions": versions, "inputs": inputs}
    made: dict[str, Any] = plain({**head, **record})
    return made


def deliver(document: Mapping[str, Any], *, as_json: bool, out: Path | None) -> None:
    """Write the JSON document to stdout if asked for, and to the file ``out`` if there is one."""
    if not as_json and out is None:
        return
    text = json.dumps(document, indent=2, allow_nan=False) + "\n"
    if out is not None:
        write_whole(out, text.encode())
    if as_json:
        sys.stdout.write(text)


def require_writable(path: Path | None, what: str) -> None:
    """Raise InputError before any work is done for a file that could not be written."""
    if path is None:
        return
    if path.is_dir():
        raise input_error(f"Need a file name for {what}", f"the folder {path}", "add a name")
    folder = path.absolute().parent
    if not folder.is_dir():
        raise input_error(f"Need an existing folder for {what}", folder, f"mkdir -p {folder}")
    if not os.access(folder, os.W_OK):
        raise input_error(f"Need a writable folder for {what}", folder, "choose another one")


def prepare() -> None:
    """Turn on float64 and keep compiled programs between runs, before the first computation."""
    from ufm.precision import (
        require_x64,  # importing ufm turns on float64, unless it was told not to
    )

    require_x64()
    keep_compiled()
