"""Errors say rule, value and remedy, in one line."""

import math
import pickle

import pytest

from ufm.errors import DECAYS, InputError, require_count, require_decay, require_positive


def test_an_error_carries_its_three_parts():
    error = InputError("Need K >= 2", 1, "give two")
    assert str(error) == "Need K >= 2. Got 1. Remedy: give two."
    assert (error.rule, error.got, error.remedy) == ("Need K >= 2", 1, "give two")
    assert isinstance(error, ValueError)


def test_an_error_travels_between_processes():
    error = pickle.loads(pickle.dumps(InputError("Need a number", lambda: 0, "give one")))
    assert (error.rule, error.remedy) == ("Need a number", "give one")
    assert "lambda" in str(error)


@pytest.mark.parametrize("value", [0.0, -1.0, math.nan, math.inf, -math.inf])
def test_what_is_not_positive_is_refused(value):
    with pytest.raises(InputError, match=r"Need x > 0 and finite. Got .*Remedy: try one"):
        require_positive(value, "x", "try one")


@pytest.mark.parametrize("value", [1, 2.5, "3", None, math.nan, math.inf, [3]])
def test_what_is_not_a_count_is_refused(value):
    with pytest.raises(InputError, match=r"Need an integer x >= 2. Got .*Remedy: give two"):
        require_count(value, "x", 2, "give two")


def test_what_is_allowed_comes_back_converted():
    assert require_positive(5e-324, "x", "") == 5e-324
    assert type(require_positive(2, "x", "")) is float
    assert require_count(3.0, "x", 3, "") == 3
    assert type(require_count(3.0, "x", 3, "")) is int


@pytest.mark.parametrize("value", ["1", b"1", 1j, True, None, [1.0], 10**400, object()])
def test_what_is_no_real_number_is_refused(value):
    for refuse in (
        lambda: require_positive(value, "x", "try one"),
        lambda: require_decay(value, "x"),
        lambda: require_decay(value, "x", zero=True),
    ):
        with pytest.raises(InputError, match=r"Need x >=? 0 and finite. Got "):
            refuse()


def test_decays_have_a_range():
    low, high = DECAYS
    for good in (low, high, 5e-4):
        assert require_decay(good, "x") == require_decay(good, "x", zero=True) == good
    for bad in (0.99 * low, 1.01 * high):
        with pytest.raises(InputError, match=r"x from 1e-100 to 1e\+100"):
            require_decay(bad, "x", zero=True)
    assert require_decay(0, "x", zero=True) == 0.0
    with pytest.raises(InputError, match="x > 0"):
        require_decay(0, "x")
    # What the range is for: products of three, and their inverses.
    assert math.isfinite(high**3)
    assert low**3 > 0
