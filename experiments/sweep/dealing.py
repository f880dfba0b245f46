"""Which worker gets which job of a sweep; the cluster and its simulation both ask here."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping
from itertools import islice

from experiments.sweep.run import Job
from ufm.errors import InputError

# Jobs in flight per worker thread: one computes, one waits.
IN_FLIGHT = 2
# Jobs that are looked at to choose one, and where all of those are of programs that others have, so
# that a sweep is never in memory as a whole.
WINDOW, FAR = 32, 512


class Dealer:
    """The jobs to come, dealt out so that few workers trace the same program.

    A process needs a second or two to trace the program of a shape, however many cells it then
    computes: as much as a batch takes. A worker gets the first job of a program it has, else of
    the one that fewest workers have.

    Args:
        jobs: in the order in which a single worker gets them.
        window: jobs to choose from.
        far: jobs to look through for one that nobody else has begun the program of; both 1 is
            dealing without affinity.

    Example:
        >>> Dealer([]).more()
        False
    """

    def __init__(self, jobs: Iterable[Job], window: int = WINDOW, far: int = FAR) -> None:
        self._jobs, self._window, self._far = iter(jobs), window, far
        self._near: list[Job] = []
        self._traced: dict[object, set[str]] = {}

    def more(self) -> bool:
        """Whether there are jobs to deal out."""
        self._near += islice(self._jobs, max(0, self._window - len(self._near)))
        return bool(self._near)

    def take(self, worker: str) -> Job:
        """The next job for a worker, by its address.

        Raises:
            InputError: all are dealt out.
        """
        if not self.more():
            raise InputError("Need jobs to deal out", "none left", "ask for more() first")
        left = Counter(job.program for job in self._near)

        def distance(place: int) -> tuple[int, float]:
            program = self._near[place].program
            having = self._traced.get(program, ())
            if worker in having:
                return 0, 0.0
            # To take over pays most where most is left for each.
            return (2, -left[program] / len(having)) if having else (1, 0.0)

        best = min(range(len(self._near)), key=distance)
        while distance(best)[0] == 2 and len(self._near) < self._far:
            following = next(self._jobs, None)
            if following is None:
                break
            self._near.append(following)
            left[following.program] += 1
            best = min(best, len(self._near) - 1, key=distance)
        job = self._near.pop(best)
        self._traced.setdefault(job.program, set()).add(worker)
        return job


def roomiest(threads: Mapping[str, int], busy: Iterable[str]) -> str | None:
    """The worker with most room, None if all are busy or there is none.

    Args:
        threads: of every worker, by its address.
        busy: the place of every job in flight.

    Example:
        >>> roomiest({"a": 1, "b": 1}, ["a"]), roomiest({"a": 1}, ["a", "a"]), roomiest({}, [])
        ('b', None, None)
    """
    load = Counter(busy)
    free = {worker: IN_FLIGHT * many - load[worker] for worker, many in threads.items()}
    best = max(free, key=lambda worker: free[worker], default=None)
    return None if best is None or free[best] <= 0 else best
