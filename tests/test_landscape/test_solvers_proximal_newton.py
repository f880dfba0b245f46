"""Proximal Newton steps: quadratics over a box against SciPy, and kinks with dependent normals."""

from typing import Any

import jax.numpy as jnp
import numpy as np
import pytest
from scipy.optimize import lsq_linear

from landscape.curvature.kinks import surface_at
from landscape.solvers.proximal_newton import least_in_box, proximal_newton
from tests.test_landscape.test_curvature_kinks import Ridge
from ufm import Model
from ufm.records import pytree_record


@pytree_record(static=("d",), eq=False)
class Corner(Model[Any]):
    """sum_k b_k max(a_k . x - o_k, 0) + |x - c|^2 / 2 + bend (x_1 x_2)^2: four kinks in a plane."""

    bend: Any = 0.3
    d: int = 2

    def objective(self, point):
        return self.pieces(point)[0]

    def pieces(self, point, slopes=None, shifts=None):
        normals = jnp.array([[1.0, 0.5], [-1.0, 0.5], [0.2, -1.0], [0.7, 0.9]])
        u = normals @ point - jnp.array([0.0, 0.0, 0.0, 0.4])
        lines = jnp.maximum(u, 0) if slopes is None else slopes * u + shifts
        rest = ((point - jnp.array([0.3, 0.1])) ** 2).sum() / 2
        return jnp.array([2.0, 3.0, 1.7, 5.0]) @ lines + rest + self.bend * jnp.prod(point) ** 2, u

    def random_point(self, key, scale=1.0):
        raise NotImplementedError


@pytest.mark.parametrize("seed", range(4))
def test_quadratics_over_a_box_are_those_of_scipy(seed):
    rng = np.random.default_rng(seed)
    rows = rng.normal(size=(7, 5))
    b = 2 * rng.normal(size=7)
    found = least_in_box(rows.T @ rows, -rows.T @ b, rng.random(5))
    told = lsq_linear(rows, b, (0, 1), tol=1e-14).x
    np.testing.assert_allclose(found, told, atol=1e-6)
    height = np.sum((rows @ found - b) ** 2)
    assert height <= np.sum((rows @ told - b) ** 2) + 1e-12
    assert height < np.sum((rows @ np.clip(found + 0.01, 0, 1) - b) ** 2)


def test_of_many_least_points_of_a_box_one_near_the_start_is_taken():
    flat = np.ones((2, 2))
    for start in ([0.9, 0.3], [0.2, 0.6]):
        found = least_in_box(flat, -np.ones(2), np.array(start))
        # The nearest on s_1 + s_2 = 1, up to rounding over the ridge.
        np.testing.assert_allclose(found, start + (1 - np.sum(start)) / 2, atol=5e-3)


@pytest.mark.parametrize("angle", [0.4, 1.5, 3.0])
def test_a_fold_is_followed_to_its_lowest_point(angle):
    start = np.array([np.cos(angle), np.sin(angle), 0.0, 0.0])
    x, size, steps = proximal_newton(Ridge(), start, 1e-13, 60)
    np.testing.assert_allclose(x, [-1, 0, 0, 0], atol=1e-7)
    assert size < 1e-13
    assert steps < 60


@pytest.mark.parametrize("start", [(0.8, -0.5), (-1.3, 2.1), (0.1, 0.9)])
def test_a_corner_at_which_three_kinks_of_a_plane_meet_is_found(start):
    """Three normals in two dimensions depend on each other: the system for (x, s) is singular."""
    model = Corner()
    x, size, _ = proximal_newton(model, np.array(start), 1e-12, 60)
    np.testing.assert_allclose(x, [0, 0], atol=1e-12)
    assert size < 1e-12
    surface = surface_at(model, x)
    assert surface.active.tolist() == [0, 1, 2]
    assert "not independent" in surface.doubt


def test_steps_are_counted_and_end_where_they_are_told_to():
    start = np.array([1.4, 0.3, -0.2, 0.1])
    heights = [
        float(Ridge().objective(proximal_newton(Ridge(), start, 1e-13, most)[0]))
        for most in (1, 3, 30)
    ]
    assert heights[0] > heights[1] > heights[2]
    assert proximal_newton(Ridge(), start, 1e-13, 3)[2] == 3
