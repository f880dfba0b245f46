"""Figures as files: drawn without a window, and the same bytes for the same numbers."""

from __future__ import annotations

import io
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure

from experiments.files import write_whole

# What journals ask for.
DOTS_PER_INCH = 300
# Neither dates nor versions, which would differ from one drawing to the next.
METADATA: Mapping[str, Mapping[str, Any]] = {
    "pdf": {"CreationDate": None},
    "png": {"Software": None},
    "svg": dict.fromkeys(("Creator", "Date", "Format", "Type")),
}


def blank_figure(width: float, height: float) -> Figure:
    """An empty figure of so many inches that makes room for what is written at its axes.

    Without pyplot: no window system, no global list of figures.

    Example:
        >>> blank_figure(3.5, 2.5).get_size_inches().tolist()
        [3.5, 2.5]
    """
    figure = Figure(figsize=(width, height), layout="constrained")
    FigureCanvasAgg(figure)
    return figure


def encoded(figure: Figure, kind: str, dots_per_inch: int = DOTS_PER_INCH) -> bytes:
    """A figure as the content of a file.

    Args:
        figure: drawn.
        kind: "pdf", "png" or "svg".
        dots_per_inch: of a png, and of images inside the others.

    Example:
        >>> encoded(blank_figure(1.0, 1.0), "png")[1:4]
        b'PNG'
    """
    stream = io.BytesIO()
    figure.savefig(stream, format=kind, dpi=dots_per_inch, metadata=METADATA[kind])
    return stream.getvalue()


def save_figure(figure: Figure, path: Path) -> None:
    """Write a figure to a file that appears whole; its ending is the kind.

    Raises:
        OSError: the folder does not exist or cannot be written to.
    """
    write_whole(path, encoded(figure, path.suffix.lower()[1:]))
