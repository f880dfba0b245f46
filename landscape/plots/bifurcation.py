"""The bifurcation diagram: every branch of critical points against the decay c."""

from __future__ import annotations

from collections.abc import Callable
from itertools import pairwise

import numpy as np
from matplotlib.axes import Axes
from matplotlib.lines import Line2D
from matplotlib.ticker import LogLocator, NullFormatter, ScalarFormatter
from numpy.typing import NDArray

from landscape.atlas.bifurcation import Kind
from landscape.atlas.branches import BranchDiagram, orbit_of
from landscape.atlas.continuation import Branch
from landscape.atlas.curve import Station, hermite
from landscape.plots.ladder import short_label
from landscape.plots.style import FAINT, INK, RANK_COLOURS, spread

Array = NDArray[np.float64]
Drop = Callable[[Array, Array], Array]
MARKERS = {Kind.BIRTH: "o", Kind.SYMMETRY_BREAKING: "^", Kind.FOLD: "s"}
NAMES = {Kind.BIRTH: "birth", Kind.SYMMETRY_BREAKING: "symmetry breaking", Kind.FOLD: "fold"}
# Points drawn per piece between stations, and type of the labels in points.
FINE = 8
LARGEST_TYPE, SMALLEST_TYPE, LINE_HEIGHT = 8.0, 4.0, 1.15


def draw_bifurcation(diagram: BranchDiagram, ax: Axes, title: str = "") -> Axes:
    """Branches in c: the share of the descent from the origin to the lowest branch.

    Height: (f_origin - f) / (f_origin - f_lowest) at the same c, 0 for the origin and 1 for the
    global minimum if it was followed. Colour: rank of W H. Solid lines are minima in every feature
    dimension (range index and overshoot 0), dashed lines saddles in some. Labels name the orbits
    at the smallest c; they are as large as the height of the axes allows.

    Args:
        diagram: from ``branches`` or ``grow``.
        ax: where to draw, in its final size.
        title: heading.

    Example:
        >>> from matplotlib.figure import Figure
        >>> from landscape.atlas import atlas
        >>> from landscape.atlas.branches import branches
        >>> from ufm import UFM, CrossEntropy
        >>> found = atlas(UFM(CrossEntropy(), 3, 2, lambda_W=0.02, lambda_H=0.02))
        >>> ax = draw_bifurcation(branches(found, 0.05, 1.2), Figure().subplots())
        >>> ax.get_xscale(), len(ax.get_legend().get_texts())
        ('log', 6)
    """
    share = _share(diagram)
    for branch in diagram.branches:
        for solid, stations in _runs(branch):
            log_c, objective = _fine(stations)
            ax.plot(
                np.exp(log_c),
                share(log_c, objective),
                "-" if solid else (0, (3.2, 1.4)),
                color=_colour(branch.rank),
                lw=2.0 if solid else 1.1,
                zorder=3 if solid else 2,
            )
    for event in diagram.events:
        height = share(np.array([np.log(event.c)]), np.array([event.objective]))
        ax.plot(
            [event.c],
            height,
            MARKERS[event.kind],
            color="white",
            mec=INK,
            mew=0.9,
            ms=4.5,
            zorder=4,
        )
    ax.set_xscale("log")
    ax.set_xlim(diagram.low, diagram.high)
    ax.set_ylim(-0.05, 1.05)
    ax.xaxis.set_major_locator(LogLocator(subs=(1.0, 2.0, 5.0)))
    ax.xaxis.set_major_formatter(ScalarFormatter())
    ax.xaxis.set_minor_formatter(NullFormatter())
    ax.yaxis.tick_right()
    ax.yaxis.set_label_position("right")
    ax.set_xlabel(r"weight decay $c=\sqrt{KN\lambda_W\lambda_H}$")
    ax.set_ylabel("share of the descent")
    ax.set_title(title)
    _label(diagram, ax, share)
    _legend(diagram, ax)
    return ax


def _colour(rank: int) -> str:
    return RANK_COLOURS[rank % len(RANK_COLOURS)]


def _runs(branch: Branch) -> list[tuple[bool, list[Station]]]:
    """Neighbouring nodes of a branch, cut where it begins or ceases to be a minimum."""
    minimum = [s.range_index == 0 and s.overshoot == 0 for s in branch.stations]
    known = {id(s): flag for s, flag in zip(branch.stations, minimum, strict=True)}
    runs: list[tuple[bool, list[Station]]] = []
    for one, other in branch.pieces:
        # At a fold or an end an eigenvalue is zero: the neighbouring station tells.
        solid = known.get(id(one), known.get(id(other), False))
        if runs and runs[-1][0] == solid:
            runs[-1][1].append(other)
        else:
            runs.append((solid, [one, other]))
    return runs


def _fine(stations: list[Station]) -> tuple[Array, Array]:
    """log c and f along neighbouring stations, by cubics: df / dlog c is the decay part of f."""
    shares = np.arange(FINE) / FINE
    log_c, objective = [], []
    for one, other in pairwise(stations):
        length = float(np.linalg.norm(other.y - one.y))
        start, end = (length * _slope(s) for s in (one, other))
        for t in shares:
            log_c.append(hermite(one, other, t)[0][-1])
            value = (1 + 2 * t) * (1 - t) ** 2 * one.objective
            value += t**2 * (3 - 2 * t) * other.objective
            objective.append(value + t * (1 - t) ** 2 * start - t**2 * (1 - t) * end)
    return (
        np.array([*log_c, stations[-1].log_c]),
        np.array([*objective, stations[-1].objective]),
    )
