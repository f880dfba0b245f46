"""Significance against full enumeration: of every pattern of signs, and of every resample."""

import itertools

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from experiments.networks.measures.significance import paired_bootstrap, sign_flip_test
from ufm.errors import InputError


def by_hand(D):
    """The share of all sign patterns whose sum is as far from 0; of integers, so exact."""
    sums = np.zeros(1, int)
    for difference in D:
        sums = np.concatenate([sums + difference, sums - difference])
    return np.mean(np.abs(sums) >= abs(D.sum()))


@given(st.lists(st.integers(-5, 5), min_size=2, max_size=9))
def test_sign_flips_are_all_counted(tenths) -> None:
    D = np.array(tenths)
    # Tenths are not exact in binary: without a slack equal sums would count as different.
    assert sign_flip_test(D / 10) == pytest.approx(by_hand(D), rel=1e-12)


def test_the_sign_flip_test_has_a_floor_and_two_sides() -> None:
    assert sign_flip_test([1, 2, 3, 4, 5]) == sign_flip_test([-1, -2, -3, -4, -5]) == 2.0**-4
    assert sign_flip_test([0, 0]) == 1
    with pytest.raises(InputError, match="two differences or more"):
        sign_flip_test([0.5])


def test_many_differences_are_flipped_at_random() -> None:
    """17 of them have more patterns than are gone through: four standard errors of 65,536."""
    D = np.array([3, -1, 4, 1, -5, 9, 2, 6, -5, 3, 5, -8, 9, 7, 9, -3, 2])
    exact = by_hand(D)
    found = sign_flip_test(D)
    assert found == sign_flip_test(D)
    assert abs(found - exact) < 4 * np.sqrt(exact * (1 - exact) / 2**16)
    assert abs(found - exact) < 0.1 * exact


def test_the_bootstrap_has_the_quantiles_of_all_resamples() -> None:
    """4^4 equally likely resamples; the quantiles stand clear of the steps by five errors."""
    D = np.array([0.0, 1.0, 3.0, 8.0])
    means = np.sort([np.mean(chosen) for chosen in itertools.product(D, repeat=4)])
    level, num = 0.7, 40_000
    made = paired_bootstrap(D, seed=0, num_resamples=num, level=level)
    for found, share in ((made.low, 0.15), (made.high, 0.85)):
        expected = means[int(np.ceil(share * means.size)) - 1]
        below, upto = np.mean(means < expected - 1e-9), np.mean(means < expected + 1e-9)
        assert min(share - below, upto - share) > 5 * np.sqrt(0.15 * 0.85 / num)
        assert found == pytest.approx(expected, abs=1e-12)
    assert made.mean == 3
    assert made.low > 0
    centred = paired_bootstrap(D - D.mean(), seed=0)
    assert centred.low <= 0 <= centred.high


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
