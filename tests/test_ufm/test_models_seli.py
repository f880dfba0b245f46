"""Simplex-encoded labels, against CVXPY and the programme in all samples."""

import jax
import numpy as np
import pytest

from landscape import Curvature, Globality, solve, verdict
from ufm import InputError, Point, seli, simplex_encoded_labels

cvxpy = pytest.importorskip("cvxpy")


@pytest.mark.parametrize(("counts", "d"), [((6, 6, 1, 1), 3), ((3, 2, 1), 5), ((4, 2, 2, 1, 1), 4)])
def test_the_value_is_that_of_the_nuclear_norm_problem(counts, d):
    K = len(counts)
    Z = cvxpy.Variable((K, K))
    spread = Z @ np.diag(np.sqrt(counts))
    margins = [Z[k, k] - Z[j, k] >= 1 for k in range(K) for j in range(K) if j != k]
    problem = cvxpy.Problem(cvxpy.Minimize(cvxpy.normNuc(spread)), margins)
    problem.solve(solver="CLARABEL")
    point, value = simplex_encoded_labels(d=d, counts=counts)
    assert value == pytest.approx(problem.value, abs=1e-6)
    np.testing.assert_allclose(Z.value - Z.value.mean(axis=0), np.eye(K) - 1 / K, atol=1e-4)
    # The point itself: margins of 1 at every sample, at this cost.
    labels = np.repeat(np.arange(K), counts)
    logits = point.W @ point.H
    own = logits[labels, np.arange(len(labels))]
    others = own - logits + 2 * np.eye(K)[:, labels]
    assert others.min() == pytest.approx(1.0, abs=1e-12)
    assert (np.sum(point.W**2) + np.sum(point.H**2)) / 2 == pytest.approx(value, abs=1e-12)
    assert point.W.shape == (K, d)


def test_equal_classes_are_a_simplex():
    point, value = simplex_encoded_labels(3, 4, 5)
    assert value == pytest.approx(2 * np.sqrt(5), abs=1e-12)
    gram = point.W @ point.W.T
    np.testing.assert_allclose(gram, gram[0, 0] * 1.5 * (np.eye(3) - 1 / 3), atol=1e-12)


def test_too_few_dimensions_are_refused():
    with pytest.raises(InputError, match="d >= K - 1 = 3"):
        simplex_encoded_labels(4, 2)


def with_a_price(counts, price):
    """The least |Z D^(1/2)|_* + price sum n_k (missing margins), by CVXPY."""
    K = len(counts)
    Z = cvxpy.Variable((K, K))
    missing = [
        n * cvxpy.pos(1 - Z[k, k] + Z[j, k])
        for k, n in enumerate(counts)
        for j in range(K)
        if j != k
    ]
    cost = cvxpy.normNuc(Z @ np.diag(np.sqrt(counts))) + price * sum(missing)
    return cvxpy.Problem(cvxpy.Minimize(cost)).solve(solver="CLARABEL")


def test_the_objective_by_hand():
    model = seli(counts=(2, 1, 3), d=4, price=0.7)
    W, H = (np.asarray(x) for x in model.random_point(jax.random.key(0))[:2])
    assert (W.shape, H.shape) == ((3, 4), (4, 6))
    missing = [
        max(0.0, 1 - (W[k] - W[j]) @ h)
        for h, k in zip(H.T, (0, 0, 1, 2, 2, 2), strict=True)
        for j in range(3)
        if j != k
    ]
    by_hand = (np.sum(W**2) + np.sum(H**2)) / 2 + 0.7 * sum(missing)
    assert float(model.objective(Point(W, H))) == pytest.approx(by_hand, abs=1e-12)


@pytest.mark.parametrize("counts", [(3, 2, 1), (4, 1)])
def test_from_the_price_on_no_margin_is_missed(counts):
    needed, value = seli(counts=counts).price_needed, simplex_encoded_labels(counts=counts)[1]
    assert needed < 1
    assert with_a_price(counts, 1.01 * needed) == pytest.approx(value, abs=1e-6)
    below = with_a_price(counts, 0.97 * needed)
    assert below < value - 1e-5
    cheap = seli(counts=counts, price=0.97 * needed)
    assert cheap.minimiser() is None
    start = cheap.random_point(jax.random.key(0))
    assert cheap.certificate(start).bound == pytest.approx(0.97 * value, abs=1e-12)
    assert cheap.certificate(start).bound < below


def test_random_starts_end_there_and_it_is_a_minimum():
    model = seli(counts=(3, 1, 2), d=4)
    run = solve(model, key=jax.random.key(2), method="piecewise")
    value = simplex_encoded_labels(counts=(3, 1, 2))[1]
    assert run.objective == pytest.approx(value, abs=1e-12)
    told = verdict(model, run.point)
    assert told.curvature is Curvature.MORSE_BOTT_MINIMUM
    assert told.globality is Globality.GLOBAL
    assert told.count.nullity == 5  # rank 2: r (r - 1) / 2 + r (d - r)
    assert model.measures(run.point)["least_margin"] == pytest.approx(1, abs=1e-12)
    rng, (W, H) = np.random.default_rng(1), run.point[:2]
    for size in (1e-4, 1e-2, 0.3):
        for _ in range(40):
            moved = Point(W + size * rng.normal(size=W.shape), H + size * rng.normal(size=H.shape))
            assert float(model.objective(moved)) > value


def test_the_closed_form_is_judged_as_what_it_is():
    model = seli(counts=(2, 1), d=3)
    best = model.minimiser()
    told = verdict(model, best.point)
    assert (told.curvature.name, told.globality.name) == ("MORSE_BOTT_MINIMUM", "GLOBAL")
    assert told.objective == pytest.approx(best.value, abs=1e-14)
    assert seli(num_classes=4, d=2).minimiser() is None


@pytest.mark.parametrize(
    ("changes", "says"), [({"price": 0.0}, "price > 0"), ({"d": 0}, "d >= 1"), ({"n": 0}, "n >= 1")]
)
def test_bad_numbers_are_refused(changes, says):
    with pytest.raises(InputError, match=says):
        seli(**changes)
