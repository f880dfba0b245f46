"""Ordered classes: the threshold of collapse, midpoints without decay, and bad input."""

import jax
import numpy as np
import pytest
import scipy
from scipy.optimize import minimize

from ufm import InputError, ordinal


def test_the_threshold_of_collapse():
    model = ordinal("-1.5,-0.5,0.5,1.5", 10)
    assert model.collapse_value() ** 2 == pytest.approx(0.0068964622, abs=1e-10)
    assert len(model.counts_tuple) == 5


def test_without_decay_inner_classes_move_to_their_midpoints():
    model = ordinal("-1,0.3,2", 2, 3, 1e-14, 1e-14)
    best = model.minimiser()
    z = (best.point.W @ best.point.H)[0] / np.sqrt(model.counts)
    np.testing.assert_allclose(z[1:3], [-0.35, 1.15], atol=1e-9)
    assert z[0] < -20
    assert z[3] > 20


def test_logits_of_classes_are_means_over_their_samples():
    """Of samples, by a loop; of classes, which the minimum of Nelder and Mead has as well."""
    model = ordinal("-1,0.3,2", d=3, lambda_W=0.03, lambda_H=0.007, counts="2,4,3,1")
    point = model.random_point(jax.random.key(0))
    z = (np.asarray(point.W) @ np.asarray(point.H))[0]
    by_hand = [z[:2].mean(), z[2:6].mean(), z[6:9].mean(), z[9]]
    np.testing.assert_allclose(model.measures(point)["logits"], by_hand, atol=1e-14)

    b, n, sigma = (
        np.array([-np.inf, -1, 0.3, 2, np.inf]),
        np.array([2, 4, 3, 1]),
        0.03**0.5 * 0.007**0.5,
    )

    def height(z):
        inside = scipy.special.expit(b[1:] - z) - scipy.special.expit(b[:-1] - z)
        return -n @ np.log(inside) / 10 + sigma * np.sqrt(n @ z**2)

    options = {"xatol": 1e-9, "fatol": 1e-14, "maxiter": 5000}
    found = minimize(height, [-1.0, 0.0, 1.0, 2.0], method="Nelder-Mead", options=options)
    told = model.measures(model.minimiser().point)
    np.testing.assert_allclose(told["logits"], found.x, atol=1e-6)  # flat in second order
    assert told["collapse_decays"] == pytest.approx(model.collapse_value() ** 2, rel=1e-14)


def test_two_classes_are_logistic_regression():
    """One threshold b: softplus(z - b) and softplus(b - z)."""
    model = ordinal([0.4], 1, 2, 0.05, 0.02, [2, 3])
    for z in (-1.2, 0.0, 3.0):
        told = [float(model.sample_loss(np.array([z]), q)) for q in (0, 1)]
        np.testing.assert_allclose(told, np.log1p(np.exp([z - 0.4, 0.4 - z])), atol=1e-15)


@pytest.mark.parametrize(
    ("changes", "says"),
    [
        ({"thresholds": "1,0"}, "ascend"),
        ({"thresholds": "0,0"}, "ascend"),
        ({"thresholds": "0,inf"}, "finite"),
        ({"thresholds": "a"}, "numbers with commas"),
        ({"thresholds": ()}, "ascend"),
        ({"counts": "1,2"}, "5 classes between 4 thresholds"),
        ({"n": 0}, "n >= 1"),
        ({"d": 0}, "d >= 1"),
    ],
)
def test_bad_input(changes, says):
    with pytest.raises(InputError, match=says):
        ordinal(**changes)
