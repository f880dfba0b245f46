"""What a unit that is off could gain, against a search over directions."""

import numpy as np
import pytest

from ufm.models.idle_units import unit_gain


@pytest.mark.parametrize(("r", "q", "N", "seed"), [(2, 3, 4, 0), (2, 1, 5, 1), (3, 2, 4, 2)])
def test_the_gain_is_the_best_of_all_directions(r, q, N, seed):
    rng = np.random.default_rng(seed)
    X, E = rng.normal(size=(r, N)), rng.normal(size=(q, N))
    W = rng.normal(size=(200_000, r))
    W /= np.linalg.norm(W, axis=1, keepdims=True)
    best = np.linalg.norm(np.maximum(W @ X, 0) @ E.T, axis=1).max()
    found = unit_gain(X, E)
    assert best <= found + 1e-9
    assert best == pytest.approx(found, rel=3e-3)


def test_a_set_of_samples_that_no_unit_is_on_at_does_not_count():
    """Both samples on would gain 2, but no w is positive at x and at -x."""
    X, E = np.array([[1.0, -1.0]]), np.array([[1.0, -1.0]])
    assert unit_gain(X, E) == 1.0
    assert np.linalg.norm(E @ X.T, 2) == 2.0
