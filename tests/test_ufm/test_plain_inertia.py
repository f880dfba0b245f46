"""Inertia by factorisation against eigenvalues."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.helpers import FAMILY, Problem
from ufm import UFM, InputError, Point
from ufm.plain import inertia
from ufm.plain.blocks import feature_blocks, group_block
from ufm.plain.inertia import (
    count_negative,
    count_range_below,
    is_positive_definite,
    schur_complement,
)
from ufm.plain.reduce import reduced

LW, LH = 0.03, 0.02


def with_spectrum(values, seed):
    Q = np.linalg.qr(np.random.default_rng(seed).standard_normal((len(values), len(values))))[0]
    matrix = (Q * values) @ Q.T
    return 0.5 * (matrix + matrix.T)


@given(st.integers(1, 40), st.integers(0, 2**32 - 1))
def test_negative_eigenvalues_are_counted(size, seed):
    A = np.random.default_rng(seed).standard_normal((size, size))
    A = A + A.T
    assert count_negative(A) == np.sum(np.linalg.eigvalsh(A) < 0)


@given(st.integers(0, 8), st.integers(0, 8), st.integers(0, 2**32 - 1))
def test_a_prescribed_inertia_is_found_over_sixteen_decades(negative, positive, seed):
    """LDL^T is backward stable: signs are safe for |value| >> size eps |A| = 4e-15."""
    rng = np.random.default_rng(seed)
    values = np.concatenate([-(10.0 ** rng.uniform(-11, 0, negative)), [1.0] * positive])
    values = np.concatenate([values, 10.0 ** rng.uniform(-11, 0, 2)])
    assert count_negative(with_spectrum(values, seed)) == negative


def test_a_shift_moves_zero_eigenvalues_to_either_side():
    """How a nullity is counted: by a difference of two counts."""
    A = with_spectrum(np.array([-1.0, -0.1, 0.0, 0.0, 0.0, 0.2, 3.0]), 0)
    eye = np.eye(7)
    assert count_negative(A + 1e-12 * eye) == 2
    assert count_negative(A - 1e-12 * eye) == 5


def test_pivots_of_two_hold_one_negative_eigenvalue_each():
    swap = np.array([[0.0, 1.0], [1.0, 0.0]])
    assert count_negative(swap) == 1
    assert count_negative(np.kron(np.eye(5), swap)) == 5
    assert count_negative(np.kron(np.diag([1.0, -1.0, 1.0]), swap)) == 3


def test_singular_and_empty_matrices():
    assert count_negative(np.zeros((4, 4))) == 0
    assert count_negative(np.zeros((0, 0))) == 0
    assert count_negative(np.diag([0.0, -1.0, 0.0, 2.0])) == 1
    assert is_positive_definite(np.zeros((0, 0)))
    assert not is_positive_definite(np.zeros((3, 3)))


def test_only_the_lower_triangle_is_read_and_nothing_is_written():
    A = with_spectrum(np.array([-2.0, -1.0, 1.0, 2.0, 3.0]), 1)
    messy = np.tril(A) + np.triu(np.full((5, 5), 7.0), 1)
    before = messy.copy()
    assert count_negative(messy) == 2
    assert not is_positive_definite(messy)
    assert is_positive_definite(np.tril(A + 5 * np.eye(5)) + np.triu(np.full((5, 5), 7.0), 1))
    assert np.array_equal(messy, before)
    assert count_negative(np.asfortranarray(A)) == 2
    assert count_negative(np.kron(A, np.eye(2))[::2, ::2]) == 2  # a view with strides


@pytest.mark.parametrize("bad", [np.nan, np.inf])
@pytest.mark.parametrize("entry", [(0, 0), (2, 2), (1, 0), (2, 0), (2, 1)])
def test_a_matrix_that_is_not_finite_is_refused(entry, bad):
    for base in (np.eye(3), np.zeros((3, 3)), np.diag([1.0, -1.0, 0.0])):
        A = base.copy()
        A[entry] = A[entry[::-1]] = bad
        with pytest.raises(InputError, match="finite"):
            count_negative(A)


@given(st.integers(1, 30), st.integers(0, 2**32 - 1))
def test_positive_definiteness(size, seed):
    A = np.random.default_rng(seed).standard_normal((size, size))
    smallest = np.linalg.eigvalsh(A @ A.T)[0]
    gap = 0.1 * np.abs(A @ A.T).max()
    assert is_positive_definite(A @ A.T + (gap - smallest) * np.eye(size))
    assert not is_positive_definite(A @ A.T - (gap + smallest) * np.eye(size))


@pytest.mark.parametrize("entry", [(0, 0), (1, 1), (1, 0)])
def test_a_matrix_with_nan_is_not_positive_definite(entry):
    A = np.eye(2)
    A[entry] = A[entry[::-1]] = np.nan
    assert not is_positive_definite(A)
    assert not is_positive_definite(np.full((2, 2), np.nan))


def data_of(name, counts, lambda_b, rank=3, seed=0, grouped=False):
    """The quotient problem at a random point: A-4 and A-5 hold away from critical points too."""
    K = len(counts)
    model = UFM(FAMILY[name][0], counts=counts, d=rank, lambda_W=LW, lambda_H=LH, lambda_b=lambda_b)
    brute = Problem.of(FAMILY[name][1], counts, rank, LW, LH, lambda_b, merged=True)
    point = brute.unpack(brute.random(seed, 2.0))
    if grouped:  # classes 0, 1 and 2, 3
        take = np.repeat(np.arange(0, K, 2), 2)
        bias = None if point.b is None else point.b[take]
        point = Point(point.W[take], point.H[:, take], bias)
    return reduced(model, point).data


def between(values):
    """Bounds inside the gaps that rounding cannot close."""
    wide = np.flatnonzero(np.diff(values) > 1e-6)
    return (values[wide] + values[wide + 1]) / 2


CASES = [
    (name, counts, lambda_b)
    for name in ("ce", "mse", "focal")
    for counts in ((2, 2, 2, 2), (5, 1, 3, 2))
    for lambda_b in (None, 0.0, 0.05)
]


@pytest.mark.parametrize(("name", "counts", "lambda_b"), CASES)
def test_counts_below_bounds_are_those_of_the_dense_block(name, counts, lambda_b):
    data = data_of(name, counts, lambda_b)
    values = np.linalg.eigvalsh(group_block(data))
    assert len(values) == data.size
    bounds = [values[0] - 0.1, *between(values)[::2], values[-1] + 0.1]
    assert any(bound < 0 for bound in bounds[1:])
    seen = set()
    for bound in bounds:
        expected = int(np.sum(values < bound))
        for hopeful in (False, True):
            got = count_range_below(data, bound, expect_none=hopeful)
            assert got.below == expected, (bound, hopeful)
            assert 0 <= got.features <= 4 * 3
            assert got.size == 4 * 3 + (0 if lambda_b is None else 4)
        seen.add(expected)
    assert {0, len(values)} <= seen
    assert len(seen) > 6
    # Haynsworth: for a convex loss the feature blocks exceed lambda_H, so none falls below it.
    if name != "focal":
        assert count_range_below(data, 0.9 * LH).features == 0
    assert count_range_below(data, values[-1] + 0.1).features == 12


def test_negative_feature_blocks_of_focal_loss_are_counted():
    found = [data_of("focal", (1, 1, 1, 1), None, seed=seed) for seed in range(40)]
    features = [count_range_below(data, 0.0).features for data in found]
    expected = [int(np.sum(np.linalg.eigvalsh(feature_blocks(data)) < 0)) for data in found]
    assert features == expected
    assert max(features) > 0
    for data in found:
        below = count_range_below(data, 0.0, expect_none=True).below
        assert below == np.sum(np.linalg.eigvalsh(group_block(data)) < 0)


@pytest.mark.parametrize("lambda_b", [None, 0.05])
def test_merged_classes_are_counted_on_the_quotient(lambda_b):
    data = data_of("ce", (2, 2, 3, 3), lambda_b, rank=2, grouped=True)
    assert len(data.groups) == 2
    values = np.linalg.eigvalsh(group_block(data))
    assert len(between(values)) >= 5
    for bound in between(values):
        assert count_range_below(data, bound).below == np.sum(values < bound)
    assert count_range_below(data, 0.0).size == 2 * 2 + (0 if lambda_b is None else 2)


@pytest.mark.parametrize("lambda_b", [None, 0.05])
def test_the_schur_complement_is_that_of_the_dense_block(lambda_b):
    data, shift = data_of("ce", (5, 1, 3, 2), lambda_b), 1e-3
    block = group_block(data) - shift * np.eye(data.size)
    inverses = np.linalg.inv(feature_blocks(data) - shift * np.eye(3))
    middle = np.arange(12, 24)
    rest = np.setdiff1d(np.arange(data.size), middle)
    cross = block[np.ix_(rest, middle)]
    expected = block[np.ix_(rest, rest)]
    expected = expected - cross @ np.linalg.solve(block[np.ix_(middle, middle)], cross.T)
    got = schur_complement(data, shift, inverses)
    assert np.abs(got - expected).max() < 1e-14 * data.size


def test_at_the_origin_only_the_bias_is_left():
    for lambda_b, size in ((None, 0), (0.05, 1)):  # one group: its common bias
        model = UFM(FAMILY["ce"][0], 4, 6, lambda_W=LW, lambda_H=LH, lambda_b=lambda_b)
        data = reduced(model, model.origin()).data
        assert data.size == size
        got = count_range_below(data, 1.0)
        assert (got.below, got.features, got.size) == (size, 0, size)
        assert count_range_below(data, 0.04).below == 0


def test_expecting_none_is_not_fooled_by_negative_feature_blocks():
    """Near the origin, lambda_H < bound < lambda_W: the complement is positive, B is not."""
    model = UFM(FAMILY["ce"][0], 4, 3, lambda_W=1.0, lambda_H=0.01)
    rng = np.random.default_rng(0)
    point = Point(0.1 * rng.standard_normal((4, 3)), 0.1 * rng.standard_normal((3, 4)))
    data = reduced(model, point).data
    expected = int(np.sum(np.linalg.eigvalsh(group_block(data)) < 0.3))
    got = count_range_below(data, 0.3, expect_none=True)
    assert got.below == got.features == expected == 12


def test_expecting_none_saves_the_second_factorisation_only_when_it_is_true(monkeypatch):
    data = data_of("ce", (2, 2, 2, 2), None)
    values = np.linalg.eigvalsh(group_block(data))
    calls = []
    original = inertia.count_negative
    monkeypatch.setattr(
        inertia, "count_negative", lambda matrix: calls.append(1) or original(matrix)
    )
    low, middle = values[0] - 0.1, (values[2] + values[3]) / 2
    assert count_range_below(data, low, expect_none=True).below == 0
    assert not calls
    assert count_range_below(data, low).below == 0
    assert len(calls) == 1
    assert count_range_below(data, middle, expect_none=True).below == 3
    assert len(calls) == 2
