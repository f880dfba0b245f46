"""Enclosures in float64 against rational arithmetic, and what a wrong constant would do."""

from fractions import Fraction

import flint
import numpy as np
import pytest

from proofs_check.rigorous import floats
from proofs_check.rigorous.arithmetic import Undecided
from proofs_check.rigorous.balls import Balls, precision
from proofs_check.rigorous.floats import Floats

OPERATIONS = {
    "add": lambda x, y: x + y,
    "sub": lambda x, y: x - y,
    "mul": lambda x, y: x * y,
    "div": lambda x, y: x / y,
}


def rational(x):
    return Fraction(float(x))


def holds(told, truth) -> bool:
    """Whether an enclosure (n,) contains rational numbers."""
    ends = zip(told.lower(), told.upper(), truth, strict=True)
    return all(rational(low) <= t <= rational(high) for low, high, t in ends)


def within(told, truth) -> bool:
    """The same of middle and radius as they are, without the last place that ends are moved by."""
    parts = zip(told.centre, told.radius, truth, strict=True)
    return all(abs(rational(c) - t) <= rational(r) for c, r, t in parts)


def numbers(seed, size):
    rng = np.random.default_rng(seed)
    return rng.normal(size=size) * 2.0 ** rng.integers(-40, 40, size)


@pytest.mark.parametrize("kind", [Floats, Balls])
@pytest.mark.parametrize("name", OPERATIONS)
def test_the_ends_of_two_intervals_stay_inside(kind, name):
    x, y = numbers(0, 200), numbers(1, 200)
    rx, ry = np.abs(numbers(2, 200)) * 1e-3, np.abs(y) * 0.3
    with precision(80):
        told = OPERATIONS[name](kind.around(x, rx), kind.around(y, ry))
    for side_x in (-1, 0, 1):
        for side_y in (-1, 0, 1):
            left = [rational(a) + side_x * rational(r) for a, r in zip(x, rx, strict=True)]
            right = [rational(a) + side_y * rational(r) for a, r in zip(y, ry, strict=True)]
            truth = [OPERATIONS[name](a, b) for a, b in zip(left, right, strict=True)]
            assert holds(told, truth)


def worst_pairs():
    """Factors and quotients near 1 that lose almost half a unit in the last place."""
    rng = np.random.default_rng(3)
    x, y = 1 + rng.random(4000) * 0.01, 1 + rng.random(4000) * 0.01
    return x, y


@pytest.mark.parametrize("name", OPERATIONS)
def test_half_the_unit_roundoff_is_not_enough(name, monkeypatch):
    x, y = worst_pairs()
    if name in ("add", "sub"):
        x, y = np.ones(4000), (y - 1) * 2.0**-46 * (1 if name == "add" else -1)
    truth = [OPERATIONS[name](rational(a), rational(b)) for a, b in zip(x, y, strict=True)]
    assert within(OPERATIONS[name](Floats.exact(x), Floats.exact(y)), truth)
    monkeypatch.setattr(floats, "UNIT", 2.0**-54)
    assert not within(OPERATIONS[name](Floats.exact(x), Floats.exact(y)), truth)


def test_half_of_gamma_is_not_enough_for_sums_and_products(monkeypatch):
    small = 2.0**-53 * (1 - 2.0**-10)
    row = np.array([1.0, small, small])  # both are lost, one after the other
    exact = 1 + 2 * rational(small)
    x, y = worst_pairs()
    pairs = [rational(a) * rational(b) for a, b in zip(x, y, strict=True)]

    def enclosed():
        products = Floats.exact(x[:, None, None]) @ Floats.exact(y[:, None, None])
        return Floats.exact(row[None]).summed((1,)), products[:, 0, 0]

    told = enclosed()
    assert within(told[0], [exact])
    assert within(told[1], pairs)
    gamma = floats.gamma
    monkeypatch.setattr(floats, "gamma", lambda n: gamma(n) / 2)
    told = enclosed()
    assert not within(told[0], [exact])
    assert not within(told[1], pairs)


def test_a_flipped_rounding_direction_is_caught():
    class Flipped(Floats):
        def lower(self):
            return np.nextafter(self._end(-1), np.inf)

    rng = np.random.default_rng(5)
    centre, radius = rng.normal(size=300), rng.random(300) * 1e-8
    truth = [rational(c) - rational(r) for c, r in zip(centre, radius, strict=True)]
    assert holds(Floats(centre, radius), truth)
    assert not holds(Flipped(centre, radius), truth)


def test_matrix_products_of_intervals_contain_all_products():
    rng = np.random.default_rng(7)
    A, B = rng.normal(size=(3, 40)), rng.normal(size=(40, 5))
    ra, rb = rng.random(A.shape) * 1e-6, rng.random(B.shape) * 1e-9
    told = Floats.around(A, ra) @ Floats.around(B, rb)
    for _ in range(5):
        X = [[rational(a) for a in row] for row in A + ra * rng.choice([-0.99, 0.99], A.shape)]
        Y = [[rational(b) for b in row] for row in B + rb * rng.choice([-0.99, 0.99], B.shape)]
        for i in range(3):
            truth = [sum(X[i][k] * Y[k][j] for k in range(40)) for j in range(5)]
            assert holds(told[i], truth)


@pytest.mark.parametrize("function", sorted(Balls.functions))
def test_functions_agree_with_balls_of_many_digits(function):
    rng = np.random.default_rng(11)
    x = rng.random(300) * 3 if function in ("log", "sqrt") else rng.normal(size=300) * 3
    x = np.abs(x) if function == "log1p" else x
    r = np.abs(x) * rng.random(300) * 1e-3
    told = Floats.around(x, r).apply(function)
    with precision(200):
        for at in (x - 0.99 * r, x, x + 0.99 * r):
            truth = Balls.exact(at).apply(function).array
            low, high = told.lower(), told.upper()
            for a, b, ball in zip(low, high, truth, strict=True):
                assert flint.arb(a) <= ball
                assert ball <= flint.arb(b)
    width = (10 * (r + r / np.abs(x)) + 1e-13) * (1 + np.abs(told.middle()))
    assert np.all(told.upper() - told.lower() <= width)


def test_half_of_the_error_of_the_series_of_exp_is_not_enough():
    rest = np.random.default_rng(13).uniform(-1, 1, 3000) / (2 * floats.STEPS)
    series = floats._series(rest)
    with precision(200):
        truth = Balls.exact(rest).apply("exp").array
        errors = [float(abs(flint.arb(s) - t).upper()) for s, t in zip(series, truth, strict=True)]
    assert floats.SERIES_ERROR / 2 < max(errors) <= floats.SERIES_ERROR


def test_exp_is_tight_far_out_and_knows_minus_infinity():
    x = np.array([-np.inf, -745.0, -690.0, -1e-20, 0.0, 690.0, 709.0])
    told = Floats.exact(x).apply("exp")
    assert told.lower()[0] == told.upper()[0] == 0
    with precision(100):
        truth = Balls.exact(x[1:]).apply("exp").array
    for a, b, ball in zip(told.lower()[1:], told.upper()[1:], truth, strict=True):
        assert flint.arb(a) <= ball
        assert ball <= flint.arb(b)
        assert b - a <= 1e-14 * b + 1e-300


@pytest.mark.parametrize("kind", [Floats, Balls])
def test_what_is_not_bounded_is_undecided(kind):
    with pytest.raises(Undecided, match="divisor"):
        kind.exact([1.0]) / kind.around([0.5], [0.5])
    for function, x in (("log", 0.1), ("sqrt", -1.0)):
        with pytest.raises(Undecided, match=function):
            kind.around([x], [0.2]).apply(function)
    with pytest.raises(Undecided, match="sign"):
        kind.around([0.0], [0.1]).sign()
    with pytest.raises(Undecided, match="comparison"):
        kind.around([0.0], [0.1]).above(kind.exact([0.05]))
    with pytest.raises(Undecided, match="equality"):
        kind.around([0.0], [0.1]).equals(kind.exact([0.0]))


@pytest.mark.parametrize("kind", [Floats, Balls])
def test_maxima_and_powers(kind):
    x = kind.around([1.0, -2.0], [0.25, 0.5])
    y = kind.around([1.1, 5.0], [0.25, 0.5])
    told = x.maximum(y)
    np.testing.assert_allclose(told.lower(), [0.85, 4.5], atol=1e-12)
    np.testing.assert_allclose(told.upper(), [1.35, 5.5], atol=1e-12)
    square, once = x.power(2), x.power(1)
    np.testing.assert_array_equal(square.upper(), (x * x).upper())
    np.testing.assert_array_equal(once.upper(), x.upper())
    cube = x.power(3)
    assert np.all(cube.lower() <= [0.75**3, -(2.5**3)])
    assert np.all(cube.upper() >= [1.25**3, -(1.5**3)])
    inverse = x.power(-1)
    assert np.all(inverse.lower() <= [1 / 1.25, -1 / 1.5])
    assert np.all(x.absolute().lower() <= [0.75, 1.5])


def test_precision_is_restored_after_an_error():
    before = flint.ctx.prec
    with pytest.raises(ZeroDivisionError), precision(300):
        raise ZeroDivisionError
    assert flint.ctx.prec == before
