"""Several tasks on one feature: simplices in orthogonal spaces (TA-1)."""

from __future__ import annotations

from functools import cache
from itertools import product

import numpy as np

from proofs_check.claim import Claim, Mutant, Tolerance
from proofs_check.descents import descended, entropy_against
from proofs_check.instance import Specimen
from proofs_check.law import Law
from proofs_check.specimens import PlainSpecimen
from ufm.models.tasks import tasks
from ufm.typing import Array

SOURCE = "derived here"

Setting = tuple[tuple[int, ...], int, int, float, float]
# Classes of every task, samples per combination, d, decays of W and H: kept; one dropped; all.
_SETTINGS: tuple[Setting, ...] = (
    ((2, 3), 2, 4, 0.02, 0.03),
    ((3, 4), 1, 6, 0.011, 0.017),
    ((2, 3, 2), 1, 5, 0.03, 0.02),
    ((2, 4), 2, 5, 0.16, 0.11),
    ((2, 3), 2, 5, 0.3, 0.2),
)
_KEPT = 3  # how many of them keep every task


@cache
def minima(quick: bool = False) -> tuple[PlainSpecimen, ...]:
    """Minima by descent on all samples."""
    found = []
    for seed, (classes, n, d, *decays) in enumerate(_SETTINGS[: 2 if quick else None]):
        Y = np.array(
            [np.concatenate([np.eye(K)[k] for K, k in zip(classes, labels, strict=True)])
             for labels in product(*map(range, classes)) for _ in range(n)]
        ).T  # fmt: skip
        shape = (len(Y), d, Y.shape[1])
        loss = entropy_against(Y, classes)
        value, point = descended(loss, shape, (decays[0], decays[1]), seed)
        model = tasks(classes, n, d, *decays)
        found.append(Specimen(model, point, "minimiser", note=f"{value:.6g}"))
    return tuple(found)


@cache
def kept(quick: bool = False) -> tuple[PlainSpecimen, ...]:
    """Those minima that keep every task."""
    return minima(quick)[:_KEPT]


def _height(specimen: PlainSpecimen) -> float:
    """The objective, in NumPy."""
    model, (W, H) = specimen.model, specimen.point[:2]
    cuts, choices = np.cumsum(model.classes)[:-1], np.asarray(model.choices)
    samples = np.arange(H.shape[1])
    value = float(model.lambda_W) / 2 * np.sum(W**2) + float(model.lambda_H) / 2 * np.sum(H**2)
    for Z, own in zip(np.split(W @ H, cuts), choices[:, np.asarray(model.labels)], strict=True):
        value += np.mean(np.log(np.exp(Z).sum(axis=0)) - Z[own, samples])
    return float(value)


def _overlap(specimen: PlainSpecimen, own: bool = False) -> float:
    """Largest scalar product of classifiers of two tasks; of one task and itself."""
    W = np.split(specimen.point.W, np.cumsum(specimen.model.classes)[:-1])
    pairs = [(i, j) for i in range(len(W)) for j in range(i, len(W)) if (i == j) == own]
    return max(float(np.abs(W[i] @ W[j].T).max()) for i, j in pairs)


# ---- formulas


def value(N: int, lambda_W: float, lambda_H: float, classes: Array) -> float:
    """The minima of the tasks one by one, each at its own c."""
    c = np.minimum(np.sqrt(N * classes * lambda_W * lambda_H), 1)
    a = np.log(classes / c - classes + 1)
    losses = np.log(1 + (classes - 1) * np.exp(-a))
    return float(np.sum(losses + c * (classes - 1) / classes * a))


def _value_of_all_rows(N: int, lambda_W: float, lambda_H: float, classes: Array) -> float:
    c = np.minimum(np.sqrt(N * classes.sum() * lambda_W * lambda_H), 1)
    a = np.log(classes / c - classes + 1)
    losses = np.log(1 + (classes - 1) * np.exp(-a))
    return float(np.sum(losses + c * (classes - 1) / classes * a))


CLAIMS = (
    Claim(
        id="tasks-value",
        title="Several tasks: each as if it were alone",
        statement="With equally many samples of every combination of labels the minimum is the "
        "sum of the tasks' own, each at its own c; a task vanishes at c = 1.",
        latex=r"f^*=\sum_tf_{CE}(K_t,c_t),\quad c_t=\sqrt{NK_t\lambda_W\lambda_H}",
        source=f"TA-1; {SOURCE}",
        region=minima,
        check=Law(value, _height),
        tolerance=Tolerance(1e-9, "descents to a gradient of 1e-8, values of order one"),
        mutant=Mutant("one c for all rows", Law(_value_of_all_rows, _height)),
        uses=("multilabel-collapse",),
    ),
    Claim(
        id="tasks-orthogonal",
        title="Several tasks: classifiers are orthogonal",
        statement="At the minimum the classifiers of two tasks are orthogonal.",
        latex=r"W_sW_t^\top=0,\quad s\ne t",
        source=f"TA-1; {SOURCE}",
        region=kept,
        check=_overlap,
        tolerance=Tolerance(1e-5, "gradient 1e-8 over a curvature above 1e-2; factor 10"),
        mutant=Mutant("one task and itself", lambda s: _overlap(s, own=True)),
        uses=("tasks-value",),
    ),
)
