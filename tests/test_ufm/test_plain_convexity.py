"""Minima by convexity (A-7): bound, index and nullity against dense Hessians."""

import jax
import numpy as np
import pytest

from landscape.curvature.hessian import dense_hessian
from landscape.solvers.solve import solve
from ufm import MSE, UFM, CrossEntropy, Focal, LabelSmoothing, RescaledMSE
from ufm.losses import BCE
from ufm.losses.loss import Loss

LOSSES = (CrossEntropy(), LabelSmoothing(0.1), MSE(), RescaledMSE(3.0, 2.0), BCE())


@pytest.mark.parametrize("loss", LOSSES, ids=lambda loss: loss.name)
def test_bounds_of_logit_hessians_hold_against_their_eigenvalues(loss):
    Z, labels = np.random.default_rng(0).normal(size=(5, 4)) * 2, np.array([0, 1, 4, 2])
    low, high = loss.curvature_bounds(Z, labels)
    least, most = Loss.curvature_bounds(loss, Z, labels)
    assert low <= least * (1 + 1e-9)
    assert most <= high * (1 + 1e-9)
    # and are of use
    assert low > 0.2 * least
    assert high < 2 * most
    if loss.shift(5) is None:
        assert (low, high) == pytest.approx((least, most))


@pytest.mark.parametrize(("lambda_b", "d"), [(None, 5), (0.0, 3), (0.05, 4)])
@pytest.mark.parametrize(
    "loss", [CrossEntropy(), RescaledMSE(3.0, 2.0)], ids=lambda loss: loss.name
)
def test_bound_index_and_nullity_against_the_dense_hessian(loss, lambda_b, d):
    decays = {"lambda_W": 0.03, "lambda_H": 0.015, "lambda_b": lambda_b}
    model = UFM(loss, counts=(3, 1, 2), d=d, **decays)
    found = solve(model, key=jax.random.key(1))
    full = model.merge().lift(found.point)
    told = model.strict_minimum(full)
    merged = model.strict_minimum(found.point)
    values = np.linalg.eigvalsh(dense_hessian(model, full))
    assert values[0] > -1e-12
    assert np.sum(np.abs(values) < 1e-10) == told.nullity == merged.nullity
    assert 0 < told.margin <= values[told.nullity] * (1 + 1e-9)
    assert values[-1] <= told.radius
    assert told.typical <= np.sqrt(np.mean(values**2))
    assert told.rank == np.linalg.matrix_rank(full.W, tol=1e-6)


@pytest.mark.parametrize("ratio", [1.0, 9.0])
def test_bound_is_sharp_just_below_the_threshold(ratio):
    below = UFM(CrossEntropy(), 4, 5, 2, lambda_W=1.0, lambda_H=1.0).c * (1 + 1e-6)
    sizes = {"lambda_W": ratio / below, "lambda_H": 1 / (ratio * below)}
    model = UFM(CrossEntropy(), 4, 5, 2, **sizes)
    point = model.merge().lift(model.minimiser().point)
    values = np.linalg.eigvalsh(dense_hessian(model, point))
    told = model.strict_minimum(point)
    assert told.margin == pytest.approx(values[told.nullity], rel=1e-3)


def test_silent_at_saddles_at_the_threshold_and_in_too_few_dimensions():
    decays = {"lambda_W": 0.02, "lambda_H": 0.03}
    model = UFM(CrossEntropy(), 4, 5, 2, **decays)
    assert model.strict_minimum(model.origin()) is None
    narrow = UFM(CrossEntropy(), 4, 2, 2, **decays)  # the square: global, and |G|_2 > sigma
    assert narrow.strict_minimum(solve(narrow).point) is None
    flat = UFM(MSE(), 5, 3, **decays)  # a Grassmannian of minimisers: more zeros than the orbit
    assert flat.strict_minimum(solve(flat).point) is None
    edge = 1 / UFM(CrossEntropy(), 4, 5, 2, lambda_W=1.0, lambda_H=1.0).c
    there = UFM(CrossEntropy(), 4, 5, 2, lambda_W=edge, lambda_H=edge)
    told = there.strict_minimum(there.origin())
    assert told is None or told.margin < 1e-12


def test_spread_samples_of_a_class_say_nothing():
    model = UFM(CrossEntropy(), 3, 4, 2, lambda_W=0.05, lambda_H=0.05)
    point = model.merge().lift(model.minimiser().point)
    spread = point._replace(H=point.H + 0.01 * np.eye(4, 6))
    assert model.strict_minimum(point) is not None
    assert model.strict_minimum(spread) is None


def test_a_loss_that_is_not_convex_is_judged_by_its_hessian_at_the_point():
    model = UFM(Focal(2.0), 3, 4, 2, lambda_W=0.01, lambda_H=0.01)
    point = model.merge().lift(model.minimiser().point)
    values = np.linalg.eigvalsh(dense_hessian(model, point))
    told = model.strict_minimum(point)
    assert told is not None
    assert told.margin <= values[told.nullity]
    assert np.sum(np.abs(values) < 1e-10) == told.nullity


def test_nothing_is_computed_for_small_hessians_that_are_cheaper_to_diagonalise():
    model = UFM(CrossEntropy(), 3, 4, lambda_W=0.05, lambda_H=0.05)
    point = model.minimiser().point
    assert model.strict_minimum(point, larger_than=2 * 3 * 2 - 1) is not None
    assert model.strict_minimum(point, larger_than=2 * 3 * 2) is None


def test_many_classes_are_dear_at_any_rank():
    """At the origin the range block is empty, but there are K^3 entries of logit Hessians."""
    model = UFM(CrossEntropy(), 25, 4, lambda_W=0.05, lambda_H=0.05)  # c = 1.25
    told = model.strict_minimum(model.origin(), larger_than=2 * 25 * 4 - 1)
    assert told is None  # 25^1.5 = 125
    assert model.strict_minimum(model.origin(), larger_than=124).rank == 0
    assert model.strict_minimum(model.origin(), larger_than=125) is None
