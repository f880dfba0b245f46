"""First-order descent against steps written by hand."""

import jax
import numpy as np
import pytest

from landscape.solvers.first_order import descend, optimiser
from tests.helpers import Problem, naive_cross_entropy
from ufm import UFM, CrossEntropy

K, D, LW, LH = 3, 5, 0.08, 0.05
RATE = 0.2


@pytest.fixture(scope="module")
def model():
    return UFM(CrossEntropy(), K, D, lambda_W=LW, lambda_H=LH)


@pytest.fixture(scope="module")
def start(model):
    return model.random_point(jax.random.key(0))


def by_hand(start, steps, momentum):
    """Heavy ball v <- m v + g, x <- x - rate v, with the NumPy gradient; m = 0 is descent."""
    brute = Problem.of(naive_cross_entropy(), (1,) * K, D, LW, LH)
    x, v = brute.pack(start), 0.0
    for _ in range(steps):
        v = momentum * v + brute.value_and_gradient(x)[1]
        x = x - RATE * v
    return brute.pack(brute.unpack(x)), *brute.value_and_gradient(x)


@pytest.mark.parametrize(("method", "momentum"), [("gd", 0.0), ("momentum", 0.9)])
def test_the_steps_are_those_of_the_textbook(model, start, method, momentum):
    point, value, size, used = descend(model, start, 1e-12, 3, method, RATE)
    x, height, gradient = by_hand(start, 3, momentum)
    assert int(used) == 3
    assert np.allclose(np.concatenate([np.ravel(point.W), np.ravel(point.H)]), x, atol=1e-14)
    assert float(value) == pytest.approx(height, abs=1e-14)
    assert float(size) == pytest.approx(np.linalg.norm(gradient), abs=1e-14)


def test_momentum_is_not_plain_descent(model, start):
    plain, heavy = (descend(model, start, 1e-12, 3, m, RATE)[0] for m in ("gd", "momentum"))
    assert np.abs(plain.W - heavy.W).max() > 1e-3


def test_the_default_rate_is_a_tenth(model, start):
    default = descend(model, start, 1e-12, 3, "gd")[0]
    explicit = descend(model, start, 1e-12, 3, "gd", 0.1)[0]
    assert np.array_equal(default.W, explicit.W)
    assert np.abs(default.W - descend(model, start, 1e-12, 3, "gd", RATE)[0].W).max() > 1e-3


@pytest.mark.parametrize("method", ["gd", "momentum", "lbfgs"])
def test_the_tolerance_decides_where_it_stops(model, start, method):
    loose = descend(model, start, 1e-3, 100_000, method, RATE)
    tight = descend(model, start, 1e-9, 100_000, method, RATE)
    assert float(tight[2]) <= 1e-9 < float(loose[2]) <= 1e-3
    assert int(loose[3]) < int(tight[3]) < 100_000
    assert abs(float(tight[1]) - model.minimiser().value) < 1e-14


def test_lbfgs_searches_its_own_rate(model, start):
    first, second = (descend(model, start, 1e-9, 1000, "lbfgs", rate) for rate in (0.1, 7.0))
    assert np.array_equal(first[0].W, second[0].W)
    assert int(first[3]) < 100  # plain descent needs hundreds


def test_a_small_gradient_at_the_start_is_left_alone(model):
    best = model.minimiser().point
    point, _, _, used = descend(model, best, 1e-12, 50, "momentum", RATE)
    assert int(used) == 0
    assert np.array_equal(point.W, best.W)


def test_a_diverging_run_stops_early(model, start):
    _, _, size, used = descend(model, start, 1e-9, 100_000, "gd", 1e8)
    assert not np.isfinite(float(size))
    assert int(used) < 1000


def test_the_optimiser_of_each_name():
    x = np.array([3.0])
    for method, second in (("gd", -0.5), ("momentum", -0.95)):
        rule = optimiser(method, 0.5)
        _, state = rule.update(x / 3, rule.init(x))
        update, _ = rule.update(x / 3, state)
        assert float(update[0]) == pytest.approx(second)
