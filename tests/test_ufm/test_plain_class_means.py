"""Class means and back: on points whose answer is known, and through pickle."""

import pickle

import numpy as np

from ufm import Point
from ufm.plain.class_means import ClassMeans

COUNTS = (4, 1, 2)


def test_reduce_and_lift_are_inverse_on_collapsed_points():
    rng = np.random.default_rng(0)
    merged = Point(rng.normal(size=(3, 5)), rng.normal(size=(5, 3)), rng.normal(size=3))
    means = pickle.loads(pickle.dumps(ClassMeans(COUNTS)))
    full = means.lift(merged)
    assert full.H.shape == (5, 7)
    np.testing.assert_allclose(means.reduce(full).H, merged.H, rtol=0, atol=1e-15)
    np.testing.assert_allclose(np.sum(full.H**2), np.sum(merged.H**2), rtol=1e-14)
    assert means.reduce(merged) is merged


def test_reduce_takes_the_mean_of_every_class():
    full = Point(np.ones((3, 1)), np.arange(7.0)[None])
    expected = [2 * 1.5, 4.0, np.sqrt(2) * 5.5]
    np.testing.assert_allclose(ClassMeans(COUNTS).reduce(full).H[0], expected, rtol=1e-15)


def test_one_sample_a_class_stays():
    full = Point(np.ones((2, 1)), np.array([[3.0, 4.0]]))
    assert ClassMeans((1, 1)).reduce(full).H.tolist() == [[3.0, 4.0]]
