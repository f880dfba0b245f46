"""Adjusted cross entropy against NumPy and descent: fixtures of the theory, to the digits given."""

import jax
import numpy as np
import pytest
from scipy.optimize import minimize

from tests.helpers import Problem
from ufm import (
    UFM,
    AdjustedCrossEntropy,
    CrossEntropy,
    InputError,
    UserLoss,
    class_weighted,
    ldam,
    logit_adjusted,
    vector_scaling,
)
from ufm.plain.minimisers import thresholds

COUNTS = (9, 4, 2)
NUMBERS = {
    "weights": np.array([0.5, 1.0, 2.5]),
    "scales": np.array([1.0, 0.7, 1.4]),
    "offsets": np.array([0.2, -0.4, 1.1]),
    "margins": np.array([0.3, 0.0, -0.6]),
}


def naive_adjusted(weights=None, scales=None, offsets=None, margins=None):
    """Value, gradient and Hessian by hand."""

    def at(z, k):
        own, one, zero = np.eye(len(z))[k], np.ones(len(z)), np.zeros(len(z))
        w, s = one if weights is None else weights, one if scales is None else scales
        o, m = zero if offsets is None else offsets, zero if margins is None else margins
        x = np.asarray(s) * z + np.asarray(o) - own * np.asarray(m)
        p = np.exp(x - x.max())
        p /= p.sum()
        hessian = np.outer(s, s) * (np.diag(p) - np.outer(p, p))
        return w[k] * -float(np.log(p[k])), w[k] * np.asarray(s) * (p - own), w[k] * hessian

    return at


@pytest.mark.parametrize("left_out", NUMBERS)
def test_value_gradient_and_hessian_are_the_formula(left_out):
    rng = np.random.default_rng(2)
    loss, naive = AdjustedCrossEntropy(3, **NUMBERS), naive_adjusted(**NUMBERS)
    fewer = naive_adjusted(**{name: x for name, x in NUMBERS.items() if name != left_out})
    first, second = jax.jit(jax.value_and_grad(loss)), jax.jit(jax.hessian(loss))
    for k in range(3):
        z = 2 * rng.normal(size=3)
        value, slope = first(z, k)
        expected = naive(z, k)
        assert value == pytest.approx(expected[0], abs=1e-14)
        np.testing.assert_allclose(slope, expected[1], atol=1e-14)
        np.testing.assert_allclose(second(z, k), expected[2], atol=1e-14)
        if left_out != "margins" or k != 1:
            assert abs(fewer(z, k)[0] - expected[0]) > 1e-3 or left_out == "weights"
    assert left_out != "weights" or abs(fewer(z, 2)[0] - expected[0]) > 1e-3


CASES = {
    "one": {},
    "weights": {"weights": NUMBERS["weights"]},
    "scales": {"scales": NUMBERS["scales"]},
    "offsets": {"offsets": NUMBERS["offsets"]},
    "margins": {"margins": NUMBERS["margins"]},
    "constant": {"weights": 2.0, "scales": 0.5, "offsets": 1.0, "margins": 0.7},
}


@pytest.mark.parametrize("name", CASES)
def test_claimed_properties_are_the_probed_ones(name):
    loss = AdjustedCrossEntropy(3, **CASES[name])
    claimed, probed = loss.properties(3), UserLoss(loss, "wrapped").properties(3)
    for word in (
        "convex",
        "shift_invariant",
        "equivariant",
        "equalising",
        "contrastive",
        "isometric",
        "nonnegative",
        "smooth",
    ):
        assert bool(getattr(claimed, word)) == bool(getattr(probed, word)), word
        assert getattr(claimed, word).evidence == "proved"


def test_two_classes_have_one_other_logit():
    loss = AdjustedCrossEntropy(2, offsets=[0.0, 1.0])
    assert loss.properties(2).equalising
    assert loss.properties(2).contrastive
    assert not loss.properties(2).equivariant
    assert UserLoss(loss).properties(2).equalising


def test_the_conjugate_is_tight_at_gradients_and_the_supremum():
    dual, naive = AdjustedCrossEntropy(3, **NUMBERS).dual, naive_adjusted(**NUMBERS)
    Z = np.random.default_rng(3).normal(size=(3, 3))
    parts = [naive(Z[:, k], k) for k in range(3)]
    V, losses = np.stack([p[1] for p in parts], axis=1), np.array([p[0] for p in parts])
    np.testing.assert_allclose(dual.conjugate(V), np.sum(V * Z, axis=0) - losses, atol=1e-13)
    inside = 0.7 * V
    for k in range(3):

        def negative(z, k=k):
            value, gradient, _ = naive(z, k)
            return value - inside[:, k] @ z, gradient - inside[:, k]

        best = -minimize(negative, np.zeros(3), jac=True, method="BFGS", options={"gtol": 1e-9}).fun
        assert dual.conjugate(inside)[k] == pytest.approx(best, abs=1e-9)
    proportions = np.array(COUNTS) / 15
    moved = dual.recentre(V, proportions)
    assert np.abs(moved @ proportions).max() < 1e-15 < 1e-2 < np.abs(V @ proportions).max()
    assert np.isfinite(dual.conjugate(moved)).all()
    units = np.outer(NUMBERS["scales"], NUMBERS["weights"])
    q = moved / units + np.eye(3)
    assert q.min() > -1e-15
    np.testing.assert_allclose(q.sum(axis=0), 1, atol=1e-14)


@pytest.mark.parametrize("lambda_b", [None, 0.0, 0.07])
@pytest.mark.parametrize("name", [*NUMBERS, "all"])
def test_the_certificate_is_tight_at_the_minimum_that_brute_force_finds(name, lambda_b):
    numbers = NUMBERS if name == "all" else {name: NUMBERS[name]}
    model = UFM(
        AdjustedCrossEntropy(3, **numbers),
        counts=COUNTS,
        d=4,
        lambda_W=0.03,
        lambda_H=0.02,
        lambda_b=lambda_b,
    )
    brute = Problem.of(naive_adjusted(**numbers), COUNTS, 4, 0.03, 0.02, lambda_b, merged=True)
    value, best = brute.descend(1, seed=1)
    found = model.certificate(best)
    assert found.applies
    assert found.evidence == "proved"
    assert -1e-14 < found.gap < 1e-7
    assert value == pytest.approx(float(model.merge().model.objective(best)), abs=1e-13)


# ---- fixtures


def found_by_descent(loss, numbers, counts, lambda_W, lambda_H, lambda_b=None, d=None):
    """The minimum over class means by brute force, which the lab's model evaluates, too."""
    d, naive = d or len(counts), naive_adjusted(**numbers)
    brute = Problem.of(naive, counts, d, lambda_W, lambda_H, lambda_b, merged=True)
    value, best = brute.descend(1, seed=1)
    model = UFM(loss, counts=counts, d=d, lambda_W=lambda_W, lambda_H=lambda_H, lambda_b=lambda_b)
    assert float(model.merge().model.objective(best)) == pytest.approx(value, abs=1e-13)
    return best, value


def cosines(W):
    unit = W / np.linalg.norm(W, axis=1)[:, None]
    return (unit @ unit.T)[[0, 0, 1], [1, 2, 2]]


def test_weights_alone_do_not_restore_the_simplex():
    weights = 15 / (3 * np.array(COUNTS))
    best, _ = found_by_descent(class_weighted(1.0), {"weights": weights}, COUNTS, 0.01, 0.01)
    np.testing.assert_allclose(cosines(best.W), [-0.607, -0.517, -0.366], atol=6e-4)
    plain, _ = found_by_descent(CrossEntropy(), {}, COUNTS, 0.01, 0.01)
    np.testing.assert_allclose(cosines(plain.W), [-0.672, -0.558, -0.240], atol=6e-4)


def test_weights_and_a_feature_decay_of_1_over_n_restore_it():
    """In class means sqrt(n_k) h_k this decay is lambda_H |h_k|^2: the problem with n = 1."""
    model = UFM(class_weighted(1.0), 3, 3, lambda_W=0.01, lambda_H=0.01)
    assert model.minimiser().value == pytest.approx(0.1119020569, abs=5e-11)
    np.testing.assert_allclose(cosines(model.minimiser().point.W), -0.5, atol=1e-14)


@pytest.mark.parametrize("tau", [1.0, 2.0])
def test_logit_adjustment_moves_a_free_bias_alone(tau):
    counts = (9, 9, 2, 2, 2)
    shift = tau * np.log(np.array(counts) / 24)
    best, value = found_by_descent(
        logit_adjusted(tau), {"offsets": shift}, counts, 0.03, 0.02, 0.0, d=6
    )
    plain, other = found_by_descent(CrossEntropy(), {}, counts, 0.03, 0.02, 0.0, d=6)
    assert value == pytest.approx(other, abs=1e-13)
    np.testing.assert_allclose(best.W @ best.H, plain.W @ plain.H, atol=1e-6)
    moved = best.b + shift - plain.b
    np.testing.assert_allclose(moved - moved.mean(), 0, atol=1e-6)
    assert np.ptp(best.b - plain.b) > 1


LAW = {
    "ce": (CrossEntropy(), {}, 1.0),
    "la": (logit_adjusted(1.0), {"offsets": np.log(np.array([9, 9, 2, 2, 2]) / 24)}, 1.0),
    "scales": (
        AdjustedCrossEntropy(5, scales=[1, 1, 0.6, 0.6, 0.6]),
        {"scales": np.array([1, 1, 0.6, 0.6, 0.6])},
        0.6,
    ),
    "weights": (
        AdjustedCrossEntropy(5, weights=[1, 1, 1.5, 1.5, 1.5]),
        {"weights": np.array([1, 1, 1.5, 1.5, 1.5])},
        1.5,
    ),
}


@pytest.mark.parametrize("name", LAW)
@pytest.mark.parametrize("share", [0.985, 1.015])
def test_minority_classifiers_coincide_from_the_threshold_on(name, share):
    loss, numbers, factor = LAW[name]
    sigma = share * factor * np.sqrt(2) / 24
    best, _ = found_by_descent(loss, numbers, (9, 9, 2, 2, 2), 1.3 * sigma, sigma / 1.3, d=6)
    apart = np.abs(best.W[2] - best.W[3]).max()
    assert (apart > 0.1) if share < 1 else (apart < 1e-5)
    assert np.linalg.norm(best.W[2]) > 0.3  # they coincide, but do not vanish


def test_margins_put_the_collapse_off():
    margins, sigma = np.array([0.3, 0.3, 0.7, 0.7, 0.7]), 1.015 * np.sqrt(2) / 24
    loss, numbers = AdjustedCrossEntropy(5, margins=margins), {"margins": margins}
    best, _ = found_by_descent(loss, numbers, (9, 9, 2, 2, 2), 1.3 * sigma, sigma / 1.3, d=6)
    assert np.abs(best.W[2] - best.W[3]).max() > 0.1


def test_ldam_in_closed_form():
    model = UFM(ldam(0.7), 4, 5, lambda_W=0.3 / 4, lambda_H=0.3 / 4)
    known = model.minimiser()
    assert known.value == pytest.approx(0.9378516057, abs=5e-11)
    assert known.code.a == pytest.approx(0.7 + np.log(4 / 0.3 - 3), abs=1e-12)
    assert thresholds(model).collapse == pytest.approx(1.1439732346, abs=5e-11)
    assert known.evidence == "proved"
    numbers = {"margins": np.full(4, 0.7)}
    _, value = found_by_descent(ldam(0.7), numbers, (1,) * 4, 0.3 / 4, 0.3 / 4, d=5)
    assert value == pytest.approx(known.value, abs=1e-10)


# ---- constructors


def test_numbers_come_from_the_class_sizes():
    counts = np.array(COUNTS)
    keys = ("weights", "scales", "offsets", "margins")
    one, zero = np.ones(3), np.zeros(3)
    for made, expected in (
        (logit_adjusted(1.5), (one, one, 1.5 * np.log(counts / 15), zero)),
        (class_weighted(0.5), ((5 / counts) ** 0.5, one, zero, zero)),
        (vector_scaling(0.3, 0.7), (one, (counts / 9) ** 0.3, 0.7 * np.log(counts / 15), zero)),
        (ldam(0.4), (one, one, zero, 0.4 * (2 / counts) ** 0.25)),
    ):
        model = UFM(made, counts=COUNTS, d=2, lambda_W=0.1, lambda_H=0.1)
        for key, numbers in zip(keys, expected, strict=True):
            np.testing.assert_allclose(getattr(model.loss, key), numbers, rtol=1e-15)
        assert model.loss.name == made.name
        assert not model.loss.properties(3).equivariant


@pytest.mark.parametrize(
    ("make", "says"),
    [
        (lambda: AdjustedCrossEntropy(3, weights=[1.0, 2.0]), "one of the weights per class"),
        (lambda: AdjustedCrossEntropy(2, scales=[1.0, 0.0]), "every one of the scales > 0"),
        (lambda: AdjustedCrossEntropy(2, weights=[1.0, -1.0]), "every one of the weights > 0"),
        (lambda: AdjustedCrossEntropy(2, offsets=[1.0, np.nan]), "Need finite offsets"),
        (lambda: logit_adjusted(1.0)(np.zeros(3), 0), "come from class sizes. Got none"),
        (lambda: ldam(1.0).properties(3), "come from class sizes. Got none"),
        (lambda: logit_adjusted(np.inf), "finite tau"),
        (lambda: ldam(np.nan), "finite margin"),
    ],
)
def test_bad_numbers_are_refused_in_one_line(make, says):
    with pytest.raises(InputError) as caught:
        make()
    assert says in str(caught.value)
    assert "\n" not in str(caught.value)
