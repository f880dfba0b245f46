"""Whether two losses are equal within a margin, differ by more than it, or nobody can tell yet.

A test that finds no difference shows no equality: with few seeds it finds none whatever there is.
So equality is what is tested here, against the hypothesis of a difference as large as the margin.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from scipy.stats import t as student

from experiments.networks.measures.inputs import vector
from ufm.errors import InputError, require_positive

# Fewer differences than this say nothing of their own spread.
FEWEST = 3
EQUAL, DIFFERS, OPEN = "equal", "differs", "open"


@dataclass(frozen=True)
class Equivalence:
    """Paired differences beside a margin.

    Attributes:
        mean: of the differences.
        low, high: interval of the mean, of level 1 - 2 alpha; infinite for fewer than three.
        verdict: equal (the interval lies within the margin), differs (it lies beyond), or open.
        num: differences.
    """

    mean: float
    low: float
    high: float
    verdict: str
    num: int


def equivalence(differences: npt.ArrayLike, margin: float, alpha: float = 0.05) -> Equivalence:
    """Two one-sided t tests of |mean difference| >= margin, and of |mean difference| <= margin.

    With D the mean and s the standard deviation of S differences, the interval
    D -+ t_{1-alpha, S-1} s / sqrt(S) within (-margin, margin) rejects at level alpha that losses
    differ by the margin; beyond it on one side, that they differ by no more. That losses are equal
    in *all* of several cells has level alpha without correction, for every one must be rejected.

    Source: Schuirmann 1987; the intersection of unions, Berger 1982.

    Args:
        differences: (S,), S >= 1, one loss minus another, seed by seed, as normal variables.
        margin: > 0.
        alpha: of each one-sided test, in (0, 1/2).

    Raises:
        InputError: arguments not so.

    Example:
        >>> equivalence([0.01, 0.0, 0.02], margin=0.05).verdict
        'equal'
        >>> equivalence([0.01, 0.02], margin=0.05).verdict  # two seeds
        'open'
    """
    D = vector(differences, "differences")
    require_positive(margin, "margin", "use a margin such as 0.02")
    if not 0 < alpha < 0.5:
        raise InputError("Need alpha in (0, 0.5)", alpha, "0.05 is usual")
    mean = float(D.mean())
    if D.size < FEWEST:
        return Equivalence(mean, -math.inf, math.inf, OPEN, D.size)
    half = float(student.ppf(1 - alpha, D.size - 1) * np.std(D, ddof=1) / math.sqrt(D.size))
    low, high = mean - half, mean + half
    verdict = OPEN
    if -margin < low and high < margin:
        verdict = EQUAL
    elif low > margin or high < -margin:
        verdict = DIFFERS
    return Equivalence(mean, low, high, verdict, D.size)
