"""Intervals contain the exact results, and no step of rounding can be spared."""

from fractions import Fraction
from operator import add, mul, sub

import numpy as np
import pytest
from flint import arb, ctx

from proofs_check.rigorous import intervals
from proofs_check.rigorous.intervals import EXP_ERROR, Interval, stack

RNG = np.random.default_rng(0)
X, Y = RNG.normal(size=(2, 500)) * 10.0 ** RNG.integers(-8, 8, (2, 500))


@pytest.mark.parametrize("operation", [add, sub, mul])
def test_operations_contain_the_exact_result(operation):
    told = operation(Interval.of(X), Interval.of(Y))
    inexact = 0
    for x, y, low, high in zip(X, Y, told.lo, told.hi, strict=True):
        exact = operation(Fraction(x), Fraction(y))
        assert Fraction(low) <= exact <= Fraction(high)
        inexact += Fraction(operation(x, y)) != exact
    assert inexact > 300  # a result that is merely the nearest double would be wrong
    assert np.all(told.hi - told.lo <= 4 * np.spacing(np.maximum(abs(told.lo), abs(told.hi))))


def test_quotients_and_squares_contain_the_exact_result():
    told, squares = Interval.of(X) / Interval.of(Y), Interval.of(X).square()
    for x, y, low, high in zip(X, Y, told.lo, told.hi, strict=True):
        assert Fraction(low) <= Fraction(x) / Fraction(y) <= Fraction(high)
    for x, low, high in zip(X, squares.lo, squares.hi, strict=True):
        assert Fraction(low) <= Fraction(x) ** 2 <= Fraction(high)
    with np.errstate(invalid="ignore"):
        whole = Interval.of(1.0) / Interval.between(-1.0, 2.0)
    assert (whole.lo, whole.hi) == (-np.inf, np.inf)


def test_all_signs_of_a_product_and_a_square():
    ends = [(-3.0, -2.0), (-1.0, 4.0), (2.0, 5.0)]
    for a, b in ends:
        for c, d in ends:
            told = Interval.between(a, b) * Interval.between(c, d)
            products = [x * y for x in (a, b) for y in (c, d)]
            assert told.lo <= min(products) <= told.lo + 1e-14
            assert told.hi - 1e-14 <= max(products) <= told.hi
    square = Interval.between(-1.0, 4.0).square()
    assert square.lo == 0
    assert 16 <= square.hi < 16 + 1e-14


def test_the_exponential_contains_the_exact_one():
    x = np.concatenate([RNG.uniform(-720, 709, 3000), RNG.normal(size=1000) * 1e-3, [0.0, -1e4]])
    told = Interval.of(x).exp()
    with ctx.workprec(100):
        for y, low, high in zip(x, told.lo, told.hi, strict=True):
            exact = arb(y).exp()
            assert arb(low) <= exact <= arb(high)
    assert Interval.of(800.0).exp().hi == np.inf
    near = (abs(x) < 600) & (x != 0)
    assert np.all((told.hi - told.lo)[near] < 5 * EXP_ERROR * told.hi[near])


def test_the_error_of_the_exponential_is_needed(monkeypatch):
    """With a fiftieth of the bound some exact value lies outside."""
    monkeypatch.setattr(intervals, "EXP_ERROR", EXP_ERROR / 50)
    monkeypatch.setattr(intervals, "_up", lambda x: x)
    monkeypatch.setattr(intervals, "_down", lambda x: x)
    x = RNG.uniform(-20, 20, 3000)
    told = Interval.of(x).exp()
    with ctx.workprec(100):
        exact = [arb(y).exp() for y in x]
    outside = sum(
        bool(arb(low) > e) or bool(arb(high) < e)
        for e, low, high in zip(exact, told.lo, told.hi, strict=True)
    )
    assert outside > 10


def test_sums_meets_and_middles():
    x = Interval.between([[1.0, -2.0], [0.5, 3.0]], [[2.0, -1.0], [0.5, 4.0]])
    total = x.sum(-1)
    np.testing.assert_allclose(total.lo, [-1.0, 3.5], atol=1e-15)
    np.testing.assert_allclose(total.hi, [1.0, 4.5], atol=1e-15)
    assert total.without_zero().tolist() == [False, True]
    meet = x[0].meet(Interval.between([1.5, -3.0], [9.0, -1.5]))
    assert (meet.lo.tolist(), meet.hi.tolist()) == ([1.5, -2.0], [2.0, -1.5])
    assert x.middle().tolist() == [[1.5, -1.5], [0.5, 3.5]]
    both = stack([x[0], x[1]])
    assert both.lo.tolist() == [[1.0, 0.5], [-2.0, 3.0]]
    numbers = 2.0 - np.array([1.0, 3.0]) * x[0]
    np.testing.assert_allclose(numbers.lo, [0.0, 5.0], atol=1e-14)
