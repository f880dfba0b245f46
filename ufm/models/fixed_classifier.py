"""The minimiser of free features under a classifier that is fixed at a simplex ETF."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np
import scipy

from ufm.answers import Certificate, Code, Minimiser
from ufm.decay import penalty
from ufm.errors import require_count, require_decay
from ufm.frames import simplex_etf
from ufm.losses import CrossEntropy
from ufm.losses.columns import column_losses
from ufm.losses.logit_curve import logit_curve
from ufm.losses.loss import Loss
from ufm.losses.user import fixed_loss
from ufm.model import Model
from ufm.point import gaussian, length
from ufm.records import pytree_record
from ufm.typing import Array

# Relative accuracy of the scalar roots: four roundings.
ROUNDING = 1e-15
FARTHEST = 1e8  # where a loss that still falls is taken to have no minimum


class Features(NamedTuple):
    """Free features ``H`` (d, N), class by class, and a bias ``b`` (K,) or None."""

    H: Any
    b: Any = None


@pytree_record(static=("num_classes", "n", "d"), eq=False)
class FixedClassifier(Model[Features]):
    """Free features under a classifier that is fixed at a simplex ETF with rows of norm 1.

    f(H, b) = (1/N) sum_i L(W h_i + b, y_i) + (lambda_H/2) |H|^2 + (lambda_b/2) |b|^2

    with W W^T = (K/(K-1)) (I - 1 1^T / K). For a convex loss f is strictly convex in H, so there is
    one critical point.
    Source: the fixed classifier of Zhu et al. 2021 (arXiv 2105.02375).

    Args:
        loss: an equivariant loss, cross entropy by default.
        num_classes: K, 2 or more.
        n: samples per class.
        lambda_H: weight decay of the features, > 0.
        lambda_b: weight decay of the bias; 0 = unregularised, none = no bias.
        d: feature dimension, K - 1 or more; by default K - 1.

    Raises:
        InputError: a value outside its domain.

    Example:
        >>> FixedClassifier(CrossEntropy(), 3, 4, lambda_H=0.1).num_samples
        12
    """

    loss: Loss = CrossEntropy()
    num_classes: int = 4
    n: int = 1
    lambda_H: float = 0.02
    lambda_b: float | None = None
    d: int | None = None

    def __post_init__(self) -> None:
        require_count(self.num_classes, "K", 2, "give two classes or more")
        require_count(self.n, "n", 1, "give one sample or more per class")
        require_decay(self.lambda_H, "lambda_H")
        if self.lambda_b is not None:
            require_decay(self.lambda_b, "lambda_b", zero=True)
        object.__setattr__(self, "loss", fixed_loss(self.loss, self.counts_tuple))
        simplex_etf(self.num_classes, self.d)  # refuses a d that is too small

    @property
    def num_samples(self) -> int:
        """N = K n."""
        return self.num_classes * self.n

    @property
    def counts_tuple(self) -> tuple[int, ...]:
        """Samples per class."""
        return (self.n,) * self.num_classes

    @property
    def lambda_W(self) -> float:
        """0: what is fixed has no decay."""
        return 0.0

    @property
    def classifier(self) -> Array:
        """W (K, d)."""
        K = self.num_classes
        return math.sqrt(K / (K - 1)) * simplex_etf(K, self.d)

    def objective(self, point: Features) -> Any:
        """f at a point; shapes H (d, N), b (K,) or None."""
        Z = self.classifier @ point.H
        if point.b is not None:
            Z = Z + point.b[:, None]
        labels = np.repeat(np.arange(self.num_classes), self.n)
        value = column_losses(self.loss, Z, labels).mean()
        value += penalty(self.lambda_H, (point.H**2).sum())
        if point.b is not None and self.lambda_b is not None:
            value += penalty(self.lambda_b, (point.b**2).sum())
        return value

    def random_point(self, key: Any, scale: float = 1.0) -> Features:
        """Independent N(0, scale^2) entries."""
        K, d = self.classifier.shape
        H, b = gaussian(key, [(d, self.num_samples), (K,)])
        return Features(scale * H, None if self.lambda_b is None else scale * b)

    def generators(self, point: Features) -> Features:
        """The shift of an unregularised bias, where the loss does not see it; else none."""
        free = point.b is not None and float(self.lambda_b or 0.0) == 0
        shift = self.loss.shift(self.num_classes) if free else None
        bias = np.zeros((0, self.num_classes)) if shift is None else shift[None]
        still = np.zeros((len(bias), *np.shape(point.H)))
        return Features(still, None if point.b is None else bias)

    def certificate(self, point: Features) -> Certificate:
        """Strong convexity: f - f* <= |grad f|^2 / (2 mu), mu = min(lambda_H, lambda_b).

        Source: the definition of strong convexity minimised on both sides.
        """
        convex = self.loss.properties(self.num_classes).convex
        mu = min(float(x) for x in (self.lambda_H, self.lambda_b) if x is not None)
        if not convex or mu == 0:
            told = "an unregularised bias" if convex else f"{self.loss.name} is not convex"
            return Certificate.does_not_apply(f"no strong convexity: {told}")
        value, slope = self.value_and_gradient(point)
        gap = length(slope) ** 2 / (2 * mu)
        return Certificate(True, gap, float(value) - gap, None, f"strong convexity, {convex}")

    def minimiser(self) -> Minimiser | None:
        """Features proportional to the rows of W (E-1), or None where it is not known."""
        found = fixed_minimiser(self)
        if found is None:
            return None
        K, W = self.num_classes, self.classifier
        H = np.repeat(found.a * (K - 1) / K * W.T, self.n, axis=1)
        bias = None if self.lambda_b is None else np.full(K, found.beta)
        evidence = self.loss.properties(K).convex.evidence
        code = Code(found.a, 0.0, found.beta, K)
        return Minimiser(Features(H, bias), found.value, K - 1, code, "fixed ETF (E-1)", evidence)

    def columns(self) -> dict[str, Any]:
        """Loss, K, d, n and decays."""
        return {
            "loss": self.loss.name,
            "K": self.num_classes,
            "d": self.classifier.shape[1],
            "n": self.n,
            "lambda_H": float(self.lambda_H),
            "lambda_b": None if self.lambda_b is None else float(self.lambda_b),
        }


@dataclass(frozen=True)
class FixedMinimiser:
    """Logits a (e_k - 1/K) + beta 1 of class k.

    Attributes:
        a: the logit gap.
        beta: the common bias.
        value: of the objective.
        H_squared: |H|^2 over all samples.
    """

    a: float
    beta: float
    value: float
    H_squared: float


def fixed_minimiser(model: FixedClassifier, *, nonnegative: bool = False) -> FixedMinimiser | None:
    """The global minimiser under a fixed simplex ETF, or None where it is not known.

    (a, beta) minimise L(a (e_k - 1/K) + beta 1, k) + (lambda_H/2) N r a^2 + (lambda_b/2) K beta^2,
    |H|^2 = N r a^2, with r = ((K-1)/K)^2, features proportional to the rows of W; for H >= 0 and
    d >= K (rows sqrt(K/(K-1)) (e_k - 1/K)) r = (K-1)/K, features proportional to e_k.
    Source: derived here (docs/theory.md, E-1).

    Args:
        model: with an equivariant loss that is convex.
        nonnegative: whether features are >= 0.

    Example:
        >>> from ufm import MSE
        >>> made = fixed_minimiser(FixedClassifier(MSE(), 3, 4, lambda_H=0.125))
        >>> round(made.a, 12), round(made.H_squared, 12)  # 1 / (1 + N lambda_H (K-1)/K)
        (0.5, 1.333333333333)
    """
    K, loss = model.num_classes, model.loss
    properties = loss.properties(K)
    if not (properties.convex and properties.equivariant):
        return None
    share = ((K - 1) / K) ** (1 if nonnegative else 2)
    price = model.lambda_H * model.num_samples * share
    decay = 0.0 if model.lambda_b is None else float(model.lambda_b)
    free_shift = model.lambda_b is not None and not properties.shift_invariant

    def best_shift(a: float) -> float:
        if not free_shift:
            return 0.0

        def along(t: float) -> float:
            curve = logit_curve(loss, a, t, K)
            return curve.own + (K - 1) * curve.other + decay * K * t

        return _root(along, 0.0)

    def slope(a: float) -> float:
        # At the best shift the derivative of the partial minimum is the partial derivative.
        curve = logit_curve(loss, a, best_shift(a), K)
        return (curve.own - curve.other) * (K - 1) / K + price * a

    if slope(0.0) > 0:
        return None  # a < 0: a loss that favours the other classes, and another r
    a = _root(slope, 0.0)
    beta = best_shift(a)
    value = logit_curve(loss, a, beta, K).value + penalty(price, a**2) + penalty(decay, K * beta**2)
    return FixedMinimiser(a, beta, value, model.num_samples * share * a**2)


def _root(slope: Callable[[float], float], start: float) -> float:
    """Root of an increasing function, bracketed outwards from a start."""
    first = slope(start)
    if first == 0:
        return start
    step = -math.copysign(1.0, first)
    while math.copysign(1.0, slope(start + step)) == math.copysign(1.0, first):
        step *= 2
        if abs(step) > FARTHEST:
            return math.nan
    low, high = sorted((start, start + step))
    return float(scipy.optimize.brentq(slope, low, high, xtol=ROUNDING, rtol=ROUNDING))
