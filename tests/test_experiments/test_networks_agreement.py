"""Agreement and significance against scikit-learn, mlxtend, SciPy and full enumeration."""

import itertools
import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from mlxtend.evaluate import mcnemar as mlxtend_mcnemar
from mlxtend.evaluate import mcnemar_table
from scipy.stats import bootstrap, permutation_test
from sklearn.metrics import cohen_kappa_score

from experiments.networks.measures.agreement import agreement, agreement_matrix
from experiments.networks.measures.significance import mcnemar, paired_bootstrap, sign_flip_test
from ufm.errors import InputError

K, N = 4, 23


def predictions(seed):
    rng = np.random.default_rng(seed)
    a = rng.integers(0, K, N)
    return a, np.where(rng.random(N) < 0.6, a, rng.integers(0, K, N))


def test_kappa_agrees_with_scikit_learn() -> None:
    for seed in range(5):
        a, b = predictions(seed)
        made = agreement(a, b)
        assert made.rate == np.mean(a == b)
        assert made.kappa == pytest.approx(cohen_kappa_score(a, b), rel=1e-12)
        assert made == agreement(b, a)
    # Classes that only one of them predicts count too.
    assert agreement([0, 0], [0, 7]).kappa == 0
    assert agreement([0, 1, 2], [0, 1, 2]).kappa == 1
    assert agreement([0, 1], [1, 0]).kappa == -1
    assert math.isnan(agreement([2, 2], [2, 2]).kappa)


def test_the_matrix_holds_every_pair() -> None:
    rows = [predictions(0)[0], predictions(0)[1], predictions(1)[1]]
    made = agreement_matrix(rows)
    for i, j in itertools.product(range(3), repeat=2):
        assert made[i, j] == agreement(rows[i], rows[j]).rate
    for bad in ([], [[0, 1], [0]], [[0.5]]):
        with pytest.raises(InputError):
            agreement_matrix(bad)
    with pytest.raises(InputError, match=r"predicted classes of the same 2 samples"):
        agreement([0, 1], [0])


def test_mcnemar_agrees_with_mlxtend_and_with_every_coin() -> None:
    rng = np.random.default_rng(0)
    for share in (0.3, 0.5, 0.8):
        y = np.zeros(40, int)
        a, b = (rng.random(40) < 0.5).astype(int), (rng.random(40) < share).astype(int)
        made = mcnemar(a == y, b == y)
        table = mcnemar_table(y_target=y, y_model1=a, y_model2=b)
        assert {made.only_first, made.only_second} == {table[0, 1], table[1, 0]}
        assert made.p_value == pytest.approx(mlxtend_mcnemar(table, exact=True)[1], rel=1e-9)
    # Seven discordant samples, 6 to 1: 2 (1 + 7)/2^7 by counting sequences of coins.
    first = np.array([True] * 6 + [False] + [True] * 5)
    second = np.array([False] * 6 + [True] + [True] * 5)
    made = mcnemar(first, second)
    assert (made.only_first, made.only_second) == (6, 1)
    extreme = sum(min(sum(c), 7 - sum(c)) <= 1 for c in itertools.product((0, 1), repeat=7))
    assert made.p_value == pytest.approx(extreme / 2**7, rel=1e-12) == 0.125
    assert mcnemar(first, first).p_value == 1
    for bad in ((first, second[:-1]), (first.astype(int), second), (first[:0], second[:0])):
        with pytest.raises(InputError, match=r"two vectors of bool of one length"):
            mcnemar(*bad)


@given(st.lists(st.integers(-5, 5), min_size=1, max_size=9))
def test_sign_flips_are_all_counted(tenths) -> None:
    D = np.array(tenths)
    sums = [abs(np.dot(signs, D)) for signs in itertools.product((1, -1), repeat=D.size)]
    expected = np.mean(np.array(sums) >= abs(D.sum()))
    # Tenths are not exact in binary: without the slack equal sums would count as different.
    assert sign_flip_test(D / 10) == expected


def test_the_sign_flip_test_agrees_with_scipy_and_has_a_floor() -> None:
    D = np.random.default_rng(1).standard_normal(8) + 0.7
    other = permutation_test(
        (D,), np.mean, permutation_type="samples", alternative="two-sided", n_resamples=np.inf
    )
    assert sign_flip_test(D) == pytest.approx(other.pvalue, rel=1e-12)
    assert sign_flip_test([1, 2, 3, 4, 5]) == 2.0**-4
    assert sign_flip_test([0, 0]) == 1
    with pytest.raises(InputError, match=r"at most 20 differences"):
        sign_flip_test(np.ones(21))


def test_the_bootstrap_interval_agrees_with_scipy() -> None:
    D = np.random.default_rng(2).exponential(size=40)
    made = paired_bootstrap(D, seed=0, num_resamples=20_000)
    other = bootstrap((D,), np.mean, n_resamples=20_000, method="percentile", rng=1)
    # Both are noisy: a 2.5 % quantile of 20,000 normal means of deviation s has error 0.019 s.
    noise = 0.019 * D.std() / np.sqrt(40)
    assert made.mean == D.mean()
    assert abs(made.low - other.confidence_interval.low) < 7 * noise
    assert abs(made.high - other.confidence_interval.high) < 7 * noise
    assert made.excludes_zero
    assert not paired_bootstrap(D - D.mean(), seed=0).excludes_zero


def test_every_option_of_the_bootstrap_is_heeded() -> None:
    D = np.random.default_rng(3).standard_normal(6)
    base = paired_bootstrap(D, seed=0)
    assert paired_bootstrap(D, seed=0) == base
    assert paired_bootstrap(D, seed=1) != base
    assert paired_bootstrap(D, seed=0, num_resamples=500) != base
    narrow = paired_bootstrap(D, seed=0, level=0.5)
    assert base.low < narrow.low < narrow.high < base.high
    # The width that the docstring states, against Student's at S = 6: sqrt(5/6) 1.96/2.571.
    width = (base.high - base.low) / (2 * 2.571 * D.std(ddof=1) / np.sqrt(6))
    assert abs(width - np.sqrt(5 / 6) * 1.96 / 2.571) < 0.1
    for bad in (dict(level=1), dict(num_resamples=99), dict(seed=-1)):
        with pytest.raises(InputError):
            paired_bootstrap(D, **{"seed": 0, **bad})
    with pytest.raises(InputError, match=r"two differences or more"):
        paired_bootstrap([1.0], 0)
