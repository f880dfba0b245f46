"""Critical points as arrangements of the classes in space, side by side on one scale."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from matplotlib.axes import Axes

from landscape.atlas import Orbit
from landscape.plots.geometry import VIEW, Geometry, class_names, geometry
from landscape.plots.ladder import short_label
from landscape.plots.style import BLUE, FAINT, INK
from ufm.errors import InputError
from ufm.typing import Array

# Columns of the sheet, and the share of a cell that its heading takes.
COLUMNS, HEADING = 4, 0.22
# Classes nearer than this share of the longest vector stand in one place.
SAME = 1e-6
# Where the number of a class stands, beyond the end of its vector.
BEYOND = 1.28


def draw_arrangements(data: Sequence[Orbit], ax: Axes, d: int, title: str = "") -> Axes:
    """The classifiers of every orbit of rank one to three as vectors in space, on one scale.

    Seen from one side; numbers of merged classes stand together at their common end. Above each
    stand its symmetry, its index in dimension d and its objective.

    Args:
        data: orbits, in the order in which they are drawn; the origin is left out.
        ax: where to draw; it keeps no axis of its own.
        d: feature dimension of the indices.
        title: heading.

    Raises:
        InputError: no orbit of rank one to three.
    """
    chosen = [orbit for orbit in data if 1 <= orbit.rank <= 3]
    if not chosen:
        raise InputError("Need an orbit of rank 1 to 3", len(data), "use draw_gram_sheet")
    ax.set_axis_off()
    ax.set_title(title)
    shown = [geometry(orbit) for orbit in chosen]
    reach = max(each.longest for each in shown)
    columns = min(COLUMNS, len(chosen))
    rows = -(-len(chosen) // columns)
    for i, (orbit, vectors) in enumerate(zip(chosen, shown, strict=True)):
        row, column = divmod(i, columns)
        left, bottom = column / columns, 1 - (row + 1) / rows
        box = (left, bottom, 1 / columns, (1 - HEADING) / rows)
        cell = ax.inset_axes(box, projection="3d")
        _draw(vectors, cell, reach)
        heading = f"{short_label(orbit.label)}\nindex {orbit.index(d)}, {orbit.objective:.3f}"
        place = left + 0.5 / columns, bottom + (1 - 0.1 * HEADING) / rows
        ax.text(*place, heading, transform=ax.transAxes, ha="center", va="top", fontsize=6.5)
    return ax


def in_space(vectors: Array) -> Array:
    """Vectors of dimension one to three in space, their first axis upright.

    Example:
        >>> in_space(np.array([[2.0, 1.0]])).tolist()
        [[1.0, 0.0, 2.0]]
    """
    wide = np.pad(vectors, ((0, 0), (0, 3 - vectors.shape[1])))
    return wide @ np.roll(np.eye(3), 1, axis=0)


def _draw(vectors: Geometry, ax: Any, reach: float) -> None:
    tips = in_space(vectors.classifiers)
    for i, tip in enumerate(tips):
        ax.plot(*np.stack([0 * tip, tip], axis=1), color=BLUE, lw=1.2)
        for other in tips[:i]:
            ax.plot(*np.stack([tip, other], axis=1), color=FAINT, lw=0.4)
    ax.plot(*tips.T, ls="", marker="o", color=BLUE, ms=3)
    ax.plot([0], [0], [0], ls="", marker="+", color=INK, ms=4)
    left = list(range(len(tips)))
    while left:
        near = np.linalg.norm(tips[left] - tips[left[0]], axis=1) < SAME * reach
        group = [k for k, inside in zip(left, near, strict=True) if inside]
        place = tips[group[0]]
        # A class at the origin has its number beside it.
        small = np.linalg.norm(place) < SAME * reach
        spot = np.array([0.22 * reach, 0, -0.22 * reach]) if small else BEYOND * place
        names = class_names([vectors.names[k] for k in group])
        ax.text(*spot, names, fontsize=6, ha="center", va="center")
        left = [k for k in left if k not in group]
    dress_space(ax, reach)


def dress_space(ax: Any, reach: float) -> None:
    """Axes in space without a box, on one scale in all directions, seen from a fixed side."""
    ax.set(xlim=(-reach, reach), ylim=(-reach, reach), zlim=(-reach, reach))
    ax.set_box_aspect((1, 1, 1), zoom=1.25)
    ax.set_proj_type("ortho")
    ax.view_init(*VIEW)
    ax.set_axis_off()
    ax.patch.set_alpha(0)
