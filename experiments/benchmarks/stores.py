"""A store of many rows: opening and filtering it, and what a resumed sweep looks for."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np

from experiments.benchmarks.record import Record, measured, within
from experiments.benchmarks.timing import Settings, alternate
from experiments.sweep.cells import batches
from experiments.sweep.run import BATCH, LocalExecutor, cells_of, jobs_of
from experiments.sweep.spec import make_spec
from experiments.sweep.store import Store
from experiments.sweep.strategies import Strategies
from experiments.sweep.tasks.registry import Columns

STORE = "ufm-lab store"
# Rows that differ in what they are filtered by: so many values of K, each in its own batches.
VALUES = 8


def sample(folder: Path) -> Columns:
    """The rows of one whole batch of verdicts, computed.

    Args:
        folder: for the strategies of that sweep.
    """
    axes = {"K": 3, "d": 4, "n": 2, "c": {"from": 0.1, "to": 0.9, "num": BATCH}}
    spec = make_spec({"task": "verdict", "axes": axes})
    cells = cells_of(spec)
    cut = batches(cells, BATCH)
    jobs = jobs_of(spec, cells, cut, cut, Strategies(folder))
    return next(iter(LocalExecutor(1)(jobs)))[1]


def filled(folder: Path, rows: int, pattern: Columns) -> Store:
    """A store of so many rows, which repeat those of a batch under other numbers and K."""
    size = len(pattern["cell"])
    count = -(-rows // size)
    manifest = {"key": "rows", "num_batches": count, "num_cells": count * size}
    store = Store.create(folder, manifest)
    with store.lock():
        for number in range(count):
            cell = np.arange(number * size, (number + 1) * size)
            K = np.full(size, 3 + number % VALUES)
            store.write(number, {**pattern, "cell": cell, "K": K})
    return store


def rows_of_store(
    row: str, rows: int, limits: tuple[float, float], settings: Settings
) -> list[Record]:
    """Open and filter a store, and scan it as a resumed sweep does; its making is not timed.

    Args:
        row: name of the row.
        rows: how many; a fiftieth of them if quick.
        limits: seconds for opening and filtering, and for the scan.
        settings: quick means fewer rows.

    Example:
        >>> quick = Settings(quick=True, repeats=1)
        >>> [x.wrong for x in rows_of_store("store", 200_000, (3.0, 1.0), quick)]
        [False, False]
    """
    rows = rows // 50 if settings.quick else rows
    with TemporaryDirectory() as name:
        folder = Path(name, "store")
        pattern = sample(Path(name))
        store = filled(folder, rows, pattern)
        batches_there = int(store.manifest["num_batches"])
        inside = int(np.sum((pattern["c"] >= 0.1) & (pattern["c"] <= 0.2)))
        expected = inside * len([n for n in range(batches_there) if n % VALUES == 4])
        reads: dict[str, Callable[[], Any]] = {
            "open and filter": lambda: Store.open(folder).table(where={"K": 7, "c": (0.1, 0.2)}),
            "resume scan": lambda: Store.open(folder).scan(),
        }
        timed = alternate(reads, settings, frozenset())
    rights = {
        "open and filter": len(timed["open and filter"].result["cell"]) == expected,
        "resume scan": len(timed["resume scan"].result.present) == batches_there,
    }
    records = []
    for (name, timing), limit in zip(timed.items(), limits, strict=True):
        work = f"{name}, {store.manifest['num_cells']:,} rows"
        note = f"{batches_there:,} files of {len(pattern):,} columns"
        wrong = not rights[name]
        made = measured(row, work, STORE, timing, wrong=wrong, solved=not wrong, note=note)
        records.append(within(made, limit, timing.seconds))
    return records
