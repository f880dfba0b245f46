"""``ufm map``: which models and losses have spurious minima, and how each collapses."""

from __future__ import annotations

from functools import partial
from pathlib import Path
from typing import Annotated

from experiments.cli.flags import Json
from experiments.cli.output import deliver, envelope, prepare, show, table
from experiments.cli.waiting import patiently
from experiments.options import flag

EXAMPLES = ("ufm map --model deep-linear", "ufm map --out docs")


def map(
    model: Annotated[str | None, flag("--model", "NAME", "Rows of this model only.")] = None,
    out: Annotated[
        Path | None, flag("--out", "FOLDER", "Write map.md and figures/map.svg here.")
    ] = None,
    as_json: Json = False,
) -> None:
    """Search every model and loss for critical points, and say which are spurious minima.

    Some ten seconds a row, most of it compilation; the same numbers every time.
    """
    prepare()
    from experiments.map.cases import CASES
    from experiments.map.page import HEADER, record, rows, write_map
    from experiments.map.search import survey
    from experiments.nearest import unknown

    known = dict.fromkeys(case.model for case in CASES)
    if model is not None and model not in known:
        raise unknown(model, known, "model of the map")
    if out is not None:  # before the searches, not after them
        (out / "figures").mkdir(parents=True, exist_ok=True)
    chosen = [case for case in CASES if model in (None, case.model)]
    findings = [
        patiently(f"{i} of {len(chosen)}: {case.name} ...", partial(survey, case))
        for i, case in enumerate(chosen, 1)
    ]
    records = {"rows": [record(found) for found in findings]}
    deliver(envelope("map", {"model": model}, records), as_json=as_json, out=None)
    if out is not None:
        write_map(findings, out)
    if as_json:
        return
    made = table(HEADER)
    for cells in rows(findings):
        made.add_row(*cells)
    show("Map", made)
    if out is not None:
        show(f"Written: {out / 'map.md'}, {out / 'figures' / 'map.svg'}")
