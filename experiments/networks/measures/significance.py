"""Whether one network, or one loss over several seeds, is better than another, or only luckier.

McNemar's test is about two networks on one test set; the other two are about runs with paired
seeds. With S seeds no sign-flip test has a p-value below 2^(1-S): five seeds cannot reach 0.05.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from scipy.stats import binom

from experiments.networks.measures.inputs import Matrix, vector
from ufm.errors import InputError, require_count

# 2^20 sign patterns are gone through in about a second.
MAX_EXACT = 20


@dataclass(frozen=True)
class McNemar:
    """Samples that exactly one of two networks has right, and how unlikely such a split is.

    Attributes:
        only_first, only_second: numbers of such samples.
        p_value: two-sided and exact, for the hypothesis that both are equally likely.
    """

    only_first: int
    only_second: int
    p_value: float


def mcnemar(first_correct: npt.ArrayLike, second_correct: npt.ArrayLike) -> McNemar:
    """Exact test that two networks have the same accuracy, from the samples where they differ.

    With b and c samples that only the first or only the second has right, p = min(1, 2 P(X <=
    min(b, c))) for X binomial with b + c trials and chance 1/2.

    Source: McNemar 1947, exact form; Dietterich 1998 for classifiers.

    Args:
        first_correct: (N,) bool, whether the first network is right on each test sample.
        second_correct: (N,) bool, of the second one for the same samples.

    Raises:
        InputError: not bool, or of different lengths.

    Example:
        >>> mcnemar([True, True, True, False], [False, False, True, False]).p_value
        0.5
    """
    a, b = np.asarray(first_correct), np.asarray(second_correct)
    if a.dtype != bool or b.dtype != bool or a.ndim != 1 or a.shape != b.shape or not a.size:
        got = f"{a.dtype} {a.shape} and {b.dtype} {b.shape}"
        rule = "Need two vectors of bool of one length"
        raise InputError(rule, got, "pass predictions == labels of both networks")
    only_a, only_b = int(np.count_nonzero(a & ~b)), int(np.count_nonzero(b & ~a))
    tail = float(binom.cdf(min(only_a, only_b), only_a + only_b, 0.5))
    return McNemar(only_a, only_b, min(1.0, 2 * tail))


def sign_flip_test(differences: npt.ArrayLike) -> float:
    """p-value of the hypothesis that paired differences are symmetric about 0, two-sided, exact.

    The share of the 2^S sign patterns whose |sum| is at least the observed one, the sums being
    equal if they differ by no more than rounding.

    Source: Fisher 1935, section 21.

    Args:
        differences: (S,), one loss minus another, seed by seed; S <= 20.

    Returns:
        In [2^(1-S), 1] where some difference is not 0.

    Raises:
        InputError: no or more than 20 differences, or numbers that are not finite.

    Example:
        >>> sign_flip_test([0.1, 0.2, 0.3])
        0.25
    """
    D = vector(differences, "differences")
    if D.size > MAX_EXACT:
        rule = f"Need at most {MAX_EXACT} differences for an exact test"
        raise InputError(rule, D.size, "use paired_bootstrap")
    sums = np.zeros(1)
    for difference in D:
        sums = np.concatenate([sums + difference, sums - difference])
    # Every sum has S - 1 roundings of numbers of at most sum |D|.
    slack = 2 * D.size * np.finfo(float).eps * float(np.abs(D).sum())
    return float(np.mean(np.abs(sums) >= abs(float(D.sum())) - slack))


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

    @property
    def excludes_zero(self) -> bool:
        """Whether the difference is significant at 1 - level."""
        return not self.low <= 0 <= self.high


def paired_bootstrap(
    differences: npt.ArrayLike, seed: int, num_resamples: int = 10_000, level: float = 0.95
) -> Interval:
    """Percentile interval of the mean of paired differences, resampled with replacement.

    For few differences it is too narrow: its width is about sqrt((S-1)/S) z/t of Student's, which
    is 0.63 for S = 5 and a level of 0.95. Give ``sign_flip_test`` beside it.

    Source: Efron 1979; percentile method.

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
    D = vector(differences, "differences")
    if D.size < 2:
        raise InputError("Need two differences or more", D.size, "run more seeds")
    if not 0 < level < 1:
        raise InputError("Need a level in (0, 1)", level, "0.95 is usual")
    number = require_count(num_resamples, "number of resamples", 100, "10,000 is usual")
    bits = np.random.PCG64(require_count(seed, "seed", 0, "count seeds from 0"))
    means = _resampled_means(D, number, bits)
    low, high = np.quantile(means, [(1 - level) / 2, (1 + level) / 2])
    return Interval(float(D.mean()), float(low), float(high), float(level))


def _resampled_means(D: Matrix, number: int, bits: np.random.PCG64) -> Matrix:
    """A million draws at a time: 10,000 resamples of 10,000 samples fill no memory.

    Raw draws, because NumPy promises to keep that stream; their remainders are uniform to 2^-40.
    """
    block = max(1, 2**20 // D.size)
    means = []
    for start in range(0, number, block):
        rows = min(block, number - start)
        drawn = bits.random_raw(rows * D.size).reshape(rows, D.size) % np.uint64(D.size)
        means.append(D[drawn.astype(np.intp)].mean(axis=1))
    return np.concatenate(means)
