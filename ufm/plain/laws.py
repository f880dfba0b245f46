"""Decays at which a critical point of the plain model changes its kind, beyond the thresholds."""

from __future__ import annotations

import math
from functools import lru_cache

import numpy as np
import scipy

from ufm.errors import InputError


@lru_cache(maxsize=4096)
def merged_bifurcation(num_groups: int, smoothing: float = 0.0, bias: float | None = None) -> float:
    """The c at which the index of equal merged groups drops from (K - G) d to (K - G)(d - 1).

    The root of (c + beta X)(c + u beta P) = (1 - delta)^2 with u = c + delta,
    beta = log(G/u - G + 1), P = e^beta/(e^beta + G - 1), P' = u/G, D = P - P' and
    X = P' + D (G - 1)/G without bias, X = P' + [D - D^2/(1 + K lambda_b)] (G - 1)/G with one.
    Source: CE-6 of docs/theory.md, equations (CE-6.1) and (CE-6.2); derived there.

    Args:
        num_groups: G >= 2 groups of equal size.
        smoothing: delta, 0 for cross entropy.
        bias: K lambda_b >= 0, None without bias.

    Returns:
        The c, or NaN where the index does not change (G = 2, or too much smoothing).

    Raises:
        InputError: fewer than two groups.

    Example:
        >>> round(merged_bifurcation(3), 10), merged_bifurcation(2)
        (0.1305506509, nan)
    """
    G, delta = num_groups, smoothing
    if G < 2:
        raise InputError("Need G >= 2 groups", G, "merge into two groups or more")

    def excess(c: float) -> float:
        u = c + delta
        beta = math.log(G / u - G + 1)
        P, other = math.exp(beta) / (math.exp(beta) + G - 1), u / G
        spread = P - other
        pull = spread if bias is None else spread - spread**2 / (1 + bias)
        X = other + pull * (G - 1) / G
        return math.log((c + beta * X) * (c + u * beta * P)) - 2 * math.log(1 - delta)

    # Both sides meet again at c = 1 - delta, where the saddle ends in the origin: stay below.
    grid = (1 - delta) * np.geomspace(1e-9, 0.99, 400)
    signs = np.array([excess(float(c)) > 0 for c in grid])
    ups = np.flatnonzero(~signs[:-1] & signs[1:])
    if not len(ups):
        return math.nan
    return float(scipy.optimize.brentq(excess, grid[ups[0]], grid[ups[0] + 1], xtol=1e-15))


def vanishing_minority(majority: int, minority: int, ratio: float) -> float:
    """N sigma / sqrt(n_B) from which the classifiers of the small classes vanish altogether.

    With k_A large classes of n_A = r n_B samples and k_B small ones, cross entropy without bias:
    K x^2 = k_A + k_B r t^2, x = sqrt(r) (1 - (u - v)/s), t = K/s, where u = e^(a(k_A - 1)),
    v = e^(-a), s = u + (k_A - 1) v + k_B. Source: X-4, after Hong & Ling (2024), their xi = 0.

    Args:
        majority: k_A >= 2 large classes.
        minority: k_B >= 1 small classes.
        ratio: r = n_A / n_B > 1.

    Raises:
        InputError: fewer classes, or sizes that are not unequal.

    Example:
        >>> round(vanishing_minority(2, 3, 4.5) * 2**0.5, 6)
        2.373892
    """
    if majority < 2 or minority < 1 or not ratio > 1:
        rule = "Need two large classes or more, a small one, and a ratio of sizes > 1"
        raise InputError(rule, (majority, minority, ratio), "sort the classes by size")
    K = majority + minority

    def place(a: float) -> tuple[float, float]:
        # Divided by u, which would overflow.
        small, other = math.exp(-a * (majority - 1)), math.exp(-a * majority)
        total = 1 + (majority - 1) * other + minority * small
        return math.sqrt(ratio) * (1 - (1 - other) / total), K * small / total

    def excess(a: float) -> float:
        x, t = place(a)
        return K * x**2 - majority - minority * ratio * t**2

    # At a = 0 it is k_A (r - 1), for large a about -k_A.
    high = 1.0
    while excess(high) > 0:
        high *= 2
    return place(float(scipy.optimize.brentq(excess, 0.0, high, xtol=1e-14)))[0]
