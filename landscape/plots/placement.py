"""Labels beside the markers of a diagram, where there is room for them."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import NamedTuple, cast

import numpy as np
from matplotlib.artist import Artist
from matplotlib.axes import Axes
from matplotlib.patches import FancyArrowPatch
from matplotlib.text import Annotation, Text
from matplotlib.transforms import offset_copy
from numpy.typing import ArrayLike, NDArray

from landscape.plots.style import FAINT, spread
from ufm.typing import Array

# Directions and distances (points) at which room for a label is looked for, nearest first. Beyond
# the last the eye no longer follows the line back.
ANGLES = 2 * np.pi * np.arange(24) / 24
REACHES = np.array([0.5, 4, 8, 13, 19, 26, 34, 44, 56])
# Points along the line from a marker to its label at which it may hit something.
SAMPLES = np.linspace(0.0, 1.0, 25)
# A label nearer than this (points) needs no line back to its marker.
BESIDE = 4.0
# Free space around a label, in points: other renderers set type a little wider.
PADDING = 0.8
# What it costs, in points of distance, if a line crosses a marker that touches its own, or a label
# lies about as near to a marker of another.
UNCLEAR = 6.0
# In a column: type sizes (the least that is read in print), distance of lines in units of them, and
# distance from the axes in points.
TYPE, LINE_HEIGHT, COLUMN = (5.5, 6.5), 1.25, 6.0
# Markers nearer than this (points) are one.
COINCIDENT = 1e-6


@dataclass(frozen=True)
class Spot:
    """A marker that wants a label.

    Attributes:
        x, y: its place in data coordinates.
        radius: of the marker, in points.
        text: the label.
    """

    x: float
    y: float
    radius: float
    text: str


def place_labels(
    spots: Sequence[Spot],
    ax: Axes,
    fontsize: float,
    avoid: Iterable[Text] = (),
    strokes: ArrayLike = (),
) -> list[Annotation]:
    """Write each label near its marker, where it covers nothing; what finds no room is left out.

    Greedy: labels are placed in the order given, each at the nearest of some two hundred places
    inside the axes that meets no marker, legend, earlier label or line, with a thin line back to
    its marker. The axes must have their final size; a layout engine is run for that.

    Args:
        spots: markers with their labels, the most important first.
        ax: where to draw.
        fontsize: of the labels.
        avoid: further texts to keep clear of.
        strokes: further straight lines to keep clear of, (M, 2, 2): ends in data coordinates.

    Returns:
        The labels that found room.

    Example:
        >>> from matplotlib.figure import Figure
        >>> ax = Figure().subplots()
        >>> labels = place_labels([Spot(0.5, 0.5, 3, "one"), Spot(0.5, 0.5, 3, "two")], ax, 8)
        >>> [label.get_text() for label in labels]
        ['one', 'two']
    """
    figure = ax.figure.canvas.figure
    figure.draw_without_rendering()
    unit = 72 / figure.dpi
    frame = _extent(ax, unit)
    centres = unit * ax.transData.transform([(spot.x, spot.y) for spot in spots])
    radii = np.array([spot.radius for spot in spots])
    markers = _boxes(centres, np.stack([radii, radii], axis=1))
    legend = ax.get_legend()
    covered: list[Artist] = [*avoid, *([] if legend is None else [legend])]
    taken = np.concatenate([markers, *(_extent(artist, unit)[None] for artist in covered)])
    ends = np.asarray(strokes, dtype=np.float64).reshape(-1, 2)
    ends = unit * ax.transData.transform(ends).reshape(-1, 2, 2)
    shares = np.stack([1 - SAMPLES, SAMPLES], axis=1)
    lines = np.einsum("sp,mpx->msx", shares, ends).reshape(-1, 2)
    placed = []
    for spot, centre in zip(spots, centres, strict=True):
        line = {"arrowstyle": "-", "color": FAINT, "lw": 0.5, "shrinkA": 0, "shrinkB": spot.radius}
        label = ax.annotate(
            spot.text,
            (spot.x, spot.y),
            (0, 0),
            textcoords="offset points",
            fontsize=fontsize,
            ha="center",
            va="center",
            zorder=5,
            arrowprops=line,
        )
        # Room for the label must not make the axes smaller.
        label.set_in_layout(False)
        extent = _extent(label, unit)
        half = (extent[2:] - extent[:2]) / 2 + PADDING
        place = _place(centre, half, spot.radius, frame, markers, taken, lines)
        if place is None:
            label.remove()
            continue
        label.set_position((float(place.offset[0]), float(place.offset[1])))
        cast(FancyArrowPatch, label.arrow_patch).set_visible(len(place.line) > 0)
        taken = np.concatenate([taken, place.box[None]])
        lines = np.concatenate([lines, place.line])
        placed.append(label)
    return placed


def list_labels(spots: Sequence[Spot], ax: Axes) -> list[Annotation]:
    """Write all labels in a column on the right of the axes, each with a line to its marker.

    They stand in the order of their markers' heights, as near to them as the type allows, which is
    as large as the height of the axes allows. The axes must have their final height.

    Args:
        spots: markers with their labels.
        ax: where to draw.

    Returns:
        The labels, lowest first; none where the axes are too low for all of them.

    Example:
        >>> from matplotlib.figure import Figure
        >>> ax = Figure().subplots()
        >>> labels = list_labels([Spot(0.5, 0.6, 3, "one"), Spot(0.5, 0.5, 3, "two")], ax)
        >>> [label.get_text() for label in labels]
        ['two', 'one']
    """
    figure = ax.figure.canvas.figure
    figure.draw_without_rendering()
    points = 72 / figure.dpi * ax.get_window_extent().height
    if len(spots) * LINE_HEIGHT * TYPE[0] > points:
        return []
    order = sorted(spots, key=lambda spot: (spot.y, -spot.x))
    fontsize = float(np.clip(points / LINE_HEIGHT / len(order), *TYPE))
    low, high = ax.get_ylim()
    gap = LINE_HEIGHT * fontsize / points * (high - low)
    heights = within_bounds(spread([spot.y for spot in order], gap), gap, low, high)
    edge = offset_copy(ax.get_yaxis_transform(), figure, x=COLUMN, units="points")
    labels = []
    for spot, height in zip(order, heights, strict=True):
        line = {"arrowstyle": "-", "color": FAINT, "lw": 0.3, "shrinkA": 1, "shrinkB": spot.radius}
        label = ax.annotate(
            spot.text,
            (spot.x, spot.y),
            (1, height),
            textcoords=edge,
            fontsize=fontsize,
            ha="left",
            va="center",
            annotation_clip=False,
            arrowprops={**line, "relpos": (0, 0.5), "zorder": 1.5},
        )
        labels.append(label)
    return labels


def within_bounds(places: Sequence[float], gap: float, low: float, high: float) -> list[float]:
    """Places a gap apart, pushed off the upper and then the lower bound.

    Example:
        >>> within_bounds([0.0, 0.9, 1.9], 1.0, 0.0, 2.0)
        [0.0, 1.0, 2.0]
    """
    order, result = np.argsort(places, kind="stable"), list(places)
    for i, bound in zip(order[::-1], high - gap * np.arange(len(places)), strict=True):
        result[i] = min(result[i], float(bound))
    for i, bound in zip(order, low + gap * np.arange(len(places)), strict=True):
        result[i] = max(result[i], float(bound))
    return result


class _Place(NamedTuple):
    """Middle of a label as seen from its marker, its box, and points on the line between them."""

    offset: Array
    box: Array
    line: Array


def _place(
    centre: Array,
    half: Array,
    radius: float,
    frame: Array,
    markers: Array,
    taken: Array,
    lines: Array,
) -> _Place | None:
    """The best free place for a label of this half size, all in points; or None."""
    reach, angle = (grid.ravel() for grid in np.meshgrid(REACHES, ANGLES, indexing="ij"))
    ray = np.stack([np.cos(angle), np.sin(angle)], axis=1)
    # A box of this half size, moved so far, ends on the ray at radius + reach from the marker.
    size = np.min(half / np.maximum(np.abs(ray), 1e-9), axis=1)
    offsets = ray * (radius + reach + size)[:, None]
    boxes = _boxes(centre + offsets, half)
    free = np.all(boxes[:, :2] >= frame[:2], axis=1) & np.all(boxes[:, 2:] <= frame[2:], axis=1)
    free &= ~_overlap(boxes, taken).any(axis=1)
    free &= ~_hits(boxes, lines).any(axis=1)
    if not free.any():
        return None
    offsets, boxes, reach, ray = offsets[free], boxes[free], reach[free], ray[free]
    # A line over a text or a distant marker misleads; over a marker that touches its own it may go.
    line = centre + SAMPLES[None, :, None] * ((radius + reach)[:, None] * ray)[:, None, :]
    touching = _overlap(_boxes(centre[None], np.array([radius, radius])), markers)[0]
    far = np.concatenate([markers[~touching], taken[len(markers) :]])
    blocked = _hits(far, line.reshape(-1, 2)).reshape(len(far), *line.shape[:2]).any(axis=(0, 2))
    near = _hits(markers[touching], line.reshape(-1, 2)).reshape(-1, *line.shape[:2])
    middles = (markers[:, :2] + markers[:, 2:]) / 2
    others = middles[np.abs(middles - centre).max(axis=1) > COINCIDENT]
    rivals = _distance(boxes, others) < 1.5 * _distance(boxes, centre[None])
    unclear = near.any(axis=2).sum(axis=0) + rivals.sum(axis=1)
    # Without a line back, a label about as near to another marker seems to be that one's.
    blocked |= rivals.any(axis=1) & (reach <= BESIDE)
    cost = np.where(blocked, np.inf, reach + UNCLEAR * unclear)
    best = int(cost.argmin())
    if not np.isfinite(cost[best]):
        return None
    kept = line[best] if reach[best] > BESIDE else np.empty((0, 2))
    return _Place(offsets[best], boxes[best], kept)


def _extent(artist: Artist, unit: float) -> Array:
    """Left, bottom, right, top of what is drawn, in points; of a label without its line."""
    of = Text.get_window_extent(artist) if isinstance(artist, Text) else artist.get_window_extent()
    return unit * np.array([of.x0, of.y0, of.x1, of.y1])


def _boxes(centres: Array, half: Array) -> Array:
    """Boxes (N, 4) as left, bottom, right, top, from centres (N, 2) and half sizes."""
    return np.concatenate([centres - half, centres + half], axis=1)


def _distance(boxes: Array, points: Array) -> Array:
    """From boxes (N, 4) to points (M, 2): (N, M)."""
    nearest = np.clip(points[None], boxes[:, None, :2], boxes[:, None, 2:])
    return np.asarray(np.linalg.norm(nearest - points[None], axis=2))


def _overlap(some: Array, others: Array) -> NDArray[np.bool_]:
    """Which boxes (N, 4) overlap which others (M, 4): (N, M)."""
    left, bottom, right, top = some.T[:, :, None]
    x0, y0, x1, y1 = others.T[:, None, :]
    return np.asarray((left < x1) & (x0 < right) & (bottom < y1) & (y0 < top))


def _hits(boxes: Array, points: Array) -> NDArray[np.bool_]:
    """Which boxes (N, 4) hold which points (M, 2): (N, M)."""
    left, bottom, right, top = boxes.T[:, :, None]
    x, y = points.T[:, None, :]
    return np.asarray((left < x) & (x < right) & (bottom < y) & (y < top))
