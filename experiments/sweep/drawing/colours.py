"""Colours of pooled values: one scale for numbers, one colour and marker for each kind of text."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import matplotlib as mpl
import numpy as np
from matplotlib.colors import BoundaryNorm, LogNorm, Normalize, SymLogNorm

from experiments.sweep.drawing.pooling import ORDERS, OTHER, Field
from landscape.plots.style import BLUE, FAINT, GREEN, ORANGE, PURPLE, RED, SKY, YELLOW
from ufm.typing import Array

# Along an order: from good to bad, each lighter or darker than its neighbours.
ORDERED = (BLUE, SKY, ORANGE, YELLOW, PURPLE)
KINDS = (BLUE, ORANGE, SKY, PURPLE, YELLOW, GREEN, RED)
MARKERS = ("o", "s", "^", "D", "v", "P", "X")
SEQUENTIAL, DIVERGING = "viridis", "RdBu_r"
# Largest over smallest from which a colour shows orders of magnitude.
WIDE = 100.0
# Whole numbers get a colour each up to this many.
MOST_LEVELS = 12


@dataclass(frozen=True)
class Look:
    """How values are coloured.

    Attributes:
        what: what the colours mean.
        cmap, norm: of numbers; None for text.
        ticks: whole numbers at the colour bar, None for its own choice.
        extend: "min" where zeros lie below a logarithmic scale.
        kinds: colour and marker of every text; empty for numbers.
    """

    what: str
    cmap: Any
    norm: Normalize | None
    ticks: Array | None
    extend: str
    kinds: dict[str, tuple[str, str]]


def look_of(fields: Sequence[Field]) -> Look:
    """One look for several fields of one column.

    Whole numbers have levels, values of both signs a diverging scale about zero, positive ones that
    span a factor of 100 a logarithmic scale, others a linear one.

    Example:
        >>> from experiments.sweep.drawing.pooling import pool
        >>> rows = {"c": np.arange(3.0), "d": np.ones(3), "excess": np.array([-1.0, 0.5, 2.0])}
        >>> look = look_of([pool(rows, "c", "d", "excess")])
        >>> look.cmap.name, look.norm.vmin, look.norm.vmax
        ('RdBu_r', -2.0, 2.0)
    """
    what = max((field.what for field in fields), key=len)
    if fields[0].text:
        return Look(what, None, None, None, "neither", _kinds(fields))
    values = np.concatenate([field.values for field in fields]).astype(np.float64)
    values = values[np.isfinite(values)]
    if not len(values):
        return Look(what, None, None, None, "neither", {})
    low, high = float(values.min()), float(values.max())
    share = all(field.share for field in fields)
    if np.all(values == np.round(values)) and high - low < MOST_LEVELS and not share:
        levels = np.arange(low, high + 1)
        cmap = mpl.colormaps[SEQUENTIAL].resampled(max(len(levels), 2))
        edges = np.arange(low, low + max(len(levels), 2) + 1) - 0.5
        return Look(what, cmap, BoundaryNorm(edges.tolist(), cmap.N), levels, "neither", {})
    if low < 0 < high:
        most, least = max(-low, high), float(np.abs(values[values != 0]).min())
        norm = (
            SymLogNorm(max(least, most * 1e-6), vmin=-most, vmax=most)
            if most > 1e3 * least
            else Normalize(-most, most)
        )
        return Look(what, mpl.colormaps[DIVERGING], norm, None, "neither", {})
    positive = values[values > 0]
    cmap = mpl.colormaps[SEQUENTIAL]
    if low >= 0 and len(positive) and high > WIDE * positive.min():
        extend = "min" if low == 0 else "neither"
        return Look(what, cmap, LogNorm(float(positive.min()), high), None, extend, {})
    if share:
        return Look(what, cmap, Normalize(0.0, 1.0), None, "neither", {})
    # One value alone would have no scale.
    width = 0.0 if high > low else 0.5 * (abs(low) or 1.0)
    return Look(what, cmap, Normalize(low - width, high + width), None, "neither", {})


def coloured(values: Array, look: Look) -> Array:
    """Numbers with zeros lifted to the end of a logarithmic scale, where they would be lost.

    Example:
        >>> look = Look("", None, LogNorm(1e-3, 1.0), None, "min", {})
        >>> coloured(np.array([0.0, 0.5]), look).tolist()
        [0.001, 0.5]
    """
    if isinstance(look.norm, LogNorm):
        return np.asarray(np.maximum(values, look.norm.vmin or 0.0))
    return values


def _kinds(fields: Sequence[Field]) -> dict[str, tuple[str, str]]:
    """The texts in their order, each with the same colour in every figure of that order."""
    names = sorted({str(v) for field in fields for v in field.values if v != ""})
    for order in ORDERS:
        if set(names) <= set(order):
            places = [order.index(name) for name in names]
            found = {
                n: (ORDERED[i], MARKERS[i]) for i, n in sorted(zip(places, names, strict=True))
            }
            return found
    names.sort(key=lambda name: name == OTHER)
    found = {name: (KINDS[i % 7], MARKERS[i % 7]) for i, name in enumerate(names)}
    return found | ({OTHER: (FAINT, ".")} if OTHER in found else {})
