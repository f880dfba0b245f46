"""Distances to the global minimiser: against minimisers, and bounds that are too small."""

import jax
import numpy as np
import pytest

from landscape import solve
from proofs_check.rigorous import minimiser as module
from proofs_check.rigorous.arithmetic import Undecided
from proofs_check.rigorous.minimiser import near_minimiser, prove_minimiser
from proofs_check.rigorous.point import full_columns, prove_critical
from ufm import MSE, UFM, CrossEntropy, Focal, LabelSmoothing, deep_linear
from ufm.point import flatten, unflatten

CASES = {
    "ce": (CrossEntropy(), (1, 1, 1), None),
    "ce, unequal, bias": (CrossEntropy(), (2, 1, 3), 0.05),
    "ls": (LabelSmoothing(0.1), (2, 1, 3), None),
    "mse": (MSE(), (2, 1, 3), None),
    "mse, bias": (MSE(), (2, 1, 3), 0.05),
}


@pytest.fixture(scope="module", params=CASES)
def case(request):
    loss, counts, bias = CASES[request.param]
    model = UFM(loss, counts=counts, d=5, lambda_W=0.03, lambda_H=0.02, lambda_b=bias)
    best = full_columns(model, solve(model, key=jax.random.key(0)).point)
    return model, prove_critical(model, best)


def truth(model, point, best):
    """Gap, and distances of logits and Gram matrices."""
    K = len(best.W)
    invariant = model.loss.properties(K).shift_invariant
    P = np.eye(K) - (1 / K if invariant else 0)

    def logits(p):
        return P @ (p.W @ p.H + (0 if p.b is None else p.b[:, None]))

    return (
        float(model.objective(point) - model.objective(best)),
        np.linalg.norm(logits(point) - logits(best)),
        np.linalg.norm(point.W @ point.W.T - best.W @ best.W.T),
        np.linalg.norm(point.H.T @ point.H - best.H.T @ best.H),
    )


def bounds(told):
    return told.gap, told.logits, told.gram_W, told.gram_H


@pytest.mark.parametrize("size", [0.0, 1e-8, 1e-3])
def test_perturbed_minimisers_are_as_near_as_is_said(case, size):
    model, found = case
    rng = np.random.default_rng(1)
    for _ in range(2):
        x = flatten(found.point)
        point = unflatten(x + size * rng.normal(size=len(x)), found.point)
        told = near_minimiser(model, point)
        true = truth(model, point, found.point)
        assert all(b >= t for b, t in zip(bounds(told), true, strict=True))
        # The duality gap is of first order in the perturbation, and its root is taken.
        assert told.logits <= 100 * np.sqrt(size) + 1e-5
        assert not told.exact


def test_a_proved_point_of_full_rank_is_the_minimiser(case):
    model, found = case
    told = prove_minimiser(found)
    assert told.exact == (model.loss.name != "mse" or model.lambda_b is None)
    assert all(b < (1e-10 if told.exact else 1e-5) for b in bounds(told))
    half = unflatten(flatten(found.point) + found.distance / 2, found.point)
    true = truth(model, half, found.point)
    assert all(b >= t for b, t in zip(bounds(told)[1:], true[1:], strict=True))


def test_half_the_distance_would_be_too_little(monkeypatch):
    """Two wrong classes of one probability, moved apart: Taylor's rest is the bound itself."""
    q, shift = 0.1, 1e-3
    p = np.array([1 - 2 * q, q, q])
    v = shift * np.array([0.0, 1.0, -1.0])
    rest = np.log(np.sum(p * np.exp(v))) - p @ v  # L(z + v) - L(z) - <grad L(z), v>
    told = module._distance(1.0, rest / q)
    length = np.linalg.norm(v)
    assert length <= told <= 1.002 * length
    honest = module._reached
    monkeypatch.setattr(module, "_reached", lambda a: 4 * honest(a))  # half the distance
    with pytest.raises(Undecided, match="not bounded"):
        module._distance(1.0, rest / q)


def test_the_exponential_factor_is_needed():
    """Towards certainty the Hessian falls, and the quadratic bound alone would be exceeded."""
    p, v = np.array([0.9, 0.1]), np.array([0.8, -0.8])
    curvature = 2 * p[0] * p[1]
    rest = np.log(np.sum(p * np.exp(v))) - p @ v
    assert module._distance(0.0, rest / curvature) < np.linalg.norm(v)
    assert module._distance(1.0, rest / curvature) >= np.linalg.norm(v)
    with pytest.raises(Undecided, match="too large"):
        module._distance(1.0, 1.2 * rest / curvature)


@pytest.mark.parametrize("loss", [CrossEntropy(), LabelSmoothing(0.3), MSE()])
def test_concordance_bounds_third_derivatives(loss):
    def along(t, z, v):
        return loss(z + t * v, 1)

    second = jax.grad(jax.grad(along))
    both = jax.jit(lambda z, v: (second(0.0, z, v), jax.grad(second)(0.0, z, v)))
    rng = np.random.default_rng(4)
    worst = 0.0
    for _ in range(60):
        z, v = 3 * rng.normal(size=4), rng.normal(size=4)
        two, three = map(float, both(z, v))
        assert abs(three) <= loss.concordance * np.ptp(v) * two + 1e-12
        worst = max(worst, abs(three) / (np.ptp(v) * two))
    assert worst >= 0.9 * loss.concordance


def test_what_has_no_such_bound_is_undecided():
    small = UFM(CrossEntropy(), 4, 2, lambda_W=0.03, lambda_H=0.02)
    with pytest.raises(Undecided, match="so few dimensions"):
        near_minimiser(small, small.origin())
    model = UFM(CrossEntropy(), 4, 3, lambda_W=0.03, lambda_H=0.02)
    with pytest.raises(Undecided, match="gap is too large"):
        near_minimiser(model, model.origin())
    focal = UFM(Focal(2.0), 3, 3, lambda_W=0.03, lambda_H=0.02)
    with pytest.raises(Undecided, match="convex"):
        near_minimiser(focal, focal.origin())
    deep = deep_linear(CrossEntropy(), 3, 4, 2, 3, 0.03, 0.02)
    with pytest.raises(Undecided, match="convex problem"):
        near_minimiser(deep, deep.random_point(jax.random.key(0)))


def test_a_saddle_is_no_minimiser():
    model = UFM(CrossEntropy(), 3, 1, lambda_W=0.03, lambda_H=0.02)
    found = prove_critical(model, solve(model, key=jax.random.key(1)).point)
    with pytest.raises(Undecided):
        prove_minimiser(found)
    assert not module._spans(np.array([[1.0], [-1.0], [0.0]]), 0.0, True)
    W = np.array([[1.0, 0.0], [0.0, 1.0], [-1.0, -1.0]])
    assert module._spans(W, 1e-3, True)
    assert not module._spans(W, 1.0, True)
    assert not module._spans(W, 1e-3, False)
