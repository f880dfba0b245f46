"""Non-negative features of unequal classes: an orthogonal frame, every class for itself (R-4)."""

from __future__ import annotations

from functools import cache
from typing import Any

import numpy as np

from proofs_check.claim import COUNTING, Claim, Mutant, Tolerance
from proofs_check.descents import beside, lowest
from proofs_check.formula_alterations import formula
from proofs_check.instance import Specimen
from proofs_check.law import Law, miscount
from proofs_check.redraw import redrawn_by
from proofs_check.specimens import PlainSpecimen
from ufm.losses import CrossEntropy
from ufm.models.nonnegative import Nonnegative
from ufm.point import Point
from ufm.typing import Array

SOURCE = "derived here; orthogonal means after arXiv 2401.02058"
STARTS = 8
ZERO = 1e-4  # share of the longest feature; those that are kept exceed .05 next to thresholds

# Counts, d, lambda_W, lambda_H: all kept, some dropped.
_SETTINGS: tuple[tuple[tuple[int, ...], int, float, float], ...] = (
    ((4, 2, 1), 3, 0.02, 0.013),
    ((5, 3, 1), 4, 0.03, 0.06),
    ((3, 2, 2, 1), 4, 0.02, 0.03),
    ((6, 2), 3, 0.05, 0.02),
)
# The class of two samples vanishes at N sigma = sqrt(2 (K-1)/K).
_NEAR = ((4, 2, 3), 3, (0.05, 0.02), (2 * 2 / 3) ** 0.5 / 9)


def _redrawn(listed: PlainSpecimen, model: Nonnegative, seed: int) -> PlainSpecimen:
    """The lowest of the same starts: features that die leave minima that are not global."""
    del listed, seed
    base = model.base
    return _descended(base.counts_tuple, base.d, float(base.lambda_W), float(base.lambda_H))


@redrawn_by(_redrawn)
@cache
def minima(quick: bool = False) -> tuple[PlainSpecimen, ...]:
    """The lowest of descents in squares, from random starts and from one direction a class."""
    counts, d, decays, threshold = _NEAR
    near = [(counts, d, *pair) for pair in beside(decays, threshold)]
    return tuple(_descended(*s) for s in (*_SETTINGS[: 2 if quick else None], *near))


def value_and_slope(x: Array, model: Nonnegative) -> tuple[float, Array]:
    """Cross entropy of W (A o A) with its decays, and the gradient by hand."""
    base = model.base
    K, d, labels = base.num_classes, base.d, np.asarray(base.labels)
    W, A = x[: K * d].reshape(K, d), x[K * d :].reshape(d, -1)
    H, N = A**2, A.shape[1]
    Z = W @ H
    mass = np.exp(Z - Z.max(axis=0))
    mass /= mass.sum(axis=0)
    hit = (labels, np.arange(N))
    value = -float(np.mean(np.log(mass[hit])))
    mass[hit] -= 1
    G = mass / N
    decays = float(base.lambda_W), float(base.lambda_H)
    value += decays[0] / 2 * float(np.sum(W**2)) + decays[1] / 2 * float(np.sum(H**2))
    slope = 2 * A * (W.T @ G + decays[1] * H)
    return value, np.concatenate([(G @ H.T + decays[0] * W).ravel(), slope.ravel()])


def _descended(counts: tuple[int, ...], d: int, lambda_W: float, lambda_H: float) -> PlainSpecimen:
    model = Nonnegative(CrossEntropy(), d=d, counts=counts, lambda_W=lambda_W, lambda_H=lambda_H)
    K, labels = len(counts), np.repeat(np.arange(len(counts)), counts)
    options = {"maxiter": 20_000, "maxfun": 40_000, "ftol": 0, "gtol": 1e-12, "maxcor": 40}
    starts = []
    for seed in range(STARTS):
        rng = np.random.default_rng((47, seed))
        W, A = rng.normal(size=(K, d)), rng.normal(size=(d, len(labels)))
        if seed % 2:
            W, A = 0.1 * W + np.eye(K, d), 0.1 * A + np.eye(d, K)[:, labels]
        starts.append(np.concatenate([W.ravel(), A.ravel()]))
    best = lowest(value_and_slope, model, starts, **options)
    point = Point(best[: K * d].reshape(K, d), best[K * d :].reshape(d, -1))
    return Specimen(model, point, "minimiser")


def _height(specimen: PlainSpecimen) -> float:
    W, A, _ = specimen.point
    return value_and_slope(np.concatenate([np.ravel(W), np.ravel(A)]), specimen.model)[0]


def _means(specimen: PlainSpecimen) -> Array:
    """Class means of the features, (d, K)."""
    labels, H = np.asarray(specimen.model.base.labels), np.asarray(specimen.point.H) ** 2
    return np.stack([H[:, labels == k].mean(axis=1) for k in range(labels[-1] + 1)], axis=1)


def _overlap(specimen: PlainSpecimen) -> float:
    """The largest inner product of two class means, over the longest squared."""
    gram = _means(specimen).T @ _means(specimen)
    return float(np.max(gram - np.diag(np.diag(gram))) / np.max(gram))


def _spread(specimen: PlainSpecimen) -> float:
    """The largest difference of squared lengths of class means, over the longest."""
    lengths = np.sum(_means(specimen) ** 2, axis=0)
    return float(np.ptp(lengths) / lengths.max())


def _kept(specimen: PlainSpecimen) -> int:
    lengths = np.linalg.norm(_means(specimen), axis=0)
    return int(np.sum(lengths > ZERO * lengths.max()))


# ---- formulas


@formula
def price(counts: Array, lambda_W: float, lambda_H: float) -> Array:
    """1 - p of every class while it is kept: N sigma sqrt((K-1)/(K n_k))."""
    K, N = len(counts), np.sum(counts)
    return np.asarray(N * np.sqrt(lambda_W * lambda_H) * np.sqrt((K - 1) / (K * counts)))


def value(counts: Array, lambda_W: float, lambda_H: float) -> float:
    """sum_k (n_k/N) [-log(1 - t) + t log((K-1)(1-t)/t)], log K where t >= (K-1)/K."""
    K, N = len(counts), np.sum(counts)
    t = np.minimum(price(counts, lambda_W, lambda_H), (K - 1) / K)
    return float(np.sum(counts / N * (-np.log(1 - t) + t * np.log((K - 1) * (1 - t) / t))))


def _value_without_weights(counts: Array, lambda_W: float, lambda_H: float) -> float:
    return value(np.full(len(counts), np.mean(counts)), lambda_W, lambda_H)


def kept(counts: Array, lambda_W: float, lambda_H: float) -> float:
    """Classes below their threshold."""
    K = len(counts)
    return float(np.sum(price(counts, lambda_W, lambda_H) < (K - 1) / K))


def _kept_as_with_any_sign(counts: Array, lambda_W: float, lambda_H: float) -> float:
    return float(np.sum(np.sum(counts) * np.sqrt(lambda_W * lambda_H) < np.sqrt(counts)))


GIVEN: dict[str, Any] = {
    "counts": lambda s: np.array(s.model.base.counts_tuple, dtype=float),
    "lambda_W": lambda s: float(s.model.base.lambda_W),
    "lambda_H": lambda s: float(s.model.base.lambda_H),
}

CLAIMS = (
    Claim(
        id="nonnegative-unequal-value",
        title="Non-negative features: the minimum for unequal classes",
        statement="Every class has a gap of its own, which depends on its size alone, and vanishes "
        "alone.",
        latex=r"f^*=\sum_k\tfrac{n_k}N\Big[-\log(1-t_k)+t_k\log\tfrac{(K-1)(1-t_k)}{t_k}\Big],\ "
        r"t_k=\min\Big(N\sigma\sqrt{\tfrac{K-1}{Kn_k}},\tfrac{K-1}K\Big)",
        source=f"R-4; {SOURCE}",
        region=minima,
        check=Law(value, _height, GIVEN),
        tolerance=Tolerance(1e-8, "descents to a gradient of 1e-9, values of order one"),
        mutant=Mutant("classes of the mean size", Law(_value_without_weights, _height, GIVEN)),
    ),
    Claim(
        id="nonnegative-unequal-kept",
        title="Non-negative features: which classes are kept",
        statement="A class vanishes when N sigma reaches the root of its size times (K-1)/K, below "
        "the threshold of features of any sign.",
        latex=r"h_k=0\iff N\sigma\ge\sqrt{n_k(K-1)/K}",
        source=f"R-4; {SOURCE}",
        region=minima,
        check=Law(kept, _kept, GIVEN, miscount),
        tolerance=COUNTING,
        mutant=Mutant("as with any sign", Law(_kept_as_with_any_sign, _kept, GIVEN, miscount)),
        uses=("nonnegative-unequal-value",),
    ),
    Claim(
        id="nonnegative-unequal-orthogonal",
        title="Non-negative features: orthogonal for unequal classes",
        statement="Means of different classes are orthogonal, however unequal their sizes; their "
        "lengths differ.",
        latex=r"\langle\bar h_j,\bar h_k\rangle=0\ (j\ne k)",
        source=f"R-4; {SOURCE}",
        region=minima,
        check=_overlap,
        tolerance=Tolerance(1e-5, "squares of entries that descents leave at 1e-3 of a gradient"),
        mutant=Mutant("of equal lengths too", _spread),
        uses=("nonnegative-unequal-value",),
    ),
)
