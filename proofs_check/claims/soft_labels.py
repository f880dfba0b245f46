"""Soft labels: distributions merge as classes do, and two classes are one root each (SL-1)."""

from __future__ import annotations

from functools import cache

import numpy as np

from proofs_check.claim import COUNTING, Claim, Hypothesis, Mutant, Tolerance
from proofs_check.descents import beside, descended, entropy_against
from proofs_check.instance import Specimen
from proofs_check.law import Law, miscount
from proofs_check.specimens import PlainSpecimen
from ufm.models.soft_labels import SoftLabels, soft_labels
from ufm.typing import Array

SOURCE = "derived here; the setting after arXiv 2408.15417"

Setting = tuple[str, str, int, float, float]
# Rows of probabilities, samples of each, d, decays of W and H.
_SETTINGS: tuple[Setting, ...] = (
    ("0.8,0.2,0/0,0.7,0.3/0.1,0,0.9/0.5,0.5,0", "2,1,3,2", 4, 0.01, 0.02),
    ("1,0/0.3,0.7/0.6,0.4", "3,2,4", 3, 0.03, 0.011),
    ("0.9,0.1/0.2,0.8", "2,5", 4, 0.004, 0.05),
    ("0.4,0.3,0.2,0.1/0,0,0.5,0.5/0.25,0.75,0,0", "2,3,2", 5, 0.02, 0.007),
)


def _minimum(setting: Setting, seed: int) -> PlainSpecimen:
    rows, counts, d, lambda_W, lambda_H = setting
    model = soft_labels(rows, 1, d, lambda_W, lambda_H, counts)
    columns = np.repeat(np.asarray(model.targets), model.counts_tuple, axis=0).T
    shape = (len(columns), d, columns.shape[1])
    value, point = descended(entropy_against(columns), shape, (lambda_W, lambda_H), seed)
    return Specimen(model, point, "minimiser", note=f"{value:.6g}")


@cache
def minima(quick: bool = False) -> tuple[PlainSpecimen, ...]:
    """Minima by descent on all samples."""
    return tuple(_minimum(s, seed) for seed, s in enumerate(_SETTINGS[: 2 if quick else None]))


@cache
def near_collapse(quick: bool = False) -> tuple[PlainSpecimen, ...]:
    """Minima by descent where decay is a thousandth below and above what the gradient pulls."""
    found = []
    for seed, (rows, counts, d, lambda_W, lambda_H) in enumerate(_SETTINGS[: 2 if quick else None]):
        model = soft_labels(rows, 1, d, lambda_W, lambda_H, counts)
        for pair in beside((lambda_W, lambda_H), _pull_of(model) / len(model.labels)):
            found.append(_minimum((rows, counts, d, *pair), seed))
    return tuple(found)


def _columns(model: SoftLabels) -> Array:
    """Targets of all samples (K, N)."""
    return np.repeat(np.asarray(model.targets), model.counts_tuple, axis=0).T


def _pull_of(model: SoftLabels) -> float:
    columns = _columns(model)
    return float(np.linalg.norm(columns - columns.mean(axis=0), 2))


def _pull_of_differences(specimen: PlainSpecimen) -> float:
    columns = _columns(specimen.model)
    return float(np.linalg.norm(columns - columns.mean(axis=1, keepdims=True), 2))


def _kept(specimen: PlainSpecimen) -> float:
    """1 where logits are not zero: a thousandth below the threshold they exceed 1e-2."""
    return float(_size(specimen) > 1e-3)


def _size(specimen: PlainSpecimen) -> float:
    return float(np.linalg.norm(specimen.point.W @ specimen.point.H, 2))


def _spread(specimen: PlainSpecimen, together: int = 1) -> float:
    """Largest distance of a feature from the mean of its distribution; of two put together."""
    H, labels = specimen.point.H, np.asarray(specimen.model.labels) // together
    means = np.stack([H[:, labels == t].mean(axis=1) for t in labels], axis=1)
    return float(np.abs(H - means).max())


def _gaps(specimen: PlainSpecimen) -> Array:
    Z = specimen.point.W @ specimen.point.H
    return np.asarray(Z[0] - Z[1])


# ---- formulas

GIVEN = {
    "pull": lambda s: _pull_of(s.model),
    "g": _gaps,
    "s": _size,
    "y": lambda s: _columns(s.model)[0],
}


def kept(N: int, lambda_W: float, lambda_H: float, pull: float) -> float:
    """1 below collapse, 0 from there on."""
    return float(N * np.sqrt(lambda_W * lambda_H) < pull)


def probabilities(N: int, lambda_W: float, lambda_H: float, g: Array, s: float, y: Array) -> Array:
    """Of the first class: what is asked for, less a price in proportion to the gap."""
    return np.asarray(y - N * np.sqrt(lambda_W * lambda_H) * g / (2 * s))


def _probabilities_of_whole_gap(
    N: int, lambda_W: float, lambda_H: float, g: Array, s: float, y: Array
) -> Array:
    return np.asarray(y - N * np.sqrt(lambda_W * lambda_H) * g / s)


def _observed_probabilities(specimen: PlainSpecimen) -> Array:
    return np.asarray(1 / (1 + np.exp(-_gaps(specimen))))


TWO_CLASSES = Hypothesis("two classes", lambda s: s.columns["K"] == 2)
_DIFFERENT = {**GIVEN, "pull": _pull_of_differences}

CLAIMS = (
    Claim(
        id="soft-labels-merge",
        title="Soft labels: equal distributions merge",
        statement="At the minimum samples of one distribution have one feature.",
        latex=r"y_i=y_j\ \Rightarrow\ h_i=h_j",
        source=f"SL-1; {SOURCE}",
        region=minima,
        check=_spread,
        tolerance=Tolerance(1e-5, "gradient 1e-9 over a curvature above 1e-3; factor 10"),
        mutant=Mutant("two distributions for one", lambda s: _spread(s, together=2)),
        uses=("soft-labels-collapse",),
    ),
    Claim(
        id="soft-labels-collapse",
        title="Soft labels: when everything collapses",
        statement="The minimum is zero from the decay on that the targets, less the uniform "
        "distribution, do not exceed in spectral norm.",
        latex=r"N\sigma\ge\lVert Y-\tfrac1K\mathbf 1\mathbf 1^\top\rVert_2",
        source=f"TY-1, SL-1; {SOURCE}",
        region=near_collapse,
        check=Law(kept, _kept, GIVEN, miscount),
        tolerance=COUNTING,
        mutant=Mutant("less the mean distribution", Law(kept, _kept, _DIFFERENT, miscount)),
        uses=("collapse-within-classes", "explicit-negative-curvature"),
    ),
    Claim(
        id="soft-labels-two-classes",
        title="Soft labels: one root per distribution",
        statement="With two classes the probability falls short of the target in proportion to "
        "the logit gap g; s is the singular value of the logits.",
        latex=r"y-p=\frac{N\sigma g}{2s},\quad s^2=\tfrac12\sum_ig_i^2",
        source=f"SL-1; {SOURCE}",
        hypotheses=(TWO_CLASSES,),
        region=minima,
        check=Law(probabilities, _observed_probabilities, GIVEN),
        tolerance=Tolerance(1e-5, "gradient 1e-9 over a curvature above 1e-3; factor 10"),
        mutant=Mutant(
            "without the half", Law(_probabilities_of_whole_gap, _observed_probabilities, GIVEN)
        ),
        uses=("soft-labels-merge",),
    ),
)
