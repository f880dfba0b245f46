"""Index, nullity and extreme eigenvalues by every route against a dense Hessian in NumPy."""

import jax
import numpy as np
import pytest

from landscape.curvature import count as curvature_module
from landscape.curvature.count import count_curvature
from tests.helpers import FAMILY, Problem, naive_cross_entropy, padded
from ufm import MSE, UFM, CrossEntropy, Point, Regression, RescaledMSE, lift, merged_code
from ufm.plain import structure as structure_module
from ufm.plain.reduce import COLLAPSED, averaged
from ufm.tolerance import generator_rank, resolution, zero_tolerance

K, D, LW, LH = 4, 6, 0.02, 0.01
EPSILON = np.finfo(float).eps
# True curvatures of these points exceed 1e-6; zero modes are below 1e-13.
ZERO = 1e-9


def model_of(name, counts, lambda_b, d=D):
    return UFM(FAMILY[name][0], counts=counts, d=d, lambda_W=LW, lambda_H=LH, lambda_b=lambda_b)


def brute_of(name, counts, lambda_b, d=D, *, merged=False):
    return Problem.of(FAMILY[name][1], counts, d, LW, LH, lambda_b, merged=merged)


def critical_point(name, counts, lambda_b, kind):
    """Merged columns: closed forms, and Newton in few dimensions where there is none."""
    model = model_of(name, counts, lambda_b)
    if kind == "origin":
        return model.merge().model.origin()
    if kind == "minimum":
        return model.minimiser().point
    thin = brute_of(name, counts, lambda_b, 1, merged=True)
    found = (thin.newton(thin.random(seed, 3.0)) for seed in range(30))
    point = next(p for p, res in found if res < 1e-15 and np.abs(p.W @ p.H).max() > 0.1)
    return padded(point, D)


BALANCED, IMBALANCED = (2, 2, 2, 2), (3, 2, 4, 1)
CASES = [
    ("ce", BALANCED, None, "minimum"),
    ("ce", BALANCED, 0.0, "minimum"),
    ("ce", BALANCED, 0.03, "origin"),
    ("ce", BALANCED, 0.0, "saddle"),
    ("ce", IMBALANCED, None, "origin"),
    ("ce", IMBALANCED, 0.0, "saddle"),
    ("ce", IMBALANCED, 0.03, "saddle"),
    ("mse", BALANCED, None, "minimum"),
    ("mse", BALANCED, 0.0, "minimum"),
    ("mse", IMBALANCED, None, "minimum"),
    ("mse", BALANCED, 0.03, "saddle"),
    ("focal", BALANCED, None, "minimum"),
    ("focal", IMBALANCED, 0.03, "saddle"),
]


@pytest.fixture(params=["structured", "inertia"])
def route(request, monkeypatch):
    if request.param == "inertia":
        monkeypatch.setattr(structure_module, "MAX_DIAGONALISED", -1)
    return request.param


@pytest.mark.parametrize("columns", ["merged", "full"])
@pytest.mark.parametrize(("name", "counts", "lambda_b", "kind"), CASES)
def test_both_exact_routes_agree_with_the_dense_hessian(
    route, name, counts, lambda_b, kind, columns
):
    model = model_of(name, counts, lambda_b)
    small = critical_point(name, counts, lambda_b, kind)
    full = lift(model, small)
    brute = brute_of(name, counts, lambda_b)
    gradient = float(np.linalg.norm(brute.value_and_gradient(brute.pack(full))[1]))
    values = brute.spectrum(full)
    count = count_curvature(model, full if columns == "full" else small, gradient)
    assert count.route == route
    assert count.index == np.sum(values < -ZERO)
    assert count.nullity == np.sum(np.abs(values) < ZERO)
    if kind != "origin":
        assert count.nullity == count.predicted_nullity
    assert count.rank == np.linalg.matrix_rank(small.W @ small.H, tol=1e-6)
    assert count.tolerance < 1e-3 * np.min(np.abs(values)[np.abs(values) > ZERO])
    if count.index:  # bisection of the inertia route is accurate to 1e-6
        assert count.smallest == pytest.approx(values[0], rel=2e-6)
    else:
        assert abs(count.smallest) <= count.tolerance or count.smallest == pytest.approx(values[0])
    if route == "structured":
        assert count.smallest_positive == pytest.approx(np.min(values[values > ZERO]), rel=1e-9)
        assert count.radius == pytest.approx(np.abs(values).max(), rel=1e-12)
        assert count.typical == pytest.approx(np.sqrt(np.mean(values**2)), rel=1e-12)
        assert count.smallest == pytest.approx(values[0], abs=1e-14)


@pytest.mark.parametrize("lambda_b", [None, 0.0, 0.02])
@pytest.mark.parametrize("loss", [CrossEntropy(), MSE(), RescaledMSE(9.0, 60.0)], ids=str)
def test_inertia_survives_range_blocks_much_larger_than_the_decays(loss, lambda_b, monkeypatch):
    """Its tolerance has to follow the true radius: here up to 10^6 times the decays."""
    model = UFM(loss, K, D, lambda_W=1e-4, lambda_H=1e-4, lambda_b=lambda_b)
    point = model.minimiser().point
    exact = count_curvature(model, point, 0.0)
    assert (exact.route, exact.index) == ("structured", 0)
    monkeypatch.setattr(structure_module, "MAX_DIAGONALISED", -1)
    count = count_curvature(model, point, 0.0)
    assert (count.route, count.index) == ("inertia", 0)
    assert count.nullity == exact.nullity == exact.predicted_nullity
    assert count.radius >= exact.radius / 2


def test_features_that_differ_within_a_class_go_to_the_dense_route():
    model = model_of("ce", (2, 2, 2), None, 5)
    brute = brute_of("ce", (2, 2, 2), None, 5)
    x = brute.random(0, 2.0)
    point = brute.unpack(x)
    count = count_curvature(model, point, 0.0)
    values = np.linalg.eigvalsh(brute.hessian(x))
    assert count.route == "dense"
    assert count.rank is None
    assert count.index == np.sum(values < 0) > 0
    assert count.smallest == pytest.approx(values[0], abs=1e-13)


def test_collapse_is_told_to_six_digits():
    model = model_of("ce", (2, 2, 2), None, 5)
    small = model.merge().model.random_point(jax.random.key(0))
    full = lift(model, small)
    assert averaged(model, small)[2] == 0.0
    assert averaged(model, full)[2] < 1e-15
    for size, verdict in ((1e-8, True), (1e-4, False)):
        H = np.array(full.H)
        H[0, 0] += size
        assert (averaged(model, full._replace(H=H))[2] <= COLLAPSED) is verdict
        assert (model.structure(full._replace(H=H)) is not None) is verdict
    H[0, 0] = np.nan
    assert model.structure(full._replace(H=H)) is None


@pytest.fixture(scope="module")
def regression():
    model = Regression(np.random.default_rng(0).standard_normal((2, 7)), 3, 0.1, 0.2)
    flat = Point(np.zeros((2, 3)), np.zeros((3, 7)), model.targets.mean(axis=1))
    return model, model.minimiser().point, flat


def test_another_model_takes_the_dense_route(regression):
    model, best, flat = regression
    low = count_curvature(model, best, 1e-15)
    # Rank 2 in R^3: rotations of a 2-frame, 1 + 2 * 1.
    assert (low.route, low.index, low.nullity, low.predicted_nullity) == ("dense", 0, 3, 3)
    saddle = count_curvature(model, flat, 1e-16)
    # Two singular values above the threshold, three feature dimensions each.
    assert (saddle.index, saddle.nullity, saddle.predicted_nullity) == (6, 0, 0)


def test_one_feature_dimension_has_no_rotations(regression):
    """The stack of generators is empty then, which is no reason to fail."""
    model = regression[0].with_dimension(1)
    count = count_curvature(model, model.minimiser().point, 1e-15)
    assert (count.route, count.index, count.nullity, count.predicted_nullity) == ("dense", 0, 0, 0)


def test_lanczos_proves_saddles_and_never_minima(regression, monkeypatch):
    model, best, flat = regression
    exact = count_curvature(model, flat, 1e-16)
    monkeypatch.setattr(curvature_module, "MAX_DIAGONALISED", 28)
    saddle, low = (count_curvature(model, point, 1e-15) for point in (flat, best))
    for count in (saddle, low):
        assert count.route == "lanczos"
        assert count.index is count.nullity is count.predicted_nullity is None
    assert saddle.smallest < -saddle.tolerance
    assert saddle.smallest == pytest.approx(exact.smallest, rel=1e-9)
    assert low.smallest >= -low.tolerance


def test_the_dense_limit_counts_variables(regression, monkeypatch):
    model, best, _ = regression
    size = 2 * 3 + 3 * 7 + 2
    monkeypatch.setattr(curvature_module, "MAX_DIAGONALISED", size)
    assert count_curvature(model, best, 1e-15).route == "dense"


def test_a_tolerance_is_rounding_until_the_gradient_outgrows_it():
    exact, source = zero_tolerance(100, 2.0, 0.0, 0.1, 1.0)
    assert exact == pytest.approx(8 * 100 * EPSILON * 2.0)
    assert source.startswith("rounding")
    assert zero_tolerance(200, 2.0, 0.0, 0.1, 1.0)[0] == pytest.approx(2 * exact)
    assert zero_tolerance(3, 2.0, 0.0, 0.1, 1.0) == zero_tolerance(10, 2.0, 0.0, 0.1, 1.0)
    found = [zero_tolerance(100, 2.0, size, 0.1, 1.0)[0] for size in (1e-10, 1e-9, 1e-8)]
    assert found == pytest.approx([2e-9, 2e-8, 2e-7])
    value, source = zero_tolerance(100, 2.0, 1e-8, 0.1, 5.0)
    assert value == pytest.approx(4e-8)
    assert "|g| = 1.0e-08" in source
    assert zero_tolerance(100, 2.0, 1e-8, 0.1, 0.5)[0] == pytest.approx(2e-7)  # max(1, |x|)
    assert zero_tolerance(100, 2.0, 1e-8, 0.0, 1.0)[0] == np.inf


def test_an_eigenvalue_is_read_beyond_ten_times_its_own_tolerance():
    zero, unread, source = resolution(10, 2.0, 0.0, 1.0)
    assert (zero, unread) == pytest.approx((160 * EPSILON, 1600 * EPSILON))
    assert source.startswith("rounding")
    assert resolution(10, 2.0, 150 * EPSILON, 1.0)[0] == zero  # a gradient that is rounding
    assert resolution(10, 2.0, 150 * EPSILON, 5.0)[0] == zero
    assert resolution(10, 2.0, 800 * EPSILON, 5.0)[0] == zero
    # |mu|^2 > 10 * 100 radius |g| / max(1, |x|), and then nothing is called zero.
    for length, expected in ((0.5, 2e-4), (4.0, 1e-4)):
        zero, unread, source = resolution(10, 2.0, 2e-11, length)
        assert (zero, unread) == (0.0, pytest.approx(expected))
        assert "|g| = 2.0e-11" in source
    zero, unread, source = resolution(10, 2.0, 0.0, 4.0, moved=1e-6)
    assert (zero, unread) == (0.0, pytest.approx(5e-6))
    assert "classes made equal" in source
    zero, unread, source = resolution(10, 2.0, 0.0, 4.0, defect=1e-5)
    assert (zero, unread) == (0.0, pytest.approx(1e-4))
    assert "known of the blocks" in source
    zero, unread, source = resolution(10, 2.0, 0.0, 4.0, start=1e-9)
    assert (zero, unread) == (0.0, pytest.approx(2.5e-7))
    assert "Newton" in source


def test_a_gradient_left_over_does_not_make_a_saddle_of_a_minimum():
    """Zero modes of a point off by s move by about s: the tolerance has to cover that."""
    model = UFM(CrossEntropy(), K, D, lambda_W=LW, lambda_H=LH)
    brute = Problem.of(naive_cross_entropy(), (1,) * K, D, LW, LH)
    x = brute.pack(model.minimiser().point)
    push = np.random.default_rng(0).standard_normal(len(x))
    for size in (1e-11, 1e-9, 1e-7):
        moved = x + size * push
        gradient = float(np.linalg.norm(brute.value_and_gradient(moved)[1]))
        count = count_curvature(model, brute.unpack(moved), gradient)
        assert count.index == 0
        assert count.nullity == count.predicted_nullity == 12
        assert count.settled or "residual" in count.tolerance_source


def test_the_rank_of_generators():
    assert generator_rank(np.zeros((0, 5))) == 0
    assert generator_rank(np.zeros((3, 5))) == 0
    rows = np.random.default_rng(0).standard_normal((3, 8))
    assert generator_rank(rows) == 3
    assert generator_rank(np.concatenate([rows, rows[:1] + rows[1:2]])) == 3
    assert generator_rank(np.concatenate([rows, 1e-9 * np.eye(8)[:1]])) == 3


def test_merged_classes_by_both_routes(route):
    """CE-6: (K - G) d negative directions, all from the within-group block."""
    model = UFM(CrossEntropy(), K, D, lambda_W=LW, lambda_H=LH)
    beta, ratio = np.log(2 / model.c - 1), (LH / LW) ** 0.25
    code = np.sqrt(beta) * merged_code((2, 2), D)
    count = count_curvature(model, Point(ratio * code, code.T / ratio), 1e-16)
    assert (count.route, count.index, count.rank) == (route, 2 * D, 1)
    assert count.nullity == count.predicted_nullity == D - 1
