"""``ufm compare``: objectives side by side on the same network and images."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable
from dataclasses import asdict
from pathlib import Path
from typing import Annotated, Any

import typer

from experiments.cli.flags import Json
from experiments.cli.network_flags import (
    Folder,
    MeasureEvery,
    NetworkDecayFlags,
    Probes,
    make_settings,
    network_command,
)
from experiments.cli.network_output import Counter, provenance_of, warn_of_narrow
from experiments.cli.output import deliver, envelope, show, table
from experiments.cli.waiting import stepwise
from experiments.errors import input_error
from experiments.networks.options import (
    ArchitectureOptions,
    AugmentationOptions,
    DataOptions,
    TrainingOptions,
)
from experiments.notices import notice
from experiments.options import flag

EXAMPLES = (
    "ufm compare --data digits",
    'ufm compare --loss ce --loss "ls smoothing=0.1" --loss sigmoid --widths 0.25,1 --seeds 8',
    "ufm compare --theory",
    "ufm compare --network convnet --features relu --decay all --workers 4",
)
COMPARISONS = Path("comparisons")
# The papers' four, with the constants of Zhou et al. 2022b.
LOSSES = ("ce", "ls smoothing=0.05", "focal gamma=3", "mse")
WIDTHS = "0.5,1"
# With six seeds an exact sign-flip test can reach 2^-5.
SEEDS, THEORY_SEEDS = 6, 3
# Numbers of the table, and what they are called where there is little room.
SHOWN = {
    "test_accuracy": "test",
    "epoch_fitted": "fitted at",
    "nc1_geo": "NC1",
    "nc1_fall": "fell by",
    "nc3_geo": "NC3",
    "ece": "ECE",
}


@network_command
def compare(
    data: DataOptions,
    network: ArchitectureOptions,
    training: TrainingOptions,
    augmentation: AugmentationOptions,
    decay: NetworkDecayFlags,
    loss: Annotated[
        list[str] | None,
        flag(
            "--loss",
            "LOSS",
            'An objective and its parameters, as in "focal gamma=3"; may be repeated.',
            show_default=", ".join(LOSSES),
        ),
    ] = None,
    widths: Annotated[str, flag("--widths", "0.5,1", "Multipliers of the hidden layers.")] = WIDTHS,
    seeds: Annotated[
        int | None,
        flag(
            "--seeds",
            "INT",
            "Seeds 0, 1, ... of every network.",
            min=1,
            show_default=f"{SEEDS}; {THEORY_SEEDS} with --theory",
        ),
    ] = None,
    theory: Annotated[
        bool,
        typer.Option(
            "--theory",
            help="Hold networks against the model in three ways of training, which have features, "
            "dimension and decay of their own: linear, ReLU, and decay of all weights.",
        ),
    ] = False,
    other: Probes = None,
    measure_every: MeasureEvery = None,
    workers: Annotated[
        int, typer.Option("--workers", min=1, help="Processes.", show_default="one per core")
    ] = os.cpu_count() or 1,
    out: Folder = None,
    as_json: Json = False,
) -> None:
    """Train objectives, widths and seeds, and say what differs.

    Every run has a folder with checkpoints, and all that were started are in the table. After any
    kill the same command goes on from there. Exit code 3 if a run failed or stopped early.
    """
    from experiments.networks.comparison import Plan, execute, read_loss_spec, rows
    from experiments.networks.comparison.page import write_page, write_theory_page
    from experiments.networks.comparison.three_ways import deviations, plan_cells, variants
    from experiments.networks.runs import DataRequest
    from experiments.networks.training import Outcome

    specs = tuple(read_loss_spec(text) for text in loss or LOSSES)
    request = DataRequest(**vars(data))
    dataset = request.load()
    settings = make_settings(network, training, augmentation, decay, dataset)
    number = seeds or (THEORY_SEEDS if theory else SEEDS)
    ways: dict[Any, str] = {}
    if theory:
        _require_own(network, training, decay, widths)
        ways = plan_cells(request, variants(settings, dataset), specs, tuple(range(number)))
        cells = tuple(ways)
    else:
        values = _numbers(widths)
        plan = Plan(request, settings, specs, values, tuple(range(number)), measure_every)
        cells = plan.cells
    folder = (
        COMPARISONS / (Path(data.source.partition(":")[0]).stem + "-theory" * theory)
        if out is None
        else out
    )
    if not as_json:
        warn_of_narrow([cell.request.settings for cell in cells], dataset.num_classes)
        show(f"Comparing {len(specs)} objectives in {len(cells)} runs, to {folder}")
    count = Counter()

    def work(say: Callable[[str], None]) -> Any:
        runs, failures = execute(
            cells,
            folder,
            others=tuple(other or ()),
            workers=workers,
            say=lambda done, total: say(count(done, total)),
            provenance=provenance_of(["ufm", *sys.argv[1:]]),
        )
        if theory:
            return runs, failures, write_theory_page(runs, failures, ways, folder, say=say)
        return runs, failures, write_page(runs, failures, folder, say=say)

    try:
        runs, failures, page = stepwise("Comparing", work)
    except KeyboardInterrupt:
        notice(f"the runs done so far stay in {folder}; the same command goes on from there")
        raise
    found = rows(runs)
    lines = deviations(runs, ways) if theory else ()
    concluded = {} if theory else _conclusions(runs, found)
    record = {
        "folder": str(folder),
        "page": str(page),
        "runs": [
            {
                "loss": row.loss,
                "width": row.width,
                "seed": row.seed,
                **({"trained_with": ways[cell]} if theory else {}),
                "outcome": row.outcome.name,
                "numbers": dict(row.numbers),
            }
            for cell, row in zip(runs, found, strict=True)
        ],
        "failures": [{"run": f.cell.folder, "message": f.message} for f in failures],
        **({"theory": [asdict(line) for line in lines]} if theory else concluded),
    }
    deliver(envelope("compare", cells[0].request.record(), record), as_json=as_json, out=None)
    if not as_json:
        if theory:
            show(*_theory_tables(lines))
        else:
            show(_table(found), concluded["statement"], _claims_table(concluded["claims"]))
        show(f"Page: {page}")
    for failure in failures:
        notice(f"{failure.cell.folder}: {failure.message}")
    stopped = [row for row in found if row.outcome is not Outcome.COMPLETED]
    for row in stopped:
        notice(f"{row.loss}, width {row.width:g}, seed {row.seed}: {row.outcome.value}")
    if failures or stopped:
        raise typer.Exit(3)


def _require_own(
    network: ArchitectureOptions, training: TrainingOptions, decay: NetworkDecayFlags, widths: str
) -> None:
    """Refuse flags of what --theory sets itself."""
    changed = {
        "--features": network.features != ArchitectureOptions().features,
        "-d": training.d is not None,
        "--widths": widths != WIDTHS,
        "--decay and its values": decay != NetworkDecayFlags(),
    }
    given = [flag for flag, is_given in changed.items() if is_given]
    if given:
        rule = "--theory sets features, dimension, width and decay itself"
        raise input_error(rule, ", ".join(given), "drop it, or train single networks: ufm train")


def _numbers(text: str) -> tuple[float, ...]:
    try:
        return tuple(float(word) for word in text.split(","))
    except ValueError:
        rule = "Need --widths as numbers with commas"
        raise input_error(rule, repr(text), "write for example --widths 0.5,1") from None


def _conclusions(runs: Any, found: Any) -> dict[str, Any]:
    from experiments.cli.verify_output import claim_record
    from experiments.networks.comparison.claims import network_claims
    from experiments.networks.comparison.table import contrasts, statement
    from proofs_check.run import check_claim

    outcomes = [check_claim(claim) for claim in network_claims(runs)]
    return {
        "statement": statement(contrasts(found, "test_accuracy"), "test accuracy"),
        "claims": [claim_record(outcome) for outcome in outcomes],
    }


def _table(found: Any) -> Any:
    from experiments.networks.comparison.page import shown_number
    from experiments.networks.comparison.table import summaries

    columns = tuple(SHOWN.values())
    made = table(("objective", "width", "runs", *columns), right=("width", "runs", *columns))
    means = summaries(found, tuple(SHOWN))
    for loss, width in dict.fromkeys((s.loss, s.width) for s in means):
        mine = [s for s in means if (s.loss, s.width) == (loss, width)]
        # There is room for one spread; the page has all of them.
        spreads = [s.std if s.name == "test_accuracy" else float("nan") for s in mine]
        texts = [shown_number(s.name, s.mean, std) for s, std in zip(mine, spreads, strict=True)]
        made.add_row(loss, f"{width:g}", f"{mine[0].num}/{mine[0].num_runs}", *texts)
    return made


def _theory_tables(lines: Any) -> list[Any]:
    names = ("objective", "W_squared", "H_squared", "gap")
    columns = ("objective", "|W|^2", "|H|^2", "logit gap")
    shown: list[Any] = ["Measured over theory, minus one; means over seeds and their spread."]
    for variant in dict.fromkeys(line.variant for line in lines):
        made = table(("loss", "runs", *columns), right=("runs", *columns))
        for line in lines:
            if line.variant == variant:
                texts = (line.text(name) for name in names)
                made.add_row(line.loss, str(line.num), *texts)
        shown += [f"{variant[0].upper()}{variant[1:]}:", made]
    return shown


def _claims_table(claims: Any) -> Any:
    made = table(
        ("what the runs show (tier E)", "runs", "verdict", "counterexample"), right=("runs",)
    )
    for claim in claims:
        runs = str(claim["instances"])
        made.add_row(claim["id"], runs, claim["status"], claim["counterexample"] or "")
    return made
