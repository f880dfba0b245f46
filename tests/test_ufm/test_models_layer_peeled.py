"""The layer-peeled model: its minimum against CVXPY, its bound, and where small classes merge."""

import cvxpy as cp
import jax
import numpy as np
import pytest

from landscape import Curvature, Globality, dense_hessian, solve, verdict
from tests.helpers import slow
from ufm import MSE, CrossEntropy, Focal, InputError, LabelSmoothing, Point, as_rows, layer_peeled
from ufm.tolerance import generator_rank


def programme(counts, energy_W, energy_H):
    """The minimum and the class means' logits by CVXPY: a convex problem on a nuclear ball."""
    K, N = len(counts), sum(counts)
    Z = cp.Variable((K, K))
    loss = sum(n * (cp.log_sum_exp(Z[:, k]) - Z[k, k]) for k, n in enumerate(counts)) / N
    ball = cp.normNuc(Z) <= K * np.sqrt(energy_W * energy_H)
    return cp.Problem(cp.Minimize(loss), [ball]).solve(solver=cp.CLARABEL), Z.value


def test_the_objective_is_the_loss_at_the_energies():
    counts, d = (3, 1, 2), 5
    model = layer_peeled(counts=counts, d=d, energy_W=0.7, energy_H=2.3)
    W, H = (np.asarray(x) for x in model.random_point(jax.random.key(0))[:2])
    assert (W.shape, H.shape) == ((3, 5), (5, 6))
    labels = (0, 0, 0, 1, 2, 2)
    shares = [1 / counts[k] for k in labels]
    W1 = W * np.sqrt(3 * 0.7 / np.sum(W**2))
    H1 = H * np.sqrt(3 * 2.3 / sum(s * h @ h for s, h in zip(shares, H.T, strict=True)))
    Z = W1 @ H1
    by_hand = np.mean([np.log(np.exp(z).sum()) - z[k] for z, k in zip(Z.T, labels, strict=True)])
    assert float(model.objective(Point(W, H))) == pytest.approx(by_hand, abs=1e-14)
    assert float(model.objective(Point(3 * W, H / 7))) == pytest.approx(by_hand, abs=1e-14)


@pytest.fixture(scope="module")
def uneven():
    model = layer_peeled(counts=(6, 2, 1), d=4, energy_W=0.8, energy_H=3.0)
    return model, solve(model, key=jax.random.key(0))


def test_the_minimum_is_that_of_the_convex_programme(uneven):
    model, run = uneven
    value, Z = programme(model.counts, 0.8, 3.0)
    assert run.objective == pytest.approx(value, abs=1e-7)
    means = np.asarray(model.logits(run.point))[:, [0, 6, 8]]
    np.testing.assert_allclose(means - means.mean(axis=0), Z - Z.mean(axis=0), atol=1e-3)
    told = verdict(model, run.point)
    assert told.globality is Globality.GLOBAL
    assert told.curvature is Curvature.MORSE_BOTT_MINIMUM
    values = np.linalg.eigvalsh(dense_hessian(model, run.point))
    flat = int(np.sum(np.abs(values) < 1e-9 * values[-1]))
    assert flat == generator_rank(as_rows(model.generators(run.point))) == told.count.nullity
    assert float(run.gradient_norm) < 1e-12


def test_the_bound_is_below_every_point_and_tight_at_the_minimum(uneven):
    model, run = uneven
    told = model.certificate(run.point)
    assert told.applies
    assert -1e-12 < told.gap < 1e-10
    for seed in range(6):
        point = model.random_point(jax.random.key(seed), 1.5)
        told = model.certificate(point)
        assert told.bound < run.objective
        assert told.gap == pytest.approx(float(model.objective(point)) - told.bound, abs=1e-14)
    one_less = layer_peeled(counts=(6, 2, 1), d=1, energy_W=0.8, energy_H=3.0)
    low = solve(one_less, key=jax.random.key(0))
    assert one_less.certificate(low.point).bound < run.objective < low.objective


def test_equal_classes_are_a_simplex_at_the_gap_of_the_energies():
    model = layer_peeled(num_classes=4, d=3, n=2, energy_W=0.5, energy_H=3.0)
    best = model.minimiser()
    gap = 4 * np.sqrt(1.5) / 3
    assert best.value == pytest.approx(np.log1p(3 * np.exp(-gap)), abs=1e-14)
    assert float(model.objective(best.point)) == pytest.approx(best.value, abs=1e-14)
    squares = model.lengths(best.point)
    assert squares[0] == pytest.approx(4 * 0.5, abs=1e-13)
    assert squares[1] == pytest.approx(4 * 3.0, abs=1e-13)
    assert solve(model, key=jax.random.key(1)).objective == pytest.approx(best.value, abs=1e-12)


@pytest.mark.parametrize(
    "model",
    [
        layer_peeled(num_classes=4, d=2),
        layer_peeled(counts=(2, 1, 1)),
        layer_peeled(MSE(), 3, 4),
        layer_peeled(LabelSmoothing(0.3), 3, 2, energy_W=4.0),  # beyond the best gap
    ],
)
def test_other_minima_are_not_known(model):
    assert model.minimiser() is None


def test_a_loss_that_is_not_convex_has_no_bound():
    assert not layer_peeled(Focal(2.0), 3, 4).certificate(None).applies


@pytest.mark.parametrize(
    ("ratio", "low", "high"), [(45, 0.0555, 0.0565), slow(47, 5e-3, 2e-2), (51, -1, 1e-9)]
)
def test_small_classes_merge_beyond_the_ratio(ratio, low, high):
    model = layer_peeled(CrossEntropy(), counts=(ratio, ratio, 1, 1), d=4)
    told = model.measures(solve(model, key=jax.random.key(0)).point)
    assert told["merging_ratio"] == pytest.approx(47.68488, abs=5e-6)
    assert told["ratio"] == ratio
    assert low < told["smallest_classes_spread"] < high
    assert told["nuclear_norm"] == pytest.approx(told["room"], rel=1e-12)


def test_other_losses_and_sizes_name_no_ratio():
    for model in (
        layer_peeled(LabelSmoothing(0.1), counts=(3, 3, 1, 1)),
        layer_peeled(counts=(4, 3, 1, 1)),
        layer_peeled(counts=(3, 3, 3, 1)),
    ):
        assert "merging_ratio" not in model.measures(model.random_point(jax.random.key(0)))


def test_zero_has_no_energy():
    model = layer_peeled(num_classes=3, d=4)
    point = model.random_point(jax.random.key(0))
    with pytest.raises(InputError, match="not zero"):
        model.checked(Point(0 * point.W, point.H))


@pytest.mark.parametrize(
    ("changes", "says"),
    [
        ({"num_classes": 1}, "K >= 2"),
        ({"d": 0}, "d >= 1"),
        ({"energy_W": 0.0}, "energy_W > 0"),
        ({"energy_H": -1.0}, "energy_H > 0"),
        ({"energy_W": 1e200, "energy_H": 1e200}, "that floats hold"),
    ],
)
def test_bad_input(changes, says):
    with pytest.raises(InputError, match=says):
        layer_peeled(**changes)
