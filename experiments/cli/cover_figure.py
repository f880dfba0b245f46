"""The picture of a cover: every box of the gaps, for three classes."""

from __future__ import annotations

from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.collections import PatchCollection
from matplotlib.patches import Rectangle

from landscape.plots.style import BLUE, FAINT, GREEN, INK, ORANGE


def draw_cover(axes: Axes, cover: Any) -> Axes:
    """The boxes of a cover in the plane of the two gaps, and the orbits that they leave.

    Boxes that w -> -w sends into the others, or that lie beyond the bound, are not shaded: nothing
    had to be proved there.
    """
    low, high = cover.leaves()
    outside = cover.equations.out_of_domain(low, high)
    for chosen, colour in ((outside, "white"), (~outside, "#dfe9f2")):
        boxes = [Rectangle(a, *(b - a)) for a, b in zip(low[chosen], high[chosen], strict=True)]
        axes.add_collection(
            PatchCollection(boxes, facecolor=colour, edgecolor=FAINT, linewidth=0.25)
        )
    shown = [u if u[0] >= u[-1] else u[::-1] for u in cover.orbits]
    marks = zip([np.zeros(2), *shown], ["origin", *map(_name, shown)], strict=True)
    for (at, name), colour in zip(marks, (INK, BLUE, ORANGE, GREEN) * 3, strict=False):
        axes.plot(*at, "o", color=colour, markersize=4, label=name, clip_on=False, zorder=3)
    end = high.max()
    axes.set(xlim=(0, end), ylim=(0, end), aspect="equal")
    axes.set(xlabel=r"$w_1 - w_2$", ylabel=r"$w_2 - w_3$")
    axes.legend(loc="upper left", frameon=True, title=f"{len(low):,} boxes")
    return axes


def _name(u: Any) -> str:
    if np.isclose(u[0], u[1]):
        return "mirror $1|1|1$"
    return "merged $2|1$" if min(abs(u)) < 1e-6 else "orbit"
