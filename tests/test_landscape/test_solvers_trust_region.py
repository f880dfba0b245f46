"""Trust-region Newton-CG: it leaves saddles, needs no gauge, and knows when rounding is reached."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from landscape.solvers.trust_region import MAX_FAILURES, trust_region
from tests.helpers import Problem, naive_cross_entropy
from ufm import UFM, CrossEntropy, Model, Point, merged_code
from ufm.records import pytree_record

LW, LH = 0.02, 0.01
K, D, G = 4, 6, 2


@pytest.fixture(scope="module")
def model():
    return UFM(CrossEntropy(), K, D, lambda_W=LW, lambda_H=LH)


@pytest.fixture(scope="module")
def saddle(model):
    """CE-6 with G = 2 pairs of classes: e^beta = G / c - G + 1."""
    beta = np.log(G / model.c - G + 1)
    code = merged_code((2, 2), D)
    size = np.sqrt(beta)
    ratio = (LH / LW) ** 0.25
    return Point(size * ratio * code, size / ratio * code.T)


@pytree_record(static=("d",), eq=False)
class Bowl(Model):
    """Half of sum_i a_i x_i^2 - g_i x_i over W (1, d): convex, flat where a_i = 0."""

    d: int
    a: jax.Array
    g: jax.Array

    def objective(self, point):
        x = point["x"]
        return 0.5 * jnp.sum(self.a * x**2) - jnp.vdot(self.g, x)

    def random_point(self, key, scale=1.0):
        return {"x": scale * jax.random.normal(key, (self.d,))}

    def with_dimension(self, d):
        return self


def test_the_saddle_is_one(model, saddle):
    brute = Problem.of(naive_cross_entropy(), (1,) * K, D, LW, LH, merged=True)
    assert np.linalg.norm(brute.value_and_gradient(brute.pack(saddle))[1]) < 1e-15
    assert np.sum(brute.spectrum(saddle) < -1e-6) == (K - G) * D


def test_it_escapes_from_the_neighbourhood_of_a_strict_saddle(model, saddle):
    rng = np.random.default_rng(0)
    start = Point(*(x + 1e-7 * rng.standard_normal(x.shape) for x in saddle[:2]))
    _, value, size, _ = trust_region(model, start, 1e-12, 500)
    assert float(size) <= 1e-12
    assert abs(float(value) - model.minimiser().value) < 1e-13
    assert float(value) < float(model.objective(saddle)) - 0.05


def test_at_the_saddle_itself_there_is_nothing_to_follow(model, saddle):
    point, value, _, iterations = trust_region(model, saddle, 1e-12, 500)
    assert int(iterations) == 0
    assert np.array_equal(point.W, saddle.W)
    assert float(value) == pytest.approx(float(model.objective(saddle)), abs=1e-15)


def test_the_objective_never_rises_and_the_limit_is_kept(model):
    start = model.random_point(jax.random.key(5), 3.0)
    heights = [float(model.objective(start))]
    for limit in range(1, 12):
        point, value, _, used = trust_region(model, start, 1e-12, limit)
        assert int(used) <= limit
        assert float(value) == pytest.approx(float(model.objective(point)), abs=1e-14)
        heights.append(float(value))
    # Near the end a step may trade a unit in the last place for a smaller gradient.
    assert np.all(np.diff(heights) < 1e-14)
    assert heights[-1] < heights[0] - 0.1


def test_the_tolerance_decides_where_it_stops(model):
    start = model.random_point(jax.random.key(1))
    sizes = [float(trust_region(model, start, t, 500)[2]) for t in (1e-2, 1e-6, 1e-12)]
    assert sizes[2] <= 1e-12 < sizes[1] <= 1e-6 < sizes[0] <= 1e-2


def test_rounding_ends_the_run(model):
    start = model.random_point(jax.random.key(1))
    _, value, size, used = trust_region(model, start, 1e-30, 1000)
    assert 1e-30 < float(size) < 1e-14
    assert MAX_FAILURES <= int(used) < 200
    assert abs(float(value) - model.minimiser().value) < 1e-14


def test_scales_take_the_ratio_of_the_decays_out():
    """W -> t W, H -> H / t maps one decay pair to another: the same run, step by step."""
    runs = []
    even = UFM(CrossEntropy(), K, D, lambda_W=0.01, lambda_H=0.01)
    start = even.random_point(jax.random.key(2))
    for t in (1.0, 10.0):
        model = UFM(CrossEntropy(), K, D, lambda_W=0.01 / t**2, lambda_H=0.01 * t**2)
        point = Point(t * start.W, start.H / t)
        got, value, _, used = trust_region(model, point, 1e-3, 500)
        early = trust_region(model, point, 1e-12, 6)
        runs.append((np.asarray(early[0].W) / t, float(early[1])))
        assert float(value) >= even.minimiser().value
        assert 1 < int(used) < 40
        assert got.W.shape == (K, D)
    assert np.abs(runs[0][0] - runs[1][0]).max() < 1e-10
    assert runs[0][1] == pytest.approx(runs[1][1], abs=1e-13)


def test_flat_directions_are_left_alone():
    """The gradient has no component along a null space, and no step gets one."""
    a = jnp.array([3.0, 0.0, 0.5, 0.0, 10.0])
    g = jnp.array([1.0, 0.0, 2.0, 0.0, -1.0])
    bowl = Bowl(5, a, g)
    start = {"x": jnp.array([5.0, 7.0, -4.0, -2.0, 1.0])}
    found, value, _, used = trust_region(bowl, start, 1e-12, 100)
    assert np.allclose(found["x"], [1 / 3, 7.0, 4.0, -2.0, -0.1], rtol=0, atol=1e-11)
    assert float(value) == pytest.approx(-0.5 * (1 / 3 + 8.0 + 0.1), abs=1e-13)
    assert int(used) < 20


def test_an_unbounded_objective_is_followed_down_without_a_claim():
    bowl = Bowl(5, jnp.array([1.0, -1.0, 0.0, 0.0, 0.0]), jnp.zeros(5))
    start = {"x": jnp.array([1.0, 1e-6, 0.0, 0.0, 0.0])}
    _, value, size, used = trust_region(bowl, start, 1e-12, 30)
    assert int(used) == 30
    assert float(value) < -10
    assert float(size) > 1
