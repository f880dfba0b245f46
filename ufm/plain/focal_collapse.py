"""When every critical point of focal loss has equal features within each class.

For given (W, b) a feature h of class k has a problem of its own, L(W h + b, k) / N +
(lambda_H / 2) |h|^2. If all its critical points are strict minima, there is one (mountain pass),
and all samples of the class share it. Proofs: docs/atlas.md.
"""

from __future__ import annotations

from collections.abc import Callable
from math import inf, log, sqrt

import numpy as np
import scipy

from ufm.losses.focal import Focal, focal_convexity_threshold
from ufm.plain.model import UFM
from ufm.typing import Array

# Below (gamma < 0.04) the least g / g' exceeds 10^11, more than log K or a bias can reach.
SMALLEST_EDGE = 1e-12


def collapse_threshold(gamma: float) -> float:
    """T(gamma): for log(K - 1) < T all critical points of focal loss without bias are collapsed.

    T = min of g / g' - v over v where g' > 0; g(v) = (1-u)^gamma [(1-u) - gamma u log u], with
    u = 1 / (1 + e^-v), is minus the slope of the loss along the gap a = v + log(K - 1). Sharp: for
    log(K - 1) > T, n >= 2, d >= K - 1 and some c there are others. With a bias it suffices that
    log(K - 1) + max b - min b < T. Source: derived here (docs/atlas.md).

    Args:
        gamma: focusing parameter, >= 0.

    Returns:
        T; at least 9.916 (K = 20,252, gamma = 58.9), infinite for cross entropy.

    Example:
        >>> [round(collapse_threshold(gamma), 3) for gamma in (1.0, 2.0, 3.0, 5.0)]
        [66.569, 27.02, 19.309, 14.489]
    """
    return _least_where_concave(gamma, lambda g, slope, v: g / slope - v)


def collapse_theorem(model: UFM) -> str | None:
    """Why every critical point of a model has equal features within each class, if that is proved.

    Convex losses: A-1. Focal loss without bias: log(K - 1) < T. With a bias: log(K - 1) +
    sqrt(2 B / lambda_b) < T, or N B < mu, where B = max over a >= 0 of a g(a - log(K - 1)) and
    mu = min g^2 / g'. For lambda_H |H|^2 + lambda_b |b|^2 <= B at every critical point, and of two
    different features of a class one has N lambda_H |h|^2 >= mu.
    Source: derived here (docs/atlas.md).

    Args:
        model: a UFM, for its loss, counts and bias; d plays no role.

    Returns:
        The reason in words, or None.

    Example:
        >>> collapse_theorem(UFM(Focal(2.0), 3, 2, 2, lambda_W=0.01, lambda_H=0.01))
        'focal loss without bias and K - 1 < exp(27.02)'
    """
    K, loss = model.num_classes, model.loss
    convex = loss.properties(K).convex
    if convex and convex.evidence == "proved":
        return "the loss is convex in the logits"
    if not isinstance(loss, Focal):
        return None
    gamma, classes = float(loss.gamma), log(K - 1)
    threshold = collapse_threshold(gamma)
    if model.lambda_b is None:
        proved = f"focal loss without bias and K - 1 < exp({threshold:.2f})"
        return proved if classes < threshold else None
    energy = -_least(lambda a: -a * _slopes(a - classes, gamma)[0], 0.0, classes + 10.0)
    decay = float(model.lambda_b)
    if decay > 0 and classes + sqrt(2 * energy / decay) < threshold:
        return f"focal loss and log(K - 1) + max b - min b < {threshold:.2f}"
    needed = _least_where_concave(gamma, lambda g, slope, _: g * g / slope)
    if float(model.num_samples) * energy < needed:
        return f"focal loss and N lambda_H |h|^2 < {needed:.2f} for every sample"
    return None


def _slopes(v: Array, gamma: float) -> tuple[Array, Array]:
    """g = -dL/da and dg/dv at u = sigmoid(v); the gap is a = v + log(K - 1)."""
    u, rest, log_u = 1 / (1 + np.exp(-v)), 1 / (1 + np.exp(v)), -np.logaddexp(0.0, -v)
    inner, power = rest - gamma * u * log_u, rest**gamma
    change = -u * (gamma * inner + rest * (1 + gamma + gamma * log_u))
    return power * inner, power * change


def _least_where_concave(gamma: float, of: Callable[[Array, Array, Array], Array]) -> float:
    """The least value of of(g, g', v) where u < u*, so that g' > 0; it is infinite at both ends."""
    edge = focal_convexity_threshold(gamma)
    if edge < SMALLEST_EDGE:
        return inf
    high = log(edge / (1 - edge))
    # Both minima lie at u > u* / 20 (gamma from 0.04 to 10^6), and the last grid point before u*.
    return _least(lambda v: of(*_slopes(v, gamma), v), high - 4, high - 1e-3)


def _least(of: Callable[[Array], Array], low: float, high: float) -> float:
    """The global minimum of a function of one variable: the best of a grid, refined."""
    grid = np.linspace(low, high, 2001)
    best = int(np.clip(np.argmin(of(grid)), 1, len(grid) - 2))
    bracket = (grid[best - 1], grid[best + 1])
    return float(scipy.optimize.minimize_scalar(of, bounds=bracket, method="bounded").fun)
