"""Two workers as they ran beside two as they are simulated from a run of one.

All in seconds of processors: on a machine that others use a clock says nothing.
"""

from __future__ import annotations

import os
from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from resource import RUSAGE_CHILDREN, getrusage
from tempfile import TemporaryDirectory
from time import process_time

import numpy as np

from experiments.benchmarks.record import Record, against, measured
from experiments.benchmarks.timing import Settings, Timing
from experiments.sweep import run as sweep
from experiments.sweep.cells import batches
from experiments.sweep.run import Job, cells_of, compute, jobs_of
from experiments.sweep.simulation import Costs, costs_of, enlarged, simulated
from experiments.sweep.spec import Spec, make_spec
from experiments.sweep.strategies import Strategies
from experiments.sweep.tasks.registry import Columns

RAN, SIMULATED = "two workers, as they ran", "two workers, simulated from one"
# A simulation may be off by so much; the same job takes 5 to 10 % more or less from run to run.
WITHIN = 0.15
# What is simulated beyond that: workers, and a sweep so many times as long.
MANY, TIMES = (1, 2, 4, 10, 20, 40), 16


@dataclass(frozen=True)
class Run:
    """One sweep on worker processes.

    Attributes:
        jobs: in the order in which they were done.
        seconds: of processors that each took in its worker, by its number.
        worker: process id of who did it, by number.
        others: seconds that the workers took beside their jobs, mostly to start.
        driver: seconds of the process that deals, for every job.
    """

    jobs: tuple[Job, ...]
    seconds: dict[int, float]
    worker: dict[int, int]
    others: float
    driver: float

    @property
    def busy(self) -> list[float]:
        """Seconds of every worker, the busiest first."""
        found: dict[int, float] = defaultdict(float)
        for number, worker in self.worker.items():
            found[worker] += self.seconds[number]
        return sorted(found.values(), reverse=True)

    @property
    def traces(self) -> int:
        """Pairs of a worker and a program that it had."""
        return len({(self.worker[job.number], job.program) for job in self.jobs})


def timed(job: Job) -> Columns:
    """Compute a job and tell the seconds of processors, and by whom; runs in a worker."""
    began = process_time()
    found = compute(job)
    taken = process_time() - began
    return {
        **found,
        "processor": np.full(job.count, taken),
        "worker": np.full(job.count, os.getpid()),
    }


def dealing_spec(cells: int) -> Spec:
    """A sweep of about so many cells over eight programs.

    Example:
        >>> dealing_spec(20_480).num_cells
        20480
    """
    axes = {
        "K": {"from": 3, "to": 6},
        "d": 64,
        "lambda_b": ["none", 0.1],
        "c": {"from": 0.01, "to": 0.9, "num": 16, "scale": "log"},
        "seed": {"from": 0, "to": max(cells // 128, 1) - 1},
    }
    return make_spec({"name": "dealing", "task": "verdict", "axes": axes})


def by_workers(spec: Spec, workers: int, batch: int = sweep.BATCH) -> Run:
    """Compute a sweep by worker processes, without keeping its table."""
    from experiments.sweep.cluster import ClusterExecutor

    cells = cells_of(spec)
    cut = batches(cells, batch)
    done: list[Job] = []
    seconds, worker = {}, {}
    with TemporaryDirectory() as folder:
        jobs = list(jobs_of(spec, cells, cut, cut, Strategies(Path(folder))))
        before, began = getrusage(RUSAGE_CHILDREN), process_time()
        for job, columns in ClusterExecutor(None, workers, timed)(jobs):
            if not done:
                began = process_time()  # by then the cluster is there
            done.append(replace(job, work=None))  # type: ignore[arg-type]
            seconds[job.number] = float(columns["processor"][0])
            worker[job.number] = int(columns["worker"][0])
        driver = process_time() - began
        after = getrusage(RUSAGE_CHILDREN)
    used = after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime
    others = (used - sum(seconds.values())) / workers
    return Run(tuple(done), seconds, worker, others, driver / max(len(done) - 1, 1))


def in_order(jobs: Sequence[Job]) -> list[Job]:
    """The jobs as the sweep has them, whoever was done first."""
    return sorted(jobs, key=lambda job: job.number)


def dealing(row: str, cells: int, settings: Settings) -> list[Record]:
    """Seconds of the busier one of two workers: as it ran, and simulated from a run of one.

    Args:
        row: name of the row.
        cells: of the sweep, an eighth with quick settings.
        settings: how long it may take.
    """
    spec = dealing_spec(cells // 8 if settings.quick else cells)
    batch = sweep.BATCH // 8 if settings.quick else sweep.BATCH
    by_workers(spec, 1, batch)  # programs are compiled and kept
    one, two = by_workers(spec, 1, batch), by_workers(spec, 2, batch)
    costs = replace(costs_of(one.jobs, one.seconds), start=one.others, driver=one.driver)
    played = simulated(in_order(one.jobs), costs, 2)
    foreseen = max(played.busy.values())
    off = foreseen / two.busy[0] - 1
    work = f"{spec.num_cells:,} cells in {len(one.jobs)} batches, the busier of two workers"
    note = (
        f"{sum(two.busy):.1f} s in all, {two.traces} traces of 8 programs; one worker "
        f"{one.busy[0]:.1f} s; a worker takes {one.others:.1f} s beside its jobs, the driver "
        f"{1e3 * one.driver:.0f} ms a job"
    )
    timing = Timing(two.busy[0], two.busy[0], 1, None)
    own = measured(row, work, RAN, timing, solved=len(two.jobs) == len(one.jobs), note=note)
    note = f"{sum(played.busy.values()):.1f} s in all, {played.traces} traces; off by {off:+.1%}"
    timing = Timing(foreseen, foreseen, 1, None)
    other = measured(row, work, SIMULATED, timing, own.seconds, note=note)
    other = replace(against(other, 1 - WITHIN), reached=abs(off) <= WITHIN)
    return [own, other, *beyond(row, spec.num_cells, in_order(one.jobs), costs)]


def beyond(row: str, cells: int, jobs: Sequence[Job], costs: Costs) -> list[Record]:
    """A longer sweep by more workers than there are here, simulated: seconds from start to end."""
    more, costs = enlarged(jobs, costs, TIMES)
    work = f"{TIMES * cells:,} cells in {len(more)} batches, simulated from those times"
    alone = simulated(more, costs, 1).makespan
    records = []
    for many in MANY:
        kept = simulated(more, costs, many)
        loose = simulated(more, costs, many, window=1, far=1)
        died = simulated(more, costs, many, deaths=[kept.makespan / 2])
        timing = Timing(kept.makespan, kept.makespan, 1, None)
        note = (
            f"efficiency {alone / (many * kept.makespan):.0%}, {kept.traces} traces; without "
            f"affinity {loose.makespan:.3g} s, {alone / (many * loose.makespan):.0%}, "
            f"{loose.traces}; one dies half way: {died.makespan:.3g} s"
        )
        records.append(measured(row, work, f"{many} workers", timing, note=note))
    return records
