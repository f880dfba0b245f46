"""Sparse over-parameterisation of noise in a linear model: where its flow ends, exactly."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy.optimize import linprog

from ufm.errors import InputError, require_positive
from ufm.typing import Array

# Newton moves no exponent by more: its Hessian then changes by less than a factor e.
LONGEST = 1.0
MOST_STEPS = 10_000
ROUNDING, EPSILON = 1e-15, float(np.finfo(float).eps)
# Of the residual, relative to the largest target: some hundred roundings of a double.
RESIDUAL = 1e-13
# Interior-point steps: the gap shrinks to a tenth each, and no slack by more than to a twentieth.
CENTRES, SHRINK, INSIDE, GAP = 200, 0.1, 0.95, 1e-13
# Equations give the sparse limit to rounding, so its conditions hold to some thousand roundings.
CONDITION = 1e-10
WEIGHTS = (1.0, 1e3, 1e-3, 1e6, 1e-6)


class FlowLimit(NamedTuple):
    """Where the flow ends, or the sparse problem has its minimum.

    Attributes:
        theta: parameters (p,).
        noise: s (N,), what the model takes for noise in the targets.
        dual: nu (N,), minus the integrated residual; a multiplier of J theta + s = y.
    """

    theta: Array
    noise: Array
    dual: Array


def flow_limit(J: ArrayLike, y: ArrayLike, gamma: float, ratio: float) -> FlowLimit:
    """The end of the gradient flow of |J theta + u*u - v*v - y|^2 / 2, at any scale of the start.

    theta = J^T nu,   s = 2 gamma^2 sinh(4 ratio nu),   J J^T nu + s = y

    Rates are 1 for theta and ``ratio`` for u and v, which start at gamma, theta at 0. The equation
    for nu is strictly monotone; it is solved by Newton's method in steps of bounded exponents.
    Source: derived here (docs/theory.md, SOP-1), for the model of Liu, Zhu, Qu & You 2022.

    Args:
        J: (N, p), finite.
        y: targets (N,), finite.
        gamma: in (0, 1).
        ratio: of the rates, > 0.

    Returns:
        ``FlowLimit`` with theta (p,), noise (N,) and dual (N,).

    Raises:
        InputError: shapes that do not fit, numbers that are not finite, or outside their domain.
        ArithmeticError: rounding keeps the equation from being solved.

    Example:
        >>> limit = flow_limit(np.ones((5, 1)), [0, 1, 1, 1, 1], 1e-4, ratio_at(0.5, 1e-4))
        >>> round(float(limit.theta[0]), 12)
        0.990830962628
    """
    matrix, target = _checked(J, y)
    _require_scale(gamma)
    ratio = require_positive(ratio, "ratio", "use 1 for equal rates")
    rate, log = 4 * ratio, 2 * float(np.log(gamma))
    gram = matrix @ matrix.T
    # Exponentials of a tiny start vanish next to the Gram matrix, which is singular for N > p.
    floor = ROUNDING * (1 + float(np.trace(gram)))
    nu = np.zeros(len(target))
    size = max(1.0, float(np.abs(target).max()))
    for _ in range(MOST_STEPS):
        up, down = np.exp(rate * nu + log), np.exp(log - rate * nu)
        residual = gram @ nu + up - down - target
        # Roundings of an exponent, relative to its exponential: of a product, a sum and nu itself.
        blurred = 3 * EPSILON * (rate * np.abs(nu) - log) * (up + down)
        if np.all(np.abs(residual) <= RESIDUAL * size + blurred):
            return FlowLimit(matrix.T @ nu, up - down, nu)
        slope = gram + np.diag(rate * (up + down) + floor)
        step = np.linalg.solve(slope, residual)
        nu = nu - step * min(1.0, LONGEST / max(rate * float(np.abs(step).max()), 1e-300))
    raise ArithmeticError(f"Newton for the end of the flow stopped at {np.abs(residual).max():.1e}")


def ratio_at(penalty: float, gamma: float) -> float:
    """The ratio of rates at which a start amounts to a penalty: log(1 / gamma) / (2 penalty).

    Source: Liu, Zhu, Qu & You 2022; derived again in docs/theory.md, SOP-2.

    Raises:
        InputError: gamma outside (0, 1), or a penalty that is not positive.

    Example:
        >>> round(ratio_at(1.0, float(np.exp(-3))), 12)
        1.5
    """
    _require_scale(gamma)
    return float(-np.log(gamma)) / (2 * require_positive(penalty, "penalty", "use 0.5"))


def sparse_limit(J: ArrayLike, y: ArrayLike, penalty: float) -> FlowLimit:
    """What the end of the flow tends to as gamma vanishes at a fixed penalty.

    min |theta|^2 / 2 + penalty |s|_1   such that   J theta + s = y

    Its dual is a quadratic in a box, max y.nu - |J^T nu|^2 / 2 with |nu_i| <= penalty; an
    interior-point method finds which multipliers are at the bound, and linear equations the rest.
    Source: Liu, Zhu, Qu & You 2022; docs/theory.md, SOP-2.

    Args:
        J: (N, p), finite.
        y: targets (N,), finite.
        penalty: lambda > 0.

    Returns:
        ``FlowLimit`` with theta (p,), noise (N,) and dual (N,).

    Raises:
        InputError: as ``flow_limit``.
        ArithmeticError: the conditions of the minimum are not met.

    Example:
        >>> [round(float(sparse_limit(np.ones((5, 1)), [-1, 1, 1, 1, 1], t).theta[0]), 12)
        ...     for t in (0.3, 0.4)]
        [0.9, 1.0]
    """
    matrix, target = _checked(J, y)
    most = require_positive(penalty, "penalty", "use 0.5")
    nu, noise = _interior(matrix, target, most)
    size = max(1.0, float(np.abs(target).max()))
    slack, signal = 1 - np.abs(nu) / most, np.abs(noise) / size
    # Strictly complementary: of slack and multiplier one vanishes, the other does not. At a
    # penalty where one of them is about to change both are small, and either choice will do.
    tried = [_polished(matrix, target, most, nu, slack > weight * signal) for weight in WEIGHTS]
    off, best = min(tried, key=lambda pair: pair[0])
    if off > CONDITION:
        raise ArithmeticError(f"the sparse problem is not solved, by {off:.1e}: move the penalty")
    return best


def _polished(
    matrix: Array, target: Array, most: float, nu: Array, free: NDArray[np.bool_]
) -> tuple[float, FlowLimit]:
    """What solves the equations, all but the free multipliers bound, and how far off it is."""
    dual = np.where(free, nu, most * np.sign(nu))
    own = matrix[free]
    # The least change: where rows depend on each other, multipliers are not unique.
    off_by = target[free] - own @ (matrix.T @ dual)
    dual[free] += np.linalg.lstsq(own @ own.T, off_by, rcond=None)[0]
    theta = matrix.T @ dual
    noise = target - matrix @ theta
    size = max(1.0, float(np.abs(target).max()))
    off = max(
        float(np.abs(noise[free]).max(initial=0)) / size,
        float(np.abs(dual).max()) / most - 1,
        float(np.max(-(noise * dual)[~free], initial=0)) / (size * most),
    )
    noise[free] = 0.0
    return off, FlowLimit(theta, noise, dual)


def _interior(matrix: Array, target: Array, most: float) -> tuple[Array, Array]:
    """Multipliers and noise near the minimum: a primal-dual interior-point method."""
    gram = matrix @ matrix.T
    size = max(1.0, float(np.abs(target).max()))
    nu, up, down = np.zeros(len(target)), np.full(len(target), size), np.full(len(target), size)
    for _ in range(CENTRES):
        above, below = most - nu, most + nu
        centre = SHRINK * float(up @ above + down @ below) / (2 * len(nu))
        pull = gram @ nu - target + centre / above - centre / below
        move = np.linalg.solve(gram + np.diag(up / above + down / below), -pull)
        change_up = (centre + up * move) / above - up
        change_down = (centre - down * move) / below - down
        pairs = ((above, -move), (below, move), (up, change_up), (down, change_down))
        room = [np.min(x[d < 0] / -d[d < 0], initial=np.inf) for x, d in pairs]
        length = min(1.0, INSIDE * min(room))
        nu, up, down = nu + length * move, up + length * change_up, down + length * change_down
        if up @ (most - nu) + down @ (most + nu) < GAP * size * most:
            break
    return nu, up - down


def recovery_window(J: ArrayLike, theta: ArrayLike, signs: ArrayLike) -> tuple[float, float]:
    """The least and the largest penalty at which the sparse problem returns theta.

    lambda such that a nu has   J^T nu = theta,  nu_i = lambda sign_i on the support,
    |nu_i| <= lambda

    whatever the sizes of the noise: an interval, the projection of a polyhedron, by two linear
    programmes. Its end is infinite where absolute deviations alone return theta.
    Source: derived here (docs/theory.md, SOP-3).

    Args:
        J: (N, p), finite.
        theta: parameters (p,) of the clean targets J theta.
        signs: of the noise (N,), in -1, 0 and 1; 0 where a target is clean.

    Returns:
        The ends of the interval; (inf, inf) where no penalty returns theta.

    Raises:
        InputError: shapes that do not fit, or other signs.

    Example:
        >>> low, high = recovery_window(np.ones((5, 1)), [1], [-1, 0, 0, 0, 0])
        >>> round(low, 12), high
        (0.333333333333, inf)
    """
    matrix, sign = _checked(J, signs)
    wanted = np.asarray(theta, dtype=float)
    if wanted.shape != (matrix.shape[1],) or not np.all(np.isfinite(wanted)):
        got = f"shape {wanted.shape}"
        raise InputError(f"Need {matrix.shape[1]} finite parameters", got, "give one per column")
    other = sign[~np.isin(sign, (-1, 0, 1))]
    if other.size:
        raise InputError("Need signs in -1, 0 and 1", other[0], "take np.sign of the noise")
    N, p = matrix.shape
    hit = sign != 0
    held = np.hstack([np.eye(N)[hit], -sign[hit, None]])
    equal = np.vstack([np.hstack([matrix.T, np.zeros((p, 1))]), held])
    clean = np.eye(N)[~hit]
    most = np.hstack([np.vstack([clean, -clean]), -np.ones((2 * len(clean), 1))])
    ends = []
    for direction in (1.0, -1.0):
        run = linprog(
            np.append(np.zeros(N), direction),
            A_ub=most,
            b_ub=np.zeros(len(most)),
            A_eq=equal,
            b_eq=np.append(wanted, np.zeros(int(hit.sum()))),
            bounds=[(None, None)] * N + [(0, None)],
            method="highs",
        )
        ends.append(float(run.x[-1]) if run.status == 0 else float("inf"))
    return ends[0], ends[1]


def _require_scale(gamma: float) -> None:
    if not 0 < gamma < 1:
        raise InputError("Need gamma in (0, 1)", gamma, "use 1e-4")


def _checked(J: ArrayLike, y: ArrayLike) -> tuple[Array, Array]:
    matrix, target = np.asarray(J, dtype=float), np.asarray(y, dtype=float)
    if matrix.ndim != 2 or target.shape != matrix.shape[:1] or not matrix.size:
        got = f"shapes {matrix.shape} and {target.shape}"
        raise InputError("Need a matrix and one number per row of it", got, "transpose or cut one")
    if not (np.all(np.isfinite(matrix)) and np.all(np.isfinite(target))):
        raise InputError("Need finite numbers", "NaN or infinity", "clean them")
    return matrix, target
