"""The table of a comparison: every run, means with spread over seeds, and what differs for sure."""

from __future__ import annotations

import itertools
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from experiments.networks.comparison.plan import Cell
from experiments.networks.measures.significance import (
    Interval,
    paired_bootstrap,
    sign_flip_test,
)
from experiments.networks.runs import Run
from experiments.networks.training import Outcome
from ufm.errors import InputError

# Of the statements about differences: the chance of any false one among all contrasts.
LEVEL = 0.05


@dataclass(frozen=True)
class Row:
    """One run in numbers.

    Attributes:
        loss, width, seed: which one.
        outcome: how the training ended.
        numbers: ``Run.final``, and epochs, seconds, epoch_fitted (the first measured epoch without
            train error) and nc1_fall (nc1_geo there over nc1_geo at the end), where they exist.
    """

    loss: str
    width: float
    seed: int
    outcome: Outcome
    numbers: Mapping[str, float]


@dataclass(frozen=True)
class Summary:
    """One number of one objective at one width, over the seeds that have it.

    Attributes:
        mean, std: over the seeds; std with S - 1 in the denominator, nan for one seed.
        num: seeds that have the number.
        num_runs: seeds that were run.
    """

    loss: str
    width: float
    name: str
    mean: float
    std: float
    num: int
    num_runs: int


@dataclass(frozen=True)
class Contrast:
    """The difference of a number between two objectives, paired by width and seed.

    Attributes:
        interval: bootstrap interval of the mean difference, ``first`` minus ``second``.
        p_value: of the sign-flip test.
        adjusted: p-value after Holm's correction for all contrasts of the table.
        num: pairs.
    """

    first: str
    second: str
    interval: Interval
    p_value: float
    adjusted: float
    num: int


def rows(runs: Mapping[Cell, Run]) -> tuple[Row, ...]:
    """One row per run, in the order given: every run that was started and could be read."""
    return tuple(
        Row(cell.loss.label, cell.width, cell.seed, run.outcome, {**run.final, **_history(run)})
        for cell, run in runs.items()
    )


def _history(run: Run) -> dict[str, float]:
    found = {"epochs": float(len(run.records)), "seconds": run.seconds}
    fitted = [r for r in run.records if r.measures.get("train_accuracy") == 1]
    if fitted:
        found["epoch_fitted"] = float(fitted[0].epoch)
        last = fitted[-1].measures.get("nc1_geo", 0.0)
        if last > 0 and "nc1_geo" in fitted[0].measures:
            found["nc1_fall"] = fitted[0].measures["nc1_geo"] / last
    return found


def summaries(table: Sequence[Row], names: Sequence[str]) -> tuple[Summary, ...]:
    """Mean and spread over seeds of each number, per objective and width, in order of appearance.

    A run that stopped because its numbers were no longer finite counts as a run without the number.

    Example:
        >>> made = [Row("ce", 1.0, seed, Outcome.COMPLETED, {"a": 1.0 + seed}) for seed in (0, 1)]
        >>> [(s.mean, round(s.std, 3), s.num) for s in summaries(made, ["a"])]
        [(1.5, 0.707, 2)]
    """
    found = []
    for loss, width in dict.fromkeys((row.loss, row.width) for row in table):
        group = [row for row in table if (row.loss, row.width) == (loss, width)]
        for name in names:
            values = np.array([_value(row, name) for row in group], np.float64)
            values = values[np.isfinite(values)]
            mean = float(values.mean()) if values.size else float("nan")
            std = float(values.std(ddof=1)) if values.size > 1 else float("nan")
            found.append(Summary(loss, width, name, mean, std, values.size, len(group)))
    return tuple(found)


def contrasts(table: Sequence[Row], name: str) -> tuple[Contrast, ...]:
    """Every two objectives that have two pairs or more of runs with one width and one seed.

    Pairs of all widths go into one test, for the hypothesis that the difference is symmetric about
    0 at every width. Holm's correction makes the chance of any false difference in the whole table
    at most the level (Holm 1979).

    Example:
        >>> made = [
        ...     Row(loss, 1.0, seed, Outcome.COMPLETED, {"a": seed + shift})
        ...     for loss, shift in (("ce", 0.0), ("mse", 2.0))
        ...     for seed in range(6)
        ... ]
        >>> [(c.interval.mean, c.p_value) for c in contrasts(made, "a")]
        [(-2.0, 0.03125)]
    """
    values = {
        loss: {
            (row.width, row.seed): _value(row, name)
            for row in table
            if row.loss == loss and np.isfinite(_value(row, name))
        }
        for loss in dict.fromkeys(row.loss for row in table)
    }
    found = []
    for first, second in itertools.combinations(values, 2):
        shared = sorted(set(values[first]) & set(values[second]))
        if len(shared) < 2:
            continue
        differences = np.array([values[first][at] - values[second][at] for at in shared])
        interval = paired_bootstrap(differences, seed=0)
        found.append((first, second, interval, sign_flip_test(differences), len(shared)))
    adjusted = holm([item[3] for item in found])
    return tuple(
        Contrast(first, second, interval, p_value, p, num)
        for (first, second, interval, p_value, num), p in zip(found, adjusted, strict=True)
    )


def holm(p_values: Sequence[float]) -> list[float]:
    """Adjusted p-values: the i-th smallest times (m - i + 1), made monotone, at most 1.

    Source: Holm 1979.

    Example:
        >>> [round(p, 12) for p in holm([0.03, 0.01, 0.5])]
        [0.06, 0.03, 0.5]
    """
    order = np.argsort(p_values, kind="stable")
    adjusted = [0.0] * len(p_values)
    least = 0.0
    for place, index in enumerate(order):
        least = max(least, min(1.0, (len(p_values) - place) * p_values[index]))
        adjusted[index] = least
    return adjusted


def least_p_value(found: Sequence[Contrast]) -> float:
    """The least that the sign-flip test can reach with so many pairs, after Holm's correction.

    Example:
        >>> least_p_value([])
        1.0
    """
    if not found:
        return 1.0
    return min(1.0, len(found) * 2.0 ** (1 - max(c.num for c in found)))


def statement(found: Sequence[Contrast], what: str) -> str:
    """What the contrasts say, in a sentence or two.

    Example:
        >>> statement([], "test accuracy")
        'No two objectives have two pairs of runs, so nothing can be said of test accuracy.'
    """
    if not found:
        return f"No two objectives have two pairs of runs, so nothing can be said of {what}."
    clear = [c for c in found if c.adjusted < LEVEL]
    largest = max(found, key=lambda c: abs(c.interval.mean))
    test = f"sign-flip test on pairs of one width and seed, Holm's correction, level {LEVEL:g}"
    size = (
        f"the largest mean difference is {abs(largest.interval.mean):.2g} ({largest.first} against "
        f"{largest.second}, 95 % interval {largest.interval.low:+.2g} to "
        f"{largest.interval.high:+.2g})"
    )
    if clear:
        named = ", ".join(f"{c.first} and {c.second}" for c in clear)
        text = f"{len(clear)} of {len(found)} pairs of objectives differ significantly in {what} "
        return f"{text}({test}): {named}; {size}."
    text = f"None of {len(found)} pairs of objectives differs significantly in {what} ({test}); "
    least = least_p_value(found)
    note = (
        f" With {max(c.num for c in found)} pairs of runs no p-value can fall below "
        f"{least:.2g} after the correction, so the test could not have told: run more "
        "seeds."
        if least >= LEVEL
        else ""
    )
    return f"{text}{size}.{note}"


def matrix(table: Sequence[Summary], name: str) -> tuple[list[str], list[float], np.ndarray]:
    """Objectives, widths and the means (L, W) of one number, for a heat map.

    Raises:
        InputError: the number is in no summary.
    """
    chosen = [s for s in table if s.name == name]
    if not chosen:
        known = ", ".join(dict.fromkeys(s.name for s in table))
        raise InputError("Need a number of the table", name, f"use one of {known}")
    losses = list(dict.fromkeys(s.loss for s in chosen))
    widths = sorted({s.width for s in chosen})
    values = np.full((len(losses), len(widths)), np.nan)
    for s in chosen:
        values[losses.index(s.loss), widths.index(s.width)] = s.mean
    return losses, widths, values


def _value(row: Row, name: str) -> float:
    return row.numbers.get(name, float("nan")) if row.outcome is Outcome.COMPLETED else float("nan")
