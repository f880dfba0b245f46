"""The duality gap: zero at minimisers, never above the minimum, silent where it does not apply."""

from itertools import product

import jax
import numpy as np
import pytest

from tests.helpers import CONVEX, FAMILY, Problem, naive_cross_entropy, slow
from ufm import MSE, UFM, CrossEntropy, Focal, Point, Regression, UserLoss, certificate, lift
from ufm.losses.dual import QuadraticDual, SimplexDual, spectral_norm

LW, LH = 8e-3, 5e-3
BALANCED, IMBALANCED = (2, 2, 2), (5, 2, 1, 1)
BIASES = [None, 0.0, 0.03]


def model_of(name, counts, lambda_b, d=4):
    return UFM(FAMILY[name][0], counts=counts, d=d, lambda_W=LW, lambda_H=LH, lambda_b=lambda_b)


def minimum(name, counts, lambda_b):
    """The merged minimiser: closed form where there is one, else descent polished by Newton."""
    model = model_of(name, counts, lambda_b)
    found = model.minimiser()
    if found is not None:
        return model, found.point, found.value
    small = Problem.of(FAMILY[name][1], counts, 4, LW, LH, lambda_b, merged=True)
    _, start = small.descend(starts=2)
    point, residual = small.newton(small.pack(start), 30)
    assert residual < 1e-13
    return model, point, small.value_and_gradient(small.pack(point))[0]


@pytest.mark.parametrize(
    ("name", "counts", "lambda_b"),
    [
        slow(*case) if case[:2] == ("hot", IMBALANCED) and case[2] != 0 else case
        for case in product(CONVEX, (BALANCED, IMBALANCED), BIASES)
    ],
)
def test_the_gap_closes_at_the_minimum_and_the_bound_holds_everywhere(name, counts, lambda_b):
    model, point, value = minimum(name, counts, lambda_b)
    at_minimum = model.certificate(point)
    if name == "hot" and lambda_b == 0:
        assert not at_minimum.applies
        assert "unregularised bias" in at_minimum.reason
        return
    assert at_minimum.applies
    # First order in the residual 1e-13; a bound above the minimum only by rounding.
    assert -1e-14 < at_minimum.gap < 1e-12
    assert at_minimum.spectral_ratio == pytest.approx(1, abs=1e-9)
    assert at_minimum.bound == pytest.approx(value, abs=1e-12)
    small = Problem.of(FAMILY[name][1], counts, 4, LW, LH, lambda_b, merged=True)
    gaps = []
    for seed in range(12):
        x = small.random(seed, 0.1 + seed % 4)
        elsewhere = model.certificate(small.unpack(x))
        gaps.append(elsewhere.gap)
        assert elsewhere.bound <= value + 1e-14
        assert elsewhere.gap == pytest.approx(
            small.value_and_gradient(x)[0] - elsewhere.bound, abs=1e-13
        )
    assert min(gaps) > 1e-2


@pytest.mark.parametrize("name", ["ce", "ls", "mse", "rescaled"])
def test_a_dual_point_outside_the_spectral_ball_proves_nothing(name):
    """The control: five per cent beyond feasibility the 'bound' lies above the minimum."""
    model, point, value = minimum(name, BALANCED, None)
    pi, columns = np.full(3, 1 / 3), np.sqrt(np.full(3, 2.0)) / 6
    Z = point.W @ point.H / np.sqrt(2)
    naive, dual = FAMILY[name][1], FAMILY[name][0].dual
    V = np.stack([naive(Z[:, k], k)[1] for k in range(3)], axis=1)
    assert isinstance(dual, SimplexDual | QuadraticDual)
    assert spectral_norm(V * columns) == pytest.approx(model.sigma, rel=1e-9)
    assert -pi @ dual.conjugate(V) == pytest.approx(value, abs=1e-12)
    assert -pi @ dual.conjugate(1.05 * V) > value + 1e-3
    assert spectral_norm(1.05 * V * columns) > 1.04 * model.sigma


@pytest.mark.parametrize("name", ["ce", "mse"])
def test_the_gap_is_positive_at_saddles(name):
    """Critical points of a thinner model are critical in four dimensions, and not minima."""
    model = model_of(name, BALANCED, None)
    line = Problem.of(FAMILY[name][1], BALANCED, 1, LW, LH, merged=True)
    found = 0
    for seed in range(8):
        point, residual = line.newton(line.random(seed, 3.0))
        if residual < 1e-13:
            padded = Point(np.pad(point.W, ((0, 0), (0, 3))), np.pad(point.H, ((0, 3), (0, 0))))
            answer = model.certificate(padded)
            height = line.value_and_gradient(line.pack(point))[0] - model.minimiser().value
            assert answer.gap > height - 1e-14  # the bound is below the minimum up to rounding
            assert height > 0.05
            assert answer.spectral_ratio > 1.5
            found += 1
    assert found >= 3
    origin = model.certificate(model.origin())
    assert origin.gap > 0.3
    assert origin.spectral_ratio == pytest.approx(1 / model.c, rel=1e-12)


def test_above_the_threshold_the_origin_is_certified():
    for factor, small in ((1.05, True), (0.95, False)):
        model = UFM(CrossEntropy(), 3, 4, lambda_W=factor / 3, lambda_H=factor / 3)
        answer = model.certificate(model.origin())
        assert (answer.gap < 1e-14) == small
        assert answer.spectral_ratio == pytest.approx(1 / factor)


def test_full_and_merged_columns_give_the_same_answer():
    model, point, _ = minimum("ce", IMBALANCED, 0.03)
    merged, full = model.certificate(point), model.certificate(lift(model, point))
    assert full.gap == pytest.approx(merged.gap, abs=1e-14)
    assert certificate(model, point) == merged
    # Uncollapsed features: the objective of the samples, the bound of their averages.
    H = np.array(lift(model, point).H)
    H[:, 0] += 0.3
    H[:, 1] -= 0.3
    spread = model.certificate(point._replace(H=H))
    assert spread.bound == pytest.approx(merged.bound, abs=1e-13)
    assert spread.gap > merged.gap + 1e-3


def test_the_bias_is_solved_for_before_the_bound_is_taken():
    """A wrong bias costs in the objective and not in the bound."""
    model, point, value = minimum("ce", IMBALANCED, 0.03)
    moved = point._replace(b=np.asarray(point.b) + np.array([1.0, 0, 0, -1.0]))
    answer = model.certificate(moved)
    assert answer.bound == pytest.approx(value, abs=1e-9)  # BFGS and Newton in four variables
    assert answer.gap > 0.01


def test_in_too_few_dimensions_the_bound_is_valid_and_not_tight():
    wide = UFM(CrossEntropy(), 4, 3, lambda_W=0.02, lambda_H=0.02)
    thin = Problem.of(naive_cross_entropy(), (1,) * 4, 2, 0.02, 0.02)
    value, point = thin.descend(starts=4)
    answer = wide.with_dimension(2).certificate(point)
    assert answer.bound <= wide.minimiser().value + 1e-12 < value
    assert answer.gap > 1e-2


def test_focal_loss_has_no_bound_and_says_why():
    model = UFM(Focal(2.0), 3, 4, lambda_W=LW, lambda_H=LH)
    answer = model.certificate(model.minimiser().point)
    assert not answer.applies
    assert (answer.gap, answer.bound, answer.spectral_ratio) == (None, None, None)
    assert answer.reason == "focal(2) is not convex in the logits (proved)"
    convex = UFM(Focal(0.0), 3, 4, lambda_W=LW, lambda_H=LH)
    assert abs(convex.certificate(convex.minimiser().point).gap) < 1e-12


def test_a_users_loss_says_what_its_bound_rests_on():
    model = UFM(FAMILY["hot"][0], 3, 4, 2, lambda_W=LW, lambda_H=LH)
    answer = model.certificate(model.minimiser().point)
    assert "probed" in answer.reason
    assert abs(answer.gap) < 1e-12
    sunk = UserLoss(lambda z, k: jax.nn.logsumexp(z) - z[k] - 9.0, "sunk")
    refused = UFM(sunk, 3, 4, lambda_W=LW, lambda_H=LH)
    answer = refused.certificate(refused.origin())
    assert not answer.applies
    assert "below zero" in answer.reason
    assert "dual bound, yes (proved)" in certificate(*minimum("mse", BALANCED, None)[:2]).reason


def test_models_without_a_dual_say_so():
    model = Regression(np.eye(2), 2, lambda_W=0.1, lambda_H=0.1)
    assert not model.certificate(model.minimiser().point).applies
    known = UFM(MSE(), 2, 2, lambda_W=0.1, lambda_H=0.1)
    assert known.certificate(Point(np.eye(2), np.eye(2))).applies
