"""Epochs of a track's own training, kept in a folder so that a kill changes no number."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from experiments.files import locked
from experiments.networks.training.checkpoint import (
    has_checkpoint,
    load_checkpoint,
    save_checkpoint,
)

# A record: lists of numbers by name.
Record = Mapping[str, list[float]]
Epoch = Callable[[Any, int], tuple[Any, Record]]


def stepped(
    state: Any, epochs: int, epoch: Epoch, folder: Path, key: str, every: int = 1
) -> tuple[Any, list[Record]]:
    """The state after the last epoch, and the record of every epoch.

    Stops after an epoch whose record has a number that is not finite.

    Args:
        state: before the first epoch, a tree of arrays.
        epochs: how many.
        epoch: (state, number from 0) -> state, record; all that is random in it comes from the
            number.
        folder: for the checkpoint; one that is there is resumed.
        key: says what is trained, see ``load_checkpoint``.
        every: epochs between checkpoints.

    Raises:
        InputError: a checkpoint that is damaged or belongs to something else.

    Example:
        >>> import tempfile
        >>> where = Path(tempfile.mkdtemp())
        >>> stepped({}, 2, lambda state, k: (state, {"loss": [k / 2]}), where, "5eed")[1]
        [{'loss': [0.0]}, {'loss': [0.5]}]
    """
    records: list[Record] = []
    with locked(folder, "Another process trains in this folder"):
        if has_checkpoint(folder):
            state, about = load_checkpoint(folder, key, state)
            records = list(about["records"])
        while len(records) < epochs and all(map(_finite, records[-1:])):
            state, record = epoch(state, len(records))
            records.append(record)
            if len(records) % every == 0 or len(records) == epochs:
                save_checkpoint(folder, key, state, {"records": records})
    return state, records


def finished(records: list[Record], epochs: int) -> bool:
    """Whether all epochs were done and their numbers are finite.

    Example:
        >>> finished([{"loss": [0.5]}], 1), finished([{"loss": [math.nan]}], 1)
        (True, False)
    """
    return len(records) == epochs and all(map(_finite, records))


def _finite(record: Record) -> bool:
    return all(math.isfinite(x) for values in record.values() for x in values)
