"""Binary cross entropy: value, conjugate, and its phases against descent and a convex solver."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy.optimize import minimize
from scipy.special import expit, logit

from tests.helpers import Problem
from ufm import BCE, UFM, UserLoss
from ufm.plain.minimisers import thresholds

K = 4


def naive_bce(z, k):
    """Value, gradient and Hessian by hand."""
    own, q = np.eye(len(z))[k], expit(z)
    value = float(np.sum(np.logaddexp(0, z)) - z[k])
    return value, q - own, np.diag(q * (1 - q))


@jax.jit
def derivatives(z, k):
    return jax.value_and_grad(BCE())(z, k), jax.hessian(BCE())(z, k)


def test_value_gradient_and_hessian_are_the_formula():
    rng = np.random.default_rng(1)
    for k in range(K):
        z = 2 * rng.normal(size=K)
        (value, slope), hessian = derivatives(z, k)
        expected = naive_bce(z, k)
        assert value == pytest.approx(expected[0], abs=1e-14)
        np.testing.assert_allclose(slope, expected[1], atol=1e-14)
        np.testing.assert_allclose(hessian, expected[2], atol=1e-14)
    # A sum over classes: the mean would be a quarter of it.
    assert float(BCE()(jnp.zeros(K), 1)) == pytest.approx(4 * np.log(2))


def test_extreme_logits_lose_nothing():
    far = np.array([1e4, -1e4, -1e4])
    assert float(BCE()(far, 0)) == 0.0
    assert float(BCE()(far, 1)) == 2e4
    small = float(BCE()(np.array([40.0, -800.0, -800.0]), 0))
    assert small == pytest.approx(np.exp(-40), rel=1e-12)  # softplus(z) - z would be zero
    assert np.isfinite(derivatives(far, 1)[1]).all()


def test_claimed_properties_are_the_probed_ones():
    claimed, probed = BCE().properties(K), UserLoss(BCE(), "wrapped").properties(K)
    for name, fact in vars(claimed).items():
        assert bool(fact) == bool(getattr(probed, name)), name
        assert fact.evidence == "proved"


def test_the_conjugate_is_tight_at_gradients_and_the_supremum():
    dual, Z = BCE().dual, np.random.default_rng(3).normal(size=(K, K))
    parts = [naive_bce(Z[:, k], k) for k in range(K)]
    V, losses = np.stack([p[1] for p in parts], axis=1), np.array([p[0] for p in parts])
    np.testing.assert_allclose(dual.conjugate(V), np.sum(V * Z, axis=0) - losses, atol=1e-13)
    inside = 0.8 * V
    for k in range(K):

        def negative(z, k=k):
            value, gradient, _ = naive_bce(z, k)
            return value - inside[:, k] @ z, gradient - inside[:, k]

        best = -minimize(negative, np.zeros(K), jac=True, method="BFGS", options={"gtol": 1e-9}).fun
        assert dual.conjugate(inside)[k] == pytest.approx(best, abs=1e-10)
    np.testing.assert_array_equal(dual.conjugate(np.zeros((K, K))), 0)


def test_recentring_stays_in_the_cube():
    dual, proportions, left = BCE().dual, np.array([5, 2, 1, 1]) / 9, 0
    for seed in range(20):
        rng = np.random.default_rng(seed)
        V = rng.uniform(size=(K, K)) - np.eye(K)
        moved = dual.recentre(V, proportions)
        assert np.abs(moved @ proportions).max() < 1e-15 < 1e-3 < np.abs(V @ proportions).max()
        q = moved + np.eye(K)
        assert np.abs(q - np.clip(q, 0, 1)).max() < 1e-15
        subtracted = V - (V @ proportions)[:, None] + np.eye(K)
        left += subtracted.min() < -1e-3 or subtracted.max() > 1 + 1e-3
        np.testing.assert_allclose(dual.recentre(moved, proportions), moved, atol=1e-14)
    assert left > 3  # subtracting the mean is not enough


def model_at(classes, n, c, lambda_b=None, d=None):
    sigma = c / (classes * np.sqrt(n))
    d = classes + 1 if d is None else d
    return UFM(BCE(), classes, d, n, lambda_W=1.5 * sigma, lambda_H=sigma / 1.5, lambda_b=lambda_b)


# (K, n, c, lambda_b): value to the digits of the theory page
FIXTURES = {
    (4, 2, 0.2, 0.0): (1.0182548178, 3),
    (3, 1, 0.5, 0.0): (1.5376365860, 2),
    (5, 2, 0.2, None): (1.4820024783, 5),
    (3, 2, 0.9, None): (2.0660784433, 2),
    (6, 1, 1.5, None): (4.0751595959, 1),
}


@pytest.mark.parametrize("setting", FIXTURES)
def test_fixtures_by_three_routes(setting):
    classes, n, _, lambda_b = setting
    value, rank = FIXTURES[setting]
    model = model_at(*setting)
    known = model.minimiser()
    assert known.value == pytest.approx(value, abs=5e-11)
    assert (known.rank, known.evidence) == (rank, "proved")
    assert abs(model.certificate(known.point).gap) < 1e-14
    decays = float(model.lambda_W), float(model.lambda_H), lambda_b
    brute = Problem.of(naive_bce, (n,) * classes, classes + 1, *decays, merged=True)
    assert brute.descend(1, seed=2)[0] == pytest.approx(value, abs=1e-9)


def test_free_bias_has_the_probabilities_of_cross_entropy():
    for classes, n, c in ((4, 2, 0.2), (3, 1, 0.5), (5, 3, 0.97)):
        code = model_at(classes, n, c, 0.0).minimiser().code
        p, q = 1 - (classes - 1) * c / classes, c / classes
        assert code.a == pytest.approx(logit(p) - logit(q), abs=1e-12)
        assert code.beta == pytest.approx(
            (logit(p) + (classes - 1) * logit(q)) / classes, abs=1e-12
        )
        assert thresholds(model_at(classes, n, c, 0.0)).collapse == pytest.approx(1, abs=1e-14)
    gap = model_at(4, 2, 0.2, 0.0).minimiser().code.a
    assert gap == pytest.approx(4.6790400346, abs=5e-11)
    assert model_at(3, 1, 0.5, 0.0).minimiser().code.a == pytest.approx(np.log(10), abs=1e-13)


def test_phases_without_a_bias():
    code = model_at(5, 2, 0.2).minimiser().code
    assert (code.a, code.s) == pytest.approx((4.4347772001, -7.7769579768), abs=5e-11)
    assert model_at(3, 2, 0.9).minimiser().code.s == 0
    for classes in (3, 4, 5, 6, 9):
        edge = max(1.0, (classes - 2) / 2)
        assert thresholds(model_at(classes, 1, 0.5)).collapse == pytest.approx(edge, abs=1e-13)
        below, above = (model_at(classes, 1, share * edge).minimiser() for share in (0.999, 1.001))
        assert above.rank == 0 < below.rank
        if classes > 4:
            assert below.rank == 1
            q = (1 + 0.999 * edge) / classes
            assert below.code.s / classes == pytest.approx(logit(q), abs=1e-9)
            assert model_at(classes, 1, 0.999).minimiser().rank == classes


@pytest.mark.parametrize(("c", "rank"), [(0.2, 5), (1.2, 1)])
def test_a_convex_solver_finds_the_same_without_a_bias(c, rank):
    cp = pytest.importorskip("cvxpy")
    model = model_at(5, 2, c, d=5)
    Z = cp.Variable((5, 5))
    logits = Z / np.sqrt(2)
    loss = cp.sum(cp.logistic(logits)) - cp.trace(logits)
    problem = cp.Problem(cp.Minimize(loss / 5 + model.sigma * cp.normNuc(Z)))
    problem.solve(solver="CLARABEL", tol_gap_abs=1e-10, tol_gap_rel=1e-10)
    assert problem.value == pytest.approx(model.minimiser().value, abs=1e-8)
    assert model.minimiser().rank == rank
