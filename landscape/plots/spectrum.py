"""The Hessian spectrum with multiplicities: a formula drawn over a measured dense spectrum."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from matplotlib.axes import Axes
from matplotlib.ticker import FixedLocator, NullLocator

from landscape.curvature.hessian import dense_hessian
from landscape.plots.style import BLUE, FAINT, GREEN, INK, ORANGE, PURPLE, RED
from ufm.errors import InputError
from ufm.plain.model import UFM
from ufm.plain.reduce import full_spectrum, lift
from ufm.plain.spectra import minimiser_spectrum
from ufm.point import Point
from ufm.spectrum import Level

# Eigenvalues closer than this share of the radius are one level: far above rounding (1e-14), far
# below the gaps of the closed forms.
SAME_LEVEL = 1e-9
FAMILY_COLOURS = {
    "within-class": BLUE,
    "complement": ORANGE,
    "frame": GREEN,
    "range": GREEN,
    "within group": PURPLE,
}


@dataclass(frozen=True)
class SpectrumRecord:
    """A predicted and a measured spectrum of one Hessian.

    Attributes:
        title: what and where.
        levels: predicted (value, multiplicity, block).
        measured: every eigenvalue of the dense Hessian, ascending.
    """

    title: str
    levels: tuple[Level, ...]
    measured: tuple[float, ...]

    @property
    def error(self) -> float:
        """Largest difference of the two, relative to the largest |eigenvalue|.

        Infinite when the multiplicities do not add up to the size of the Hessian.
        """
        values = [level.value for level in self.levels]
        expected = np.sort(np.repeat(values, [level.multiplicity for level in self.levels]))
        measured = np.sort(np.asarray(self.measured))
        if len(expected) != len(measured):
            return np.inf
        return float(np.abs(expected - measured).max() / np.abs(measured).max())

    @property
    def index(self) -> int:
        """Number of measured eigenvalues that are negative beyond rounding."""
        measured = np.asarray(self.measured)
        return int(np.sum(measured < -SAME_LEVEL * np.abs(measured).max()))


def spectrum_record(model: UFM, point: Point | None = None, title: str = "") -> SpectrumRecord:
    """The predicted spectrum at a critical point beside the dense one of the full problem.

    Args:
        model: a UFM small enough for a dense Hessian.
        point: a critical point, merged columns; None takes the closed-form minimiser and its
            closed-form spectrum, any other point the spectrum by reduction.
        title: heading of the diagram.

    Raises:
        InputError: no point given and no closed form known.

    Example:
        >>> from ufm import CrossEntropy
        >>> model = UFM(CrossEntropy(), 3, 2, 2, lambda_W=0.1, lambda_H=0.1)
        >>> spectrum_record(model).error < 1e-13
        True
    """
    if point is None:
        predicted = minimiser_spectrum(model)
        minimiser = model.minimiser()
        if minimiser is None:
            raise InputError("Need a closed-form minimiser", model.loss.name, "pass a point")
        point = minimiser.point
    else:
        predicted = full_spectrum(model, point)
    measured = np.linalg.eigvalsh(dense_hessian(model, lift(model, point)))
    return SpectrumRecord(title, predicted.levels, tuple(float(x) for x in measured))


def block_family(block: str) -> str:
    """The family of a block: what decides its colour.

    Example:
        >>> block_family("within-class, outside row(W)"), block_family("frame angles")
        ('within-class', 'frame')
    """
    for family in ("within-class", "within group", "complement", "frame", "range"):
        if block.startswith(family):
            return family
    return block


def draw_spectrum(data: SpectrumRecord, ax: Axes) -> Axes:
    """Stems of the predicted multiplicities, coloured by block; rings are the measured spectrum.

    Where several blocks share an eigenvalue their stems are stacked, so the top is the total.

    Args:
        data: the two spectra.
        ax: where to draw.
    """
    radius = float(np.abs(data.measured).max())
    families: dict[str, str] = {}
    for members in _clusters([x.value for x in data.levels], SAME_LEVEL * radius):
        total = 0
        chosen = [data.levels[i] for i in members]
        for family in FAMILY_COLOURS:
            share = sum(x.multiplicity for x in chosen if block_family(x.block) == family)
            if not share:
                continue
            colour = FAMILY_COLOURS[family]
            low = max(total, 0.7)
            label = None if family in families else family
            families[family] = colour
            ax.plot([chosen[0].value] * 2, [low, total + share], color=colour, lw=3, label=label)
            total += share
    rings = []
    for members in _clusters(data.measured, SAME_LEVEL * radius):
        rings.append((float(np.mean([data.measured[i] for i in members])), len(members)))
    ax.plot(*zip(*rings, strict=True), "o", mfc="none", mec=INK, ms=6.5, mew=1, label="measured")
    ax.set_yscale("log")
    most = max(count for _, count in rings)
    ax.set_ylim(0.7, most * 2.6)
    ax.yaxis.set_major_locator(FixedLocator([x for x in (1, 3, 10, 30, 100, 300) if x <= most * 2]))
    ax.yaxis.set_minor_locator(NullLocator())
    ax.yaxis.set_major_formatter("{x:.0f}")
    low, high = min(x for x, _ in rings), max(x for x, _ in rings)
    pad = 0.06 * ((high - low) or radius)
    ax.set_xlim(low - pad, high + pad)
    if low < -SAME_LEVEL * radius:
        ax.axvspan(ax.get_xlim()[0], 0, color=RED, alpha=0.08, lw=0)
        ax.text(
            0.02,
            0.97,
            f"index {data.index}",
            transform=ax.transAxes,
            va="top",
            color=RED,
            weight="bold",
        )
    _label_multiplicities(rings, ax)
    ax.axvline(0, color=FAINT, lw=0.8)
    ax.set_xlabel("Hessian eigenvalue")
    ax.set_ylabel("multiplicity")
    ax.set_title(data.title)
    ax.legend(
        loc="upper right",
        ncols=2,
        columnspacing=1.0,
        handlelength=1.2,
        title=f"{len(data.measured)} eigenvalues, error {data.error:.0e}",
        title_fontsize=8,
        alignment="right",
    )
    return ax


def _clusters(values: tuple[float, ...] | list[float], gap: float) -> list[list[int]]:
    """Indices of sorted values, split where neighbours differ by more than ``gap``."""
    groups: list[list[int]] = []
    for i, value in enumerate(values):
        if groups and value - values[groups[-1][-1]] <= gap:
            groups[-1].append(i)
        else:
            groups.append([i])
    return groups


def _label_multiplicities(rings: list[tuple[float, int]], ax: Axes) -> None:
    """The multiplicity above each ring that has no stem or ring close by."""
    left, right = ax.get_xlim()
    top = np.log(ax.get_ylim()[1])
    for value, count in rings:
        crowded = (
            abs(value - other) < 0.04 * (right - left) and np.log(times / count) > -0.05 * top
            for other, times in rings
            if other != value
        )
        if any(crowded):
            continue
        ax.annotate(
            f"{count}",
            (value, count),
            xytext=(0, 5),
            textcoords="offset points",
            ha="center",
            fontsize=7.5,
        )
