"""Symmetry generators are the null vectors of dense Hessians, all of them and no others."""

import numpy as np
import pytest

from tests.helpers import FAMILY, Problem, padded
from ufm import MSE, UFM, CrossEntropy, Point, lift, predicted_nullity
from ufm.model import Model
from ufm.plain.symmetry import class_rotations, rotation_generators

LW, LH = 8e-3, 5e-3
D = 5
ZERO = 1e-9  # of eigenvalues; the least true ones here are above 1e-5


def critical(name, counts, lambda_b, rank, seed=0):
    """A critical point of the given rank in D dimensions: model, problem, full point."""
    loss, naive = FAMILY[name]
    thin = Problem.of(naive, counts, rank, LW, LH, lambda_b, merged=True)
    for start in range(seed, seed + 60):
        point, residual = thin.newton(thin.random(start, 3.0))
        values = np.linalg.svd(point.W @ point.H)[1]
        if residual < 1e-14 and values[rank - 1] > 1e-2:
            break
    else:  # pragma: no cover
        pytest.fail(f"no critical point of rank {rank}")
    model = UFM(loss, counts=counts, d=D, lambda_W=LW, lambda_H=LH, lambda_b=lambda_b)
    full = lift(model, padded(point, D))
    return model, Problem.of(naive, counts, D, LW, LH, lambda_b), full


def stack(brute, generators):
    """Generators as rows, ravelled like a point of the problem."""
    leaves = [leaf for leaf in (generators.W, generators.H, generators.b) if leaf is not None]
    return np.concatenate([leaf.reshape(len(leaf), -1) for leaf in leaves], axis=1)


# name, counts, lambda_b, rank, nullity beyond the rotations r (r - 1) / 2 + r (D - r)
CASES = [
    ("ce", (2, 2, 2), None, 1, 0),
    ("ce", (2, 2, 2), 0.0, 2, 1),
    ("ce", (3, 2, 1), 0.03, 1, 0),
    ("focal", (2, 2, 2), 0.0, 1, 1),
    ("rescaled", (2, 2, 2), None, 2, 0),
    ("rescaled", (2, 2, 2), 0.0, 1, 0),
    ("mse", (2, 2, 2), None, 1, 2),  # r (K - r)
    ("mse", (2, 2, 2), None, 2, 2),
    ("mse", (2, 2, 2), None, 3, 0),
    ("mse", (2, 2, 2), 0.0, 1, 1),  # r (K - 1 - r)
    ("mse", (2, 2, 2), 0.0, 2, 0),
    ("mse", (2, 2, 2), 0.03, 1, 1),
    ("mse", (2, 2, 1), None, 1, None),  # r_g (m_g - r_g): depends on the group in use
]


@pytest.mark.parametrize(("name", "counts", "lambda_b", "rank", "extra"), CASES)
def test_generators_span_the_null_space(name, counts, lambda_b, rank, extra):
    model, brute, point = critical(name, counts, lambda_b, rank)
    hessian = brute.hessian(brute.pack(point))
    observed = int(np.sum(np.abs(np.linalg.eigvalsh(hessian)) < ZERO))
    rows = stack(brute, model.generators(point))
    # Exact null vectors up to the residual of the point and rounding, of vectors of size one.
    assert np.abs(rows @ hessian).max() < 1e-12
    merged, small = model.as_merged(point)
    Z, b = small.W @ small.H, small.b
    assert np.linalg.matrix_rank(rows, tol=1e-7) == observed
    assert predicted_nullity(model, rank, D, Z, b) == observed
    if extra is None:
        used = np.diag(Z)[:2]  # the group of two classes of equal size
        extra = 1 if np.abs(used).max() > 1e-6 else 0
    assert observed == rank * (rank - 1) // 2 + rank * (D - rank) + extra
    small_rows = stack(brute, merged.generators(small))
    assert np.linalg.matrix_rank(small_rows, tol=1e-7) == observed


def test_what_is_no_symmetry_is_no_null_vector():
    model, brute, point = critical("mse", (2, 2, 2), None, 1)
    hessian = brute.hessian(brute.pack(point))
    good = stack(brute, model.generators(point))
    assert np.abs(good @ hessian).max() < 1e-12
    # Rotating the classifier alone, or both the same way, is no symmetry.
    rotations = rotation_generators(point)
    for wrong in (
        Point(rotations.W, 0 * rotations.H),
        Point(rotations.W, -rotations.H),
    ):
        assert np.abs(stack(brute, wrong) @ hessian).max() > 1e-4
    # Nor are the class rotations of squared error for cross entropy.
    ce, ce_brute, at = critical("ce", (2, 2, 2), None, 1)
    mixing = MSE()
    assert mixing.properties(3).isometric
    as_if = UFM(mixing, 3, D, 2, lambda_W=LW, lambda_H=LH).generators(at)
    ce_hessian = ce_brute.hessian(ce_brute.pack(at))
    assert np.abs(stack(ce_brute, as_if) @ ce_hessian).max() > 1e-4
    assert np.abs(stack(ce_brute, ce.generators(at)) @ ce_hessian).max() < 1e-12


def test_only_an_unregularised_bias_shifts():
    for name, lambda_b, shifts in (
        ("ce", 0.0, 1),
        ("ce", 0.03, 0),
        ("ce", None, 0),
        ("rescaled", 0.0, 0),
    ):
        model = UFM(FAMILY[name][0], 3, D, lambda_W=LW, lambda_H=LH, lambda_b=lambda_b)
        generators = model.generators(model.origin())
        assert len(generators.W) == D * (D - 1) // 2 + shifts
        b = None if lambda_b is None else np.zeros(3)
        assert predicted_nullity(model, 0, D, np.zeros((3, 3)), b) == shifts
        if shifts:
            assert generators.b[-1].tolist() == [1, 1, 1]
            assert not generators.W[-1].any()


@pytest.mark.parametrize(
    ("counts", "lambda_b", "dimension"),
    [
        ((2, 2, 2), None, 3),  # O(3)
        ((2, 2, 2), 0.0, 1),  # O(3) fixing 1
        ((2, 2, 1), None, 1),
        ((2, 2, 1), 0.03, 0),
        ((3, 2, 1), None, 0),
        ((2, 2, 1, 1, 1), None, 4),
        ((2, 2, 1, 1, 1), 0.0, 1),
    ],
)
def test_class_rotations_mix_classes_of_equal_size(counts, lambda_b, dimension):
    model = UFM(MSE(), counts=counts, d=D, lambda_W=LW, lambda_H=LH, lambda_b=lambda_b)
    Q = class_rotations(model.kinds, lambda_b is not None)
    assert Q.shape == (dimension, len(counts), len(counts))
    np.testing.assert_allclose(Q, -np.transpose(Q, (0, 2, 1)))
    across = np.not_equal.outer(counts, counts)
    assert not Q[:, across].any()
    if dimension:
        assert np.linalg.matrix_rank(Q.reshape(dimension, -1)) == dimension
    if lambda_b is not None:
        np.testing.assert_allclose(Q.sum(axis=2), 0, atol=1e-15)


@pytest.mark.parametrize("lambda_b", [None, 0.03])
def test_class_rotations_leave_the_objective_unchanged(lambda_b):
    """To second order along the generator, at a point that is not critical."""
    counts = (3, 3, 1) if lambda_b is None else (3, 3, 3)  # one rotation in either
    model = UFM(MSE(), counts=counts, d=D, lambda_W=LW, lambda_H=LH, lambda_b=lambda_b)
    brute = Problem.of(FAMILY["mse"][1], counts, D, LW, LH, lambda_b)
    x = brute.random(5, 2.0)
    gradient = brute.value_and_gradient(x)[1]
    rows = stack(brute, model.generators(brute.unpack(x)))
    assert len(rows) == D * (D - 1) // 2 + 1
    assert np.abs(rows @ gradient).max() < 1e-13
    assert np.abs(gradient).max() > 0.05
    ce = Problem.of(FAMILY["ce"][1], counts, D, LW, LH, lambda_b)
    assert np.abs(rows[-1] @ ce.value_and_gradient(x)[1]) > 1e-3


def test_predicted_nullity_follows_its_formula():
    ce = UFM(CrossEntropy(), 3, D, lambda_W=LW, lambda_H=LH)
    Z = np.eye(3) - 1 / 3
    sizes = ((2, 2), (2, 5), (1, 5), (0, 5))
    assert [predicted_nullity(ce, r, d, Z, None) for r, d in sizes] == [1, 7, 4, 0]
    mse = UFM(MSE(), 3, D, lambda_W=LW, lambda_H=LH)
    assert predicted_nullity(mse, 2, D, Z, None) == 7 + 2  # a plane in R^3
    assert predicted_nullity(mse, 3, D, np.eye(3), None) == 9  # no plane to turn
    biased = UFM(MSE(), 3, D, lambda_W=LW, lambda_H=LH, lambda_b=0.1)
    tilted = [np.zeros(3), np.ones(3), np.array([1.0, 0, 0])]  # only the last one is moved
    zero = np.zeros((3, 3))
    assert [predicted_nullity(biased, 0, D, zero, b) for b in tilted] == [0, 0, 1]
    left = 1e-40 * np.random.default_rng(0).standard_normal((3, 3))  # of a descent to the origin
    assert [predicted_nullity(m, 0, D, left, None) for m in (ce, mse)] == [0, 0]
    many = UFM(MSE(), 49, D, lambda_W=LW, lambda_H=LH)
    assert predicted_nullity(many, 1, D, np.eye(49), None) is None


def test_a_model_that_says_nothing_of_its_group_has_no_generators():
    point = Point(np.eye(3, 4), np.eye(4, 2))
    assert Model.generators(UFM(MSE(), 3, 4, lambda_W=LW, lambda_H=LH), point) is None


def test_rotations_are_skew_on_both_sides():
    default = rotation_generators(Point(np.eye(3, 4), np.eye(4, 2)))
    assert default.W.shape == (6, 3, 4)
    assert default.H.shape == (6, 4, 2)
    assert default.b is None
    skew = default.W[0, :, :3]
    np.testing.assert_array_equal(skew, -skew.T)
