"""Spectrum strips: the Hessian eigenvalues of every orbit of an atlas, one row for each."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from matplotlib.axes import Axes
from matplotlib.lines import Line2D
from matplotlib.ticker import FixedLocator, NullLocator

from landscape.atlas import Atlas, Orbit
from landscape.plots.ladder import short_label
from landscape.plots.slice import at_dimension
from landscape.plots.style import BLUE, FAINT, INK, RED
from ufm.errors import InputError
from ufm.plain.reduce import full_spectrum

# Eigenvalues closer than this share of the largest are one level: rounding is 1e-14 of it.
SAME_LEVEL = 1e-9
# Half height of a tick, in rows: a simple eigenvalue, and what every doubling of the multiplicity
# adds, up to the most.
SHORT, DOUBLING, TALL = 0.14, 0.09, 0.44
# Width of a digit, in units of the type size.
DIGIT = 0.64


@dataclass(frozen=True)
class Strip:
    """The spectrum of one orbit in units of sigma = sqrt(lambda_W lambda_H).

    Attributes:
        label: the symmetry.
        objective: value there.
        negative, positive: (eigenvalue / sigma, multiplicity), ascending.
        zeros: number of zero eigenvalues.
    """

    label: str
    objective: float
    negative: tuple[tuple[float, int], ...]
    positive: tuple[tuple[float, int], ...]
    zeros: int

    @property
    def index(self) -> int:
        """Number of negative eigenvalues."""
        return sum(count for _, count in self.negative)


def strips(found: Atlas, d: int) -> tuple[Strip, ...]:
    """The spectra of all orbits that fit into dimension d, samples merged.

    Eigenvalues come from the blocks of A-1, A-2 and A-5; which of them are zero is decided by the
    index and the nullity of the orbit.

    Args:
        found: an atlas.
        d: feature dimension.

    Returns:
        Orbits in ascending order of objective.

    Example:
        >>> from landscape.atlas import atlas
        >>> from ufm import UFM, CrossEntropy
        >>> rows = strips(atlas(UFM(CrossEntropy(), 3, 3, lambda_W=0.1, lambda_H=0.1)), 4)
        >>> [(row.label, row.index, row.zeros) for row in rows][-1]
        ('origin', 8, 0)
        >>> rows[-1].negative  # (lambda - 1/3) / sigma, (K - 1) d times
        ((-2.333333333333, 8),)
    """
    return tuple(_strip(orbit, d) for orbit in found.orbits if orbit.rank <= d)


def _strip(orbit: Orbit, d: int) -> Strip:
    model, point = at_dimension(orbit, d)
    # The atlas counts in the merged problem: differences within a class are not part of it.
    kept = [x for x in full_spectrum(model, point) if not x.block.startswith("within-class")]
    values = np.repeat([x.value for x in kept], [x.multiplicity for x in kept]) / model.sigma
    first, last = orbit.index(d), orbit.index(d) + orbit.nullity(d)
    unit = SAME_LEVEL * float(np.abs(values).max())
    return Strip(
        short_label(orbit.label),
        orbit.objective,
        _levels(values[:first].tolist(), unit),
        _levels(values[last:].tolist(), unit),
        last - first,
    )


def _levels(values: list[float], unit: float) -> tuple[tuple[float, int], ...]:
    """Ascending values with multiplicities; neighbours within ``unit`` are one level."""
    groups: list[list[float]] = []
    for value in values:
        if groups and value - groups[-1][-1] <= unit:
            groups[-1].append(value)
        else:
            groups.append([value])
    return tuple((round(float(np.mean(group)), 12), len(group)) for group in groups)


def draw_strips(data: Sequence[Strip], ax: Axes, title: str = "") -> Axes:
    """Eigenvalues over sigma, one row for each orbit, the lowest objective at the bottom.

    Ticks are thick below zero and thin above; a ring at zero stands for the zero modes. A tick is
    the taller the higher its multiplicity, which is written beside it where there is room at the
    size that the axes have now. On the right index and nullity. The axis is linear up to sigma on
    both sides and logarithmic beyond.

    Args:
        data: the rows.
        ax: where to draw.
        title: heading.

    Raises:
        InputError: no rows.
    """
    if not data:
        raise InputError("Need at least one strip", 0, "use a dimension in which orbits fit")
    for name, colour, width in (("negative", RED, 1.6), ("positive", BLUE, 0.8)):
        rows = [(x, y, m) for y, row in enumerate(data) for x, m in getattr(row, name)]
        x, y, counts = np.array(rows, dtype=np.float64).reshape(-1, 3).T
        half = np.minimum(SHORT + DOUBLING * np.log2(counts), TALL)
        ax.vlines(x, y - half, y + half, color=colour, lw=width, label=name, zorder=3)
    with_zeros = [y for y, row in enumerate(data) if row.zeros]
    (rings,) = ax.plot([0] * len(with_zeros), with_zeros, "o", mfc="white", mec=INK, zorder=4)
    values = [x for row in data for x, _ in (*row.negative, *row.positive)]
    ax.set_xscale("symlog", linthresh=1.0)
    ax.set_xlim(1.5 * min(*values, -0.5), 1.5 * max(*values, 0.5))
    ax.set_ylim(-0.6, len(data) - 0.4)
    ax.axvspan(ax.get_xlim()[0], 0, color=RED, alpha=0.06, lw=0)
    ax.axvline(0, color=FAINT, lw=0.8)
    ax.xaxis.set_major_locator(FixedLocator([-100, -10, -1, 0, 1, 10, 100]))
    ax.xaxis.set_major_formatter("{x:.0f}")
    ax.xaxis.set_minor_locator(NullLocator())
    ax.tick_params(axis="y", length=0)
    ax.set_yticks(range(len(data)), [row.label for row in data])
    ax.set_xlabel(r"Hessian eigenvalue $/\,\sigma$")
    ax.set_title(title)
    _write(data, ax, rings)
    return ax


def _write(data: Sequence[Strip], ax: Axes, rings: Line2D) -> None:
    """All type, in sizes that fit the rows: labels, index and nullity, multiplicities."""
    margin = ax.get_yaxis_transform()
    # In line with the numbers below the axis.
    ax.annotate(
        "index/null", (1.02, -0.6), (0, -5), margin, "offset points", va="top", fontsize=6.5
    )
    numbers = [
        ax.text(1.02, y, f"{row.index}/{row.zeros}", transform=margin, va="center")
        for y, row in enumerate(data)
    ]
    figure = ax.figure.canvas.figure
    figure.draw_without_rendering()
    unit = 72 / figure.dpi
    row_height = unit * ax.get_window_extent().height / len(data)
    fontsize = min(0.8 * row_height, 8.0)
    for text in (*numbers, *ax.get_yticklabels()):
        text.set_fontsize(fontsize)
    rings.set_markersize(min(5.0, 0.45 * row_height))
    figure.draw_without_rendering()
    small = min(fontsize, 6.5)
    for y, row in enumerate(data):
        zeros = ((0.0, row.zeros),) * (row.zeros > 0)
        levels = (*row.negative, *zeros, *row.positive)
        places = unit * ax.transData.transform([(x, y) for x, _ in levels])[:, 0]
        room = np.diff(places, append=unit * ax.get_window_extent().x1)
        for (x, count), free in zip(levels, room, strict=True):
            start = 1.5 + (rings.get_markersize() / 2 if x == 0 else 0.3)
            if count > 1 and free >= start + DIGIT * small * len(str(count)) + 1.0:
                ax.annotate(
                    f"{count}",
                    (x, y),
                    (start, 0),
                    textcoords="offset points",
                    va="center",
                    fontsize=small,
                    zorder=5,
                )
