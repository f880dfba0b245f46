"""Networks against the model: how far four quantities are from the model's minimum."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

from matplotlib.axes import Axes
from matplotlib.lines import Line2D
from matplotlib.ticker import FixedLocator, FuncFormatter, NullLocator

from experiments.networks.theory import Comparison, NoTheory
from landscape.plots.style import BLUE, FAINT, GREEN, INK, ORANGE, PURPLE, loss_label
from ufm.errors import InputError

# Attribute of a Comparison, name, marker, colour; from top to bottom within a row.
QUANTITIES = (
    ("objective", "objective", "D", PURPLE),
    ("W_squared", r"$|W|^2$", "s", BLUE),
    ("H_squared", r"$|H|^2$", "o", ORANGE),
    ("gap", "logit gap", "^", GREEN),
)
# Deviations are linear up to this and logarithmic beyond: most networks are either within a per
# cent of theory or several tens of it away.
LINEAR = 0.01
# Half the height of a row that its four markers share.
HALF = 0.33
# Rows left free above each group, for its name.
HEADER = 1.15
MORE = 10.0  # the largest deviation drawn as it is


@dataclass(frozen=True)
class Held:
    """One network.

    Attributes:
        group: what networks are grouped by, such as "linear features".
        loss: name of the objective, as ``Objective.name``.
        outcome: of ``run_against_theory``.
    """

    group: str
    loss: str
    outcome: Comparison | NoTheory


def draw_against_theory(rows: Sequence[Held], ax: Axes) -> Axes:
    """Deviations measured / predicted - 1 of four quantities, one row per network.

    The scale is linear within 1 % (shaded) and logarithmic beyond; markers at an edge are beyond
    it. A network without theory has the reason in its row. Where lambda_H was estimated from the
    networks, |W|^2 and |H|^2 deviate alike, and the name of the group says so.

    Args:
        rows: groups stand in the order of their first row, rows within a group in theirs.
        ax: axes; 0.25 inch of height per row and group suit.

    Raises:
        InputError: no rows.

    Example:
        >>> from matplotlib.figure import Figure
        >>> reason = NoTheory("unequal counts")
        >>> made = draw_against_theory([Held("ReLU features", "ce", reason)], Figure().subplots())
        >>> [label.get_text() for label in made.get_yticklabels()]
        ['cross entropy']
    """
    if not rows:
        raise InputError("Need a network to draw", "no rows", "pass one or more")
    groups = list(dict.fromkeys(row.group for row in rows))
    ax.set_xscale("symlog", linthresh=LINEAR, linscale=1.0)
    ax.axvspan(-LINEAR, LINEAR, color=FAINT, alpha=0.18, linewidth=0)
    ax.axvline(0.0, color=INK, linewidth=1.0)
    reach = _reach(rows)
    names: list[str] = []
    places: list[float] = []
    y = 0.0
    for group in groups:
        y += HEADER
        ax.text(
            0.0,
            y,
            _header(group, rows),
            transform=ax.get_yaxis_transform(),
            fontweight="bold",
            va="center",
            bbox={"facecolor": "white", "edgecolor": "none", "pad": 1.0},
        )
        for row in (row for row in rows if row.group == group):
            y += 1.0
            _draw_row(row, y, reach, ax)
            names.append(loss_label(row.loss))
            places.append(y)
    ax.set_ylim(y + 0.6, 0.5)
    ax.set_xlim(-min(reach, 1.0) * 1.3, reach * 1.3)  # what is measured is not negative
    ax.set_yticks(places, names)
    ax.tick_params(axis="y", length=0)
    ticks = [sign * x for x in (0.01, 0.1, 1.0, MORE) if x <= reach for sign in (1, -1)]
    ticks = [x for x in ticks if x >= -1]
    ax.xaxis.set_major_locator(FixedLocator([0.0, *ticks]))
    ax.xaxis.set_minor_locator(NullLocator())
    ax.xaxis.set_major_formatter(FuncFormatter(_per_cent))
    ax.set_xlabel("measured / theory $-$ 1, in per cent")
    ax.legend(
        handles=[
            Line2D([], [], linestyle="none", marker=marker, color=colour, label=name)
            for _, name, marker, colour in QUANTITIES
        ],
        loc="lower center",
        bbox_to_anchor=(0.5, 1.0),
        ncols=len(QUANTITIES),
        handletextpad=0.2,
        columnspacing=1.2,
    )
    return ax


def _header(group: str, rows: Sequence[Held]) -> str:
    outcomes = [row.outcome for row in rows if row.group == group]
    found = [one.estimated for one in outcomes if isinstance(one, Comparison)]
    return f"{group} ($\\lambda_H$ estimated)" if found and all(found) else group


def _deviations(outcome: Comparison) -> list[float]:
    return [getattr(outcome, attribute).ratio - 1 for attribute, *_ in QUANTITIES]


def _reach(rows: Sequence[Held]) -> float:
    """The first of 10 %, 100 % and 1000 % that no deviation exceeds, or the last."""
    found = [row.outcome for row in rows if isinstance(row.outcome, Comparison)]
    largest = max((abs(x) for one in found for x in _deviations(one) if x == x), default=0.0)
    return next((edge for edge in (0.1, 1.0) if largest <= edge), MORE)


def _draw_row(row: Held, y: float, reach: float, ax: Axes) -> None:
    ax.axhline(y, color="#e6e6e6", linewidth=0.6, zorder=0)
    if isinstance(row.outcome, NoTheory):
        _note(f"no theory: {row.outcome.reason}", y, ax)
        return
    deviations = _deviations(row.outcome)
    if any(math.isnan(x) for x in deviations):
        _note("theory is at the origin", y, ax)
        return
    for number, (x, (_, _, marker, colour)) in enumerate(zip(deviations, QUANTITIES, strict=True)):
        height = y + HALF * (2 * number / (len(QUANTITIES) - 1) - 1)
        shown = min(max(x, -reach), reach)
        ax.plot([0, shown], [height] * 2, color=colour, linewidth=0.8, alpha=0.6)
        ax.plot([shown], [height], marker, color=colour, markersize=4, clip_on=False)


def _note(text: str, y: float, ax: Axes) -> None:
    transform = ax.get_yaxis_transform()
    background = {"facecolor": "white", "edgecolor": "none", "pad": 0.5}
    ax.text(
        0.5,
        y,
        text,
        transform=transform,
        fontsize=7.5,
        ha="center",
        va="center",
        style="italic",
        bbox=background,
    )


def _per_cent(x: float, _: object) -> str:
    return "0" if x == 0 else f"{100 * x:+.0f}".replace("-", "\N{MINUS SIGN}")
