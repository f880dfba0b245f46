"""Elastic nets of self-expression, against scikit-learn and CVXPY."""

import numpy as np
import pytest

from ufm.errors import InputError
from ufm.self_expression import elastic_net, expression, objective, preserving, soft_threshold

LINES = np.array([[1.0, 1.0, 0.5], [0.0, 0.0, np.sqrt(0.75)]])


def unit(D=4, N=9, seed=0):
    X = np.random.default_rng(seed).normal(size=(D, N))
    return X / np.linalg.norm(X, axis=0)


def test_two_lines_at_60_degrees():
    C = elastic_net(LINES, 20.0, 0.9)
    assert C[1, 0] == pytest.approx(0.9502487562, abs=1e-10)
    assert C[1, 0] == pytest.approx((20 - 0.9) / (20 + 1 - 0.9), abs=1e-14)
    assert C[2, 0] == 0
    np.testing.assert_array_equal(np.diag(C), 0)


@pytest.mark.parametrize(("gamma", "share"), [(20.0, 0.9), (5.0, 0.3)])
def test_minima_are_those_of_cvxpy(gamma, share):
    cvxpy = pytest.importorskip("cvxpy")
    X = unit()
    C = elastic_net(X, gamma, share)
    for j in (0, 5):
        c = cvxpy.Variable(9)
        value = gamma / 2 * cvxpy.sum_squares(X[:, j] - X @ c) + share * cvxpy.norm1(c)
        problem = cvxpy.Problem(
            cvxpy.Minimize(value + (1 - share) / 2 * cvxpy.sum_squares(c)), [c[j] == 0]
        )
        problem.solve(solver="CLARABEL")
        np.testing.assert_allclose(C[:, j], c.value, atol=1e-5)
        own = objective(C, X, X, gamma, share)[j]
        assert own == pytest.approx(problem.value, abs=1e-7)


def test_new_points_are_those_of_scikit_learn():
    sklearn = pytest.importorskip("sklearn.linear_model")
    X, new = unit(), unit(seed=1)[:, :3]
    gamma, share = 12.0, 0.6
    C = elastic_net(X, gamma, share, new)
    for j in range(3):
        # (1/2D)|x - Xc|^2 + alpha ratio |c|_1 + alpha (1 - ratio)/2 |c|^2, D rows.
        alpha = 1 / (gamma * len(X))
        made = sklearn.ElasticNet(alpha, l1_ratio=share, fit_intercept=False, tol=1e-12)
        np.testing.assert_allclose(C[:, j], made.fit(X, new[:, j]).coef_, atol=1e-7)


def test_the_minimum_is_a_query_a_key_and_a_threshold():
    X = unit()
    C = elastic_net(X, 20.0, 0.9)
    told = expression(X, X - X @ C, 20.0, 0.9)
    np.fill_diagonal(told, 0)
    np.testing.assert_allclose(told, C, atol=1e-12)
    # Not of another penalty, nor of other coefficients.
    assert np.abs(expression(X, X - X @ C, 20.0, 0.89) - C)[C != 0].min() > 1e-3
    assert np.abs(expression(X, X - 1.01 * X @ C, 20.0, 0.9) - C).max() > 1e-3


def test_disjoint_subspaces_are_preserved():
    X = np.zeros((5, 8))
    X[:2, :4], X[2:, 4:] = unit(2, 4), unit(3, 4, 1)
    C = elastic_net(X, 20.0, 0.9)
    np.testing.assert_array_equal(preserving(C, [0] * 4 + [1] * 4), 1)
    mixed = preserving(C, [0, 1] * 4)
    assert mixed.min() < 1


def test_soft_thresholds():
    np.testing.assert_array_equal(soft_threshold(np.array([-2.0, 0.5, 3.0]), 1.0), [-1, 0, 2])


@pytest.mark.parametrize(
    ("call", "says"),
    [
        (lambda: elastic_net(LINES, 0.0, 0.9), "gamma > 0"),
        (lambda: elastic_net(LINES, 20.0, 1.0), "lambda in"),
        (lambda: elastic_net(LINES * np.nan, 20.0, 0.9), "finite points"),
        (lambda: elastic_net(LINES, 20.0, 0.9, np.ones((3, 2))), "dimension 2"),
    ],
)
def test_bad_input_is_refused(call, says):
    with pytest.raises(InputError, match=says):
        call()
