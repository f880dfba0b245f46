"""A fixed classifier against bounded descents on all features, in NumPy."""

import numpy as np
import pytest
from scipy.optimize import minimize

from tests.helpers import FAMILY
from ufm import MSE, CrossEntropy, Focal, InputError, simplex_etf
from ufm.models.fixed_classifier import FixedClassifier, fixed_minimiser

K, N, D = 3, 4, 5
LH = 0.02


def descend(naive, lambda_b, nonnegative):
    """The lowest of three L-BFGS-B runs: value, |H|^2, b."""
    y = np.repeat(np.arange(K), N)
    W = np.pad(simplex_etf(K) @ simplex_etf(K).T, ((0, 0), (0, D - K))) * np.sqrt(K / (K - 1))
    biased = lambda_b is not None

    def objective(x):
        H, b = x[: D * K * N].reshape(D, -1), x[D * K * N :] if biased else np.zeros(K)
        value, gH, gb = LH / 2 * np.sum(H**2), LH * H, np.zeros(K)
        if biased:
            value, gb = value + lambda_b / 2 * b @ b, lambda_b * b
        for i, k in enumerate(y):
            loss, slope, _ = naive(W @ H[:, i] + b, k)
            value += loss / len(y)
            gH[:, i] += W.T @ slope / len(y)
            gb = gb + slope / len(y)
        return value, np.concatenate([gH.ravel(), gb if biased else []])

    size = D * K * N
    bounds = [(0 if nonnegative else None, None)] * size + [(None, None)] * (K * biased)
    rng = np.random.default_rng(0)
    runs = [
        minimize(
            objective,
            np.abs(rng.standard_normal(len(bounds))),
            jac=True,
            method="L-BFGS-B",
            bounds=bounds,
            options={"ftol": 1e-16, "gtol": 1e-11, "maxiter": 5000},
        )
        for _ in range(2)
    ]
    best = min(runs, key=lambda run: run.fun)
    return best.fun, np.sum(best.x[:size] ** 2), best.x[size:]


@pytest.mark.parametrize("nonnegative", [False, True])
@pytest.mark.parametrize("lambda_b", [None, 0.0, 0.3])
@pytest.mark.parametrize("name", ["ls", "mse", "rescaled"])
def test_descents_end_at_the_closed_form(name, lambda_b, nonnegative):
    loss, naive = FAMILY[name]
    made = fixed_minimiser(FixedClassifier(loss, K, N, LH, lambda_b), nonnegative=nonnegative)
    value, squared, b = descend(naive, lambda_b, nonnegative)
    assert value == pytest.approx(made.value, abs=1e-11)
    assert squared == pytest.approx(made.H_squared, rel=1e-5)
    if lambda_b:
        np.testing.assert_allclose(b, made.beta, atol=1e-5)
    other = fixed_minimiser(FixedClassifier(loss, K, N, LH, lambda_b), nonnegative=not nonnegative)
    assert abs(other.value - value) > 1e-4


def test_squared_error_by_hand():
    made = fixed_minimiser(FixedClassifier(MSE(), K, N, LH, 0.0), nonnegative=True)
    assert made.a == pytest.approx(1 / (1 + K * N * LH), rel=1e-13)
    assert made.beta == pytest.approx(1 / K, rel=1e-13)


def test_what_is_not_known_or_not_allowed():
    assert fixed_minimiser(FixedClassifier(Focal(2.0), K, N, LH)) is None
    for bad in ({"num_classes": 1}, {"n": 0}, {"lambda_H": 0.0}, {"lambda_b": -1.0}):
        with pytest.raises(InputError):
            FixedClassifier(
                **{"loss": CrossEntropy(), "num_classes": K, "n": N, "lambda_H": LH, **bad}
            )
