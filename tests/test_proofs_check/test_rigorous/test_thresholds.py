"""Enclosed thresholds against mpmath at sixty digits, dense Hessians and the printed digits."""

import math

import mpmath
import numpy as np
import pytest

from landscape.curvature.hessian import dense_hessian
from proofs_check.rigorous.arithmetic import Undecided
from proofs_check.rigorous.balls import precision
from proofs_check.rigorous.scalar import number, positive
from proofs_check.rigorous.thresholds import (
    focal_convexity,
    focal_window,
    largest_focal_convexity,
    merging_threshold,
    smoothing_without_drop,
    vanishing_minority,
)
from ufm import UFM, CrossEntropy
from ufm.errors import InputError
from ufm.frames import merged_code
from ufm.losses.focal import focal_convexity_threshold
from ufm.point import Point


@pytest.fixture(autouse=True)
def sixty_digits():
    with mpmath.workdps(60):
        yield


def apart(ball, known):
    """Distance of a ball (its middle, at forty digits) from a number of mpmath."""
    assert 2 * ball.rad() <= 1e-24
    return abs(mpmath.mpf(ball.str(40, radius=False)) - known)


def merging_equation(c, groups, delta, bias, share=1):
    """CE-6.2 in c, as the page has it."""
    G, u = groups, c + delta
    beta = mpmath.log(G / u - G + 1)
    own = mpmath.exp(beta) / (mpmath.exp(beta) + G - 1)
    other = u / G
    more = own - other - (0 if bias is None else (own - other) ** 2 / (1 + bias))
    X = other + more * mpmath.mpf(G - 1) / G * share
    return (c + beta * X) * (c + u * beta * own) - (1 - delta) ** 2


@pytest.mark.parametrize(
    ("groups", "delta", "bias", "near"),
    [
        (3, "0", None, 0.1305506509),
        (4, "0", None, 0.0733330384),
        (5, "0", None, 0.0541337162),
        (6, "0", None, 0.0444386734),
        (3, "0.1", None, 0.05151959),
        (3, "0", "60", 0.13563),
        (3, "0", "0.06", 0.60629),
        (4, "0", "0", 0.49287),
    ],
)
def test_where_the_index_of_merged_groups_drops(groups, delta, bias, near):
    ball = merging_threshold(groups, smoothing=delta, bias=bias)
    given = groups, mpmath.mpf(delta), None if bias is None else mpmath.mpf(bias)
    known = mpmath.findroot(lambda c: merging_equation(c, *given), near)
    assert apart(ball, known) < 1e-24
    assert float(ball) == pytest.approx(near, rel=1e-4)
    mutant = mpmath.findroot(lambda c: merging_equation(c, *given, share=mpmath.mpf("1.01")), near)
    assert apart(ball, mutant) > 1e-4


def test_two_groups_never_drop_whatever_the_smoothing_and_the_bias():
    for delta in ("0", "0.1", "0.7"):
        for bias in (None, "0", "3"):
            assert merging_threshold(2, smoothing=delta, bias=bias) is None


def test_the_index_of_the_dense_hessian_drops_there():
    critical = float(merging_threshold(3))
    index = []
    for c in (critical * 0.9999, critical * 1.0001):
        decay = c / 6
        beta = math.log(3 / c - 2)
        frame = math.sqrt(beta) * merged_code((2, 2, 2), 3)
        model = UFM(CrossEntropy(), 6, 3, lambda_W=decay, lambda_H=decay)
        spectrum = np.linalg.eigvalsh(dense_hessian(model, Point(frame, frame.T)))
        index.append(int(np.sum(spectrum < -1e-12)))
    assert index == [9, 6]


@pytest.mark.parametrize(
    ("groups", "near"), [(3, 0.165693), (4, 0.091684), (5, 0.066606), (6, 0.054030)]
)
def test_smoothing_beyond_which_it_never_drops(groups, near):
    ball = smoothing_without_drop(groups)
    known = mpmath.findroot(lambda d: merging_equation(mpmath.mpf(0), groups, d, None), near)
    assert apart(ball, known) < 1e-24
    value = float(ball)
    assert merging_threshold(groups, smoothing=value * 0.99) is not None
    assert merging_threshold(groups, smoothing=value * 1.01) is None


def criterion(u, gamma, two=2):
    return (two * gamma + 1) * (1 - u) + gamma * (1 - (gamma + 1) * u) * mpmath.log(u)


@pytest.mark.parametrize("gamma", ["0.01", "0.5", "1", "2", "3", "10"])
def test_convexity_of_focal_loss(gamma):
    ball = focal_convexity(gamma)
    near = focal_convexity_threshold(float(gamma))
    g = mpmath.mpf(gamma)
    known = mpmath.exp(
        mpmath.findroot(lambda t: criterion(mpmath.exp(t), g), mpmath.log(mpmath.mpf(near)))
    )
    assert apart(ball, known) < 1e-24
    assert float(ball) == pytest.approx(near, rel=1e-13)
    mutant = mpmath.exp(
        mpmath.findroot(
            lambda t: criterion(mpmath.exp(t), g, mpmath.mpf("2.02")), mpmath.log(mpmath.mpf(near))
        )
    )
    assert abs(mutant / known - 1) > 1e-4


def test_no_gamma_has_a_window_with_seventeen_classes():
    u, gamma = largest_focal_convexity()
    assert 17 * u < 1 < 18 * u
    with precision():
        assert abs(focal_convexity(gamma) - u) < 1e-24
        assert u > focal_convexity("2.3")
        assert u > focal_convexity("2.45")
    for gamma in ("0.5", "2", "2.38", "7"):
        assert focal_window(17, gamma) is None
    assert focal_window(18, "2.38") is not None


@pytest.mark.parametrize(
    ("K", "gamma", "origin", "collapse", "jump"),
    [
        (18, 2, 1.19529, 1.19537, 0.064),
        (50, 2, 1.11375, 1.14006, 1.510),
        (20, 3, 1.26292, 1.26431, 0.218),
        (1000, 2, 1.01180, 1.06981, 4.956),
        (100, 5, 1.17218, 1.27396, 2.208),
    ],
)
def test_windows_of_focal_loss(K, gamma, origin, collapse, jump):
    told = focal_window(K, gamma)
    for ball, near, width in zip(told, (origin, collapse, jump), (6e-6, 6e-6, 6e-4), strict=True):
        assert abs(float(ball) - near) < width

    def psi(a, power=gamma):
        u = 1 / (1 + (K - 1) * mpmath.exp(-a))
        return -((1 - u) ** power) * mpmath.log(u)

    def steepest(power):
        a = mpmath.findroot(
            lambda a: (
                psi(mpmath.mpf(0), power)
                - psi(a, power)
                + a * mpmath.diff(lambda x: psi(x, power), a)
            ),
            float(told.jump),
        )
        return (psi(mpmath.mpf(0), power) - psi(a, power)) / a * K / mpmath.mpf(K - 1)

    assert apart(told.collapse, steepest(gamma)) < 1e-24
    assert apart(told.collapse, steepest(gamma * mpmath.mpf("1.01"))) > 1e-4
    start = (1 - mpmath.mpf(1) / K) ** gamma
    start += gamma * (1 - mpmath.mpf(1) / K) ** (gamma - 1) * mpmath.log(K) / K
    assert apart(told.origin, start) < 1e-24


def minority(groups, sizes, a, factor=1):
    (A, B), (n_A, n_B) = groups, sizes
    s = mpmath.exp(a * (A - 1)) + (A - 1) * mpmath.exp(-a) + B
    x = 1 - (mpmath.exp(a * (A - 1)) - mpmath.exp(-a)) / s
    t = (A + B) / s
    return (A + B) * x**2 * n_A - A * n_B - B * n_A * t**2 * factor, x * mpmath.sqrt(n_A)


@pytest.mark.parametrize(
    ("groups", "sizes"), [((2, 3), (9, 2)), ((5, 4), (100, 10)), ((50, 50), (100, 10))]
)
def test_where_the_minority_vanishes(groups, sizes):
    ball = vanishing_minority(*groups, *sizes)
    known = []
    for factor in (1, mpmath.mpf("1.01")):

        def equation(a, factor=factor):
            return minority(groups, sizes, a, factor)[0]

        ends = mpmath.mpf(10) ** -6, mpmath.mpf(6) / groups[0]
        a = mpmath.findroot(equation, ends, solver="anderson", tol=1e-40, maxsteps=200)
        known.append(minority(groups, sizes, a)[1])
    assert apart(ball, known[0]) < 1e-24
    assert apart(ball, known[1]) > 1e-6
    assert float(vanishing_minority(2, 3, 9, 2)) == pytest.approx(2.373892, abs=5e-7)


def test_the_region_of_convexity_on_an_interval_of_gammas():
    """FL-2 with gamma itself a ball: one proof for all gammas between 1.9 and 2.1."""
    with precision():
        gamma = number("1.9").union(number("2.1"))

        def convex(u):
            return (2 * gamma + 1) * (1 - u) + gamma * (1 - (gamma + 1) * u) * u.log()

        assert positive(convex, "0.075", "0.95")
        with pytest.raises(Undecided):
            positive(convex, "0.0575", "0.95")


def test_bad_input():
    with pytest.raises(InputError, match="gamma > 0"):
        focal_convexity(0)
    for call in (lambda: merging_threshold(1), lambda: vanishing_minority(2, 3, 2, 9)):
        with pytest.raises(InputError):
            call()
