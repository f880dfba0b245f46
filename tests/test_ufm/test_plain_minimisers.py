"""Closed-form minimisers: the general solver against the explicit formulas of each loss."""

import jax.numpy as jnp
import numpy as np
import pytest

from tests.helpers import FAMILY, Problem, slow
from ufm import (
    MSE,
    UFM,
    CrossEntropy,
    Focal,
    LabelSmoothing,
    RescaledMSE,
    UserLoss,
    lift,
    orthogonal_frame,
    simplex_etf,
)
from ufm.plain.minimisers import symmetric_code, thresholds
from ufm.plain.quadratic_form import quadratic_target

LW, LH = 8e-3, 5e-3
SIZES = {"lambda_W": LW, "lambda_H": LH}
K, D, N_PER_CLASS = 3, 5, 4
TIGHT = 1e-13  # logits of size ten, through one scalar root and a handful of roundings


def gram(point):
    return np.asarray(point.W) @ np.asarray(point.W).T


def naive_gradient(name, model, point):
    """The gradient of the full problem at the lifted point, by the loop over samples."""
    brute = Problem.of(
        FAMILY[name][1], model.counts_tuple, model.d, model.lambda_W, model.lambda_H, model.lambda_b
    )
    value, gradient = brute.value_and_gradient(brute.pack(lift(model, point)))
    return value, float(np.linalg.norm(gradient))


@pytest.mark.parametrize(("num_classes", "d", "n"), [(2, 1, 3), (K, D, N_PER_CLASS), (10, 12, 1)])
@pytest.mark.parametrize("delta", [0.0, 0.05, 0.2])
def test_cross_entropy_and_label_smoothing(num_classes, d, n, delta):
    """CE-1, LS-1."""
    model = UFM(LabelSmoothing(delta), num_classes, d, n, **SIZES)
    c, k = model.c, num_classes
    found = model.minimiser()
    a = np.log(k / (c + delta) - k + 1)
    assert found.code.a == pytest.approx(a, abs=TIGHT)
    assert (found.code.s, found.code.beta, found.rank, found.evidence) == (0, 0, k - 1, "proved")
    f = np.log(np.exp(a) + k - 1) - a * ((1 - delta) + delta / k) + (k - 1) / k * c * a
    assert found.value == pytest.approx(f, abs=TIGHT)
    P = np.eye(k) - 1 / k
    np.testing.assert_allclose(gram(found.point), a * np.sqrt(n * LH / LW) * P, atol=TIGHT)
    full = lift(model, found.point)
    np.testing.assert_allclose(full.W @ full.H, a * np.repeat(P, n, axis=1), atol=TIGHT)
    np.testing.assert_allclose(full.H[:, ::n], np.sqrt(LW / (LH * n)) * full.W.T, atol=TIGHT)
    # The pitfall of CE-1: without the n in c the scale is another one.
    if n > 1:
        other = np.log(k / (k * model.sigma + delta) - k + 1)
        assert abs(found.code.a - other) > 1e-2


def test_cross_entropy_is_label_smoothing_without_smoothing():
    sharp = UFM(CrossEntropy(), K, D, N_PER_CLASS, **SIZES).minimiser()
    smooth = UFM(LabelSmoothing(0.0), K, D, N_PER_CLASS, **SIZES).minimiser()
    assert sharp.value == pytest.approx(smooth.value, abs=TIGHT)
    assert sharp.value < UFM(LabelSmoothing(0.05), K, D, **SIZES).minimiser().value - 0.01


@pytest.mark.parametrize("gamma", [0.0, 2.0, 5.0])
def test_focal_scale_equation(gamma):
    """FL-1: (1-u)^g [(1-u) - g u log u] = c (K-1)/K."""
    model = UFM(Focal(gamma), K, D, N_PER_CLASS, **SIZES)
    found = model.minimiser()
    u = 1 / (1 + (K - 1) * np.exp(-found.code.a))

    def excess(u):
        return (1 - u) ** gamma * ((1 - u) - gamma * u * np.log(u)) - model.c * (K - 1) / K

    assert abs(excess(u)) < 1e-15
    assert abs(excess(u + 1e-4)) > 1e-6
    value = -((1 - u) ** gamma) * np.log(u) + (K - 1) / K * model.c * found.code.a
    assert found.value == pytest.approx(value, abs=TIGHT)
    assert found.evidence == "proved"


@pytest.mark.parametrize("d", [1, 2, K, D])
def test_squared_error_without_bias(d):
    """MSE-1: an orthogonal frame from d = K on, any projector of rank d below."""
    model = UFM(MSE(), K, d, N_PER_CLASS, **SIZES)
    found, r, c = model.minimiser(), min(d, K), model.c
    assert found.value == pytest.approx(0.5 - r / (2 * K) * (1 - c) ** 2, abs=TIGHT)
    assert found.rank == r
    Z = found.point.W @ found.point.H / np.sqrt(N_PER_CLASS) / (1 - c)
    np.testing.assert_allclose(Z @ Z, Z, atol=TIGHT)
    np.testing.assert_allclose(Z, Z.T, atol=TIGHT)
    assert np.trace(Z) == pytest.approx(r, abs=TIGHT)
    value, slope = naive_gradient("mse", model, found.point)
    assert value == pytest.approx(found.value, abs=TIGHT)
    assert slope < 1e-14
    if d >= K:
        frame = orthogonal_frame(K)
        assert found.value == pytest.approx(c - c**2 / 2, abs=TIGHT)
        scale = (1 - c) * np.sqrt(N_PER_CLASS * LH / LW)
        np.testing.assert_allclose(gram(found.point), scale * frame @ frame.T, atol=TIGHT)
        simplex = simplex_etf(K)
        assert np.abs(gram(found.point) - scale * simplex @ simplex.T).max() > 0.1


@pytest.mark.parametrize("lambda_b", [0.0, 0.01, 0.9, 40.0])
def test_squared_error_with_bias(lambda_b):
    """MSE-2: a simplex while lb <= c / (1 - c), then an orthogonal frame grows."""
    model = UFM(MSE(), K, D, N_PER_CLASS, **SIZES, lambda_b=lambda_b)
    found, c = model.minimiser(), model.c
    P, J = np.eye(K) - 1 / K, np.full((K, K), 1 / K)
    assert 0.01 < c / (1 - c) < 0.9
    s = max(0.0, 1 - c - c / lambda_b) if lambda_b else 0.0
    bias = c / (lambda_b * K) if s else 1 / (K * (1 + lambda_b))
    Z = found.point.W @ found.point.H / np.sqrt(N_PER_CLASS)
    np.testing.assert_allclose(Z, (1 - c) * P + s * J, atol=TIGHT)
    np.testing.assert_allclose(found.point.b, bias, atol=TIGHT)
    assert found.rank == (K if s else K - 1)
    assert (found.code.s > 0) == (lambda_b > 0.5)
    value, slope = naive_gradient("mse", model, found.point)
    assert value == pytest.approx(found.value, abs=TIGHT)
    assert slope < 1e-14


def test_a_frame_of_full_rank_needs_d_equal_to_K():
    """MSE-2 at d = K - 1: the simplex exists, the growing frame does not."""
    assert UFM(MSE(), K, K - 1, **SIZES, lambda_b=0.01).minimiser().rank == K - 1
    assert UFM(MSE(), K, K - 1, **SIZES, lambda_b=40.0).minimiser() is None
    assert UFM(MSE(), K, K, **SIZES, lambda_b=40.0).minimiser().rank == K


@pytest.mark.parametrize(("kappa", "M"), [(1.0, 1.0), (3.0, 2.0), (0.5, 1.5)])
def test_rescaled_squared_error(kappa, M):
    """MSE-4, bias-free and with an unregularised bias."""
    free = UFM(RescaledMSE(kappa, M), K, D, N_PER_CLASS, **SIZES)
    Z = free.minimiser().point.W @ free.minimiser().point.H / np.sqrt(N_PER_CLASS)
    np.testing.assert_allclose(Z, (M - free.c / kappa) * np.eye(K), atol=TIGHT)
    model = UFM(RescaledMSE(kappa, M), K, D, N_PER_CLASS, **SIZES, lambda_b=0.0)
    found, c = model.minimiser(), model.c
    a = M - c / K * (1 + (K - 1) / kappa)
    assert found.code.a == pytest.approx(a, abs=TIGHT)
    np.testing.assert_allclose(found.point.b, (a + c) / K, atol=TIGHT)
    assert found.rank == K - 1


@pytest.mark.parametrize("d", [D, 2])
def test_imbalanced_squared_error(d):
    """X-6: a general orthogonal frame; the d largest classes survive, small ones are dropped."""
    counts, sigma = (2, 9, 1, 4), 0.14
    model = UFM(MSE(), counts=counts, d=d, lambda_W=0.28, lambda_H=sigma**2 / 0.28)
    n, N = np.array(counts), sum(counts)
    s = np.maximum(np.sqrt(n) - N * sigma, 0)
    assert (s == 0).tolist() == [True, False, True, True]  # N sigma = 2.24
    counts, sigma = (2, 9, 1, 4), 0.07
    lw, lh = 0.28, sigma**2 / 0.28
    model = UFM(MSE(), counts=counts, d=d, lambda_W=lw, lambda_H=lh)
    s = np.maximum(np.sqrt(n) - N * sigma, 0)  # N sigma = 1.12: one class is dropped
    s[np.argsort(-n)[d:]] = 0
    found = model.minimiser()
    assert found.rank == np.sum(s > 0) == min(d, 3)
    np.testing.assert_allclose(gram(found.point), np.diag(s * np.sqrt(lh / lw)), atol=TIGHT)
    H = lift(model, found.point).H[:, np.cumsum((0, *counts[:-1]))]
    np.testing.assert_allclose(H.T @ H, np.diag(s * np.sqrt(lw / lh) / n), atol=TIGHT)
    np.testing.assert_allclose(found.point.W @ H, np.diag(s / np.sqrt(n)), atol=TIGHT)
    assert found.value == pytest.approx(0.5 - np.sum(s**2) / (2 * N), abs=TIGHT)
    value, slope = naive_gradient("mse", model, found.point)
    assert value == pytest.approx(found.value, abs=TIGHT)
    assert slope < 1e-14
    assert found.code is None


@pytest.mark.parametrize("d", [D, 1])
def test_imbalanced_squared_error_with_an_unregularised_bias(d):
    """MSE-3: singular values of diag(sqrt n)(I - s s^T / N)."""
    counts = (3, 2, 1)
    model = UFM(MSE(), counts=counts, d=d, **SIZES, lambda_b=0.0)
    found = model.minimiser()
    root = np.sqrt(counts)
    t = np.linalg.svd(np.diag(root) @ (np.eye(3) - np.outer(root, root) / 6))[1]
    kept = np.maximum(t - 6 * model.sigma, 0)[:d]
    assert found.value == pytest.approx((np.sum(t**2) - np.sum(kept**2)) / 12, abs=TIGHT)
    value, slope = naive_gradient("mse", model, found.point)
    assert value == pytest.approx(found.value, abs=TIGHT)
    assert slope < 1e-14
    assert abs(found.value - UFM(MSE(), counts=counts, d=d, **SIZES).minimiser().value) > 1e-3


@pytest.mark.parametrize("lambda_b", [None, 0.0, 0.03])
@pytest.mark.parametrize("name", FAMILY)
def test_the_gradient_vanishes_at_every_minimiser(name, lambda_b):
    model = UFM(FAMILY[name][0], K, D, N_PER_CLASS, **SIZES, lambda_b=lambda_b)
    found = model.minimiser()
    value, slope = naive_gradient(name, model, found.point)
    assert slope < 1e-14
    assert value == pytest.approx(found.value, abs=TIGHT)
    bent = found.point._replace(W=1.001 * found.point.W)
    assert naive_gradient(name, model, bent)[1] > 1e-6


def test_the_best_symmetric_code_does_not_depend_on_d():
    codes = [symmetric_code(UFM(CrossEntropy(), 6, d, **SIZES)) for d in (1, 9)]
    assert codes[0] == codes[1]
    assert UFM(CrossEntropy(), 6, 4, **SIZES).minimiser() is None
    assert UFM(CrossEntropy(), 6, 5, **SIZES).minimiser().rank == 5


def test_a_quadratic_is_recognised_by_its_curvature():
    assert quadratic_target(MSE(), K) == pytest.approx((1, 0), abs=1e-15)
    assert quadratic_target(RescaledMSE(1.0, 2.5), K) == pytest.approx((2.5, 0), abs=1e-15)
    assert quadratic_target(RescaledMSE(1.5, 1.0), K) is None
    assert quadratic_target(CrossEntropy(), 2) is None


def test_where_nothing_is_known_the_answer_is_none():
    imbalanced = {"counts": (5, 2, 1), "d": D, **SIZES}
    assert UFM(CrossEntropy(), **imbalanced).minimiser() is None
    assert UFM(RescaledMSE(3.0, 2.0), **imbalanced).minimiser() is None
    assert UFM(MSE(), **imbalanced, lambda_b=0.1).minimiser() is None
    assert UFM(MSE(), **imbalanced).minimiser() is not None
    assert UFM(CrossEntropy(), counts=(4, 4, 4), d=D, **SIZES).minimiser() is not None


def test_what_is_not_covered_by_a_proof_is_not_called_proved():
    """GL-1: focal loss without a proof is the one with a bias and c >= K / (K - 1)."""
    sizes = {"d": 51, "lambda_W": 0.021, "lambda_H": 0.021}  # c = 1.05 > 50 / 49
    biased = UFM(Focal(2.0), 50, **sizes, lambda_b=0.1)
    assert biased.minimiser().evidence == "best symmetric solution only"
    assert UFM(Focal(2.0), 50, **sizes).minimiser().evidence == "proved"
    sizes = {"d": 51, "lambda_W": 0.02, "lambda_H": 0.02}  # c = 1
    assert UFM(Focal(2.0), 50, **sizes, lambda_b=0.1).minimiser().evidence == "proved"
    assert UFM(CrossEntropy(), 50, **sizes).minimiser().evidence == "proved"
    assert UFM(Focal(2.0), K, D, **SIZES).minimiser().evidence == "proved"
    wrapped = UserLoss(FAMILY["hot"][0].function)
    assert UFM(wrapped, K, D, **SIZES).minimiser().evidence == "probed"


def test_thresholds_are_functions_of_the_loss():
    def at(loss, lambda_b=None):
        return thresholds(UFM(loss, K, D, N_PER_CLASS, **SIZES, lambda_b=lambda_b))

    assert at(CrossEntropy()).collapse == pytest.approx(1, abs=TIGHT)
    assert at(LabelSmoothing(0.2)).collapse == pytest.approx(0.8, abs=TIGHT)
    assert at(LabelSmoothing(0.2), 0.1).collapse == pytest.approx(0.8, abs=TIGHT)
    assert at(MSE()).collapse == pytest.approx(1, abs=TIGHT)
    assert at(MSE(), 0.0).collapse == pytest.approx(1, abs=TIGHT)
    assert at(RescaledMSE(3.0, 2.0)).collapse == pytest.approx(6, abs=TIGHT)
    assert at(RescaledMSE(3.0, 2.0), 0.0).collapse == pytest.approx(18 / 5, abs=TIGHT)
    assert at(FAMILY["hot"][0]).collapse == pytest.approx(2, abs=TIGHT)
    focal = (2 / 3) ** 2 + 2 * (2 / 3) * np.log(3) / 3
    assert at(Focal(2.0)).collapse == pytest.approx(focal, abs=TIGHT)
    assert at(Focal(2.0)).origin == at(Focal(2.0)).collapse


def mirrored(loss):
    """L(-z, k): it prefers every logit but its own, and its minimisers are Z -> -Z."""
    return UserLoss(lambda z, k: loss(-z, k), f"mirrored {loss.name}")


@pytest.mark.parametrize("loss", [CrossEntropy(), slow(Focal(2.0)), slow(RescaledMSE(3.0, 2.0))])
@pytest.mark.parametrize(("num_classes", "decay"), [(3, 0.02), slow(4, 0.4), slow(20, 0.047)])
def test_minimisers_with_a_negative_gap_are_found(loss, num_classes, decay):
    sizes = {"d": num_classes + 1, "n": 2, "lambda_W": decay, "lambda_H": decay / 2}
    plain, other = UFM(loss, num_classes, **sizes), UFM(mirrored(loss), num_classes, **sizes)
    expected, found = plain.minimiser(), other.minimiser()
    assert found.value == pytest.approx(expected.value, abs=1e-13)
    assert found.code.a == pytest.approx(-expected.code.a, abs=1e-11)
    value = float(other.objective(lift(other, found.point)))
    assert value == pytest.approx(found.value, abs=1e-13)
    for told, known in zip(
        vars(thresholds(other)).values(), vars(thresholds(plain)).values(), strict=True
    ):
        assert told == pytest.approx(known, rel=1e-9)
    assert found.evidence == "probed"


def test_the_value_that_was_missed():
    """log sum exp(-z) + z_k, K = 3, n = 2: the origin is log 3, the minimum that of CE."""
    model = UFM(mirrored(CrossEntropy()), 3, 4, 2, lambda_W=0.02, lambda_H=0.01)
    assert model.minimiser().value == pytest.approx(0.195670034956570, abs=1e-14)
    assert model.minimiser().rank == 2


def test_a_loss_that_falls_for_ever_has_no_closed_form():
    falling = UserLoss(lambda z, k: jnp.mean(z) - z[k], "linear")
    model = UFM(falling, 3, 4, lambda_W=0.02, lambda_H=0.01)
    assert model.loss.properties(3).convex
    assert model.minimiser() is None


def test_a_minimiser_at_a_kink():
    """Hinge: slope -(K - 1) up to a gap of one, so a = 1 for c < K, and only its price is left."""
    hinge = UserLoss(lambda z, k: jnp.sum(jnp.maximum(0.0, 1 + z - z[k])) - 1, "hinge")
    model = UFM(hinge, 3, 4, 2, lambda_W=0.02, lambda_H=0.01)
    found = model.minimiser()
    assert found.code.a == pytest.approx(1, abs=1e-14)
    assert found.value == pytest.approx(model.c * 2 / 3, abs=1e-14)
    assert thresholds(model).collapse == pytest.approx(3, abs=1e-12)
