"""Perform the runs of a comparison, in this process or in several."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import as_completed
from contextlib import contextmanager
from dataclasses import dataclass, replace
from functools import lru_cache
from pathlib import Path
from typing import Any

from experiments.files import accessible, read_record, write_record
from experiments.lock import locked
from experiments.networks.comparison.plan import Cell
from experiments.networks.data import Dataset
from experiments.networks.runs import DataRequest, OtherSet, Run, other_sets, perform, read_run
from experiments.pool import Pool, WorkerEnded
from ufm.errors import InputError, require_count

# What the runs of a folder share; written before any of them.
COMPARISON = "comparison.json"
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

    A run that fails, or kills its process, does not stop the others. A run does not depend on how
    many processes there are, nor on which of them performs it. The folder is that of one process at
    a time, and of runs that differ in nothing but objective, width and seed: more of these may be
    asked for later.

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
        InputError: the data or the other sets cannot be loaded, the folder belongs to another
            comparison or process, or every run failed.
    """
    require_count(workers, "workers", 1, "use one process or more")
    for request in dict.fromkeys(cell.request.data for cell in cells):
        _loaded(request, others)  # what is wrong with the data is said once, before any training
    with _held(folder, cells):
        return _execute(cells, folder, others, workers, say, dict(provenance or {}))


@contextmanager
def _held(folder: Path, cells: Sequence[Cell]) -> Iterator[None]:
    """Keep everybody else out of the folder, from before its first byte on."""
    kinds = {json.dumps(_shared(cell), sort_keys=True) for cell in cells}
    ours = {"kinds": [json.loads(kind) for kind in sorted(kinds)]}
    remedy = "choose another folder, or remove this one"
    with locked(folder, "Only one comparison at a time can use a folder"):
        with accessible(folder, "Need the folder of a comparison", remedy):
            if not (folder / COMPARISON).exists():
                write_record(folder / COMPARISON, ours)
            theirs = read_record(folder / COMPARISON)
        if theirs != ours:
            got = f"{folder}, whose runs have another {_differing(theirs, ours)}"
            raise InputError("The folder belongs to another comparison", got, remedy)
        yield


def _shared(cell: Cell) -> dict[str, Any]:
    """What a run has in common with all others of its comparison."""
    settings = cell.request.settings
    architecture = replace(settings.architecture, width=1.0)
    plain = replace(settings, objective="ce", parameters={}, seed=0, architecture=architecture)
    record = replace(cell.request, settings=plain).record()
    return {**record.pop("settings"), **record}


def _differing(one: Mapping[str, Any], other: Mapping[str, Any]) -> str:
    """Names of what two comparisons have not in common."""
    kinds = one["kinds"], other["kinds"]
    names = dict.fromkeys(name for kind in (*kinds[0], *kinds[1]) for name in kind)
    values = ([[kind.get(name) for kind in side] for side in kinds] for name in names)
    return ", ".join(name for name, (a, b) in zip(names, values, strict=True) if a != b)


def _execute(
    cells: Sequence[Cell],
    folder: Path,
    others: tuple[str, ...],
    workers: int,
    say: Say,
    provenance: Mapping[str, str],
) -> tuple[dict[Cell, Run], tuple[Failure, ...]]:
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

    if workers == 1 or len(pending) < 2:
        for cell in pending:
            note(cell, _perform(cell, folder, others, provenance))
    else:
        _spread(pending, folder, others, provenance, workers, note)
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
