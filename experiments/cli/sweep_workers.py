"""``ufm sweep workers``: what more workers would bring, by simulation of the scheduler."""

from __future__ import annotations

from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Annotated, Any

import typer

from experiments.cli.flags import COLUMN, Json, Width
from experiments.cli.output import deliver, envelope, number, prepare, require_writable, show, table
from experiments.errors import input_error
from experiments.options import flag

MANY = "1,2,4,10,20,40"
# Seconds of processors of a worker before its first job, and of the process that deals and writes
# for every job (`ufm bench --row sweep-dealing`).
START, DRIVER = 1.2, 0.04
WITH, WITHOUT, DYING = "with affinity", "without affinity", "one dies half way"
OTHERS = (WITHOUT, DYING)
COLOURS = {WITH: "#0072b2", WITHOUT: "#d55e00", DYING: "#009e73"}
MOST_WORKERS = 10_000


@dataclass(frozen=True)
class Line:
    """One simulated sweep.

    Attributes:
        workers: how many.
        dealing: WITH, WITHOUT or DYING.
        seconds: from start to end.
        efficiency: share of the workers' time that one worker would have needed as well.
        traces: programs that were traced, in all workers together.
    """

    workers: int
    dealing: str
    seconds: float
    efficiency: float
    traces: int


def workers(
    spec: Annotated[
        str, typer.Argument(metavar="SPEC", help="The sweep: a TOML file or a ready-made name.")
    ],
    folder: Annotated[
        Path, typer.Argument(metavar="DIR", help="Folder in which it was run, with its times.")
    ],
    many: Annotated[str, flag("--many", MANY, "Numbers of workers to simulate.")] = MANY,
    start: Annotated[
        float, typer.Option("--start", min=0.0, help="Seconds until a worker takes a job.")
    ] = START,
    driver: Annotated[
        float,
        typer.Option(
            "--driver", min=0.0, help="Seconds that dealing out and writing takes for each batch."
        ),
    ] = DRIVER,
    times: Annotated[
        int, typer.Option("--times", min=1, help="As if every shape had so many times the cells.")
    ] = 1,
    figure: Annotated[
        Path | None, flag("--figure", "FILE", "Draw it; ends in .pdf, .svg or .png.")
    ] = None,
    width: Width = COLUMN,
    as_json: Json = False,
) -> None:
    """Say what more workers would bring to a sweep, by the times that it took once.

    The simulation deals out batches as a real run does: those of a shape stay with the worker that
    has its program, and whoever has nothing left takes over. Times are best from `--workers 1` or
    `--threads 1`, where no two batches compete.
    """
    prepare()
    require_writable(figure, "--figure")
    from experiments.sweep.simulation import enlarged

    counts = _counts(many)
    jobs, costs = recorded_costs(spec, folder)
    jobs, costs = enlarged(jobs, replace(costs, start=start, driver=driver), times)
    lines = foreseen(jobs, costs, counts)
    record = {
        "batches": len(jobs),
        "programs": len(costs.trace),
        "work_seconds": sum(costs.work.values()),
        "trace_seconds": sum(costs.trace.values()),
        "lines": [asdict(line) for line in lines],
    }
    inputs: dict[str, Any] = {"spec": spec, "folder": str(folder), "many": list(counts)}
    inputs |= {"start": start, "driver": driver, "times": times}
    deliver(envelope("sweep workers", inputs, record), as_json=as_json, out=None)
    if figure is not None:
        draw(lines, figure, width)
    if not as_json:
        head = (
            f"{number(record['batches'])} batches of {record['programs']} shapes: "
            f"{record['work_seconds']:.3g} s of work, {record['trace_seconds']:.3g} s to trace and "
            "compile each shape once"
        )
        show(head, lines_table(lines))


def recorded_costs(place: str, folder: Path) -> tuple[list[Any], Any]:
    """The batches of a sweep, and what they cost where it was run.

    Raises:
        InputError: the folder is of another sweep, or has not all of it.
    """
    import numpy as np

    from experiments.cli.sweep_status import open_store
    from experiments.sweep.cells import batches
    from experiments.sweep.run import BATCH, Job, cells_of
    from experiments.sweep.simulation import costs_of
    from experiments.sweep.spec import read_spec

    read, store = read_spec(place), open_store(folder)
    if store.manifest["key"] != read.key:
        rule = f"Need a folder of the sweep {place}"
        raise input_error(rule, f"{folder}, of another one", "give the SPEC that was run there")
    cut = batches(cells_of(read), BATCH)
    told = store.table(["cell", "seconds"])
    by_cell = np.full(int(store.manifest["num_cells"]), np.nan)
    by_cell[told["cell"]] = told["seconds"]
    absent: Any = None  # nobody computes here
    jobs = [
        Job(batch.number, len(batch.indices), read.task, absent, (*batch.shape, batch.size))
        for batch in cut
    ]
    seconds = {batch.number: float(by_cell[batch.indices].sum()) for batch in cut}
    return jobs, costs_of(jobs, seconds)


def foreseen(jobs: list[Any], costs: Any, counts: tuple[int, ...]) -> list[Line]:
    """Every number of workers with affinity, without, and with a worker that dies half way."""
    from experiments.sweep.simulation import simulated

    alone = simulated(jobs, costs, 1).makespan
    lines = []
    for many in counts:
        usual = simulated(jobs, costs, many)
        others = {
            WITH: usual,
            WITHOUT: simulated(jobs, costs, many, window=1, far=1),
            DYING: simulated(jobs, costs, many, deaths=[usual.makespan / 2]),
        }
        lines += [
            Line(many, name, x.makespan, alone / (many * x.makespan), x.traces)
            for name, x in others.items()
        ]
    return lines


def lines_table(lines: list[Line]) -> Any:
    """The simulated sweeps, a line for every number of workers."""
    made = table(
        ("workers", "seconds", "efficiency", "traces", *[f"{name}: seconds" for name in OTHERS]),
        right=("workers", "seconds", "efficiency", "traces"),
    )
    for many in dict.fromkeys(line.workers for line in lines):
        by = {line.dealing: line for line in lines if line.workers == many}
        kept = by[WITH]
        row = [str(many), f"{kept.seconds:.3g}", f"{kept.efficiency:.0%}", number(kept.traces)]
        for name in OTHERS:
            line = by[name]
            row.append(f"{line.seconds:.3g} ({line.efficiency:.0%}, {number(line.traces)} traces)")
        made.add_row(*row)
    return made


def draw(lines: list[Line], path: Path, width: float) -> None:
    """Speed over the number of workers, with the line of twice as many, twice as fast."""
    from experiments.figures import blank_figure, save_figure

    made = blank_figure(width, 0.8 * width)
    ax = made.subplots()
    alone = next(line.seconds for line in lines if line.dealing == WITH) * lines[0].workers
    alone *= lines[0].efficiency
    counts = list(dict.fromkeys(line.workers for line in lines))
    ax.loglog(counts, counts, "--", color="0.6", lw=1, label="as many times as workers")
    for name, colour in COLOURS.items():
        own = [line for line in lines if line.dealing == name]
        speed = [alone / line.seconds for line in own]
        ax.loglog(counts, speed, "o-", ms=3, lw=1, color=colour, label=name)
    ax.minorticks_off()
    ax.set_xticks(counts, [str(count) for count in counts])
    ticks = [1, 2, 5, 10, 20, 40]
    ax.set_yticks(ticks, [f"{tick}x" for tick in ticks])
    ax.set_ylim(0.8, max(counts) * 1.3)
    ax.set_xlabel("workers")
    ax.set_ylabel("times one worker")
    ax.legend(frameon=False, fontsize=7)
    save_figure(made, path)


def _counts(words: str) -> tuple[int, ...]:
    try:
        found = tuple(dict.fromkeys(int(word) for word in words.split(",")))
    except ValueError:
        found = ()
    if not found or not all(0 < count <= MOST_WORKERS for count in found):
        rule = f"Need numbers of workers from 1 to {MOST_WORKERS:,} with commas for --many"
        raise input_error(rule, repr(words), f"such as {MANY}")
    return found
