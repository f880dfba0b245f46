"""Dense Hessians against NumPy, and Taylor remainders that tell right derivatives from wrong."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from landscape.curvature import hessian as hessian_module
from landscape.curvature.hessian import dense_hessian, taylor_orders
from tests.helpers import FAMILY, Problem
from ufm import UFM, InputError, Model, Point
from ufm.model import hessian_vector_product
from ufm.records import pytree_record

COUNTS, D, LW, LH = (2, 1, 3), 5, 0.03, 0.02


def pair_of(name, lambda_b, *, merged=False):
    loss, naive = FAMILY[name]
    model = UFM(loss, counts=COUNTS, d=D, lambda_W=LW, lambda_H=LH, lambda_b=lambda_b)
    brute = Problem.of(naive, COUNTS, D, LW, LH, lambda_b, merged=merged)
    return (model.merge().model if merged else model), brute


@pytest.mark.parametrize("merged", [False, True])
@pytest.mark.parametrize(("name", "lambda_b"), [("ce", 0.04), ("focal", 0.0), ("mse", None)])
def test_it_is_the_hessian_in_numpy(name, lambda_b, merged):
    model, brute = pair_of(name, lambda_b, merged=merged)
    x = brute.random(1, 2.0)
    point = brute.unpack(x)
    got, expected = dense_hessian(model, point), brute.hessian(x)
    assert got.shape == (brute.size, brute.size)
    assert isinstance(got, np.ndarray)
    assert np.array_equal(got, got.T)
    assert np.abs(got - expected).max() < 1e-14 * np.abs(expected).max() * brute.size
    elsewhere = brute.hessian(brute.random(2, 2.0))
    assert np.abs(got - elsewhere).max() > 1e-2


def test_its_columns_are_hessian_vector_products():
    model, brute = pair_of("ce", 0.04)
    point = brute.unpack(brute.random(3))
    direction = brute.unpack(brute.random(4))
    image = brute.pack(hessian_vector_product(model, point, direction))
    assert np.allclose(dense_hessian(model, point) @ brute.pack(direction), image, atol=1e-14)


def test_a_hundred_thousand_variables_are_refused_with_the_size_and_the_way_out():
    model = UFM(FAMILY["ce"][0], 50, 1000, lambda_W=LW, lambda_H=LH)
    assert model.num_parameters == 100_000
    with pytest.raises(InputError) as refused:
        dense_hessian(model, model.origin())
    text = str(refused.value)
    assert "16,000" in text
    assert "100,000 (74.5 GiB)" in text  # 8 * 10^10 bytes
    assert "full_spectrum" in text
    assert "lanczos" in text


def test_the_limit_is_the_largest_size_that_is_served(monkeypatch):
    model, brute = pair_of("ce", 0.04)
    point = brute.unpack(brute.random(1))
    monkeypatch.setattr(hessian_module, "MAX_DENSE_SIZE", brute.size)
    assert dense_hessian(model, point).shape[0] == brute.size
    monkeypatch.setattr(hessian_module, "MAX_DENSE_SIZE", brute.size - 1)
    with pytest.raises(InputError):
        dense_hessian(model, point)


@pytree_record(static=("d", "wrong"), eq=False)
class Wavy(Model):
    """sum sin(x) over a vector, with derivatives that may be deliberately wrong."""

    d: int
    wrong: str

    def objective(self, point):
        return jnp.sum(jnp.sin(point["x"]))

    def random_point(self, key, scale=1.0):
        return {"x": scale * jax.random.normal(key, (self.d,))}

    def with_dimension(self, d):
        return Wavy(d, self.wrong)

    def gradient(self, point):
        factor = 1.5 if self.wrong == "gradient" else 1.0
        return {"x": factor * jnp.cos(point["x"])}

    def hessian_vector_product(self, point, direction):
        factor = 1.5 if self.wrong == "hessian" else 1.0
        return {"x": -factor * jnp.sin(point["x"]) * direction["x"]}


@pytest.mark.parametrize(
    ("wrong", "orders"), [("nothing", (2, 3)), ("gradient", (1, 1)), ("hessian", (2, 2))]
)
def test_taylor_orders_tell_which_derivative_is_wrong(wrong, orders):
    model = Wavy(4, wrong)
    x, direction = (model.random_point(jax.random.key(s)) for s in (0, 1))
    found = taylor_orders(model, x, direction)
    # Steps reach 0.1: the next order bends the fit by less than a quarter.
    assert found == pytest.approx(orders, abs=0.25)


def test_taylor_orders_do_not_depend_on_the_length_of_the_direction():
    model, brute = pair_of("focal", 0.0)
    x, direction = (brute.unpack(brute.random(s, 3.0)) for s in (0, 1))
    found = taylor_orders(model, x, direction)
    assert found == pytest.approx((2, 3), abs=0.25)
    long = Point(*(1e4 * leaf for leaf in direction))
    assert taylor_orders(model, x, long) == pytest.approx(found, abs=1e-3)
