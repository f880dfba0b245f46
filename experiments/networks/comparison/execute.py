"""Perform the runs of a comparison, in this process or in several."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import as_completed
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path

from experiments.networks.comparison.plan import Cell
from experiments.networks.data import Dataset
from experiments.networks.runs import DataRequest, OtherSet, Run, other_sets, perform, read_run
from experiments.pool import Pool, WorkerEnded
from ufm.errors import InputError, require_count

# Called with the runs done so far, and how many there are.
Say = Callable[[int, int], None]


@dataclass(frozen=True)
class Failure:
    """A run that could not be performed, and why."""

    cell: Cell
    message: str


def execute(
    cells: Sequence[Cell],
    folder: Path,
    *,
    others: tuple[str, ...] = (),
    workers: int = 1,
    say: Say = lambda done, total: None,
    provenance: Mapping[str, str] | None = None,
) -> tuple[dict[Cell, Run], tuple[Failure, ...]]:
    """Perform every run in a folder of its own; those that are done are only read.

    A run that fails does not stop the others. A run does not depend on how many processes there
    are, nor on which of them performs it.

    Args:
        cells: of a ``Plan``.
        folder: of the comparison; a run's is ``folder / cell.folder``.
        others: names of data sets that the networks are probed on, see ``other_sets``.
        workers: processes, >= 1; 1 works in this one.
        say: told after every run.
        provenance: kept with every run.

    Returns:
        The runs in the order of the cells, and the failures.

    Raises:
        InputError: the data or the other sets cannot be loaded, or every run failed.
    """
    require_count(workers, "workers", 1, "use one process or more")
    for request in dict.fromkeys(cell.request.data for cell in cells):
        _loaded(request, others)  # what is wrong with the data is said once, before any training
    told: dict[Cell, str] = {}
    pending = []
    for cell in cells:
        if _is_done(folder / cell.folder):
            told[cell] = ""
        else:
            pending.append(cell)
    say(len(told), len(cells))

    def note(cell: Cell, message: str) -> None:
        told[cell] = message
        say(len(told), len(cells))

    made = dict(provenance or {})
    if workers == 1 or len(pending) < 2:
        for cell in pending:
            note(cell, _perform(cell, folder, others, made))
    else:
        _spread(pending, folder, others, made, workers, note)
    failures = tuple(Failure(cell, message) for cell, message in told.items() if message)
    if len(failures) == len(cells):
        raise InputError("Need runs that can be performed", failures[0].message, "see above")
    return {cell: read_run(folder / cell.folder) for cell in cells if not told[cell]}, failures


def _spread(
    cells: Sequence[Cell],
    folder: Path,
    others: tuple[str, ...],
    provenance: Mapping[str, str],
    workers: int,
    note: Callable[[Cell, str], None],
) -> None:
    with Pool(workers) as pool:
        jobs = {pool.submit(_perform, cell, folder, others, provenance): cell for cell in cells}
        for job in as_completed(jobs):
            try:
                message = job.result()
            except WorkerEnded as error:  # its checkpoint keeps what was done
                message = str(error)
            note(jobs[job], message)


def _perform(
    cell: Cell, folder: Path, others: tuple[str, ...], provenance: Mapping[str, str]
) -> str:
    """Perform one run; the message of its failure, or none."""
    try:
        dataset, sets = _loaded(cell.request.data, others)
        perform(cell.request, dataset, folder / cell.folder, others=sets, provenance=provenance)
    except InputError as error:
        return str(error)
    return ""


@lru_cache(maxsize=2)
def _loaded(request: DataRequest, others: tuple[str, ...]) -> tuple[Dataset, tuple[OtherSet, ...]]:
    dataset = request.load()
    return dataset, other_sets(dataset, others)


def _is_done(folder: Path) -> bool:
    """Whether a run is there and finished; what is wrong with it shows when it is performed."""
    try:
        return read_run(folder).finished
    except InputError:
        return False
