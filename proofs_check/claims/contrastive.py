"""Supervised contrastive loss on a sphere: simplex, orthogonal frame, unequal batches (SC)."""

from __future__ import annotations

from functools import cache
from typing import Any

import numpy as np

from proofs_check.claim import COUNTING, Claim, Mutant, Tolerance
from proofs_check.descents import lowest
from proofs_check.instance import Specimen
from proofs_check.law import Law, miscount
from proofs_check.specimens import PlainSpecimen
from ufm.models.contrastive import Contrastive, Features, contrastive
from ufm.typing import Array

SOURCE = "derived here; the model after Graf et al. (2021)"
STEP = 1e-5  # of central differences: truncation 1e-10, rounding 1e-11

# Counts, d and rho: equal classes, at K - 1 dimensions and above.
_EQUAL: tuple[tuple[tuple[int, ...], int, float], ...] = (
    ((3, 3, 3), 4, 1.3),
    ((2, 2, 2, 2), 3, 0.8),
    ((4, 4), 3, 1.7),
    ((2, 2, 2), 5, 1.1),
)
_UNEQUAL: tuple[tuple[tuple[int, ...], int, float], ...] = (
    ((2, 3, 4), 3, 1.3),
    ((5, 2, 2), 4, 0.9),
    ((2, 6), 2, 1.6),
    ((3, 2, 2, 4), 5, 1.1),
)


@cache
def simplices(quick: bool = False) -> tuple[PlainSpecimen, ...]:
    """The lowest of four descents of equal classes."""
    return tuple(_descended(*s) for s in _EQUAL[: 3 if quick else None])


@cache
def frames(quick: bool = False) -> tuple[PlainSpecimen, ...]:
    """The lowest of four descents of features that leave a ReLU, most of unequal classes."""
    settings = (*_UNEQUAL, _EQUAL[0])
    return tuple(_descended(*s, nonnegative=True) for s in settings[: 3 if quick else None])


@cache
def batches(quick: bool = False) -> tuple[PlainSpecimen, ...]:
    """The lowest of four descents of equal and unequal classes."""
    return (*simplices(quick), *(_descended(*s) for s in _UNEQUAL[: 2 if quick else None]))


def value_and_slope(x: Array, model: Contrastive) -> tuple[float, Array]:
    """The loss and its gradient by hand, of all coordinates in one vector."""
    H, labels, rho = x.reshape(model.d, -1), np.asarray(model.labels), float(model.radius)
    raw = H**2 if model.nonnegative else H
    lengths = np.linalg.norm(raw, axis=0)
    u = raw / lengths
    mass = np.exp(rho**2 * u.T @ u)
    np.fill_diagonal(mass, 0.0)
    positive = (labels == labels[:, None]) - np.eye(len(labels))
    positive /= positive.sum(axis=1, keepdims=True)
    total = mass.sum(axis=1, keepdims=True)
    value = float(np.sum(np.log(total)) - np.sum(positive * (rho**2 * u.T @ u)))
    pull = mass / total - positive
    slope = rho**2 * u @ (pull + pull.T)
    slope = (slope - u * np.sum(u * slope, axis=0)) / lengths
    return value, (2 * H * slope if model.nonnegative else slope).ravel()


def _descended(
    counts: tuple[int, ...], d: int, radius: float, nonnegative: bool = False
) -> PlainSpecimen:
    model = contrastive(d=d, radius=radius, nonnegative=nonnegative, counts=counts)
    options = {"maxiter": 8000, "ftol": 0, "gtol": 1e-11}
    size = d * sum(counts)
    starts = [np.random.default_rng((37, seed)).normal(size=size) for seed in range(4)]
    best = lowest(value_and_slope, model, starts, **options).reshape(d, -1)
    point = Features(best / np.linalg.norm(best, axis=0))
    return Specimen(model, point, "minimiser")


def _height(specimen: PlainSpecimen) -> float:
    return value_and_slope(np.ravel(specimen.point.H), specimen.model)[0]


def _flat(specimen: PlainSpecimen) -> float:
    """Zero eigenvalues of a Hessian from differences of the gradient."""
    x, model = np.ravel(specimen.point.H), specimen.model
    steps = STEP * np.eye(len(x))
    rows = [value_and_slope(x + e, model)[1] - value_and_slope(x - e, model)[1] for e in steps]
    hessian = np.array(rows) / (2 * STEP)
    return float(np.sum(np.abs(np.linalg.eigvalsh((hessian + hessian.T) / 2)) < 1e-5))


# ---- formulas


def value(counts: tuple[int, ...], radius: float) -> float:
    """Of the simplex; counts of every class."""
    N, K = sum(counts), len(counts)
    fall = np.exp(-(radius**2) * K / (K - 1))
    return float(sum(n * np.log(n - 1 + (N - n) * fall) for n in counts))


def _value_with_own_pair(counts: tuple[int, ...], radius: float) -> float:
    N, K = sum(counts), len(counts)
    fall = np.exp(-(radius**2) * K / (K - 1))
    return float(sum(n * np.log(n + (N - n) * fall) for n in counts))


def value_of_frame(counts: tuple[int, ...], radius: float) -> float:
    """Of an orthogonal frame."""
    N = sum(counts)
    return float(sum(n * np.log(n - 1 + (N - n) * np.exp(-(radius**2))) for n in counts))


def flat(K: int, d: int, N: int) -> float:
    """Radii of all features, and the rotations that move a simplex."""
    r = K - 1
    return N + r * (r - 1) / 2 + r * (d - r)


def _flat_of_frame(K: int, d: int, N: int) -> float:
    return N + K * (K - 1) / 2 + K * (d - K)


GIVEN: dict[str, Any] = {
    "counts": lambda s: s.model.counts,
    "radius": lambda s: float(s.model.radius),
    "N": lambda s: sum(s.model.counts),
}
_DESCENTS = Tolerance(1e-8, "descents to a gradient of 1e-8, values of order ten")

CLAIMS = (
    Claim(
        id="contrastive-value",
        title="Contrastive features: the minimum is a simplex",
        statement="In one batch of equal classes the minimum is a simplex, all samples of a class "
        "on one vertex.",
        latex=r"f^*=\sum_kn_k\log\big(n_k-1+(N-n_k)e^{-\rho^2K/(K-1)}\big)",
        source=f"SC-1; {SOURCE}",
        literature="proved",
        region=simplices,
        check=Law(value, _height, GIVEN),
        tolerance=_DESCENTS,
        mutant=Mutant("the sample itself counted", Law(_value_with_own_pair, _height, GIVEN)),
    ),
    Claim(
        id="contrastive-nullity",
        title="Contrastive features: flat directions",
        statement="At the minimum the flat directions are lengths and rotations.",
        latex=r"N+\tfrac{r(r-1)}2+r(d-r),\quad r=K-1",
        source=f"SC-1; {SOURCE}",
        region=simplices,
        check=Law(flat, _flat, GIVEN, miscount),
        tolerance=COUNTING,
        mutant=Mutant("those of a frame", Law(_flat_of_frame, _flat, GIVEN, miscount)),
        uses=("contrastive-value",),
    ),
    Claim(
        id="contrastive-frame",
        title="Contrastive features after a ReLU: an orthogonal frame, however unequal the classes",
        statement="Where features leave a ReLU the minimum is an orthogonal frame for classes of "
        "any sizes.",
        latex=r"f^*=\sum_kn_k\log\big(n_k-1+(N-n_k)e^{-\rho^2}\big)",
        source=f"SC-2; {SOURCE}",
        region=frames,
        check=Law(value_of_frame, _height, GIVEN),
        tolerance=_DESCENTS,
        mutant=Mutant("that of the simplex", Law(value, _height, GIVEN)),
    ),
    Claim(
        id="contrastive-unequal-batch",
        title="Refuted: the simplex is optimal in a batch of unequal classes",
        statement="FALSE: the simplex is the minimum of every batch. In a single batch of unequal "
        "classes other arrangements lie lower; the theorem is about all batches together.",
        latex=r"f\ge\sum_kn_k\log\big(n_k-1+(N-n_k)e^{-\rho^2K/(K-1)}\big)",
        source=f"SC-1; {SOURCE}",
        literature="refuted",
        region=batches,
        check=lambda s: max(0.0, s.once(_below_simplex)),
        tolerance=Tolerance(1e-7, "values of order ten; unequal batches are 1e-3 or more below"),
        mutant=Mutant(
            "a hundredth higher in equal batches too",
            lambda s: max(0.0, s.once(_below_simplex) + 0.01 * _height(s)),
        ),
        holds=False,
        uses=("contrastive-value",),
    ),
)


def _below_simplex(specimen: PlainSpecimen) -> float:
    return value(specimen.model.counts, float(specimen.model.radius)) - _height(specimen)
