"""Losses for many and for unequal classes: one-vs-rest, and adjusted cross entropy."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from functools import cache
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.optimize import brentq, minimize
from scipy.special import expit, logit, softmax

from proofs_check.claim import COUNTING, Claim, Hypothesis, Mutant, Tolerance
from proofs_check.claims.minimisers import c_of, code, reached
from proofs_check.claims.thresholds import strength
from proofs_check.hypotheses import BALANCED, ETF_FITS, FRAME_FITS, FREE_BIAS, NO_BIAS, loss_is
from proofs_check.instance import Specimen
from proofs_check.law import Law, miscount
from proofs_check.mutants import formula
from proofs_check.specimens import NEAR, PlainSpecimen, with_c
from ufm.losses import (
    BCE,
    AdjustedCrossEntropy,
    CrossEntropy,
    Loss,
    class_weighted,
    ldam,
    logit_adjusted,
    vector_scaling,
)
from ufm.plain.model import UFM
from ufm.point import Point

Array = NDArray[np.float64]
ByHand = Callable[[Array, Array], tuple[Array, Array]]
SUBJECT = "losses"
ONE_VS_REST = loss_is("the loss is binary cross entropy", "bce")
MARGINS = loss_is("the loss is LDAM", "ldam")
UNEQUAL = Hypothesis("unequal class sizes", lambda s: not s.model.balanced)
BRACKET = (0.0, 700.0)
# Classifiers of a class size that agree to this are one; apart, they differ by a tenth and more.
SAME = 1e-3
ASIDE = 0.015


# ---- minima by descent: losses and gradients by hand, no program to compile


def _binary(Z: Array, labels: Array) -> tuple[Array, Array]:
    own = np.eye(len(Z))[:, labels]
    return np.sum(np.logaddexp(0, Z), axis=0) - np.sum(own * Z, axis=0), expit(Z) - own


def _adjusted(loss: Any) -> ByHand:
    w, s, o, m = (np.asarray(x) for x in (loss.weights, loss.scales, loss.offsets, loss.margins))

    def by_hand(Z: Array, labels: Array) -> tuple[Array, Array]:
        own = np.eye(len(Z))[:, labels]
        p = softmax(s[:, None] * Z + o[:, None] - own * m[:, None], axis=0)
        return -w[labels] * np.log(np.sum(own * p, axis=0)), w[labels] * s[:, None] * (p - own)

    return by_hand


def _descended(model: UFM, by_hand: ByHand, seed: int) -> PlainSpecimen:
    """L-BFGS on all samples."""
    K, d, labels = model.num_classes, model.d, np.asarray(model.labels)
    N, lw, lh = len(labels), float(model.lambda_W), float(model.lambda_H)
    lb = None if model.lambda_b is None else float(model.lambda_b)

    def parts(x: Array) -> Point:
        W, H = x[: K * d].reshape(K, d), x[K * d : (K + N) * d].reshape(d, N)
        return Point(W, H, None if lb is None else x[(K + N) * d :])

    def both(x: Array) -> tuple[float, Array]:
        W, H, b = parts(x)
        values, V = by_hand(W @ H if b is None else W @ H + b[:, None], labels)
        value = np.mean(values) + lw / 2 * np.sum(W**2) + lh / 2 * np.sum(H**2)
        slopes = [V @ H.T / N + lw * W, W.T @ V / N + lh * H]
        if b is not None and lb is not None:
            value, slopes = value + lb / 2 * b @ b, [*slopes, V.mean(axis=1) + lb * b]
        return float(value), np.concatenate([slope.ravel() for slope in slopes])

    start = np.random.default_rng((37, seed)).normal(size=(K + N) * d + (0 if lb is None else K))
    options = {"maxiter": 20_000, "maxfun": 40_000, "ftol": 0, "gtol": 1e-11, "maxcor": 40}
    found = minimize(both, start, jac=True, method="L-BFGS-B", options=options)
    return Specimen(model, parts(found.x), "minimiser")


# (K, n, lambda_W / lambda_H): c is given by the region.
_EVEN = ((3, 2, 1.7), (4, 3, 0.3), (6, 1, 3.0))


def _even(loss: Loss, by_hand: Any, lambda_b: float | None, c_values: Any) -> Iterable[Any]:
    for number, (K, n, ratio) in enumerate(_EVEN):
        model = UFM(loss, K, K + 1, n, lambda_W=1, lambda_H=1, lambda_b=lambda_b)
        for i, c in enumerate(c_values(K)):
            chosen = with_c(model, c, ratio)
            yield _descended(chosen, by_hand(chosen.loss), 10 * number + i)


@cache
def one_vs_rest(quick: bool = False) -> tuple[PlainSpecimen, ...]:
    """Minima of binary cross entropy with a free bias, c on both sides of 1."""
    shares = (0.2, 1 + NEAR) if quick else (0.2, 0.63, 1 - NEAR, 1 + NEAR)
    return tuple(_even(BCE(), lambda loss: _binary, 0.0, lambda K: shares))


@cache
def phases(quick: bool = False) -> tuple[PlainSpecimen, ...]:
    """The same without a bias: in every phase and on both sides of the thresholds."""

    def values(K: int) -> list[float]:
        edge = max(1.0, (K - 2) / 2)
        found = [0.2, edge - NEAR, edge + NEAR]
        return found if quick else [*found, 0.91, *((1 - NEAR, 1.37) if edge > 1 else ())]

    return tuple(_even(BCE(), lambda loss: _binary, None, values))


@cache
def with_margins(quick: bool = False) -> tuple[PlainSpecimen, ...]:
    """Minima of LDAM with equal classes, c on both sides of its threshold."""
    found: list[PlainSpecimen] = []
    for margin in (0.7, 0.4):

        def values(K: int, margin: float = margin) -> list[float]:
            edge = K / (K - 1 + np.exp(-margin))
            return [0.3, edge - NEAR, edge + NEAR]

        found += _even(ldam(margin), _adjusted, None, values)
    return tuple(found[: 3 if quick else None])


_COUNTS = ((9, 9, 2, 2, 2), (4, 7, 7, 4))


def _uneven(
    loss: Any, counts: tuple[int, ...], seed: int, lambda_b: float | None, **decays: float
) -> PlainSpecimen:
    model = UFM(loss, counts=counts, d=len(counts), lambda_b=lambda_b, **decays)
    known = model.loss if model.loss.name != "ce" else AdjustedCrossEntropy(len(counts))
    return _descended(model, _adjusted(known), seed)


@cache
def logit_adjustments(quick: bool = False, lambda_b: float | None = 0.0) -> tuple[Any, ...]:
    """Minima of logit adjustment with unequal classes and a free bias."""
    found = []
    for seed, (tau, counts) in enumerate(((1.0, _COUNTS[0]), (2.0, _COUNTS[0]), (1.5, _COUNTS[1]))):
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


def _smallest(specimen: PlainSpecimen) -> Array:
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
def one_vs_rest_value(K: int, c: float, p: float, q: float, a: float, s: float) -> float:
    """-log p - (K - 1) log(1 - q) + (c/K) ((K - 1) a + |s|)."""
    return -np.log(p) - (K - 1) * np.log(1 - q) + c / K * ((K - 1) * a + np.abs(s))


@formula
def own(p: float, q: float) -> float:
    """The gap a of probabilities."""
    return float(logit(p) - logit(q))


@formula
def total(K: int, p: float, q: float) -> float:
    """The sum of the logits of a class."""
    return float(logit(p) + (K - 1) * logit(q))


def with_free_bias(K: int, n: int, lambda_W: float, lambda_H: float) -> tuple[Any, ...]:
    """BCE-1: value, W W^T, logits of class means, their spread, the bias."""
    c = c_of(K, n, lambda_W, lambda_H)
    q = min(c, 1) / K
    p = 1 - (K - 1) * q
    a, bias = own(p, q), total(K, p, q) / K
    value = one_vs_rest_value(K, c, p, q, a, 0.0)
    return (value, *code(K, n, lambda_W, lambda_H, a, 0.0), np.full(K, bias))


def _shared_among_others(K: int, n: int, lambda_W: float, lambda_H: float) -> tuple[Any, ...]:
    c = c_of(K, n, lambda_W, lambda_H)
    q = min(c / (K - 1), 1 / K)
    p = 1 - (K - 1) * q
    a, bias = own(p, q), total(K, p, q) / K
    value = one_vs_rest_value(K, c, p, q, a, 0.0)
    return (value, *code(K, n, lambda_W, lambda_H, a, 0.0), np.full(K, bias))


@formula
def centred_gap(K: int, c: float) -> float:
    """The gap a with (1 - p) + q = c at logits a (K - 1)/K and -a/K."""

    def excess(a: float) -> float:
        return float(expit(-a * (K - 1) / K) + expit(-a / K) - c)

    return float(brentq(excess, *BRACKET, xtol=1e-15))


def without_bias(K: int, n: int, lambda_W: float, lambda_H: float) -> tuple[Any, ...]:
    """BCE-2: value, W W^T, logits of class means, their spread."""
    c = c_of(K, n, lambda_W, lambda_H)
    p = q = 0.5
    if c < 1:
        p, q = 1 - c * (K - 2) / K, 2 * c / K
    elif c < (K - 2) / 2:
        p = q = (1 + c) / K
    a, s = own(p, q), total(K, p, q)
    if s > 0:
        a, s = centred_gap(K, c), 0.0
        p, q = expit(a * (K - 1) / K), expit(-a / K)
    value = one_vs_rest_value(K, c, p, q, a, s)
    return (value, *code(K, n, lambda_W, lambda_H, a, s))


def _zero_from_one_on(K: int, n: int, lambda_W: float, lambda_H: float) -> tuple[Any, ...]:
    if c_of(K, n, lambda_W, lambda_H) < 1:
        return without_bias(K, n, lambda_W, lambda_H)
    return (K * np.log(2), np.zeros((K, K)), np.zeros((K, K)), 0.0)


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


POINT = Tolerance(
    1e-5, "L-BFGS to a gradient of 1e-10, over a curvature of 1e-4 next to thresholds; factor 10"
)

CLAIMS = (
    Claim(
        id="bce-free-bias",
        title="Binary cross entropy with a free bias",
        statement="With an unregularised bias the minimum of one-vs-rest is a simplex ETF with the "
        "probabilities of softmax cross entropy, and zero from c = 1 on.",
        latex=r"p=1-\tfrac{(K-1)c}K,\quad q=\tfrac cK,\quad "
        r"a=\log\tfrac{(K-(K-1)c)(K-c)}{(K-1)c^2}",
        source="BCE-1; derived here",
        hypotheses=(ONE_VS_REST, BALANCED, ETF_FITS, FREE_BIAS),
        region=one_vs_rest,
        check=Law(with_free_bias, reached),
        tolerance=POINT,
        mutant=Mutant("q = c/(K - 1)", Law(_shared_among_others, reached)),
        subject=SUBJECT,
    ),
    Claim(
        id="bce-no-bias",
        title="Binary cross entropy without a bias: three phases",
        statement="Without a bias the minimum of one-vs-rest has rank K or K - 1 for c < 1, is one "
        "common feature for 1 <= c < (K - 2)/2, and zero from max(1, (K - 2)/2) on.",
        latex=r"q=\tfrac{2c}K\ (c<1),\quad q=\tfrac{1+c}K\ (1\le c<\tfrac{K-2}2),\quad "
        r"W=0\iff c\ge\max(1,\tfrac{K-2}2)",
        source="BCE-2; derived here",
        hypotheses=(ONE_VS_REST, BALANCED, FRAME_FITS, NO_BIAS),
        region=phases,
        check=Law(without_bias, reached),
        tolerance=POINT,
        mutant=Mutant("zero from c = 1 on, for all K", Law(_zero_from_one_on, reached)),
        subject=SUBJECT,
    ),
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
        subject=SUBJECT,
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
        subject=SUBJECT,
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
        subject=SUBJECT,
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
        subject=SUBJECT,
    ),
)
