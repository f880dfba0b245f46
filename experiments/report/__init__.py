"""The report: a front page of claims and pictures, a page per claim, derivations, certificates."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from experiments.report.certificates import Certificate
    from experiments.report.derivations import Derivation
    from experiments.report.figures import Picture
    from proofs_check.claim import Outcome

__all__ = ["write_report"]


def write_report(
    outcomes: Sequence[Outcome],
    directory: Path,
    *,
    figures: bool = True,
    drawn: Callable[[], Sequence[Picture]] | None = None,
    derived: Callable[[], Sequence[Derivation]] | None = None,
    command: Callable[[str], str] = "ufm verify --claim {}".format,
    certificates: Sequence[Certificate] = (),
    progress: Callable[[str], None] | None = None,
) -> Path:
    """Write ``index.html`` and what it leads to into a directory, all or nothing.

    Every page is self-contained: nothing is fetched. ``claims/`` has a page for each claim,
    ``graph.html`` draws which rests on which, ``theory.html`` has the sections that they cite.
    Everything is computed and rendered before the first byte is written, and every file appears
    under its name only when it is complete; the page comes last.

    Args:
        outcomes: what running the claims gave.
        directory: made if it does not exist.
        figures: False leaves out the pictures, which take most of the time.
        drawn: gives pictures that are being drawn elsewhere (a future's ``result``, say).
        derived: gives the sections that the claims cite, where they are rendered elsewhere.
        command: id of a claim -> the command line that runs it again.
        certificates: copied into ``certificates/`` and listed with their answers.
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

    return write(
        outcomes,
        directory,
        figures=figures,
        drawn=drawn,
        derived=derived,
        command=command,
        certificates=certificates,
        progress=progress,
    )
