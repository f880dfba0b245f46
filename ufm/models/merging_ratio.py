"""The layer-peeled model: at which imbalance the classifiers of the small classes merge."""

from __future__ import annotations

import math

import scipy

from ufm.errors import InputError, require_count, require_positive

# Logarithms of ratios that are told from 1, and of those whose inverse squares floats hold.
NEAREST, FARTHEST = 1e-9, 300.0


def merging_ratio(
    num_classes: int, majority: int, energy_W: float = 1.0, energy_H: float = 5.0
) -> float:
    """R_0: the ratio of sizes n_A / n_B from which all small classes have one classifier.

    min (1/N) sum CE(W h), mean |w_k|^2 <= E_W, mean over classes of mean |h|^2 <= E_H, d >= K.

    They merge iff 1/R is at most the multiplier of |Z|_* <= K sqrt(E_W E_H), Z the class means'
    logits. Source: the model of Fang et al. 2021 (arXiv 2101.12699); the criterion derived here
    (docs/theory.md, LPM-1).

    Args:
        num_classes: K, 4 or more.
        majority: k_A large classes, 2 or more, and two small ones or more.
        energy_W: E_W > 0, of the classifier.
        energy_H: E_H > 0, of the features.

    Raises:
        InputError: a value outside its domain.

    Example:
        >>> round(merging_ratio(10, 5, 1.0, 5.0), 4)
        12.1924
    """
    K = require_count(num_classes, "K", 4, "give two large and two small classes or more")
    require_count(majority, "majority", 2, "give two large classes or more")
    if majority > K - 2:
        remedy = "leave two small classes or more, which can merge"
        raise InputError(f"Need majority <= K - 2 = {K - 2}", majority, remedy)
    require_positive(energy_W, "energy_W", "use a mean square such as 1")
    require_positive(energy_H, "energy_H", "use a mean square such as 5")
    room = K * math.sqrt(energy_W) * math.sqrt(energy_H)

    def excess(log: float) -> float:
        return nuclear_norm_where_merged(K, majority, math.exp(-log)) - room

    if excess(NEAREST) >= 0:
        return 1.0
    if excess(FARTHEST) < 0:
        rule = (
            f"Need a ratio below e^{FARTHEST:g}, at K sqrt(E_W E_H) = {excess(FARTHEST) + room:.4g}"
        )
        raise InputError(rule, f"{room:.4g}", "give less energy")
    return math.exp(scipy.optimize.brentq(excess, NEAREST, FARTHEST, xtol=1e-14, rtol=1e-14))


def nuclear_norm_where_merged(num_classes: int, majority: int, price: float) -> float:
    """|Z|_* at the minimum of sum_A CE + price (sum_B CE + |Z|_*), where small classes are one.

    Large classes have logits a (e_k - 1_A/k_A) + w v and small ones f v, v = 1_B - (k_B/k_A) 1_A.
    Stationarity gives all probabilities from the angle of (w, f), which one equation fixes (LPM-1).

    Example:
        >>> round(nuclear_norm_where_merged(10, 5, 1 / 12.1924), 3)  # K sqrt(5)
        22.361
    """
    K, large, small = num_classes, majority, num_classes - majority

    def logits(angle: float) -> tuple[float, float, float]:
        r = price * math.sin(angle) / math.sqrt(small * K)
        q = (price - small * r) / large
        a = math.log1p((1 - price) / q)
        w = (large * math.log(r / q) - a) / K
        s = math.cos(angle) / math.sqrt(large * K)
        f = large / K * math.log((1 - large * s) / (small * s))
        return a, w, f

    def turned(angle: float) -> float:
        _, w, f = logits(angle)
        return w * math.sqrt(large) * math.cos(angle) + f * math.sqrt(small) * math.sin(angle)

    angle = scipy.optimize.brentq(turned, 1e-12, math.pi / 2 - 1e-12, xtol=1e-15, rtol=1e-14)
    a, w, f = logits(angle)
    length = math.hypot(math.sqrt(large) * w, math.sqrt(small) * f)
    return (large - 1) * a + math.sqrt(small * K / large) * length
