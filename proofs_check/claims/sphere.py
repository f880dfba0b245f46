"""Normalised classifiers and features: the simplex and its flat directions (SP-1)."""

from __future__ import annotations

from functools import cache
from typing import Any

import numpy as np

from proofs_check.claim import COUNTING, Claim, Mutant, Tolerance
from proofs_check.descents import lowest
from proofs_check.instance import Specimen
from proofs_check.law import Law, miscount
from proofs_check.specimens import PlainSpecimen
from ufm.losses import CrossEntropy
from ufm.models.sphere import Sphere
from ufm.point import Point
from ufm.typing import Array

SOURCE = "after Yaras et al. (2022); the proof derived here"
STEP = 1e-5  # of central differences: truncation 1e-10, rounding 1e-11

# K, d, n, tau: d at K - 1 and above.
_SETTINGS: tuple[tuple[int, int, int, float], ...] = (
    (4, 3, 2, 1.0),
    (3, 4, 1, 2.0),
    (2, 3, 4, 0.7),
    (5, 6, 2, 1.6),
)
_NARROW = ((5, 2, 1, 2.0),)


@cache
def minima(quick: bool = False) -> tuple[PlainSpecimen, ...]:
    """The lowest of three descents on free vectors that are normalised inside."""
    return tuple(_descended(*s) for s in _SETTINGS[: 2 if quick else None])


@cache
def narrow(quick: bool = False) -> tuple[PlainSpecimen, ...]:
    """Minima in fewer dimensions than a simplex needs."""
    return tuple(_descended(*s) for s in _NARROW)


def value_and_slope(x: Array, setting: tuple[int, int, int, float]) -> tuple[float, Array]:
    """Cross entropy of the cosines and its gradient by hand, of all coordinates in one vector."""
    K, d, n, tau = setting
    W, H = x[: K * d].reshape(K, d), x[K * d :].reshape(d, K * n)
    rows, columns = np.linalg.norm(W, axis=1, keepdims=True), np.linalg.norm(H, axis=0)
    w, h, labels = W / rows, H / columns, np.repeat(np.arange(K), n)
    Z, samples = tau * w @ h, np.arange(K * n)
    mass = np.exp(Z)
    value = float(np.mean(np.log(mass.sum(axis=0)) - Z[labels, samples]))
    G = tau * (mass / mass.sum(axis=0) - (labels == np.arange(K)[:, None])) / (K * n)
    slope_w, slope_h = G @ h.T, w.T @ G
    slope_w = (slope_w - w * np.sum(w * slope_w, axis=1, keepdims=True)) / rows
    slope_h = (slope_h - h * np.sum(h * slope_h, axis=0)) / columns
    return value, np.concatenate([slope_w.ravel(), slope_h.ravel()])


def _descended(*setting: Any) -> PlainSpecimen:
    K, d, n, tau = setting
    options = {"maxiter": 5000, "ftol": 1e-17, "gtol": 1e-12}
    size = K * d + d * K * n
    starts = [np.random.default_rng((31, seed)).normal(size=size) for seed in range(3)]
    best = lowest(value_and_slope, setting, starts, **options)
    point = Point(best[: K * d].reshape(K, d), best[K * d :].reshape(d, K * n))
    return Specimen(Sphere(CrossEntropy(), K, d, n, tau), point, "minimiser")


def _coordinates(specimen: PlainSpecimen) -> tuple[Array, Any]:
    model = specimen.model
    x = np.concatenate([np.ravel(specimen.point.W), np.ravel(specimen.point.H)])
    return x, (model.num_classes, model.d, model.n, model.scale)


def _height(specimen: PlainSpecimen) -> float:
    return value_and_slope(*_coordinates(specimen))[0]


def _flat(specimen: PlainSpecimen) -> float:
    """Zero eigenvalues of a Hessian from differences of the gradient."""
    x, setting = _coordinates(specimen)
    hessian = np.array(
        [
            (value_and_slope(x + e, setting)[1] - value_and_slope(x - e, setting)[1]) / (2 * STEP)
            for e in STEP * np.eye(len(x))
        ]
    )
    values = np.linalg.eigvalsh((hessian + hessian.T) / 2)
    return float(np.sum(np.abs(values) < 1e-6))


# ---- formulas


def value(K: int, scale: float) -> float:
    """The loss at cosines 1 and -1/(K-1)."""
    return float(np.log(1 + (K - 1) * np.exp(-scale * K / (K - 1))))


def _value_of_orthogonal(K: int, scale: float) -> float:
    return float(np.log(1 + (K - 1) * np.exp(-scale)))


def flat(K: int, d: int, n: int) -> float:
    """Radii of all vectors, and the rotations that move a simplex."""
    r = K - 1
    return K + K * n + r * (r - 1) / 2 + r * (d - r)


def _flat_of_directions(K: int, d: int, n: int) -> float:
    r = K - 1
    return r * (r - 1) / 2 + r * (d - r)


CLAIMS = (
    Claim(
        id="sphere-value",
        title="Spheres: the minimum is a simplex",
        statement="With d >= K - 1 the minimum of cross entropy of cosines is that of a simplex "
        "whose features are the rows of the classifier.",
        latex=r"f^*=\log(1+(K-1)e^{-\tau K/(K-1)})",
        source=f"SP-1; {SOURCE}",
        literature="proved",
        region=minima,
        check=Law(value, _height),
        tolerance=Tolerance(1e-9, "descents to a gradient of 1e-8, values of order one"),
        mutant=Mutant("orthogonal vectors", Law(_value_of_orthogonal, _height)),
        uses=("sphere-bound",),
    ),
    Claim(
        id="sphere-nullity",
        title="Spheres: flat directions",
        statement="At the minimum the flat directions of free vectors are their lengths and the "
        "rotations: the simplex is isolated beyond its symmetry.",
        latex=r"K+N+\tfrac{r(r-1)}2+r(d-r),\quad r=K-1",
        source=f"SP-1; {SOURCE}",
        region=minima,
        check=Law(flat, _flat, error=miscount),
        tolerance=COUNTING,
        mutant=Mutant("without lengths", Law(_flat_of_directions, _flat, error=miscount)),
        uses=("sphere-value",),
    ),
    Claim(
        id="sphere-bound",
        title="Spheres: nothing is below the simplex",
        statement="In any dimension no point lies below the value of the simplex.",
        latex=r"f\ge\log(1+(K-1)e^{-\tau K/(K-1)})",
        source=f"SP-1; {SOURCE}",
        region=lambda quick: (*minima(quick), *narrow(quick)),
        check=lambda s: max(0.0, value(s.columns["K"], s.columns["scale"]) - _height(s)),
        tolerance=Tolerance(1e-12, "sums of a few float64 terms of order one"),
        mutant=Mutant(
            "a hundredth higher",
            lambda s: max(0.0, 1.01 * value(s.columns["K"], s.columns["scale"]) - _height(s)),
        ),
    ),
)
