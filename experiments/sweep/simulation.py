"""What more workers would bring: a sweep played through with the costs of one that was run.

Time is made up, the dealing is not: jobs go to workers as ``experiments.sweep.dealing`` says, which
is what a real run asks. A worker computes one job at a time, and traces a program at its first job
of it; the process that deals and writes does one thing at a time, too.
"""

from __future__ import annotations

import heapq
from collections import defaultdict, deque
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from statistics import median
from typing import Any

import numpy as np

from experiments.sweep.dealing import FAR, WINDOW, Dealer, roomiest
from experiments.sweep.run import Job
from experiments.sweep.workers import MENDING
from ufm.errors import InputError, require_count


@dataclass(frozen=True)
class Costs:
    """Seconds that the parts of a sweep take.

    Attributes:
        work: of every job, by its number, once its program is there.
        trace: of every program, in each process that meets it.
        start: of a worker, from nothing to its first job.
        driver: of the process that deals and writes, for every job.
        warm: of the first job of a process, beside its trace: what is imported and begun once.
    """

    work: Mapping[int, float]
    trace: Mapping[Any, float]
    start: float = 0.0
    driver: float = 0.0
    warm: float = 0.0


@dataclass(frozen=True)
class Outcome:
    """How a simulated sweep went.

    Attributes:
        makespan: seconds from start to the last job that is written.
        busy: seconds that every worker computed or traced; a successor is another worker.
        traces: (worker, program) pairs, each of which cost a trace.
        lost: jobs that were begun and died with their worker.
        order: numbers of the jobs as they were done.
    """

    makespan: float
    busy: Mapping[str, float]
    traces: int
    lost: int
    order: tuple[int, ...]


@dataclass
class _Worker:
    """A process: what waits for it, what it knows, and what it does."""

    name: str
    waiting: deque[Job] = field(default_factory=deque)
    known: set[Any] = field(default_factory=set)
    now: Job | None = None
    since: float = 0.0


def costs_of(jobs: Sequence[Job], seconds: Mapping[int, float]) -> Costs:
    """Costs from a run that computed jobs one after the other in one process.

    The first job of a program is longer than the median of the others by its trace. By how much
    the very first trace exceeds the median of the others is what a process takes once. Of a program
    with a single job nothing tells trace and work apart: its trace is the median of the others' and
    at most what the job took.

    Args:
        jobs: with their programs, in the order in which they ran.
        seconds: that each took, by its number.

    Raises:
        InputError: jobs without seconds.

    Example:
        >>> jobs = [Job(i, 1, "verdict", None, ("a",)) for i in range(3)]
        >>> costs = costs_of(jobs, {0: 5.0, 1: 2.0, 2: 2.0})
        >>> costs.work[0], costs.trace[("a",)]
        (2.0, 3.0)
    """
    absent = [job.number for job in jobs if not np.isfinite(seconds.get(job.number, np.nan))]
    if absent:
        rule = "Need the seconds of every job"
        raise InputError(rule, f"none for {len(absent)} of {len(jobs)}", "finish the sweep first")
    by: dict[Any, list[int]] = {}
    for job in jobs:
        by.setdefault(job.program, []).append(job.number)
    trace = {
        program: max(0.0, seconds[numbers[0]] - median(seconds[i] for i in numbers[1:]))
        for program, numbers in by.items()
        if len(numbers) > 1
    }
    begun = jobs[0].program if jobs else None
    rest = [seconds for program, seconds in trace.items() if program != begun]
    usual = median(rest or trace.values()) if trace else 0.0
    warm = max(0.0, trace[begun] - usual) if rest and begun in trace else 0.0
    if warm:
        trace[begun] = usual
    work = dict(seconds)
    for program, numbers in by.items():
        first = numbers[0]
        trace.setdefault(program, min(usual, seconds[first]))
        once = warm if program == begun else 0.0
        work[first] = seconds[first] - trace[program] - once
    return Costs(work, trace, warm=warm)


def enlarged(jobs: Sequence[Job], costs: Costs, times: int) -> tuple[list[Job], Costs]:
    """The same sweep with so many times the cells of every program, whose work is as measured.

    Example:
        >>> jobs = [Job(i, 1, "verdict", None, ("ab"[i],)) for i in range(2)]
        >>> more, _ = enlarged(jobs, Costs({0: 1.0, 1: 2.0}, {}), 2)
        >>> [(job.number, job.program) for job in more]
        [(0, ('a',)), (1, ('a',)), (2, ('b',)), (3, ('b',))]
    """
    require_count(times, "times", 1, "give how many times as long the sweep is")
    by: dict[Any, list[Job]] = {}
    for job in jobs:
        by.setdefault(job.program, []).append(job)
    origins = [job for members in by.values() for _ in range(times) for job in members]
    more = [replace(job, number=number) for number, job in enumerate(origins)]
    work = {number: costs.work[job.number] for number, job in enumerate(origins)}
    return more, replace(costs, work=work)


def simulated(
    jobs: Sequence[Job],
    costs: Costs,
    workers: int,
    *,
    window: int = WINDOW,
    far: int = FAR,
    deaths: Sequence[float] = (),
) -> Outcome:
    """Play a sweep through.

    Args:
        jobs: in the order of the sweep.
        costs: what everything takes.
        workers: processes of one thread.
        window: of the dealer.
        far: of the dealer; both 1 is dealing without affinity.
        deaths: times at which the worker that has been at its job longest is killed. Its jobs go to
            the workers with the fewest, and a successor that knows nothing begins to start.

    Returns:
        The outcome; every job is done once.

    Raises:
        InputError: no worker.

    Example:
        >>> jobs = [Job(i, 1, "verdict", None, ("aabb"[i],)) for i in range(4)]
        >>> costs = Costs(dict.fromkeys(range(4), 1.0), {("a",): 2.0, ("b",): 2.0})
        >>> simulated(jobs, costs, 1).makespan, simulated(jobs, costs, 2).makespan
        (8.0, 4.0)
        >>> simulated(jobs, costs, 2, window=1, far=1).makespan  # without affinity
        6.0
    """
    require_count(workers, "workers", 1, "start one or more")
    return _Play(costs, Dealer(jobs, window, far)).run(workers, deaths)


class _Play:
    """The state of a simulation: a clock, the workers and what is to happen."""

    def __init__(self, costs: Costs, dealer: Dealer) -> None:
        self.costs, self.dealer = costs, dealer
        self.workers: dict[str, _Worker] = {}
        self.orphans: deque[Job] = deque()  # whose worker died, and there was no other
        self.places: dict[int, str] = {}  # of the jobs in flight, as the driver has them
        self.busy: dict[str, float] = defaultdict(float)
        self.traces = self.lost = self.born = 0
        self.order: list[int] = []
        self.driven = 0.0  # when the driver is done with what it has heard of
        # (time, its place among equal times, what happens then)
        self.events: list[tuple[float, int, Callable[[float], None]]] = []
        self.number = 0

    def run(self, workers: int, deaths: Sequence[float]) -> Outcome:
        """Let everything happen in order."""
        for _ in range(workers):
            self.bear(0.0)
        for moment in deaths:
            self.at(moment, self.die)
        while self.events:
            now, _, happens = heapq.heappop(self.events)
            happens(now)
        return Outcome(self.driven, dict(self.busy), self.traces, self.lost, tuple(self.order))

    def at(self, moment: float, happens: Callable[[float], None]) -> None:
        self.number += 1
        heapq.heappush(self.events, (moment, self.number, happens))

    def bear(self, now: float) -> None:
        """A worker begins to start."""
        self.born += 1
        name = f"worker {self.born}"

        def born(now: float) -> None:
            self.workers[name] = _Worker(name)
            while self.orphans:
                self.workers[name].waiting.append(self.orphans.popleft())
            self.begin(self.workers[name], now)
            self.at(now, self.deal)  # once all are there that come at this moment

        self.at(now + self.costs.start, born)

    def deal(self, now: float) -> None:
        """What the driver does whenever it hears something (``cluster._Drive``)."""
        threads = dict.fromkeys(self.workers, 1)
        while self.dealer.more():
            place = roomiest(threads, self.places.values())
            if place is None:
                return
            job = self.dealer.take(place)
            self.places[job.number] = place
            self.submit(job, place, now)

    def submit(self, job: Job, place: str, now: float) -> None:
        """The scheduler has a job: its worker gets it, else the one with the fewest."""
        worker = self.workers.get(place)
        if worker is None and self.workers:
            worker = min(self.workers.values(), key=lambda w: len(w.waiting) + (w.now is not None))
        if worker is None:
            self.orphans.append(job)
            return
        worker.waiting.append(job)
        self.begin(worker, now)

    def begin(self, worker: _Worker, now: float) -> None:
        """A worker that has nothing to do takes what waits for it."""
        if worker.now is not None or not worker.waiting:
            return
        job = worker.waiting.popleft()
        worker.now, worker.since = job, now
        taken = self.costs.work[job.number] + (0.0 if worker.known else self.costs.warm)
        if job.program not in worker.known:
            worker.known.add(job.program)
            self.traces += 1
            taken += self.costs.trace[job.program]

        def done(now: float) -> None:
            if self.workers.get(worker.name) is None:
                return  # it died over this job
            self.busy[worker.name] += now - worker.since
            worker.now = None
            self.begin(worker, now)
            self.driven = max(self.driven, now) + self.costs.driver
            self.at(self.driven, heard)

        def heard(now: float) -> None:
            self.order.append(job.number)
            del self.places[job.number]
            self.deal(now)

        self.at(now + taken, done)

    def die(self, now: float) -> None:
        """The worker that has been at its job longest is killed, whatever waits for it."""
        at_work = [worker for worker in self.workers.values() if worker.now is not None]
        if not at_work:
            return
        dead = min(at_work, key=lambda worker: worker.since)
        del self.workers[dead.name]
        self.busy[dead.name] += now - dead.since
        self.lost += 1
        for job in (dead.now, *dead.waiting):
            if job is not None:
                self.submit(job, dead.name, now)
        self.bear(now + MENDING)
