"""Several checkpoints of one network: a table, and curves with the line that theory draws."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from experiments.cli.html_page import write_page_of
from experiments.cli.measured_file import measured_file
from experiments.cli.output import (
    deliver,
    envelope,
    number,
    require_writable,
    show,
    table,
)
from experiments.cli.waiting import stepwise
from experiments.errors import input_error

# Columns of the table, and what theory says of them at a minimum; None: see the appraisal.
COLUMNS = ("NC1", "NC2", "NC3", "error", "logit gap", "objective")
AT_COLLAPSE = ("NC1", "NC2", "NC3")
FIGURE_KINDS = (".pdf", ".png", ".svg")


def measure_curves(
    networks: Sequence[Sequence[Path]],
    terms: Any,
    transposed: bool,
    inputs: Mapping[str, Any],
    figure: Path | None,
    html: Path | None = None,
    *,
    as_json: bool,
    out: Path | None,
) -> None:
    """Measure every file, print a row for each, and draw the curves.

    Raises:
        InputError: a file that cannot be measured, or a figure that cannot be written.
    """
    require_figure(figure)

    def work(say: Any) -> list[dict[str, Any]]:
        rows = []
        for number_, paths in enumerate(networks):
            say(f"{number_} of {len(networks)}")
            rows.append(curve_row(paths, terms, transposed))
        return rows

    rows = stepwise("measuring", work)
    deliver(envelope("measure", inputs, {"curve": rows}), as_json=as_json, out=out)
    if figure is not None:
        from experiments.figures import save_figure

        save_figure(curves_figure(rows), figure)
    shown = [name for name in COLUMNS if any(row.get(name) is not None for row in rows)]
    made = table(("file", *shown, "to theory"), right=shown)
    for row in rows:
        made.add_row(row["name"], *(number(row.get(name), 3) for name in shown), row["distance"])
    title = f"Measured {len(rows)} files"
    if html is not None:
        from experiments.figures import encoded
        from experiments.report.self_contained import drawn

        caption = "NC1 to NC3 are 0 at a minimum; dashed is theory at the decays of each file."
        svg = encoded(curves_figure(rows), "svg")
        pictures = [drawn("curves", "Curves", caption, "collapse and theory by file", svg)]
        facts = {"Data": ", ".join(str(path) for paths in networks for path in paths)}
        last = f"{rows[-1]['name']}: NC1 {number(rows[-1]['NC1'], 2)}, {rows[-1]['distance']}."
        write_page_of(html, "Neural collapse over training", last, [title, made], facts, pictures)
    if as_json:
        return
    show(title, made)
    if figure is not None:
        show(f"Curves: {figure}")


def require_figure(figure: Path | None) -> None:
    """Refuse a figure that could not be written, before any work.

    Raises:
        InputError: another kind than pdf, png or svg, or no such folder.
    """
    if figure is None:
        return
    require_writable(figure, "--figure")
    if figure.suffix.lower() not in FIGURE_KINDS:
        rule = "Need a figure of a kind that we draw"
        raise input_error(rule, figure, f"end its name in {', '.join(FIGURE_KINDS)}")


def curve_row(paths: Sequence[Path], terms: Any, transposed: bool) -> dict[str, Any]:
    """The numbers of one checkpoint, with what theory says where it applies."""
    from experiments.networks.theory.measurement import curve_values

    made, _ = measured_file(paths, terms, transposed)
    appraisal = made.appraisal
    values: dict[str, Any] = {"name": paths[0].stem, **curve_values(made)}
    theory: dict[str, float] = {}
    if appraisal is not None and appraisal.theory:
        theory = {"logit gap": appraisal.theory.gap, "objective": appraisal.theory.objective}
    values["theory"] = theory
    values["refusal"] = None if appraisal is None else appraisal.refusal or None
    above = None if appraisal is None else appraisal.above
    values["distance"] = "-" if above is None else f"{100 * above:+.2g} %"
    if values["refusal"]:
        values["distance"] = "not at a minimum" if appraisal.diagnosis else "no theory"
    return values


def curves_figure(rows: Sequence[Mapping[str, Any]]) -> Any:
    """One panel for collapse, one for every number that theory predicts.

    The line of theory is dashed: 0 for NC1 to NC3 lies below a logarithmic axis and is said in
    words; the gap and the objective are those at the decays of each checkpoint.
    """
    from experiments.figures import blank_figure
    from landscape.plots.style import BLUE, GREEN, INK, ORANGE

    predicted = [name for name in ("logit gap", "objective") if _known(rows, name)]
    panels = 1 + len(predicted)
    figure = blank_figure(3.4 * panels, 2.9)
    axes = figure.subplots(1, panels, squeeze=False)[0]
    places = list(range(len(rows)))
    for colour, name in zip((BLUE, ORANGE, GREEN), AT_COLLAPSE, strict=True):
        values = [row.get(name, math.nan) for row in rows]
        if any(value == value and value > 0 for value in values):
            axes[0].plot(places, values, marker=".", color=colour, label=name)
    axes[0].set_yscale("log")
    axes[0].set_title("Collapse (0 at a minimum)")
    axes[0].legend(frameon=False)
    for ax, name in zip(axes[1:], predicted, strict=True):
        ax.plot(places, [row.get(name) for row in rows], marker=".", color=BLUE, label="here")
        theory = [row["theory"].get(name, math.nan) for row in rows]
        if any(value == value for value in theory):
            ax.plot(places, theory, "--", color=INK, label="theory")
        ax.set_title(name.capitalize())
        ax.legend(frameon=False)
    step = max(1, math.ceil(len(rows) / 8))
    for ax in axes:
        ax.set_xticks(
            places[::step], [row["name"] for row in rows][::step], rotation=30, ha="right"
        )
    return figure


def _known(rows: Sequence[Mapping[str, Any]], name: str) -> bool:
    return any(row.get(name) is not None and row[name] == row[name] for row in rows)
