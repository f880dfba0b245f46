"""Regression: soft thresholding against descents, gradients and the paper's own formulas."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy.optimize import minimize

from ufm import InputError, Point, Regression
from ufm.model import norm, value_and_gradient

N_TARGETS, M, D = 3, 7, 5


def targets(scales=(1.0, 0.5, 0.2), seed=0):
    """Correlated targets with a mean, (N_TARGETS, M)."""
    rng = np.random.default_rng(seed)
    mix = np.linalg.qr(rng.standard_normal((N_TARGETS, N_TARGETS)))[0]
    return mix @ np.diag(scales) @ rng.standard_normal((N_TARGETS, M)) + np.array(
        [[2.0], [0], [-1]]
    )


def naive(Y, W, H, b, lw, lh):
    """Sample by sample, with the paper's lambda_H / M."""
    samples = Y.shape[1]
    total = lw / 2 * np.sum(W**2)
    for j in range(samples):
        error = W @ H[:, j] + b - Y[:, j]
        total += (error @ error + lh * H[:, j] @ H[:, j]) / (2 * samples)
    return total


def descend(Y, d, lw, lh, seed):
    n, samples = Y.shape
    cuts = np.cumsum([n * d, d * samples])

    def split(x):
        W, H, b = np.split(x, cuts)
        return W.reshape(n, d), H.reshape(d, samples), b

    def value(x):
        W, H, b = split(x)
        error = W @ H + b[:, None] - Y
        f = np.sum(error**2) / (2 * samples) + lh * np.sum(H**2) / (2 * samples)
        slope = [error @ H.T / samples + lw * W, (W.T @ error + lh * H) / samples]
        slope.append(error.sum(axis=1) / samples)
        return f + lw * np.sum(W**2) / 2, np.concatenate([g.ravel() for g in slope])

    start = np.random.default_rng(seed).standard_normal(cuts[1] + n)
    options = {"maxiter": 20_000, "maxfun": 40_000, "ftol": 1e-16, "gtol": 1e-11}
    return minimize(value, start, jac=True, method="L-BFGS-B", options=options).fun


def covariance(Y):
    centred = Y - Y.mean(axis=1, keepdims=True)
    return centred @ centred.T / Y.shape[1]


def test_the_objective_is_the_sum_over_samples():
    Y = targets()
    model = Regression(Y, D, lambda_W=0.3, lambda_H=0.02)
    point = model.random_point(jax.random.key(0), 1.5)
    W, H, b = (np.asarray(part) for part in point)
    value = float(value_and_gradient(model, point)[0])
    assert value == pytest.approx(naive(Y, W, H, b, 0.3, 0.02), abs=1e-13)
    assert abs(value - naive(Y, W, H, b, 0.02, 0.3)) > 0.1
    assert abs(value - naive(Y, W, H, b, 0.3, 0.02 * M)) > 0.1  # the pitfall: lambda_H / M


@pytest.mark.parametrize("seed", [0, 1])
def test_the_paper_s_formulas_at_full_rank(seed):
    """X-11: b = mean, W W^T = sqrt(lH/lW)(Sigma^1/2 - sqrt(c) I), and the value."""
    Y, lw, lh = targets(seed=seed), 0.05, 0.02
    c, sigma = lw * lh, covariance(Y)
    values, vectors = np.linalg.eigh(sigma)
    assert c < values[0]
    root = vectors @ np.diag(np.sqrt(values)) @ vectors.T
    model = Regression(Y, D, lambda_W=lw, lambda_H=lh)
    found = model.minimiser()
    W, H, b = found.point
    np.testing.assert_allclose(b, Y.mean(axis=1), atol=1e-15)
    gram = np.sqrt(lh / lw) * (root - np.sqrt(c) * np.eye(3))
    np.testing.assert_allclose(W @ W.T, gram, atol=1e-13)
    centred = Y - Y.mean(axis=1, keepdims=True)
    np.testing.assert_allclose(
        H, np.sqrt(lw / lh) * W.T @ np.linalg.inv(root) @ centred, atol=1e-12
    )
    residual = W @ H - centred
    np.testing.assert_allclose(residual, -np.sqrt(c) * np.linalg.inv(root) @ centred, atol=1e-12)
    value = 3 * c / 2 + np.sqrt(c) * np.trace(root - np.sqrt(c) * np.eye(3))
    assert found.value == pytest.approx(value, abs=1e-13)
    assert found.rank == 3
    assert found.evidence == "proved"


# lambda_H, number of variances above c = lambda_W lambda_H
PARTIAL = [(0.02, 3), (1.0, 2), (5.0, 1), (400.0, 0)]


@pytest.mark.parametrize("d", [D, 2])
@pytest.mark.parametrize(("lambda_H", "kept"), PARTIAL)
def test_the_minimiser_is_the_best_of_descents(lambda_H, kept, d):
    """Directions with variance below c are dropped; and d bounds the rank."""
    Y, lw = targets(), 0.05
    values = np.linalg.eigvalsh(covariance(Y))
    assert np.sum(values > lw * lambda_H) == kept
    model = Regression(Y, d, lambda_W=lw, lambda_H=lambda_H)
    found = model.minimiser()
    assert found.rank == min(kept, d)
    assert found.point.W.shape == (3, d)
    value, gradient = value_and_gradient(model, found.point)
    assert float(norm(gradient)) < 1e-14
    assert float(value) == pytest.approx(found.value, abs=1e-14)
    best = min(descend(Y, d, lw, lambda_H, seed) for seed in range(4))
    assert best == pytest.approx(found.value, abs=1e-11)
    other = Regression(Y, d, lambda_W=lw, lambda_H=lambda_H / M).minimiser().value
    assert abs(best - other) > 1e-4 or kept == 0
    bent = found.point._replace(b=found.point.b + 0.01)
    assert float(norm(value_and_gradient(model, bent)[1])) > 1e-3


def test_collapse_happens_at_the_largest_variance():
    Y, lw = targets(), 0.05
    largest = np.linalg.eigvalsh(covariance(Y))[-1]
    ranks = [
        Regression(Y, D, lambda_W=lw, lambda_H=factor * largest / lw).minimiser().rank
        for factor in (0.99, 1.01)
    ]
    assert ranks == [1, 0]
    zero = Regression(Y, D, lambda_W=lw, lambda_H=1.01 * largest / lw).minimiser()
    assert zero.value == pytest.approx(np.trace(covariance(Y)) / 2, rel=1e-13)
    assert not np.any(zero.point.W)


def test_its_symmetry_is_the_rotation_group_alone():
    model = Regression(targets(), D, lambda_W=0.05, lambda_H=0.02)
    generators = model.generators(model.minimiser().point)
    assert generators.W.shape == (D * (D - 1) // 2, 3, D)
    assert generators.b.shape == (10, 3)
    # value_and_gradient has compiled this shape; a finite difference of it is the Hessian.
    point, step = model.minimiser().point, 1e-5
    for i in (0, 9):
        move = Point(generators.W[i], generators.H[i], generators.b[i])
        ahead = jax.tree.map(lambda p, m: p + step * m, point, move)
        wrong = jax.tree.map(lambda p, m: p + step * m, point, move._replace(H=-move.H))
        # Second order: step squared, over a curvature of size one.
        assert float(norm(value_and_gradient(model, ahead)[1])) < 1e-9
        if np.any(move.W):
            assert float(norm(value_and_gradient(model, wrong)[1])) > 1e-8
    thin = model.with_dimension(2)
    assert thin.d == 2
    assert thin.minimiser().rank == 2
    assert model.merge() is None


@pytest.mark.parametrize(
    ("changes", "says"),
    [
        ({"targets": np.ones(3)}, "finite targets (n, M). Got shape (3,)"),
        ({"targets": np.array([[1.0, np.nan]])}, "finite targets"),
        ({"targets": jnp.ones((2, 2, 2))}, "Got shape (2, 2, 2)"),
        ({"d": 0}, "Need an integer d >= 1. Got 0"),
        ({"lambda_W": 0.0}, "Need lambda_W > 0"),
        ({"lambda_H": float("nan")}, "Need lambda_H > 0 and finite. Got nan"),
    ],
)
def test_bad_input_is_refused(changes, says):
    good = {"targets": np.eye(2), "d": 2, "lambda_W": 0.1, "lambda_H": 0.1}
    assert Regression(**good).minimiser().rank == 1
    with pytest.raises(InputError) as caught:
        Regression(**{**good, **changes})
    assert says in str(caught.value)
