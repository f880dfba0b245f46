"""The minimum with unequal class sizes, as `ufm measure` has it: solved for, and its gap."""

from __future__ import annotations

from math import sqrt
from typing import Any

import numpy as np

from experiments.benchmarks.record import Record, measured, within
from experiments.benchmarks.timing import Settings, alternate
from landscape.solvers.by_size import minimum_by_size
from ufm.losses.cross_entropy import CrossEntropy
from ufm.plain.model import UFM

C, GAP = 0.1, 1e-9
SOLVER = "ufm-lab minimum_by_size"
# Samples of an ImageNet class: most have the largest number.
FEWEST, MOST = 732, 1300


def imagenet_counts(classes: int, others: int) -> tuple[int, ...]:
    """Sizes as ImageNet's classes have: nine in ten of 1300, the others each of its own.

    Args:
        classes: K.
        others: classes below 1300, evenly from 732 up.

    Example:
        >>> imagenet_counts(5, 2)
        (732, 1016, 1300, 1300, 1300)
    """
    sizes = np.linspace(FEWEST, MOST, others, endpoint=False).round().astype(int)
    sizes = np.concatenate([sizes[:others], np.full(classes - others, MOST)])
    return tuple(int(size) for size in np.sort(sizes))


def by_size(
    row: str, counts: tuple[int, ...], d: int, limit: float | None, settings: Settings
) -> list[Record]:
    """Cross entropy at c = 0.1 with these counts; the first call counts, it compiles little.

    Example:
        >>> by_size("a", (1, 2, 2), 3, None, Settings(quick=True, repeats=1))[0].wrong
        False
    """
    decay = C / sqrt(len(counts) * sum(counts))
    model = UFM(CrossEntropy(), counts=counts, d=d, lambda_W=decay, lambda_H=decay)
    once: dict[str, Any] = {SOLVER: lambda: minimum_by_size(model)}
    timed = alternate(once, Settings(settings.quick, 0), frozenset())[SOLVER]
    gap = timed.result[2].gap
    work = f"minimum with {len(set(counts))} class sizes, K={len(counts):,} d={d:,}"
    note = f"gap {gap:.1e}"
    record = measured(row, work, SOLVER, timed, solved=gap < GAP, wrong=gap > 1, note=note)
    return [record if limit is None else within(record, limit, timed.first)]
