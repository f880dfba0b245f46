"""Binary cross entropy: with a free bias as softmax cross entropy, without one three phases."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from functools import cache
from typing import Any

import numpy as np
from scipy.optimize import brentq
from scipy.special import expit, logit

from proofs_check.claim import Claim, Mutant, Tolerance
from proofs_check.claims.minimisers import c_of, code, reached
from proofs_check.descents import descended
from proofs_check.formula_alterations import formula
from proofs_check.hypotheses import BALANCED, ETF_FITS, FRAME_FITS, FREE_BIAS, NO_BIAS, loss_is
from proofs_check.instance import Specimen
from proofs_check.law import Law
from proofs_check.redraw import Redraw, redrawn_by
from proofs_check.specimens import NEAR, PlainSpecimen, with_c
from ufm.losses import BCE, Loss
from ufm.plain.model import UFM
from ufm.typing import Array

ByHand = Callable[[Array, Array], tuple[Array, Array]]
ONE_VS_REST = loss_is("the loss is binary cross entropy", "bce")
BRACKET = (0.0, 700.0)


# ---- minima by descent: losses and gradients by hand, no program to compile


def _binary(Z: Array, labels: Array) -> tuple[Array, Array]:
    own = np.eye(len(Z))[:, labels]
    return np.sum(np.logaddexp(0, Z), axis=0) - np.sum(own * Z, axis=0), expit(Z) - own


def minimum(model: UFM, by_hand: ByHand, seed: int) -> PlainSpecimen:
    """L-BFGS on all samples."""
    labels, lb = np.asarray(model.labels), model.lambda_b
    N, decays = len(labels), (float(model.lambda_W), float(model.lambda_H))

    def loss(Z: Array) -> tuple[float, Array]:
        values, V = by_hand(Z, labels)
        return float(np.mean(values)), V / N

    shape = (model.num_classes, model.d, N)
    point = descended(loss, shape, decays, seed, None if lb is None else float(lb))[1]
    return Specimen(model, point, "minimiser")


def descended_again(by_hand: Callable[[Any], ByHand]) -> Redraw:
    """Further minima of a convex loss, from one more start each: with room there are no others.

    On all samples, also where the listed one has one sample per class and looks merged.
    """
    return lambda listed, model, seed: minimum(model, by_hand(model.loss), seed)


# (K, n, lambda_W / lambda_H): c is given by the region.
_EVEN = ((3, 2, 1.7), (4, 3, 0.3), (6, 1, 3.0))


def equal_classes(
    loss: Loss, by_hand: Any, lambda_b: float | None, c_values: Any
) -> Iterable[PlainSpecimen]:
    """Minima with equal classes: by hand from the model's loss, c from the number of classes."""
    for number, (K, n, ratio) in enumerate(_EVEN):
        model = UFM(loss, K, K + 1, n, lambda_W=1, lambda_H=1, lambda_b=lambda_b)
        for i, c in enumerate(c_values(K)):
            chosen = with_c(model, c, ratio)
            yield minimum(chosen, by_hand(chosen.loss), 10 * number + i)


@redrawn_by(descended_again(lambda loss: _binary))
@cache
def one_vs_rest(quick: bool = False) -> tuple[PlainSpecimen, ...]:
    """Minima of binary cross entropy with a free bias, c on both sides of 1."""
    shares = (0.2, 1 + NEAR) if quick else (0.2, 0.63, 1 - NEAR, 1 + NEAR)
    return tuple(equal_classes(BCE(), lambda loss: _binary, 0.0, lambda K: shares))


@redrawn_by(descended_again(lambda loss: _binary))
@cache
def phases(quick: bool = False) -> tuple[PlainSpecimen, ...]:
    """The same without a bias: in every phase and on both sides of the thresholds."""

    def values(K: int) -> list[float]:
        edge = max(1.0, (K - 2) / 2)
        found = [0.2, edge - NEAR, edge + NEAR, *([1.37] if edge > 1 else [])]
        return found if quick else [*found, 0.91, *([1 - NEAR] if edge > 1 else [])]

    return tuple(equal_classes(BCE(), lambda loss: _binary, None, values))


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
        uses=("identity-one-vs-rest-derivatives",),
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
    ),
)
