"""Derivatives by the chain rule against automatic differentiation and against NumPy loops."""

import numpy as np
import pytest

from tests.helpers import FAMILY, Problem, slow
from ufm import UFM
from ufm.losses.columns import column_hessians, column_products
from ufm.model import hessian_vector_product
from ufm.model import value_and_gradient as by_differentiation
from ufm.plain.chain_rule import (
    dense_derivatives,
    second_derivative,
    value_and_gradient,
)
from ufm.point import flatten, unflatten

COUNTS, D = (3, 1, 2, 2), 5
DECAYS = {"lambda_W": 0.03, "lambda_H": 0.007}


def both(name, lambda_b, merged):
    loss, naive = FAMILY[name]
    model = UFM(loss, counts=COUNTS, d=D, **DECAYS, lambda_b=lambda_b)
    brute = Problem.of(naive, COUNTS, D, *DECAYS.values(), lambda_b, merged=merged)
    return (model.merge().model if merged else model), brute


@pytest.mark.parametrize("merged", [True, False])
@pytest.mark.parametrize("lambda_b", [None, 0.05])
@pytest.mark.parametrize("name", ["ce", "focal", "rescaled", "hot"])
def test_value_and_gradient_are_those_of_the_loop(name, lambda_b, merged):
    model, brute = both(name, lambda_b, merged)
    x = brute.random(1, 2.0)
    value, gradient = value_and_gradient(model, brute.unpack(x))
    expected, slope = brute.value_and_gradient(x)
    assert value == pytest.approx(expected, abs=1e-13)
    np.testing.assert_allclose(brute.pack(gradient), slope, rtol=0, atol=1e-13)
    said = model.value_and_gradient(brute.unpack(x))
    assert said[0] == value  # the model uses it


@pytest.mark.parametrize("merged", [True, False])
@pytest.mark.parametrize("name", ["ce", slow("focal")])
def test_second_derivative_is_that_of_automatic_differentiation(name, merged):
    model, brute = both(name, 0.05, merged)
    point = brute.unpack(brute.random(1, 2.0))
    direction = brute.unpack(brute.random(2, 1.0))
    image = hessian_vector_product(model, point, direction)
    expected = float(brute.pack(direction) @ brute.pack(image))
    assert second_derivative(model, point, direction) == pytest.approx(expected, rel=1e-12)
    # Every part of the direction and of the point matters.
    for part in ("W", "H", "b"):
        half = direction._replace(**{part: 0.5 * getattr(direction, part)})
        assert abs(second_derivative(model, point, half) - expected) > 1e-3
        moved = point._replace(**{part: 1.5 * getattr(point, part)})
        assert abs(second_derivative(model, moved, direction) - expected) > 1e-3


def test_models_agree_with_the_default_that_differentiates():
    model, brute = both("ls", 0.05, True)
    point = brute.unpack(brute.random(3, 1.0))
    value, gradient = by_differentiation(model, point)
    said, slope = model.value_and_gradient(point)
    assert said == pytest.approx(float(value), abs=1e-14)
    np.testing.assert_allclose(brute.pack(slope), brute.pack(gradient), rtol=0, atol=1e-14)
    direction = brute.unpack(brute.random(4, 1.0))
    default = super(type(model), model).second_derivative(point, direction)
    assert model.second_derivative(point, direction) == pytest.approx(default, rel=1e-12)


@pytest.mark.parametrize("name", ["ce", "focal", "rescaled"])
def test_products_are_those_of_the_hessians(name):
    loss = FAMILY[name][0]
    rng = np.random.default_rng(0)
    Z, M, labels = rng.normal(size=(4, 3)), rng.normal(size=(4, 3)), np.array([0, 3, 1])
    S = np.asarray(column_hessians(loss, Z, labels))
    expected = np.einsum("iab,bi->ai", S, M)
    np.testing.assert_allclose(column_products(loss, Z, labels, M), expected, rtol=0, atol=1e-14)


@pytest.mark.parametrize("lambda_b", [None, 0.05])
@pytest.mark.parametrize("name", ["ce", "focal"])
def test_dense_derivatives_are_those_of_the_loop(name, lambda_b):
    model, brute = both(name, lambda_b, True)
    point = brute.unpack(brute.random(1, 2.0))
    value, gradient, hessian = dense_derivatives(model, point)
    assert value == pytest.approx(brute.value_and_gradient(brute.pack(point))[0], abs=1e-13)
    step, x = 1e-6, flatten(point)
    assert len(x) == len(gradient) == 2 * len(COUNTS) * D + (0 if lambda_b is None else len(COUNTS))
    for i in range(0, len(x), 7):  # 7 is coprime to the sizes: all three parts are met
        ends = []
        for sign in (1, -1):
            moved = x.copy()
            moved[i] += sign * step
            ends.append(brute.value_and_gradient(brute.pack(unflatten(moved, point))))
        (up, slope), (down, other) = ends
        assert gradient[i] == pytest.approx((up - down) / (2 * step), abs=1e-8)
        column = flatten(brute.unpack((slope - other) / (2 * step)))
        np.testing.assert_allclose(hessian[:, i], column, rtol=0, atol=1e-8)
