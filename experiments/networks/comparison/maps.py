"""Tables as colours: objectives against widths, and objectives against each other."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from experiments.networks.comparison.curves import label_of
from experiments.networks.comparison.likeness import Likeness
from experiments.networks.comparison.table import Summary, matrix
from experiments.report.figures import COLOURS, DARK, SPREADS, colours_over
from landscape.plots.style import INK

# The colours of similarities (0 to 1) span at least so much.
ALIKE = 0.5


def heat_map(table: Sequence[Summary], name: str, ax: Any, *, percent: bool = False) -> Any:
    """Mean of one number over the seeds, objectives down and widths across, spread below it.

    Colours span the means, and at least eight times the usual spread between seeds.

    Source: after Zhou et al. 2022b, whose figure has test accuracy over widths and epochs.

    Args:
        table: summaries.
        name: of the number.
        ax: to draw on.
        percent: write values as percentages.

    Raises:
        InputError: the number is in no summary.
    """
    losses, widths, values = matrix(table, name)
    spread = {(s.loss, s.width): s.std for s in table if s.name == name}
    scale = 100.0 if percent else 1.0
    texts = [
        [_text(scale * values[i, j], scale * spread.get((loss, width), np.nan))
         for j, width in enumerate(widths)]
        for i, loss in enumerate(losses)
    ]  # fmt: skip
    noise = [each for each in spread.values() if np.isfinite(each)]
    _coloured(values, texts, ax, SPREADS * float(np.median(noise)) if noise else 0.0)
    ax.set_xticks(range(len(widths)), [f"{width:g}" for width in widths])
    ax.set_yticks(range(len(losses)), losses)
    ax.set_xlabel("width of the network")
    ax.set_title(label_of(name) + (" (%)" if percent else ""))
    return ax


def likeness_map(found: Likeness, name: str, ax: Any) -> Any:
    """Agreement or CKA between objectives; the diagonal is between seeds of one objective.

    Args:
        found: likeness at one width.
        name: agreement or cka.
        ax: to draw on.
    """
    values = getattr(found, name)
    size = range(len(found.losses))
    _coloured(values, [[_text(values[i, j], np.nan) for j in size] for i in size], ax, ALIKE)
    ax.set_xticks(size, found.losses, rotation=30, ha="right", rotation_mode="anchor")
    ax.set_yticks(size, found.losses)
    ax.set_title(f"{label_of(name)}, width {found.width:g}")
    return ax


def layer_map(values: Any, names: Sequence[str], ax: Any) -> Any:
    """CKA between the layers of one network, (L, L)."""
    size = range(len(names))
    texts = [[_text(values[i][j], np.nan) for j in size] for i in size]
    _coloured(np.asarray(values), texts, ax, ALIKE)
    ax.set_xticks(size, names, rotation=30, ha="right", rotation_mode="anchor")
    ax.set_yticks(size, names)
    return ax


def _text(value: float, spread: float) -> str:
    if not np.isfinite(value):
        return "-"
    shown = f"{value:.3g}"
    return shown if not np.isfinite(spread) else f"{shown}\n± {spread:.1g}"


def _coloured(values: np.ndarray, texts: Sequence[Sequence[str]], ax: Any, least: float) -> None:
    """An image whose colours span the values, and at least so much."""
    norm = colours_over(values, least)
    ax.imshow(np.ma.masked_invalid(values), cmap=COLOURS, norm=norm, aspect="auto")
    for (i, j), value in np.ndenumerate(values):
        dark = np.isfinite(value) and norm(value) > DARK
        ax.text(j, i, texts[i][j], ha="center", va="center", size=8, color="w" if dark else INK)
    ax.grid(False)
    ax.tick_params(length=0)
    for side in ax.spines.values():
        side.set_visible(False)
