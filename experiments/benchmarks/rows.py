"""The rows of the benchmark table, by name."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial

from experiments.benchmarks.curvature import index_large, index_small
from experiments.benchmarks.landscapes import merged_family, whole
from experiments.benchmarks.minimum import gap, minimum, spectrum
from experiments.benchmarks.proofs import proofs
from experiments.benchmarks.record import Record
from experiments.benchmarks.sweeps import instances, large, large_spec, scaling
from experiments.benchmarks.timing import Settings

SMALL, LARGE = (10, 16, 10), (100, 128, 10)
# Merged-class saddles of rank 1, 49 and 98 among 100 classes.
GROUPINGS = ((50, 50), (2,) * 50, (2,) + (1,) * 98)

ROWS: dict[str, Callable[[Settings], list[Record]]] = {
    "minimum-small": partial(minimum, "minimum-small", SMALL, (500.0, 2.0)),
    "minimum-large": partial(minimum, "minimum-large", LARGE, (200.0, 5.0)),
    "index-small": partial(index_small, "index-small", SMALL),
    "index-large": partial(index_large, "index-large", (100, 128, 78), GROUPINGS),
    "spectrum-imagenet": partial(spectrum, "spectrum-imagenet", (1000, 2048, 1281)),
    "gap-1000": partial(gap, "gap-1000", (1000, 2048, 1281)),
    "proofs": partial(proofs, "proofs", ((5, 6), (10, 10), (15, 16))),
    "atlas-4": partial(whole, "atlas-4", 4, 1.0),
    "atlas-5": partial(whole, "atlas-5", 5, 3.0),
    "atlas-6": partial(whole, "atlas-6", 6, 30.0),
    "merged-100": partial(merged_family, "merged-100", 100, 10.0),
    "sweep-512": partial(instances, "sweep-512", SMALL, 512),
    "sweep-scaling": partial(scaling, "sweep-scaling", large_spec, 50_000),
    "sweep-100k": partial(large, "sweep-100k", 100_000, 600.0),
}
