"""Descent along surfaces where pieces meet: a fold whose lowest point is known by hand."""

import numpy as np
import pytest

from landscape.solvers.along_kinks import GAP, descend_along, meeting, onto, trust_step
from landscape.solvers.piecewise import piecewise
from tests.helpers import slow
from tests.test_landscape.test_curvature_kinks import Ridge
from tests.test_ufm.test_models_deep_relu import at_share


def test_kinks_that_meet_are_those_before_the_widest_gap():
    sides = np.array([0.3, 1e-11, -2.0, -3e-9, 0.5])
    assert meeting(sides).tolist() == [False, True, False, True, False]
    assert meeting(np.array([1.0, 0.4, -0.02])) is None
    close = np.array([1.0, 1e-3, 1e-3 / (0.9 * GAP)])
    assert meeting(close).tolist() == [False, True, True]  # the other gap is a little narrower
    assert meeting(np.array([1e-2, 1e-2 * GAP * 1.01])).tolist() == [True, False]


def test_a_point_beside_a_fold_is_put_onto_it():
    x = np.array([0.6, 0.8, 1e-4, 0.0]) * 1.0003
    sides = np.array([x @ x - 1])
    y = onto(Ridge(), x, np.array([True]), sides)
    assert np.linalg.norm(y) == pytest.approx(1, abs=1e-14)
    np.testing.assert_allclose(y, x / np.linalg.norm(x), atol=1e-7)


@pytest.mark.parametrize("angle", [0.4, 1.5, 3.0])
def test_a_fold_is_followed_to_its_lowest_point(angle):
    start = np.array([np.cos(angle), np.sin(angle), 0.0, 0.0])
    x, residual = descend_along(Ridge(), start, 1e-13)
    np.testing.assert_allclose(x, [-1, 0, 0, 0], atol=1e-7)
    assert residual < 1e-13


@pytest.mark.parametrize("seed", range(4))
def test_steps_are_the_best_within_their_region(seed):
    rng = np.random.default_rng(seed)
    curved, slope = np.sort(rng.normal(size=4)) + (3.0 if seed == 3 else 0.0), rng.normal(size=4)
    step = trust_step(slope, curved, 0.7)
    assert np.linalg.norm(step) <= 0.7 + 1e-12
    trials = rng.normal(size=(4000, 4))
    trials *= 0.7 * rng.random((4000, 1)) ** 0.25 / np.linalg.norm(trials, axis=1, keepdims=True)
    heights = trials @ slope + trials**2 @ curved / 2
    assert slope @ step + step @ (curved * step) / 2 <= heights.min() + 1e-12


@pytest.mark.parametrize("share", [slow(0.9)])
def test_six_classes_on_a_hexagon_end_at_a_critical_point(share):
    model = at_share(share, 6, 4, d=6)
    start = model.candidates()["polygon"]
    _, height, size, _ = piecewise(model, start, 1e-12, 30_000)
    assert float(height) == pytest.approx(0.4503832675520, abs=1e-11)
    assert size < 1e-12
