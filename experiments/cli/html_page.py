"""The option --html: what a command shows, as one self-contained page."""

from __future__ import annotations

import shlex
from collections.abc import Mapping, Sequence
from contextvars import ContextVar
from pathlib import Path
from typing import Annotated, Any

from experiments.cli.output import require_writable
from experiments.errors import input_error
from experiments.options import flag

Html = Annotated[
    Path | None, flag("--html", "FILE", "Write a page with figures: one file, no other.")
]
# The words of the command that runs; the program sets it.
WORDS: ContextVar[tuple[str, ...]] = ContextVar("WORDS", default=())


def command_line() -> str:
    """The command that runs, as it is typed.

    Example:
        >>> token = WORDS.set(("solve", "--save", "my point.npz"))
        >>> command_line()
        "ufm solve --save 'my point.npz'"
        >>> WORDS.reset(token)
    """
    return shlex.join(("ufm", *WORDS.get()))


def require_page(path: Path | None) -> None:
    """Refuse a page that could not be written, before any work.

    Raises:
        InputError: no such folder, or a name that does not end in .html.
    """
    require_writable(path, "--html")
    if path is not None and path.suffix.lower() not in (".html", ".htm"):
        raise input_error("Need a page that ends in .html", path.name, f"{path.stem}.html, say")


def write_page_of(
    path: Path | None,
    title: str,
    headline: str,
    shown: Sequence[Any],
    facts: Mapping[str, str],
    pictures: Sequence[Any] = (),
) -> None:
    """Write what was shown, if a page was asked for."""
    if path is None:
        return
    from experiments.report.self_contained import OwnPage, part_of, write_own

    parts = [part_of(part) for part in shown]
    write_own(OwnPage(title, headline, command_line(), parts, facts, pictures), path)


def point_pictures(model: Any, point: Any) -> Sequence[Any]:
    """Cosines of classifier and class means of a point of the plain model; none of others."""
    import numpy as np

    from experiments.report.self_contained import cosines_picture

    if model.as_plain() is None:
        return ()
    _, merged = model.as_plain().as_merged(point)
    rows = {"rows of W": np.asarray(merged.W), "class means": np.asarray(merged.H).T}
    return cosines_picture(rows)
