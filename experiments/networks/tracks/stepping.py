"""Epochs of a track's own training, kept in a folder so that a kill changes no number."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from experiments.files import set_aside
from experiments.lock import locked
from experiments.networks.tracks.track import STOPPED, Cell, key_of
from experiments.networks.training.checkpoint import (
    MANIFEST,
    has_checkpoint,
    load_checkpoint,
    save_checkpoint,
)
from ufm.errors import InputError

# A record: lists of numbers by name.
Record = Mapping[str, list[float]]
Epoch = Callable[[Any, int], tuple[Any, Record]]


def stepped(
    state: Any, epochs: int, epoch: Epoch, folder: Path, key: str, every: int = 1
) -> tuple[Any, list[Record]]:
    """The state after the last epoch, and the record of every epoch.

    Stops after an epoch whose record has a number that is not finite. A checkpoint that is damaged,
    or of something else, is set aside, and everything begun anew.

    Args:
        state: before the first epoch, a tree of arrays.
        epochs: how many.
        epoch: (state, number from 0) -> state, record; all that is random in it comes from the
            number.
        folder: for the checkpoint; one that is there is resumed.
        key: says what is trained, see ``state_key``.
        every: epochs between checkpoints.

    Raises:
        InputError: another process trains in the folder, or it cannot be written to.

    Example:
        >>> import tempfile
        >>> where = Path(tempfile.mkdtemp())
        >>> stepped({}, 2, lambda state, k: (state, {"loss": [k / 2]}), where, "5eed")[1]
        [{'loss': [0.0]}, {'loss': [0.5]}]
    """
    records: list[Record] = []
    with locked(folder, "Another process trains in this folder"):
        if has_checkpoint(folder):
            try:
                state, about = load_checkpoint(folder, key, state)
                records = list(about["records"])
            except InputError:
                set_aside(folder / MANIFEST)
        while len(records) < epochs and all(map(_finite, records[-1:])):
            state, record = epoch(state, len(records))
            records.append(record)
            if len(records) % every == 0 or len(records) == epochs:
                save_checkpoint(folder, key, state, {"records": records})
    return state, records


def state_key(options: Any, cell: Cell) -> str:
    """What the state of a cell belongs to: all options but the number of seeds.

    Example:
        >>> from experiments.networks.tracks.options import ReduNetOptions
        >>> cells = Cell("a", "b", 0), Cell("a", "b", 1)
        >>> keys = [state_key(ReduNetOptions(seeds=n), c) for n in (1, 2) for c in cells]
        >>> keys[0] == keys[2], keys[0] == keys[1]
        (True, False)
    """
    own = {key: value for key, value in vars(options).items() if key != "seeds"}
    return f"{key_of(type(options).__name__, cell.case, cell.method, cell.seed, own):08x}"


def finished(records: list[Record], epochs: int) -> bool:
    """Whether all epochs were done and their numbers are finite.

    Example:
        >>> finished([{"loss": [0.5]}], 1), finished([{"loss": [math.nan]}], 1)
        (True, False)
    """
    return len(records) == epochs and all(map(_finite, records))


def _finite(record: Record) -> bool:
    return all(math.isfinite(x) for values in record.values() for x in values)


def stopped(records: list[Record]) -> dict[str, float]:
    """The numbers of a cell whose last record has one that is not finite.

    Example:
        >>> stopped([{"loss": [0.5]}, {"loss": [math.nan]}])
        {'stopped_after': 2}
    """
    return {STOPPED: len(records)}
