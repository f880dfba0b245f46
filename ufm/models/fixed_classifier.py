"""The minimiser of free features under a classifier that is fixed at a simplex ETF."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass

from scipy.optimize import brentq

from ufm.errors import InputError, require_count, require_positive
from ufm.losses.logit_curve import logit_curve
from ufm.losses.loss import Loss

# Relative accuracy of the scalar roots: four roundings.
ROUNDING = 1e-15
FARTHEST = 1e8  # where a loss that still falls is taken to have no minimum


@dataclass(frozen=True)
class FixedClassifier:
    """Free features under W W^T = (K/(K-1)) (I - 1 1^T / K), with or without a trained bias.

    f(H, b) = (1/N) sum_i L(W h_i + b, y_i) + (lambda_H/2) |H|^2 + (lambda_b/2) |b|^2.
    Source: the fixed classifier of Zhu et al. 2021 (arXiv 2105.02375), rows of norm 1.

    Args:
        loss: an equivariant loss.
        num_classes: K >= 2.
        n: samples per class.
        lambda_H: decay of the features, > 0.
        lambda_b: None = no bias, 0 = unregularised, > 0 = regularised.

    Raises:
        InputError: a value outside its domain.

    Example:
        >>> from ufm import CrossEntropy
        >>> FixedClassifier(CrossEntropy(), 3, 4, lambda_H=0.1).num_samples
        12
    """

    loss: Loss
    num_classes: int
    n: int
    lambda_H: float
    lambda_b: float | None = None

    def __post_init__(self) -> None:
        require_count(self.num_classes, "K", 2, "give two classes or more")
        require_count(self.n, "n", 1, "give one sample or more per class")
        require_positive(self.lambda_H, "lambda_H", "use a positive weight decay such as 1e-5")
        if self.lambda_b is not None and not (math.isfinite(self.lambda_b) and self.lambda_b >= 0):
            raise InputError("Need lambda_b >= 0 and finite", self.lambda_b, "use None for no bias")

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
    value = logit_curve(loss, a, beta, K).value + 0.5 * price * a**2 + 0.5 * decay * K * beta**2
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
    return float(brentq(slope, low, high, xtol=ROUNDING, rtol=ROUNDING))
