"""Equal within a margin, different by more, or open: against SciPy's one-sided t tests."""

import math

import numpy as np
import pytest
from scipy.stats import ttest_1samp

from experiments.networks.measures.equivalence import equivalence
from ufm.errors import InputError


@pytest.mark.parametrize("alpha", [0.05, 0.01])
def test_verdicts_are_those_of_two_one_sided_tests(alpha):
    random = np.random.default_rng(0)
    seen = set()
    for _ in range(300):
        S, margin = int(random.integers(3, 9)), random.uniform(0.5, 2)
        D = random.normal(random.choice([0, 0.5, 1, 3]), random.uniform(0.05, 0.6), S)
        above = ttest_1samp(D, -margin, alternative="greater").pvalue
        below = ttest_1samp(D, margin, alternative="less").pvalue
        beyond = ttest_1samp(D, margin, alternative="greater").pvalue
        short = ttest_1samp(D, -margin, alternative="less").pvalue
        expected = "open"
        if max(above, below) < alpha:
            expected = "equal"
        elif min(beyond, short) < alpha:
            expected = "differs"
        assert equivalence(D, margin, alpha).verdict == expected
        seen.add(expected)
    assert seen == {"equal", "differs", "open"}


def test_the_error_of_calling_unequal_losses_equal_is_the_level():
    """At a true difference of exactly the margin, equal is said in alpha of all cases."""
    random = np.random.default_rng(1)
    draws = random.normal(1.0, 0.05, (4000, 3))
    said = np.mean([equivalence(D, 1.0).verdict == "equal" for D in draws])
    # 4000 draws: three standard errors are 0.0103.
    assert said == pytest.approx(0.05, abs=0.0103)
    # No difference found is no equality: a t test finds none here.
    wide = [-0.9, 0.2, 0.8]
    assert ttest_1samp(wide, 0).pvalue > 0.5
    assert equivalence(wide, 1.0).verdict == "open"


def test_few_seeds_and_equal_differences():
    found = equivalence([0.0, 0.0], 0.02)
    assert (found.verdict, found.low, found.high, found.num) == ("open", -math.inf, math.inf, 2)
    assert equivalence([0.03] * 3, 0.02).verdict == "differs"
    assert equivalence([-0.03] * 3, 0.02).verdict == "differs"
    # On the margin itself neither test rejects.
    assert equivalence([0.25] * 3, 0.25).verdict == "open"


@pytest.mark.parametrize(
    ("values", "margin", "alpha", "says"),
    [([], 1, 0.05, "differences"), ([1.0], 0, 0.05, "margin"), ([1.0], 1, 0.5, "alpha")],
)
def test_bad_arguments(values, margin, alpha, says):
    with pytest.raises(InputError, match=says):
        equivalence(values, margin, alpha)
