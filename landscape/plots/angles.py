"""Cosines between the classes: of the classifiers, and of the centred class means."""

from __future__ import annotations

import numpy as np
from matplotlib.axes import Axes
from numpy.typing import ArrayLike

from landscape.plots.gram import COLOURS
from landscape.plots.style import FAINT, INK
from ufm.point import Point
from ufm.typing import Array

# Numbers are written up to this many classes, in a type that leaves room beside the cells' edges.
MOST_WRITTEN = 10
# Blue is so dark beyond this cosine that numbers on it are white.
DARK = 0.8
# Rows shorter than this share of the longest have no direction.
SHORT = 1e-9


def cosines(vectors: ArrayLike) -> Array:
    """Cosines between rows; NaN where a row is zero.

    Args:
        vectors: (K, d).

    Returns:
        (K, K).

    Example:
        >>> cosines([[1.0, 0.0], [1.0, 1.0], [0.0, 0.0]]).round(3).tolist()
        [[1.0, 0.707, nan], [0.707, 1.0, nan], [nan, nan, nan]]
    """
    rows = np.asarray(vectors, dtype=np.float64)
    lengths = np.linalg.norm(rows, axis=1)
    lengths = np.where(lengths > SHORT * max(float(lengths.max()), 1e-300), lengths, np.nan)
    return np.asarray((rows @ rows.T) / np.outer(lengths, lengths))


def draw_cosines(point: Point, ax: Axes, title: str = "") -> Axes:
    """Two images: cosines of the rows of W, and of the class means about their centre.

    Blue is positive, orange negative. Both show -1/(K-1) off the diagonal at a simplex ETF, and are
    equal where NC3 holds.

    Args:
        point: with merged columns, W (K, d), H (d, K); equal class sizes for the means.
        ax: where to draw; it keeps no axis of its own.
        title: heading.
    """
    ax.set_axis_off()
    ax.set_title(title)
    means = np.asarray(point.H).T
    centred = means - means.mean(axis=0)
    for left, name, rows in ((0.0, "classifiers $w_k$", point.W), (0.54, "class means", centred)):
        cell = ax.inset_axes((left, 0.0, 0.46, 0.88))
        draw_cosine_matrix(rows, cell)
        cell.set_title(name, fontsize=8, weight="normal", loc="center", pad=3)
    return ax


def draw_cosine_matrix(vectors: ArrayLike, ax: Axes, first: int = 1, room: float = 34.0) -> Axes:
    """Cosines between rows as an image, with their numbers where there are few.

    Args:
        vectors: (K, d).
        ax: where to draw.
        first: number of the first row.
        room: for the type of the numbers, in points: that of all K in a row.
    """
    values = cosines(vectors)
    K = len(values)
    image = ax.imshow(np.ma.masked_invalid(values), cmap=COLOURS, vmin=-1, vmax=1)
    if K <= MOST_WRITTEN:
        for (i, j), value in np.ndenumerate(values):
            colour = "white" if value > DARK else INK
            size = min(7.5, room / K)
            ax.text(
                j, i, _written(float(value)), ha="center", va="center", fontsize=size, color=colour
            )
    else:
        ax.figure.colorbar(image, ax=ax, fraction=0.046)
    names = [f"{k + first}" for k in range(K)] if K <= MOST_WRITTEN else []
    ticks = range(len(names))
    ax.set_xticks(ticks, names, fontsize=7)
    ax.set_yticks(ticks, names, fontsize=7)
    ax.tick_params(length=0)
    ax.grid(False)
    for spine in ax.spines.values():
        spine.set(visible=True, edgecolor=FAINT, linewidth=0.5)
    return ax


def _written(value: float) -> str:
    if np.isnan(value):
        return "–"
    return f"{round(value, 2) + 0.0:.2f}".replace("-", "−").replace("0.", ".")
