"""A user's own loss: what probing finds out, what it refuses, and what is then built on it."""

import pickle
from dataclasses import dataclass

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from scipy.optimize import minimize

from landscape.solvers.solve import solve
from tests.helpers import Problem, hot_cross_entropy, naive_cross_entropy, naive_focal
from ufm import UFM, Focal, InputError, UserLoss, full_spectrum, lift, predicted_nullity

K = 3


def cross_entropy(z, k):
    return jax.nn.logsumexp(z) - z[k]


class Tempered:
    """A mutable callable: cross entropy at temperature tau."""

    def __init__(self, tau):
        self.tau = tau

    def __call__(self, z, k):
        return cross_entropy(z / self.tau, k)


@jax.tree_util.register_pytree_node_class
@dataclass
class Shifted:
    """An unhashable callable that holds an array, as an Equinox module does."""

    offsets: jax.Array

    def __call__(self, z, k):
        return cross_entropy(z + self.offsets, k)

    def tree_flatten(self):
        return (self.offsets,), None

    @classmethod
    def tree_unflatten(cls, _, children):
        return cls(*children)


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


def test_a_callable_is_wrapped_and_named():
    model = UFM(hot_cross_entropy, K, 5, lambda_W=0.02, lambda_H=0.03)
    assert model.loss == UserLoss(hot_cross_entropy).at(K)
    assert model.loss.name == "hot_cross_entropy"
    assert UserLoss(hot_cross_entropy, "hot").name == "hot"
    assert UserLoss(hot_cross_entropy, "hot").at(K) != UserLoss(hot_cross_entropy).at(K)
    with pytest.raises(InputError, match="'ce', not callable"):
        UserLoss("ce")


SIZES = {"d": 6, "lambda_W": 0.02, "lambda_H": 0.01}
# K = 4, n = 5: the closed form of cross entropy of z / tau, evaluated in NumPy.
BY_TEMPERATURE = {1.0: 0.417882, 0.1: 0.0640522905}


def closed_form(tau):
    """K = 4, n = 5: log(1 + 3 exp(-a / tau)) + 3 c a / 4 at a = tau log(4 / (c tau) - 3)."""
    c = 4 * np.sqrt(5) * np.sqrt(0.02 * 0.01)
    a = tau * np.log(4 / (c * tau) - 3)
    return np.log1p(3 * np.exp(-a / tau)) + 0.75 * c * a


def test_a_parameter_changed_after_the_first_call_is_seen():
    """Programs are kept by what a loss computes, never by the function that computes it."""
    box = {"tau": None}
    instance = Tempered(None)

    def closed_over(z, k):
        return cross_entropy(z / box["tau"], k)

    for loss in (closed_over, instance, jax.jit(closed_over)):
        for tau in (1.0, 0.1, 1.0):
            box["tau"] = instance.tau = tau
            model = UFM(loss, 4, n=5, **SIZES)
            found = solve(model, key=jax.random.key(0))
            assert closed_form(tau) == pytest.approx(BY_TEMPERATURE[tau], abs=1e-6)
            assert found.objective == pytest.approx(closed_form(tau), abs=1e-12)
            assert model.minimiser().value == pytest.approx(closed_form(tau), abs=1e-14)


def test_a_model_keeps_the_loss_that_it_was_made_with():
    instance = Tempered(1.0)
    model = UFM(instance, 4, n=5, **SIZES)
    instance.tau = 0.1
    assert model.with_dimension(7).minimiser().value == pytest.approx(closed_form(1.0), abs=1e-14)
    point = model.random_point(jax.random.key(1))
    expected = UFM(Tempered(1.0), 4, n=5, **SIZES)
    assert float(model.objective(point)) == float(expected.objective(point))
    assert model.loss == expected.loss != UFM(instance, 4, n=5, **SIZES).loss


def test_losses_are_equal_when_they_compute_the_same():
    def of(array):
        return UserLoss(lambda z, k: cross_entropy(z + array, k), "shifted").at(3)

    one, same, other = of(np.array([0, 0.1, 0.2])), of(jnp.array([0, 0.1, 0.2])), of(np.zeros(3))
    assert one == same
    assert hash(one) == hash(same)
    assert one != other
    assert UserLoss(cross_entropy).at(3) != UserLoss(cross_entropy).at(4)


@pytest.mark.slow
def test_a_vector_over_classes_is_probed_at_the_classes_of_the_model():
    """Logit adjustment (Menon et al. 2021), against a descent that shares no code."""
    priors, counts = np.log([0.4, 0.3, 0.2, 0.1]), (8, 6, 4, 2)

    def naive(z, k):
        return naive_cross_entropy()(z + priors, k)

    problem = Problem.of(naive, counts, 6, 0.02, 0.01, merged=True)
    start = np.random.default_rng(0).normal(size=problem.size)
    found = minimize(problem.value_and_gradient, start, jac=True, options={"gtol": 1e-9})
    expected = found.fun  # exact to the square of the gradient over the curvature, below 1e-14
    model = UFM(Shifted(jnp.asarray(priors)), counts=counts, **SIZES)
    found = solve(model, key=jax.random.key(0))
    assert found.objective == pytest.approx(expected, abs=1e-12)
    assert model.certificate(found.point).gap == pytest.approx(0, abs=1e-12)
    assert expected == pytest.approx(0.39346916354542, abs=1e-13)
    # Twice the samples are twice the decay of features: the value with lambda_H = 0.02.
    double = UFM(Shifted(jnp.asarray(priors)), counts=(16, 12, 8, 4), **SIZES)
    assert solve(double, key=jax.random.key(0)).objective == pytest.approx(
        0.509217328977859, abs=1e-13
    )
    with pytest.raises(InputError, match="incompatible shapes"):
        UFM(Shifted(jnp.asarray(priors)), 3, **SIZES)

    def among_five(z, k):
        return jax.nn.logsumexp(jax.lax.top_k(z, 5)[0]) - z[k]

    assert UFM(among_five, 7, **SIZES).loss.program.num_classes == 7


def test_losses_written_for_batches_and_for_arrays_of_labels_work():
    def gathered(logits, labels):
        p = jax.nn.log_softmax(logits)
        return -jnp.mean(jnp.take_along_axis(p, labels[..., None], axis=-1))

    def cast(logits, label):
        return cross_entropy(logits, label.astype(int))

    rng = np.random.default_rng(0)
    for loss in (gathered, cast, optax.softmax_cross_entropy_with_integer_labels):
        made = UserLoss(loss).at(K)
        for k in (0, jnp.int32(1), np.int64(2)):
            z = rng.normal(size=K)
            assert float(made(z, k)) == pytest.approx(float(cross_entropy(z, k)), abs=1e-14)


def test_a_model_with_a_users_loss_travels_by_pickle():
    model = UFM(my_focal, K, **SIZES)
    model.minimiser(), model.merge()
    again = pickle.loads(pickle.dumps(model))
    point = model.random_point(jax.random.key(0))
    assert again.loss == model.loss
    assert float(again.objective(point)) == float(model.objective(point))
    assert again.merge().reduce(point).H.shape == (6, K)


def test_a_pickled_loss_that_computes_something_else_is_refused():
    instance = Tempered(1.0)
    program = UserLoss(instance).at(K).program
    instance.tau = 0.5
    with pytest.raises(InputError, match="must compute what it computed"):
        pickle.loads(pickle.dumps(program))


def test_the_closed_form_of_a_temperature():
    """L = CE(2 z): (K - 1) p' = 2 (K - 1) / K * ... gives 2 alpha = log(2 K / c - K + 1)."""
    model = UFM(hot_cross_entropy, K, 5, 4, lambda_W=0.02, lambda_H=0.03)
    found = model.minimiser()
    assert found.code.a == pytest.approx(np.log(2 * K / model.c - K + 1) / 2, rel=1e-13)
    assert found.code.a != pytest.approx(np.log(K / model.c - K + 1), rel=0.1)
    assert found.evidence == "probed"


@pytest.mark.slow
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
