"""Fixed subspaces of symmetries: brute-force objectives, full gradients, idle entries, refusals."""

import jax
import numpy as np
import pytest

from landscape.atlas.symmetries import merged
from landscape.solvers.critical import find_critical
from landscape.solvers.solve import solve
from landscape.verdict import Curvature, verdict
from tests.helpers import FAMILY, Problem, naive_cross_entropy, slow
from ufm import UFM, CrossEntropy, InputError, UserLoss
from ufm.frames import polygon, simplex_etf
from ufm.model import norm, value_and_gradient
from ufm.models.symmetric import Symmetric, Symmetry

LW, LH = 0.02, 0.007
COUNTS = (2, 2, 2, 2, 3)


def pairs_and_one():
    """Classes 0, 1 and 2, 3 merged, the pairs swapped; class 4 apart. Rank 1 + 1."""
    F = np.zeros((5, 1))
    F[:4, 0] = [1, 1, -1, -1]
    return Symmetry("2·2|1", np.array([0, 0, 0, 0, 1]), (F, np.ones((5, 1))))


def brute_force(name, counts, d, lambda_b):
    return Problem.of(FAMILY[name][1], counts, d, LW, LH, lambda_b, merged=True)


@pytest.mark.parametrize(
    ("name", "lambda_b"),
    [
        slow("ce", None),
        ("rescaled", 0.05),
        slow("ce", 0.05),
        slow("focal", None),
        slow("focal", 0.05),
    ],
)
def test_the_objective_is_that_of_the_expanded_point(name, lambda_b):
    model = UFM(FAMILY[name][0], counts=COUNTS, d=2, lambda_W=LW, lambda_H=LH, lambda_b=lambda_b)
    symmetry = pairs_and_one()
    small = Symmetric(model, symmetry)
    brute = brute_force(name, COUNTS, 2, lambda_b)
    for seed in (0, 1):
        point = small.random_point(jax.random.key(seed), 3.0)
        x = brute.pack(symmetry.expand(point))
        value, slope = brute.value_and_gradient(x)
        told, gradient = value_and_gradient(small, point)
        assert float(told) == pytest.approx(value, abs=1e-13)
        # Symmetric criticality: nothing of the full gradient points out of the subspace.
        assert float(norm(gradient)) == pytest.approx(np.linalg.norm(slope), rel=1e-10)


@pytest.mark.slow
def test_a_frame_that_is_not_a_symmetry_leaves_a_gradient_outside():
    """Negative control: unequal angles are no fixed points of any relabelling."""
    model = UFM(FAMILY["ce"][0], 4, 2, lambda_W=LW, lambda_H=LH)
    angle = np.array([0.0, 1.0, 2.5, 4.0])
    false = Symmetry("no", np.zeros(4, int), (np.stack([np.cos(angle), np.sin(angle)], axis=1),))
    small = Symmetric(model, false)
    point = small.random_point(jax.random.key(0), 3.0)
    brute = brute_force("ce", (1,) * 4, 2, None)
    slope = brute.value_and_gradient(brute.pack(false.expand(point)))[1]
    assert np.linalg.norm(slope) > 1.01 * float(norm(small.gradient(point)))


def test_the_polygon_is_the_one_of_the_theory():
    """CE-7: sum_j p_j cos(2 pi j / K) = 1 - c with logits a cos(2 pi j / K)."""
    K = 5
    model = UFM(FAMILY["ce"][0], K, 2, lambda_W=LW, lambda_H=LH)
    symmetry = Symmetry("5-gon", np.zeros(K, int), (polygon(K),))
    small = Symmetric(model, symmetry)
    start = small.random_point(jax.random.key(0))
    start = start._replace(W=np.full((1, 1), 5.0), H=np.full((1, 1), 5.0))
    point, _, size, _ = find_critical(small, start, 1e-12, 100)
    assert float(size) < 1e-12
    Z = symmetry.expand(point).W @ symmetry.expand(point).H
    cosines = np.cos(2 * np.pi * np.arange(K) / K)
    p = np.exp(Z[0, 0] * cosines)
    assert np.sum(p * cosines) / p.sum() == pytest.approx(1 - model.c, abs=1e-12)


@pytest.mark.slow
def test_idle_entries_change_nothing_and_are_flat():
    model = UFM(FAMILY["ce"][0], counts=COUNTS, d=2, lambda_W=LW, lambda_H=LH)
    symmetry = pairs_and_one()
    small, padded = Symmetric(model, symmetry), Symmetric(model, symmetry, (3, 4))
    big = padded.random_point(jax.random.key(0), 2.0)
    assert big.W.shape == (3, 4)
    inner = big._replace(W=big.W[:2, :2], H=big.H[:2, :2])
    assert float(padded.objective(big)) == pytest.approx(float(small.objective(inner)), abs=1e-15)
    slope = padded.gradient(big)
    assert not np.any(slope.W[2:])
    assert not np.any(slope.W[:, 2:])
    assert np.array_equal(symmetry.expand(big).W, symmetry.expand(inner).W)
    with pytest.raises(InputError, match="at least"):
        Symmetric(model, symmetry, (1, 4))


@pytest.mark.parametrize(("lambda_b", "extra"), [(None, 0), slow(0.05, 0), slow(0.0, 2)])
def test_equal_frames_rotate_idle_entries_and_the_shift_are_flat(lambda_b, extra):
    """Three types on two equal lines: O(2), 1; two types idle in the third, 4; a padded type, 6."""
    model = UFM(FAMILY["ce"][0], 4, 3, lambda_W=LW, lambda_H=LH, lambda_b=lambda_b)
    F = np.zeros((4, 1))
    F[:2, 0] = [1, -1]
    one = np.ones((4, 1))
    symmetry = Symmetry("1·1|1|1", np.array([0, 0, 1, 2]), (F, one, one))
    small = Symmetric(model, symmetry, (4, 3))
    start = small.random_point(jax.random.key(3), 3.0)
    Q = simplex_etf(4)  # near the minimum: means of the types, in a plane
    means = np.stack([np.sqrt(2) * (Q[0] + Q[1]) / 2, Q[2], Q[3]])
    W = np.zeros((4, 3))
    W[0, 0] = 2.5
    W[:3, 1:] = 2.5 * means @ np.linalg.svd(means)[2][:2].T
    point, _, size, _ = find_critical(small, start._replace(W=W, H=W.T), 1e-12, 200)
    assert float(size) < 1e-12
    assert np.linalg.matrix_rank(point.W[:3, 1:], 1e-6) == 2
    told = verdict(small, point)
    assert told.count.nullity == told.count.predicted_nullity == 1 + 4 + 6 + extra


@pytest.mark.parametrize(
    ("name", "counts", "blocks", "lambda_b"),
    [
        ("ce", (1, 1, 1, 1), [(0, 2, 2)], None),
        slow("ce", (2, 2, 3, 3), [(0, 2, 1), (1, 2, 1)], 0.0),
        slow("ce", (3, 3, 3, 1), [(1, 3, 1), (0, 1, 1)], 0.03),
        ("mse", (1, 1, 1, 1), [(0, 2, 1), (0, 1, 2)], None),
    ],
)
def test_the_lowest_point_of_merged_classes_is_a_saddle(name, counts, blocks, lambda_b):
    model = UFM(FAMILY[name][0], counts=counts, d=6, lambda_W=LW, lambda_H=LH, lambda_b=lambda_b)
    symmetry = merged(counts, blocks)
    found = solve(Symmetric(model, symmetry))
    assert found
    point = symmetry.expand(found.point)
    rank = point.W.shape[1]
    assert np.abs(point.W @ point.H).max() > 0.1  # not the origin
    point = point._replace(W=np.pad(point.W, ((0, 0), (0, 6 - rank))))
    point = point._replace(H=np.pad(point.H, ((0, 6 - rank), (0, 0))))
    brute = brute_force(name, counts, 6, lambda_b)
    assert np.linalg.norm(brute.value_and_gradient(brute.pack(point))[1]) < 1e-11
    told = verdict(model, point)
    assert told.curvature is Curvature.STRICT_SADDLE
    assert np.sum(brute.spectrum(point) < -1e-6) == told.count.index > 0


@pytest.mark.parametrize(("c", "index"), [(0.12, 12), (0.14, 9)])
def test_the_index_of_pairs_drops_where_theory_says(c, index):
    """CE-6, K = 6, G = 3, d = 4: (K - G) d = 12 below c* = 0.13055, (K - G)(d - 1) = 9 above.

    The value is that of e^beta = G / c - G + 1.
    """
    model = UFM(CrossEntropy(), 6, 2, lambda_W=c / 6, lambda_H=c / 6)
    symmetry = merged((1,) * 6, [(0, 2, 3)])
    found = solve(Symmetric(model, symmetry))
    beta = np.log(3 / c - 2)
    lowest = np.log(np.exp(beta) + 2) - beta + 2 * c * beta / 3 + np.log(2)
    assert found.objective == pytest.approx(lowest, abs=1e-13)
    point = symmetry.expand(found.point)
    assert point.W.shape == (6, 2)
    wide = point._replace(W=np.pad(point.W, ((0, 0), (0, 2))), H=np.pad(point.H, ((0, 2), (0, 0))))
    brute = Problem.of(naive_cross_entropy(), (1,) * 6, 4, c / 6, c / 6)
    assert np.sum(brute.spectrum(wide) < -1e-9) == index


def test_bad_input_is_refused():
    symmetry = pairs_and_one()
    model = UFM(FAMILY["ce"][0], counts=(2, 2, 3, 2, 2), d=2, lambda_W=LW, lambda_H=LH)
    with pytest.raises(InputError, match="equal counts"):
        Symmetric(model, symmetry)
    with pytest.raises(InputError, match="a type per class, K=4"):
        Symmetric(UFM(FAMILY["ce"][0], 4, 2, lambda_W=LW, lambda_H=LH), symmetry)

    def partial(z, k):
        return jax.nn.logsumexp(z) - z[k] + 0.5 * z[0] ** 2

    with pytest.raises(InputError, match="treats them alike"):
        Symmetric(UFM(UserLoss(partial), 5, 2, lambda_W=LW, lambda_H=LH), symmetry)
