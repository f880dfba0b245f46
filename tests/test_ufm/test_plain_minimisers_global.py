"""Closed-form values against full-size descents, a convex solver, and both sides of thresholds."""

import cvxpy as cp
import numpy as np
import pytest
from scipy.optimize import minimize_scalar

from tests.helpers import FAMILY, Problem, slow
from ufm import MSE, UFM, CrossEntropy, Focal, LabelSmoothing, lift
from ufm.plain.minimisers import thresholds

LW, LH = 8e-3, 5e-3
SIZES = {"lambda_W": LW, "lambda_H": LH}


def brute_force(name, counts, d, lambda_b=None, lw=LW, lh=LH, starts=3):
    return Problem.of(FAMILY[name][1], counts, d, lw, lh, lambda_b).descend(starts)


@pytest.mark.parametrize("lambda_b", [None, 0.0, 0.03])
@pytest.mark.parametrize("name", FAMILY)
def test_descents_end_at_the_closed_form(name, lambda_b):
    model = UFM(FAMILY[name][0], 3, 4, 2, **SIZES, lambda_b=lambda_b)
    value, point = brute_force(name, (2, 2, 2), 4, lambda_b)
    # A gradient of 1e-10 over the least curvature of 5e-3: 1e-18; line searches stop near 1e-12.
    assert value == pytest.approx(model.minimiser().value, abs=1e-11)
    Z = point.W @ point.H
    closed = lift(model, model.minimiser().point)
    np.testing.assert_allclose(Z, closed.W @ closed.H, atol=1e-4)


def test_the_descent_would_see_a_wrong_formula():
    value, _ = brute_force("ls", (2, 2, 2), 4)
    neighbour = UFM(LabelSmoothing(0.1 * 3 / 2), 3, 4, 2, **SIZES).minimiser().value
    assert abs(value - neighbour) > 1e-2


@pytest.mark.parametrize(("counts", "lambda_b"), [((5, 2, 1), None), ((3, 2, 1), 0.0)])
@pytest.mark.parametrize("d", [1, 4])
def test_imbalanced_squared_error_is_the_global_minimum(counts, d, lambda_b):
    model = UFM(MSE(), counts=counts, d=d, **SIZES, lambda_b=lambda_b)
    value, _ = brute_force("mse", counts, d, lambda_b, starts=5)
    assert value == pytest.approx(model.minimiser().value, abs=1e-11)


@pytest.mark.parametrize("d", [1, 2])
def test_a_thin_squared_error_is_the_global_minimum(d):
    value, _ = brute_force("mse", (2, 2, 2), d, starts=5)
    assert value == pytest.approx(UFM(MSE(), 3, d, 2, **SIZES).minimiser().value, abs=1e-11)


def nuclear_problem(counts, delta, sigma, lambda_b):
    """min over Z, b of the convex problem on class means, by an interior-point solver."""
    K, N = len(counts), sum(counts)
    Z, b = cp.Variable((K, K)), cp.Variable(K)
    logits = Z @ np.diag(1 / np.sqrt(counts)) + cp.reshape(b, (K, 1), order="F") @ np.ones((1, K))
    target = (1 - delta) * np.eye(K) + delta / K
    losses = cp.log_sum_exp(logits, axis=0) - cp.sum(cp.multiply(target, logits), axis=0)
    objective = losses @ (np.array(counts) / N) + sigma * cp.normNuc(Z)
    if lambda_b is None:
        constraints = [b == 0]
    else:
        objective, constraints = objective + lambda_b / 2 * cp.sum_squares(b), []
    problem = cp.Problem(cp.Minimize(objective), constraints)
    return problem.solve(solver=cp.CLARABEL, tol_gap_abs=1e-11, tol_gap_rel=1e-11, tol_feas=1e-11)


@pytest.mark.parametrize(("delta", "lambda_b"), [(0.0, None), (0.1, 0.03)])
def test_a_convex_solver_agrees(delta, lambda_b):
    model = UFM(LabelSmoothing(delta), 3, 4, 2, lambda_W=0.05, lambda_H=0.02, lambda_b=lambda_b)
    value = nuclear_problem((2, 2, 2), delta, model.sigma, lambda_b)
    assert value == pytest.approx(model.minimiser().value, abs=1e-9)  # the solver's own tolerance
    assert abs(nuclear_problem((2, 2, 2), delta, 1.01 * model.sigma, lambda_b) - value) > 1e-4


@pytest.mark.parametrize("lambda_b", [None, 0.05])
@pytest.mark.parametrize(
    ("loss", "name", "collapse"),
    [(CrossEntropy(), "ce", 1.0), (LabelSmoothing(0.1), "ls", 0.9), (MSE(), "mse", 1.0)],
)
def test_both_sides_of_the_collapse(loss, name, collapse, lambda_b):
    for factor in (0.97, 1.03):
        decay = factor * collapse / (3 * np.sqrt(2))
        model = UFM(loss, 3, 4, 2, lambda_W=2 * decay, lambda_H=decay / 2, lambda_b=lambda_b)
        assert model.c == pytest.approx(factor * collapse)
        found = model.minimiser()
        value, _ = brute_force(name, (2, 2, 2), 4, lambda_b, 2 * decay, decay / 2)
        assert value == pytest.approx(found.value, abs=1e-11)
        assert (found.rank > 0) == (factor < 1)
        assert np.any(found.point.W) == (factor < 1)


# gamma, K -> c at which the origin turns stable, c at which it turns global, gap that jumps
WINDOWS = [
    (2.0, 50, 1.11375, 1.14006, 1.510),
    slow(2.0, 100, 1.07128, 1.11565, 2.373),
    slow(2.0, 1000, 1.01180, 1.06981, 4.96),
    (3.0, 20, 1.26292, 1.26431, None),
    slow(3.0, 50, 1.16662, 1.20759, None),
    slow(5.0, 100, 1.17218, 1.27396, None),
]


@pytest.mark.parametrize(("gamma", "K", "origin", "collapse", "jump"), WINDOWS)
def test_the_window_of_focal_loss(gamma, K, origin, collapse, jump):
    """FL-3: between the two numbers the origin is a strict, spurious local minimum."""

    def model(c):
        return UFM(Focal(gamma), K, K, lambda_W=2 * c / K, lambda_H=c / (2 * K))

    found = thresholds(model(1.0))
    assert found.origin == pytest.approx(origin, abs=6e-6)  # the table is rounded to 1e-5
    assert found.collapse == pytest.approx(collapse, abs=6e-6)
    stable = (1 - 1 / K) ** gamma + gamma * (1 - 1 / K) ** (gamma - 1) * np.log(K) / K
    assert found.origin == pytest.approx(stable, abs=1e-13)
    if K > 100:
        return  # the thresholds alone: the curve of a thousand classes is slow to refine
    inside = model(collapse - 1e-4).minimiser()
    assert inside.rank == K - 1
    at_zero = ((K - 1) / K) ** gamma * np.log(K)
    assert inside.value < at_zero
    beyond = model(collapse + 1e-4).minimiser()
    assert beyond.rank == 0
    assert beyond.value == pytest.approx(at_zero, abs=1e-12)
    if jump is not None:
        # Near a fold the gap moves like a square root: 1e-4 below the transition it has moved 1e-2.
        assert inside.code.a == pytest.approx(jump, abs=2e-2)


@pytest.mark.parametrize(("gamma", "K", "c"), [(2.0, 50, 1.12), (2.0, 50, 1.15), (3.0, 20, 1.0)])
def test_the_best_gap_of_focal_loss_is_the_best_on_a_grid(gamma, K, c):
    def cost(a):
        log_rest = -np.log1p(np.exp(a) / (K - 1))
        u = np.exp(a) / (np.exp(a) + K - 1)
        return -np.exp(gamma * log_rest) * np.log(u) + c * (K - 1) / K * a

    grid = np.linspace(0, 15, 3001)
    best = grid[np.argmin(cost(grid))]
    if best > 0:
        best = minimize_scalar(
            cost, bounds=(best - 0.01, best + 0.01), method="bounded", options={"xatol": 1e-10}
        ).x
    found = UFM(Focal(gamma), K, K, lambda_W=c / K, lambda_H=c / K).minimiser()
    # A scalar minimum is located to the square root of machine precision.
    assert found.code.a == pytest.approx(best, abs=1e-6)
    assert found.value == pytest.approx(float(cost(best)), abs=1e-13)


def test_the_value_is_a_minimum_over_thousands_of_points():
    model = UFM(CrossEntropy(), 3, 4, 2, **SIZES)
    brute = Problem.of(FAMILY["ce"][1], (2, 2, 2), 4, LW, LH)
    values = [brute.value_and_gradient(brute.random(s, 1 + s % 5))[0] for s in range(300)]
    assert min(values) > model.minimiser().value
    near = brute.pack(lift(model, model.minimiser().point))
    push = brute.random(1, 1e-3)
    assert brute.value_and_gradient(near + push)[0] > model.minimiser().value
