"""Thresholds, a thousandth before and behind: minima are zero, an ETF, or lose small classes."""

from __future__ import annotations

from functools import cache
from typing import Any

import jax
import numpy as np
from scipy.optimize import brentq

from landscape.solvers.solve import solve
from proofs_check.claim import COUNTING, Claim, Mutant
from proofs_check.claims.minimisers import SUBJECT, c_of, descents
from proofs_check.formula_alterations import formula
from proofs_check.hypotheses import (
    BALANCED,
    CROSS_ENTROPIES,
    ETF_FITS,
    FRAME_FITS,
    NO_BIAS,
    NO_REGULARISED_BIAS,
    NO_SIZE_ALONE,
    REGULARISED_BIAS,
    TWO_SIZES,
    centred,
)
from proofs_check.instance import Specimen
from proofs_check.law import Formula, Law, miscount
from proofs_check.specimens import NEAR, PlainSpecimen, where, with_c
from ufm.losses import CrossEntropy, LabelSmoothing
from ufm.plain.model import UFM

RANK_CUT = 1e-6


def found_rank(specimen: PlainSpecimen) -> int:
    """Rank of the classifier that descent found."""
    return int(np.sum(np.linalg.svd(specimen.point.W, compute_uv=False) > RANK_CUT))


def _full_rank(specimen: PlainSpecimen) -> Any:
    """Rank of the optimum below the threshold, an array: no number that may be exchanged."""
    model = specimen.model
    return np.array([min(model.num_classes - int(centred(specimen)), model.d)])


FULL_RANK = {"full_rank": _full_rank}


def _law(predicted: Formula) -> Law:
    return Law(predicted, found_rank, FULL_RANK, miscount)


def _rank(full_rank: Any, c: float, constant: float) -> Any:
    return full_rank if c < constant else np.zeros(1)


def threshold_of_ce(full_rank: Any, K: int, n: int, lambda_W: float, lambda_H: float) -> Any:
    """c = 1."""
    return _rank(full_rank, c_of(K, n, lambda_W, lambda_H), 1)


def threshold_of_ls(
    full_rank: Any, K: int, n: int, lambda_W: float, lambda_H: float, delta: float
) -> Any:
    """c = 1 - delta."""
    return _rank(full_rank, c_of(K, n, lambda_W, lambda_H), 1 - delta)


@formula
def focal_constant(K: int, gamma: float) -> float:
    """(1 - 1/K)^gamma + gamma (1 - 1/K)^(gamma - 1) log(K)/K."""
    rest = 1 - 1 / K
    return float(rest**gamma + gamma * rest ** (gamma - 1) * np.log(K) / K)


def threshold_of_focal(
    full_rank: Any, K: int, n: int, lambda_W: float, lambda_H: float, gamma: float
) -> Any:
    """FL-3, where focal loss is convex at chance."""
    return _rank(full_rank, c_of(K, n, lambda_W, lambda_H), focal_constant(K, gamma))


@formula
def rescaled_constant(K: int, kappa: float, M: float, free_bias: Any) -> float:
    """kappa M, and K M kappa/(kappa + K - 1) with an unregularised bias."""
    return K * M * kappa / (kappa + K - 1) if free_bias else kappa * M


def threshold_of_rescaled(
    full_rank: Any,
    K: int,
    n: int,
    lambda_W: float,
    lambda_H: float,
    kappa: float,
    M: float,
    free_bias: Any,
) -> Any:
    """MSE-4."""
    constant = rescaled_constant(K, kappa, M, free_bias)
    return _rank(full_rank, c_of(K, n, lambda_W, lambda_H), constant)


def _rescaled_law(predicted: Formula) -> Law:
    given = {**FULL_RANK, "free_bias": lambda s: np.array([s.model.lambda_b is not None])}
    return Law(predicted, found_rank, given, miscount)


# ---- the same with a constant two per cent too large


def _ce_high(full_rank: Any, c: float) -> Any:
    return _rank(full_rank, c, 1.02)


def _ls_other_convention(full_rank: Any, K: int, c: float, delta: float) -> Any:
    return _rank(full_rank, c, 1 - delta * K / (K - 1))


def _focal_without_gamma(full_rank: Any, K: int, c: float, gamma: float) -> Any:
    rest = 1 - 1 / K
    return _rank(full_rank, c, rest**gamma + rest ** (gamma - 1) * np.log(K) / K)


def _rescaled_without_bias(full_rank: Any, c: float, kappa: float, M: float) -> Any:
    return _rank(full_rank, c, 1.02 * kappa * M)


def _threshold(
    slug: str,
    words: str,
    latex: str,
    source: str,
    law: Law,
    mutant: Mutant,
    *families: str,
    uses: tuple[str, ...] = (),
    squared: bool = False,
) -> Claim:
    """The claim that the minimum found is zero exactly for c >= a constant."""
    return Claim(
        id=f"threshold-{slug}",
        title=f"Collapse threshold, {slug.replace('-', ' ')}",
        statement="The minimum that descent finds has full rank for c below "
        f"{words} and is zero above, with c = K sqrt(n lambda_W lambda_H).",
        latex=r"W = 0 \iff K\sqrt{n\lambda_W\lambda_H} \ge " + latex,
        source=source,
        literature="derived here" if squared else "recalled",
        hypotheses=(BALANCED, ETF_FITS, *((NO_REGULARISED_BIAS,) if squared else ())),
        region=descents(*families),
        check=law,
        tolerance=COUNTING,
        mutant=mutant,
        subject=SUBJECT,
        uses=uses or (f"minimiser-{slug}",),
    )


THRESHOLDS = (
    _threshold(
        "cross-entropy",
        "1",
        "1",
        "CE-1; Hong & Ling (2024)",
        _law(threshold_of_ce),
        Mutant("1.02 for 1", _law(_ce_high)),
        "ce",
    ),
    _threshold(
        "label-smoothing",
        "1 - delta",
        r"1-\delta",
        "LS-1; Guo et al. (2024)",
        _law(threshold_of_ls),
        Mutant("delta spread over the K - 1 other classes", _law(_ls_other_convention)),
        "ls",
    ),
    _threshold(
        "focal",
        "the constant of FL-3 (here K <= 17)",
        r"(1-\tfrac1K)^\gamma + \gamma(1-\tfrac1K)^{\gamma-1}\tfrac{\log K}{K}",
        "FL-3; derived here",
        _law(threshold_of_focal),
        Mutant("without the factor gamma", _law(_focal_without_gamma)),
        "focal",
        uses=("focal-convexity", "spectrum-origin"),
    ),
    _threshold(
        "mse",
        "1",
        "1",
        "MSE-1; after Tirer & Bruna (2022)",
        _law(threshold_of_ce),
        Mutant("1.02 for 1", _law(_ce_high)),
        "mse",
        squared=True,
    ),
    _threshold(
        "rescaled-mse",
        "kappa M (no bias) or K M kappa/(kappa + K - 1) (unregularised bias)",
        r"\kappa M \text{ or } \tfrac{K M\kappa}{\kappa+K-1}",
        "MSE-4; derived here",
        _rescaled_law(threshold_of_rescaled),
        Mutant("two per cent more, whatever the bias", _rescaled_law(_rescaled_without_bias)),
        "rescaled-mse",
        squared=True,
    ),
)


def switch(K: int, n: int, lambda_W: float, lambda_H: float, lambda_b: float) -> float:
    """Rank K below lambda_b/(1 + lambda_b), K - 1 up to c = 1, then zero."""
    c = c_of(K, n, lambda_W, lambda_H)
    return K if c < lambda_b / (1 + lambda_b) else K - 1 if c < 1 else 0


def _switch_too_low(K: int, c: float, lambda_b: float) -> float:
    return K if 1.02 * c < lambda_b / (1 + lambda_b) else K - 1 if c < 1 else 0


SWITCH = Claim(
    id="mse-bias-switch",
    title="From simplex ETF to orthogonal frame",
    statement="With MSE and a regularised bias the minimum has rank K for c below "
    "lambda_b/(1 + lambda_b) and is a simplex ETF of rank K - 1 from there to c = 1.",
    latex=r"\operatorname{rank} = K \iff c < \lambda_b/(1+\lambda_b)",
    source="MSE-2; derived here",
    hypotheses=(BALANCED, FRAME_FITS, REGULARISED_BIAS),
    region=where(descents("mse"), lambda s: bool(s.model.lambda_b)),
    check=Law(switch, found_rank, error=miscount),
    tolerance=COUNTING,
    mutant=Mutant("the threshold 2 % lower", Law(_switch_too_low, found_rank, error=miscount)),
    subject=SUBJECT,
    uses=("minimiser-mse-with-bias",),
)

# ---- minority collapse: k_A classes of n_A samples and k_B of n_B < n_A, cross entropy

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
    subject=SUBJECT,
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
    subject=SUBJECT,
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
    subject=SUBJECT,
    uses=("minority-collapse",),
)

CLAIMS = (*THRESHOLDS, SWITCH, MINORITY_COLLAPSE, MINORITY_VANISHES, ANY_SIZE)
