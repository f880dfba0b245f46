"""The rows of the benchmark table, by name."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial

from experiments.benchmarks.agreement import agreement
from experiments.benchmarks.curvature import index_large, index_small
from experiments.benchmarks.dealing import dealing
from experiments.benchmarks.landscapes import merged_family, whole
from experiments.benchmarks.minimum import gap, minimum, spectrum
from experiments.benchmarks.processes import descent, start
from experiments.benchmarks.proofs import proofs
from experiments.benchmarks.record import Record
from experiments.benchmarks.sizes import by_size, imagenet_counts
from experiments.benchmarks.stores import rows_of_store
from experiments.benchmarks.sweeps import instances, large, large_spec, scaling
from experiments.benchmarks.timing import Settings

SMALL, LARGE = (10, 16, 10), (100, 128, 10)
# Merged-class saddles of rank 1, 49 and 98 among 100 classes.
GROUPINGS = ((50, 50), (2,) * 50, (2,) + (1,) * 98)
# Decays at which c is near 0.1; at the defaults of the command these minima are the origin.
DESCENTS = (
    "-K 300 -d 512 -n 50 --lambda 4.7e-5",
    "-K 500 -d 512 -n 50 --lambda 2.8e-5",
    "-K 1000 -d 2048 -n 1281 --lambda 2.8e-6",
)


def _training(row: str, width: float, batch: int, settings: Settings) -> list[Record]:
    # Networks need more packages than the other rows.
    from experiments.benchmarks.training import training

    return training(row, width, batch, settings)


ROWS: dict[str, Callable[[Settings], list[Record]]] = {
    "minimum-small": partial(minimum, "minimum-small", SMALL, (500.0, 3.0)),
    "minimum-large": partial(minimum, "minimum-large", LARGE, (200.0, 5.0)),
    "index-small": partial(index_small, "index-small", SMALL),
    "index-large": partial(index_large, "index-large", (100, 128, 78), GROUPINGS),
    "spectrum-imagenet": partial(spectrum, "spectrum-imagenet", (1000, 2048, 1281)),
    "gap-1000": partial(gap, "gap-1000", (1000, 2048, 1281)),
    "descent-300": partial(descent, "descent-300", DESCENTS[0], 5.0, 1.5),
    "descent-500": partial(descent, "descent-500", DESCENTS[1], 15.0, 1.5),
    "descent-1000": partial(descent, "descent-1000", DESCENTS[2], 60.0, 4.0),
    "sizes-100": partial(by_size, "sizes-100", imagenet_counts(1000, 100), 2048, 120.0),
    "sizes-1000": partial(by_size, "sizes-1000", tuple(range(301, 1301)), 2048, None),
    "start": partial(start, "start", "solve -K 4 -d 5 -n 3", 0.6),
    "convexity": partial(agreement, "convexity", 10_000),
    "proofs": partial(proofs, "proofs", ((5, 6), (10, 10), (15, 16))),
    "atlas-4": partial(whole, "atlas-4", 4, 1.0),
    "atlas-5": partial(whole, "atlas-5", 5, 3.0),
    "atlas-6": partial(whole, "atlas-6", 6, 30.0),
    "merged-100": partial(merged_family, "merged-100", 100, 10.0),
    "sweep-512": partial(instances, "sweep-512", SMALL, 512),
    "sweep-scaling": partial(scaling, "sweep-scaling", large_spec, 50_000),
    "sweep-dealing": partial(dealing, "sweep-dealing", 20_480),
    "sweep-100k": partial(large, "sweep-100k", 100_000, 75.0),
    "resnet18": partial(_training, "resnet18", 1.0, 128),
    "store-1m": partial(rows_of_store, "store-1m", 1_000_000, (3.0, 1.0)),
}
