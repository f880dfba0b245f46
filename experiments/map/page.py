"""The map as a page and as a picture."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from experiments.figures import blank_figure, save_figure
from experiments.files import write_whole
from experiments.map.search import KINDS, Finding

# Okabe and Ito's, told apart by the colour-blind; undecided is grey.
COLOURS = dict(zip(KINDS, ("#009E73", "#56B4E9", "#D55E00", "#BBBBBB"), strict=True))
ORDERS = {1: "first order", 2: "second order", None: "-"}
HEADER = (
    "model",
    "loss",
    "numbers",
    "other critical points strict saddles?",
    "collapse",
    "minimum",
)

INTRODUCTION = """# The map

Which losses and models have spurious minima, and which never do. For every row: is every critical
point that is no global minimum a strict saddle? *Proved* names the theorem of
[theory.md](theory.md); *seen* counts the points that descents and index-blind searches ended at;
*no* gives the lowest spurious minimum that was met, and what lies below it; *open* says that some
points could not be decided (zeros that symmetry does not explain, or kinks). Collapse as decays
grow is of *second order* where the minimiser vanishes continuously, of *first order* if it jumps.

Written by `ufm map --out docs`. A search that finds nothing proves nothing.

![What searches ended at, by model and loss](figures/map.svg)

"""


def rows(findings: Sequence[Finding]) -> list[tuple[str, ...]]:
    """The table, without its header."""
    told: list[tuple[str, ...]] = []
    for found in findings:
        case = found.case
        order, look = ORDERS[found.order], found.minimiser
        told.append((case.model, case.loss or "-", case.numbers, found.answer, order, look))
    return told


def record(found: Finding) -> dict[str, Any]:
    """A finding as JSON has it."""
    case = found.case
    return {
        "model": case.model,
        "loss": case.loss or None,
        "numbers": case.numbers,
        "answer": found.answer,
        "theorem": case.theorem or None,
        "seen": found.seen,
        "unfinished": found.unfinished,
        "spurious": found.spurious,
        "best": found.best,
        "order": found.order,
        "minimiser": found.minimiser,
    }


def write_map(findings: Sequence[Finding], folder: Path) -> None:
    """map.md in a folder, and map.svg in its folder figures, which exists."""
    save_figure(drawn(findings), folder / "figures" / "map.svg")
    lines = [HEADER, ("---",) * len(HEADER), *rows(findings)]
    table = "\n".join(f"| {' | '.join(cells)} |" for cells in lines)
    write_whole(folder / "map.md", f"{INTRODUCTION}{table}\n".encode())


def drawn(findings: Sequence[Finding]) -> Any:
    """A bar for every case: the share of searches that ended at every kind of point."""
    figure = blank_figure(7.0, 1.2 + 0.22 * len(findings))
    axes = figure.subplots()
    places = range(len(findings))
    left = [0.0] * len(findings)
    for kind in KINDS:
        shares = [found.seen[kind] / max(1, sum(found.seen.values())) for found in findings]
        axes.barh(places, shares, left=left, color=COLOURS[kind], label=kind, height=0.75)
        left = [a + b for a, b in zip(left, shares, strict=True)]
    axes.set_yticks(places, [found.case.name for found in findings], fontsize=7)
    axes.invert_yaxis()
    axes.set_xlim(0, 1)
    axes.set_xlabel("share of the critical points that were found")
    axes.spines[["top", "right"]].set_visible(False)
    figure.legend(loc="outside upper center", ncols=len(KINDS), frameon=False, fontsize=8)
    return figure
