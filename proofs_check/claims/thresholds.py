"""Thresholds, a thousandth before and behind: minima are zero, an ETF, or an orthogonal frame."""

from __future__ import annotations

from typing import Any

import numpy as np

from proofs_check.claim import COUNTING, Claim, Mutant
from proofs_check.claims.minimisers import c_of, descents
from proofs_check.formula_alterations import formula
from proofs_check.hypotheses import (
    BALANCED,
    ETF_FITS,
    FRAME_FITS,
    NO_REGULARISED_BIAS,
    REGULARISED_BIAS,
    centred,
)
from proofs_check.law import Formula, Law, miscount
from proofs_check.specimens import PlainSpecimen, where

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
    uses=("minimiser-mse-with-bias",),
)

CLAIMS = (*THRESHOLDS, SWITCH)
