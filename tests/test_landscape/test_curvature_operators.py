"""Operators against dense matrices, and the inputs they refuse."""

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import scipy.sparse
from jax.flatten_util import ravel_pytree

from landscape.curvature.operators import (
    as_operator,
    gaussian,
    hessian_operator,
    orthonormal_null_vectors,
    probe_norm,
    product,
    products,
    rounding_floor,
)
from ufm.errors import InputError

jax.config.update("jax_enable_x64", True)

KEY = jax.random.key(7)


def quartic(point: dict[str, Any]) -> Any:
    """Not quadratic, so that the Hessian depends on the point, and couples the two leaves."""
    return jnp.sum(point["a"] ** 2 @ point["b"]) + jnp.sum(point["b"] ** 4)


POINT = {"a": np.arange(6.0).reshape(2, 3) / 7, "b": np.array([1.0, -2.0, 0.5])}


def symmetric(size: int, seed: int = 0) -> Any:
    a = np.random.default_rng(seed).standard_normal((size, size))
    return (a + a.T) / 2


def test_hessian_products_are_those_of_the_dense_hessian() -> None:
    flat, unravel = ravel_pytree(POINT)
    dense = np.asarray(jax.jit(jax.hessian(lambda x: quartic(unravel(x))))(flat))
    operator = hessian_operator(quartic, POINT)
    assert operator.size == 9
    block = gaussian(KEY, 1, 9, 4)
    np.testing.assert_allclose(operator.matmat(block), dense @ block, rtol=0, atol=1e-13)
    np.testing.assert_allclose(
        operator.matvec(block[:, 1]), dense @ block[:, 1], rtol=0, atol=1e-13
    )
    back = operator.unravel(flat)
    np.testing.assert_array_equal(back["a"], POINT["a"])


class Bowl:
    """A pytree with a method, and a count of the times it was traced."""

    traced = 0

    def __init__(self, curvature: Any) -> None:
        self.curvature = curvature

    def objective(self, x: Any) -> Any:
        Bowl.traced += 1
        return self.curvature * jnp.sum(x**2) / 2


jax.tree_util.register_pytree_node(
    Bowl, lambda bowl: ((bowl.curvature,), None), lambda _, leaves: Bowl(*leaves)
)


def test_the_numbers_of_a_model_do_not_compile_again() -> None:
    vector = np.ones(3)
    first = hessian_operator(Bowl(2.0).objective, np.zeros(3)).matvec(vector)
    np.testing.assert_array_equal(first, 2.0 * vector)
    operator = hessian_operator(Bowl(5.0).objective, np.ones(3))
    before = Bowl.traced
    np.testing.assert_array_equal(operator.matvec(vector), 5.0 * vector)
    assert Bowl.traced == before


def test_a_callable_without_hash_is_accepted() -> None:
    class Unhashable:
        __hash__ = None  # type: ignore[assignment]

        def __call__(self, x: Any) -> Any:
            return 3.0 * jnp.sum(x**2) / 2

    product_ = hessian_operator(Unhashable(), np.zeros(2)).matvec(np.array([1.0, -1.0]))
    np.testing.assert_array_equal(product_, [3.0, -3.0])


@pytest.mark.parametrize(
    ("function", "point", "says"),
    [
        (jnp.sum, np.ones(3, np.float32), "float64"),
        (jnp.sum, {"a": np.ones(3), "b": np.ones(2, np.float32)}, "float32"),
        (lambda x: jnp.sum(x).astype(jnp.float32), np.ones(3), "float32"),
        (jnp.sum, np.arange(3), "int"),
        (lambda x: x, np.ones(3), "scalar"),
        (lambda x: (jnp.sum(x), 0), np.ones(3), "scalar"),
        (lambda x: jnp.zeros(()), {}, "at least one entry"),
    ],
)
def test_refused_functions(function: Any, point: Any, says: str) -> None:
    with pytest.raises(InputError, match=says) as caught:
        hessian_operator(function, point)
    assert "\n" not in str(caught.value)


def test_float32_is_refused_with_the_way_to_float64() -> None:
    for matrix in (np.eye(3, dtype=np.float32), jnp.eye(3, dtype=jnp.float32)):
        with pytest.raises(InputError, match=r"jax_enable_x64.*import ufm"):
            as_operator(matrix)
    jax.config.update("jax_enable_x64", False)
    try:
        with pytest.raises(InputError, match=r"jax_enable_x64.*import ufm"):
            hessian_operator(jnp.sum, np.ones(2))
    finally:
        jax.config.update("jax_enable_x64", True)


class Linear:
    """The least that counts as a linear operator: a shape and products."""

    def __init__(self, matrix: Any) -> None:
        self.matrix, self.shape = matrix, matrix.shape

    def matvec(self, vector: Any) -> Any:
        return self.matrix @ vector


@pytest.mark.parametrize(
    "wrap",
    [
        np.asarray,
        jnp.asarray,
        scipy.sparse.csr_array,
        scipy.sparse.linalg.aslinearoperator,
        Linear,
        as_operator,
    ],
)
def test_every_kind_of_operator_gives_the_same_products(wrap: Any) -> None:
    matrix, block = symmetric(5), gaussian(KEY, 1, 5, 3)
    operator = as_operator(wrap(matrix))
    np.testing.assert_allclose(products(operator, block, 2), matrix @ block, rtol=0, atol=1e-14)
    np.testing.assert_allclose(product(operator, block[:, 0]), matrix @ block[:, 0], atol=1e-14)


def test_integers_are_numbers() -> None:
    np.testing.assert_array_equal(product(as_operator(np.diag([1, 2])), np.ones(2)), [1.0, 2.0])


@pytest.mark.parametrize(
    ("matrix", "says"),
    [
        (np.ones((2, 3)), "square"),
        (np.ones(3), "square"),
        ([[1.0]], "list"),
        (np.ones((0, 0)), "sq"),
    ],
)
def test_refused_matrices(matrix: Any, says: str) -> None:
    with pytest.raises(InputError, match=says):
        as_operator(matrix)


def test_bad_products_are_refused() -> None:
    bad = np.eye(3)
    bad[1, 1] = np.nan
    with pytest.raises(InputError, match="NaN"):
        product(as_operator(bad), np.ones(3))
    single = Linear(np.eye(3))
    single.matvec = lambda vector: np.float32(vector)  # type: ignore[method-assign]
    with pytest.raises(InputError, match="float32"):
        product(as_operator(single), np.ones(3))
    single.matvec = lambda vector: vector[:2]  # type: ignore[method-assign]
    with pytest.raises(InputError, match="shape"):
        product(as_operator(single), np.ones(3))


def test_products_show_the_operator_one_width() -> None:
    widths = []

    class Watch(Linear):
        def matmat(self, block: Any) -> Any:
            widths.append(block.shape[1])
            return self.matrix @ block

    block = gaussian(KEY, 1, 4, 5)
    image = products(as_operator(Watch(np.eye(4))), block, 3)
    np.testing.assert_array_equal(image, block)
    assert widths == [3, 3]


def test_random_blocks_depend_on_key_and_stream_alone() -> None:
    block = gaussian(KEY, 1, 4, 2)
    np.testing.assert_array_equal(block, gaussian(jax.random.key(7), 1, 4, 2))
    np.testing.assert_array_equal(block, gaussian(jax.random.PRNGKey(7), 1, 4, 2))
    assert not np.any(block == gaussian(KEY, 2, 4, 2))
    assert not np.any(block == gaussian(jax.random.key(8), 1, 4, 2))


@pytest.mark.parametrize("size", [2, 30, 300])
def test_asymmetry_is_seen_and_rounding_is_not(size: int) -> None:
    matrix = symmetric(size)
    norm, _ = probe_norm(as_operator(matrix), KEY, 2)
    true = np.linalg.norm(matrix, 2)
    assert 0.1 * true < norm <= true * (1 + 1e-12)
    tilted = matrix.copy()
    tilted[0, 1] += 1e-6 * true
    with pytest.raises(InputError, match="symmetric"):
        probe_norm(as_operator(tilted), KEY, 2)


def test_the_norm_of_zero_is_zero() -> None:
    assert probe_norm(as_operator(np.zeros((3, 3))), KEY, 2) == (0.0, 2)


def test_null_vectors_are_reduced_to_their_rank() -> None:
    operator = as_operator(np.diag([0.0, 0.0, 3.0, 4.0]))
    given = np.zeros((4, 3))
    given[:2] = [[1.0, 2.0, 3.0], [1.0, 2.0, 4.0]]
    basis, residual = orthonormal_null_vectors(operator, given, 4.0, 2)
    np.testing.assert_allclose(basis @ basis.T, np.diag([1.0, 1.0, 0.0, 0.0]), atol=1e-15)
    assert residual <= rounding_floor(4)
    for nothing in (None, np.zeros((4, 0)), np.zeros((4, 2))):
        assert orthonormal_null_vectors(operator, nothing, 4.0, 2)[0].shape == (4, 0)


@pytest.mark.parametrize(
    ("given", "says"),
    [
        (np.ones(4), "columns"),
        (np.ones((3, 1)), "columns"),
        (np.ones((4, 1), np.float32), "float32"),
        (np.full((4, 1), np.nan), "NaN"),
        (np.eye(4)[:, 2:3], "null vectors"),
    ],
)
def test_refused_null_vectors(given: Any, says: str) -> None:
    operator = as_operator(np.diag([0.0, 0.0, 3.0, 4.0]))
    with pytest.raises(InputError, match=says):
        orthonormal_null_vectors(operator, given, 4.0, 2)
