"""The Hessian spectrum of the minimum as the decay grows, in closed form."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from matplotlib.axes import Axes
from matplotlib.ticker import FuncFormatter, LogLocator, NullFormatter

from landscape.plots.style import FAINT, INK, RANK_COLOURS
from ufm.errors import InputError
from ufm.plain.model import UFM
from ufm.plain.spectra import minimiser_spectrum
from ufm.typing import Array

# Below this share of the radius an eigenvalue is a zero of symmetry.
ZERO = 1e-9
# Factor between two values from which their counts find room beside each other.
APART = 1.22
STYLES = ("-", "--", ":", "-.")


@dataclass(frozen=True, eq=False)
class DecayRecord:
    """Eigenvalues of the minimum along c.

    Attributes:
        c: decays, (C,).
        values: eigenvalues over sigma, one row for each branch, (B, C).
        counts: their multiplicities.
        blocks: what moves along each, a name per branch.
        zeros: number of zero eigenvalues.
    """

    c: Array
    values: Array
    counts: tuple[int, ...]
    blocks: tuple[str, ...]
    zeros: int


def decay_record(model: UFM, low: float, high: float, *, cells: int = 60) -> DecayRecord:
    """The distinct eigenvalues of the Hessian at the closed-form minimiser, for a range of c.

    Both decays are scaled alike. The eigenvalues of 7.1 to 7.5 of docs/theory.md are told apart by
    their blocks, so a branch keeps its name along c.

    Args:
        model: balanced, with a closed-form spectrum.
        low: first c.
        high: last c; the minimum must not vanish before it.
        cells: decays.

    Raises:
        InputError: the minimum vanishes before ``high``.

    Example:
        >>> from ufm import CrossEntropy
        >>> model = UFM(CrossEntropy(), 3, 3, lambda_W=0.02, lambda_H=0.02)
        >>> data = decay_record(model, 0.05, 0.9, cells=5)
        >>> data.values.shape[1], data.zeros, bool(np.all(data.values > 0))
        (5, 3, True)
    """
    c = np.geomspace(low, high, cells)
    rows: list[dict[tuple[str, int, int], float]] = []
    zeros = 0
    for value in c:
        scale = float(value) / float(model.c)
        there = model.with_decays(scale * float(model.lambda_W), scale * float(model.lambda_H))
        spectrum = minimiser_spectrum(there)
        sigma, row, seen = float(there.sigma), dict[tuple[str, int, int], float](), dict[str, int]()
        zeros = 0
        for level in sorted(spectrum, key=lambda each: each.value):
            if abs(level.value) < ZERO * spectrum.radius:
                zeros += level.multiplicity
                continue
            place = seen.get(level.block, 0)
            seen[level.block] = place + 1
            row[level.block, level.multiplicity, place] = level.value / sigma
        rows.append(row)
    names = list(rows[0])
    if any(set(row) != set(names) for row in rows):
        rule = "The minimum must not vanish within the range of c"
        raise InputError(rule, f"c from {low:g} to {high:g}", "end below the threshold")
    values = np.array([[row[name] for row in rows] for name in names])
    order = np.argsort(-values[:, 0], kind="stable")
    return DecayRecord(
        c,
        values[order],
        tuple(names[i][1] for i in order),
        tuple(names[i][0] for i in order),
        zeros,
    )


def draw_along_decay(data: DecayRecord, ax: Axes, title: str = "") -> Axes:
    """Eigenvalues over sigma against c; colour and dashes tell the block, numbers how many.

    Args:
        data: eigenvalues.
        ax: where to draw.
        title: heading.
    """
    blocks = list(dict.fromkeys(data.blocks))
    for row, block in zip(data.values, data.blocks, strict=True):
        which = blocks.index(block)
        ax.plot(
            data.c,
            row,
            color=RANK_COLOURS[1 + which % (len(RANK_COLOURS) - 1)],
            ls=STYLES[which % len(STYLES)],
            label=block if block not in [line.get_label() for line in ax.lines] else None,
        )
    for value, count in _together(data.values[:, 0], data.counts):
        ax.annotate(
            f"×{count}",
            (data.c[0], value),
            (-3, 0),
            textcoords="offset points",
            ha="right",
            va="center",
            fontsize=6.5,
            color=INK,
            annotation_clip=False,
        )
    ax.set_xscale("log")
    ax.set_yscale("log")
    ax.set_xlim(data.c[0] / 1.3, data.c[-1])
    ax.xaxis.set_major_locator(LogLocator(subs=(1, 2, 5)))
    ax.xaxis.set_major_formatter(FuncFormatter(lambda c, _: f"{c:g}"))
    ax.xaxis.set_minor_formatter(NullFormatter())
    ax.yaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:g}"))
    ax.yaxis.set_minor_formatter(NullFormatter())
    ax.set_xlabel(r"weight decay $c=\sqrt{KN\lambda_W\lambda_H}$")
    ax.set_ylabel(r"Hessian eigenvalue / $\sigma$")
    ax.set_title(title)
    ax.text(
        0.99,
        0.02,
        f"{data.zeros} zeros",
        transform=ax.transAxes,
        ha="right",
        color=FAINT,
        fontsize=7,
    )
    ax.legend(loc="upper center", bbox_to_anchor=(0.45, -0.24), ncols=2, fontsize=6.5)
    return ax


def _together(values: Array, counts: tuple[int, ...]) -> list[tuple[float, int]]:
    """Values in descending order with their counts; those too near to each other are one."""
    joined: list[tuple[float, int]] = []
    for value, count in sorted(zip(values.tolist(), counts, strict=True), reverse=True):
        if joined and joined[-1][0] / value < APART:
            joined[-1] = joined[-1][0], joined[-1][1] + count
        else:
            joined.append((value, count))
    return joined
