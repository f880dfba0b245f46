"""Closed-form spectra against the explicit tables of each loss and against dense Hessians."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from tests.helpers import FAMILY, Problem, jax_hessian, relative_error, slow
from ufm import (
    MSE,
    UFM,
    CrossEntropy,
    Focal,
    InputError,
    LabelSmoothing,
    RescaledMSE,
    UserLoss,
    full_spectrum,
    lift,
    minimiser_spectrum,
    origin_spectrum,
)
from ufm.plain.minimisers import Code
from ufm.plain.spectra import classifier_spectrum, symmetric_spectrum

LW, LH = 8e-3, 5e-3
SIZES = {"lambda_W": LW, "lambda_H": LH}
ROUNDING = 1e-13  # blocks of at most 7 x 7, a scalar root, relative to the largest eigenvalue


def pair(g, theta):
    """Roots of x^2 - (lw + lh)(1 + g theta) x + 4 g theta lw lh."""
    trace = (LW + LH) * (1 + g * theta)
    half = np.sqrt(trace**2 - 16 * g * theta * LW * LH)
    return (trace - half) / 2, (trace + half) / 2


def expand(rows):
    assert all(m >= 0 for _, m in rows)
    return np.sort(np.repeat([v for v, _ in rows], [m for _, m in rows]))


def shift_invariant_table(K, d, n, theta, R, bias=None):
    """7.1 and 7.2; ``bias`` is (lambda_b, N g2) with g2 = s2 / N."""
    q = (R - 1) / (K - 1)
    rows = [
        (LH, K * (n - 1) * (d - K + 1)),
        (LH * (1 + theta), K * (n - 1) * (K - 2)),
        (LH * (1 + R * theta), K * (n - 1)),
        (0.0, (K - 1) * (d - K + 1) + (K - 1) * (K - 2) // 2),
        (LW + LH, (K - 1) * (d - K + 1)),
        (LW, d - K + 1),
        (LH, d - K + 1),
        (LW, K - 1),
        ((LW + LH) * (1 + theta), (K - 1) * (K - 2) // 2),
    ]
    rows += [(x, 1) for x in pair(R, theta)]
    rows += [(x, max(0, K * (K - 3) // 2)) for x in pair(1, theta)]
    G11, G12, G22 = 1 + q * (K - 2), q * np.sqrt(K - 2), 1 + q
    block = np.array(
        [
            [1 + G11 * theta, G11 * theta - 1, G12 * theta],
            [G11 * theta - 1, 1 + G11 * theta, G12 * theta],
            [G12 * theta, G12 * theta, 1 + G22 * theta],
        ]
    )
    D = np.sqrt([LW, LH, LH])
    block = block * np.outer(D, D)
    if bias is not None:
        lb, s2 = bias
        edge = [G12 * np.sqrt(LW * theta * s2), G12 * np.sqrt(LH * theta * s2)]
        edge.append(G22 * np.sqrt(LH * theta * s2))
        block = np.block([[block, np.array(edge)[:, None]], [np.array(edge), lb + s2 * G22]])
        rows.append((lb, 1))
    if K == 2:
        block = block[2:, 2:]  # the (K-2, 2) parts are not there: common shifts alone
    rows += [(x, K - 1) for x in np.linalg.eigvalsh(block)]
    return expand(rows)


@pytest.mark.parametrize("lambda_b", [None, 0.0, 0.03])
@pytest.mark.parametrize(("K", "d", "n"), [(2, 3, 2), (3, 2, 4), (3, 5, 1), (4, 6, 3), (5, 4, 2)])
@pytest.mark.parametrize("delta", [0.0, 0.1])
def test_cross_entropy_and_label_smoothing(K, d, n, delta, lambda_b):
    """7.1 and 7.2: theta = alpha (c + delta) / (K c), R = K - (K - 1)(c + delta)."""
    model = UFM(LabelSmoothing(delta), K, d, n, **SIZES, lambda_b=lambda_b)
    u = model.c + delta
    alpha = np.log(K / u - K + 1)
    theta, R = alpha * u / (K * model.c), K - (K - 1) * u
    s2 = u / K  # N g2 = s2, the logit Hessian: a probability p'
    bias = None if lambda_b is None else (lambda_b, s2)
    table = shift_invariant_table(K, d, n, theta, R, bias)
    found = minimiser_spectrum(model).expand()
    assert relative_error(found, table) < ROUNDING
    assert relative_error(found, shift_invariant_table(K, d, n, 1.01 * theta, R, bias)) > 1e-4
    assert relative_error(found, shift_invariant_table(K, d, n, theta, 1.01 * R, bias)) > 1e-4


@pytest.mark.parametrize(("K", "d", "n"), [(3, 5, 4), (4, 3, 1)])
def test_focal_loss(K, d, n):
    """7.0: s1 and s2 from the derivatives of phi(u)."""
    model = UFM(Focal(2.0), K, d, n, **SIZES)
    alpha = model.minimiser().code.a
    u = np.exp(alpha) / (np.exp(alpha) + K - 1)
    z = alpha * (np.eye(K)[0] - 1 / K)
    values = np.sort(np.linalg.eigvalsh(FAMILY["focal"][1](z, 0)[2]))
    along = np.eye(K)[0] - 1 / K
    s1 = along @ FAMILY["focal"][1](z, 0)[2] @ along / (along @ along)
    s2 = (values.sum() - s1) / (K - 2)
    slope = 2 * (1 - u) * np.log(u) - (1 - u) ** 2 / u
    assert s2 == pytest.approx(-slope * u * (1 - u) / (K - 1), rel=1e-12)
    table = shift_invariant_table(K, d, n, alpha * s2 / model.c, s1 / s2)
    found = minimiser_spectrum(model).expand()
    assert relative_error(found, table) < ROUNDING
    assert relative_error(found, shift_invariant_table(K, d, n, alpha * s2 / model.c, 1.0)) > 1e-2


@pytest.mark.parametrize(("K", "d", "n"), [(3, 5, 4), (4, 4, 2), (2, 2, 3)])
def test_squared_error_without_bias(K, d, n):
    """7.3: theta = (1 - c) / c, R = 1."""
    model = UFM(MSE(), K, d, n, **SIZES)
    theta = (1 - model.c) / model.c

    def table(theta):
        rows = [(LH * (1 + theta), K * K * (n - 1)), (LH, K * (n - 1) * (d - K))]
        rows += [(0.0, K * (d - K)), (LW + LH, K * (d - K))]
        rows += [(0.0, K * (K - 1) // 2), ((LW + LH) * (1 + theta), K * (K - 1) // 2)]
        return expand(rows + [(x, K * (K + 1) // 2) for x in pair(1, theta)])

    found = minimiser_spectrum(model)
    assert relative_error(found.expand(), table(theta)) < ROUNDING
    assert relative_error(found.expand(), table(1.01 * theta)) > 1e-4
    assert found.count_within(1e-12) == K * d - K * (K + 1) // 2


@pytest.mark.parametrize(("K", "d", "n"), [(3, 5, 4), (4, 3, 2), (2, 3, 1)])
def test_squared_error_with_an_unregularised_bias(K, d, n):
    """7.4."""
    model = UFM(MSE(), K, d, n, **SIZES, lambda_b=0.0)
    theta = (1 - model.c) / model.c
    q = d - K + 1
    rows = [(LH * (1 + theta), K * (n - 1) * (K - 1)), (LH, K * (n - 1) * q)]
    rows += [(0.0, (K - 1) * q), (LW + LH, (K - 1) * q), (LW, q), (LH, q)]
    rows += [(LW * (1 + theta), K - 1), (1.0, 1)]
    rows += [(x, (K - 1) * (K - 2) // 2) for x in (0.0, (LW + LH) * (1 + theta))]
    rows += [(x, K * (K - 1) // 2) for x in pair(1, theta)]
    corner = np.sqrt(LH * theta)
    block = [[LH * (1 + theta), corner], [corner, 1.0]]
    rows += [(x, K - 1) for x in np.linalg.eigvalsh(block)]
    found = minimiser_spectrum(model).expand()
    assert relative_error(found, expand(rows)) < ROUNDING
    other = minimiser_spectrum(UFM(MSE(), K, d, n, **SIZES, lambda_b=0.01)).expand()
    assert relative_error(other, expand(rows)) > 1e-3


@pytest.mark.parametrize(("kappa", "M"), [(3.0, 2.0), (0.5, 1.0)])
def test_rescaled_squared_error(kappa, M):
    """7.5: theta = M / c - 1 / kappa."""
    K, d, n = 3, 5, 4
    model = UFM(RescaledMSE(kappa, M), K, d, n, **SIZES)
    theta = M / model.c - 1 / kappa
    rows = [(LH * (1 + theta), K * (n - 1) * (K - 1)), (LH * (1 + kappa * theta), K * (n - 1))]
    rows += [(LH, K * (n - 1) * (d - K)), (0.0, K * (d - K)), (LW + LH, K * (d - K))]
    rows += [(x, K * (K - 1) // 2) for x in (0.0, (LW + LH) * (1 + theta), *pair(1, theta))]
    rows += [(x, K) for x in pair(kappa, theta)]
    found = minimiser_spectrum(model).expand()
    assert relative_error(found, expand(rows)) < ROUNDING
    other = minimiser_spectrum(UFM(RescaledMSE(kappa, M + 0.1), K, d, n, **SIZES)).expand()
    assert relative_error(other, expand(rows)) > 1e-3


DENSE = [
    ("ce", 3, 5, 4, None),
    ("ce", 3, 5, 4, 0.0),
    ("ls", 4, 3, 2, 0.03),
    ("focal", 3, 5, 4, 0.03),
    ("focal", 2, 4, 3, None),
    ("mse", 3, 5, 4, 0.03),
    ("mse", 3, 5, 4, 40.0),
    ("mse", 2, 1, 3, 0.0),
    ("rescaled", 3, 5, 4, 0.5),
    ("rescaled", 4, 6, 2, 4.0),
    ("hot", 5, 4, 2, None),
]


@pytest.mark.parametrize(("name", "K", "d", "n", "lambda_b"), DENSE)
def test_the_minimiser_against_a_dense_hessian(name, K, d, n, lambda_b):
    loss, naive = FAMILY[name]
    model = UFM(loss, K, d, n, **SIZES, lambda_b=lambda_b)
    brute = Problem.of(naive, (n,) * K, d, LW, LH, lambda_b)
    dense = brute.spectrum(lift(model, model.minimiser().point))
    found = minimiser_spectrum(model)
    assert found.size == brute.size
    # The dense solver's own rounding: P epsilon of the largest eigenvalue.
    assert relative_error(found.expand(), dense) < ROUNDING
    swapped = UFM(loss, K, d, n, lambda_W=LH, lambda_H=LW, lambda_b=lambda_b)
    assert relative_error(minimiser_spectrum(swapped).expand(), dense) > 1e-4


def sunken_cross_entropy(z, k):
    """Convex, and lowest where the mean of the logits is negative."""
    return CrossEntropy()(z, k) + 0.05 * jnp.sum(z**2) + 0.3 * jnp.sum(z) + 5.0


def test_a_negative_mean_direction():
    """s < 0: the all-ones part of W H has the opposite sign in W and H."""

    def naive(z, k):
        value, slope, curvature = FAMILY["ce"][1](z, k)
        value += 0.05 * np.sum(z**2) + 0.3 * np.sum(z) + 5
        return value, slope + 0.1 * z + 0.3, curvature + 0.1 * np.eye(len(z))

    model = UFM(sunken_cross_entropy, 3, 5, 2, **SIZES, lambda_b=0.03)
    found = model.minimiser()
    assert found.code.s < -0.1
    assert found.rank == 3
    brute = Problem.of(naive, (2, 2, 2), 5, LW, LH, 0.03)
    full = lift(model, found.point)
    value, gradient = brute.value_and_gradient(brute.pack(full))
    assert value == pytest.approx(found.value, abs=1e-13)
    assert np.abs(gradient).max() < 1e-14
    assert brute.descend(starts=2)[0] == pytest.approx(found.value, abs=1e-11)
    assert relative_error(minimiser_spectrum(model).expand(), brute.spectrum(full)) < ROUNDING


@pytest.mark.parametrize("name", ["ce", "focal", "rescaled"])
def test_the_minimiser_against_automatic_differentiation(name):
    model = UFM(FAMILY[name][0], 3, 5, 2, **SIZES, lambda_b=0.03)
    dense = np.linalg.eigvalsh(jax_hessian(model, lift(model, model.minimiser().point)))
    assert relative_error(minimiser_spectrum(model).expand(), dense) < ROUNDING


ORIGIN = [
    (CrossEntropy(), lambda K: 1.0, 1),
    (LabelSmoothing(0.2), lambda K: 0.8, 1),
    (MSE(), lambda K: 1.0, 0),
    (Focal(2.0), lambda K: (1 - 1 / K) ** 2 + 2 * (1 - 1 / K) * np.log(K) / K, 1),
]


@pytest.mark.parametrize(("loss", "strength", "lost"), ORIGIN, ids=lambda x: getattr(x, "name", ""))
@pytest.mark.parametrize("decay", [0.01, 0.4])
def test_the_origin(loss, strength, lost, decay):
    """CE-5: saddle of index r0 d below the threshold, local minimum above it."""
    K, d, n = 3, 5, 4
    lw, lh = 2 * decay, decay / 2
    model = UFM(loss, K, d, n, lambda_W=lw, lambda_H=lh)
    s, r0 = strength(K) / (K * np.sqrt(n)), K - lost
    half = np.sqrt(((lw - lh) / 2) ** 2 + s**2)
    rows = [((lw + lh) / 2 + half, r0 * d), ((lw + lh) / 2 - half, r0 * d)]
    rows += [(lw, (K - r0) * d), (lh, (K * n - r0) * d)]
    found = origin_spectrum(model)
    assert relative_error(found.expand(), expand(rows)) < ROUNDING
    assert found.count_below(0.0) == (r0 * d if decay == 0.01 else 0)
    assert (lw * lh < s**2) == (decay == 0.01)


@pytest.mark.parametrize("lambda_b", [0.0, 0.03])
@pytest.mark.parametrize("name", ["ce", "rescaled"])
def test_the_origin_with_its_best_bias(name, lambda_b):
    loss, naive = FAMILY[name]
    model = UFM(loss, 3, 5, 2, **SIZES, lambda_b=lambda_b)
    brute = Problem.of(naive, (2, 2, 2), 5, LW, LH, lambda_b)
    beta = 0.0 if name == "ce" else 6 / (5 + 3 * lambda_b)  # kappa M / (kappa + K - 1 + K lb)
    origin = model.origin()._replace(b=np.full(3, beta))
    assert np.abs(brute.value_and_gradient(brute.pack(origin))[1]).max() < 1e-15
    dense = brute.spectrum(origin)
    assert relative_error(origin_spectrum(model).expand(), dense) < ROUNDING
    elsewhere = brute.spectrum(origin._replace(b=np.array([1.0, 0, 0])))
    assert relative_error(origin_spectrum(model).expand(), elsewhere) > 1e-3


@pytest.mark.parametrize("lambda_b", [None, 0.0])
@pytest.mark.parametrize("loss", [CrossEntropy(), MSE()], ids=lambda x: x.name)
def test_billions_of_eigenvalues_add_up(loss, lambda_b):
    model = UFM(loss, 1000, 2048, 1281, lambda_W=5e-6, lambda_H=5e-6, lambda_b=lambda_b)
    P = 1000 * 2048 + 2048 * 1_281_000 + (0 if lambda_b is None else 1000)
    found = minimiser_spectrum(model)
    assert found.size == model.num_parameters == P
    assert len(found.levels) < 40
    rank = 999 if loss == CrossEntropy() or lambda_b == 0 else 1000
    zeros = rank * (rank - 1) // 2 + rank * (2048 - rank)
    zeros += int(loss == CrossEntropy() and lambda_b == 0)
    assert found.count_within(1e-15) == zeros
    assert found.count_below(-1e-15) == 0


def test_what_has_no_closed_form_names_the_way_out():
    with pytest.raises(InputError, match=r"Got d=3, K=5, loss ce\. .*`ufm solve`"):
        minimiser_spectrum(UFM(CrossEntropy(), 5, 3, **SIZES))
    with pytest.raises(InputError, match="balanced counts"):
        minimiser_spectrum(UFM(CrossEntropy(), counts=(3, 2), d=3, **SIZES))
    with pytest.raises(InputError, match=r"Need d >= rank = 4\. Got 3"):
        symmetric_spectrum(UFM(CrossEntropy(), 5, 3, **SIZES), Code(1.0, 0.0, 0.0, 5))
    assert minimiser_spectrum(UFM(CrossEntropy(), 5, 4, **SIZES)).size == 40


@pytest.mark.parametrize(
    ("loss", "K", "d", "n", "lambda_b"),
    [
        (LabelSmoothing(0.1), 4, 6, 3, None),
        slow(CrossEntropy(), 3, 5, 2, 0.05),
        (MSE(), 3, 5, 2, 0.0),
        slow(RescaledMSE(3.0, 2.0), 5, 7, 2, None),
        slow(Focal(2.0), 2, 3, 4, None),
    ],
)
def test_the_block_of_the_classifier(loss, K, d, n, lambda_b):
    """Against the dense Hessian of the objective with every sample, restricted to W."""
    model = UFM(loss, K, d, n, **SIZES, lambda_b=lambda_b)
    point = lift(model, model.minimiser().point)
    hessian = jax_hessian(model, point)[: K * d, : K * d]
    found = classifier_spectrum(model).expand()
    assert relative_error(found, np.sort(np.linalg.eigvalsh(hessian))) < ROUNDING
    other = UFM(loss, K, d, n, lambda_W=1.01 * LW, lambda_H=LH, lambda_b=lambda_b)
    assert relative_error(found, classifier_spectrum(other).expand()) > 1e-4


@pytest.mark.parametrize("delta", [0.0, 0.1])
def test_outliers_of_the_classifier(delta):
    """7.7: (K - 1)^2 of them for cross entropy and label smoothing."""
    K, d, n = 4, 6, 3
    model = UFM(LabelSmoothing(delta), K, d, n, **SIZES)
    u = model.c + delta
    theta, R = np.log(K / u - K + 1) * u / (K * model.c), K - (K - 1) * u
    q = (R - 1) / (K - 1)
    rows = [(LW * (1 + theta), K * K - 3 * K + 1), (LW * (1 + R * theta), 1)]
    rows += [(LW * (1 + (1 + q * (K - 2)) * theta), K - 1), (LW, K * d - (K - 1) ** 2)]
    assert relative_error(classifier_spectrum(model).expand(), expand(rows)) < ROUNDING


def test_a_loss_with_kinks_has_no_spectrum():
    hinge = UserLoss(lambda z, k: jnp.sum(jnp.maximum(0.0, 1 + z - z[k])) - 1, "hinge")
    model = UFM(hinge, 3, 4, 2, **SIZES)
    point = model.minimiser().point
    for ask in (
        lambda: minimiser_spectrum(model),
        lambda: origin_spectrum(model),
        lambda: classifier_spectrum(model),
        lambda: full_spectrum(model, point),
        lambda: model.structure(point),
        lambda: model.structure(model.random_point(jax.random.key(0))),
    ):
        with pytest.raises(InputError, match=r"without kinks\. Got hinge: slope jumps.*softplus"):
            ask()
    soft = UserLoss(lambda z, k: jnp.sum(jax.nn.softplus(1 + z - z[k])), "soft")
    assert minimiser_spectrum(UFM(soft, 3, 4, 2, **SIZES)).size == 36
