"""Non-negative features against full-size descents that know only the bounds on H."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy.optimize import minimize

from tests.helpers import FAMILY, Problem, slow
from ufm import (
    MSE,
    UFM,
    CrossEntropy,
    Focal,
    InputError,
    LabelSmoothing,
    Nonnegative,
    UserLoss,
    lift,
)
from ufm.models.nonnegative import nonnegative_code, nonnegative_minimiser, nonnegative_threshold

K, N, D = 3, 2, 5
LW, LH = 8e-3, 5e-3
DECAYS = {"lambda_W": LW, "lambda_H": LH}


def bounded(name, counts, d, lambda_b, lw=LW, lh=LH, starts=3, floor=0.0):
    """The lowest end of L-BFGS-B runs of the full problem with H >= floor.

    Near the threshold some runs end where a class has lost its features: that is a minimum too.
    """
    problem = Problem.of(LOSSES[name][1], counts, d, lw, lh, lambda_b)
    features = slice(problem.num_classes * d, (problem.num_classes + sum(counts)) * d)
    bounds = [(None, None)] * problem.size
    bounds[features] = [(floor, None)] * (features.stop - features.start)
    ends = []
    for seed in range(starts):
        x = problem.random(seed, 2.0)
        x[features] = np.abs(x[features])
        options = {"maxiter": 20_000, "maxfun": 40_000, "ftol": 1e-16, "gtol": 1e-11}
        ends.append(
            minimize(
                problem.value_and_gradient,
                x,
                jac=True,
                method="L-BFGS-B",
                bounds=bounds,
                options=options,
            )
        )
    best = min(ends, key=lambda end: end.fun)
    return float(best.fun), problem.unpack(best.x)


def offset_squared_error(z, k):
    """|z - e_k - 2 1|^2 / 2: the common direction of the logits outweighs the gap."""
    return 0.5 * jnp.sum((z - 2.0 - jax.nn.one_hot(k, z.shape[0])) ** 2)


def naive_offset(z, k):
    error = z - 2.0 - np.eye(len(z))[k]
    return 0.5 * float(error @ error), error, np.eye(len(z))


LOSSES = {**FAMILY, "offset": (UserLoss(offset_squared_error), naive_offset)}


@pytest.mark.parametrize("lambda_b", [None, 0.0, 0.3])
@pytest.mark.parametrize("name", [slow(name) if name == "hot" else name for name in LOSSES])
def test_projected_descents_end_at_the_closed_form(name, lambda_b):
    model = UFM(LOSSES[name][0], K, D, N, lambda_W=LW, lambda_H=LH, lambda_b=lambda_b)
    made = nonnegative_minimiser(model)
    point = lift(model, made.point)
    assert made.point.H.min() >= 0
    # The value is that of the point, and the point is feasible: an upper bound.
    assert float(model.objective(point)) == pytest.approx(made.value, abs=1e-13)
    value, end = bounded(name, (N,) * K, D, lambda_b)
    assert value == pytest.approx(made.value, abs=1e-10)
    np.testing.assert_allclose(end.H.T @ end.H, point.H.T @ point.H, atol=2e-3)
    assert np.sum(end.W**2) == pytest.approx(np.sum(point.W**2), rel=1e-3)
    gap = end.W @ end.H
    own = gap[np.repeat(np.arange(K), N), np.arange(K * N)]
    others = (gap.sum(axis=0) - own) / (K - 1)
    np.testing.assert_allclose(own - others, made.code.a, atol=1e-3)


def test_other_sizes_end_there_too():
    model = UFM(LabelSmoothing(0.1), 4, 6, 3, lambda_W=LW, lambda_H=LH, lambda_b=0.0)
    value, _ = bounded("ls", (3,) * 4, 6, 0.0, starts=2)
    assert value == pytest.approx(nonnegative_minimiser(model).value, abs=1e-10)


def test_the_sign_matters_and_the_descent_would_see_a_wrong_factor():
    model = UFM(CrossEntropy(), K, D, N, lambda_W=LW, lambda_H=LH)
    free, _ = bounded("ce", (N,) * K, D, None, floor=None)
    made = nonnegative_minimiser(model)
    assert free == pytest.approx(model.minimiser().value, abs=1e-10)
    assert made.value - free > 1e-3
    # (K + 1)/K in place of K/(K - 1).
    wrong = model.with_decays(LW * (K + 1) / K, LH).minimiser().value
    assert abs(wrong - made.value) > 1e-3


def test_cross_entropy_and_squared_error_by_hand():
    model = UFM(CrossEntropy(), K, D, N, lambda_W=LW, lambda_H=LH, lambda_b=0.4)
    c = K * np.sqrt(N * LW * LH * K / (K - 1))
    made = nonnegative_minimiser(model)
    assert made.code.a == pytest.approx(np.log(K / c - K + 1), rel=1e-13)
    size = (K - 1) * np.sqrt(N * K / (K - 1)) * made.code.a
    assert np.sum(made.point.W**2) == pytest.approx(size * np.sqrt(LH / LW), rel=1e-13)
    assert np.sum(made.point.H**2) == pytest.approx(size * np.sqrt(LW / LH), rel=1e-13)
    assert made.evidence == "proved"
    # An unregularised bias takes the common part: a = 1 - c'. Without bias no sign is needed.
    mse = UFM(MSE(), K, D, N, lambda_W=LW, lambda_H=LH, lambda_b=0.0)
    assert nonnegative_code(mse).a == pytest.approx(1 - c, rel=1e-13)
    bare = UFM(MSE(), K, D, N, lambda_W=LW, lambda_H=LH)
    assert nonnegative_minimiser(bare).value == pytest.approx(bare.minimiser().value, rel=1e-13)


@pytest.mark.parametrize(
    ("name", "lambda_b"), [("mse", 0.3), slow("ce", None), slow("mse", 0.0), slow("rescaled", 0.3)]
)
def test_both_sides_of_the_threshold(name, lambda_b):
    loss = LOSSES[name][0]
    model = UFM(loss, K, D, N, lambda_W=LW, lambda_H=LH, lambda_b=lambda_b)
    threshold = nonnegative_threshold(model)
    for factor, collapsed in ((0.97, False), (1.03, True)):
        decay = LW * (factor * threshold / model.c) ** 2
        here = model.with_decays(decay, LH)
        made = nonnegative_minimiser(here)
        value, end = bounded(name, (N,) * K, D, lambda_b, lw=decay, starts=5)
        assert value == pytest.approx(made.value, abs=1e-9)
        assert (made.code.a == made.code.s == 0) is collapsed
        assert np.allclose(end.W @ end.H, 0, atol=1e-2) is collapsed


def test_a_dominant_common_direction_needs_no_orthogonal_frame():
    model = UFM(LOSSES["offset"][0], K, D, N, lambda_W=LW, lambda_H=LH)
    made = nonnegative_minimiser(model)
    assert made.code.s > made.code.a > 0
    assert made.value == pytest.approx(model.minimiser().value, rel=1e-13)
    gram = made.point.H.T @ made.point.H
    assert gram[0, 1] > 0.1 * gram[0, 0]


def test_what_is_not_known_is_not_answered():
    sizes = {"lambda_W": LW, "lambda_H": LH}
    with pytest.raises(InputError, match=r"d >= K=3"):
        nonnegative_minimiser(UFM(CrossEntropy(), K, K - 1, **sizes))
    uneven = UFM(MSE(), counts=(3, 2, 1), d=D, **sizes)
    bent = UFM(UserLoss(lambda z, k: jnp.sin(z[k])), K, D, **sizes)
    for model in (uneven, bent):
        assert nonnegative_minimiser(model) is None
        assert nonnegative_threshold(model) is None
    # Focal loss: proved for c^2 < K/(K - 1).
    assert nonnegative_minimiser(UFM(Focal(2.0), K, D, **sizes)).evidence == "proved"
    strong = UFM(Focal(2.0), K, D, lambda_W=0.5, lambda_H=0.5)
    assert nonnegative_minimiser(strong).evidence == "best symmetric solution only"


@pytest.mark.slow
def test_focal_loss_collapses_later_by_the_same_factor():
    model = UFM(Focal(2.0), 20, 21, lambda_W=0.01, lambda_H=0.01)
    threshold = nonnegative_threshold(model)
    for factor in (0.999, 1.001):
        decay = 0.01 * factor * threshold / model.c
        made = nonnegative_minimiser(model.with_decays(decay, decay))
        assert (made.code.a == 0) is (factor > 1)


@pytest.mark.parametrize(
    ("name", "counts", "lw"),
    [("ce", (4, 2, 1), 0.02), slow("ce", (5, 3, 1), 0.06), slow("ls", (3, 2, 2, 1), 0.03)],
)
def test_unequal_classes_are_orthogonal_every_one_for_itself(name, counts, lw):
    loss, d = LOSSES[name][0], len(counts) + 1
    model = UFM(loss, d=d, counts=counts, lambda_W=lw, lambda_H=0.013)
    best = nonnegative_minimiser(model)
    value, _ = bounded(name, counts, d, None, lw, 0.013, starts=8)
    assert best.value == pytest.approx(value, abs=1e-9)
    at = float(model.objective(lift(model, best.point)))
    assert at == pytest.approx(best.value, abs=1e-14)
    assert best.evidence == "proved"
    assert nonnegative_minimiser(UFM(loss, d=d, counts=counts, lambda_b=0.1, **DECAYS)) is None


def test_the_model_takes_unequal_counts():
    model = Nonnegative(counts="4,2,1", d=3, lambda_W=0.02, lambda_H=0.02)
    best = model.minimiser()
    assert float(model.objective(best.point)) == pytest.approx(best.value, abs=1e-14)
    assert np.asarray(best.point.H).shape == (3, 7)
    equal = Nonnegative(counts=(2, 2, 2), d=3, lambda_W=0.02, lambda_H=0.02).minimiser()
    assert equal.value == Nonnegative(None, 3, 3, 2, 0.02, 0.02).minimiser().value
