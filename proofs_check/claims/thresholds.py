"""Thresholds of c: on which side of them the minimum that descent finds is zero, or an ETF."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np

from proofs_check.claim import Claim, Hypothesis, Mutant
from proofs_check.claims.critical import COUNTING, COUNTING_SOURCE
from proofs_check.claims.minimisers import (
    BALANCED,
    ETF_FITS,
    FRAME_FITS,
    NO_SQUARED_BIAS,
    SUBJECT,
    descents,
)
from proofs_check.specimens import Specimen, collapse_constant
from ufm.losses import MSE, CrossEntropy, Focal, LabelSmoothing, RescaledMSE

RANK_CUT = 1e-6


def found_rank(specimen: Specimen) -> int:
    """Rank of the classifier that descent found."""
    return int(np.sum(np.linalg.svd(specimen.point.W, compute_uv=False) > RANK_CUT))


def _rank_error(
    constant: Callable[[Any], float], samples: Callable[[int], float] = np.sqrt
) -> Callable[[Specimen], float]:
    def check(specimen: Specimen) -> float:
        model = specimen.model
        c = model.num_classes * samples(model.n) * model.sigma
        full = model.num_classes - 1 if _centred(model) else model.num_classes
        expected = min(full, model.d) if c < constant(model) else 0
        return float(abs(found_rank(specimen) - expected))

    return check


def _centred(model: Any) -> bool:
    invariant = bool(model.loss.properties(model.num_classes).shift_invariant)
    return invariant or model.lambda_b == 0


def _constant(model: Any) -> float:
    return collapse_constant(model.loss, model.num_classes, model.lambda_b is not None)


@dataclass(frozen=True)
class Threshold:
    """A collapse threshold: which loss, the constant in words and LaTeX, where it comes from."""

    slug: str
    kind: type
    words: str
    latex: str
    source: str
    squared: bool = False

    def claim(self) -> Claim:
        """The claim that the minimum found is zero exactly for c >= the constant."""
        return Claim(
            id=f"threshold-{self.slug}",
            title=f"Collapse threshold, {self.slug.replace('-', ' ')}",
            statement="The minimum that descent finds has full rank for c below "
            f"{self.words} and is zero above, with c = K sqrt(n lambda_W lambda_H).",
            latex=r"W = 0 \iff K\sqrt{n\lambda_W\lambda_H} \ge " + self.latex,
            source=self.source,
            literature="derived here" if self.squared else "recalled",
            hypotheses=(BALANCED, ETF_FITS, *((NO_SQUARED_BIAS,) if self.squared else ())),
            region=descents(self.kind),
            check=_rank_error(_constant),
            tolerance=COUNTING,
            tolerance_source=COUNTING_SOURCE + "; c is 4 % away from the threshold",
            tier="T1",
            mutant=Mutant("n for sqrt(n) in c", _rank_error(_constant, float)),
            subject=SUBJECT,
        )


THRESHOLDS = tuple(
    threshold.claim()
    for threshold in (
        Threshold("cross-entropy", CrossEntropy, "1", "1", "CE-1; Hong & Ling (2024)"),
        Threshold(
            "label-smoothing", LabelSmoothing, "1 - delta", r"1-\delta", "LS-1; Guo et al. (2024)"
        ),
        Threshold(
            "focal",
            Focal,
            "the constant of FL-3 (here K <= 17)",
            r"(1-\tfrac1K)^\gamma + \gamma(1-\tfrac1K)^{\gamma-1}\tfrac{\log K}{K}",
            "FL-3; derived here",
        ),
        Threshold("mse", MSE, "1", "1", "MSE-1; after Tirer & Bruna (2022)", True),
        Threshold(
            "rescaled-mse",
            RescaledMSE,
            "kappa M (no bias) or K M kappa/(kappa + K - 1) (unregularised bias)",
            r"\kappa M \text{ or } \tfrac{K M\kappa}{\kappa+K-1}",
            "MSE-4; derived here",
            True,
        ),
    )
)


def _switch_error(factor: float) -> Callable[[Specimen], float]:
    def check(specimen: Specimen) -> float:
        model = specimen.model
        K, c, lb = model.num_classes, model.c, float(model.lambda_b)
        ones = c * factor < lb / (1 + lb)
        expected = K if ones else K - 1 if c < 1 else 0
        return float(abs(found_rank(specimen) - expected))

    return check


SWITCH = Claim(
    id="mse-bias-switch",
    title="From simplex ETF to orthogonal frame",
    statement="With MSE and a regularised bias the minimum has rank K for c below "
    "lambda_b/(1 + lambda_b) and is a simplex ETF of rank K - 1 from there to c = 1.",
    latex=r"\operatorname{rank} = K \iff c < \lambda_b/(1+\lambda_b)",
    source="MSE-2; derived here",
    literature="derived here",
    hypotheses=(
        BALANCED,
        FRAME_FITS,
        Hypothesis("a regularised bias", lambda s: bool(s.model.lambda_b)),
    ),
    region=descents(MSE),
    check=_switch_error(1.0),
    tolerance=COUNTING,
    tolerance_source=COUNTING_SOURCE + "; c is 4 % away from the threshold",
    tier="T1",
    mutant=Mutant("the threshold 20 % lower", _switch_error(1.2)),
    subject=SUBJECT,
)

CLAIMS = (*THRESHOLDS, SWITCH)
