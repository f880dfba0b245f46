"""How the cells of a shape are computed: measured once on a machine, and kept with the sweep."""

from __future__ import annotations

import os
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Any

import jax

from experiments.files import DamagedFile, accessible, cache_folder, read_record, write_record

# Cells that step together on a CPU where nothing was measured (fastest at K = 10, d = 16).
SLOTS = 16
# What is compared where a shape has so many batches that it pays: another program takes three
# seconds to compile, a batch at K = 10 a tenth of one.
CANDIDATES, MEASURE_FROM = (1, SLOTS), 64
NAME = "strategies.json"


class Strategies:
    """The strategies of a sweep, by shape, platform and number of devices.

    Sums in another order differ in the last bits. So a sweep that is gone on with does not choose
    again (its folder has the file), and two sweeps on one machine choose alike (the file in the
    user's cache, under the versions that were measured).

    Args:
        folder: of the sweep.

    Raises:
        InputError: a damaged file in the folder of the sweep.
    """

    def __init__(self, folder: Path) -> None:
        self.path = folder / NAME
        with accessible(self.path, "Need a whole file of strategies", "remove it"):
            self.chosen = read_strategies(self.path)

    def choose(
        self, shape: Any, size: int, num_batches: int, seconds: Callable[[int], float]
    ) -> tuple[int, bool]:
        """(slots, together) of a shape; many batches of one shape pay for a measurement.

        Args:
            shape: what fixes the program.
            size: cells in a batch.
            num_batches: of this shape.
            seconds: time of a batch for a number of slots, compilation apart.
        """
        platform, devices = jax.default_backend(), jax.device_count()
        name = "/".join(map(str, (*shape, platform, devices)))
        if name not in self.chosen:
            if platform != "cpu":
                # Every model of a device's share has a slot at once.
                found: dict[str, Any] = {"slots": -(-size // devices), "together": True}
            elif num_batches < MEASURE_FROM:
                found = {"slots": SLOTS, "together": False}
            else:
                found = _measured(name, seconds)
            self.chosen[name] = found
            write_record(self.path, self.chosen)
        return int(self.chosen[name]["slots"]), bool(self.chosen[name]["together"])


def _measured(name: str, seconds: Callable[[int], float]) -> dict[str, Any]:
    """The fastest of the candidates, from the cache of this machine or by trying them."""
    key = f"{name}/jax {jax.__version__}/{os.cpu_count()} cores"
    folder = cache_folder()
    try:
        known = {} if folder is None else read_strategies(folder / NAME)
    except OSError:
        known = {}  # measured again
    if key not in known:
        took = {slots: seconds(slots) for slots in CANDIDATES}
        best = min(took, key=lambda slots: took[slots])
        known[key] = {"slots": best, "together": False, "seconds": took}
        if folder is not None:
            with suppress(OSError):  # full, say: measured again by the next sweep
                write_record(folder / NAME, known)
    found: dict[str, Any] = known[key]
    return found


def read_strategies(path: Path) -> dict[str, Any]:
    """The strategies of a file by shape, none where there is no file.

    Raises:
        OSError: it cannot be read, or is damaged.
    """
    if not path.exists():
        return {}
    read = read_record(path)
    for known in read.values():
        if not (isinstance(known, dict) and {"slots", "together"} <= set(known)):
            raise DamagedFile(path)
    return read
