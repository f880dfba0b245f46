"""How alike the networks of a comparison are: their predictions and their features."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from experiments.networks.comparison.plan import Cell
from experiments.networks.measures.similarity import linear_cka
from experiments.networks.runs import Run
from ufm.errors import InputError
from ufm.typing import Array


@dataclass(frozen=True, eq=False)
class Likeness:
    """Means over pairs of different seeds, so that the diagonal says what a seed alone does.

    Attributes:
        losses: labels of rows and columns.
        width: of the networks.
        agreement: share of equal predictions on the test split, (L, L).
        cka: debiased linear CKA of the features on it, (L, L).
        pairs: pairs of runs behind every entry, (L, L); nan above where there is none.
    """

    losses: tuple[str, ...]
    width: float
    agreement: Array
    cka: Array
    pairs: npt.NDArray[np.intp]


def likeness(runs: Mapping[Cell, Run], width: float) -> Likeness:
    """Compare every two finished runs of one width that have different seeds.

    "Equivalent features" means off-diagonal entries as large as those on the diagonal.

    Args:
        runs: of a comparison.
        width: which networks.
    """
    chosen = [
        (cell, run.assessment.answers)
        for cell, run in runs.items()
        if cell.width == width and run.assessment is not None and run.assessment.answers
    ]
    losses = tuple(dict.fromkeys(cell.loss.label for cell, _ in chosen))
    size = len(losses)
    sums, counts = np.zeros((2, size, size)), np.zeros((2, size, size), np.intp)
    for i, (one, first) in enumerate(chosen):
        for other, second in chosen[:i]:
            if one.seed == other.seed:
                continue
            a, b = losses.index(one.loss.label), losses.index(other.loss.label)
            values = np.mean(first["guesses"] == second["guesses"]), _cka(first, second)
            for k, value in enumerate(values):
                if np.isfinite(value):
                    for place in {(a, b), (b, a)}:
                        sums[k][place] += value
                        counts[k][place] += 1
    means = np.divide(sums, counts, np.full(sums.shape, np.nan), where=counts > 0)
    return Likeness(losses, width, means[0], means[1], counts[0])


def _cka(
    first: Mapping[str, npt.NDArray[np.generic]], second: Mapping[str, npt.NDArray[np.generic]]
) -> float:
    try:
        return linear_cka(first["features"], second["features"], debiased=True)
    except InputError:  # features that do not vary
        return float("nan")
