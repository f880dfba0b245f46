"""The index-blind search finds saddles and minima alike, and nothing that is not critical."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from landscape.solvers.critical import find_critical
from tests.helpers import Problem, naive_cross_entropy
from ufm import UFM, CrossEntropy, Model, Point, merged_code
from ufm.records import pytree_record

K, D, LW, LH = 4, 6, 0.02, 0.01
SEEDS = 24
# The search stops at 1e-12; a zero mode then lies below 1e-12 / curvature, and no true curvature
# of these critical points is below 1e-6.
ZERO = 1e-8


@pytest.fixture(scope="module")
def model():
    return UFM(CrossEntropy(), K, D, lambda_W=LW, lambda_H=LH)


@pytest.fixture(scope="module")
def brute():
    return Problem.of(naive_cross_entropy(), (1,) * K, D, LW, LH, merged=True)


@pytest.fixture(scope="module")
def found(model):
    starts = [model.random_point(jax.random.key(s), 1.0 + 0.3 * (s % 6)) for s in range(SEEDS)]
    return [find_critical(model, start, 1e-12, 400) for start in starts]


def test_saddles_of_several_indices_are_found_from_random_starts(found, brute):
    indices = set()
    converged = 0
    for point, value, size, used in found:
        height, gradient = brute.value_and_gradient(brute.pack(point))
        assert float(value) == pytest.approx(height, abs=1e-14)
        assert float(size) == pytest.approx(np.linalg.norm(gradient), abs=1e-15)
        if float(size) <= 1e-12:
            converged += 1
            indices.add(int(np.sum(brute.spectrum(point) < -ZERO)))
            assert int(used) <= 400
    assert converged >= 0.8 * SEEDS
    assert len(indices) >= 3
    assert max(indices) > 0


def test_what_is_found_is_balanced(found):
    """CE-3: lambda_W W^T W = lambda_H H H^T at critical points, and 1^T W = 0."""
    for point, _, size, _ in found:
        if float(size) <= 1e-12:
            W, H = np.asarray(point.W), np.asarray(point.H)
            # Left over: |g| |x| / lambda.
            assert np.abs(LW * W.T @ W - LH * H @ H.T).max() < 1e-11
            assert np.abs(W.sum(axis=0)).max() < 1e-9


def test_it_stays_at_a_saddle_that_descent_would_leave(model, brute):
    beta, ratio = np.log(2 / model.c - 1), (LH / LW) ** 0.25
    code = np.sqrt(beta) * merged_code((2, 2), D)
    rng = np.random.default_rng(0)
    near = Point(*(x + 1e-5 * rng.standard_normal(x.shape) for x in (ratio * code, code.T / ratio)))
    point, value, size, used = find_critical(model, near, 1e-12, 100)
    assert float(size) <= 1e-12
    assert int(used) < 20
    assert np.sum(brute.spectrum(point) < -ZERO) == (K - 2) * D
    assert float(value) > model.minimiser().value + 0.05
    # Symmetry orbits are not wandered along: the step has no component in the null space.
    assert np.abs(point.W - near.W).max() < 1e-3


def test_tolerance_and_limit_are_kept(model):
    start = model.random_point(jax.random.key(0))
    loose, tight = (find_critical(model, start, t, 400) for t in (1e-4, 1e-12))
    assert float(tight[2]) <= 1e-12 < float(loose[2]) <= 1e-4
    assert int(loose[3]) < int(tight[3])
    short = find_critical(model, start, 1e-12, 2)
    assert int(short[3]) == 2
    assert float(short[2]) > 1e-6


def test_the_gradient_norm_never_rises(model):
    start = model.random_point(jax.random.key(7), 2.0)
    sizes = []
    for limit in range(10):
        point = find_critical(model, start, 1e-12, limit)[0]
        ratio = (LH / LW) ** 0.25  # the norm that is minimised is that of the scaled gradient
        g = model.gradient(point)
        sizes.append(float(jnp.hypot(ratio * jnp.linalg.norm(g.W), jnp.linalg.norm(g.H) / ratio)))
    assert np.all(np.diff(sizes) <= 1e-15)
    assert sizes[-1] < 0.5 * sizes[0]


@pytree_record(static=("d",), eq=False)
class Slope(Model):
    """exp(x) + y^2: a gradient that can be made small, never zero."""

    d: int

    def objective(self, point):
        return jnp.exp(point["x"]) + point["y"] ** 2

    def random_point(self, key, scale=1.0):
        return {"x": jnp.float64(1.0), "y": jnp.float64(1.0)}

    def with_dimension(self, d):
        return self


def test_without_a_critical_point_none_is_claimed():
    slope = Slope(1)
    _, _, size, used = find_critical(slope, slope.random_point(None), 1e-12, 15)
    assert float(size) > 1e-12
    assert int(used) == 15
