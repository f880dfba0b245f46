"""Global minimisers in closed form, written out here and compared with descent on all samples.

Balanced minimisers have class-mean logits Zbar = a P + (s/K) J without bias, b = beta 1,
W W^T = sqrt(n lambda_H / lambda_W) (|a| P + |s| J / K); each claim states its (a, s, beta) and f*.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
from scipy.optimize import brentq

from proofs_check.claim import Claim, Mutant, Tolerance
from proofs_check.formula_alterations import formula
from proofs_check.hypotheses import (
    BALANCED,
    ETF_FITS,
    FOCAL_CONVEX_AT_CHANCE,
    FRAME_FITS,
    FRAME_FITS_OR_BALANCED,
    NO_BIAS,
    NO_REGULARISED_BIAS,
    WITH_BIAS,
)
from proofs_check.instance import Region
from proofs_check.law import Law, discrepancy
from proofs_check.specimens import PlainSpecimen, descended_specimens, where
from ufm.typing import Array

DESCENT = Tolerance(
    1e-8, "gradient norm 1e-12 over the smallest curvature of the region, above 1e-4"
)
MAX_GAP = 1 - 1e-12


def reached(specimen: PlainSpecimen) -> tuple[Any, ...]:
    """What descent found: f, W W^T, the logits of every class, equal for all its samples, the bias.

    The mean of an unregularised bias is arbitrary where the loss ignores it, and left out.
    """
    model, point = specimen.model, specimen.point
    Z = point.W @ point.H
    means = Z.reshape(model.num_classes, model.num_classes, model.n)
    spread = float(np.abs(means - means.mean(axis=2, keepdims=True)).max())
    found = (float(model.objective(point)), point.W @ point.W.T, means.mean(axis=2), spread)
    if point.b is None:
        return found
    free = bool(model.loss.properties(model.num_classes).shift_invariant) and model.lambda_b == 0
    return (*found, point.b - point.b.mean() if free else point.b)


@formula
def c_of(K: int, n: int, lambda_W: float, lambda_H: float) -> float:
    """c = K sqrt(n lambda_W lambda_H)."""
    return float(K * np.sqrt(n * lambda_W * lambda_H))


@formula
def code(K: int, n: int, lambda_W: float, lambda_H: float, a: float, s: float) -> Any:
    """W W^T, class-mean logits and their spread for Zbar = a P + (s/K) J."""
    J = np.ones((K, K)) / K
    P = np.eye(K) - J
    weight = np.sqrt(n * lambda_H / lambda_W)
    return weight * (np.abs(a) * P + np.abs(s) * J), a * P + s * J, 0.0


def descents(*families: str) -> Region:
    """Minima found by descent on all samples, for some losses."""
    return where(descended_specimens, lambda s: s.family in families)


# ---- cross entropy and label smoothing


@formula
def smoothed_value(K: int, c: float, delta: float, alpha: float) -> float:
    """f at the simplex of logit gap alpha."""
    own = 1 - delta + delta / K
    return float(np.log(np.exp(alpha) + K - 1) - alpha * own + (K - 1) / K * c * alpha)


def cross_entropy(K: int, n: int, lambda_W: float, lambda_H: float) -> tuple[Any, ...]:
    """alpha = log(K/c - K + 1)_{>= 1}."""
    c = c_of(K, n, lambda_W, lambda_H)
    alpha = float(np.log(max(K / c - K + 1, 1.0)))
    return (smoothed_value(K, c, 0.0, alpha), *code(K, n, lambda_W, lambda_H, alpha, 0.0))


def _without_one(K: int, n: int, lambda_W: float, lambda_H: float) -> tuple[Any, ...]:
    c = c_of(K, n, lambda_W, lambda_H)
    alpha = float(np.log(max(K / c - K, 1.0)))
    return (smoothed_value(K, c, 0.0, alpha), *code(K, n, lambda_W, lambda_H, alpha, 0.0))


def label_smoothing(
    K: int, n: int, lambda_W: float, lambda_H: float, delta: float
) -> tuple[Any, ...]:
    """alpha = log(K/(c + delta) - K + 1)_{>= 1}."""
    c = c_of(K, n, lambda_W, lambda_H)
    alpha = float(np.log(max(K / (c + delta) - K + 1, 1.0)))
    return (smoothed_value(K, c, delta, alpha), *code(K, n, lambda_W, lambda_H, alpha, 0.0))


def _spread_over_the_others(
    K: int, n: int, lambda_W: float, lambda_H: float, delta: float
) -> tuple[Any, ...]:
    c = c_of(K, n, lambda_W, lambda_H)
    alpha = float(np.log(max(K / (c + delta * K / (K - 1)) - K + 1, 1.0)))
    return (smoothed_value(K, c, delta, alpha), *code(K, n, lambda_W, lambda_H, alpha, 0.0))


def _biasless(law: Callable[..., tuple[Any, ...]]) -> Law:
    """A law whose bias is zero wherever there is one."""
    return Law(law, reached, error=_with_zero_bias)


def _with_zero_bias(seen: tuple[Any, ...], said: tuple[Any, ...]) -> float:
    bias = float(np.abs(seen[4]).max()) if len(seen) > 4 else 0.0
    return max(discrepancy(seen[:4], said), bias)


CROSS_ENTROPY = Claim(
    id="minimiser-cross-entropy",
    title="Global minimiser of cross entropy",
    statement="Descent ends in the simplex ETF with logit gap log(K/c - K + 1), or at zero for "
    "c >= 1, with the norms and the value of the closed form.",
    latex=r"\alpha = \log(K/c - K + 1)_{\ge 1},\; WW^\top = \alpha \sqrt{n\lambda_H/\lambda_W}\, P",
    source="CE-1; Hong & Ling (2024), after Zhu et al. (2021)",
    literature="proved",
    hypotheses=(BALANCED, ETF_FITS),
    region=descents("ce"),
    check=_biasless(cross_entropy),
    mutant=Mutant("log(K/c - K) for log(K/c - K + 1)", _biasless(_without_one)),
    tolerance=DESCENT,
    uses=(
        "collapse-within-classes",
        "complete-invariant",
        "centred-classifier",
        "identity-logit-gap",
    ),
)

LABEL_SMOOTHING = Claim(
    id="minimiser-label-smoothing",
    title="Global minimiser of label smoothing",
    statement="Descent ends in the simplex ETF with logit gap log(K/(c + delta) - K + 1), or at "
    "zero for c >= 1 - delta, with the norms and the value of the closed form.",
    latex=r"\alpha = \log\bigl(K/(c+\delta) - K + 1\bigr)_{\ge 1}",
    source="LS-1; after Guo et al. (2024)",
    literature="recalled",
    hypotheses=(BALANCED, ETF_FITS),
    region=descents("ls"),
    check=_biasless(label_smoothing),
    mutant=Mutant(
        "delta spread over the K - 1 other classes",
        _biasless(_spread_over_the_others),
    ),
    tolerance=DESCENT,
    uses=("minimiser-cross-entropy", "identity-logit-gap", "identity-smoothing-derivatives"),
)


# ---- focal loss


@formula
def scale(u: float, gamma: float) -> float:
    """(1-u)^gamma (1 - u - gamma u log u), which decreases in u where focal loss is convex."""
    return float((1 - u) ** gamma * (1 - u - gamma * u * np.log(u)))


def focal(K: int, n: int, lambda_W: float, lambda_H: float, gamma: float) -> tuple[Any, ...]:
    """The true-class probability u solves scale(u) = c (K-1)/K."""
    c = c_of(K, n, lambda_W, lambda_H)
    price = c * (K - 1) / K
    u = 1 / K
    if scale(u, gamma) > price:
        u = float(brentq(lambda x: scale(x, gamma) - price, u, MAX_GAP, xtol=1e-16))
    alpha = float(np.log(u * (K - 1) / (1 - u)))
    value = float(-((1 - u) ** gamma) * np.log(u) + price * alpha)
    return (value, *code(K, n, lambda_W, lambda_H, alpha, 0.0))


def _focal_without_gamma(
    K: int, n: int, lambda_W: float, lambda_H: float, gamma: float
) -> tuple[Any, ...]:
    c = c_of(K, n, lambda_W, lambda_H)
    price, u = c * (K - 1) / K, 1 / K
    excess = lambda x: (1 - x) ** gamma * (1 - x - x * np.log(x)) - price  # noqa: E731
    if excess(u) > 0:
        u = float(brentq(excess, u, MAX_GAP, xtol=1e-16))
    alpha = float(np.log(u * (K - 1) / (1 - u)))
    value = float(-((1 - u) ** gamma) * np.log(u) + price * alpha)
    return (value, *code(K, n, lambda_W, lambda_H, alpha, 0.0))


FOCAL = Claim(
    id="minimiser-focal",
    title="Global minimiser of focal loss",
    statement="Where 1/K >= u*(gamma), descent over all features ends in the simplex ETF whose "
    "true-class probability u solves the scale equation.",
    latex=r"(1-u)^\gamma\,[\,1-u-\gamma u\log u\,] = c\,\tfrac{K-1}{K}",
    source="FL-1; ETF after Zhou et al. (2022), scale equation derived here",
    literature="recalled",
    hypotheses=(
        BALANCED,
        ETF_FITS,
        FOCAL_CONVEX_AT_CHANCE,
    ),
    region=descents("focal"),
    check=_biasless(focal),
    mutant=Mutant("the factor gamma dropped from gamma u log u", _biasless(_focal_without_gamma)),
    tolerance=DESCENT,
    uses=("focal-convexity", "identity-focal-scale"),
)


# ---- squared losses


def frame_reached(specimen: PlainSpecimen) -> tuple[float, Array]:
    """f, and W W^T; where d < K only the singular values are determined."""
    model, W = specimen.model, specimen.point.W
    value = float(model.objective(specimen.point))
    narrow = model.d < model.num_classes
    return value, np.linalg.svd(W, compute_uv=False) ** 2 if narrow else W @ W.T


def orthogonal_frame(
    counts: Array, d: int, lambda_W: float, lambda_H: float
) -> tuple[float, Array]:
    """MSE without bias: soft thresholding, any counts for d >= K, equal counts below."""
    N = counts.sum()
    roots, cut = np.sqrt(counts), N * np.sqrt(lambda_W * lambda_H)
    kept = np.sort(np.maximum(roots - cut, 0.0))[::-1][:d]
    value = 1 / 2 - float(np.sum(kept**2)) / (2 * N)
    norms = np.maximum(roots * np.sqrt(lambda_H / lambda_W) - N * lambda_H, 0.0)
    return value, norms[:d] if d < len(counts) else np.diag(norms)


def _decays_exchanged(
    counts: Array, d: int, lambda_W: float, lambda_H: float
) -> tuple[float, Array]:
    return orthogonal_frame(counts, d, lambda_H, lambda_W)


MSE_FRAME = Claim(
    id="minimiser-mse",
    title="Global minimiser of MSE without bias",
    statement="Descent ends in an orthogonal frame with the norms of the closed form for d >= K "
    "and any class sizes; for d < K and equal sizes in a projection of rank d.",
    latex=r"|w_k|^2 = (\sqrt{n_k\lambda_H/\lambda_W} - N\lambda_H)_+,\quad w_j \perp w_k",
    source="MSE-1, X-6; after Zhou et al. (2022), Tirer & Bruna (2022), Dang et al. (2023)",
    literature="recalled",
    hypotheses=(
        NO_BIAS,
        FRAME_FITS_OR_BALANCED,
    ),
    region=descents("mse"),
    check=Law(orthogonal_frame, frame_reached),
    mutant=Mutant("lambda_W and lambda_H exchanged", Law(_decays_exchanged, frame_reached)),
    tolerance=DESCENT,
    uses=("identity-soft-threshold",),
)


@formula
def ones_weight(c: float, lambda_b: float) -> float:
    """s = (1 - c - c/lambda_b)_+, and 0 for an unregularised bias."""
    return max(1 - c - c / lambda_b, 0.0) if lambda_b else 0.0


def mse_with_bias(
    K: int, n: int, lambda_W: float, lambda_H: float, lambda_b: float
) -> tuple[Any, ...]:
    """a = (1 - c)_+; b = c/(K lb) while s > 0, else 1/(K (1 + lb))."""
    c = c_of(K, n, lambda_W, lambda_H)
    a, s = max(1 - c, 0.0), ones_weight(c, lambda_b)
    bias = c / (K * lambda_b) if s else 1 / (K * (1 + lambda_b))
    mean = s / K + bias - 1 / K
    loss = ((K - 1) / K * (1 - a) ** 2 + K * abs(mean) ** 2) / 2
    value = loss + c / K * ((K - 1) * a + s) + lambda_b * K * bias**2 / 2
    return (value, *code(K, n, lambda_W, lambda_H, a, s), np.full(K, bias))


def _without_the_bias_decay(
    K: int, n: int, lambda_W: float, lambda_H: float, lambda_b: float
) -> tuple[Any, ...]:
    """1 - c for 1 - c - c/lambda_b, for all lambda_b > 0."""
    c = c_of(K, n, lambda_W, lambda_H)
    value, _, _, _, bias = mse_with_bias(K, n, lambda_W, lambda_H, lambda_b)
    a = max(1 - c, 0.0)
    return (value, *code(K, n, lambda_W, lambda_H, a, a if lambda_b else 0.0), bias)


MSE_BIAS = Claim(
    id="minimiser-mse-with-bias",
    title="Global minimiser of MSE with a bias",
    statement="With a bias descent ends in a simplex ETF plus a ones direction of weight "
    "(1 - c - c/lambda_b)_+, which is zero for an unregularised bias.",
    latex=r"\bar Z = (1-c)_+ P + \bigl(1-c-c/\lambda_b\bigr)_+ J/K",
    source="MSE-2; derived here, after Zhou et al. (2022)",
    hypotheses=(
        BALANCED,
        WITH_BIAS,
        FRAME_FITS,
    ),
    region=descents("mse"),
    check=Law(mse_with_bias, reached),
    mutant=Mutant("1 - c for 1 - c - c/lambda_b", Law(_without_the_bias_decay, reached)),
    tolerance=DESCENT,
    uses=("identity-squared-scale",),
)


def rescaled(
    K: int, n: int, lambda_W: float, lambda_H: float, kappa: float, M: float, free_bias: bool
) -> tuple[Any, ...]:
    """No bias: a = s = (M - c/kappa)_+.

    lb = 0: a = (M - (c/K)(1 + (K-1)/kappa))_+, b = (a + c)/K, at zero M kappa/(kappa + K - 1).
    """
    c = c_of(K, n, lambda_W, lambda_H)
    if free_bias:
        a, s = max(M - c / K * (1 + (K - 1) / kappa), 0.0), 0.0
        bias = (a + c) / K if a else kappa * M / (kappa + K - 1)
        own, other = a * (K - 1) / K + bias, bias - a / K
    else:
        a = s = max(M - c / kappa, 0.0)
        bias, own, other = 0.0, a, 0.0
    loss = (kappa * (own - M) ** 2 + (K - 1) * other**2) / 2
    value = loss + c / K * ((K - 1) * a + s)
    said = (value, *code(K, n, lambda_W, lambda_H, a, s))
    return (*said, np.full(K, bias)) if free_bias else said


def _kappa_squared(
    K: int, n: int, lambda_W: float, lambda_H: float, kappa: float, M: float, free_bias: bool
) -> tuple[Any, ...]:
    return rescaled(K, n, lambda_W, lambda_H, kappa**2, M, free_bias)


WITH_FREE_BIAS = {"free_bias": lambda s: np.array([s.model.lambda_b is not None])}
RESCALED = Claim(
    id="minimiser-rescaled-mse",
    title="Global minimiser of rescaled MSE",
    statement="Descent ends in an orthogonal frame of weight M - c/kappa without bias, and in a "
    "simplex ETF of weight M - (c/K)(1 + (K-1)/kappa) with an unregularised bias.",
    latex=r"\bar Z = (M - c/\kappa)_+ I,\qquad \bar Z = \bigl(M - \tfrac cK(1+\tfrac{K-1}"
    r"{\kappa})\bigr)_+ P",
    source="MSE-4; derived here, loss of Zhou et al. (2022)",
    hypotheses=(BALANCED, NO_REGULARISED_BIAS, FRAME_FITS),
    region=descents("rescaled-mse"),
    check=Law(rescaled, reached, WITH_FREE_BIAS),
    mutant=Mutant("kappa squared for kappa", Law(_kappa_squared, reached, WITH_FREE_BIAS)),
    tolerance=DESCENT,
    uses=("identity-rescaled-scale",),
)

CLAIMS = (
    CROSS_ENTROPY,
    LABEL_SMOOTHING,
    FOCAL,
    MSE_FRAME,
    MSE_BIAS,
    RESCALED,
)
