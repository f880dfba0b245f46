"""A page on somebody's own network or landscape: one file that needs no other."""

from __future__ import annotations

import base64
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from numpy.typing import NDArray

from experiments.files import write_whole
from experiments.report.figures import Panel, Picture, picture
from experiments.report.provenance import provenance
from experiments.report.write import environment
from landscape.plots.angles import draw_cosine_matrix

# More classes than this make no picture in which one is seen.
MOST_CLASSES = 200


@dataclass(frozen=True)
class Grid:
    """A table in words.

    Attributes:
        columns: headings; all empty for none.
        rows: cells.
    """

    columns: tuple[str, ...]
    rows: tuple[tuple[str, ...], ...]


@dataclass(frozen=True)
class OwnPage:
    """What a page says.

    Attributes:
        title: heading.
        headline: the answer in one sentence.
        command: that makes it again, empty where a library call made it.
        parts: paragraphs and tables, in their order.
        facts: of the data, what was done to it, its precision; before the provenance.
        pictures: inline.
    """

    title: str
    headline: str
    command: str = ""
    parts: Sequence[str | Grid] = ()
    facts: Mapping[str, str] = field(default_factory=dict)
    pictures: Sequence[Picture] = ()


def part_of(shown: Any) -> str | Grid:
    """A line or a table, as the terminal shows it, for the page.

    Example:
        >>> from rich.table import Table
        >>> table = Table("name", "value")
        >>> table.add_row("gap", "1.5")
        >>> part_of(table).rows
        (('gap', '1.5'),)
    """
    if not hasattr(shown, "columns"):
        return str(shown)
    cells = [[str(cell) for cell in column.cells] for column in shown.columns]
    headings = tuple(str(column.header) for column in shown.columns)
    return Grid(headings, tuple(zip(*cells, strict=True)))


def render_own(page: OwnPage) -> str:
    """The page as text.

    Example:
        >>> "<h1>Mine</h1>" in render_own(OwnPage("Mine", "Collapsed."))
        True
    """
    return environment().get_template("own.html.j2").render(page=page, provenance=provenance())


def write_own(page: OwnPage, path: Path) -> None:
    """Write the page to a file that appears whole.

    Raises:
        OSError: the folder does not exist or cannot be written to.
    """
    write_whole(path, render_own(page).encode())


def drawn(name: str, title: str, caption: str, alt: str, svg: bytes) -> Picture:
    """A picture of a drawing that is there already.

    Example:
        >>> drawn("a", "A", "Nothing.", "empty", b"<svg/>").panels[0].source[:18]
        'data:image/svg+xml'
    """
    source = "data:image/svg+xml;base64," + base64.b64encode(svg).decode()
    return Picture(name, title, caption, (Panel("", alt, source),), {})


def cosines_picture(rows: Mapping[str, NDArray[np.float64]]) -> tuple[Picture, ...]:
    """Cosines between the rows of matrices (K, d), one panel each; none for very many classes.

    Example:
        >>> [panel.alt for panel in cosines_picture({"W": np.eye(2)})[0].panels]
        ['cosines of W']
    """
    known = {name: x for name, x in rows.items() if 1 < len(x) <= MOST_CLASSES and x.any()}
    if not known:
        return ()
    drawings = [
        (name, f"cosines of {name}", lambda ax, name=name, x=x: _draw_cosines(name, x, ax))
        for name, x in known.items()
    ]
    caption = (
        "Cosines between classes: blue positive, orange negative. A simplex ETF has -1/(K-1) "
        "everywhere off the diagonal once the mean is taken away, an orthogonal frame 0."
    )
    return (picture("cosines", "Cosines between classes", caption, drawings),)


def _draw_cosines(name: str, rows: NDArray[np.float64], ax: Axes) -> Axes:
    # Numbered as the labels of the samples are.
    draw_cosine_matrix(rows, ax, first=0, room=60)
    ax.set_title(name)
    ax.set_xlabel("class")
    ax.set_ylabel("class")
    return ax
