"""The coverage curve: orbits found, the unseen mass and the checksums as a search goes on."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from matplotlib.axes import Axes
from matplotlib.ticker import MaxNLocator, PercentFormatter
from scipy.special import gammaln

from landscape.atlas import Round
from landscape.plots.style import BLUE, FAINT, ORANGE, RED, darker
from ufm.errors import InputError
from ufm.typing import Array

# Share of the height that the checksums take, and the gap above them.
STRIP, GAP = 0.26, 0.08
# Width of a digit in units of the type size, and the space for two half triangles in points.
DIGIT, TRIANGLES = 0.64, 6.5
MARGIN = 16.0


def accumulation(hits: Sequence[int]) -> Array:
    """Orbits that so many of the searches found on average, had they come in a random order.

    S(m) = sum_i (1 - C(n - h_i, m) / C(n, m)),  n = sum_i h_i

    Source: rarefaction after Hurlbert (1971).

    Args:
        hits: how often each orbit was found; zeros do not count.

    Returns:
        S(0), ..., S(n).

    Example:
        >>> accumulation([2, 1]).round(6).tolist()
        [0.0, 1.0, 1.666667, 2.0]
    """
    often = np.array([h for h in hits if h], dtype=np.float64)
    n = int(often.sum())
    m = np.arange(n + 1)
    # C(n - h, m) / C(n, m) in logarithms; 0 where m > n - h.
    rest = n - often[:, None]
    logs = gammaln(rest + 1) - gammaln(np.maximum(rest - m, 0) + 1)
    logs -= gammaln(n + 1) - gammaln(n - m + 1)
    return np.asarray(np.sum(1 - np.where(m > rest, 0.0, np.exp(logs)), axis=0))


def draw_coverage(
    data: Sequence[Round], ax: Axes, title: str = "", *, hits: Sequence[int] = ()
) -> Axes:
    """Orbits found and Good-Turing's unseen mass against searches; below, the checksum of each d.

    Above: dots (left axis) and dashes (right axis), known at the end of each round, and the curve
    of orbits against searches that ``accumulation`` makes of the hits, steps without them. Below,
    one row for each d = 1..K and a mark at each round: a small dot where the Euler sum of AT-4 is
    1, a triangle up or down where it is more or less. The numbers are written where there is room
    at the size that the axes have now.

    Args:
        data: the history of an atlas.
        ax: where to draw.
        title: heading.
        hits: how often each orbit was found.

    Raises:
        InputError: no round.

    Example:
        >>> from matplotlib.figure import Figure
        >>> history = [Round(64, 3, {1: 1, 2: -2}, 0.5), Round(128, 4, {1: 1, 2: 1}, 0.0)]
        >>> ax = draw_coverage(history, Figure().subplots())
        >>> ax.lines[0].get_xydata().tolist()
        [[0.0, 0.0], [64.0, 3.0], [128.0, 4.0]]
    """
    if not data:
        raise InputError("Need at least one round", 0, "search first")
    searches = np.array([0, *(r.searches for r in data)], dtype=np.float64)
    orbits = np.array([0, *(r.orbits for r in data)], dtype=np.float64)
    if sum(hits):
        curve = accumulation(hits)
        ax.plot(np.linspace(0, searches[-1], len(curve)), curve, color=BLUE)
    else:
        ax.step(searches, orbits, where="post", color=BLUE)
    ax.plot(searches[1:], orbits[1:], "o", color=BLUE, ms=3.5)
    ax.annotate(
        f"{data[-1].orbits}",
        (searches[-1], orbits[-1]),
        (0, 4),
        textcoords="offset points",
        ha="center",
        color=BLUE,
        fontsize=8,
    )
    mass = ax.twinx()
    unseen = [r.missing_mass for r in data]
    mass.plot(searches[1:], unseen, "s--", color=ORANGE, ms=3, lw=1.0)
    # Both scales stand on one line, above the checksums.
    floor = (STRIP + GAP) / (1 - STRIP - GAP)
    counts = MaxNLocator(4, integer=True).tick_values(0, max(orbits))
    for axes, top, ticks in ((ax, max(orbits), counts), (mass, 1.0, [0.0, 0.5, 1.0])):
        axes.set_ylim(-1.15 * floor * top, 1.15 * top)
        axes.set_yticks([tick for tick in ticks if tick <= 1.15 * top])
    ax.set_xlim(-0.03 * searches[-1], 1.08 * searches[-1])
    ax.xaxis.set_major_locator(MaxNLocator(5, integer=True))
    mass.yaxis.set_major_formatter(PercentFormatter(1.0))
    mass.grid(False)
    middle = (1 + STRIP + GAP) / 2
    ax.set_ylabel("orbits found", y=middle, color=darker(BLUE))
    mass.set_ylabel("unseen mass (dashed)", y=middle, color=darker(ORANGE))
    ax.set_xlabel("searches")
    ax.set_title(title)
    _draw_checksums(data, ax)
    return ax


def _draw_checksums(data: Sequence[Round], ax: Axes) -> None:
    """The strip below: a mark for each round and each d."""
    rows = np.array([(r.searches, d, v - 1) for r in data for d, v in r.checksum.items()])
    strip = ax.inset_axes((0, 0, 1, STRIP), sharex=ax)
    for name, chosen, marker, colour, size in (
        ("right", rows[:, 2] == 0, ".", FAINT, 3.0),
        ("more", rows[:, 2] > 0, "^", RED, 4.5),
        ("less", rows[:, 2] < 0, "v", BLUE, 4.5),
    ):
        x, d, _ = rows[chosen].T
        strip.plot(x, d, marker, ls="", color=colour, ms=size, label=name)
    ds = sorted(data[-1].checksum)
    strip.set_ylim(ds[-1] + 0.7, ds[0] - 0.7)
    strip.tick_params(axis="x", bottom=False, labelbottom=False)
    strip.set_facecolor("none")
    strip.set_ylabel("d", rotation=0, va="center", labelpad=10)
    strip.set_yticks(ds)
    note = "Euler sum − 1:  ▲ more   ▼ less   · none"
    ax.text(0.01, STRIP + 0.01, note, transform=ax.transAxes, fontsize=6.5, va="bottom")
    figure = ax.figure.canvas.figure
    figure.draw_without_rendering()
    unit = 72 / figure.dpi
    row_height = unit * strip.get_window_extent().height / (len(ds) + 0.4)
    fontsize = min(0.9 * row_height, 6.5)
    strip.tick_params(axis="y", length=0, labelsize=fontsize)
    places = {r.searches: unit * ax.transData.transform((r.searches, 0))[0] for r in data}
    order = sorted(places)
    # Beside the strip, below the scale on the right, there is room for a number more.
    end = unit * ax.get_window_extent().x1 + MARGIN
    room = dict(zip(order, np.diff([*(places[x] for x in order), end]), strict=True))
    for x, d, defect in rows[rows[:, 2] != 0].tolist():
        number = f"{defect:+d}".replace("-", "−")
        if room[x] >= TRIANGLES + DIGIT * fontsize * len(number):
            strip.annotate(
                number,
                (x, d),
                (3.5, 0),
                textcoords="offset points",
                va="center",
                fontsize=fontsize,
            )
