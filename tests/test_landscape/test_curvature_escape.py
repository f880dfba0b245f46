"""Escape directions: exact eigenvectors, explicit where the theory gives them."""

import numpy as np
import pytest

from landscape.curvature import escape as escape_module
from landscape.curvature.escape import escape_direction
from tests.helpers import Problem, naive_cross_entropy, naive_squared, padded
from ufm import MSE, UFM, CrossEntropy, Point, Regression, lift, merged_code
from ufm.model import hessian_vector_product

K, D, LW, LH = 4, 6, 0.02, 0.01
# Eigenvalues of a dense Hessian of norm one.
EXACT = 1e-14


def merged_saddle(d=D, lambda_b=None):
    """CE-6 with two pairs of classes."""
    model = UFM(CrossEntropy(), K, d, lambda_W=LW, lambda_H=LH, lambda_b=lambda_b)
    beta, ratio = np.log(2 / model.c - 1), (LH / LW) ** 0.25
    code = np.sqrt(beta) * merged_code((2, 2), d)
    bias = None if lambda_b is None else np.zeros(K)
    brute = Problem.of(naive_cross_entropy(), (1,) * K, d, LW, LH, lambda_b)
    return model, Point(ratio * code, code.T / ratio, bias), brute


def imbalanced_saddle():
    counts = (3, 2, 4)
    model = UFM(CrossEntropy(), counts=counts, d=5, lambda_W=8e-3, lambda_H=5e-3, lambda_b=0.03)
    line = Problem.of(naive_cross_entropy(), counts, 1, 8e-3, 5e-3, 0.03, merged=True)
    found = (line.newton(line.random(seed, 3.0)) for seed in range(30))
    point = next(p for p, res in found if res < 1e-15 and np.abs(p.W @ p.H).max() > 0.1)
    brute = Problem.of(naive_cross_entropy(), counts, 5, 8e-3, 5e-3, 0.03)
    return model, lift(model, padded(point, 5)), brute


def check_eigenvector(model, point, brute, escape):
    """Unit norm, lowest Rayleigh quotient, and an eigenvector, all in NumPy."""
    H = brute.hessian(brute.pack(point))
    vector = brute.pack(escape.direction)
    smallest = np.linalg.eigvalsh(H)[0]
    assert smallest < -1e-3
    assert np.linalg.norm(vector) == pytest.approx(1, abs=1e-14)
    assert vector @ H @ vector == pytest.approx(smallest, abs=EXACT)
    assert escape.curvature == pytest.approx(smallest, abs=EXACT)
    assert np.linalg.norm(H @ vector - smallest * vector) < 1e-12
    return smallest


@pytest.mark.parametrize("lambda_b", [None, 0.0, 0.03])
def test_the_explicit_direction_is_that_of_the_theorem(lambda_b):
    """CE-4: lambda_- = (lw + lh - sqrt((lw - lh)^2 + 4 |G|^2)) / 2, |G| = 1 / K at CE-6."""
    model, point, brute = merged_saddle(lambda_b=lambda_b)
    escape = escape_direction(model, point)
    smallest = check_eigenvector(model, point, brute, escape)
    expected = (LW + LH - np.sqrt((LW - LH) ** 2 + 4 / K**2)) / 2
    assert smallest == pytest.approx(expected, abs=EXACT)
    assert "explicit" in escape_direction(model, point, smallest).source
    direction = escape_direction(model, point, smallest).direction
    W, H = np.asarray(direction.W), np.asarray(direction.H)
    assert np.linalg.matrix_rank(W, tol=1e-10) == np.linalg.matrix_rank(H, tol=1e-10) == 1
    assert np.abs(point.W @ H).max() < 1e-14  # a lies in ker W
    assert np.abs(W @ point.H).max() < 1e-14
    if lambda_b is not None:
        assert np.abs(direction.b).max() < 1e-14
    # The published scaling of the same pair is not quite as low (lw != lh).
    u, v = np.linalg.svd(W)[0][:, :1], np.linalg.svd(H)[2][:1]
    a = np.linalg.svd(W)[2][:1]
    sign = np.sign(np.sum(W * (u @ a))) * np.sign(np.sum(H * (a.T @ v)))
    published = Point((LH / LW) ** 0.25 * u @ a, sign * (LW / LH) ** 0.25 * a.T @ v)
    bias = None if lambda_b is None else np.zeros(K)
    x = brute.pack(published._replace(b=bias))
    sigma = np.sqrt(LW * LH)
    quotient = x @ brute.hessian(brute.pack(point)) @ x / (x @ x)
    assert quotient == pytest.approx(-2 * sigma * (1 / K - sigma) / (LW + LH), abs=1e-13)
    assert quotient > smallest + 1e-3


def test_full_columns_and_unequal_counts():
    model, point, brute = imbalanced_saddle()
    smallest = np.linalg.eigvalsh(brute.hessian(brute.pack(point)))[0]
    escape = escape_direction(model, point, smallest)
    assert "explicit" in escape.source
    assert escape.direction.H.shape == point.H.shape
    check_eigenvector(model, point, brute, escape)


@pytest.mark.parametrize("case", [merged_saddle, imbalanced_saddle])
def test_the_objective_falls_along_it(case):
    model, point, brute = case()
    x = brute.pack(point)
    value = brute.value_and_gradient(x)[0]
    escape = escape_direction(model, point)
    vector, t = brute.pack(escape.direction), 1e-3
    for sign in (1, -1):  # to second order: t^2 curvature / 2
        drop = brute.value_and_gradient(x + sign * t * vector)[0] - value
        assert drop == pytest.approx(0.5 * t**2 * escape.curvature, rel=1e-2)
    lower, height = escape.descend(model, point, value)
    assert height < value + 0.25 * escape.curvature  # a step of one or nearly so was taken
    assert height == pytest.approx(brute.value_and_gradient(brute.pack(lower))[0], abs=1e-14)


def test_descend_returns_the_point_itself_when_nothing_is_lower():
    model, point, _ = merged_saddle()
    escape = escape_direction(model, point)
    best = model.minimiser()
    lower, height = escape.descend(model, best.point, best.value)
    assert lower is best.point
    assert height == best.value


def test_without_spare_dimensions_the_direction_is_numerical():
    """d = rank: there is no complement to leave into."""
    model, point, brute = merged_saddle(d=1)
    escape = escape_direction(model, point)
    assert escape.source == "dense Hessian"
    check_eigenvector(model, point, brute, escape)


def test_the_range_block_may_reach_lower_than_the_complement():
    """Then the explicit direction is not the answer, whether or not lambda_min is given."""
    counts = (1, 1, 1, 9)
    model = UFM(MSE(), counts=counts, d=D, lambda_W=LW, lambda_H=LH)
    brute = Problem.of(naive_squared(), counts, D, LW, LH, merged=True)
    merged = model.merge().model
    found = []
    for seed in range(40):
        thin = Problem.of(naive_squared(), counts, 2, LW, LH, merged=True)
        small, residual = thin.newton(thin.random(seed, 3.0))
        if residual < 1e-15:
            point = padded(small, D)
            values = np.linalg.eigvalsh(brute.hessian(brute.pack(point)))
            if values[0] < -1e-3:
                found.append((point, values[0]))
    sources = set()
    for point, smallest in found:
        for given in (None, smallest):
            escape = escape_direction(merged, point, given)
            assert escape.curvature == pytest.approx(smallest, abs=1e-12)
            sources.add(escape.source)
    assert "dense Hessian" in sources


def test_a_wrong_smallest_eigenvalue_is_not_taken_on_trust():
    """A value that the explicit direction does not attain makes it look further."""
    model, point, brute = merged_saddle()
    escape = escape_direction(model, point, -10.0)
    check_eigenvector(model, point, brute, escape)


def test_lanczos_where_a_dense_hessian_would_be_too_large(monkeypatch):
    model = Regression(np.random.default_rng(0).standard_normal((2, 7)), 3, 0.1, 0.2)
    flat = Point(np.zeros((2, 3)), np.zeros((3, 7)), model.targets.mean(axis=1))
    dense = escape_direction(model, flat)
    monkeypatch.setattr(escape_module, "MAX_DENSE_ESCAPE", 28)
    found = escape_direction(model, flat)
    assert (dense.source, found.source) == ("dense Hessian", "Lanczos")
    assert found.curvature == pytest.approx(dense.curvature, rel=1e-9)
    assert found.curvature < -0.1
    image = hessian_vector_product(model, flat, found.direction)
    assert np.abs(image.W - found.curvature * found.direction.W).max() < 1e-6
    monkeypatch.setattr(escape_module, "MAX_DENSE_ESCAPE", 29)
    assert escape_direction(model, flat).source == "dense Hessian"
