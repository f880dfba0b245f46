"""Spheres: the simplex, its flat directions and its bound against dense Hessians and descents."""

import jax
import numpy as np
import pytest

from landscape import Curvature, Globality, dense_hessian, solve, verdict
from ufm import MSE, CrossEntropy, Focal, InputError, LabelSmoothing, Point, Sphere, as_rows
from ufm.tolerance import generator_rank


def test_the_objective_sees_directions_only():
    model = Sphere(CrossEntropy(), 3, 5, 2, 1.7)
    W, H = (np.asarray(x) for x in model.random_point(jax.random.key(0))[:2])
    assert (W.shape, H.shape) == ((3, 5), (5, 6))
    total = 0.0
    for h, k in zip(H.T, (0, 0, 1, 1, 2, 2), strict=True):
        z = 1.7 * np.array([w @ h / np.linalg.norm(w) / np.linalg.norm(h) for w in W])
        total += (np.log(np.exp(z).sum()) - z[k]) / 6
    assert float(model.objective(Point(W, H))) == pytest.approx(total, abs=1e-14)
    longer = Point(W * np.array([[2.0], [0.1], [7.0]]), 3 * H)
    assert float(model.objective(longer)) == pytest.approx(total, abs=1e-14)


@pytest.mark.parametrize(
    ("K", "d", "n", "tau", "nullity"), [(4, 3, 2, 1.0, 15), (3, 4, 1, 1.0, 11)]
)
def test_the_simplex_is_the_minimum(K, d, n, tau, nullity):
    model = Sphere(CrossEntropy(), K, d, n, tau)
    best = model.minimiser()
    value = {4: 0.5826576531, 3: 0.3689811354}[K]
    assert best.value == pytest.approx(value, abs=1e-10)
    assert float(model.objective(best.point)) == pytest.approx(best.value, abs=1e-15)
    stretched = Point(best.point.W * np.arange(1, K + 1)[:, None], best.point.H / 2)
    for point in (best.point, stretched):
        values = np.linalg.eigvalsh(dense_hessian(model, point))
        assert np.sum(np.abs(values) < 1e-10) == nullity
        assert values[0] > -1e-12
        assert generator_rank(as_rows(model.generators(point))) == nullity
    run = solve(model, key=jax.random.key(1))
    told = verdict(model, run.point)
    assert told.objective == pytest.approx(value, abs=1e-10)
    assert told.curvature is Curvature.MORSE_BOTT_MINIMUM
    assert told.globality is Globality.GLOBAL


def test_fewer_dimensions_stay_above_the_bound():
    model = Sphere(CrossEntropy(), 5, 2, 1, 2.0)
    assert model.minimiser() is None
    run = solve(model, key=jax.random.key(0))
    told = model.certificate(run.point)
    assert told.applies
    assert told.bound == pytest.approx(np.log1p(4 * np.exp(-2.5)), abs=1e-14)
    assert told.gap > 1e-2


def test_smoothed_labels_have_it_while_the_loss_still_falls():
    """The best gap of smoothing 0.3 at K = 3 is log((1 - .2) / .1) = 2.0794."""
    cold, warm = (Sphere(LabelSmoothing(0.3), 3, 2, 1, tau) for tau in (1.39, 1.38))
    assert cold.minimiser() is None
    assert not cold.certificate(cold.random_point(jax.random.key(0))).applies
    best = warm.minimiser()
    assert solve(warm, key=jax.random.key(0)).objective == pytest.approx(best.value, abs=1e-10)


@pytest.mark.parametrize("loss", [MSE(), Focal(2.0)])
def test_other_losses_are_open(loss):
    assert Sphere(loss, 3, 4).minimiser() is None
    assert not Sphere(loss, 3, 4).certificate(None).applies


def test_a_vector_of_length_zero_is_refused():
    model = Sphere(CrossEntropy(), 3, 4, 2)
    point = model.minimiser().point
    W, H = point.W.copy(), point.H.copy()
    W[1], H[:, 2] = 0, 0
    for bad in (Point(W, point.H), Point(point.W, H)):
        with pytest.raises(InputError, match="not zero"):
            model.checked(bad)


@pytest.mark.parametrize(
    ("changes", "says"),
    [
        ({"num_classes": 1}, "K >= 2"),
        ({"d": 0}, "d >= 1"),
        ({"n": 0}, "n >= 1"),
        ({"scale": 0.0}, "scale > 0"),
    ],
)
def test_bad_input(changes, says):
    with pytest.raises(InputError, match=says):
        Sphere(**changes)
