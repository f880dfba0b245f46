"""Objectives against formulas in NumPy that know nothing of JAX, and against their UFM."""

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy.special import expit, log_softmax, softmax

from experiments.networks.training import (
    PARAMETERS,
    Objective,
    make_objective,
    ufm_model,
)
from tests.helpers import naive_cross_entropy, naive_focal, naive_squared
from ufm import InputError

N, K, D = 4, 3, 5
RNG = np.random.default_rng(5)
FEATURES, W = RNG.normal(size=(N, D)), RNG.normal(size=(K, D))
BIAS = RNG.normal(size=K)
LOGITS, LABELS = FEATURES @ W.T + BIAS, np.array([0, 2, 1, 2])
ONE_HOT = np.eye(K)[LABELS]
# The features and W matter to cosine softmax and extra L2 only; the bias not to cosine softmax.
ARGUMENTS = (jnp.asarray(LOGITS), jnp.asarray(LABELS), jnp.asarray(FEATURES), jnp.asarray(W))


def mean_of(naive: Any) -> float:
    return float(np.mean([naive(z, k)[0] for z, k in zip(LOGITS, LABELS, strict=True)]))


def cross_entropy(logits: np.ndarray) -> float:
    return float(-np.mean(np.sum(ONE_HOT * log_softmax(logits, axis=1), axis=1)))


def unit(x: np.ndarray) -> np.ndarray:
    return x / np.linalg.norm(x, axis=1, keepdims=True)


def sigmoid() -> float:
    p = expit(LOGITS - np.log(K))
    return float(-np.sum(ONE_HOT * np.log(p) + (1 - ONE_HOT) * np.log(1 - p)) / N)


def one_vs_rest() -> float:
    return float(np.sum(np.logaddexp(0, LOGITS) - ONE_HOT * LOGITS) / N)


def squared_error() -> float:
    own = np.sum(ONE_HOT * LOGITS, axis=1)
    return float(np.mean(10 * (9 * (own - 60) ** 2 + np.sum(LOGITS**2, axis=1) - own**2)))


def smoothed() -> float:
    target = 0.9 * ONE_HOT + 0.1 / K
    return float(-np.mean(np.sum(target * log_softmax(LOGITS, axis=1), axis=1)) / 0.9)


BRUTE: dict[str, Callable[[], float]] = {
    "ce": lambda: mean_of(naive_cross_entropy()),
    "ls": lambda: mean_of(naive_cross_entropy(0.1)),
    "focal": lambda: mean_of(naive_focal(2.0)),
    "mse": lambda: mean_of(naive_squared()),
    "rescaled-mse": lambda: mean_of(naive_squared(5.0, 2.0)),
    "bce": one_vs_rest,
    "softmax": lambda: cross_entropy(LOGITS),
    "label-smoothing": smoothed,
    "dropout": lambda: cross_entropy(LOGITS),
    "extra-l2": lambda: cross_entropy(LOGITS) + 4e-4 * np.sum(W**2),
    "logit-penalty": lambda: cross_entropy(LOGITS) + 3e-4 * np.mean(np.sum(LOGITS**2, axis=1)),
    "logit-normalisation": lambda: cross_entropy(unit(LOGITS) / 0.04),
    "cosine-softmax": lambda: cross_entropy(unit(FEATURES) @ unit(W).T / 0.05),
    "sigmoid": sigmoid,
    "squared-error": squared_error,
}


def test_every_objective_has_a_brute_force_formula() -> None:
    assert {*BRUTE, "sop"} == set(PARAMETERS)


@pytest.mark.parametrize("name", BRUTE)
def test_the_value_is_the_formula(name: str) -> None:
    objective = make_objective(name)
    value = jax.jit(objective)
    assert float(value(*ARGUMENTS)) == pytest.approx(BRUTE[name](), rel=1e-12)
    # Negative control: one other label is seen.
    wrong = (ARGUMENTS[0], jnp.asarray([1, 2, 1, 2]), *ARGUMENTS[2:])
    assert abs(float(value(*wrong)) - BRUTE[name]()) > 1e-3


CHANGED = [(name, key) for name, given in PARAMETERS.items() for key in given]


@pytest.mark.parametrize(("name", "parameter"), [c for c in CHANGED if c[0] not in {"sop"}])
def test_every_parameter_matters(name: str, parameter: str) -> None:
    usual = PARAMETERS[name][parameter]
    first, other = make_objective(name), make_objective(name, **{parameter: usual / 2})
    assert first.name != other.name
    if name == "dropout":  # whose features are dropped before the value is taken
        assert (first.keep, other.keep) == (0.7, 0.35)
    else:
        values = [float(jax.jit(objective)(*ARGUMENTS)) for objective in (first, other)]
        assert abs(values[0] - values[1]) > 1e-4 * values[0]


def test_dropout_keeps_the_mean_and_the_share() -> None:
    features = jnp.ones((400, 500), jnp.float32)
    dropped = np.asarray(make_objective("dropout").dropped(features, jax.random.key(0)))
    # 2 10^5 draws: five standard deviations of a share of 0.7 are 0.005.
    assert np.mean(dropped > 0) == pytest.approx(0.7, abs=0.005)
    assert set(np.unique(dropped)) == {np.float32(0), np.float32(1 / 0.7)}
    assert make_objective("softmax").dropped(features, jax.random.key(0)) is features


def test_predictions_of_the_cosine_differ_from_those_of_the_logits() -> None:
    features, classifier = jnp.array([[1.0, 0.1]]), jnp.array([[1.0, 0.0], [5.0, 5.0]])
    logits = features @ classifier.T
    assert int(make_objective("softmax").outputs(logits, features, classifier).argmax()) == 1
    cosines = make_objective("cosine-softmax").outputs(logits, features, classifier)
    assert int(cosines.argmax()) == 0
    np.testing.assert_allclose(cosines[0], [20 / np.sqrt(1.01), 22 / np.sqrt(2.02)], rtol=1e-12)
    normal = make_objective("logit-normalisation").outputs(logits, features, classifier)
    assert float(jnp.linalg.norm(normal)) == pytest.approx(25)
    shifted = make_objective("sigmoid").outputs(logits, features, classifier)
    np.testing.assert_allclose(shifted, logits - np.log(2))


# ---- over-parameterisation


def sop_parts(z: Any, u: Any, v: Any, u_seen: Any, v_seen: Any, guess: Any) -> tuple[float, float]:
    """Cross entropy and square of samples, with the parts whose gradient stops given apart."""
    U, V = (np.clip(a, 0, 1 - 1e-4) for a in (u**2 * ONE_HOT, v**2 * (1 - ONE_HOT)))
    U_seen = np.clip(u_seen**2 * ONE_HOT, 0, 1 - 1e-4)
    V_seen = np.clip(v_seen**2 * (1 - ONE_HOT), 0, 1 - 1e-4)
    p = np.maximum(softmax(z, axis=1) + U - V_seen, 1e-4)
    p = np.clip(p / p.sum(axis=1, keepdims=True), 1e-4, 1)
    square = np.sum((guess + U_seen - V - ONE_HOT) ** 2)
    return float(-np.sum(ONE_HOT * np.log(p)) / N), float(square / N)


@pytest.mark.slow
def test_over_parameterisation_and_its_stopped_gradients() -> None:
    u, v = RNG.normal(size=(N, 1)) / 2, RNG.normal(size=(N, K)) / 2
    v[0, 1] = 1.5  # clipped: its square is above 1
    guess = np.eye(K)[LOGITS.argmax(axis=1)]
    objective = make_objective("sop")

    def value(z: Any, u: Any, v: Any) -> Any:
        return objective(z, ARGUMENTS[1], None, None, (u, v))

    arrays = tuple(map(jnp.asarray, (LOGITS, u, v)))
    assert float(value(*arrays)) == pytest.approx(
        sum(sop_parts(LOGITS, u, v, u, v, guess)), rel=1e-12
    )
    slopes = jax.grad(value, argnums=(0, 1, 2))(*arrays)
    step = 1e-6
    for which, slope in enumerate(slopes):
        for index in np.ndindex(slope.shape):
            ends = []
            for sign in (1, -1):
                moved = [LOGITS.copy(), u.copy(), v.copy()]
                moved[which][index] += sign * step
                ends.append(sum(sop_parts(*moved, u, v, guess)))
            # Central differences of values of order 10: 1e-15 * 10 / 1e-6, and curvature * 1e-12.
            assert float(slope[index]) == pytest.approx((ends[0] - ends[1]) / (2 * step), abs=1e-7)
    assert float(slopes[2][0, 1]) == 0
    assert objective.rates == (1.0, 10.0)
    assert make_objective("sop", rate_u=2.0, rate_v=3.0).rates == (2.0, 3.0)


# ---- the unconstrained feature model of an objective


WITHOUT = {"dropout", "cosine-softmax", "sop"}


@pytest.mark.parametrize("name", PARAMETERS)
def test_the_loss_of_the_model_is_that_of_the_network(name: str) -> None:
    objective = make_objective(name)
    loss = objective.ufm_loss
    if name in WITHOUT:
        assert loss is None
        assert ufm_model(objective, [2, 3], 4, lambda_W=0.1, lambda_H=0.1, lambda_b=0.0) is None
        return
    mean = float(jnp.mean(jax.jit(jax.vmap(loss))(*ARGUMENTS[:2])))
    penalty = 0.5 * objective.extra_lambda_W * np.sum(W**2)
    assert mean + penalty == pytest.approx(BRUTE[name](), rel=1e-12)
    model = ufm_model(objective, [2, 3, 4], 5, lambda_W=0.1, lambda_H=0.2, lambda_b=None)
    assert model.lambda_W == pytest.approx(0.1 + (8e-4 if name == "extra-l2" else 0))
    assert (model.counts_tuple, model.d, model.lambda_H, model.lambda_b) == (
        (2, 3, 4),
        5,
        0.2,
        None,
    )


def test_a_users_own_loss_is_an_objective(tmp_path: Any) -> None:
    path = tmp_path / "mine.py"
    path.write_text("def twice(logits, label):\n    return -2 * logits[label]\n")
    objective = make_objective(f"{path}:twice")
    assert float(objective(*ARGUMENTS)) == pytest.approx(-2 * np.mean(np.sum(ONE_HOT * LOGITS, 1)))


# ---- precision and mistakes


@pytest.mark.parametrize("name", PARAMETERS)
def test_no_objective_leaves_float32(name: str) -> None:
    objective: Objective = make_objective(name)
    types = jnp.float32, jnp.int32, jnp.float32, jnp.float32
    z, y, h, V = (jnp.asarray(a, dtype) for a, dtype in zip(ARGUMENTS, types, strict=True))
    rows = objective.start(N, K, jax.random.key(0))
    slopes = jax.value_and_grad(objective, argnums=(0, 2, 3, 4))
    assert "f64" not in str(jax.make_jaxpr(slopes)(z, y, h, V, rows))
    assert {leaf.dtype for leaf in jax.tree.leaves(rows)} <= {jnp.dtype("float32")}
    # Negative control: float64 would be found.
    assert "f64" in str(jax.make_jaxpr(slopes)(z.astype(jnp.float64), y, h, V, rows))


@pytest.mark.parametrize(
    ("name", "given", "says"),
    [
        ("label-smooting", {}, "write 'label-smoothing'"),
        ("squared-error", {"targets": 2.0}, "write 'target'"),
        ("sigmoid", {"heat": 2.0}, "has no parameters"),
        ("dropout", {"keep": 0.0}, r"\(0, 1\]"),
        ("extra-l2", {"strength": -1.0}, "strength > 0"),
        ("logit-penalty", {"strength": 0.0}, "strength > 0"),
        ("logit-normalisation", {"temperature": 0.0}, "temperature > 0"),
        ("cosine-softmax", {"temperature": 0.0}, "temperature > 0"),
        ("sop", {"rate_v": 0.0}, "rate_v > 0"),
        ("ls", {"smoothing": 1.0}, r"\[0, 1\)"),
    ],
)
def test_wrong_objectives(name: str, given: dict[str, float], says: str) -> None:
    with pytest.raises(InputError, match=says):
        make_objective(name, **given)
    if name == "squared-error":
        with pytest.raises(InputError, match="factor > 0"):
            make_objective(name, scale=-1.0)
