"""Thresholds: on which side of them the minimum is zero, an ETF, or has lost its small classes."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import cache
from typing import Any

import jax
import numpy as np
from scipy.optimize import brentq

from landscape.solvers.solve import solve
from proofs_check.claim import Claim, Hypothesis, Mutant
from proofs_check.claims.critical import COUNTING, COUNTING_SOURCE, NO_BIAS
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
from ufm.plain.model import UFM

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

# ---- minority collapse: k_A classes of n_A samples and k_B of n_B < n_A, cross entropy

MAJORITY, MINORITY = (2, 9), (3, 2)  # (k_A, n_A), (k_B, n_B)


def vanishing_point() -> float:
    """N sigma at which the minority's classifiers vanish altogether, without bias (X-4).

    Example:
        >>> round(vanishing_point(), 6)
        2.373892
    """
    (k_A, n_A), (k_B, n_B) = MAJORITY, MINORITY
    K = k_A + k_B

    def excess(a: float) -> float:
        up, down = np.exp(a * (k_A - 1)), np.exp(-a)
        total = up + (k_A - 1) * down + k_B
        x = np.sqrt(n_A) * (1 - (up - down) / total)
        return float(K * x**2 - k_A * n_B - k_B * n_A * (K / total) ** 2)

    a = float(brentq(excess, 1e-9, 20.0, xtol=1e-15))
    up, down = np.exp(a * (k_A - 1)), np.exp(-a)
    return float(np.sqrt(n_A) * (1 - (up - down) / (up + (k_A - 1) * down + k_B)))


@cache
def imbalanced_specimens(quick: bool = False) -> tuple[Specimen, ...]:
    """Minima with two class sizes, N sigma on both sides of the thresholds, d = K - 1."""
    (k_A, n_A), (k_B, n_B) = MAJORITY, MINORITY
    counts = (n_A,) * k_A + (n_B,) * k_B
    found: list[Specimen] = []
    for lambda_b in (None,) if quick else (None, 0.1):
        for i, x in enumerate((np.sqrt(n_B), vanishing_point())):
            for share in (0.97, 1.03):
                sigma, ratio = share * x / sum(counts), (0.4, 2.0)[i]
                model = UFM(
                    CrossEntropy(),
                    d=len(counts) - 1,
                    counts=counts,
                    lambda_W=sigma * ratio,
                    lambda_H=sigma / ratio,
                    lambda_b=lambda_b,
                )
                run = solve(model, key=jax.random.key(i))
                found.append(Specimen(model, run.point.to_numpy(), "minimiser", bool(run.result)))
    return tuple(specimen for specimen in found if specimen.converged)


def _minority(specimen: Specimen) -> tuple[float, float, float]:
    """N sigma, the spread of the minority's classifiers, and their largest entry."""
    model = specimen.model
    rows = specimen.point.W[MAJORITY[0] :]
    spread = float(np.abs(rows - rows.mean(axis=0)).max())
    return model.num_samples * model.sigma, spread, float(np.abs(rows).max())


def _collapse_error(power: float) -> Callable[[Specimen], float]:
    def check(specimen: Specimen) -> float:
        x, spread, _ = _minority(specimen)
        return float((spread <= RANK_CUT) != (x >= MINORITY[1] ** power))

    return check


def _vanishing_error(point: float) -> Callable[[Specimen], float]:
    def check(specimen: Specimen) -> float:
        x, _, size = _minority(specimen)
        return float((size <= RANK_CUT) != (x >= point))

    return check


MINORITY_COLLAPSE = Claim(
    id="minority-collapse",
    title="Minority collapse",
    statement="With cross entropy and two class sizes the classifiers of the smaller classes "
    "coincide exactly when N sigma >= sqrt(n_B), with or without a regularised bias.",
    latex=r"w_j = w_k\ (j,k \in B) \iff N\sqrt{\lambda_W\lambda_H} \ge \sqrt{n_B}",
    source="X-4; Hong & Ling (2024)",
    literature="proved",
    hypotheses=(ETF_FITS,),
    region=imbalanced_specimens,
    check=_collapse_error(0.5),
    tolerance=COUNTING,
    tolerance_source=COUNTING_SOURCE + "; N sigma is 3 % away from the threshold",
    tier="T1",
    mutant=Mutant("n_B for sqrt(n_B)", _collapse_error(1.0)),
    subject=SUBJECT,
)

MINORITY_VANISHES = Claim(
    id="minority-vanishes",
    title="The minority vanishes",
    statement="Without bias the classifiers of the smaller classes are zero exactly when N sigma "
    "exceeds the root of a scalar equation.",
    latex=r"K N^2\sigma^2 \ge k_A n_B + k_B n_A t^2",
    source="X-4; after Hong & Ling (2024), the equation is derived here",
    literature="derived here",
    hypotheses=(ETF_FITS, NO_BIAS),
    region=imbalanced_specimens,
    check=_vanishing_error(vanishing_point()),
    tolerance=COUNTING,
    tolerance_source=MINORITY_COLLAPSE.tolerance_source,
    tier="T1",
    mutant=Mutant("sqrt(n_A) for the root", _vanishing_error(np.sqrt(MAJORITY[1]))),
    subject=SUBJECT,
)

CLAIMS = (*THRESHOLDS, SWITCH, MINORITY_COLLAPSE, MINORITY_VANISHES)
