"""The classes of a critical point as vectors in its row space, of dimension one, two or three."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import combinations, groupby
from types import MappingProxyType
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.ticker import MaxNLocator
from scipy.spatial import ConvexHull

from landscape.atlas import Orbit
from landscape.plots.gram import canonical_order
from landscape.plots.placement import Spot, place_labels
from landscape.plots.style import BLUE, FAINT, ORANGE
from ufm.errors import InputError
from ufm.typing import Array

# Lengths that agree, relative to the longest. Points are known to about 1e-9.
SAME = 1e-6
# Below this share of the length of an axis a component does not decide its sign.
SILENT = 1e-3
# A classifier and a feature nearer than this share of the longest vector share one label.
TOGETHER = 0.15
# A dot for w inside a ring for h shows both where they agree; sizes in points.
RING = 8.0
DOTS: Mapping[str, Any] = MappingProxyType(
    {"ls": "", "marker": "o", "color": BLUE, "ms": 4.0, "label": "$w_k$", "zorder": 4}
)
RINGS: Mapping[str, Any] = MappingProxyType(
    {"ls": "", "marker": "o", "mfc": "none", "mec": ORANGE, "mew": 1.4, "ms": RING}
    | {"label": "$h_k$", "zorder": 3}
)
# Elevation and azimuth in degrees, a direction in which no two vertices of a tetrahedron are close.
VIEW = (16.0, -100.0)


@dataclass(frozen=True, eq=False)
class Geometry:
    """The vectors of an orbit in a frame that depends on the orbit alone.

    Attributes:
        classifiers: (lw/lh)^(1/4) times the rows of W, (K, r), in canonical order.
        features: (lh/lw)^(1/4) times the columns of Hbar, (K, r), in canonical order.
        names: the numbers of the classes, in the same order.
    """

    classifiers: Array
    features: Array
    names: tuple[int, ...]

    @property
    def rank(self) -> int:
        """Dimension of the row space."""
        return int(self.classifiers.shape[1])

    @property
    def longest(self) -> float:
        """Length of the longest vector."""
        both = np.concatenate([self.classifiers, self.features])
        return float(np.linalg.norm(both, axis=1).max())


def geometry(orbit: Orbit) -> Geometry:
    """Classifiers and features on one scale, turned to principal axes.

    At a critical point lw W^T W = lh Hbar Hbar^T, so after scaling both have the same second
    moments, and their product is still Z. The axes are the principal ones, longest first. Where
    lengths agree, the first vectors in canonical order fix the axes (Gram-Schmidt); on every axis
    the first component that is not zero is positive. Classes are numbered in canonical order, each
    with the number of a class of as many samples, so all representatives of an orbit agree.
    Source: A-2 of docs/theory.md; the frame is derived here.

    Args:
        orbit: an orbit of rank one, two or three.

    Raises:
        InputError: another rank.

    Example:
        >>> from landscape.atlas import atlas
        >>> from ufm import UFM, CrossEntropy
        >>> found = atlas(UFM(CrossEntropy(), 3, 3, lambda_W=0.02, lambda_H=0.02))
        >>> best = geometry(found.orbits[0])
        >>> angles = np.degrees(np.arctan2(best.classifiers[:, 1], best.classifiers[:, 0]))
        >>> np.abs(angles).round(6).tolist(), best.names
        ([0.0, 120.0, 120.0], (1, 2, 3))
    """
    if not 1 <= orbit.rank <= 3:
        rule = "A picture shows vectors of dimension 1 to 3"
        raise InputError(rule, f"rank {orbit.rank}", "use draw_gram")
    ratio = (float(orbit.model.lambda_W) / float(orbit.model.lambda_H)) ** 0.25
    order = canonical_order(orbit)
    W, H = ratio * orbit.point.W[order], orbit.point.H.T[order] / ratio
    kinds = orbit.model.kinds
    names = np.empty(len(order), dtype=int)
    for kind in np.unique(kinds):
        names[kinds[order] == kind] = np.flatnonzero(kinds == kind) + 1
    frame = _frame(W)
    return Geometry(W @ frame, H @ frame, tuple(names.tolist()))


def _frame(W: Array) -> Array:
    """Principal axes of the rows of W, as columns; a rotation of W turns them with it."""
    lengths, axes = np.linalg.svd(W, full_matrices=False)[1:]
    cuts = np.flatnonzero(lengths[:-1] - lengths[1:] > SAME * lengths[0]) + 1
    frame = []
    for block in np.split(np.arange(len(lengths)), cuts):
        inside = W @ axes[block].T
        chosen = np.empty((0, len(block)))
        for row in inside:
            rest = row - (chosen @ row) @ chosen
            if len(chosen) < len(block) and np.linalg.norm(rest) > SILENT * lengths[block[0]]:
                chosen = np.concatenate([chosen, rest[None] / np.linalg.norm(rest)])
        frame.append(axes[block].T @ chosen.T)
    return np.concatenate(frame, axis=1)


def draw_geometry(data: Geometry, ax: Axes, title: str = "") -> Axes:
    """Dots and lines are classifiers, rings and dashes features; class numbers beside them.

    Rank 1: the values on two parallel lines, those of a class joined. Rank 2: vectors in the plane.
    Rank 3: vectors in space, the first principal axis upright, seen from a fixed side. Grey edges
    are those of the convex hull of the classifiers and the origin, dotted where they are hidden.
    Labels are laid out for the size that the axes have now.

    Args:
        data: the vectors.
        ax: where to draw; with ``projection="3d"`` for rank 3.
        title: heading.

    Raises:
        InputError: the axes have another dimension than the vectors need.
    """
    if (ax.name == "3d") != (data.rank == 3):
        rule = 'Rank 3 needs axes with projection="3d", ranks 1 and 2 need plane ones'
        raise InputError(rule, f"rank {data.rank}, {ax.name}", "use other axes")
    ax.set_title(title)
    (_draw_line, _draw_plane, _draw_space)[data.rank - 1](data, ax)
    return ax


def _draw_line(data: Geometry, ax: Axes) -> None:
    w, h = data.classifiers[:, 0], data.features[:, 0]
    upper, lower = np.ones_like(w), np.zeros_like(h)
    ax.plot(np.stack([w, h]), np.stack([upper, lower]), color=FAINT, lw=0.6, zorder=1)
    ax.plot(w, upper, **DOTS)
    ax.plot(h, lower, **RINGS)
    ax.axvline(0, color=FAINT, lw=0.6)
    ax.set_xlim(-1.25 * data.longest, 1.25 * data.longest)
    ax.set_ylim(-0.6, 1.6)
    ax.xaxis.set_major_locator(MaxNLocator(5))
    ax.set_yticks([1, 0], ["$w_k$", "$h_k$"], fontsize=9)
    ax.tick_params(axis="y", length=0)
    ax.set_xlabel("principal axis")
    _name(np.stack([w, upper], axis=1), np.stack([h, lower], axis=1), data, ax)


def _draw_plane(data: Geometry, ax: Axes) -> None:
    w, h = data.classifiers, data.features
    for start, end, _ in _edges(w):
        ax.plot(*np.stack([start, end], axis=1), color=FAINT, lw=0.5, zorder=1)
    _spokes(data, ax)
    ax.plot(*w.T, **DOTS)
    ax.plot(*h.T, **RINGS)
    reach = 1.25 * data.longest
    ax.set_xlim(-reach, reach)
    ax.set_ylim(-reach, reach)
    ax.set_aspect("equal")
    ax.xaxis.set_major_locator(MaxNLocator(5))
    ax.yaxis.set_major_locator(MaxNLocator(5))
    ax.set_xlabel("first principal axis")
    ax.set_ylabel("second principal axis")
    ax.legend(loc="upper right", handletextpad=0.0, borderpad=0.0)
    _name(w, h, data, ax)


def _draw_space(data: Geometry, ax: Any) -> None:
    up = np.roll(np.eye(3), 1, axis=0)  # the first axis points up
    w, h = data.classifiers @ up, data.features @ up
    elevation, azimuth = np.radians(VIEW)
    level = np.cos(elevation)
    eye = np.array([level * np.cos(azimuth), level * np.sin(azimuth), np.sin(elevation)])
    for start, end, sides in _edges(w):
        dots = ":" if max(side @ eye for side in sides) < 0 else "-"
        ax.plot(*np.stack([start, end], axis=1), dots, color=FAINT, lw=0.6)
    _spokes(Geometry(w, h, data.names), ax)
    ax.plot(*w.T, **DOTS)
    ax.plot(*h.T, **RINGS)
    reach = data.longest
    ax.set(xlim=(-reach, reach), ylim=(-reach, reach), zlim=(-reach, reach))
    # A ball fills less of the picture than the cube for which it is made.
    ax.set_box_aspect((1, 1, 1), zoom=1.45)
    ax.set_proj_type("ortho")
    ax.view_init(*VIEW)
    ax.set_axis_off()
    ax.legend(loc="upper right", handletextpad=0.0, borderpad=0.0)
    ax.figure.canvas.figure.draw_without_rendering()
    _name(_on_page(w, ax), _on_page(h, ax), data, ax)


def _spokes(data: Geometry, ax: Any) -> None:
    for tips, colour, dashes in ((data.classifiers, BLUE, "-"), (data.features, ORANGE, "--")):
        for tip in tips:
            ax.plot(*np.stack([0 * tip, tip], axis=1), dashes, color=colour, lw=1.2, zorder=2)


def _on_page(tips: Array, ax: Any) -> Array:
    """Where points in space are seen, in the plane coordinates of their axes."""
    seen = np.concatenate([tips, np.ones((len(tips), 1))], axis=1) @ ax.get_proj().T
    return np.asarray(seen[:, :2] / seen[:, 3:])


def _edges(tips: Array) -> list[tuple[Array, Array, list[Array]]]:
    """Edges of the hull of the tips and the origin, but those at the origin; outward normals."""
    # With the origin the hull has full dimension: the tips span the space.
    corners = np.concatenate([tips, np.zeros((1, tips.shape[1]))])
    hull = ConvexHull(corners)
    sides: dict[tuple[int, int], list[Array]] = {}
    for simplex, plane in zip(hull.simplices, hull.equations, strict=True):
        for i, j in combinations(sorted(simplex.tolist()), 2):
            sides.setdefault((i, j), []).append(plane[:-1])
    # In space, a line between two triangles of one plane is a diagonal and no edge.
    return [
        (corners[i], corners[j], normals)
        for (i, j), normals in sides.items()
        if j < len(tips) and (len(normals) == 1 or np.abs(normals[0] - normals[1]).max() > SAME)
    ]


def _name(w: Array, h: Array, data: Geometry, ax: Axes) -> None:
    """Class numbers at the classifiers (seen at w); again at features (seen at h) far from them."""
    both = np.concatenate([data.classifiers, data.features], axis=1)
    steps = np.abs(np.diff(both, axis=0)).max(axis=1)
    groups = np.split(np.arange(len(both)), np.flatnonzero(steps > SAME * data.longest) + 1)
    apart = np.linalg.norm(data.classifiers - data.features, axis=1) > TOGETHER * data.longest
    named = [(w, group) for group in groups]
    # On parallel lines a class is joined already.
    named += [(h, group) for group in groups if apart[group[0]] and data.rank > 1]
    spots = []
    for seen, group in named:
        x, y = seen[group[0]].tolist()
        spots.append(Spot(x, y, RING / 2, class_names([data.names[k] for k in group])))
    inner = h if data.rank == 1 else np.zeros_like(w)
    place_labels(spots, ax, 8.0, strokes=np.stack([[inner, w], [inner, h]]).transpose(0, 2, 1, 3))


def class_names(names: Sequence[int]) -> str:
    """The numbers of merged classes, runs of three or more shortened.

    Example:
        >>> class_names([1, 2]), class_names([1, 2, 3, 5])
        ('1,2', '1–3,5')
    """
    parts = []
    for _, run in groupby(enumerate(sorted(names)), key=lambda pair: pair[1] - pair[0]):
        members = [name for _, name in run]
        short = [f"{members[0]}–{members[-1]}"] if len(members) > 2 else [f"{n}" for n in members]
        parts += short
    return ",".join(parts)
