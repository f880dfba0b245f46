"""Whether one loss is better than another over several seeds, or only luckier; by SciPy.

Runs are paired by their seeds. With S seeds no sign-flip test has a p-value below 2^(1-S): five
seeds cannot reach 0.05.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
from scipy.stats import bootstrap, permutation_test

from experiments.networks.measures.inputs import vector
from ufm.errors import InputError, require_count
from ufm.typing import Array

# All patterns of signs of up to 16 differences; of more, so many at random.
PATTERNS = 2**16
# Numbers resampled at a time, so that 10,000 resamples of 10,000 samples fill no memory.
BATCH = 2**20


def sign_flip_test(differences: npt.ArrayLike) -> float:
    """p-value of the hypothesis that paired differences are symmetric about 0, two-sided.

    The share of the 2^S sign patterns whose |sum| is at least the observed one, the sums being
    equal if they differ by no more than rounding; all patterns for S <= 16, else 65,536 at random.

    Source: Fisher 1935, section 21; ``scipy.stats.permutation_test``.

    Args:
        differences: (S,), S >= 2, one loss minus another, seed by seed.

    Returns:
        In [2^(1-S), 1] where some difference is not 0.

    Raises:
        InputError: fewer than two differences, or numbers that are not finite.

    Example:
        >>> sign_flip_test([0.1, 0.2, 0.3])
        0.25
    """
    told = _several(differences)
    # Equal sums of tenths differ in the last digits: sums are compared to ten digits of the whole.
    scale = float(np.abs(told).sum()) or 1.0

    def total(signed: Any, axis: int) -> Any:
        return np.round(np.sum(signed, axis=axis) / scale, 10)

    found = permutation_test(
        (told,),
        total,
        permutation_type="samples",
        vectorized=True,
        n_resamples=PATTERNS,
        rng=np.random.default_rng(0),
    )
    return float(found.pvalue)


@dataclass(frozen=True)
class Interval:
    """A mean and the interval that a bootstrap gives it.

    Attributes:
        mean: of the differences.
        low, high: percentiles (1 - level)/2 and (1 + level)/2 of the resampled means.
        level: of the interval.
    """

    mean: float
    low: float
    high: float
    level: float


def paired_bootstrap(
    differences: npt.ArrayLike, seed: int, num_resamples: int = 10_000, level: float = 0.95
) -> Interval:
    """Percentile interval of the mean of paired differences, resampled with replacement.

    For few differences it is too narrow: its width is about sqrt((S-1)/S) z/t of Student's, which
    is 0.63 for S = 5 and a level of 0.95. Give ``sign_flip_test`` beside it.

    Source: Efron 1979; percentile method of ``scipy.stats.bootstrap``.

    Args:
        differences: (S,), S >= 2, one loss minus another, seed by seed or sample by sample.
        seed: of the resampling.
        num_resamples: >= 100.
        level: 0 < level < 1.

    Raises:
        InputError: arguments not so.

    Example:
        >>> paired_bootstrap([0.25, 0.25, 0.25], seed=0)
        Interval(mean=0.25, low=0.25, high=0.25, level=0.95)
    """
    D = _several(differences)
    if not 0 < level < 1:
        raise InputError("Need a level in (0, 1)", level, "0.95 is usual")
    number = require_count(num_resamples, "number of resamples", 100, "10,000 is usual")
    rng = np.random.default_rng(require_count(seed, "seed", 0, "count seeds from 0"))
    found = bootstrap(
        (D,),
        np.mean,
        n_resamples=number,
        batch=max(1, BATCH // D.size),
        confidence_level=level,
        method="percentile",
        rng=rng,
    ).confidence_interval
    return Interval(float(D.mean()), float(found.low), float(found.high), float(level))


def _several(differences: npt.ArrayLike) -> Array:
    D = vector(differences, "differences")
    if D.size < 2:
        raise InputError("Need two differences or more", D.size, "run more seeds")
    return D
