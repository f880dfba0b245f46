"""Roots of functions of one variable: all of them, none twice, and never one that is not there."""

import jax.numpy as jnp
import mpmath
import numpy as np
import pytest

from proofs_check.rigorous.arithmetic import Undecided
from proofs_check.rigorous.balls import precision
from proofs_check.rigorous.scalar import (
    derivative,
    followed,
    number,
    positive,
    root,
    roots,
    taylor,
    traced,
)


def product(zeros):
    def function(x):
        told = x - number(zeros[0])
        for zero in zeros[1:]:
            told = told * (x - number(zero))
        return told

    return function


@pytest.mark.parametrize("seed", range(20))
def test_every_root_of_a_random_polynomial_is_found_once(seed):
    rng = np.random.default_rng(seed)
    # Apart by 0.01 at least: clusters are another test.
    zeros = np.sort(rng.choice(np.arange(-200, 200), int(rng.integers(1, 7)), replace=False) / 100)
    zeros = zeros + rng.uniform(0.001, 0.009)
    found = roots(product(zeros), -1, 1)
    inside = [zero for zero in zeros if -1 < zero < 1]
    assert len(found) == len(inside)
    for ball, zero in zip(found, inside, strict=True):
        assert ball.contains(number(zero))
        assert 2 * ball.rad() <= 1e-25


def test_sixty_digits_agree_with_mpmath():
    with precision(256):
        told = root(lambda x: x.exp() * x - 2, 0, 2, bits=256)
        with mpmath.workdps(70):
            known = mpmath.findroot(lambda x: mpmath.exp(x) * x - 2, 0.85)
            assert abs(mpmath.mpf(told.str(65, radius=False)) - known) < 1e-60
        assert 2 * told.rad() <= 1e-60


def test_double_roots_roots_at_an_end_and_poles_are_undecided():
    for function in (lambda x: (x - 1) * (x - 1), lambda x: x, lambda x: 1 / (x - 1)):
        with pytest.raises(Undecided):
            roots(function, 0, 3)
    with pytest.raises(Undecided, match="not one"):
        root(lambda x: x * x - 1, -3, 2)


def test_a_zero_of_known_order_at_the_low_end_is_set_apart():
    def function(x):  # x^2 (x - 1) to second order in disguise
        return (x.exp() - 1 - x) * (x - 1)

    (found,) = roots(function, 0, 2, order=2)
    assert found.contains(1)
    assert roots(lambda x: x.exp() - 1 - x, 0, 5, order=2) == ()
    with pytest.raises(Undecided):  # it is of order two, not three: x^2 is not seen
        roots(lambda x: x * x * x - x * x / 1000, 0, 1, order=1, bits=128)


def test_positive_is_decided_both_ways():
    assert positive(lambda x: x * x - x + 0.2501, -5, 5)
    assert not positive(lambda x: x * x - x + 0.2499, -5, 5)
    with pytest.raises(Undecided):
        positive(lambda x: (x * x - 2) * (x * x - 2), 0, 5)
    assert not positive(lambda x: -x * x, 0, 1, order=2)


def test_derivatives_hold_the_true_ones_on_a_ball():
    with precision():
        ball = number(1).union(number(2))
        told = taylor(derivative(lambda x: x.log(), 1), ball, 2)
        for x in (1.0, 1.3, 2.0):
            for k, exact in enumerate((1 / x, -1 / x**2, 1 / x**3)):
                assert float(told[k].lower()) <= exact <= float(told[k].upper())


def test_a_jax_function_is_the_same_function():
    with precision():
        ours = roots(lambda x: x.exp() - 3 * x, 0, 2)
        theirs = roots(traced(lambda x: jnp.exp(x) - 3 * x), 0, 2)
        assert len(ours) == len(theirs) == 2
        assert all(a.overlaps(b) for a, b in zip(ours, theirs, strict=True))


def test_a_followed_root_is_a_root_for_every_parameter():
    with precision():
        parameter = number("0.3").union(number("0.31"))
        ball = followed(lambda x: x * x * x + x - parameter, 0.27)
        for value in (0.3001, 0.3099):
            assert ball.contains(root(lambda x: x * x * x + x - value, 0, 1))  # noqa: B023
        with pytest.raises(Undecided):
            followed(lambda x: x * x + parameter, 0.5)
