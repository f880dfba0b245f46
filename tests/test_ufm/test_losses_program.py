"""A loss as a program: what is refused, and the line that says why."""

import math

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from ufm import UFM, InputError, UserLoss
from ufm.losses.program import described, traced

K = 3
SIZES = {"d": 4, "lambda_W": 0.02, "lambda_H": 0.01}


def cross_entropy(z, k):
    return jax.nn.logsumexp(z) - z[k]


class Silent(Exception):
    def __str__(self):
        raise RuntimeError("nor this")


def raising(error):
    def loss(z, k):
        raise error

    return loss


def looping(z, k):
    return jax.lax.while_loop(lambda x: x < jnp.inf, lambda x: x + 1, z[k])


def batch(logits, labels):
    return jax.vmap(cross_entropy)(logits, labels)


BAD = [
    (lambda z, k: z, "shape (3,)", "one sample"),
    (lambda z, k: jnp.stack([z[k]]), "shape (1,)", "one sample"),
    (lambda z, k: (z[k], 1.0), "a tuple", "one JAX scalar"),
    (lambda z, k: None, "a NoneType", "one JAX scalar"),
    (lambda z, k: jnp.log(z[k] - 1e9), "nan", "one JAX scalar"),
    (lambda z, k: jnp.log(jnp.sum(z) * 0), "-inf", "one JAX scalar"),
    (lambda z, k: z[k] / undefined, "NameError", "one JAX scalar"),  # noqa: F821
    (lambda z: z[0], "TypeError", "one JAX scalar"),
    (lambda z, k: "one", "TypeError", "one JAX scalar"),
    (batch, "ValueError", "one JAX scalar"),
    (lambda z, k: (jnp.argmax(z) != k).astype(int), "type int64", "a real value"),
    (lambda z, k: jnp.argmax(z) != k, "type bool", "a real value"),
    (lambda z, k: cross_entropy(z, k) + 0j, "type complex128", "a real value"),
    (lambda z, k: z[0] ** 2 if k == 0 else z[1] ** 2, "TracerBool", "jnp.where"),
    (lambda z, k: max(z[0], z[k]), "TracerBool", "jnp.where"),
    (lambda z, k: np.log(np.exp(z).sum()) - z[k], "TracerArray", "use jnp"),
    (lambda z, k: np.ones(3)[k] * z[k], "TracerArray", "jnp.asarray(table)[label]"),
    (lambda z, k: [1, 2, 3][k] * z[k], "TracerInteger", "jnp.asarray(table)[label]"),
    (lambda z, k: math.log(z[k]), "Concretization", "use jnp"),
    (lambda z, k: float(z[k]), "Concretization", "use jnp"),
    (looping, "Reverse-mode differentiation", "one JAX scalar"),
    (raising(SystemExit()), "SystemExit", "one JAX scalar"),
    (raising(GeneratorExit()), "GeneratorExit", "one JAX scalar"),
    (raising(Silent()), "Silent: (its message cannot be shown)", "one JAX scalar"),
    (raising(RuntimeError("first line\nsecond line")), "RuntimeError: first line", "one JAX"),
]


@pytest.mark.parametrize(("function", "says", "remedy"), BAD, ids=[says for _, says, _ in BAD])
def test_what_is_not_a_loss_is_refused_in_one_line(function, says, remedy):
    with pytest.raises(InputError) as caught:
        UFM(function, K, **SIZES)
    message = str(caught.value)
    assert says in message
    assert remedy in message.partition("Remedy")[2]
    assert "finite scalar" in message
    assert "\n" not in message
    assert "second" not in message


def test_ctrl_c_is_not_told_as_an_error_of_the_loss():
    with pytest.raises(KeyboardInterrupt):
        UFM(raising(KeyboardInterrupt()), K, **SIZES)


def test_the_line_of_the_loss_is_named():
    def on_its_second_line(z, k):
        total = jnp.sum(z)
        return total if total > 0 else z[k]

    first = on_its_second_line.__code__.co_firstlineno
    with pytest.raises(InputError, match=rf"\(test_losses_program\.py:{first + 2}\)"):
        UFM(on_its_second_line, K, **SIZES)


NARROW = [
    (lambda z, k: cross_entropy(z.astype(jnp.float32), k), "float32 in `convert_element_type`"),
    (lambda z, k: cross_entropy(z.astype(jnp.float32), k).astype(float), "float32 in"),
    (lambda z, k: cross_entropy(z.astype(jnp.bfloat16), k) * 1.0, "bfloat16 in"),
    (lambda z, k: cross_entropy(z * np.float32(0.1), k), "float32 constant 0.1"),
    (lambda z, k: cross_entropy(z * jnp.float32(0.7), k), "float32 constant 0.699"),
    (lambda z, k: cross_entropy(z + np.ones(3, np.float32), k), "float32 in"),
    (lambda z, k: cross_entropy(z + jnp.ones(3, jnp.float32), k), "float32 in"),
    (lambda z, k: jax.lax.cond(k > 0, lambda x: jnp.sum(x.astype("f4")), jnp.sum, z), ""),
]


@pytest.mark.parametrize(("function", "says"), NARROW)
def test_float32_in_a_loss_is_refused_with_its_place(function, says):
    with pytest.raises(InputError) as caught:
        UFM(function, K, **SIZES)
    message = str(caught.value)
    assert says in message
    if says:
        assert "computes in float64" in message
        assert "(test_losses_program.py:" in message


@pytest.mark.parametrize("factor", [0.1, 1 / 3, 0.375, 3, 2.0**-20, 1234567, 1e300, 1e-300])
def test_constants_of_float64_are_not_taken_for_float32(factor):
    traced(lambda z, k: cross_entropy(z, k) + factor * z[k] ** 2, K, "squared")


def one_hot_convention(z, y):
    return -jnp.sum(y * jax.nn.log_softmax(z))


SYMMETRIC = [
    one_hot_convention,
    lambda z, y: jnp.sum((z - y) ** 2),
    lambda z, y: jnp.sum(jnp.maximum(0, 1 - y * z)),
    lambda z, y: 1.0,
    lambda z, y: jax.nn.logsumexp(z),
]


@pytest.mark.parametrize("loss", SYMMETRIC)
def test_a_loss_whose_label_says_nothing_is_refused(loss):
    with pytest.raises(InputError, match=r"depends on the logit of its label.*one-hot"):
        UFM(loss, K, **SIZES)


@pytest.mark.parametrize(
    "loss",
    [
        lambda z, k: jnp.array([0.0, 0.0, 1.0])[k] * cross_entropy(z, k),  # two classes ignored
        lambda z, k: jax.nn.logsumexp(-z) + z[k],  # prefers every other logit, which is allowed
        lambda z, k: 1e-6 * cross_entropy(z, k) + 1.0,
        lambda z, k: -jnp.exp(-100 * jnp.sum((z - jax.nn.one_hot(k, K)) ** 2)),  # a narrow well
    ],
)
def test_odd_losses_are_losses(loss):
    UserLoss(loss).at(K)


def test_a_rule_of_its_own_for_derivatives_is_part_of_a_loss():
    def of(slope):
        @jax.custom_jvp
        def bent(x):
            return x

        bent.defjvp(lambda primals, tangents: (primals[0], slope * tangents[0]))
        return UserLoss(lambda z, k: cross_entropy(bent(z), k), "bent").at(K)

    assert of(1.0) == of(1.0) != of(0.5)
    z = np.array([0.3, -1.0, 2.0])
    assert jax.grad(of(0.5))(z, 0)[0] == pytest.approx(0.5 * jax.grad(of(1.0))(z, 0)[0])


def test_an_error_is_described_without_the_code_that_met_it():
    try:
        raising(ValueError("wrong. "))(0, 0)
    except ValueError as error:
        told = described(error)
    line = raising.__code__.co_firstlineno + 2
    assert told == f"ValueError: wrong (test_losses_program.py:{line})"
    assert described(KeyError()) == "KeyError"
    assert described(Silent()).endswith("(its message cannot be shown)")


def test_calls_back_into_python_cannot_be_told_apart():
    def loss(z, k):
        shape = jax.ShapeDtypeStruct((), z.dtype)
        return jax.pure_callback(lambda x: np.sum(x), shape, z) + cross_entropy(z, k)

    with pytest.raises(InputError, match="calls back into Python"):
        UFM(loss, K, **SIZES)
