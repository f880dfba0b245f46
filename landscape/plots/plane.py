"""The plane through the origin, a saddle and the minimum: heights, as contours and as a surface."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.colors import PowerNorm

from landscape.atlas import Orbit
from landscape.plots.ladder import short_label
from landscape.plots.slice import at_dimension, plane_heights
from landscape.plots.style import FAINT, INK, RED
from ufm.errors import InputError
from ufm.point import Point, flatten, unflatten
from ufm.typing import Array

# Share of the extent of the three points that is drawn beyond them.
BEYOND = 0.45
# Contours, closer together where the objective is low; and the type of the names, in points.
LEVELS, CLOSER, TYPE = 18, 0.5, 8.0
# Elevation and azimuth in degrees from which saddle, origin and minimum are all seen.
VIEW = (42.0, -62.0)
# A turned saddle nearer to the first axis than this share of its length makes no plane.
FLAT = 1e-6


@dataclass(frozen=True, eq=False)
class PlaneRecord:
    """Heights on a plane through the origin and two points.

    Attributes:
        x, y: coordinates of the columns and rows, in units of length.
        heights: (rows, columns).
        places: name -> (x, y, objective) of the three points.
    """

    x: Array
    y: Array
    heights: Array
    places: Mapping[str, tuple[float, float, float]]


def plane_record(saddle: Orbit, best: Orbit, d: int, *, cells: int = 81) -> PlaneRecord:
    """Heights on the plane of the origin, a saddle and the minimum.

    The first axis leads to the minimum. The saddle is turned in feature space so that it lies as
    near to the minimum as it can (orthogonal Procrustes), since any turned point is the same.

    Args:
        saddle: an orbit of rank one or more.
        best: the orbit that the first axis leads to.
        d: feature dimension, at least both ranks.
        cells: grid points on each axis.

    Raises:
        InputError: the three lie on a line.

    Example:
        >>> from landscape.atlas import atlas
        >>> from ufm import UFM, CrossEntropy
        >>> orbits = atlas(UFM(CrossEntropy(), 3, 3, lambda_W=0.02, lambda_H=0.02)).orbits
        >>> data = plane_record(orbits[1], orbits[0], 3, cells=5)
        >>> data.heights.shape, [name for name in data.places]
        ((5, 5), ['origin', 'mirror 1|1|1', 'simplex ETF'])
    """
    model, top = at_dimension(best, d)
    near = turned(at_dimension(saddle, d)[1], top)
    zero = model.origin()
    first, second = flatten(top) - flatten(zero), flatten(near) - flatten(zero)
    across = first / np.linalg.norm(first)
    rest = second - (across @ second) * across
    if np.linalg.norm(rest) < FLAT * np.linalg.norm(second):
        raise InputError(
            "A plane needs three points that are not on a line", saddle.label, "others"
        )
    up = rest / np.linalg.norm(rest)
    names = "origin", short_label(saddle.label), short_label(best.label)
    columns = [0.0, float(across @ second), float(np.linalg.norm(first))]
    rows = [0.0, float(up @ second), 0.0]
    levels = [float(model.objective(point)) for point in (zero, near, top)]
    x, y = _axis(columns, cells), _axis(rows, cells)
    heights = plane_heights(model, zero, unflatten(across, zero), unflatten(up, zero), x, y)
    places = dict(zip(names, zip(columns, rows, levels, strict=True), strict=True))
    return PlaneRecord(x, y, heights, places)


def _axis(values: list[float], cells: int) -> Array:
    extent = max(values) - min(values)
    return np.linspace(min(values) - BEYOND * extent, max(values) + BEYOND * extent, cells)


def turned(point: Point, other: Point) -> Point:
    """A point turned in feature space to lie as near to another as it can.

    Example:
        >>> W = np.array([[1.0, 0.0], [0.0, 2.0]])
        >>> quarter = np.array([[0.0, 1.0], [-1.0, 0.0]])
        >>> back = turned(Point(W @ quarter, quarter.T @ W), Point(W, W))
        >>> np.allclose(back.W, W)
        True
    """
    left, _, right = np.linalg.svd(point.W.T @ other.W + point.H @ other.H.T)
    turn = left @ right
    return Point(point.W @ turn, turn.T @ point.H, point.b)


def _levels(data: PlaneRecord) -> tuple[Array, float]:
    low = min(float(data.heights.min()), *(place[2] for place in data.places.values()))
    high = 1.25 * max(place[2] for place in data.places.values()) - 0.25 * low
    return low + (high - low) * np.linspace(0, 1, LEVELS) ** (1 / CLOSER), high


def draw_plane(data: PlaneRecord, ax: Axes, title: str = "") -> Axes:
    """Contours of the objective on the plane, the three points marked and named.

    Args:
        data: heights.
        ax: where to draw.
        title: heading.
    """
    levels, _ = _levels(data)
    norm = PowerNorm(CLOSER, levels[0], levels[-1])
    ax.contourf(
        data.x, data.y, data.heights, levels=levels, cmap="cividis", norm=norm, extend="max"
    )
    ax.contour(data.x, data.y, data.heights, levels=levels, colors="white", linewidths=0.3)
    for (name, (x, y, height)), mark in zip(data.places.items(), _MARKS, strict=True):
        ax.contour(
            data.x, data.y, data.heights, levels=[height], colors=mark["color"], linewidths=1
        )
        ax.plot([x], [y], ls="", mec=INK, zorder=4, **mark)
        ax.annotate(
            f"{name}\n{height:.3f}",
            (x, y),
            (0, 7),
            textcoords="offset points",
            ha="center",
            fontsize=TYPE,
            bbox=dict(_PLATE),
        )
    ax.set_aspect("equal")
    ax.grid(False)
    ax.set_xlabel("towards the minimum")
    ax.set_ylabel("towards the saddle")
    ax.set_title(title)
    return ax


def draw_surface(data: PlaneRecord, ax: Any, title: str = "") -> Any:
    """The objective over the plane as a surface in space, cut off above the origin.

    Args:
        data: heights.
        ax: where to draw, with ``projection="3d"``.
        title: heading.

    Raises:
        InputError: plane axes.
    """
    if ax.name != "3d":
        raise InputError('A surface needs axes with projection="3d"', ax.name, "use such axes")
    levels, high = _levels(data)
    cut = np.where(data.heights > high, np.nan, data.heights)
    x, y = np.meshgrid(data.x, data.y)
    norm = PowerNorm(CLOSER, levels[0], levels[-1])
    ax.computed_zorder = False
    ax.plot_surface(
        x, y, cut, cmap="cividis", norm=norm, rcount=80, ccount=80, lw=0, alpha=0.9, zorder=1
    )
    ax.contour(x, y, cut, levels=levels, colors="white", linewidths=0.4, zorder=2)
    for (name, (a, b, height)), mark in zip(data.places.items(), _MARKS, strict=True):
        ax.plot([a], [b], [height], ls="", mec=INK, zorder=4, **mark)
        above = height + 0.1 * (high - levels[0])
        ax.text(a, b, above, name, fontsize=TYPE, ha="center", zorder=5, bbox=dict(_PLATE))
    ax.view_init(*VIEW)
    ax.set_box_aspect((1.2, 1.0, 0.8), zoom=0.95)
    ax.set(xticks=[], yticks=[], zlim=(levels[0], high))
    ax.set_xlabel("towards the minimum", labelpad=-12)
    ax.set_ylabel("towards the saddle", labelpad=-12)
    ax.set_zlabel("objective", labelpad=-2)
    ax.tick_params(axis="z", labelsize=7, pad=0)
    for axis in (ax.xaxis, ax.yaxis, ax.zaxis):
        axis.pane.set_facecolor("white")
        axis.line.set_color(FAINT)
    ax.grid(False)
    ax.set_title(title)
    return ax


_PLATE = {"boxstyle": "round,pad=0.15", "fc": "white", "ec": "none", "alpha": 0.8}
_MARKS: tuple[dict[str, Any], ...] = (
    {"marker": "o", "color": "white", "ms": 6},
    {"marker": "X", "color": RED, "ms": 8},
    {"marker": "*", "color": "#F0E442", "ms": 11},
)
