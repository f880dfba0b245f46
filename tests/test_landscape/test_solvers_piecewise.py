"""Descent on kinks: BFGS, and Newton's method on the surface where pieces meet."""

import jax
import numpy as np
import pytest

from landscape import Curvature, Result, solve, verdict
from landscape.solvers.piecewise import MAX_SEARCH, bfgs, piecewise
from proofs_check.claims.deep_relu import lowered
from tests.helpers import slow
from tests.test_landscape.test_curvature_kinks import Ridge
from tests.test_ufm.test_models_deep_relu import at_share
from ufm import UFM, CrossEntropy, InputError


def test_bfgs_finds_the_kink_of_a_norm():
    def f(x):
        size = np.linalg.norm(x)
        return size + x[0] ** 2, x / size + 2 * np.array([x[0], 0, 0])

    _, value, spent, _ = bfgs(f, np.array([1.0, -2.0, 0.5]), 1e-12, 500)
    assert value < 1e-10
    assert spent <= 500 + MAX_SEARCH


def test_bfgs_goes_on_with_what_it_has_learnt():
    bent = np.diag([1.0, 30.0, 900.0])

    def f(x):
        return x @ bent @ x / 2 + np.abs(x[0]), bent @ x + np.array([np.sign(x[0]), 0, 0])

    start = np.array([1.0, -2.0, 0.5])
    whole = bfgs(f, start, 1e-12, 40)
    x, _, spent, inverse = bfgs(f, start, 1e-12, 20)
    again = bfgs(f, x, 1e-12, 41 - spent, inverse)
    np.testing.assert_allclose(again[0], whole[0], atol=1e-14)
    assert abs(bfgs(f, x, 1e-12, 41 - spent)[1] - whole[1]) > 1e-12 * abs(whole[1])


@pytest.mark.parametrize("seed", [0, 1, 2])
def test_a_fold_is_descended_to_its_lowest_point(seed):
    found = solve(Ridge(), key=jax.random.key(seed), method="piecewise")
    assert found.result is Result.CONVERGED
    np.testing.assert_allclose(found.point, [-1, 0, 0, 0], atol=1e-9)
    assert found.objective == pytest.approx(-0.4, abs=1e-12)


def test_a_saddle_on_a_fold_is_left():
    found = solve(Ridge(), np.eye(4)[0], method="piecewise")
    assert found.objective == pytest.approx(-0.4, abs=1e-12)


def test_a_critical_start_takes_no_step():
    found = solve(Ridge(), -np.eye(4)[0], method="piecewise")
    assert (found.iterations, found.start_index, found.result) == (0, 0, Result.CONVERGED)


CASES = [
    (3, 4, 0.5, "plane", {"widths": "2,2,2,3"}, 0.2503579527863723),
    slow(3, 4, 0.9, "plane", {"widths": "2,2,2,3"}, 0.437310140296465),
    slow(4, 4, 0.5, "edges", {"d": 4}, 0.25103192759307846),
    slow(6, 4, 0.5, "edges", {"widths": "4,4,4,6"}, 0.24170569027562963),
]


@pytest.mark.parametrize(("K", "depth", "share", "name", "more", "value"), CASES)
def test_networks_end_at_minima_on_kinks(K, depth, share, name, more, value):
    model = at_share(share, K, depth, **more)
    point, height, size, _ = piecewise(model, model.candidates()[name], 1e-12, 30_000)
    assert float(height) == pytest.approx(value, abs=1e-12)
    assert size < 1e-12
    told = verdict(model, point)
    assert told.curvature is Curvature.MORSE_BOTT_MINIMUM
    assert told.count.kinks > 0
    # Brute force, which knows nothing of surfaces: nothing beside the point lies lower.
    rng = np.random.default_rng(0)
    for size in np.geomspace(1e-6, 1e-2, 5):
        for _ in range(40):
            near = jax.tree.map(lambda x, t=size: x + t * rng.normal(size=x.shape), point)
            assert float(model.objective(near)) > value - 1e-14


# Many kinks whose normals depend on each other: critical, and whether minima is not said.
MANY = [
    slow(6, 4, "polygon", {"d": 6}, 0.4095747090373),
    slow(7, 4, "polygon", {"d": 7}, 0.4145333119772),
    slow(10, 3, "edges", {"widths": "5,5,10"}, 0.4512386242798),
    slow(15, 3, "edges", {"widths": "6,6,15"}, 0.4036811881505),
]


@pytest.mark.parametrize(("K", "depth", "name", "more", "value"), MANY)
def test_many_kinks_end_at_critical_points(K, depth, name, more, value):
    model = at_share(0.9, K, depth, **more)
    point, height, size, _ = piecewise(model, model.candidates()[name], 1e-12, 30_000)
    # The way is long and bends at rounding: no other machine has to find a higher one.
    assert float(height) <= value + 1e-11
    assert size < 1e-12
    told = verdict(model, point)
    assert told.curvature is not Curvature.MORSE_BOTT_MINIMUM
    # A descent that knows nothing of kinks ends no lower, from the start and from beside the end.
    rng = np.random.default_rng(0)
    beside = [x + 1e-4 * rng.normal(size=np.shape(x)) for x in point.factors()]
    begun = [np.asarray(x) for x in model.candidates()[name].factors()]
    assert min(lowered(model, start)[0] for start in (begun, beside)) > float(height) - 1e-12


@pytest.mark.slow
def test_a_unit_that_would_pay_leads_below():
    """DR-5's criterion, against descents: with a fourth unit three classes go lower."""
    model = at_share(0.5, 3, 4, widths="2,2,2,4")
    start = model.candidates()["plane"]
    rng = np.random.default_rng(0)
    near = jax.tree.map(lambda x: x + 0.03 * rng.normal(size=x.shape), start)
    found = solve(model, near, method="piecewise")
    assert found.result is Result.CONVERGED
    assert found.objective == pytest.approx(0.2488438257, abs=1e-9)


def test_models_without_kinks_and_large_ones_are_refused():
    with pytest.raises(InputError, match="says where its pieces meet"):
        solve(UFM(CrossEntropy(), 3, 2, lambda_W=0.1, lambda_H=0.1), method="piecewise")
    with pytest.raises(InputError, match="at most 2,000 variables"):
        solve(at_share(0.5, 3, 4, d=40), method="piecewise")


def test_too_few_iterations_are_said():
    model = at_share(0.5, 3, 4, widths="2,2,2,3")
    found = solve(model, key=jax.random.key(5), method="piecewise", max_iterations=3)
    assert found.result is Result.MAX_ITERATIONS
