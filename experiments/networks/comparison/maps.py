"""Tables as colours: objectives against widths, and objectives against each other."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from matplotlib.colors import Normalize

from experiments.networks.comparison.curves import label_of
from experiments.networks.comparison.likeness import Likeness
from experiments.networks.comparison.table import Summary, matrix
from landscape.plots.style import INK

# The colours of a heat map span at least so many spreads between seeds, and those of similarities
# (0 to 1) at least so much: what chance alone moves stays pale beside a difference.
SPREADS, ALIKE = 8.0, 0.5


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
    finite = values[np.isfinite(values)]
    low, high = (finite.min(), finite.max()) if finite.size else (0.0, 1.0)
    # A difference of rounding size must not look like one of substance.
    least = max(least, 1e-3 * max(abs(low), abs(high), 1e-9))
    span, middle = max(1.6 * (high - low), least), (low + high) / 2
    norm = Normalize(middle - span / 2, middle + span / 2)
    ax.imshow(np.ma.masked_invalid(values), cmap="YlGnBu", norm=norm, aspect="auto")
    for (i, j), value in np.ndenumerate(values):
        dark = np.isfinite(value) and norm(value) > 0.6
        ax.text(j, i, texts[i][j], ha="center", va="center", size=8, color="w" if dark else INK)
    ax.grid(False)
    ax.tick_params(length=0)
    for side in ax.spines.values():
        side.set_visible(False)
