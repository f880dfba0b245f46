"""Global minimisers in closed form, written out here and compared with descent on all samples.

Balanced minimisers have class-mean logits Zbar = a P + (s/K) J without bias, b = beta 1,
W W^T = sqrt(n lambda_H / lambda_W) (|a| P + |s| J / K); each claim states its (a, s, beta) and f*.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray
from scipy.optimize import brentq

from proofs_check.claim import Claim, Hypothesis, Mutant
from proofs_check.claims.critical import NO_BIAS
from proofs_check.specimens import Region, Specimen, descended_specimens, where
from ufm.losses import MSE, CrossEntropy, Focal, LabelSmoothing, RescaledMSE

Array = NDArray[np.float64]
SUBJECT = "global minimisers"
TOLERANCE = 1e-8
TOLERANCE_SOURCE = "gradient norm 1e-12 over the smallest curvature of the region, above 1e-3"

BALANCED = Hypothesis("equal class sizes", lambda s: bool(s.model.balanced))
ETF_FITS = Hypothesis("d >= K - 1", lambda s: s.model.d >= s.model.num_classes - 1)
FRAME_FITS = Hypothesis("d >= K", lambda s: s.model.d >= s.model.num_classes)
FREE_BIAS = Hypothesis("an unregularised bias", lambda s: s.model.lambda_b == 0)
NO_SQUARED_BIAS = Hypothesis("bias none or unregularised", lambda s: not s.model.lambda_b)


class Solution(NamedTuple):
    """What a closed form says: logit gap a, weight s of the ones direction, bias, minimum f*."""

    a: float
    s: float
    bias: float
    value: float


Formula = Callable[[Any], Solution]


def disagreement(formula: Formula) -> Callable[[Specimen], float]:
    """Largest error of a formula: value, Gram matrix W W^T, logits of every sample, bias."""

    def check(specimen: Specimen) -> float:
        model, point = specimen.model, specimen.point
        said = formula(model)
        K, n = model.num_classes, model.n
        J = np.full((K, K), 1 / K)
        gram = np.sqrt(n * float(model.lambda_H) / float(model.lambda_W)) * (
            abs(said.a) * (np.eye(K) - J) + abs(said.s) * J
        )
        logits = np.repeat(said.a * (np.eye(K) - J) + said.s * J, n, axis=1)
        errors = [
            abs(float(model.objective(point)) - said.value),
            float(np.abs(point.W @ point.W.T - gram).max()) / max(1.0, float(np.abs(gram).max())),
            float(np.abs(point.W @ point.H - logits).max()) / max(1.0, abs(said.a)),
        ]
        if point.b is not None:
            invariant = bool(model.loss.properties(K).shift_invariant)
            free = invariant and model.lambda_b == 0  # then the mean of b is arbitrary
            bias = point.b - point.b.mean() if free else point.b - said.bias
            errors.append(float(np.abs(bias).max()))
        return max(errors)

    return check


def descents(*kinds: type) -> Region:
    """Minima found by descent on all samples, for some losses."""
    return where(descended_specimens, lambda s: isinstance(s.model.loss, kinds))


# ---- cross entropy and label smoothing


def _smoothed(delta: float, shift: float = 1.0, spread: float = 1.0) -> Formula:
    """Label smoothing: u = c + delta, alpha = log(K/u - K + 1)."""

    def formula(model: Any) -> Solution:
        K, c = model.num_classes, model.c
        u = c + spread * delta
        alpha = float(np.log(max(K / u - K + shift, 1.0)))
        value = np.log(np.exp(alpha) + K - 1) - alpha * (1 - delta + delta / K)
        return Solution(alpha, 0.0, 0.0, float(value + (K - 1) / K * c * alpha))

    return formula


def _label_smoothing(spread: Callable[[int], float]) -> Formula:
    return lambda model: _smoothed(float(model.loss.delta), spread=spread(model.num_classes))(model)


CROSS_ENTROPY = Claim(
    id="minimiser-cross-entropy",
    title="Global minimiser of cross entropy",
    statement="Descent ends in the simplex ETF with logit gap log(K/c - K + 1), or at zero for "
    "c >= 1, with the norms and the value of the closed form.",
    latex=r"\alpha = \log(K/c - K + 1)_{\ge 1},\; WW^\top = \alpha \sqrt{n\lambda_H/\lambda_W}\, P",
    source="CE-1; Hong & Ling (2024), after Zhu et al. (2021)",
    literature="proved",
    hypotheses=(BALANCED, ETF_FITS),
    region=descents(CrossEntropy),
    check=disagreement(_smoothed(0.0)),
    tolerance=TOLERANCE,
    tolerance_source=TOLERANCE_SOURCE,
    tier="T1",
    mutant=Mutant("log(K/c - K) for log(K/c - K + 1)", disagreement(_smoothed(0.0, shift=0.0))),
    subject=SUBJECT,
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
    region=descents(LabelSmoothing),
    check=disagreement(_label_smoothing(lambda K: 1.0)),
    tolerance=TOLERANCE,
    tolerance_source=TOLERANCE_SOURCE,
    tier="T1",
    mutant=Mutant(
        "delta spread over the K - 1 other classes",
        disagreement(_label_smoothing(lambda K: K / (K - 1))),
    ),
    subject=SUBJECT,
)


# ---- focal loss


def _focal(extra: float) -> Formula:
    """Scale equation (1-u)^gamma ((1-u) - gamma u log u) = c (K-1)/K; ``extra`` alters gamma u."""

    def formula(model: Any) -> Solution:
        K, c, gamma = model.num_classes, model.c, float(model.loss.gamma)
        price = c * (K - 1) / K

        def excess(u: float) -> float:
            inner = (1 - u) - extra * gamma * u * np.log(u)
            return float((1 - u) ** gamma * inner - price)

        u = 1 / K
        if excess(u) > 0:
            u = float(brentq(excess, u, 1 - 1e-12, xtol=1e-16))
        alpha = float(np.log(u * (K - 1) / (1 - u)))
        return Solution(alpha, 0.0, 0.0, float(-((1 - u) ** gamma) * np.log(u) + price * alpha))

    return formula


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
        Hypothesis(
            "1/K >= u*(gamma)",
            lambda s: bool(s.model.loss.properties(s.model.num_classes).contrastive),
        ),
    ),
    region=descents(Focal),
    check=disagreement(_focal(1.0)),
    tolerance=TOLERANCE,
    tolerance_source=TOLERANCE_SOURCE,
    tier="T1",
    mutant=Mutant("the factor gamma dropped from gamma u log u", disagreement(_focal(0.5))),
    subject=SUBJECT,
)


# ---- squared losses


def _orthogonal_frame(exponent: float) -> Callable[[Specimen], float]:
    """MSE without bias: soft thresholding, any counts for d >= K, equal counts below."""

    def check(specimen: Specimen) -> float:
        model, point = specimen.model, specimen.point
        K, N, counts = model.num_classes, model.num_samples, np.asarray(model.counts)
        lw, lh = float(model.lambda_W), float(model.lambda_H)
        sizes = counts**exponent
        kept = np.sort(np.maximum(sizes - N * model.sigma, 0.0))[::-1][: model.d]
        value = 0.5 - float(np.sum(kept**2)) / (2 * N)
        errors = [abs(float(model.objective(point)) - value)]
        if model.d >= K:
            norms = np.maximum(sizes * np.sqrt(lh / lw) - N * lh, 0.0)
            gram, expected = point.W @ point.W.T, np.diag(norms)
        else:  # any subspace: only the singular values are determined
            gram = np.linalg.svd(point.W, compute_uv=False) ** 2
            expected = kept * np.sqrt(lh / lw)
        errors.append(float(np.abs(gram - expected).max()) / max(1.0, float(expected.max())))
        return max(errors)

    return check


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
        Hypothesis(
            "d >= K or equal class sizes",
            lambda s: bool(s.model.d >= s.model.num_classes or s.model.balanced),
        ),
    ),
    region=descents(MSE),
    check=_orthogonal_frame(0.5),
    tolerance=TOLERANCE,
    tolerance_source=TOLERANCE_SOURCE,
    tier="T1",
    mutant=Mutant("n_k for sqrt(n_k)", _orthogonal_frame(1.0)),
    subject=SUBJECT,
)


def _mse_with_bias(ones: float) -> Formula:
    """s = (1 - c - c/lb)_+; b = c/(K lb) while s > 0, else 1/(K (1 + lb)); lb = 0: s = 0."""

    def formula(model: Any) -> Solution:
        K, c, lb = model.num_classes, model.c, float(model.lambda_b)
        a = max(1 - c, 0.0)
        s = max(1 - c - ones * c / lb, 0.0) if lb else 0.0
        bias = c / (K * lb) if s else 1 / (K * (1 + lb))
        mean = s / K + bias - 1 / K  # mean logit minus mean target
        loss = 0.5 * ((K - 1) / K * (1 - a) ** 2 + K * mean**2)
        value = loss + c / K * ((K - 1) * a + s) + 0.5 * lb * K * bias**2
        return Solution(a, s, bias, value)

    return formula


MSE_BIAS = Claim(
    id="minimiser-mse-with-bias",
    title="Global minimiser of MSE with a bias",
    statement="With a bias descent ends in a simplex ETF plus a ones direction of weight "
    "(1 - c - c/lambda_b)_+, which is zero for an unregularised bias.",
    latex=r"\bar Z = (1-c)_+ P + \bigl(1-c-c/\lambda_b\bigr)_+ J/K",
    source="MSE-2; derived here, after Zhou et al. (2022)",
    literature="derived here",
    hypotheses=(
        BALANCED,
        Hypothesis("a bias", lambda s: s.model.lambda_b is not None),
        FRAME_FITS,
    ),
    region=descents(MSE),
    check=disagreement(_mse_with_bias(1.0)),
    tolerance=TOLERANCE,
    tolerance_source=TOLERANCE_SOURCE,
    tier="T1",
    mutant=Mutant("1 - c for 1 - c - c/lambda_b", disagreement(_mse_with_bias(0.0))),
    subject=SUBJECT,
)


def _rescaled(power: float) -> Formula:
    """No bias: a = s = (M - c/kappa)_+.

    lb = 0: a = (M - (c/K)(1 + (K-1)/kappa))_+, b = (a + c)/K, at zero M kappa/(kappa + K - 1).
    """

    def formula(model: Any) -> Solution:
        K, c = model.num_classes, model.c
        kappa, M = float(model.loss.kappa) ** power, float(model.loss.M)
        if model.lambda_b is None:
            a = s = max(M - c / kappa, 0.0)
            bias, own, other = 0.0, a, 0.0
        else:
            a, s = max(M - c / K * (1 + (K - 1) / kappa), 0.0), 0.0
            bias = (a + c) / K if a else kappa * M / (kappa + K - 1)
            own, other = a * (K - 1) / K + bias, bias - a / K
        loss = 0.5 * (float(model.loss.kappa) * (own - M) ** 2 + (K - 1) * other**2)
        return Solution(a, s, bias, loss + c / K * ((K - 1) * a + s))

    return formula


RESCALED = Claim(
    id="minimiser-rescaled-mse",
    title="Global minimiser of rescaled MSE",
    statement="Descent ends in an orthogonal frame of weight M - c/kappa without bias, and in a "
    "simplex ETF of weight M - (c/K)(1 + (K-1)/kappa) with an unregularised bias.",
    latex=r"\bar Z = (M - c/\kappa)_+ I,\qquad \bar Z = \bigl(M - \tfrac cK(1+\tfrac{K-1}"
    r"{\kappa})\bigr)_+ P",
    source="MSE-4; derived here, loss of Zhou et al. (2022)",
    literature="derived here",
    hypotheses=(BALANCED, NO_SQUARED_BIAS, FRAME_FITS),
    region=descents(RescaledMSE),
    check=disagreement(_rescaled(1.0)),
    tolerance=TOLERANCE,
    tolerance_source=TOLERANCE_SOURCE,
    tier="T1",
    mutant=Mutant("kappa squared for kappa", disagreement(_rescaled(2.0))),
    subject=SUBJECT,
)

CLAIMS = (
    CROSS_ENTROPY,
    LABEL_SMOOTHING,
    FOCAL,
    MSE_FRAME,
    MSE_BIAS,
    RESCALED,
)
