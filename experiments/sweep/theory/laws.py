"""The laws whose lines are drawn through a sweep: what changes in a model, and at which c or d.

A law is a function of a model that is zero on its line, negative before and positive behind it.
The numbers are those of ``ufm.plain``; what is not there is derived where it stands.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import lru_cache

from experiments.losses import PARAMETERS, LossChoice
from experiments.sweep.theory.parameter_plane import Site
from ufm.plain.laws import merged_bifurcation, vanishing_minority
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
    """Log of N sigma over q sqrt(n_j), for the classes of n_j = ratio * n samples (X-4, ADJ-2).

    q is the most that a sample pulls two such classes apart, see ``_pull``. X-4 has two sizes and
    cross entropy. The minimum of the convex problem is unique, so it is as symmetric as the counts,
    and has one singular value z on the differences of classes of one size. On them the gradient is
    -(sqrt(n_j)/N)(q - p + p'), where p, p' are the probabilities of the own class and of another
    one of that size. If z > 0, then p > p' and it equals -sigma, so N sigma < q sqrt(n_j); if
    z = 0, then p = p' and it is at most sigma. (With scales and weights p and p' carry them, too.)
    """
    if classes < 2 or site.d < site.K - 1:
        return math.nan
    return math.log(site.c / (_pull(site, ratio) * math.sqrt(site.K * ratio / site.relative_N)))


def _pull(site: Site, ratio: float) -> float:
    """1 - delta of cross entropy, weight * scale of adjusted losses (ADJ-2); NaN of others."""
    if site.loss in _CROSS_ENTROPY:
        return 1 - _delta(site)
    if site.loss == "logit-adjusted":
        return 1.0
    if site.loss == "weighted-ce":
        return (site.relative_N / (site.K * ratio)) ** site.parameters[0]
    return (ratio / site.largest[1]) ** site.parameters[0] if site.loss == "vs" else math.nan


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
    last = site.unequal and site.loss in _CROSS_ENTROPY
    return _merging(site, *site.largest) if last else math.nan


def _vanishing(site: Site) -> float:
    if site.loss != "ce" or site.d < site.K - 1:
        return math.nan
    if len(site.shape) != 2 or site.balanced or site.largest[0] < 2:
        return math.nan
    (minority, _), (majority, ratio) = site.shape
    x = vanishing_minority(majority, minority, ratio, site.lambda_b)
    return math.log(site.c / (x * math.sqrt(site.K / site.relative_N)))


def _first_dropped(site: Site) -> float:
    return _dropping(site, site.smallest[1]) if site.unequal else math.nan


def _last_dropped(site: Site) -> float:
    return _dropping(site, site.largest[1]) if site.unequal else math.nan


def _merged(site: Site) -> float:
    sizes = site.groups
    # Groups of one class are no merged classes: the index is that of the minimum.
    fits = len(set(sizes)) == 1 and sum(sizes) == site.K and sizes[0] > 1
    fits = fits and site.d >= len(sizes) - 1
    if site.loss not in ("ce", "ls") or not site.balanced or not fits:
        return math.nan
    bias = None if site.lambda_b is None else site.K * site.lambda_b
    return math.log(site.c / merged_bifurcation(len(sizes), _delta(site), bias))


def _etf_fits(site: Site) -> float:
    shifts = site.loss in ("ce", "ls", "focal", *_ADJUSTED, "ldam")
    needs = shifts or (site.loss in PARAMETERS and site.lambda_b is not None)
    return site.d - (site.K - 1) if needs and site.equal else math.nan


def _frame_fits(site: Site) -> float:
    shifted = site.loss in _FRAMES
    return site.d - site.K if shifted and site.lambda_b != 0 and site.equal else math.nan


_CROSS_ENTROPY = ("ce", "ls")
_ADJUSTED = ("logit-adjusted", "weighted-ce", "vs")
_EVEN = {**dict.fromkeys(_ADJUSTED, "CE-1"), "ldam": "ADJ-3", "bce": "BCE-1, BCE-2"}
_ORIGINS = {
    **{"ce": "CE-1", "ls": "LS-1", "focal": "FL-3", "mse": "MSE-1", "rescaled-mse": "MSE-4"},
    **_EVEN,
}
_CODES = {
    **{"ce": "CE-1", "ls": "LS-1", "focal": "FL-1", "mse": "MSE-2", "rescaled-mse": "MSE-4"},
    **_EVEN,
}
_FRAMES = {"mse": "MSE-1, MSE-2", "rescaled-mse": "MSE-4", "bce": "BCE-2"}
LAWS = (
    Law("collapse", "collapse to zero", _ORIGINS, _collapse),
    Law("window", "origin becomes a minimum", {"focal": "FL-3"}, _window),
    Law(
        "minority",
        "minority collapse",
        {**dict.fromkeys(_CROSS_ENTROPY, "X-4"), **dict.fromkeys(_ADJUSTED, "ADJ-2")},
        _minority,
    ),
    Law("vanishing", "minority vanishes", {"ce": "X-4"}, _vanishing),
    Law("majority", "collapse to zero", dict.fromkeys(_CROSS_ENTROPY, "X-4"), _majority),
    Law("first dropped", "smallest classes dropped", {"mse": "X-6"}, _first_dropped),
    Law("last dropped", "collapse to zero", {"mse": "X-6"}, _last_dropped),
    Law("merged", "index drops", dict.fromkeys(_CROSS_ENTROPY, "CE-6"), _merged),
    Law("etf", "$d=K-1$: simplex ETF fits", _CODES, _etf_fits, True),
    Law("frame", "$d=K$: orthogonal frame fits", _FRAMES, _frame_fits, True),
)
