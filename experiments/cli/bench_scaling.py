"""The curves of ``ufm bench --scaling`` as a table and a figure."""

from __future__ import annotations

from functools import partial
from pathlib import Path
from typing import Any

from experiments.benchmarks import asymptotics
from experiments.cli.output import show, table
from experiments.cli.waiting import patiently
from experiments.figures import blank_figure, save_figure

# Panels side by side in the figure, and inches of one.
ACROSS, WIDE, HIGH = 3, 2.7, 2.2


def measured_scaling(quick: bool, figure: Path | None, *, say: bool) -> dict[str, Any]:
    """Measure every curve, print each as it is done, and draw all of them.

    Args:
        quick: without the largest sizes, and once.
        figure: file to draw.
        say: whether to print.

    Returns:
        The curves with their laws, for JSON.
    """
    found = []
    for curve in asymptotics.CURVES:
        doing = f"Measuring {curve.name} against {curve.variable}"
        found.append(patiently(doing, partial(asymptotics.measure, curve, quick=quick)))
        if say:
            show(f"{curve.name} against {curve.variable}: {curve.why}", curve_table(found[-1]))
    if figure is not None:
        draw_curves(found, figure)
    return {"curves": [each.record for each in found]}


def curve_table(found: asymptotics.Measured) -> Any:
    """The costs of a curve in one line, and what they grow like in another."""
    made = table(("slope", "of 95 %", "theory", "fitted from", "constant", "measured"))
    costs = ", ".join(
        f"{size:,.0f}: {cost:.3g}" for size, cost in zip(found.sizes, found.costs, strict=True)
    )
    made.add_row(*asymptotics.summary(found), f"{costs} {found.curve.unit}")
    return made


def draw_curves(found: list[asymptotics.Measured], path: Path) -> None:
    """A panel for every curve in one file."""
    down = -(-len(found) // ACROSS)
    made = blank_figure(ACROSS * WIDE, down * HIGH)
    panels = made.subplots(down, ACROSS, squeeze=False).ravel()
    for each, ax in zip(found, panels, strict=False):
        asymptotics.draw(each, ax)
    for ax in panels[len(found) :]:
        ax.remove()
    save_figure(made, path)
