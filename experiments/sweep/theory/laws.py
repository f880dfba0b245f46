"""The laws whose lines are drawn through a sweep: what changes in a model, and at which c or d.

A law is a function of a model that is zero on its line, negative before and positive behind it.
The thresholds are those of ``ufm.plain.minimisers``; what is not there is derived where it stands.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import lru_cache

import numpy as np
from scipy.optimize import brentq

from experiments.losses import PARAMETERS, LossChoice
from experiments.sweep.theory.sites import Site
from ufm.errors import InputError
from ufm.plain.minimisers import Thresholds
from ufm.plain.minimisers import thresholds as thresholds_of
from ufm.plain.model import UFM

# Two thresholds are one when they agree to this: each is a root found to about 1e-12.
SAME = 1e-9


@dataclass(frozen=True)
class Law:
    """A statement with a line.

    Attributes:
        name, words: the law, and what changes on its line.
        sources: the statement behind it, for each loss that it speaks of.
        excess: zero on the line, negative before it; NaN where the law says nothing.
        linear: whether it is linear in K and d, so that it has a line between whole numbers.
    """

    name: str
    words: str
    sources: Mapping[str, str]
    excess: Callable[[Site], float]
    linear: bool = False


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
    return float(brentq(excess, grid[ups[0]], grid[ups[0] + 1], xtol=1e-15))


@lru_cache(maxsize=4096)
def _thresholds(
    spec: str, parameters: tuple[float, ...], K: int, lambda_b: float | None
) -> Thresholds:
    """Thresholds in c depend on neither n, d nor the other decays."""
    loss = LossChoice(spec, dict(zip(PARAMETERS[spec], parameters, strict=True))).build()
    return thresholds_of(UFM(loss, K, 1, lambda_W=1.0, lambda_H=1.0, lambda_b=lambda_b))


def _edges(site: Site) -> Thresholds | None:
    """The thresholds of a balanced model with one of the lab's losses, or None."""
    if not site.balanced or int(site.K) != site.K or site.loss not in PARAMETERS:
        return None
    return _thresholds(site.loss, site.parameters, int(site.K), site.lambda_b)


def _collapse(site: Site) -> float:
    edges = _edges(site)
    if edges is None:
        return math.nan
    # Inside the window the bound that makes the ETF the minimum is attained from d = K - 1 on.
    if _apart(edges) and site.d < site.K - 1:
        return math.nan
    return math.log(site.c / edges.collapse)


def _apart(edges: Thresholds) -> bool:
    return edges.collapse - edges.origin > SAME * edges.origin


def _window(site: Site) -> float:
    edges = _edges(site)
    return math.log(site.c / edges.origin) if edges is not None and _apart(edges) else math.nan


def _merging(site: Site, classes: int, ratio: float) -> float:
    """Log of N sigma over (1 - delta) sqrt(n_j), for the classes of n_j = ratio * n samples.

    X-4 has two sizes and cross entropy. The minimum of the convex problem is unique, so it is as
    symmetric as the counts, and has one singular value z on the differences of classes of one size.
    On them the gradient is -(sqrt(n_j)/N)(1 - delta - p + p'), where p, p' are the probabilities of
    the own class and of another one of that size. If z > 0, then p > p' and it equals -sigma, so
    N sigma < (1 - delta) sqrt(n_j); if z = 0, then p = p' and it is at most sigma.
    """
    if site.loss not in ("ce", "ls") or classes < 2 or site.d < site.K - 1:
        return math.nan
    return math.log(site.c / ((1 - _delta(site)) * math.sqrt(site.K * ratio / site.relative_N)))


def _delta(site: Site) -> float:
    return site.parameters[0] if site.loss == "ls" else 0.0


def _dropping(site: Site, ratio: float) -> float:
    """Log of N sigma over sqrt(n_k), where N sigma = c sqrt(N/K): X-6, which has no bias."""
    if site.loss != "mse" or site.lambda_b is not None or site.d < site.K:
        return math.nan
    return math.log(site.c / math.sqrt(site.K * ratio / site.relative_N))


def _minority(site: Site) -> float:
    return _merging(site, *site.smallest) if site.unequal else math.nan


def _majority(site: Site) -> float:
    return _merging(site, *site.largest) if site.unequal else math.nan


def vanishing_minority(majority: int, minority: int, ratio: float) -> float:
    """N sigma / sqrt(n_B) from which the classifiers of the small classes vanish altogether.

    With k_A large classes of n_A = r n_B samples and k_B small ones, cross entropy without bias:
    K x^2 = k_A + k_B r t^2, x = sqrt(r) (1 - (u - v)/s), t = K/s, where u = e^(a(k_A - 1)),
    v = e^(-a), s = u + (k_A - 1) v + k_B. Source: X-4, after Hong & Ling (2024), their xi = 0.

    Args:
        majority: k_A >= 2 large classes.
        minority: k_B >= 1 small classes.
        ratio: r = n_A / n_B > 1.

    Example:
        >>> round(vanishing_minority(2, 3, 4.5) * 2**0.5, 6)
        2.373892
    """
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
    return place(float(brentq(excess, 0.0, high, xtol=1e-14)))[0]


def _vanishing(site: Site) -> float:
    if site.loss != "ce" or site.lambda_b is not None or site.d < site.K - 1:
        return math.nan
    if len(site.shape) != 2 or site.balanced or site.largest[0] < 2:
        return math.nan
    (minority, _), (majority, ratio) = site.shape
    x = vanishing_minority(majority, minority, ratio)
    return math.log(site.c / (x * math.sqrt(site.K / site.relative_N)))


def _first_dropped(site: Site) -> float:
    return _dropping(site, site.smallest[1]) if site.unequal else math.nan


def _last_dropped(site: Site) -> float:
    return _dropping(site, site.largest[1]) if site.unequal else math.nan


@lru_cache(maxsize=4096)
def _bifurcation(num_groups: int, smoothing: float, bias: float | None) -> float:
    return merged_bifurcation(num_groups, smoothing, bias)


def _merged(site: Site) -> float:
    sizes = site.groups
    # Groups of one class are no merged classes: the index is that of the minimum.
    fits = len(set(sizes)) == 1 and sum(sizes) == site.K and sizes[0] > 1
    fits = fits and site.d >= len(sizes) - 1
    if site.loss not in ("ce", "ls") or not site.balanced or not fits:
        return math.nan
    bias = None if site.lambda_b is None else site.K * site.lambda_b
    return math.log(site.c / _bifurcation(len(sizes), _delta(site), bias))


def _etf_fits(site: Site) -> float:
    shifts = site.loss in ("ce", "ls", "focal")
    needs = shifts or (site.loss in PARAMETERS and site.lambda_b is not None)
    return site.d - (site.K - 1) if needs and site.equal else math.nan


def _frame_fits(site: Site) -> float:
    squared = site.loss in ("mse", "rescaled-mse")
    return site.d - site.K if squared and site.lambda_b != 0 and site.equal else math.nan


_CROSS_ENTROPY = ("ce", "ls")
_ORIGINS = {"ce": "CE-1", "ls": "LS-1", "focal": "FL-3", "mse": "MSE-1", "rescaled-mse": "MSE-4"}
_CODES = {"ce": "CE-1", "ls": "LS-1", "focal": "FL-1", "mse": "MSE-2", "rescaled-mse": "MSE-4"}
_FRAMES = {"mse": "MSE-1, MSE-2", "rescaled-mse": "MSE-4"}
LAWS = (
    Law("collapse", "collapse to zero", _ORIGINS, _collapse),
    Law("window", "origin becomes a minimum", {"focal": "FL-3"}, _window),
    Law("minority", "minority collapse", dict.fromkeys(_CROSS_ENTROPY, "X-4"), _minority),
    Law("vanishing", "minority vanishes", {"ce": "X-4"}, _vanishing),
    Law("majority", "collapse to zero", dict.fromkeys(_CROSS_ENTROPY, "X-4"), _majority),
    Law("first dropped", "smallest classes dropped", {"mse": "X-6"}, _first_dropped),
    Law("last dropped", "collapse to zero", {"mse": "X-6"}, _last_dropped),
    Law("merged", "index drops", dict.fromkeys(_CROSS_ENTROPY, "CE-6"), _merged),
    Law("etf", "$d=K-1$: simplex ETF fits", _CODES, _etf_fits, True),
    Law("frame", "$d=K$: orthogonal frame fits", _FRAMES, _frame_fits, True),
)
