"""``ufm sweep``: one question in many cells, kept in a folder that every kill leaves whole."""

from __future__ import annotations

import os
import re
import shlex
from collections.abc import Callable
from enum import StrEnum
from pathlib import Path
from time import perf_counter
from typing import Annotated, Any

import typer

from experiments.cli.flags import COLUMN, Json, Width
from experiments.cli.output import (
    deliver,
    envelope,
    number,
    prepare,
    require_writable,
    show,
    table,
)
from experiments.cli.sweep_workers import workers as workers_of
from experiments.cli.waiting import stepwise
from experiments.errors import input_error
from experiments.notices import notice
from experiments.options import flag

FOLDER = "sweeps"
# Digits of the key in the name of a folder: enough to tell the sweeps of one person apart.
DIGITS = 8
FIGURE_KINDS = (".pdf", ".svg", ".png")
BAR = 20

app = typer.Typer(
    no_args_is_help=True,
    help="Compute a table over many models, resumed after any kill.",
    context_settings={"help_option_names": ["-h", "--help"]},
)

Folder = Annotated[Path, typer.Argument(metavar="DIR", help="Folder of a sweep.")]


class Kind(StrEnum):
    """What a figure shows."""

    PHASE = "phase"
    PROFILE = "profile"
    MULTIPLES = "multiples"
    RATE = "rate"
    THRESHOLDS = "thresholds"
    ESCAPE = "escape"


def _examples(*lines: str) -> str:
    return "\n\n".join(f"Example: {line}" for line in lines)


OF_A_MODEL = "ufm sweep specs --model graph > my_sweep.toml && ufm sweep run my_sweep.toml"


@app.command(epilog=_examples("ufm sweep specs", OF_A_MODEL))
def specs(
    model: Annotated[
        str | None,
        flag("--model", "NAME", "Print a sweep over this model instead, a TOML file to be edited."),
    ] = None,
    as_json: Json = False,
) -> None:
    """List the ready-made sweeps with their sizes, and the question each one answers."""
    from experiments.sweep.spec import read_spec, ready_made

    if model is not None:
        from experiments.models import named_model
        from experiments.sweep.template import template

        text = template(named_model(model))
        record = {"model": model, "toml": text}
        if as_json:
            deliver(envelope("sweep specs", {"model": model}, record), as_json=True, out=None)
        else:
            print(text)
        return
    made = [read_spec(name) for name in ready_made()]
    columns = ("name", "task", "cells", "question")
    rows = [(spec.name, spec.task, spec.num_cells, spec.note) for spec in made]
    if as_json:
        found = [dict(zip(columns, row, strict=True)) for row in rows]
        deliver(envelope("sweep specs", {}, {"specs": found}), as_json=True, out=None)
        return
    listed = table(columns, right=("cells",))
    for name, task, cells, note in rows:
        listed.add_row(name, task, number(cells), note)
    listed.columns[0].no_wrap = True
    show(listed, "Run one with `ufm sweep run NAME`, or a TOML file of your own: docs/sweeps.md.")


@app.command(
    epilog=_examples(
        "ufm sweep run threshold",
        OF_A_MODEL,
        "ufm sweep run my_sweep.toml --out my_sweep --max-failures 100",
        "ufm sweep run losses --workers 4",
        "ufm sweep run low-dimension --cluster tls://10.0.0.7:8786",
    )
)
def run(
    spec: Annotated[
        str,
        typer.Argument(
            metavar="SPEC", help="A TOML file, or the name of a ready-made sweep (ufm sweep specs)."
        ),
    ],
    out: Annotated[
        Path | None,
        flag(
            "--out",
            "DIR",
            "Folder of the table; the same command goes on from it.",
            show_default=f"{FOLDER}/NAME-KEY",
        ),
    ] = None,
    threads: Annotated[
        int | None,
        typer.Option(
            "--threads",
            min=1,
            help="Batches computed at once in this process.",
            show_default="one per core",
        ),
    ] = None,
    workers: Annotated[
        int | None,
        typer.Option(
            "--workers",
            min=1,
            help="Compute in so many processes on this machine, which nobody else can talk to.",
        ),
    ] = None,
    cluster: Annotated[
        str | None,
        flag(
            "--cluster",
            "tls://HOST:PORT",
            "Compute on the workers of this scheduler, which is trusted with your account: "
            "over tcp:// whoever reaches it, or a worker, can run code as you; tls:// takes the "
            "certificates in dask's configuration (docs/sweeps.md).",
        ),
    ] = None,
    max_failures: Annotated[
        int | None,
        typer.Option(
            "--max-failures", min=0, help="Stop once more cells than this have not converged."
        ),
    ] = None,
    as_json: Json = False,
) -> None:
    """Compute what the folder does not have yet, and write it batch by batch.

    The same command goes on after Ctrl-C, a kill or a damaged file, and gives the same table.
    Exit code 3 if a cell failed or did not converge.
    """
    # Read when NumPy loads: its threads would wait for the cores that the batches use.
    os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")
    prepare()
    from experiments.cli.sweep_status import status_record, status_table
    from experiments.packages import require_package
    from experiments.sweep.run import run as compute
    from experiments.sweep.spec import read_spec
    from experiments.sweep.store import PYARROW

    executor = _executor(threads, workers, cluster)
    require_package("pyarrow", PYARROW, "sweep")
    read = read_spec(spec)
    folder = Path(FOLDER) / folder_name(read) if out is None else out
    if not as_json:
        size = f"{number(read.num_cells)} cells"
        show(f"Sweep: {read.name}, task {read.task}, {size} to {folder}")
    last: list[Any] = []

    def work(say: Callable[[str], None]) -> Any:
        def tell(progress: Any) -> None:
            last[:] = [progress]
            say(progress_line(progress))

        return compute(
            read,
            folder,
            executor=executor,
            max_failures=max_failures,
            say=tell,
            provenance=_provenance(read, spec, out, threads, workers, cluster, max_failures),
        )

    began = perf_counter()
    try:
        store = stepwise("Sweeping", work)
    except KeyboardInterrupt:
        kept = f"{number(last[0].done)} of {number(last[0].total)} cells" if last else "everything"
        notice(f"{kept} written so far stay in {folder}; the same command goes on from there")
        raise
    except ValueError as error:
        if not (last and max_failures is not None and last[0].failures > max_failures):
            raise
        notice(str(error))
        raise typer.Exit(3) from error
    seconds = perf_counter() - began
    record = {**status_record(store), "seconds": seconds}
    inputs = {"spec": spec, "out": str(folder), "max_failures": max_failures}
    inputs |= {"threads": threads, "workers": workers, "cluster": cluster}
    deliver(envelope("sweep run", inputs, record), as_json=as_json, out=None)
    if not as_json:
        show(status_table(record), *_next(folder, read))
    if record["cells"]["failed"]:
        raise typer.Exit(3)


@app.command(
    epilog=_examples("ufm sweep status my_sweep", "ufm sweep status my_sweep --json | jq .cells")
)
def status(folder: Folder, as_json: Json = False) -> None:
    """Say how far a sweep is, what failed and why, and which files are damaged.

    It only reads, so it may be asked while the sweep runs.
    """
    from experiments.cli.sweep_status import open_store, status_record, status_table

    store = open_store(folder)
    record = status_record(store)
    inputs = {"folder": str(folder)}
    deliver(envelope("sweep status", inputs, record), as_json=as_json, out=None)
    if not as_json:
        show(f"Sweep: {store.manifest.get('name', folder)}", status_table(record, whole=True))


@app.command(
    epilog=_examples(
        "ufm sweep export my_sweep table.csv",
        "ufm sweep export my_sweep table.parquet",
        "ufm sweep export my_sweep table.nc",
    )
)
def export(
    folder: Folder,
    file: Annotated[
        Path, typer.Argument(metavar="FILE", help="Ends in .csv, .parquet or .nc (netCDF 3).")
    ],
) -> None:
    """Write the whole table of a sweep to one file, for pandas, R, a spreadsheet or xarray."""
    from experiments.cli.sweep_status import done_cells, open_store

    store = open_store(folder)
    require_writable(file, "the table")
    store.export(file)
    show(f"{file}: {done_cells(store)}.")


@app.command(
    epilog=_examples(
        "ufm sweep figure my_sweep phase.pdf",
        "ufm sweep figure my_sweep rank.svg --kind phase --x c --y K --value rank",
        "ufm sweep figure my_sweep losses.png --kind multiples --by loss --width 7",
        "ufm sweep figure my_sweep two.pdf --x c --value condition,condition_W --where K=10",
    )
)
def figure(
    folder: Folder,
    file: Annotated[Path, typer.Argument(metavar="FILE", help="Ends in .pdf, .svg or .png.")],
    kind: Annotated[
        Kind | None,
        typer.Option("--kind", help="What to draw.", show_default="what suits the task"),
    ] = None,
    x: Annotated[str | None, flag("--x", "COLUMN", "Column along the horizontal axis.")] = None,
    y: Annotated[str | None, flag("--y", "COLUMN", "Column along the vertical axis.")] = None,
    value: Annotated[
        str | None,
        flag(
            "--value",
            "COLUMN",
            "Column that is drawn, or a quotient such as rate_nc2/lambda_W; "
            "several with commas have a profile each.",
        ),
    ] = None,
    by: Annotated[
        str | None, flag("--by", "COLUMN", "Column that tells lines or panels apart.")
    ] = None,
    where: Annotated[
        str | None, flag("--where", "NAME=VALUE", "Rows that are drawn: K=10, loss=ls.")
    ] = None,
    width: Width = COLUMN,
) -> None:
    """Draw the table of a sweep as one figure, with the lines that theory predicts."""
    if file.suffix.lower() not in FIGURE_KINDS:
        rule = f"Need a file name in {', '.join(FIGURE_KINDS)}"
        raise input_error(rule, file, "choose one of these endings")
    require_writable(file, "the figure")
    prepare()
    from experiments.cli.sweep_status import done_cells, open_store

    store = open_store(folder)
    rows = store.table()
    from experiments.cli.sweep_figure import draw_figure

    asked = {"x": x, "y": y, "value": value, "by": by, "where": where}
    asked["kind"] = None if kind is None else kind.value
    if not any(asked.values()):
        asked = {name: store.manifest.get("figure", {}).get(name) for name in asked}
    chosen = asked.pop("kind")
    drawn = draw_figure(rows, str(store.manifest.get("task", "")), file, chosen, asked, width)
    show(f"{file}: {drawn}, {done_cells(store)}.")


app.command("workers", epilog=_examples("ufm sweep workers my_sweep.toml my_sweep"))(workers_of)


def folder_name(spec: Any) -> str:
    """The folder that a sweep is kept in by default: its name and the beginning of its key.

    Example:
        >>> from types import SimpleNamespace
        >>> folder_name(SimpleNamespace(name="../my sweep", key="0123456789abcdef"))
        'my-sweep-01234567'
    """
    name = re.sub(r"[^\w.-]+", "-", spec.name).strip(".-")[:60]
    return f"{name or 'sweep'}-{spec.key[:DIGITS]}"


def progress_line(progress: Any) -> str:
    """How far a sweep is, as a bar and in numbers.

    Example:
        >>> from types import SimpleNamespace
        >>> class Half(SimpleNamespace):
        ...     def __str__(self):
        ...         return "5/10 cells"
        >>> progress_line(Half(done=5, total=10))
        '━━━━━━━━━━────────── 5/10 cells'
    """
    full = BAR * progress.done // progress.total
    return f"{'━' * full}{'─' * (BAR - full)} {progress}"


def _executor(threads: int | None, workers: int | None, cluster: str | None) -> Any:
    """What computes the batches; dask is imported only where it is asked for."""
    given = {"--threads": threads, "--workers": workers, "--cluster": cluster}
    chosen = [flag for flag, value in given.items() if value is not None]
    if len(chosen) > 1:
        rule = "Give one of --threads, --workers and --cluster"
        raise input_error(rule, " and ".join(chosen), "drop all but one")
    if workers is None and cluster is None:
        from experiments.sweep.run import LocalExecutor

        return LocalExecutor(threads)
    from experiments.sweep.cluster import ClusterExecutor

    return ClusterExecutor(cluster, workers or 1)


def _provenance(spec: Any, place: str, out: Path | None, *flags: Any) -> dict[str, Any]:
    """Versions and machine, the command in full, and the seeds."""
    from experiments.report.provenance import provenance

    words = ["ufm", "sweep", "run", place]
    names = ("--out", "--threads", "--workers", "--cluster", "--max-failures")
    for name, value in zip(names, (out, *flags), strict=True):
        words += [] if value is None else [name, str(value)]
    return {**provenance(), "Command": shlex.join(words), "Seeds": _seeds(spec)}


def _seeds(spec: Any) -> str:
    seeds = spec.axes["seed"]
    if len(seeds) <= BAR:
        return ", ".join(map(str, seeds))
    return f"{len(seeds)} from {min(seeds)} to {max(seeds)}"


def _next(folder: Path, spec: Any) -> list[str]:
    """Commands that go on from a finished table."""
    place = shlex.quote(str(folder))
    return [
        f"Next: ufm sweep figure {place} {spec.task}.pdf",
        f"      ufm sweep export {place} {spec.task}.csv",
    ]
