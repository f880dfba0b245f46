"""A slice of the landscape through a saddle, along its exact escape direction and a second one."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from matplotlib.axes import Axes

from landscape.atlas import Orbit
from landscape.curvature.escape import escape_direction
from landscape.plots.ladder import short_label
from landscape.plots.style import BLUE, FAINT, INK, ORANGE, RED
from ufm.errors import InputError
from ufm.model import Model, hessian_vector_product, norm
from ufm.plain.model import UFM
from ufm.point import Point
from ufm.typing import Array

# A zero mode has a curvature of rounding, 1e-15 of the curvature along the point, of either sign.
FLAT = 1e-10


@dataclass(frozen=True)
class SliceRecord:
    """Heights of the objective on a line and on a plane through a critical point.

    Attributes:
        title: which point.
        value: objective at the point.
        times: positions along either direction, in units of length; 0 is the point.
        escape: objective along the escape direction.
        second: objective along the second direction.
        escape_curvature, second_curvature: Rayleigh quotients of the Hessian.
        plane: heights, rows along the second direction, columns along the escape direction.
        second_name: what the second direction is.
        origin: position of W = H = 0 on the second axis, or None if it is not on the plane.
    """

    title: str
    value: float
    times: Array
    escape: Array
    second: Array
    escape_curvature: float
    second_curvature: float
    plane: Array
    second_name: str
    origin: float | None


@jax.jit
def _heights(model: Model[Any], point: Any, first: Any, second: Any, s: Any, t: Any) -> Any:
    def at(a: Any, b: Any) -> Any:
        moved = jax.tree.map(lambda x, u, v: x + a * u + b * v, point, first, second)
        return model.objective(moved)

    return jax.vmap(at)(s, t)


def slice_record(
    model: Model[Any], point: Any, *, reach: float | None = None, cells: int = 61, title: str = ""
) -> SliceRecord:
    """Heights through a saddle: first axis its escape direction, second its own direction.

    The second direction is the point itself (scaling W and H together), which leads down to the
    origin; made orthogonal to the first. At the origin a second random direction takes its place.

    Args:
        model: any model.
        point: a critical point with negative curvature.
        reach: how far to go on each side; default 1.3 times the norm of the point.
        cells: grid points on each axis.
        title: heading of the diagram.

    Raises:
        InputError: the point has no negative curvature.

    Example:
        >>> from ufm import UFM, CrossEntropy
        >>> model = UFM(CrossEntropy(), 3, 2, lambda_W=0.1, lambda_H=0.1)
        >>> data = slice_record(model, model.origin(), cells=21)
        >>> bool(data.escape.min() < data.value), round(data.escape_curvature, 6)
        (True, -0.233333)
    """
    point = jax.tree.map(jnp.asarray, point)
    found = escape_direction(model, point)
    first = found.direction
    length = float(norm(point))
    at_origin = length < 1e-9
    second = model.random_point(jax.random.key(0)) if at_origin else point
    inner = sum(
        jnp.vdot(x, y) for x, y in zip(jax.tree.leaves(second), jax.tree.leaves(first), strict=True)
    )
    second = jax.tree.map(lambda x, u: x - inner * u, second, first)
    size = norm(second)
    second = jax.tree.map(lambda x: x / size, second)
    image = hessian_vector_product(model, point, second)
    curvature = sum(
        float(jnp.vdot(x, y))
        for x, y in zip(jax.tree.leaves(second), jax.tree.leaves(image), strict=True)
    )
    if found.curvature >= -FLAT * abs(curvature):
        raise InputError("A slice needs a saddle", f"curvature {found.curvature:.3g}", "use one")
    far = reach if reach is not None else (3.0 if at_origin else 1.3 * length)
    times = np.linspace(-far, far, cells)
    zeros = np.zeros_like(times)
    plane = plane_heights(model, point, first, second, times, times)
    on_axis = abs(float(inner)) < 1e-6 * max(length, 1e-9)
    return SliceRecord(
        title,
        float(model.objective(point)),
        times,
        np.asarray(_heights(model, point, first, second, times, zeros)),
        np.asarray(_heights(model, point, first, second, zeros, times)),
        found.curvature,
        curvature,
        plane,
        "random" if at_origin else "scaling W and H",
        -length if on_axis and not at_origin else None,
    )


def plane_heights(
    model: Model[Any], point: Any, first: Any, second: Any, x: Array, y: Array
) -> Array:
    """The objective at point + x first + y second, rows along y.

    Args:
        model: any model.
        point: where both coordinates are zero.
        first: direction of the columns.
        second: direction of the rows.
        x: coordinates of the columns.
        y: coordinates of the rows.

    Example:
        >>> from ufm import UFM, CrossEntropy
        >>> model = UFM(CrossEntropy(), 2, 1, lambda_W=0.1, lambda_H=0.1)
        >>> zero, one = model.origin(), model.minimiser().point
        >>> heights = plane_heights(model, zero, one, one, np.zeros(2), np.zeros(3))
        >>> heights.shape, round(float(heights[0, 0]), 6)
        ((3, 2), 0.693147)
    """
    across, up = np.meshgrid(x, y)
    heights = _heights(model, point, first, second, across.ravel(), up.ravel())
    return np.asarray(heights).reshape(len(y), len(x))


def at_dimension(orbit: Orbit, d: int) -> tuple[UFM, Point]:
    """An orbit as a critical point in dimension d: W and Hbar padded with zeros (A-2).

    Args:
        orbit: an orbit of an atlas.
        d: feature dimension, at least its rank (one for the origin).

    Returns:
        The merged model of dimension d, and the point: W (K, d), H (d, K), b.

    Raises:
        InputError: d is less than the rank.

    Example:
        >>> from landscape.atlas import squared_error_atlas
        >>> from ufm import MSE
        >>> best = squared_error_atlas(UFM(MSE(), 3, 3, lambda_W=0.1, lambda_H=0.1)).orbits[0]
        >>> model, point = at_dimension(best, 5)
        >>> model.d, point.W.shape, point.H.shape
        (5, (3, 5), (5, 3))
    """
    orbit.index(d)  # refuses a d that is too small
    W, H, b = orbit.point
    extra = d - W.shape[1]
    padded = Point(np.pad(W, ((0, 0), (0, extra))), np.pad(H, ((0, extra), (0, 0))), b)
    return orbit.model.with_dimension(d), padded


def orbit_slice(orbit: Orbit, d: int, *, cells: int = 61) -> SliceRecord:
    """The slice through an orbit of an atlas in dimension d, titled by its symmetry and index.

    Args:
        orbit: a saddle of an atlas.
        d: feature dimension, at least its rank.
        cells: grid points on each axis.

    Raises:
        InputError: d is less than the rank, or the orbit has no negative curvature there.

    Example:
        >>> from landscape.atlas import squared_error_atlas
        >>> from ufm import MSE
        >>> saddle = squared_error_atlas(UFM(MSE(), 3, 3, lambda_W=0.1, lambda_H=0.1)).orbits[1]
        >>> data = orbit_slice(saddle, 3, cells=11)
        >>> data.title, bool(data.escape.min() < data.value)
        ('projectors Gr(2, 3): index 1, d = 3', True)
    """
    model, point = at_dimension(orbit, d)
    title = f"{short_label(orbit.label)}: index {orbit.index(d)}, d = {d}"
    return slice_record(model, point, cells=cells, title=title)


def draw_slice_line(data: SliceRecord, ax: Axes) -> Axes:
    """The objective along both directions, with the parabola that the Hessian predicts.

    Args:
        data: the slice.
        ax: where to draw.
    """
    lines = (
        (data.second, data.second_curvature, ORANGE, f"{data.second_name}:"),
        (data.escape, data.escape_curvature, BLUE, "escape direction:"),
    )
    for heights, curvature, colour, name in lines:
        label = f"{name} curvature {curvature:+.3g}"
        ax.plot(data.times, heights, color=colour, label=label)
        near = np.abs(data.times) <= 0.62 * data.times[-1]
        parabola = data.value + 0.5 * curvature * data.times[near] ** 2
        ax.plot(data.times[near], parabola, "--", color=colour, lw=1)
    ax.plot([0], [data.value], "X", color=RED, mec=INK, ms=8, zorder=4)
    everything = np.concatenate([data.escape, data.second])
    low, high = float(everything.min()), float(everything.max())
    # Room for the legend above the curves, and for the parabola where it leaves them.
    ax.set_ylim(low - 0.12 * (high - low), high + 0.42 * (high - low))
    ax.annotate(
        "saddle",
        (0, data.value),
        xytext=(0, 9),
        textcoords="offset points",
        ha="center",
        color=RED,
        weight="bold",
    )
    ax.set_xlabel("distance from the saddle")
    ax.set_ylabel("objective")
    ax.set_title(data.title)
    ax.legend(loc="upper center", handlelength=1.4)
    return ax


def draw_slice_plane(data: SliceRecord, ax: Axes) -> Axes:
    """Contours of the objective on the plane of the two directions.

    Args:
        data: the slice.
        ax: where to draw.
    """
    low, high = float(data.plane.min()), float(data.plane.max())
    # Finer below than above: the valleys are what one looks at.
    levels = np.unique(
        np.concatenate(
            [np.linspace(low, data.value, 9), data.value + (high - data.value) * _LADDER[1:]]
        )
    )
    filled = ax.contourf(data.times, data.times, data.plane, levels=levels, cmap="cividis")
    ax.contour(
        data.times, data.times, data.plane, levels=levels, colors="white", linewidths=0.4, alpha=0.6
    )
    through = ax.contour(
        data.times, data.times, data.plane, levels=[data.value], colors=RED, linewidths=1.3
    )
    through.set_label("level of the saddle")
    ax.plot([0], [0], "X", color=RED, mec="white", ms=9, zorder=4)
    if data.origin is not None and data.origin >= data.times[0]:
        ax.plot([0], [data.origin], "o", color="white", mec=INK, ms=6, zorder=4)
        ax.annotate(
            "origin",
            (0, data.origin),
            xytext=(7, 0),
            textcoords="offset points",
            va="center",
            color=INK,
            fontsize=8,
            bbox={"boxstyle": "round,pad=0.15", "fc": "white", "ec": "none", "alpha": 0.8},
        )
    figure = ax.get_figure()
    if figure is not None:
        bar = figure.colorbar(filled, ax=ax, pad=0.02, ticks=np.linspace(low, data.value, 3))
        bar.ax.set_yticklabels([f"{low:.2f}", f"{(low + data.value) / 2:.2f}", "saddle"])
        bar.outline.set_edgecolor(FAINT)
        bar.set_label("objective")
    ax.grid(False)
    ax.set_xlabel("escape direction")
    ax.set_ylabel(data.second_name)
    ax.set_title(data.title)
    return ax


# Fractions of the height above the saddle at which contours are drawn.
_LADDER = np.array([0.0, 0.04, 0.1, 0.18, 0.28, 0.4, 0.55, 0.75, 1.0])
