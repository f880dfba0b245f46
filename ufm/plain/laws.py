"""Decays at which a critical point of the plain model changes its kind, beyond the thresholds."""

from __future__ import annotations

import math
from functools import lru_cache
from typing import NamedTuple

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


class MajorityAlone(NamedTuple):
    """A point at which only large classes are apart: own logit a (k_A - 1), -a of each other one.

    Attributes:
        strength: N sigma / sqrt(n_B) at which it is critical in a.
        pull: the least N sigma / sqrt(n_B) at which small classes stay at zero beside it.
        shift: bias of a large class less that of a small one.
    """

    strength: float
    pull: float
    shift: float


def majority_alone(
    majority: int, minority: int, ratio: float, a: float, bias: float | None = None
) -> MajorityAlone:
    """Where k_A large classes of n_A = R n_B samples are kept by cross entropy, k_B small ones not.

    With p, p' the probabilities of the own and another large class and r of a small one at a large
    class's sample, and q of a large class at a small one's: x / sqrt(R) = 1 - p + p',
    x^2 >= K (k_B R r^2 + k_A q^2), and k_B (q - R r) = -(k_A R + k_B) lambda_b beta_A for the
    biases, k_A beta_A + k_B beta_B = 0. Source: X-4, derived there.

    Args:
        majority: k_A.
        minority: k_B.
        ratio: R.
        a: >= 0.
        bias: lambda_b >= 0, None without bias.

    Example:
        >>> shift = majority_alone(2, 3, 4.5, 0.0, 0.0).shift  # log of the sizes' ratio
        >>> abs(shift - math.log(4.5)) < 1e-14
        True
    """
    K, R = majority + minority, ratio
    # Divided by u = e^(a (k_A - 1)), which would overflow.
    small, other = math.exp(-a * (majority - 1)), math.exp(-a * majority)
    large = 1 + (majority - 1) * other

    def chances(shift: float) -> tuple[float, float, float]:
        own = 1 / (large + minority * small * math.exp(-shift))
        return own, small * math.exp(-shift) * own, 1 / (majority + minority * math.exp(-shift))

    def balance(shift: float) -> float:
        _, r, q = chances(shift)
        return minority * (q - R * r + (majority * R + minority) * float(bias or 0.0) * shift / K)

    shift = 0.0
    if bias is not None:
        # Between nothing, where large classes are far apart, and the ratio of sizes.
        low = -1.0 - a * majority
        shift = float(
            scipy.optimize.brentq(balance, low, math.log(R) + 1.0, xtol=1e-15, rtol=1e-15)
        )
    own, r, q = chances(shift)
    x = math.sqrt(R) * (1 - own * (1 - other))
    return MajorityAlone(x, math.sqrt(K * (minority * R * r**2 + majority * q**2)), shift)


def vanishing_minority(
    majority: int, minority: int, ratio: float, bias: float | None = None
) -> float:
    """N sigma / sqrt(n_B) from which the classifiers of the small classes vanish altogether.

    Where both numbers of ``majority_alone`` agree; without bias K x^2 = k_A + k_B R t^2, t = K r.
    Source: X-4; without bias after Hong & Ling (2024), their xi = 0; with one derived here.

    Args:
        majority: k_A >= 2 large classes.
        minority: k_B >= 1 small classes.
        ratio: R = n_A / n_B > 1.
        bias: lambda_b >= 0, None without bias.

    Raises:
        InputError: fewer classes, or sizes that are not unequal.

    Example:
        >>> round(vanishing_minority(2, 3, 4.5) * 2**0.5, 6)
        2.373892
    """
    if majority < 2 or minority < 1 or not ratio > 1:
        rule = "Need two large classes or more, a small one, and a ratio of sizes > 1"
        raise InputError(rule, (majority, minority, ratio), "sort the classes by size")

    def excess(a: float) -> float:
        told = majority_alone(majority, minority, ratio, a, bias)
        return told.strength - told.pull

    # Positive at a = 0, since strength is sqrt(R) there; small classes pull where large are apart.
    high = 1.0
    while excess(high) > 0:
        high *= 2
    a = float(scipy.optimize.brentq(excess, 0.0, high, xtol=1e-14))
    return majority_alone(majority, minority, ratio, a, bias).strength
