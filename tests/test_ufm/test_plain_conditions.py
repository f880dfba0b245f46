"""Condition numbers of the loss at the end of a descent, which leaves something beyond the rank."""

import numpy as np
import pytest

from ufm import UFM, LabelSmoothing, Point
from ufm.plain.conditions import conditions
from ufm.plain.reduce import reduced


@pytest.mark.parametrize(("left", "rank"), [(1e-9, 3), (3e-6, 4)])
def test_what_descent_leaves_in_another_direction_has_no_condition_number(left, rank):
    lam = 1e-3 / np.sqrt(4 * 20)
    model = UFM(LabelSmoothing(0.05), 4, 6, 5, lambda_W=lam, lambda_H=lam)
    best = model.minimiser().point
    unused = np.linalg.svd(best.W)[2][4]
    sides = left * np.linalg.norm(best.W) * np.random.default_rng(0).standard_normal((2, 4)) / 2
    W = best.W + np.outer(sides[0], unused)
    point = Point(W, best.H + np.outer(unused, sides[1]), None)
    assert reduced(model, point).space.rank == rank  # curvature is taken in the fourth direction
    found, exact = (conditions(model, at, 1e-9) for at in (point, best))
    assert found.loss_condition_W == pytest.approx(exact.loss_condition_W, rel=1e-9)
    assert found.condition_W == pytest.approx(exact.condition_W, rel=1e-6)
    assert exact.loss_condition_W == pytest.approx(3.847, rel=1e-12)
