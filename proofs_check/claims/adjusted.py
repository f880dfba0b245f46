"""Adjusted cross entropy: what weights, scales, offsets and margins do to collapse."""

from __future__ import annotations

from collections.abc import Callable
from functools import cache
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.special import softmax

from proofs_check.claim import COUNTING, Claim, Hypothesis, Mutant
from proofs_check.claims.minimisers import c_of, code, reached
from proofs_check.claims.minority_collapse import strength
from proofs_check.claims.one_vs_rest import (
    POINT,
    ByHand,
    descended_again,
    equal_classes,
    minimum,
)
from proofs_check.formula_alterations import formula
from proofs_check.hypotheses import BALANCED, ETF_FITS, NO_BIAS, loss_is
from proofs_check.law import Law, miscount
from proofs_check.redraw import redrawn_by
from proofs_check.specimens import NEAR, PlainSpecimen
from ufm.losses import (
    AdjustedCrossEntropy,
    CrossEntropy,
    class_weighted,
    ldam,
    logit_adjusted,
    vector_scaling,
)
from ufm.plain.model import UFM
from ufm.typing import Array

MARGINS = loss_is("the loss is LDAM", "ldam")
UNEQUAL = Hypothesis("unequal class sizes", lambda s: not s.model.balanced)
# Classifiers of a class size that agree to this are one; apart, they differ by a tenth and more.
SAME = 1e-3
ASIDE = 0.015


def _adjusted(loss: Any) -> ByHand:
    w, s, o, m = (np.asarray(x) for x in (loss.weights, loss.scales, loss.offsets, loss.margins))

    def by_hand(Z: Array, labels: Array) -> tuple[Array, Array]:
        own = np.eye(len(Z))[:, labels]
        p = softmax(s[:, None] * Z + o[:, None] - own * m[:, None], axis=0)
        return -w[labels] * np.log(np.sum(own * p, axis=0)), w[labels] * s[:, None] * (p - own)

    return by_hand


@redrawn_by(descended_again(_adjusted))
@cache
def with_margins(quick: bool = False) -> tuple[PlainSpecimen, ...]:
    """Minima of LDAM with equal classes, c on both sides of its threshold."""
    found: list[PlainSpecimen] = []
    for margin in (0.7, 0.4):

        def values(K: int, margin: float = margin) -> list[float]:
            edge = K / (K - 1 + np.exp(-margin))
            return [0.3, edge - NEAR, edge + NEAR]

        found += equal_classes(ldam(margin), _adjusted, None, values)
    return tuple(found[: 3 if quick else None])


_COUNTS = ((9, 9, 2, 2, 2), (4, 7, 7, 4))


def _uneven(
    loss: Any, counts: tuple[int, ...], seed: int, lambda_b: float | None, **decays: Any
) -> PlainSpecimen:
    model = UFM(loss, counts=counts, d=len(counts), lambda_b=lambda_b, **decays)
    known = model.loss if model.loss.name != "ce" else AdjustedCrossEntropy(len(counts))
    return minimum(model, _adjusted(known), seed)


@cache
def logit_adjustments(quick: bool = False, lambda_b: float | None = 0.0) -> tuple[Any, ...]:
    """Minima of logit adjustment with unequal classes and a free bias."""
    found = []
    for seed, (tau, counts) in enumerate(
        ((1.0, _COUNTS[0]), (2.0, _COUNTS[0]), (1.5, (8, 5, 5, 3, 3)))
    ):
        found.append(
            _uneven(logit_adjusted(tau), counts, seed, lambda_b, lambda_W=0.03, lambda_H=0.02)
        )
    return tuple(found[: 1 if quick else None])


def logit_adjustments_without_bias(quick: bool = False) -> tuple[Any, ...]:
    """The same without a bias."""
    return logit_adjustments(quick, None)


@cache
def minorities(quick: bool = False) -> tuple[PlainSpecimen, ...]:
    """Minima of adjusted losses with unequal classes, decays on both sides of the law's."""
    cases: list[tuple[Any, tuple[int, ...]]] = [
        (logit_adjusted(1.0), _COUNTS[0]),
        (logit_adjusted(2.0), _COUNTS[1]),
        (class_weighted(0.5), _COUNTS[0]),
        (vector_scaling(0.4, 0.0), _COUNTS[0]),
        (vector_scaling(-0.5, 1.0), _COUNTS[1]),
        (class_weighted(1.0), _COUNTS[1]),
    ]
    found = []
    for seed, (loss, counts) in enumerate(cases[: 2 if quick else None]):
        told, m = loss.for_counts(counts), int(np.argmin(counts))
        edge = float(told.weights[m] * told.scales[m]) * np.sqrt(counts[m]) / sum(counts)
        for share in (1 - ASIDE, 1 + ASIDE):
            decays = {"lambda_W": 1.3 * share * edge, "lambda_H": share * edge / 1.3}
            found.append(_uneven(loss, counts, seed, None, **decays))
    return tuple(found)


@cache
def weights_alone(quick: bool = False) -> tuple[PlainSpecimen, ...]:
    """Minima of cross entropy with every class at the same total weight."""
    return (_uneven(class_weighted(1.0), (9, 4, 2), 0, None, lambda_W=0.01, lambda_H=0.01),)


# ---- what is measured


def _smallest(specimen: PlainSpecimen) -> NDArray[np.int64]:
    counts = np.asarray(specimen.model.counts)
    return np.flatnonzero(counts == counts.min())


def _apart(specimen: PlainSpecimen) -> float:
    """Whether classifiers of the smallest classes differ."""
    rows = specimen.point.W[_smallest(specimen)]
    return float(np.abs(rows - rows.mean(axis=0)).max() > SAME)


def _of_smallest(name: str) -> Callable[[PlainSpecimen], float]:
    return lambda s: float(getattr(s.model.loss, name)[_smallest(s)[0]])


MINORITY = {
    "m": lambda s: int(min(s.model.counts_tuple)),
    "weight": _of_smallest("weights"),
    "scale": _of_smallest("scales"),
    "shares": lambda s: np.asarray(s.model.counts) / float(s.model.num_samples),
    "tau": lambda s: float(s.model.loss.parameters[-1]),
}


def _centred(x: Array) -> Array:
    return np.asarray(x - x.mean())


def _solution(specimen: PlainSpecimen) -> tuple[float, Array, Array]:
    """f, the logits without bias, and the centred bias; zero where there is none."""
    point, model = specimen.point, specimen.model
    b = np.zeros(model.num_classes) if point.b is None else _centred(point.b)
    return float(model.objective(point)), point.W @ point.H, b


def _plain(specimen: PlainSpecimen) -> tuple[float, Array, Array]:
    """The same of cross entropy."""
    model = specimen.model
    decays = {"lambda_W": float(model.lambda_W), "lambda_H": float(model.lambda_H)}
    twin = _uneven(CrossEntropy(), model.counts_tuple, 5, model.lambda_b, **decays)
    return _solution(twin)


TWIN = {
    "f": lambda s: s.once(_plain)[0],
    "Z": lambda s: s.once(_plain)[1],
    "b": lambda s: s.once(_plain)[2],
    "tau": MINORITY["tau"],
    "shares": MINORITY["shares"],
}


def _off_simplex(specimen: PlainSpecimen) -> float:
    """Largest distance of a cosine between classifiers from -1/(K - 1)."""
    W, K = specimen.point.W, specimen.model.num_classes
    unit = W / np.linalg.norm(W, axis=1, keepdims=True)
    return float(np.abs((unit @ unit.T)[~np.eye(K, dtype=bool)] + 1 / (K - 1)).max())


# ---- formulas


@formula
def margin_gap(K: int, c: float, margin: float) -> float:
    """margin + log(K/c - K + 1), zero from c = K/(K - 1 + e^-margin) on."""
    edge = K / (K - 1 + np.exp(-margin))
    return float(margin + np.log(K / c - K + 1)) if c < edge else 0.0


def margins(K: int, n: int, lambda_W: float, lambda_H: float, margin: float) -> tuple[Any, ...]:
    """ADJ-3: value, W W^T, logits of class means, their spread."""
    c = c_of(K, n, lambda_W, lambda_H)
    a = margin_gap(K, c, margin)
    value = np.log(1 + (K - 1) * np.exp(margin - a)) + c / K * (K - 1) * a
    return (value, *code(K, n, lambda_W, lambda_H, a, 0.0))


def _gone_at_one(K: int, n: int, lambda_W: float, lambda_H: float, margin: float) -> Any:
    if c_of(K, n, lambda_W, lambda_H) < 1:
        return margins(K, n, lambda_W, lambda_H, margin)
    value = np.log(1 + (K - 1) * np.exp(margin))
    return (value, *code(K, n, lambda_W, lambda_H, 0.0, 0.0))


def shifted(f: float, Z: Array, b: Array, tau: float, shares: Array) -> tuple[float, Array, Array]:
    """ADJ-1: cross entropy's solution with the bias b - tau log pi."""
    moved = b - tau * np.log(shares)
    return f, Z, moved - moved.mean()


def differ(N: int, lambda_W: float, lambda_H: float, weight: float, scale: float, m: int) -> float:
    """ADJ-2: whether N sigma < weight * scale * sqrt(m)."""
    return float(strength(N, lambda_W, lambda_H) < weight * scale * np.sqrt(m))


def _moved_by_offsets(
    N: int,
    lambda_W: float,
    lambda_H: float,
    weight: float,
    scale: float,
    m: int,
    tau: float,
    shares: Array,
) -> float:
    lift = (1 / len(shares) / shares.min()) ** (0.1 * tau)
    return float(strength(N, lambda_W, lambda_H) < weight * scale * np.sqrt(m) * lift)


CLAIMS = (
    Claim(
        id="ldam-collapse",
        title="LDAM: the gap is longer by the margin",
        statement="With equal classes and a common margin the minimum is a simplex ETF whose gap "
        "is that of cross entropy plus the margin, and collapses later.",
        latex=r"a=\Delta+\log(\tfrac Kc-K+1),\quad W=0\iff c\ge\frac K{K-1+e^{-\Delta}}",
        source="ADJ-3; derived here",
        hypotheses=(MARGINS, BALANCED, ETF_FITS, NO_BIAS),
        region=with_margins,
        check=Law(margins, reached, {"margin": MINORITY["tau"]}),
        tolerance=POINT,
        mutant=Mutant(
            "zero from c = 1 on", Law(_gone_at_one, reached, {"margin": MINORITY["tau"]})
        ),
    ),
    Claim(
        id="logit-adjustment-bias",
        title="Logit adjustment moves a free bias and nothing else",
        statement="With an unregularised bias logit adjustment has the value, classifier and "
        "features of cross entropy, and the bias less tau log pi.",
        latex=r"(W,H,b)\mapsto(W,H,b-\tau\log\pi)",
        source="ADJ-1; derived here",
        hypotheses=(UNEQUAL,),
        region=logit_adjustments,
        check=Law(shifted, _solution, TWIN),
        tolerance=POINT,
        mutant=Mutant("no bias", Law(shifted, _solution, TWIN), logit_adjustments_without_bias),
    ),
    Claim(
        id="minority-collapse-adjusted",
        title="Minority collapse of adjusted losses",
        statement="Classifiers of the classes of m samples, which have one weight, scale and "
        "offset, coincide iff N sigma >= weight * scale * sqrt(m): offsets play no part.",
        latex=r"w_i=w_j\iff N\sigma\ge\omega_m\Delta_m\sqrt m",
        source="ADJ-2; derived here",
        hypotheses=(UNEQUAL,),
        region=minorities,
        check=Law(differ, _apart, MINORITY, miscount),
        tolerance=COUNTING,
        mutant=Mutant(
            "logit adjustment moves the threshold",
            Law(_moved_by_offsets, _apart, MINORITY, miscount),
        ),
        uses=("minority-collapse",),
    ),
    Claim(
        id="weights-restore-etf",
        title="Refuted: class weights alone restore the simplex ETF",
        statement="FALSE: with weights N / (K n_k) the classifier of unequal classes is a simplex "
        "ETF. It is one where the features of a class have the decay lambda_H / n_k as well.",
        latex=r"\omega_k=\tfrac N{Kn_k}\ \Rightarrow\ \cos(w_i,w_j)=-\tfrac1{K-1}",
        source="ADJ-4; derived here",
        literature="refuted",
        hypotheses=(UNEQUAL,),
        region=weights_alone,
        check=_off_simplex,
        tolerance=POINT,
        mutant=Mutant("no weights", _off_simplex, logit_adjustments_without_bias),
        holds=False,
        uses=("minimiser-cross-entropy",),
    ),
)
