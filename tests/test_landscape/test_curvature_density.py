"""Stochastic Lanczos quadrature against prescribed spectra and exact identities."""

from typing import Any

import hypothesis
import hypothesis.strategies as st
import jax
import numpy as np
import pytest

from landscape.curvature.density import DensityResult, spectral_density
from ufm.errors import InputError

jax.config.update("jax_enable_x64", True)

KEY = jax.random.key(5)


def rotation(size: int, seed: int = 0) -> Any:
    return np.linalg.qr(np.random.default_rng(seed).standard_normal((size, size)))[0]


def with_spectrum(values: Any, seed: int = 0) -> Any:
    q = rotation(len(values), seed)
    matrix = (q * np.asarray(values, dtype=float)) @ q.T
    return (matrix + matrix.T) / 2


THREE_LEVELS = [-1.0] * 20 + [0.0] * 60 + [4.0] * 120


def test_three_levels_give_their_shares() -> None:
    density = spectral_density(with_spectrum(THREE_LEVELS), num_probes=40, steps=10, key=KEY)
    assert density.nodes.shape == density.weights.shape == (40, 3)
    assert density.breakdowns == 40
    np.testing.assert_allclose(density.nodes - [-1.0, 0.0, 4.0], 0.0, atol=1e-12)
    # Each share is a mean over 40 x 200 squared normals: standard error below 0.01.
    np.testing.assert_allclose(density.weights.mean(axis=0), [0.1, 0.3, 0.6], rtol=0, atol=0.04)
    assert density.result is DensityResult.CONSISTENT


def test_a_diagonal_spread_is_found_in_the_right_places() -> None:
    """Half of the eigenvalues in [0, 1], half in [10, 11]; nothing between."""
    values = np.concatenate([np.linspace(0, 1, 150), np.linspace(10, 11, 150)])
    density = spectral_density(np.diag(values), num_probes=20, steps=30, key=KEY, broadening=0.1)
    low = density.grid < 5
    step = density.grid[1] - density.grid[0]
    assert np.sum(density.values[low]) * step == pytest.approx(0.5, abs=0.05)
    assert np.sum(density.values) * step == pytest.approx(1.0, abs=1e-5)
    assert np.max(density.values[(density.grid > 3) & (density.grid < 8)]) < 1e-8


def test_the_moments_estimate_traces() -> None:
    matrix = with_spectrum(THREE_LEVELS)
    density = spectral_density(matrix, num_probes=60, steps=4, key=KEY)
    assert density.first_moment == pytest.approx(np.trace(matrix) / 200, rel=0.05)
    assert density.second_moment == pytest.approx(np.trace(matrix @ matrix) / 200, rel=0.05)


@pytest.mark.parametrize("matrix", [np.eye(30), np.zeros((30, 30)), -7.0 * np.eye(1)])
def test_one_level(matrix: Any) -> None:
    density = spectral_density(matrix, num_probes=2, steps=4, key=KEY)
    np.testing.assert_allclose(density.nodes, np.full((2, 1), matrix[0, 0]), atol=1e-14)
    np.testing.assert_allclose(density.weights, np.ones((2, 1)), atol=1e-14)
    step = density.grid[1] - density.grid[0]
    assert np.sum(density.values) * step == pytest.approx(1.0, abs=1e-5)
    assert density.result is DensityResult.CONSISTENT


def test_null_vectors_leave_the_rest_of_the_spectrum() -> None:
    matrix = with_spectrum(THREE_LEVELS)
    null = rotation(200)[:, 20:80] @ np.random.default_rng(0).standard_normal((60, 70))
    density = spectral_density(matrix, num_probes=20, steps=10, key=KEY, null_vectors=null)
    assert density.null_fraction == pytest.approx(0.3)
    np.testing.assert_allclose(density.nodes - [-1.0, 4.0], 0.0, atol=1e-12)
    np.testing.assert_allclose(density.weights.mean(axis=0), [1 / 7, 6 / 7], rtol=0, atol=0.03)
    assert density.result is DensityResult.CONSISTENT


def test_rounding_does_not_bring_the_null_vectors_back() -> None:
    """Zero lies far outside the rest of the spectrum, where the recurrence magnifies noise."""
    matrix = with_spectrum(np.concatenate([np.zeros(3), np.linspace(10.0, 11.0, 97)]))
    options: dict[str, Any] = {"num_probes": 2, "steps": 30, "key": KEY}
    density = spectral_density(matrix, null_vectors=rotation(100)[:, :3], **options)
    assert np.min(density.nodes) > 9.9
    assert np.min(spectral_density(matrix, **options).nodes) < 0.1


def test_steps_probes_and_key_are_used() -> None:
    matrix = np.diag(np.linspace(0, 1, 50))

    def run(**options: Any) -> Any:
        return spectral_density(matrix, **{"num_probes": 3, "steps": 7, "key": KEY, **options})

    density = run()
    assert density.nodes.shape == (3, 7)
    assert density.breakdowns == 0
    assert density.num_matvecs == 4 + 3 * 7 + 3
    assert run(steps=9).nodes.shape == (3, 9)
    assert run(num_probes=5).nodes.shape == (5, 7)
    np.testing.assert_array_equal(run().nodes, density.nodes)
    assert not np.allclose(run(key=jax.random.key(6)).nodes, density.nodes)
    # A probe does not depend on how many follow it.
    np.testing.assert_array_equal(run(num_probes=5).nodes[:3], density.nodes)


def test_more_steps_than_dimensions_are_exact() -> None:
    values = np.array([-2.0, 0.5, 1.0, 3.0])
    density = spectral_density(with_spectrum(values), num_probes=2, steps=100, key=KEY)
    np.testing.assert_allclose(density.nodes, np.stack([values, values]), atol=1e-13)


def test_grid_and_broadening_are_used() -> None:
    matrix = np.diag([1.0, 1.0, 1.0])
    grid = np.array([0.0, 1.0, 1.5])
    density = spectral_density(matrix, num_probes=2, steps=2, key=KEY, grid=grid, broadening=0.5)
    np.testing.assert_array_equal(density.grid, grid)
    assert density.broadening == 0.5
    peak = 1 / (0.5 * np.sqrt(2 * np.pi))
    expected = peak * np.exp([-2.0, 0.0, -0.5])
    np.testing.assert_allclose(density.values, expected, rtol=1e-13)
    default = spectral_density(np.diag([0.0, 3.0, 6.0]), num_probes=2, steps=3, key=KEY)
    assert default.broadening == pytest.approx(2.0)  # range / steps
    assert default.grid[0] == pytest.approx(-10.0)
    assert default.grid[-1] == pytest.approx(16.0)


class Drifting:
    """An operator that changes after a number of products: its quadrature describes nothing."""

    def __init__(self, after: int) -> None:
        self.shape, self.after, self.calls = (20, 20), after, 0

    def matvec(self, vector: Any) -> Any:
        self.calls += 1
        return np.linspace(1, 2, 20) * vector * (1.0 if self.calls <= self.after else 1.001)


def test_a_quadrature_that_disagrees_with_direct_products_is_noticed() -> None:
    # A check of four padded columns, twice, then two probes of five steps.
    steady = Drifting(after=10**9)
    good = spectral_density(steady, num_probes=2, steps=5, key=KEY)
    assert good.result is DensityResult.CONSISTENT
    assert good.moments_error <= good.moments_tolerance < 1e-13
    drifting = Drifting(after=8 + 10)
    bad = spectral_density(drifting, num_probes=2, steps=5, key=KEY)
    assert bad.result is DensityResult.INCONSISTENT
    assert bad.moments_error == pytest.approx(1e-3, rel=0.5)


@pytest.mark.parametrize(
    ("options", "says"),
    [
        ({"num_probes": 0}, "num_probes >= 1"),
        ({"steps": 1}, "steps >= 2"),
        ({"broadening": 0.0}, "broadening > 0"),
        ({"broadening": float("nan")}, "broadening > 0"),
        ({"broadening": 1e-9}, "pass a grid"),
        ({"grid": np.zeros((2, 2))}, "grid"),
        ({"grid": np.array([1.0, 0.0])}, "ascending"),
        ({"grid": np.array([np.nan])}, "finite"),
        ({"null_vectors": np.eye(4)[:, 1:2]}, "null vectors"),
    ],
)
def test_refused_arguments(options: dict[str, Any], says: str) -> None:
    matrix = np.diag([0.0, 1.0, 2.0, 3.0])
    with pytest.raises(InputError, match=says):
        spectral_density(matrix, **{"num_probes": 2, "steps": 3, "key": KEY, **options})


def test_refused_operators() -> None:
    options: dict[str, Any] = {"num_probes": 1, "steps": 2, "key": KEY}
    with pytest.raises(InputError, match="symmetric"):
        spectral_density(np.triu(np.ones((4, 4))), **options)
    with pytest.raises(InputError, match="import ufm"):
        spectral_density(np.eye(4, dtype=np.float32), **options)
    with pytest.raises(InputError, match="leave a direction"):
        spectral_density(np.zeros((4, 4)), null_vectors=np.eye(4), **options)


@hypothesis.given(
    levels=st.lists(
        st.tuples(st.integers(-9, 9), st.integers(1, 8)),
        min_size=1,
        max_size=5,
        unique_by=lambda level: level[0],
    ),
    scale=st.sampled_from([1e-9, 1.0, 1e6]),
    steps=st.integers(2, 8),
    seed=st.integers(0, 1000),
)
def test_identities_hold_for_every_spectrum(
    levels: list[tuple[int, int]], scale: float, steps: int, seed: int
) -> None:
    values = sorted(scale * value for value, count in levels for _ in range(count))
    density = spectral_density(
        with_spectrum(values, seed), num_probes=2, steps=steps, key=jax.random.key(seed)
    )
    assert density.result is DensityResult.CONSISTENT
    np.testing.assert_allclose(density.weights.sum(axis=1), 1.0, rtol=0, atol=1e-13)
    assert np.all(density.weights >= 0)
    slack = 1e-12 * max(abs(values[0]), abs(values[-1]))
    assert np.all(density.nodes >= values[0] - slack)
    assert np.all(density.nodes <= values[-1] + slack)
    assert density.nodes.shape[1] <= len(levels)
