"""``ufm track``: systems of the literature in small, each beside the exact statement about it."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable, Collection
from dataclasses import asdict, fields
from pathlib import Path
from typing import Annotated, Any

import typer

from experiments.cli.flags import Json
from experiments.cli.network_flags import Folder, network_command
from experiments.cli.network_output import provenance_of
from experiments.cli.output import deliver, envelope, number, show, table
from experiments.cli.waiting import stepwise
from experiments.errors import input_error
from experiments.networks.tracks.full_size import at_full_size, full_hours
from experiments.networks.tracks.options import (
    AllLossesOptions,
    ConvNormOptions,
    EquilibriumOptions,
    GraphOptions,
    LabelNoiseOptions,
    QueryOptions,
    ReduNetOptions,
    SelfExpressionOptions,
    TrackOptions,
)
from experiments.notices import notice

FOLDER = Path("tracks")
# Options and what --help says, here because the tracks themselves bring JAX.
COMMANDS: dict[str, tuple[type[TrackOptions], str, str]] = {
    "redunet": (
        ReduNetOptions,
        "Build layers of rate reduction forward, all at once and class by class.",
        "ufm track redunet --depth 40 --eps 0.3",
    ),
    "senet": (
        SelfExpressionOptions,
        "Train queries and keys that express points by others, against the elastic net.",
        "ufm track senet --gamma 200 --steps 3000",
    ),
    "sop": (
        LabelNoiseOptions,
        "Train with sparse over-parameterisation of label noise, against cross entropy.",
        "ufm track sop --kinds symmetric --rates 0.4",
    ),
    "gnn": (
        GraphOptions,
        "Train graph networks on random graphs, beside free features and spectral methods.",
        "ufm track gnn --cases 2:12.5:0.85 --layers 32",
    ),
    "deq": (
        EquilibriumOptions,
        "Train equilibrium layers, balanced and not, beside the minimum of the linear model.",
        "ufm track deq --ratios 1,10 --loss ce",
    ),
    "losses": (
        AllLossesOptions,
        "Train every loss at every width and length: where are they equal, what did not fit?",
        "ufm track losses --losses ce,mse --widths 0.5,2 --lengths 20,200 --seeds 6",
    ),
    "tgt": (
        QueryOptions,
        "Train students on searched, drawn and real queries of a teacher that generates.",
        "ufm track tgt --manifolds 2:16,2:64 --queries 16,64,256",
    ),
    "convnorm": (
        ConvNormOptions,
        "Train networks of normalised convolutions, and attack them beside plain ones.",
        "ufm track convnorm --noises 0 --eps 0.05,0.1,0.2",
    ),
}

app = typer.Typer(
    no_args_is_help=True,
    help="Systems of the literature in small, each beside an exact statement; one page each.",
    context_settings={"help_option_names": ["-h", "--help"]},
)


def _command(name: str) -> Callable[..., None]:
    """The command of one track, with the flags of its options."""
    options_type, about, _ = COMMANDS[name]

    def track(
        context: typer.Context,
        options: Any,
        workers: Annotated[
            int,
            typer.Option("--workers", min=1, help="Processes.", show_default="one per core"),
        ] = os.cpu_count() or 1,
        full: Annotated[
            bool,
            typer.Option("--full", help="The size of the paper, options that you give apart."),
        ] = False,
        out: Folder = None,
        as_json: Json = False,
    ) -> None:
        if full:
            source = context.get_parameter_source
            flags = {item.name: source(f"options_{item.name}") for item in fields(options)}
            given = [key for key, how in flags.items() if how is not None and how.name != "DEFAULT"]
            options = _full_size(name, options, given)
        _run(name, options, workers, FOLDER / name if out is None else out, as_json)

    track.__annotations__["options"] = options_type
    track.__doc__ = (
        f"{about}\n\nEvery cell is kept in the folder: after any kill the same command goes on "
        "from there. Exit code 3 if the numbers of a cell stopped being finite."
    )
    return network_command(track)


for _name in COMMANDS:
    _example = "\n\n".join((f"Example: ufm track {_name}", f"Example: {COMMANDS[_name][2]}"))
    app.command(_name, epilog=_example)(_command(_name))


def _full_size(name: str, options: TrackOptions, given: Collection[str]) -> TrackOptions:
    if not options.FULL:
        remedy = "leave out --full, and give larger sizes as options"
        got = f"{name}: {options.UNKNOWN}"
        raise input_error("Need a track whose full size is known", got, remedy)
    made = at_full_size(options, given)
    said = ", ".join(f"{key} = {getattr(made, key)}" for key in options.FULL)
    hours = full_hours(made)
    told = f"{hours:,.0f} hours" if hours >= 10 else f"{hours:.1f} hours"
    if hours < 0.1:
        told = f"{60 * hours:.1g} minutes"
    notice(f"full size: {said}; about {told} of one processor, by its parts")
    return made


def _run(name: str, options: TrackOptions, workers: int, folder: Path, as_json: bool) -> None:
    from experiments.cli.verify_output import claim_record
    from experiments.networks.tracks.page import write_track_page
    from experiments.networks.tracks.track import STOPPED, execute, lines, named_track
    from experiments.networks.tracks.track import shown as number_shown
    from proofs_check.run import check_claim

    track = named_track(name)
    cells = track.cells(options)
    if not as_json:
        show(f"{track.title}: {len(cells)} cells, to {folder}")

    def work(say: Callable[[str], None]) -> Any:
        provenance = provenance_of(["ufm", *sys.argv[1:]])
        results = execute(name, options, folder, workers=workers, say=say, provenance=provenance)
        say("exact statements")
        exact = track.exact(options)
        outcomes = [check_claim(claim) for claim in track.claims(results)]
        page = write_track_page(track, options, results, exact, outcomes, folder, say=say)
        return results, exact, outcomes, page

    try:
        results, exact, outcomes, page = stepwise("Measuring", work)
    except KeyboardInterrupt:
        notice(f"the cells done so far stay in {folder}; the same command goes on from there")
        raise
    record = {
        "folder": str(folder),
        "page": str(page),
        "cells": [
            {**asdict(r.cell), "numbers": dict(r.numbers), "series": dict(r.series)}
            for r in results
        ],
        "conclusions": list(track.conclusions(results)),
        "exact": [
            {"statement": text, "said": said, "computed": seen} for text, said, seen in exact
        ],
        "claims": [claim_record(outcome) for outcome in outcomes],
    }
    deliver(envelope(f"track {name}", asdict(options), record), as_json=as_json, out=None)
    if not as_json:
        brief = [column for column in track.columns if column.brief]
        headings = tuple(column.brief for column in brief)
        made = table(("case", "method", "seeds", *headings), right=("method", "seeds", *headings))
        for line in lines(results, brief):
            texts = (number_shown(c, *line.values[c.key]) for c in brief)
            made.add_row(line.case, line.method, str(line.num), *texts)
        beside = table(("exact statement", "says", "computed"), right=("says", "computed"))
        for text, said, seen in exact:
            beside.add_row(text, number(said, 10), number(seen, 10))
        told = table(("what the cells show (tier E)", "cells", "verdict", "counterexample"))
        for outcome in outcomes:
            verdict = outcome.status.name
            told.add_row(
                outcome.claim.id, str(outcome.instances), verdict, outcome.counterexample or ""
            )
        show(made, *track.conclusions(results), beside, told, f"Page: {page}")
    stopped = [r.label for r in results if STOPPED in r.numbers]
    for label in stopped:
        notice(f"{label}: stopped, because a number was no longer finite; lower --lr")
    if stopped:
        raise typer.Exit(3)
