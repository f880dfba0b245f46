"""What a descent will take: counted operations, and what is short is not timed."""

import jax
import numpy as np
import pytest

from experiments import cost
from experiments.cost import (
    OPERATIONS,
    descent_cost,
    expected_seconds,
    require_eigenvalues,
    small_model,
)
from ufm import UFM, CrossEntropy, Focal
from ufm.errors import InputError


def test_a_hessian_product_costs_what_its_compiled_program_does():
    """XLA counts operations itself: six products of matrices, and little beside them."""
    K, d, columns = 40, 30, 50
    model = UFM(CrossEntropy(), counts=(1,) * 30 + (2,) * 10, d=d, lambda_W=0.1, lambda_H=0.1)
    point = model.random_point(jax.random.key(0))

    def product(at, direction):
        return jax.jvp(jax.grad(model.objective), (at,), (direction,))[1]

    program = jax.jit(product).lower(point, point).compile()
    # The product without its linearisation has 6; with it, as here, 3 more (value and gradient).
    counted = program.cost_analysis()["flops"]
    assert counted == pytest.approx((OPERATIONS + 6) * K * d * columns, rel=0.2)


def test_narrow_starts_and_merged_samples_cost_less():
    one = descent_cost(10, 10, 40, True).operations
    assert descent_cost(10, 10, 40, False).operations == 2 * one  # the row space of W and H
    assert descent_cost(10, 30, 40, True).operations == 3 * one
    assert descent_cost(10, 10, 5, True).operations == one / 2
    assert descent_cost(10, 10, 40, True).memory < descent_cost(10, 30, 40, True).memory


def test_seconds_are_operations_over_the_speed_of_this_machine(monkeypatch):
    monkeypatch.setattr(cost, "matrix_speed", lambda: 1e9)
    work = descent_cost(1000, 1000, 2048, True)
    assert expected_seconds(work) == work.operations / 1e9
    monkeypatch.setattr(cost, "matrix_speed", lambda: 1e15)
    assert expected_seconds(work) is None


def test_the_model_that_is_solved_is_merged_where_that_is_lossless():
    decays = {"lambda_W": 0.1, "lambda_H": 0.1}
    convex, focal = (UFM(loss, 3, 5, 2, **decays) for loss in (CrossEntropy(), Focal(3.0)))
    assert small_model(convex, "auto").merged
    assert small_model(convex, False) is convex
    assert small_model(focal, "auto") is focal
    assert small_model(focal, True).merged


def test_eigenvalues_are_refused_where_their_matrices_do_not_fit(monkeypatch):
    """K = 4 different classes: five times 4 x 4 x 4 numbers of eight bytes."""
    model = UFM(CrossEntropy(), 4, 5, lambda_W=0.1, lambda_H=0.1)
    point = model.random_point(jax.random.key(0))
    size = 8 * 5 * 4**3
    monkeypatch.setattr("experiments.memory.available_memory", lambda: size - 1)
    with pytest.raises(InputError, match="leave out --eigenvalues") as told:
        require_eigenvalues(model, point, True)
    assert f"{size / 2**30:.2g} GiB" in str(told.value)
    require_eigenvalues(model, point, False)  # convexity decides
    require_eigenvalues(model, point._replace(W=np.ones((4, 5))), True)  # one matrix for all
    with pytest.raises(InputError, match="use a machine with more memory"):
        require_eigenvalues(model._replace(loss=Focal(2.0)), point, False)
    monkeypatch.setattr("experiments.memory.available_memory", lambda: size)
    require_eigenvalues(model, point, True)
