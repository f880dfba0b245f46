"""Thumbnails of Z = W Hbar, its classes in an order that depends on the orbit alone."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from matplotlib.axes import Axes
from matplotlib.colors import LinearSegmentedColormap

from landscape.atlas import Orbit
from landscape.atlas.labels import merged_classes
from landscape.plots.ladder import short_label
from landscape.plots.style import BLUE, FAINT, INK, ORANGE
from ufm.errors import InputError
from ufm.plain.relabelling import TOLERANCE, levels, resolution
from ufm.typing import Ints

# Negative orange, positive blue: the darker end is the positive one, also without colours.
COLOURS = LinearSegmentedColormap.from_list("orange_blue", [ORANGE, "#ffffff", BLUE])
# Length of a dash, in cells.
DASH = 0.34
# In points: space between thumbnails, height of the colour key below them, type sizes.
GAP, KEY, READABLE, LARGEST = 4.0, 24.0, 5.0, 7.0
# From a heading to its image, in points.
PAD = 1.0


def canonical_order(orbit: Orbit) -> Ints:
    """An order of the classes in which two members of one orbit have the same Z.

    Merged classes are adjacent; their groups go by size, then by the number of samples, then by
    the norm of their row of Z, all descending. Among groups that tie, those come first that make
    the sequence of (diagonal, bias, entries with the groups just placed, the latest first) largest:
    an exhaustive search, in which of groups that may be swapped only one is tried. So the order
    depends on the representative only up to a symmetry of Z.
    Source: derived here.

    Args:
        orbit: an orbit of an atlas.

    Returns:
        p (K,): Z[p][:, p] is the same for every representative of the orbit.

    Example:
        >>> from landscape.atlas import atlas
        >>> from ufm import UFM, CrossEntropy
        >>> found = atlas(UFM(CrossEntropy(), 3, 3, lambda_W=0.02, lambda_H=0.02))
        >>> p = canonical_order(found.orbits[2])
        >>> Z = found.orbits[2].Z[p][:, p]
        >>> found.orbits[2].label, bool(np.allclose(Z[0], Z[1])), bool(np.allclose(Z[0], Z[2]))
        ('merged 2|1', True, False)
    """
    Z, bias, kinds = orbit.Z, orbit.bias, orbit.model.kinds
    groups = merged_classes(Z, kinds, bias)
    unit = resolution(TOLERANCE, Z, bias)
    first = np.array([group[0] for group in groups])
    (codes,) = levels(unit, Z[np.ix_(first, first)])
    (norms,) = levels(unit, np.linalg.norm(Z[first], axis=1))
    (shifts,) = levels(unit, np.zeros(len(first)) if bias is None else bias[first])
    sizes = np.array([len(group) for group in groups])
    keys = np.stack([sizes, kinds[first], norms, np.diagonal(codes), shifts], axis=1)
    return np.concatenate([np.array(groups[g]) for g in _best(keys, codes)])


def _best(keys: Ints, codes: Ints) -> tuple[int, ...]:
    """The order of the groups with the largest sequence of (key, entries with those before)."""
    size = len(keys)
    twins = [[_twins(g, h, keys, codes) for h in range(size)] for g in range(size)]
    best: list[tuple[int, ...]] = [()]
    for _ in range(size):
        longer: dict[tuple[int, ...], list[int]] = {}
        for order in best:
            tried: list[int] = []
            for g in sorted(set(range(size)) - set(order)):
                if any(twins[g][h] for h in tried):
                    continue
                tried.append(g)
                before = list(order[::-1])
                entries = np.stack([codes[g, before], codes[before, g]], axis=1)
                longer[(*order, g)] = [*keys[g].tolist(), *entries.ravel().tolist()]
        largest = max(longer.values())
        best = [order for order, value in longer.items() if value == largest]
    return best[0]


def _twins(g: int, h: int, keys: Ints, codes: Ints) -> bool:
    """Whether swapping two groups leaves everything as it is."""
    swap = np.arange(len(keys))
    swap[[g, h]] = h, g
    return bool(np.array_equal(keys[g], keys[h]) and np.array_equal(codes, codes[swap][:, swap]))


def draw_gram(orbit: Orbit, ax: Axes, *, scale: float | None = None) -> Axes:
    """Z in canonical order as an image: blue positive, orange with a dash negative, white zero.

    Rows are classifiers, columns classes; thin lines separate the groups of merged classes.

    Args:
        orbit: an orbit of an atlas.
        ax: where to draw.
        scale: the |Z| of the full colours, default the largest entry.
    """
    order = canonical_order(orbit)
    Z, bias = orbit.Z[order][:, order], orbit.bias
    full = scale or float(np.abs(Z).max()) or 1.0
    ax.imshow(Z, cmap=COLOURS, vmin=-full, vmax=full, interpolation="nearest")
    rows, columns = np.nonzero(-TOLERANCE * full > Z)
    ax.hlines(rows, columns - DASH / 2, columns + DASH / 2, color=INK, lw=0.5)
    kinds = orbit.model.kinds[order]
    groups = merged_classes(Z, kinds, None if bias is None else bias[order])
    edges = np.sort([max(group) for group in groups])[:-1] + 0.5
    for lines in (ax.vlines, ax.hlines):
        lines(edges, -0.5, len(Z) - 0.5, color=FAINT, lw=0.5)
    ax.set_xticks([])
    ax.set_yticks([])
    ax.grid(False)
    for spine in ax.spines.values():
        spine.set(visible=True, edgecolor=FAINT, linewidth=0.5)
    return ax


def draw_gram_sheet(data: Sequence[Orbit], ax: Axes, title: str = "") -> Axes:
    """All Z of an atlas on one scale, row by row, under symmetry and objective.

    The number of columns is chosen for the size that the axes have now, to make the images as
    large as they can be.

    Args:
        data: the orbits, in the order in which they are drawn.
        ax: where to draw; it keeps no axis of its own.
        title: heading.

    Raises:
        InputError: no orbits.
    """
    if not data:
        raise InputError("Need at least one orbit", 0, "search first")
    ax.set_axis_off()
    ax.set_title(title)
    ax.figure.canvas.figure.draw_without_rendering()
    box = ax.get_window_extent()
    width, height = 72 / ax.figure.dpi * np.array([box.width, box.height])
    headings = [_heading(orbit) for orbit in data]
    grid = _grid(len(data), width, height - KEY, _size(headings, ax))
    full = max(float(np.abs(orbit.Z).max()) for orbit in data) or 1.0

    def inset(left: float, bottom: float, wide: float, high: float) -> Axes:
        return ax.inset_axes((left / width, bottom / height, wide / width, high / height))

    for i, (orbit, heading) in enumerate(zip(data, headings, strict=True)):
        row, column = divmod(i, grid.columns)
        left = (column + 0.5) * width / grid.columns - grid.side / 2
        bottom = height - row * grid.pitch - grid.heading - grid.side
        image = draw_gram(orbit, inset(left, bottom, grid.side, grid.side), scale=full)
        image.set_title(
            heading, fontsize=grid.fontsize, weight="normal", loc="center", va="bottom", pad=PAD
        )
    rows = -(-len(data) // grid.columns)
    key = inset(0.5 * width - 45, height - rows * grid.pitch - KEY / 2, 90, 5)
    key.imshow(np.linspace(-1, 1, 65)[None], cmap=COLOURS, aspect="auto", extent=(-1, 1, 0, 1))
    key.set_yticks([])
    key.set_xticks([-1, 0, 1], [f"−{full:.2g}", "0", f"Z = {full:.2g}"], fontsize=6.5)
    key.tick_params(length=2, pad=1)
    key.grid(False)
    return ax


def _heading(orbit: Orbit) -> str:
    """Symmetry and objective in lines short enough for a thumbnail."""
    label = short_label(orbit.label)
    for word in ("mirror", "simplex", "orthogonal"):
        label = label.replace(f"{word} ", f"{word}\n")
    return f"{label}\n{orbit.objective:.3f}"


def _size(headings: Sequence[str], ax: Axes) -> tuple[float, float]:
    """Width and height of the largest heading, in units of the type size."""
    text = ax.text(0, 0, "", fontsize=10)
    sizes = []
    for heading in headings:
        text.set_text(heading)
        box = text.get_window_extent()
        sizes.append((box.width, box.height))
    text.remove()
    wide, high = 7.2 / ax.figure.dpi * np.array(sizes).max(axis=0)
    return float(wide), float(high)


class _Grid(NamedTuple):
    """Columns of a sheet; in points: side of an image, heading, distance of rows, type size."""

    columns: int
    side: float
    heading: float
    pitch: float
    fontsize: float


def _grid(count: int, width: float, height: float, size: tuple[float, float]) -> _Grid:
    """The number of columns that makes the images largest while the type stays readable."""

    def with_columns(columns: int) -> _Grid:
        rows = -(-count // columns)
        fontsize = min(LARGEST, (width / columns - GAP) / size[0])
        heading = size[1] * fontsize + PAD
        side = min(width / columns - GAP, height / rows - heading - GAP)
        return _Grid(columns, side, heading, heading + side + GAP, fontsize)

    grids = [with_columns(columns) for columns in range(1, count + 1)]
    return max(grids, key=lambda grid: (min(grid.fontsize, READABLE), grid.side))
