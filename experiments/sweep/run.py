"""Run a sweep: what its store does not have yet is computed batch by batch and written."""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Iterable, Iterator, Mapping
from concurrent.futures import FIRST_COMPLETED, Future, ThreadPoolExecutor, wait
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any, Protocol

import numpy as np

from experiments.mappings import relieve
from experiments.sweep.cells import Batch, Cells, Shape, batches, expand, missing
from experiments.sweep.model_cells import AnyCells, AnyWork, expand_any
from experiments.sweep.progress import Forecast, Progress
from experiments.sweep.spec import Spec
from experiments.sweep.store import Store
from experiments.sweep.strategies import SLOTS, Strategies
from experiments.sweep.tasks.registry import Columns
from experiments.sweep.work import Work
from ufm.errors import InputError

# Cells a batch holds at most: a second or two of work at K = 10, so that little is lost.
BATCH = 512
FAILED = "FAILED"
GOOD = "CONVERGED"


@dataclass(frozen=True)
class Job:
    """One batch with everything a worker needs; it can be sent to another process.

    Attributes:
        number: of the batch.
        count: its cells; ``work`` may repeat the last one.
        task: what is computed.
        work: the cells and how they are computed.
        program: equal for jobs that need the same compiled program.
    """

    number: int
    count: int
    task: str
    work: Work | AnyWork
    program: tuple[Any, ...] = ()


class Executor(Protocol):
    """Something that computes jobs, in any order."""

    def __call__(self, jobs: Iterable[Job]) -> Iterator[tuple[Job, Columns]]:
        """The jobs with their columns, as they are done."""


def run(
    spec: Spec,
    folder: Path,
    *,
    executor: Executor | None = None,
    max_failures: int | None = None,
    say: Callable[[Progress], None] = lambda progress: None,
    provenance: Mapping[str, Any] | None = None,
) -> Store:
    """Compute what the folder does not have yet; a kill loses the batches in flight only.

    Args:
        spec: the sweep.
        folder: of its store; made, or gone on from.
        executor: by default the cores of this machine.
        max_failures: stop once more cells than this have failed.
        say: called with the progress after every batch.
        provenance: kept in the manifest of a new store.

    Raises:
        InputError: a folder of another sweep, one that is being written, or too many failures.

    Example:
        >>> from tempfile import TemporaryDirectory
        >>> from experiments.sweep.spec import make_spec
        >>> axes = {"K": 3, "c": [0.5, 1.5]}
        >>> with TemporaryDirectory() as folder:
        ...     store = run(make_spec({"task": "minimise", "axes": axes}), Path(folder))
        ...     store.table(["rank"])["rank"].tolist()
        [2, 0]
    """
    cells = cells_of(spec)
    cut = batches(cells, BATCH)
    manifest = {
        "key": spec.key,
        "name": spec.name,
        "task": spec.task,
        "note": spec.note,
        "options": dict(spec.options),
        "figure": dict(spec.figure),
        "axes": {name: [str(value) for value in values] for name, values in spec.axes.items()},
        **({"model": spec.model} if spec.model else {}),
        "num_cells": len(cells),
        "num_batches": len(cut),
        "provenance": dict(provenance or {}),
    }
    store = Store.create(folder, manifest)
    with store.lock():
        scan = store.scan()
        store.set_aside(scan)
        _compute(spec, cells, cut, store, executor or LocalExecutor(), max_failures, say)
    return store


def _compute(
    spec: Spec,
    cells: Cells | AnyCells,
    cut: list[Batch],
    store: Store,
    executor: Executor,
    max_failures: int | None,
    say: Callable[[Progress], None],
) -> None:
    present = store.scan().present
    todo = list(missing(cut, present))
    done = len(cells) - sum(len(batch.indices) for batch in todo)
    failures = count_failures(store) if present else 0
    say(Progress(done, len(cells), failures, 0.0, None))
    jobs = jobs_of(spec, cells, cut, todo, Strategies(store.folder))
    forecast, began, before = Forecast(todo), time.monotonic(), done
    for job, columns in executor(jobs):
        store.write(job.number, columns)
        done += job.count
        failures += int(np.sum(columns["result"] != GOOD))
        elapsed = max(time.monotonic() - began, 1e-9)
        if np.isfinite(taken := float(np.sum(columns["seconds"]))):  # a lost job took unknown time
            forecast.record(cut[job.number], taken)
        rate = (done - before) / elapsed
        say(Progress(done, len(cells), failures, rate, forecast.remaining(elapsed)))
        if max_failures is not None and failures > max_failures:
            rule = f"Stopped after more than --max-failures {max_failures} failed cells"
            remedy = "look at the column reason; the same command goes on with a larger limit"
            raise InputError(rule, f"{failures} in {done} cells", remedy)


def count_failures(store: Store) -> int:
    """Cells in a store that did not end as they should."""
    return int(np.sum(store.table(["result"])["result"] != GOOD))


def jobs_of(
    spec: Spec, cells: Cells | AnyCells, cut: list[Batch], todo: list[Batch], strategies: Strategies
) -> Iterator[Job]:
    """The jobs of the batches to do, each with the strategy of its shape."""
    many: dict[Any, int] = {}
    for batch in cut:
        many[batch.shape] = many.get(batch.shape, 0) + 1
    for batch in spread(todo):
        filled = np.pad(batch.indices, (0, batch.size - len(batch.indices)), mode="edge")
        work = work_of(cells.take(filled), batch.shape, spec.options)
        job = Job(batch.number, len(batch.indices), spec.task, work, (*batch.shape, batch.size))
        slots, together = strategies.choose(
            batch.shape, batch.size, many[batch.shape], partial(_seconds, job)
        )
        yield replace(job, work=replace(work, slots=slots, together=together))


def spread(todo: list[Batch]) -> list[Batch]:
    """The batches in order, but the first of every shape before all others.

    So threads compile different programs, instead of waiting for the same one.

    Example:
        >>> shapes = [("ce", 3), ("ce", 3), ("ce", 4), ("ce", 4)]
        >>> todo = [Batch(i, np.arange(1), shape, 1) for i, shape in enumerate(shapes)]
        >>> [batch.number for batch in spread(todo)]
        [0, 2, 1, 3]
    """
    first = {batch.shape: batch.number for batch in reversed(todo)}
    return sorted(todo, key=lambda batch: first[batch.shape] != batch.number)


def cells_of(spec: Spec) -> Cells | AnyCells:
    """The table of cells of a sweep, over the plain model or any other."""
    return expand_any(spec.model, spec.axes) if spec.model else expand(spec)


def work_of(cells: Any, shape: Shape, options: Mapping[str, Any]) -> Work | AnyWork:
    """Cells of one shape as a program takes them."""
    if isinstance(cells, Cells):
        return Work(cells, shape[2], options, SLOTS, False)
    return AnyWork(cells, options, SLOTS, False)


def compute(job: Job) -> Columns:
    """The columns of one batch: cells, results and seconds; an error becomes the reason.

    Example:
        >>> from experiments.sweep.spec import make_spec
        >>> cells = expand(make_spec({"task": "minimise", "axes": {"K": 3, "c": 0.5}}))
        >>> options = {"tolerance": 1e-9, "max_iterations": 20_000}
        >>> job = Job(0, 1, "minimise", Work(cells, 3, options, 1, False))
        >>> compute(job)["result"].tolist()
        ['CONVERGED']
    """
    began = time.perf_counter()
    try:
        found = job.work.tasks[job.task].compute(job.work)
    except Exception as error:
        found = failed(job, f"{type(error).__name__}: {' '.join(str(error).split())[:300]}")
    seconds = (time.perf_counter() - began) / job.count
    relieve()
    return whole(job, found, seconds)


def failed(job: Job, reason: str) -> Columns:
    """The result columns of a batch that could not be computed."""
    found = job.work.tasks[job.task].blank(len(job.work.cells))
    found["result"][:] = FAILED
    found["reason"][:] = reason
    return found


def whole(job: Job, found: Columns, seconds: float) -> Columns:
    """Cells, results and seconds per cell of a batch, without the cells that filled it up."""
    every = {**job.work.cells.columns, **found}
    columns = {name: np.asarray(column)[: job.count] for name, column in every.items()}
    return {**columns, "seconds": np.full(job.count, seconds)}


class LocalExecutor:
    """The cores of this machine: compiled code releases Python's lock, so threads are enough."""

    def __init__(self, threads: int | None = None) -> None:
        self.threads = threads

    def __call__(self, jobs: Iterable[Job]) -> Iterator[tuple[Job, Columns]]:
        """The jobs with their columns, as they are done; at most one waits per thread."""
        import jax

        on_cpu = jax.default_backend() == "cpu"
        threads = self.threads or ((os.cpu_count() or 1) if on_cpu else 1)
        pool = ThreadPoolExecutor(threads, thread_name_prefix="sweep")
        running: dict[Future[Columns], Job] = {}
        try:
            for job in jobs:
                running[pool.submit(compute, job)] = job
                if len(running) > threads:
                    yield from _finished(running)
            while running:
                yield from _finished(running)
        finally:
            pool.shutdown(wait=False, cancel_futures=True)


def _finished(running: dict[Future[Columns], Job]) -> Iterator[tuple[Job, Columns]]:
    for future in wait(running, return_when=FIRST_COMPLETED).done:
        yield running.pop(future), future.result()


def _seconds(job: Job, slots: int) -> float:
    """Time of a batch once it is compiled."""
    tried = replace(job, work=replace(job.work, slots=slots))
    compute(tried)
    began = time.perf_counter()
    compute(tried)
    return time.perf_counter() - began
