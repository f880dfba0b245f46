"""Conjugates against a brute-force supremum; feasibility after recentring and shrinking."""

import numpy as np
import pytest
from scipy.optimize import minimize

from tests.helpers import naive_cross_entropy, naive_squared
from ufm.losses import QuadraticDual, SimplexDual
from ufm.losses.dual import spectral_norm

K = 4
PI = np.array([5, 2, 1, 1]) / 9
DUALS = {
    "ce": (SimplexDual(0.0), naive_cross_entropy()),
    "ls": (SimplexDual(0.3), naive_cross_entropy(0.3)),
    "mse": (QuadraticDual(1.0, 1.0), naive_squared()),
    "rescaled": (QuadraticDual(3.0, 2.0), naive_squared(3.0, 2.0)),
}


def feasible(dual, seed=0):
    """A matrix with columns inside the domain of the conjugate."""
    rng = np.random.default_rng(seed)
    if isinstance(dual, QuadraticDual):
        return rng.standard_normal((K, K))
    return rng.dirichlet(np.ones(K), size=K).T - dual.target(K)


def supremum(naive, v, k):
    """sup_z <v, z> - L(z, k), by descent."""

    def negative(z):
        value, gradient, _ = naive(z, k)
        return value - v @ z, gradient - v

    found = minimize(negative, np.zeros(K), jac=True, method="BFGS", options={"gtol": 1e-9})
    return -found.fun


@pytest.mark.parametrize("name", DUALS)
def test_the_conjugate_is_the_supremum(name):
    dual, naive = DUALS[name]
    V = feasible(dual)
    brute = np.array([supremum(naive, V[:, k], k) for k in range(K)])
    # gtol 1e-9 leaves a value error of order 1e-18 / curvature; curvature here is above 1e-3.
    np.testing.assert_allclose(dual.conjugate(V), brute, rtol=0, atol=1e-10)
    for other in DUALS:
        if other != name:
            assert np.abs(DUALS[other][0].conjugate(V) - brute).max() > 1e-2


@pytest.mark.parametrize("name", DUALS)
def test_fenchel_equality_holds_at_the_gradient_only(name):
    dual, naive = DUALS[name]
    Z = np.random.default_rng(3).standard_normal((K, K))
    parts = [naive(Z[:, k], k) for k in range(K)]
    V = np.stack([slope for _, slope, _ in parts], axis=1)
    losses = np.array([value for value, _, _ in parts])
    slack = losses + dual.conjugate(V) - np.sum(V * Z, axis=0)
    assert np.abs(slack).max() < 1e-14
    away = 0.9 * V  # still feasible, no longer the gradient
    assert (losses + dual.conjugate(away) - np.sum(away * Z, axis=0)).min() > 1e-4


def test_one_hot_targets_have_no_entropy_and_smoothed_ones_do():
    assert SimplexDual(0.0).conjugate(np.zeros((K, K))).tolist() == [0.0] * K
    target = SimplexDual(0.3).target(K)
    np.testing.assert_allclose(target.sum(axis=0), 1)
    np.testing.assert_allclose(np.diag(target), 0.7 + 0.3 / K)
    entropy = -np.sum(target * np.log(target), axis=0)
    np.testing.assert_allclose(SimplexDual(0.3).conjugate(np.zeros((K, K))), -entropy)


@pytest.mark.parametrize("name", DUALS)
def test_recentring_is_feasible(name):
    dual = DUALS[name][0]
    left_the_simplex = 0
    for seed in range(20):
        V = feasible(dual, seed)
        moved = dual.recentre(V, PI)
        # Rounding of entries of size one, a few operations deep.
        assert np.abs(moved @ PI).max() < 1e-15
        assert np.abs(V @ PI).max() > 1e-3
        if isinstance(dual, SimplexDual):
            q = moved + dual.target(K)
            assert q.min() > -1e-15
            np.testing.assert_allclose(q.sum(axis=0), 1, atol=1e-15)
            naive = V - (V @ PI)[:, None] + dual.target(K)
            left_the_simplex += naive.min() < -1e-3
        # Recentring with the proportions of other counts would not do.
        assert np.abs(dual.recentre(V, np.full(K, 1 / K)) @ PI).max() > 1e-3
        again = dual.recentre(moved, PI)
        np.testing.assert_allclose(again, moved, atol=1e-14)
    if isinstance(dual, SimplexDual):
        assert left_the_simplex > 3  # subtracting the mean is not enough


@pytest.mark.parametrize("name", DUALS)
def test_shrinking_reaches_the_spectral_ball_and_not_further(name):
    dual = DUALS[name][0]
    columns = np.sqrt(np.array([5.0, 2, 1, 1])) / 9
    V = feasible(dual, 5)
    norm = spectral_norm(V * columns)
    for sigma in (0.4 * norm, 0.9 * norm):
        moved = dual.shrink(V, columns, sigma, norm)
        assert spectral_norm(moved * columns) == pytest.approx(sigma, rel=1e-13)
        if isinstance(dual, SimplexDual):
            assert (moved + dual.target(K)).min() > -1e-15
        assert spectral_norm(1.05 * moved * columns) > sigma * (1 + 1e-3)  # scaled up: infeasible
    # Inside the ball nothing moves.
    assert dual.shrink(V, columns, 1.2 * norm, norm) is V


def test_the_quadratic_clips_instead_of_scaling():
    columns = np.full(K, 0.5)
    V = 2 * np.diag([1.0, 2.0, 3.0, 4.0])
    clipped = QuadraticDual(1.0, 1.0).shrink(V, columns, 2.5, 4.0) * columns
    np.testing.assert_allclose(np.diag(clipped), [1, 2, 2.5, 2.5])
    scaled = SimplexDual(0.0).shrink(V, columns, 2.5, 4.0) * columns
    np.testing.assert_allclose(np.diag(scaled), np.array([1, 2, 3, 4]) * 2.5 / 4)


def test_spectral_norm_is_the_largest_singular_value():
    X = np.random.default_rng(0).standard_normal((3, 5))
    assert spectral_norm(X) == pytest.approx(np.linalg.svd(X)[1][0])
    assert spectral_norm(X) < np.linalg.norm(X) - 0.1
