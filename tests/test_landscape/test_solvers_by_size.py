"""The minimum with unequal class sizes against descent in the full problem, and against CVXPY."""

import cvxpy as cp
import jax
import numpy as np
import pytest

from landscape.solvers import by_size as by_size_module
from landscape.solvers.by_size import minimum_by_size
from landscape.solvers.solve import solve
from ufm import UFM, CrossEntropy, Focal

DECAYS = {"lambda_W": 0.03, "lambda_H": 0.01}


@pytest.mark.parametrize("counts", [(5, 2, 3, 1), (4, 2, 4, 1, 2, 4)])
def test_the_full_problem_has_the_same_minimum(counts):
    model = UFM(CrossEntropy(), counts=counts, d=7, lambda_b=0.0, **DECAYS)
    point, value, bound = minimum_by_size(model)
    found = solve(model, key=jax.random.key(5))
    assert value == pytest.approx(found.objective, abs=1e-14)
    assert bound.gap < 1e-10
    assert np.allclose(point.W @ point.H, found.point.W @ found.point.H, atol=1e-7)


def test_the_convex_problem_has_the_same_minimum():
    counts, model = (4, 2, 4, 1), UFM(CrossEntropy(), counts=(4, 2, 4, 1), d=4, **DECAYS)
    Z, n = cp.Variable((4, 4)), np.array(counts)
    logits = [Z[:, k] / n[k] ** 0.5 for k in range(4)]
    loss = sum(n[k] / n.sum() * (cp.log_sum_exp(z) - z[k]) for k, z in enumerate(logits))
    problem = cp.Problem(cp.Minimize(loss + model.sigma * cp.normNuc(Z)))
    problem.solve(solver=cp.SCS, eps=1e-9, max_iters=100_000)
    assert minimum_by_size(model)[1] == pytest.approx(problem.value, abs=1e-6)


def test_the_certificate_says_whether_a_descent_goes_on(monkeypatch):
    model = UFM(CrossEntropy(), counts=(5, 2, 3, 1), d=4, **DECAYS)
    monkeypatch.setattr(by_size_module, "TOLERANCE", 1e-5)  # of the first descent
    assert minimum_by_size(model)[2].gap < 1e-10
    monkeypatch.setattr(by_size_module, "SMALL_GAP", 1.0)
    assert minimum_by_size(model)[2].gap > 1e-8


def test_without_room_for_the_rank_the_gap_says_so():
    bound = minimum_by_size(UFM(CrossEntropy(), counts=(4, 2, 4, 2), d=2, **DECAYS))[2]
    assert bound.gap > 1e-4
    assert not minimum_by_size(UFM(Focal(2.0), counts=(4, 2, 2), d=3, **DECAYS))[2].applies
