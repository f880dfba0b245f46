"""A user's own loss: what probing finds out, what it refuses, and what is then built on it."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from tests.helpers import Problem, hot_cross_entropy, naive_cross_entropy, naive_focal
from ufm import UFM, Focal, InputError, UserLoss, full_spectrum, lift, predicted_nullity

K = 3


def cross_entropy(z, k):
    return jax.nn.logsumexp(z) - z[k]


def weighted(z, k):
    return jnp.array([1.0, 2.0, 3.0])[k] * cross_entropy(z, k)


def anchored(z, k):
    return cross_entropy(z, k) + 0.05 * jnp.sum(z**2)


def my_focal(z, k):
    return Focal(2.0)(z, k)


def sunk(z, k):
    return cross_entropy(z, k) - 10.0


def linear(z, k):
    return -z[k] + jnp.mean(z)


def raised_square(z, k):
    """MSE + 4.5, written without its target: |z|^2 / 2 - z_k + 5."""
    return 0.5 * jnp.sum(z**2) - z[k] + 5.0


def root_of_square(z, k):
    """Depends on the distance to the target alone, and is not quadratic."""
    return jnp.sqrt(1 + jnp.sum((z - jax.nn.one_hot(k, z.shape[0])) ** 2))


# Which of (convex, shift invariant, equivariant, contrastive, nonnegative) hold.
PROBED = [
    (hot_cross_entropy, (True, True, True, True, True)),
    (my_focal, (False, True, True, True, True)),
    (weighted, (True, True, False, True, True)),
    (anchored, (True, False, True, False, True)),
    (sunk, (True, True, True, True, False)),
    (linear, (True, True, True, True, False)),
]


@pytest.mark.parametrize(("function", "expected"), PROBED, ids=lambda x: getattr(x, "__name__", ""))
def test_probing_finds_the_properties(function, expected):
    found = UserLoss(function).properties(K)
    names = ("convex", "shift_invariant", "equivariant", "contrastive", "nonnegative")
    assert tuple(bool(getattr(found, name)) for name in names) == expected
    assert all(getattr(found, name).evidence == "probed" for name in names)
    assert not found.isometric
    # A violation says what was violated; a property that holds has nothing to add.
    assert [bool(getattr(found, name).note) for name in names] == [not x for x in expected]


@pytest.mark.slow
def test_a_probe_is_repeatable_and_knows_the_number_of_classes():
    assert UserLoss(my_focal).properties(K) == UserLoss(my_focal, "again").properties(K)
    assert "eigenvalue" in str(UserLoss(my_focal).properties(K).convex)
    assert not UserLoss(my_focal).properties(20).contrastive  # FL-3: 1/20 < u*(2)
    assert UserLoss(my_focal).properties(K).contrastive


def test_only_a_quadratic_has_class_rotations():
    """sum_k phi(|z_k - e_k|) is invariant under Z -> Q Z Q^T for a quadratic phi alone."""
    assert UserLoss(raised_square).properties(K).isometric
    assert not UserLoss(root_of_square).properties(K).isometric


def test_the_predicted_nullity_of_a_nonquadratic_loss_is_the_observed_one():
    def naive(z, k):
        error = z - np.eye(len(z))[k]
        size = np.sqrt(1 + error @ error)
        return size, error / size, np.eye(len(z)) / size - np.outer(error, error) / size**3

    line = Problem.of(naive, (1, 1, 1), 1, 0.02, 0.03)
    point, residual = line.newton(line.random(2, 3.0))
    assert residual < 1e-14
    model = UFM(UserLoss(root_of_square), K, 1, lambda_W=0.02, lambda_H=0.03)
    # The dense Hessian in one dimension has no rotation, so nothing but class rotations could be 0.
    observed = int(np.sum(np.abs(line.spectrum(point)) < 1e-9))
    assert np.abs(point.W @ point.H).max() > 0.1
    assert predicted_nullity(model, 1, 1, point.W @ point.H, None) == observed == 0


BAD = [
    (lambda z, k: z, "shape (3,)"),
    (lambda z, k: jnp.stack([z[k]]), "shape (1,)"),
    (lambda z, k: jnp.log(z[k] - 1e9), "nan"),
    (lambda z, k: jnp.log(jnp.sum(z) * 0), "-inf"),
    (lambda z, k: z[k] / undefined, "NameError"),  # noqa: F821
    (lambda z: z[0], "TypeError"),
    (lambda z, k: "one", "TypeError"),
    ("ce", "not callable"),
    (lambda z, k: z[0] ** 2 if k == 0 else z[1] ** 2, "Tracer"),  # labels are traced
]


@pytest.mark.parametrize(("function", "says"), BAD, ids=[says for _, says in BAD])
def test_what_is_not_a_loss_is_refused_in_one_line(function, says):
    with pytest.raises(InputError) as caught:
        UserLoss(function)
    message = str(caught.value)
    assert says in message
    assert "finite scalar" in message
    assert "\n" not in message


def test_an_error_over_several_lines_is_told_in_one():
    def talkative(z, k):
        raise RuntimeError("first line\nsecond line")

    with pytest.raises(InputError, match=r"RuntimeError: first line\. Remedy") as caught:
        UserLoss(talkative)
    assert "second" not in str(caught.value)
    assert isinstance(caught.value.__cause__, RuntimeError)


def test_a_callable_is_wrapped_and_named():
    model = UFM(hot_cross_entropy, K, 5, lambda_W=0.02, lambda_H=0.03)
    assert model.loss == UserLoss(hot_cross_entropy)
    assert model.loss.name == "hot_cross_entropy"
    assert UserLoss(hot_cross_entropy, "hot").name == "hot"
    assert UserLoss(hot_cross_entropy, "hot") != UserLoss(hot_cross_entropy)


def test_the_closed_form_of_a_temperature():
    """L = CE(2 z): (K - 1) p' = 2 (K - 1) / K * ... gives 2 alpha = log(2 K / c - K + 1)."""
    model = UFM(hot_cross_entropy, K, 5, 4, lambda_W=0.02, lambda_H=0.03)
    found = model.minimiser()
    assert found.code.a == pytest.approx(np.log(2 * K / model.c - K + 1) / 2, rel=1e-13)
    assert found.code.a != pytest.approx(np.log(K / model.c - K + 1), rel=0.1)
    assert found.evidence == "probed"


def test_evidence_never_says_more_than_is_known():
    sizes = {"lambda_W": 0.01, "lambda_H": 0.01}
    # Neither convex nor contrastive: without bias the equalising bound decides (GL-1).
    for loss, evidence in ((Focal(2.0), "proved"), (my_focal, "probed")):
        assert UFM(loss, 20, 21, **sizes).minimiser().evidence == evidence
    biased = UFM(my_focal, 20, 21, **sizes, lambda_b=0.1).minimiser()
    assert biased.evidence == "best symmetric solution only"
    # Soft thresholding of a user's quadratic rests on probes too.
    model = UFM(raised_square, counts=(5, 2, 1), d=4, **sizes)
    assert model.minimiser().evidence == "probed"
    assert UFM(weighted, K, 4, **sizes).minimiser() is None


@pytest.mark.parametrize("d", [4, 2])
def test_a_constant_in_a_quadratic_is_part_of_its_value(d):
    model = UFM(raised_square, counts=(5, 2, 1), d=d, lambda_W=0.02, lambda_H=0.03)
    found = model.minimiser()
    value = float(model.objective(lift(model, found.point)))
    assert found.value == pytest.approx(value, abs=1e-13)
    assert value > 4.5


@pytest.mark.slow
def test_a_users_focal_keeps_its_samples():
    """Merging is refused as lossless, but the spectrum at a collapsed point is still exact."""
    model = UFM(my_focal, K, 2, 2, lambda_W=0.02, lambda_H=0.03)
    lossless = model.merge().lossless
    assert not lossless
    assert lossless.evidence == "probed"
    naive = Problem.of(naive_focal(2.0), (2, 2, 2), 2, 0.02, 0.03)
    point = lift(model, model.minimiser().point)
    dense = naive.spectrum(point)
    assert np.abs(full_spectrum(model, point).expand() - dense).max() < 1e-13 * dense.max()
    other = Problem.of(naive_cross_entropy(), (2, 2, 2), 2, 0.02, 0.03).spectrum(point)
    assert np.abs(other - dense).max() > 1e-3
