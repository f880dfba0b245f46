"""The global minimiser with non-negative features, as they leave a ReLU.

The model is that of ``ufm.UFM`` with H >= 0 entrywise. Given the Gram matrix G = H^T H the best
W with W H = Z costs tr(Z G^+ Z^T), jointly convex, and relabelling classes leaves G = g ((1 - t) I
+ t J) with t >= 0: non-negative features cannot spread wider than an orthogonal frame.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import numpy as np

from ufm.answers import Certificate, Code, Minimiser
from ufm.counts import class_counts
from ufm.decay import penalty
from ufm.errors import InputError
from ufm.losses import CrossEntropy, Loss
from ufm.losses.logit_curve import logit_curve
from ufm.model import Model
from ufm.models.unequal_frame import unequal_frame
from ufm.plain.minimisers import best_bias, symmetric_code, thresholds
from ufm.plain.model import UFM
from ufm.point import Point
from ufm.records import pytree_record
from ufm.typing import Array

NEWTON_STEPS = 100  # quadratic convergence takes about ten; the rest is for steep starts


@pytree_record(eq=False)
class Nonnegative(Model[Point]):
    """The unconstrained feature model with features H = A o A >= 0, entry by entry.

    f(W, A, b) = f_UFM(W, A o A, b)

    Squares make the constraint an identity: a second-order critical point in A is a first-order
    (KKT) point of the problem with H >= 0, and the global minima are the same.
    Source: Levin, Kileel & Boumal 2024 for squares; R-1, R-2 and R-4 of docs/theory.md.

    Args:
        loss: the classification loss, cross entropy by default.
        num_classes: K, 2 or more.
        d: feature dimension, K or more for the closed form.
        n: samples per class.
        lambda_W: weight decay of the classifier, > 0.
        lambda_H: weight decay of the features, > 0.
        lambda_b: weight decay of the bias; 0 = unregularised, none = no bias.
        counts: samples of every class with commas, instead of K and n.

    Example:
        >>> model = Nonnegative(num_classes=3, d=3, lambda_W=0.1, lambda_H=0.1)
        >>> best = model.minimiser()
        >>> bool(abs(model.objective(best.point) - best.value) < 1e-12)
        True
    """

    base: UFM

    def __init__(
        self,
        loss: Loss | None = None,
        num_classes: int = 4,
        d: int = 6,
        n: int = 1,
        lambda_W: float = 0.02,
        lambda_H: float = 0.02,
        lambda_b: float | None = None,
        counts: str | Sequence[int] | None = None,
    ) -> None:
        base = UFM(
            loss or CrossEntropy(),
            d=d,
            counts=class_counts(num_classes, n, counts),
            lambda_W=lambda_W,
            lambda_H=lambda_H,
            lambda_b=lambda_b,
        )
        object.__setattr__(self, "base", base)

    def objective(self, point: Point) -> Any:
        """f at W (K, d), A (d, N), b (K,) or None."""
        return self.base.objective(_squared(point))

    def random_point(self, key: Any, scale: float = 1.0) -> Point:
        """W, A and b with independent N(0, scale^2 / d) entries."""
        return self.base.random_point(key, scale)

    def generators(self, point: Point) -> Point:
        """The shift of an unregularised bias, where the loss does not see it; else none."""
        K, shift = self.base.num_classes, self.base.free_shift
        bias = np.zeros((0, K)) if shift is None else shift[None]
        W, H = (np.zeros((len(bias), *np.shape(x))) for x in (point.W, point.H))
        return Point(W, H, None if point.b is None else bias)

    def require_smooth(self) -> None:
        """Refuse a loss with kinks (InputError)."""
        self.base.require_smooth()

    def certificate(self, point: Point) -> Certificate:
        """The bound of the model without the sign: valid here too, and not tight."""
        known = self.base.certificate(_squared(point))
        return replace(known, reason=f"{known.reason}; of features of any sign, so never tight")

    def minimiser(self) -> Minimiser | None:
        """The orthogonal frame of R-1, R-2 and R-4, or None where no formula is known."""
        K, merge = self.base.num_classes, self.base.merge()
        known = nonnegative_minimiser(self.base) if self.base.d >= K else None
        if known is None or merge is None:
            return known
        W, H, b = merge.lift(known.point)
        return replace(known, point=Point(W, np.sqrt(H), b))

    def columns(self) -> dict[str, Any]:
        """Those of the model without the sign."""
        return self.base.columns()


def _squared(point: Point) -> Point:
    return Point(point.W, point.H**2, point.b)


def nonnegative_minimiser(model: UFM) -> Minimiser | None:
    """A global minimiser of the model among H >= 0, or None where no formula is known.

    Class-mean logits a (e_k - 1/K) + (s/K + beta) 1 minimise
    L + (c/K) ((K - 1) mu_a + mu_s) + (lambda_b/2) K beta^2 with mu_a = |a|, mu_s = |s| if
    |s| >= |a|, as without the sign, and else mu_a = mu_s = sqrt(((K - 1) a^2 + s^2) / K): equal
    counts and |s| < |a| give an orthogonal frame H. Shift-invariant losses, and any with
    lambda_b = 0, have s = 0, so that a is the gap of the plain model with c sqrt(K/(K-1)) for c;
    cross entropy: a = log(K/c' - K + 1), c' = c sqrt(K/(K-1)).
    W H and H^T H are unique up to the bias shift for strictly convex losses (modulo the shift), H
    is not: each class may own several of the d coordinates, in any proportion.
    Classes of unequal sizes: ``unequal_frame``. Source: derived here (docs/theory.md, R-1, R-2).

    Args:
        model: d >= K, with an equivariant loss that is convex or shift invariant.

    Returns:
        A Minimiser with merged columns; its ``rank`` is that of W H, H has rank K (1 if a = 0).

    Raises:
        InputError: d < K, where K orthogonal non-negative features do not fit.

    Example:
        >>> from ufm import CrossEntropy
        >>> found = nonnegative_minimiser(UFM(CrossEntropy(), 3, 4, lambda_W=0.1, lambda_H=0.1))
        >>> bool(abs(found.code.a - np.log(3 / (0.3 * 1.5**0.5) - 2)) < 1e-12)
        True
        >>> (found.point.H.T @ found.point.H > 1e-12).astype(int).tolist()
        [[1, 0, 0], [0, 1, 0], [0, 0, 1]]
    """
    if model.d < model.num_classes:
        rule = f"Need d >= K={model.num_classes} for non-negative features"
        raise InputError(rule, f"d={model.d}", "increase d")
    if not model.balanced:
        return unequal_frame(model)
    code = nonnegative_code(model)
    if code is None:
        return None
    value = _value(model, code.a, code.s, code.beta)
    source = "orthogonal frame of non-negative features (R-1, R-2)"
    return Minimiser(_point(model, code), value, code.rank, code, source, _evidence(model))


def nonnegative_threshold(model: UFM) -> float | None:
    """The least c for which the origin is the minimum among H >= 0, or None where not known.

    With g_a = -(own - other), g_s = -(own + (K - 1) other) at W H = 0 and the best bias: |g_s| if
    |g_s| >= |g_a|, else sqrt(((K - 1) g_a^2 + g_s^2) / K). Where g_s = 0, as for shift-invariant
    losses, it is sqrt((K - 1) / K) times the threshold of the plain model.
    Source: derived here (docs/theory.md, R-3).

    Example:
        >>> from ufm import CrossEntropy
        >>> model = UFM(CrossEntropy(), 5, 6, lambda_W=0.1, lambda_H=0.1)
        >>> round(nonnegative_threshold(model) ** 2, 12)
        0.8
    """
    K, properties = model.num_classes, model.loss.properties(model.num_classes)
    if not _applies(model):
        return None
    if properties.shift_invariant:
        return math.sqrt((K - 1) / K) * thresholds(model).collapse
    curve = logit_curve(model.loss, 0.0, best_bias(model), K)
    mu_a, mu_s = _moduli(curve.own - curve.other, curve.own + (K - 1) * curve.other, K)
    return max(mu_a, mu_s)


def nonnegative_code(model: UFM) -> Code | None:
    """The best symmetric solution (a, s, beta) with H >= 0, or None where not known.

    Source: derived here (docs/theory.md, R-1 and R-2).

    Example:
        >>> from ufm import MSE
        >>> model = UFM(MSE(), 4, 5, lambda_W=0.1, lambda_H=0.1)  # an orthogonal frame anyway
        >>> [round(x, 12) for x in (nonnegative_code(model).a, nonnegative_code(model).s)]
        [0.6, 0.6]
    """
    if not _applies(model):
        return None
    K = model.num_classes
    if model.lambda_b == 0 or model.loss.properties(K).shift_invariant:
        dearer = float(model.lambda_W) * K / (K - 1)
        return symmetric_code(model.with_decays(dearer, float(model.lambda_H)))
    free = symmetric_code(model)
    if free is not None and abs(free.s) >= abs(free.a):
        return free  # its H can be chosen non-negative
    return _orthogonal_code(model)


def _applies(model: UFM) -> bool:
    properties = model.loss.properties(model.num_classes)
    known = bool(properties.convex) or bool(properties.shift_invariant)
    return model.balanced and bool(properties.equivariant) and known


def _evidence(model: UFM) -> str:
    """As for the plain model; R-2 asks every equalising loss for c' < K/(K-1), bias or none."""
    K, properties = model.num_classes, model.loss.properties(model.num_classes)
    known = properties.equivariant.evidence
    if properties.convex:
        return known
    if properties.equalising and known == "proved" and model.c**2 < K / (K - 1):
        return known
    return "best symmetric solution only"


def _moduli(a: float, s: float, K: int) -> tuple[float, float]:
    """Squared singular values of H on the complement of 1 and on 1, up to one factor."""
    if abs(s) >= abs(a):
        return abs(a), abs(s)
    equal = math.sqrt(((K - 1) * a**2 + s**2) / K)
    return equal, equal


def _value(model: UFM, a: float, s: float, beta: float) -> float:
    K, (mu_a, mu_s) = model.num_classes, _moduli(a, s, model.num_classes)
    value = logit_curve(model.loss, a, s / K + beta, K).value
    value += model.c / K * ((K - 1) * mu_a + mu_s)
    return value + float(penalty(float(model.lambda_b or 0.0), K * beta**2))


def _point(model: UFM, code: Code) -> Point:
    """H = the non-negative square root of G, W = Z H^(-1), both combinations of P and J/K."""
    K, root_n = model.num_classes, math.sqrt(model.n)
    all_ones = np.full((K, K), 1 / K)
    projection = np.eye(K) - all_ones
    ratio = math.sqrt(float(model.lambda_W) / float(model.lambda_H))
    sizes = [math.sqrt(ratio * root_n * mu) for mu in _moduli(code.a, code.s, K)]
    gaps = [root_n * x / h if h else 0.0 for x, h in zip((code.a, code.s), sizes, strict=True)]
    W = gaps[0] * projection + gaps[1] * all_ones
    if sizes[0] == sizes[1]:
        H = sizes[0] * np.eye(K)
    else:
        H = sizes[0] * projection + sizes[1] * all_ones
        H = np.maximum(H, 0.0)  # rounding
    idle = model.d - K
    bias = None if model.lambda_b is None else np.full(K, code.beta)
    return Point(np.pad(W, ((0, 0), (0, idle))), np.pad(H, ((0, idle), (0, 0))), bias)


def _orthogonal_code(model: UFM) -> Code | None:
    """The minimum with an orthogonal frame H, where s does not vanish by itself.

    L + (c/sqrt K) rho + (lambda_b/2) K beta^2, rho = sqrt((K - 1) a^2 + s^2), is convex and smooth
    but at rho = 0: damped Newton from below the value of the origin never comes near it.
    """
    K, loss, c = model.num_classes, model.loss, model.c
    lambda_b = float(model.lambda_b or 0.0)
    beta = best_bias(model)
    curve = logit_curve(loss, 0.0, beta, K)
    down = np.array([curve.other - curve.own, -(curve.own + (K - 1) * curve.other), 0.0])
    origin = Code(0.0, 0.0, beta, K)
    if c >= (nonnegative_threshold(model) or 0.0):
        return origin
    size, root = np.array([K - 1.0, 1.0, 0.0]), math.sqrt((K - 1) / K)
    moved = np.array([[root, 0.0], [0.0, K**-0.5], [0.0, K**0.5 if model.lambda_b else 0.0]])

    def value(x: Array) -> float:
        total = logit_curve(loss, x[0], x[1] / K + x[2], K).value
        return total + c * math.sqrt(size @ x**2 / K) + penalty(lambda_b, K * x[2] ** 2)

    x, start = np.array([0.0, 0.0, beta]), value(np.array([0.0, 0.0, beta]))
    step = down
    while value(x + step) >= start:
        step = step / 2
        if np.max(np.abs(step)) < 1e-9:
            return origin  # within rounding of the threshold
    x = x + step
    for _ in range(NEWTON_STEPS):
        curve, rho = logit_curve(loss, x[0], x[1] / K + x[2], K), math.sqrt(size @ x**2)
        slope = np.array([root * (curve.own - curve.other), 0.0])
        slope[1] = (curve.own + (K - 1) * curve.other) / math.sqrt(K)
        gradient = moved @ slope + c / math.sqrt(K) * size * x / rho
        hessian = moved @ np.array(curve.S) @ moved.T
        hessian += c / math.sqrt(K) * (np.diag(size) / rho - np.outer(size * x, size * x) / rho**3)
        gradient[2] += lambda_b * K * x[2]
        hessian[2, 2] += lambda_b * K
        step = -np.linalg.lstsq(hessian, gradient, rcond=1e-13)[0]
        now = value(x)
        # Below this the change of the value is rounding, and Newton's step is taken whole.
        while value(x + step) > now + 1e-4 * gradient @ step + 1e-15 * (1 + abs(now)):
            step = step / 2
        x = x + step
        if np.max(np.abs(step)) <= 4 * np.finfo(float).eps * max(1.0, float(np.max(np.abs(x)))):
            break
    small = np.max(np.abs(gradient)) <= 1e-12 * (1 + c)  # derivatives of size one
    return Code(float(x[0]), float(x[1]), float(x[2]), K) if small else None
