"""Minority collapse, a thousandth before and behind: small classes coincide, or vanish."""

from __future__ import annotations

from functools import cache

import jax
import numpy as np
from scipy.optimize import brentq

from landscape.solvers.solve import solve
from proofs_check.claim import COUNTING, Claim, Mutant
from proofs_check.claims.thresholds import RANK_CUT
from proofs_check.formula_alterations import formula
from proofs_check.hypotheses import (
    CROSS_ENTROPIES,
    ETF_FITS,
    NO_BIAS,
    NO_SIZE_ALONE,
    TWO_SIZES,
)
from proofs_check.instance import Specimen
from proofs_check.law import Law, miscount
from proofs_check.specimens import NEAR, PlainSpecimen, with_c
from ufm.losses import CrossEntropy, LabelSmoothing
from ufm.plain.model import UFM

# ---- two sizes: k_A classes of n_A samples and k_B of n_B < n_A, cross entropy

# ((k_A, n_A), (k_B, n_B)): imbalances 4.5, 3.5 and 1.75, each of other numbers of classes.
IMBALANCES = (((2, 9), (3, 2)), ((3, 7), (2, 2)), ((4, 7), (2, 4)))
BRACKET = (1e-9, 20.0)


@formula
def majority_gap(a: float, k_A: int, k_B: int) -> tuple[float, float]:
    """1 - N sigma / sqrt(n_A), and t = K times a minority probability, at majority logits a."""
    up, down = np.exp(a * (k_A - 1)), np.exp(-a)
    total = up + (k_A - 1) * down + k_B
    return float((up - down) / total), float((k_A + k_B) / total)


@formula
def vanishing_point(k_A: int, n_A: int, k_B: int, n_B: int) -> float:
    """N sigma at which the minority's classifiers vanish altogether, without bias (X-4).

    The root of K N^2 sigma^2 = k_A n_B + k_B n_A t^2.

    Example:
        >>> round(vanishing_point(2, 9, 3, 2), 6)
        2.373892
    """

    def excess(a: float) -> float:
        gap, t = majority_gap(a, k_A, k_B)
        x = np.sqrt(n_A) * (1 - gap)
        return float((k_A + k_B) * x**2 - k_A * n_B - k_B * n_A * t**2)

    root = float(brentq(excess, *BRACKET, xtol=1e-15))
    return float(np.sqrt(n_A) * (1 - majority_gap(root, k_A, k_B)[0]))


@cache
def imbalanced_specimens(quick: bool = False) -> tuple[PlainSpecimen, ...]:
    """Minima with two class sizes, N sigma on both sides of both thresholds, d = K - 1."""
    found: list[PlainSpecimen] = []
    for number, ((k_A, n_A), (k_B, n_B)) in enumerate(IMBALANCES[: 1 if quick else None]):
        counts = (n_A,) * k_A + (n_B,) * k_B
        for lambda_b in (None,) if quick else (None, 0.1, 1.3):
            edges = (np.sqrt(n_B), vanishing_point(k_A, n_A, k_B, n_B))
            for i, x in enumerate(edges if lambda_b is None else edges[:1]):
                for share in (1 - NEAR, 1 + NEAR):
                    K, N = len(counts), sum(counts)
                    plain = UFM(
                        CrossEntropy(),
                        d=K - 1,
                        counts=counts,
                        lambda_W=1,
                        lambda_H=1,
                        lambda_b=lambda_b,
                    )
                    c = share * x * np.sqrt(K / N)
                    model = with_c(plain, c, (0.63, 1.4, 2.1)[(i + number) % 3])
                    run = solve(model, key=jax.random.key(i))
                    point = run.point.to_numpy()
                    found.append(Specimen(model, point, "minimiser", bool(run.result)))
    return tuple(specimen for specimen in found if specimen.converged)


def _majority(specimen: PlainSpecimen) -> int:
    counts = specimen.model.counts_tuple
    return counts.count(counts[0])


SIZES = {
    "k_A": _majority,
    "n_A": lambda s: s.model.counts_tuple[0],
    "k_B": lambda s: s.model.num_classes - _majority(s),
    "n_B": lambda s: s.model.counts_tuple[-1],
}


def _coincides(specimen: PlainSpecimen) -> float:
    rows = specimen.point.W[_majority(specimen) :]
    return float(np.abs(rows - rows.mean(axis=0)).max() <= RANK_CUT)


def _vanishes(specimen: PlainSpecimen) -> float:
    return float(np.abs(specimen.point.W[_majority(specimen) :]).max() <= RANK_CUT)


@formula
def strength(N: int, lambda_W: float, lambda_H: float) -> float:
    """N sigma."""
    return float(N * np.sqrt(lambda_W * lambda_H))


def minority_collapsed(
    k_A: int, n_A: int, k_B: int, n_B: int, N: int, lambda_W: float, lambda_H: float
) -> float:
    """Whether N sigma >= sqrt(n_B)."""
    return float(strength(N, lambda_W, lambda_H) >= np.sqrt(n_B))


def _without_the_root(n_B: int, N: int, lambda_W: float, lambda_H: float) -> float:
    return float(strength(N, lambda_W, lambda_H) >= 1.02 * np.sqrt(n_B))


def minority_vanished(
    k_A: int, n_A: int, k_B: int, n_B: int, N: int, lambda_W: float, lambda_H: float
) -> float:
    """Whether N sigma is at least the root of X-4."""
    return float(strength(N, lambda_W, lambda_H) >= vanishing_point(k_A, n_A, k_B, n_B))


def _vanished_too_late(
    k_A: int, n_A: int, k_B: int, n_B: int, N: int, lambda_W: float, lambda_H: float
) -> float:
    return float(strength(N, lambda_W, lambda_H) >= 1.01 * vanishing_point(k_A, n_A, k_B, n_B))


MINORITY_COLLAPSE = Claim(
    id="minority-collapse",
    title="Minority collapse",
    statement="With cross entropy and two class sizes the classifiers of the smaller classes "
    "coincide exactly when N sigma >= sqrt(n_B), with or without a regularised bias.",
    latex=r"w_j = w_k\ (j,k \in B) \iff N\sqrt{\lambda_W\lambda_H} \ge \sqrt{n_B}",
    source="X-4; Hong & Ling (2024)",
    literature="proved",
    hypotheses=(ETF_FITS, TWO_SIZES),
    region=imbalanced_specimens,
    check=Law(minority_collapsed, _coincides, SIZES),
    tolerance=COUNTING,
    mutant=Mutant("the threshold 2 % higher", Law(_without_the_root, _coincides, SIZES)),
    uses=("certificate-equality", "rank-at-most-k-minus-one"),
)

MINORITY_VANISHES = Claim(
    id="minority-vanishes",
    title="The minority vanishes",
    statement="Without bias the classifiers of the smaller classes are zero exactly when N sigma "
    "exceeds the root of a scalar equation.",
    latex=r"K N^2\sigma^2 \ge k_A n_B + k_B n_A t^2",
    source="X-4; after Hong & Ling (2024), the equation is derived here",
    hypotheses=(ETF_FITS, TWO_SIZES, NO_BIAS),
    region=imbalanced_specimens,
    check=Law(minority_vanished, _vanishes, SIZES),
    tolerance=COUNTING,
    mutant=Mutant("the root 1 % higher", Law(_vanished_too_late, _vanishes, SIZES)),
    uses=("minority-collapse",),
)

# ---- any number of class sizes, with smoothing

SIZES_OF_CLASSES = ((7, 7, 4, 4, 2, 2), (5, 5, 3, 3, 3))


@cache
def several_sizes(quick: bool = False) -> tuple[PlainSpecimen, ...]:
    """Minima with three sizes and two, CE and LS, N sigma on both sides of every threshold."""
    found: list[PlainSpecimen] = []
    for number, counts in enumerate(SIZES_OF_CLASSES[: 1 if quick else None]):
        K, N = len(counts), sum(counts)
        smoothed = () if number else (LabelSmoothing(0.07), LabelSmoothing(0.16))
        for loss in (CrossEntropy(), *smoothed):
            for i, m in enumerate(sorted(set(counts))):
                for share in (1 - NEAR, 1 + NEAR):
                    plain = UFM(loss, d=K, counts=counts, lambda_W=1, lambda_H=1)
                    x = share * (1 - float(getattr(loss, "delta", 0.0))) * np.sqrt(m)
                    model = with_c(plain, x * np.sqrt(K / N), (0.63, 1.4)[(i + number) % 2])
                    run = solve(model, key=jax.random.key(i))
                    point = run.point.to_numpy()
                    found.append(Specimen(model, point, "minimiser", bool(run.result)))
    return tuple(specimen for specimen in found if specimen.converged)


def _coincide_by_size(specimen: PlainSpecimen) -> np.ndarray:
    """For every size in use whether its classes share their classifier, ascending."""
    counts, W = np.asarray(specimen.model.counts), specimen.point.W
    groups = [W[counts == m] for m in np.unique(counts)]
    return np.array([np.abs(rows - rows.mean(axis=0)).max() <= RANK_CUT for rows in groups])


def collapsed_sizes(
    counts: np.ndarray, N: int, lambda_W: float, lambda_H: float, delta: float
) -> np.ndarray:
    """Whether N sigma >= (1 - delta) sqrt(m), for every size m."""
    roots = np.sqrt(np.unique(np.asarray(counts)))
    return np.asarray(strength(N, lambda_W, lambda_H) >= (1 - delta) * roots)


def _unsmoothed(counts: np.ndarray, N: int, lambda_W: float, lambda_H: float) -> np.ndarray:
    roots = np.sqrt(np.unique(np.asarray(counts)))
    return np.asarray(strength(N, lambda_W, lambda_H) >= roots)


SMOOTHING = {"delta": lambda s: float(getattr(s.model.loss, "delta", 0.0))}

ANY_SIZE = Claim(
    id="minority-collapse-of-any-size",
    title="Collapse of the classes of any size",
    statement="With cross entropy or label smoothing and any class sizes the classifiers of all "
    "classes of size m coincide exactly when N sigma >= (1 - delta) sqrt(m).",
    latex=r"w_j = w_k\ (n_j = n_k = m) \iff N\sqrt{\lambda_W\lambda_H} \ge (1-\delta)\sqrt m",
    source="X-4; derived here, after Hong & Ling (2024)",
    hypotheses=(ETF_FITS, NO_SIZE_ALONE, CROSS_ENTROPIES),
    region=several_sizes,
    check=Law(collapsed_sizes, _coincide_by_size, SMOOTHING, miscount),
    tolerance=COUNTING,
    mutant=Mutant(
        "without the factor 1 - delta", Law(_unsmoothed, _coincide_by_size, {}, miscount)
    ),
    uses=("minority-collapse",),
)

CLAIMS = (MINORITY_COLLAPSE, MINORITY_VANISHES, ANY_SIZE)
