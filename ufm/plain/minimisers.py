"""Closed-form global minimisers and the thresholds at which they collapse to the origin.

Two routes cover every case known in closed form:

* an equivariant loss and equal counts: the minimiser is W H = a P + (s / K) J on class means, with
  bias beta 1, for any convex or contrastive loss (average a minimiser of the convex problem over
  class permutations); (a, s, beta) is a scalar root or a three-variable convex problem;
* an isometric loss (MSE), any counts, any d: soft thresholding of the target's singular values.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import scipy

from ufm.answers import Code, Minimiser
from ufm.decay import balanced_factors, penalty
from ufm.frames import simplex_etf
from ufm.losses.logit_curve import logit_curve, slopes
from ufm.losses.loss import Loss
from ufm.plain.quadratic_form import quadratic_singular_target, quadratic_target
from ufm.point import Point
from ufm.typing import Array

if TYPE_CHECKING:
    from ufm.plain.model import UFM

GRID = 4001  # samples of a scalar curve when a non-convex loss leaves several local minima


@dataclass(frozen=True)
class Thresholds:
    """Values of c = sqrt(K N lambda_W lambda_H) at which the symmetric solution changes.

    Attributes:
        origin: the origin (with its best bias) has no negative curvature for c >= origin.
        collapse: the origin is the global minimum for c >= collapse; origin < collapse means a
            window with a spurious minimum at the origin (focal loss, K >= 18).
    """

    origin: float
    collapse: float


def thresholds(model: UFM) -> Thresholds:
    """Thresholds in c of a balanced model with an equivariant loss.

    origin = K max(|psi_a| / (K-1), |psi_s|) at W H = 0 with the best bias; collapse is the largest
    slope of a chord of psi from the origin, equal to it when psi is convex.
    Source: CE-1, LS-1, FL-3, MSE-1 of docs/theory.md (derived here in this generality).

    Example:
        >>> from ufm import UFM, LabelSmoothing
        >>> model = UFM(LabelSmoothing(0.1), 5, 4, lambda_W=0.1, lambda_H=0.1)
        >>> round(thresholds(model).collapse, 12)
        0.9
    """
    loss, K = model.loss, model.num_classes
    beta = best_bias(model)
    curve = logit_curve(loss, 0.0, beta, K)
    along_a = abs(_gap_slope(loss, curve.own, curve.other, K)) * K / (K - 1)
    along_s = K * abs(curve.own + (K - 1) * curve.other) / K
    if model.lambda_b == 0 or loss.properties(K).shift_invariant:
        along_s = 0.0  # stationary in the bias, or no dependence at all
    origin = max(along_a, along_s)
    if _curve_is_convex(loss, K):
        return Thresholds(origin, origin)
    collapse = origin
    grid = np.linspace(np.log(1e-3), np.log(1e3), GRID + 1)  # one compiled length
    for sign in (1.0, -1.0):

        def chord(log_a: float, sign: float = sign) -> float:
            a = float(np.exp(log_a))
            rise = logit_curve(loss, sign * a, beta, K).value - curve.value
            return rise / a * K / (K - 1)  # minus the slope: minimised

        a = np.exp(grid)
        values = np.asarray(slopes(loss, sign * a, np.full_like(a, beta), K)[0])
        best = int(np.argmin((values - curve.value) / a))
        bracket = (grid[max(best - 1, 0)], grid[min(best + 1, len(grid) - 1)])
        found = scipy.optimize.minimize_scalar(
            chord, bounds=bracket, method="bounded", options={"xatol": 1e-12}
        )
        collapse = max(collapse, -float(found.fun))
    return Thresholds(origin, collapse)


def _gap_slope(loss: Loss, own: float, other: float, K: int) -> float:
    """d L / d a. For shift-invariant losses from the other classes alone: no cancellation."""
    if loss.properties(K).shift_invariant:
        return -(K - 1) * other
    return ((K - 1) * own - (K - 1) * other) / K


def best_bias(model: UFM) -> float:
    """The common bias that is stationary at W H = 0 (balanced, equivariant loss)."""
    loss, K = model.loss, model.num_classes
    if model.lambda_b is None or loss.properties(K).shift_invariant:
        return 0.0

    def slope(beta: float) -> float:
        curve = logit_curve(loss, 0.0, beta, K)
        return curve.own + (K - 1) * curve.other + float(model.lambda_b) * K * beta

    return _root_of_increasing(slope)


def _root_of_increasing(slope: Callable[[float], float]) -> float:
    """Root of an increasing function on the line, by bracketing outwards from zero."""
    at_zero = slope(0.0)
    if at_zero == 0:
        return 0.0
    direction, step = -np.sign(at_zero), 1.0
    while np.sign(slope(direction * step)) == np.sign(at_zero):
        step *= 2
        if step > 1e8:
            return float("nan")
    low, high = sorted((0.0, direction * step))
    return float(scipy.optimize.brentq(slope, low, high, xtol=1e-16, rtol=4 * np.finfo(float).eps))


def symmetric_code(model: UFM) -> Code | None:
    """The best symmetric solution (a, s, beta) of a balanced model with an equivariant loss.

    Minimises L(z) + (c/K) ((K-1) |a| + |s|) + (lambda_b/2) K beta^2 over
    z = a (e_k - 1/K) + (s/K + beta) 1.
    Source: CE-1, LS-1, FL-1, MSE-1, MSE-2, MSE-4; in this generality derived here.

    Returns:
        The code, or None when the three-variable problem has no interior solution found.

    Example:
        >>> from ufm import UFM, CrossEntropy
        >>> model = UFM(CrossEntropy(), 4, 6, lambda_W=0.02, lambda_H=0.02)
        >>> bool(abs(symmetric_code(model).a - np.log(4 / 0.08 - 3)) < 1e-12)  # log(K/c - K + 1)
        True
    """
    K = model.num_classes
    properties = model.loss.properties(K)
    if properties.shift_invariant:
        if _curve_is_convex(model.loss, K):
            gap = _convex_gap(model)
            return None if np.isnan(gap) else Code(gap, 0.0, 0.0, K)
        # Where L can go below zero the search has no end that is known.
        return Code(_global_gap(model), 0.0, 0.0, K) if properties.nonnegative else None
    return _three_variable_code(model)


def _curve_is_convex(loss: Loss, K: int) -> bool:
    """Whether a |-> L + price |a| is convex where its minimum is.

    A contrastive loss is so for a >= 0, which is enough if the own logit is preferred at 0.
    """
    properties = loss.properties(K)
    if properties.convex or not properties.contrastive:
        return bool(properties.convex)
    curve = logit_curve(loss, 0.0, 0.0, K)
    return _gap_slope(loss, curve.own, curve.other, K) <= 0


def _convex_gap(model: UFM) -> float:
    """Root of the slope of a convex curve with the penalty price |a|; NaN where it falls for ever.

    A loss that prefers every other logit has a < 0.
    """
    loss, K = model.loss, model.num_classes
    price = model.c * (K - 1) / K

    def slope(a: float) -> float:
        curve = logit_curve(loss, a, 0.0, K)
        return _gap_slope(loss, curve.own, curve.other, K)

    at_zero = slope(0.0)
    if abs(at_zero) <= price:
        return 0.0
    signed = -np.sign(at_zero) * price
    return _root_of_increasing(lambda a: slope(a) + signed)


def _global_gap(model: UFM) -> float:
    """Global minimum of a non-convex scalar curve: every sign change on a fine grid, refined."""
    loss, K = model.loss, model.num_classes
    price = model.c * (K - 1) / K
    ceiling = logit_curve(loss, 0.0, 0.0, K).value / price  # L >= 0 beyond it
    sizes = np.concatenate([[0.0], np.geomspace(1e-6, max(ceiling, 1.0), GRID)])
    candidates = [0.0]
    for sign in (1.0, -1.0):

        def slope(size: float, sign: float = sign) -> float:
            curve = logit_curve(loss, sign * size, 0.0, K)
            return sign * _gap_slope(loss, curve.own, curve.other, K) + price

        _, own, other = (np.asarray(x) for x in slopes(loss, sign * sizes, np.zeros_like(sizes), K))
        pairs = zip(own, other, strict=True)
        on_grid = sign * np.array([_gap_slope(loss, p, q, K) for p, q in pairs]) + price
        for i in np.flatnonzero((on_grid[:-1] < 0) & (on_grid[1:] >= 0)):
            candidates.append(
                sign * float(scipy.optimize.brentq(slope, sizes[i], sizes[i + 1], xtol=1e-16))
            )
    return min(candidates, key=lambda x: logit_curve(loss, x, 0.0, K).value + price * abs(x))


def _three_variable_code(model: UFM) -> Code | None:
    """KKT of the convex problem in (a, s, beta), one sign pattern after the other."""
    for sign_a in (1, 0, -1):
        for sign_s in (0, 1, -1):
            if sign_s and model.lambda_b == 0:
                continue
            found = _code_with_pattern(model, sign_a, sign_s)
            if found is not None:
                return found
    return None


def _code_with_pattern(model: UFM, sign_a: int, sign_s: int) -> Code | None:
    """Newton with the signs of a and s given (0: held at zero), accepted if KKT holds."""
    loss, K, c = model.loss, model.num_classes, model.c
    has_bias = model.lambda_b is not None
    lambda_b = float(model.lambda_b) if has_bias else 0.0
    free = np.array([sign_a != 0, sign_s != 0, has_bias])
    x = np.zeros(3)  # a, s, beta
    root = np.sqrt((K - 1) / K)
    # z moves by root*u per unit a, by 1/K * 1 per unit s, by 1 per unit beta; 1 = sqrt(K) * onehat
    directions = np.array([[root, 0.0], [0.0, K**-0.5], [0.0, K**0.5]])
    gradient = np.zeros(3)
    for _ in range(60):
        curve = logit_curve(loss, x[0], x[1] / K + x[2], K)
        along = np.array([root * (curve.own - curve.other), 0.0])
        along[1] = (curve.own + (K - 1) * curve.other) / np.sqrt(K)
        gradient = directions @ along
        total = gradient + np.array([sign_a * c * (K - 1) / K, sign_s * c / K, lambda_b * K * x[2]])
        hessian = directions @ np.asarray(curve.S) @ directions.T
        hessian[2, 2] += lambda_b * K
        if not np.any(free):
            break
        step = np.linalg.lstsq(hessian[np.ix_(free, free)], -total[free], rcond=1e-13)[0]
        step *= min(1.0, 4.0 / max(float(np.max(np.abs(step))), 1e-300))  # stay where L is tame
        x[free] += step
        if np.max(np.abs(step)) <= 4 * np.finfo(float).eps * max(1.0, float(np.max(np.abs(x)))):
            break
    slack = 1e-12 * (1 + c)  # rounding of derivatives of size one
    inside_a = x[0] * sign_a > slack if sign_a else abs(gradient[0]) <= c * (K - 1) / K + slack
    inside_s = x[1] * sign_s > slack if sign_s else abs(gradient[1]) <= c / K + slack
    stationary = np.all(np.abs(total[free]) <= slack)
    return (
        Code(float(x[0]), float(x[1]), float(x[2]), K)
        if (inside_a and inside_s and stationary)
        else None
    )


def global_minimiser(model: UFM) -> Minimiser | None:
    """A global minimiser in closed form, or None where no formula is known.

    Returns:
        A Minimiser whose point has merged columns (one per class).

    Example:
        >>> from ufm import UFM, CrossEntropy
        >>> model = UFM(CrossEntropy(), 3, 2, lambda_W=1.0, lambda_H=1.0)
        >>> global_minimiser(model).rank, round(global_minimiser(model).value, 6)  # c >= 1: log 3
        (0, 1.098612)
    """
    properties = model.loss.properties(model.num_classes)
    if (
        model.balanced
        and properties.equivariant
        and (properties.convex or properties.shift_invariant)
    ):
        code = symmetric_code(model)
        if code is not None and code.rank <= model.d:
            return Minimiser(
                code_point(model, code),
                code_value(model, code),
                code.rank,
                code,
                "scalar equation of the symmetric solution (CE-1, LS-1, FL-1, MSE-2, MSE-4)",
                _evidence(model),
            )
    if properties.isometric and not model.lambda_b:
        return _soft_threshold(model)
    return None


def _evidence(model: UFM) -> str:
    """Why the best symmetric solution is the global minimum: a proof, a probe, or not known.

    Convex losses: average over class permutations. Equalising losses: GL-1 of docs/theory.md,
    (a) without bias; (b) with a bias and c < K/(K-1), where the loss outgrows the penalty.
    """
    properties, K = model.loss.properties(model.num_classes), model.num_classes
    known = properties.equivariant.evidence
    if properties.convex:
        return known
    if properties.equalising and model.lambda_b is None:
        return known
    if properties.equalising and known == "proved" and model.c < K / (K - 1):
        return known
    return "best symmetric solution only"


def code_value(model: UFM, code: Code) -> float:
    """The objective at a symmetric solution.

    L(z_k) + (c/K) ((K-1) |a| + |s|) + (lambda_b/2) K beta^2.
    """
    K = model.num_classes
    value = logit_curve(model.loss, code.a, code.shift, K).value
    value += model.c / K * ((K - 1) * abs(code.a) + abs(code.s))
    return value + float(penalty(float(model.lambda_b or 0.0), K * code.beta**2))


def code_point(model: UFM, code: Code) -> Point:
    """The symmetric solution as a balanced factorisation, merged columns.

    U S V^T = sqrt(n) (a P + s J / K), see ``factorised``.
    """
    K, root_n = model.num_classes, np.sqrt(float(model.counts[0]))
    left = np.concatenate([simplex_etf(K), np.full((K, 1), K**-0.5)], axis=1)
    values = root_n * np.append(np.full(K - 1, code.a), code.s)
    return factorised(model, left, values, left.T, np.full(K, code.beta))


def factorised(model: UFM, U: Array, values: Array, Vt: Array, bias: Array) -> Point:
    """The balanced point with W Hbar = U diag(values) Vt; the bias is dropped where there is none.

    Example:
        >>> from ufm import UFM, CrossEntropy
        >>> model = UFM(CrossEntropy(), 2, 3, lambda_W=0.1, lambda_H=0.1)
        >>> factorised(model, np.eye(2), np.array([4.0, 0.0]), np.eye(2), np.zeros(2)).W.tolist()
        [[2.0, 0.0, 0.0], [0.0, 0.0, 0.0]]
    """
    W, H = balanced_factors(U, values, Vt, model.d, model.lambda_W, model.lambda_H)
    return Point(W, H, None if model.lambda_b is None else bias)


def _soft_threshold(model: UFM) -> Minimiser | None:
    """Quadratic isometric losses, no or unregularised bias, any counts and any d.

    W Hbar = the best rank-d soft thresholding at N sigma of T = M diag(sqrt n) (bias-free) or
    M diag(sqrt n) (I - s s^T / N), s = sqrt(n) (lambda_b = 0, b_k = M n_k / N).
    Source: MSE-1, MSE-3, X-6; Zhou et al. 2022 and Dang et al. 2023 for the bias-free cases.
    """
    K = model.num_classes
    target = quadratic_target(model.loss, K)
    if target is None:
        return None
    M, offset = target
    T = quadratic_singular_target(model, M)
    U, t, Vt = np.linalg.svd(T)
    N, counts = float(model.num_samples), np.asarray(model.counts)
    kept = np.where(np.arange(K) < model.d, np.maximum(t - N * model.sigma, 0.0), 0.0)
    value = offset + float(np.sum(t**2) - np.sum(kept**2)) / (2 * N)
    bias = M * counts / N
    point = factorised(model, U, kept, Vt, bias)
    source = "soft thresholding of the target (MSE-1, MSE-3, X-6)"
    evidence = model.loss.properties(K).isometric.evidence
    return Minimiser(point, value, int(np.sum(kept > 0)), None, source, evidence)
