"""The report: one self-contained page of claims and pictures, and the pictures as files."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from experiments.report.figures import Picture
    from proofs_check.claim import Outcome

__all__ = ["write_report"]


def write_report(
    outcomes: Sequence[Outcome],
    directory: Path,
    *,
    figures: bool = True,
    drawn: Callable[[], Sequence[Picture]] | None = None,
    progress: Callable[[str], None] | None = None,
) -> Path:
    """Write ``index.html`` and ``figures/`` into a directory, all or nothing.

    Everything is computed and rendered before the first byte is written, and every file appears
    under its name only when it is complete; the page comes last.

    Args:
        outcomes: what running the claims gave.
        directory: made if it does not exist.
        figures: False leaves out the pictures, which take most of the time.
        drawn: gives pictures that are being drawn elsewhere (a future's ``result``, say).
        progress: called with a line before each step.

    Returns:
        The path of the page.

    Raises:
        InputError: the directory is a file or cannot be written.

    Example:
        >>> import tempfile
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     write_report([], Path(folder), figures=False).name
        'index.html'
    """
    # Imported here: the command line must start without jinja2 and matplotlib.
    from experiments.report.write import write

    return write(outcomes, directory, figures=figures, drawn=drawn, progress=progress)
