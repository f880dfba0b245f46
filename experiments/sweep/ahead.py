"""Which job a worker gets next: one whose program it has traced already, where there is one."""

from __future__ import annotations

from collections.abc import Iterable
from itertools import islice

from experiments.sweep.run import Job

# Jobs that are looked at, so that a sweep is never in memory as a whole.
WINDOW = 32


class Ahead:
    """The jobs to come, dealt out so that few workers trace the same program.

    A process needs a second or two to trace the program of a shape, however many cells it then
    computes: as much as a batch takes. A worker gets the first job of a program it has, else of
    one that no worker has, else the first.

    Args:
        jobs: in the order in which a single worker gets them.
        window: jobs to choose from.

    Example:
        >>> Ahead([]).take("tcp://here") is None
        True
    """

    def __init__(self, jobs: Iterable[Job], window: int = WINDOW) -> None:
        self._jobs, self._window = iter(jobs), window
        self._near: list[Job] = []
        self._traced: dict[object, str] = {}

    def take(self, worker: str) -> Job | None:
        """The next job for a worker, by its address; None when all are dealt out."""
        self._near += islice(self._jobs, self._window - len(self._near))
        if not self._near:
            return None

        def distance(place: int) -> int:
            owner = self._traced.get(self._near[place].program)
            return 0 if owner == worker else 1 if owner is None else 2

        job = self._near.pop(min(range(len(self._near)), key=distance))
        self._traced.setdefault(job.program, worker)
        return job
