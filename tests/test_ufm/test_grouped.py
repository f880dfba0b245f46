"""Merged classes: the restricted minimum is a critical point of the UFM, and mostly a saddle."""

import jax
import numpy as np
import pytest

from landscape.solve import solve
from landscape.verdict import Curvature, verdict
from tests.helpers import FAMILY, Problem, naive_cross_entropy
from ufm import UFM, CrossEntropy, Grouped, InputError, Point, UserLoss

D, LW, LH = 6, 0.02, 0.01


def model_of(name="ce", counts=(1,) * 4, lambda_b=None, d=D, decays=(LW, LH)):
    lw, lh = decays
    return UFM(FAMILY[name][0], counts=counts, d=d, lambda_W=lw, lambda_H=lh, lambda_b=lambda_b)


def residual(name, model, point, lambda_b=None):
    """Gradient norm and spectrum of the merged UFM in NumPy."""
    brute = Problem.of(FAMILY[name][1], model.counts_tuple, D, LW, LH, lambda_b, merged=True)
    gradient = brute.value_and_gradient(brute.pack(point))[1]
    return np.linalg.norm(gradient), brute.spectrum(point)


@pytest.mark.parametrize(
    ("name", "counts", "sizes", "lambda_b"),
    [
        ("ce", (1, 1, 1, 1), (2, 2), None),
        ("ce", (2, 2, 3, 3), (2, 2), 0.0),
        ("ce", (3, 3, 3, 1), (3, 1), 0.03),
        ("mse", (1, 1, 1, 1), (2, 1, 1), None),
    ],
)
def test_a_minimum_of_the_restriction_is_a_saddle_of_the_model(name, counts, sizes, lambda_b):
    model = model_of(name, counts, lambda_b)
    grouped = Grouped(model, sizes)
    found = solve(grouped)
    assert found
    point = grouped.expand(found.point)
    size, values = residual(name, model, point, lambda_b)
    assert size < 1e-11
    assert np.abs(point.W @ point.H).max() > 0.1  # not the origin
    assert found.objective == pytest.approx(float(grouped.base.objective(point)), abs=1e-14)
    assert verdict(model, point).curvature is Curvature.STRICT_SADDLE
    assert np.sum(values < -1e-6) == verdict(model, point).count.index > 0


def test_below_the_bifurcation_the_index_is_that_of_the_theorem():
    """CE-6: (K - G) d, and the value from e^beta = G / c - G + 1."""
    model = model_of()
    grouped = Grouped(model, (2, 2))
    found = solve(grouped)
    beta = np.log(2 / model.c - 1)
    expected = np.log(2 * np.exp(beta) + 2) - beta + model.c * beta / 2
    assert found.objective == pytest.approx(expected, abs=1e-13)
    values = residual("ce", model, grouped.expand(found.point))[1]
    assert np.sum(values < -1e-9) == 2 * D


@pytest.mark.parametrize(("c", "index"), [(0.12, 12), (0.14, 9)])
def test_the_index_drops_at_the_bifurcation(c, index):
    """K = 6, G = 3, d = 4: (K - G) d = 12 below c* = 0.13055, (K - G)(d - 1) = 9 above."""
    model = UFM(CrossEntropy(), 6, 4, lambda_W=c / 6, lambda_H=c / 6)
    grouped = Grouped(model, (2, 2, 2))
    found = solve(grouped)
    brute = Problem.of(naive_cross_entropy(), (1,) * 6, 4, c / 6, c / 6)
    assert np.sum(brute.spectrum(grouped.expand(found.point)) < -1e-9) == index


def test_a_group_of_every_class_is_the_model_itself():
    model = model_of()
    grouped = Grouped(model, (1, 1, 1, 1))
    point = model.random_point(jax.random.key(0))
    assert float(grouped.objective(point)) == pytest.approx(
        float(model.objective(point)), abs=1e-15
    )
    assert np.array_equal(grouped.expand(point).H, point.H)


@pytest.mark.parametrize("lambda_b", [None, 0.03])
def test_expanding_repeats_rows_and_columns_within_groups(lambda_b):
    model = model_of(lambda_b=lambda_b)
    grouped = Grouped(model, (1, 3))
    small = grouped.random_point(jax.random.key(1))
    assert small.W.shape == (2, D)
    assert small.H.shape == (D, 2)
    big = grouped.expand(small)
    for k, g in enumerate((0, 1, 1, 1)):
        assert np.array_equal(big.W[k], small.W[g])
        assert np.array_equal(big.H[:, k], small.H[:, g])
        assert lambda_b is None or big.b[k] == small.b[g]
    brute = Problem.of(naive_cross_entropy(), (1,) * 4, D, LW, LH, lambda_b)
    height = brute.value_and_gradient(brute.pack(big))[0]
    assert float(grouped.objective(small)) == pytest.approx(height, abs=1e-14)


def test_random_points_are_rows_of_random_points_of_the_model():
    model = model_of(lambda_b=0.03)
    grouped = Grouped(model, (1, 2, 1))
    whole = model.random_point(jax.random.key(1), 2.0)
    small = grouped.random_point(jax.random.key(1), 2.0)
    assert np.array_equal(small.W, whole.W[np.array([0, 1, 3])])
    assert np.array_equal(small.H, whole.H[:, np.array([0, 1, 3])])
    assert np.array_equal(small.b, whole.b[np.array([0, 1, 3])])
    assert np.allclose(grouped.random_point(jax.random.key(1)).W * 2, small.W)


def test_another_dimension_keeps_the_groups():
    grouped = Grouped(model_of(counts=(2, 2, 3, 3)), (2, 2)).with_dimension(2)
    assert grouped.d == 2
    assert grouped.random_point(jax.random.key(0)).W.shape == (2, 2)
    point = Point(np.ones((2, 2)), np.ones((2, 2)))
    expected = Grouped(model_of(counts=(2, 2, 3, 3), d=2), (2, 2)).objective(point)
    assert float(grouped.objective(point)) == pytest.approx(float(expected), abs=1e-15)


@pytest.mark.parametrize("lambda_b", [None, 0.0, 0.03])
def test_the_restricted_minimum_is_flat_only_along_its_symmetry(lambda_b):
    """O(d), and with an unregularised bias the shift b + t 1, which the groups share."""
    grouped = Grouped(model_of(lambda_b=lambda_b), (2, 1, 1))
    found = verdict(grouped, solve(grouped).point)
    assert found.count.index == 0
    assert found.count.nullity == 1 + 2 * (D - 2) + (lambda_b == 0.0)
    assert found.curvature is Curvature.MORSE_BOTT_MINIMUM


def test_bad_groups_are_refused():
    model = model_of()
    for sizes in ((2, 1), (3, 3), ()):
        with pytest.raises(InputError, match="add up to K=4"):
            Grouped(model, sizes)
    for sizes in ((4, 0), (5, -1), (1.5, 2.5)):
        with pytest.raises(InputError, match="group size"):
            Grouped(model, sizes)
    with pytest.raises(InputError, match=r"equal counts.*\(2, 1, 1, 1\)"):
        Grouped(model_of(counts=(2, 1, 1, 1)), (2, 2))
    Grouped(model_of(counts=(2, 1, 1, 1)), (1, 3))  # unequal between groups is fine


def test_a_loss_that_prefers_a_class_is_refused():
    """Symmetric criticality needs an equivariant loss."""

    def partial(z, k):
        return jax.nn.logsumexp(z) - z[k] + 0.5 * z[0] ** 2

    model = UFM(UserLoss(partial), 4, D, lambda_W=LW, lambda_H=LH)
    assert not model.loss.properties(4).equivariant
    with pytest.raises(InputError, match="equivariant"):
        Grouped(model, (2, 2))
