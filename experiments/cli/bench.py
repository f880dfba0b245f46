"""``ufm bench``: the lab against the solvers that people use, in one run."""

from __future__ import annotations

import os
import platform
from dataclasses import asdict
from enum import StrEnum
from functools import partial
from pathlib import Path
from typing import Annotated, Any

import typer

from experiments.cli.flags import Json, Out
from experiments.cli.output import (
    deliver,
    envelope,
    number,
    prepare,
    require_writable,
    show,
    table,
)
from experiments.cli.waiting import patiently
from experiments.errors import input_error
from experiments.options import flag

EXAMPLES = (
    "ufm bench",
    "ufm bench --quick --row minimum-small --row index-small",
    "ufm bench --json --out bench.json",
    "ufm bench --scaling --figure scaling.svg",
)
REPEATS, QUICK_REPEATS = 101, 21


class Row(StrEnum):
    """The rows of the table."""

    minimum_small = "minimum-small"
    minimum_large = "minimum-large"
    index_small = "index-small"
    index_large = "index-large"
    spectrum_imagenet = "spectrum-imagenet"
    gap_1000 = "gap-1000"
    descent_300 = "descent-300"
    descent_500 = "descent-500"
    descent_1000 = "descent-1000"
    sizes_100 = "sizes-100"
    sizes_1000 = "sizes-1000"
    start = "start"
    convexity = "convexity"
    proofs = "proofs"
    atlas_4 = "atlas-4"
    atlas_5 = "atlas-5"
    atlas_6 = "atlas-6"
    merged_100 = "merged-100"
    sweep_512 = "sweep-512"
    sweep_scaling = "sweep-scaling"
    sweep_dealing = "sweep-dealing"
    sweep_100k = "sweep-100k"
    resnet18 = "resnet18"
    store_1m = "store-1m"


def bench(
    quick: Annotated[
        bool, typer.Option("--quick", help="Fewer repeats and shorter caps: some minutes.")
    ] = False,
    row: Annotated[
        list[Row] | None,
        typer.Option("--row", help="Only this row; give it several times for several rows."),
    ] = None,
    repeats: Annotated[
        int | None,
        typer.Option(
            "--repeats",
            min=1,
            help="Warm calls of everything that is fast.",
            show_default=f"{REPEATS}, or {QUICK_REPEATS} with --quick",
        ),
    ] = None,
    scaling: Annotated[
        bool,
        typer.Option(
            "--scaling",
            help="Instead: cost against K, d, n, cells and orbits, with slopes and theory's.",
        ),
    ] = False,
    figure: Annotated[
        Path | None,
        flag(
            "--figure",
            "FILE.svg",
            "Draw the table as bars; with --scaling its curves on logarithmic axes.",
        ),
    ] = None,
    out: Out = None,
    as_json: Json = False,
) -> None:
    """Time the lab against the usual solvers, and judge the ratios."""
    # Read when NumPy loads. Threads of BLAS that wait for a core other programs use made eigvalsh
    # twenty times slower; whoever has idle cores may set it, for all solvers alike.
    os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")
    prepare()
    require_writable(out, "--out")
    require_writable(figure, "--figure")
    if scaling:
        from experiments.cli.bench_scaling import measured_scaling

        refuse_with_scaling(row, repeats)
        curves = measured_scaling(quick, figure, say=not as_json)
        told = {"libraries": libraries(), "device": device(), **curves}
        inputs: dict[str, Any] = {"quick": quick, "scaling": True}
        deliver(envelope("bench", inputs, told), as_json=as_json, out=out)
        return
    from experiments.benchmarks.peak_memory import reset_peak
    from experiments.benchmarks.rows import ROWS
    from experiments.benchmarks.timing import Settings

    settings = Settings(quick, repeats or (QUICK_REPEATS if quick else REPEATS))
    chosen = list(dict.fromkeys(row)) if row else list(Row)
    records = []
    for name in chosen:
        reset_peak()
        found = patiently(f"Timing {name.value}", partial(ROWS[name.value], settings))
        found = with_memory(found)
        records += found
        if not as_json:
            for work in dict.fromkeys(x.work for x in found):
                lines = [x for x in found if x.work == work]
                show(f"{name.value}: {work}{memory_of(lines)}", work_table(lines))
    inputs = {"quick": quick, "rows": [name.value for name in chosen], "repeats": settings.repeats}
    record = {
        "libraries": libraries(),
        "device": device(),
        "rows": [asdict(x) for x in records],
        "not_reached": [f"{x.row}: {x.solver}" for x in records if x.reached is False],
        "wrong": [f"{x.row}: {x.solver}" for x in records if x.wrong],
    }
    if figure is not None:
        draw_works(records, figure)
    deliver(envelope("bench", inputs, record), as_json=as_json, out=out)
    if not as_json:
        show(closing(record))
    if record["wrong"]:
        raise typer.Exit(1)


def refuse_with_scaling(row: list[Row] | None, repeats: int | None) -> None:
    """Refuse what belongs to rows.

    Raises:
        InputError: --scaling with --row or --repeats.
    """
    for other, value in (("--row", row), ("--repeats", repeats)):
        if value:
            rule = "--scaling has curves of its own"
            raise input_error(rule, f"--scaling and {other}", f"drop {other}")


def with_memory(records: list[Any]) -> list[Any]:
    """Our lines with the most memory that was in use while their row ran, where they have none."""
    from dataclasses import replace

    from experiments.benchmarks.peak_memory import peak_memory

    peak = peak_memory()
    return [
        replace(x, memory=peak) if x.memory is None and x.ratio is None and x.calls else x
        for x in records
    ]


def memory_of(lines: list[Any]) -> str:
    """What to say of the memory of a piece of work, if it is known."""
    from experiments.benchmarks.record import gibibytes

    return "" if lines[0].memory is None else f" ({gibibytes(lines[0].memory)} of memory at most)"


def work_table(records: list[Any]) -> Any:
    """One table per piece of work: ours first, what was recorded of it elsewhere, the others."""
    from experiments.benchmarks.record import duration, times
    from experiments.benchmarks.recorded import recorded

    numbers = ("time", "first call", "x ours")
    made = table(("solver", *numbers, "target", "note"), right=numbers)
    for x in records:
        made.add_row(
            x.solver,
            duration(x.seconds, capped=x.capped),
            duration(x.first),
            times(x.ratio, capped=x.capped),
            x.verdict,
            x.note,
        )
        for where, line in recorded(x.row, x.work, x.solver) if x.ratio is None else ():
            seconds = line["seconds"]
            # A solver that is not installed here may have been recorded elsewhere.
            ratio = None if x.seconds is None else seconds / x.seconds
            made.add_row(
                f"  recorded: {where}",
                duration(seconds),
                duration(line["first"]),
                times(ratio),
                "",
                line["note"],
            )
    return made


def draw_works(records: list[Any], path: Path) -> None:
    """Every piece of work as bars, one below the other, in a vector graphic."""
    from experiments.benchmarks.record import draw
    from experiments.figures import blank_figure, save_figure

    works = list(dict.fromkeys(x.work for x in records))
    made = blank_figure(8.0, 0.8 + 0.35 * len(records) + 0.8 * len(works))
    groups = [[x for x in records if x.work == work] for work in works]
    heights = [len(group) + 1 for group in groups]
    axes = made.subplots(len(works), squeeze=False, height_ratios=heights)[:, 0]
    for group, ax in zip(groups, axes, strict=True):
        draw(group, ax)
    save_figure(made, path)


def closing(record: dict[str, Any]) -> str:
    """What was not reached, what was wrong, and on what machine."""
    used = ", ".join(f"{name} {version}" for name, version in record["libraries"].items())
    where = record["device"]
    lines = [
        f"{where['backend']}, {number(where['cores'])} cores, {where['machine']}, "
        f"{where['blas_threads']} BLAS thread(s); {used}."
    ]
    for key, head in (("not_reached", "Not reached"), ("wrong", "WRONG")):
        if record[key]:
            lines.append(f"{head}: {'; '.join(record[key])}.")
    if not record["not_reached"] and not record["wrong"]:
        lines.append("Every target was reached.")
    return "\n".join(lines)


def libraries() -> dict[str, str]:
    """Versions of everything that was timed, without importing it."""
    from importlib.metadata import PackageNotFoundError, version

    found = {}
    for name in ("jax", "numpy", "scipy", "optax", "torch"):
        try:
            found[name] = version(name)
        except PackageNotFoundError:
            found[name] = "not installed"
    return found


def device() -> dict[str, Any]:
    """Where it ran: backend, cores, kind of machine."""
    import jax

    return {
        "backend": jax.default_backend(),
        "kind": jax.devices()[0].device_kind,
        "cores": os.cpu_count(),
        "blas_threads": os.environ.get("OPENBLAS_NUM_THREADS"),
        "machine": platform.machine(),
        "system": platform.system(),
    }
