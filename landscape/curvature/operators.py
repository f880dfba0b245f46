"""Symmetric operators: what the Krylov methods multiply with, and what they refuse."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax.flatten_util import ravel_pytree
from jax.tree_util import Partial

from ufm.errors import InputError
from ufm.precision import FLOAT64_REMEDY, require_x64
from ufm.typing import Array

EPSILON = float(np.finfo(np.float64).eps)
# A rounded sum of P terms is off by about sqrt(P) units (random signs); a product is a few sums
# deep and Gram-Schmidt adds a few more. Larger would hide small genuine couplings.
ROUNDING_FACTOR = 32.0
# x'Ay and y'Ax differ by about eps |x| |Ay| for a symmetric A; the factor leaves room for products
# that cancel internally, and still sees a relative asymmetry of 2e-12 sqrt(P).
ASYMMETRY_FACTOR = 1e4
# At a point with gradient g, a symmetry generator n has |A n| of order |g| |n|. Half the digits: an
# error of this size moves a deflated eigenvalue by its square, that is by one rounding.
NULL_TOLERANCE = EPSILON**0.5


@dataclass(frozen=True)
class Operator:
    """A symmetric linear map of R^P, known only through its products.

    Attributes:
        size: P.
        matvec: maps (P,) to (P,).
        matmat: maps (P, k) to (P, k), column by column the same as ``matvec``.
        unravel: turns a flat vector (P,) into the shape of the problem (a pytree for a Hessian).
    """

    size: int
    matvec: Callable[[Any], Any]
    matmat: Callable[[Any], Any]
    unravel: Callable[[Any], Any]


@jax.jit
def _hessian_products(function: Partial, point: Any, block: jax.Array) -> jax.Array:
    flat, unravel = ravel_pytree(point)
    gradient = jax.grad(lambda x: function(unravel(x)))

    def product(vector: jax.Array) -> jax.Array:
        return jax.jvp(gradient, (flat,), (vector,))[1]

    return jax.vmap(product, in_axes=1, out_axes=1)(block)


def _partial(function: Callable[[Any], Any]) -> Partial:
    """The function as a pytree, so that the numbers of a model are arguments of one program."""
    if isinstance(function, Partial):
        return function
    owner = getattr(function, "__self__", None)
    leaves = jax.tree.leaves(owner)
    numbers = all(isinstance(leaf, (float, np.ndarray, jax.Array)) for leaf in leaves)
    if leaves and numbers and not jax.tree_util.all_leaves([owner]):
        return Partial(function.__func__, owner)  # type: ignore[attr-defined]
    try:
        hash(function)
    except TypeError:  # an object with array fields cannot be the key of a compiled program
        return Partial(lambda point: function(point))
    return Partial(function)


def hessian_operator(function: Callable[[Any], Any], point: Any) -> Operator:
    """The Hessian of a scalar function of a pytree, as an operator on flat vectors.

        matvec(v) = d/dt grad f(x + t v) at t = 0

    Forward mode over reverse mode: a product costs a few gradients and no matrix is formed.
    Compiled once per function and block width, whatever the point (and, for a method of a pytree
    such as ``model.objective``, whatever the numbers of the model).

    Source: after Pearlmutter (1994).

    Args:
        function: maps a pytree like ``point`` to a float64 scalar, twice differentiable by JAX.
        point: pytree of float64 arrays with P entries in all.

    Returns:
        Operator of size P, flat in the order of ``jax.flatten_util.ravel_pytree``.

    Raises:
        InputError: the point or the value is not float64, the value not a scalar, no entries.

    Example:
        >>> A = hessian_operator(lambda x: x["a"] ** 2 * x["b"], {"a": 1.0, "b": 1.0})
        >>> A.size, A.matvec(np.array([1.0, 0.0])).tolist()
        (2, [2.0, 2.0])
    """
    require_x64()
    for leaf in jax.tree.leaves(point):
        if jnp.asarray(leaf).dtype != jnp.float64:
            dtype = jnp.asarray(leaf).dtype
            raise InputError("Need a point of float64 arrays", dtype, FLOAT64_REMEDY)
    flat, unravel = ravel_pytree(point)
    if flat.size == 0:
        raise InputError("Need a point with at least one entry", "none", "pass a pytree of arrays")
    value = jax.eval_shape(function, point)
    if getattr(value, "shape", None) != ():
        raise InputError("Need a scalar function", f"a value {value}", "sum or average it")
    if value.dtype != jnp.float64:
        raise InputError("Need a float64 value of the function", value.dtype, FLOAT64_REMEDY)
    program = _partial(function)

    def matmat(block: Any) -> jax.Array:
        return _hessian_products(program, point, jnp.asarray(block))

    def matvec(vector: Any) -> jax.Array:
        return matmat(jnp.asarray(vector)[:, None])[:, 0]

    return Operator(int(flat.size), matvec, matmat, unravel)


def as_operator(matrix: Any) -> Operator:
    """Whatever has products, as an ``Operator``.

    Args:
        matrix: an Operator; a square NumPy, JAX or SciPy sparse array; or any object with ``shape``
            and ``matvec`` (a SciPy LinearOperator), its ``matmat`` used where it exists.

    Returns:
        Operator with the same products.

    Raises:
        InputError: not square, without products, or of a floating type other than float64.

    Example:
        >>> as_operator(np.diag([1.0, 2.0])).matvec(np.ones(2)).tolist()
        [1.0, 2.0]
    """
    if isinstance(matrix, Operator):
        return matrix
    shape = getattr(matrix, "shape", None)
    if shape is None or not (hasattr(matrix, "matvec") or hasattr(matrix, "__matmul__")):
        kind = type(matrix).__name__
        raise InputError("Need a square array, or an object with shape and matvec", kind, "wrap it")
    if len(shape) != 2 or shape[0] != shape[1] or shape[0] < 1:
        raise InputError("Need a square operator", f"shape {tuple(shape)}", "pass a P x P one")
    dtype = getattr(matrix, "dtype", None)
    if dtype is not None and np.dtype(dtype).kind in "fc" and np.dtype(dtype) != np.float64:
        raise InputError("Need a float64 operator", np.dtype(dtype), FLOAT64_REMEDY)

    def times(block: Any) -> Any:
        return matrix @ block

    def by_column(block: Any) -> Any:
        return np.stack([np.asarray(matrix.matvec(column)) for column in block.T], axis=1)

    matvec = getattr(matrix, "matvec", times)
    matmat = getattr(matrix, "matmat", by_column if hasattr(matrix, "matvec") else times)
    return Operator(int(shape[0]), matvec, matmat, lambda vector: vector)


def rounding_floor(size: int) -> float:
    """Relative size below which the remainder of a product in R^size is rounding noise.

    Example:
        >>> rounding_floor(4) == 64 * EPSILON
        True
    """
    return ROUNDING_FACTOR * EPSILON * float(np.sqrt(size))


def _checked(product: Any, shape: tuple[int, ...]) -> Array:
    result = np.asarray(product)
    if result.shape != shape:
        raise InputError(f"Need products of shape {shape}", result.shape, "check the operator")
    if result.dtype != np.float64:
        raise InputError("Need float64 products", result.dtype, FLOAT64_REMEDY)
    if not np.all(np.isfinite(result)):
        raise InputError("Need finite products", "NaN or inf", "check the point and the operator")
    return result


def product(operator: Operator, vector: Array) -> Array:
    """One product, (P,) to (P,); InputError unless float64, finite and of the right shape.

    Example:
        >>> product(as_operator(np.eye(2)), np.array([3.0, 4.0])).tolist()
        [3.0, 4.0]
    """
    return _checked(operator.matvec(vector), (operator.size,))


def products(operator: Operator, block: Array, width: int) -> Array:
    """Products of the columns of a (P, k) block, ``width`` at a time, checked like ``product``.

    Short slices are padded with zeros: a compiled operator then sees one width and compiles once.

    Example:
        >>> products(as_operator(np.diag([1.0, 2.0])), np.ones((2, 3)), width=2).tolist()
        [[1.0, 1.0, 1.0], [2.0, 2.0, 2.0]]
    """
    pieces = [np.zeros((operator.size, 0))]
    for first in range(0, block.shape[1], width):
        piece = block[:, first : first + width]
        padded = np.zeros((operator.size, width))
        padded[:, : piece.shape[1]] = piece
        image = _checked(operator.matmat(padded), (operator.size, width))
        pieces.append(image[:, : piece.shape[1]])
    return np.concatenate(pieces, axis=1)


def gaussian(key: jax.Array, stream: int, size: int, columns: int) -> Array:
    """Standard normal (size, columns) block, the ``stream``-th that belongs to an explicit key.

    Drawn on the host: nothing is compiled for a new shape, and no device changes the numbers.
    """
    seed = np.asarray(jax.random.key_data(key)).ravel().tolist()
    return np.random.default_rng([*seed, stream]).standard_normal((size, columns))


def probe_norm(operator: Operator, key: jax.Array, width: int) -> tuple[float, int]:
    """A lower estimate of |A| and the number of products spent; refuses a non-symmetric operator.

    Two Gaussian vectors must satisfy x'Ay = y'Ax up to rounding; the estimate is two steps of the
    power method from each.

    Raises:
        InputError: x'Ay differs from y'Ax, or a product is not a finite float64 vector.

    Example:
        >>> norm, spent = probe_norm(as_operator(3.0 * np.eye(2)), jax.random.key(0), width=2)
        >>> round(norm, 12), spent
        (3.0, 4)
    """
    x = gaussian(key, 0, operator.size, 2)
    image = products(operator, x, width)
    lengths, image_lengths = np.linalg.norm(x, axis=0), np.linalg.norm(image, axis=0)
    difference = abs(float(x[:, 0] @ image[:, 1] - x[:, 1] @ image[:, 0]))
    bound = ASYMMETRY_FACTOR * EPSILON * float(lengths[::-1] @ image_lengths)
    if difference > bound:
        raise InputError(
            f"Need a symmetric operator: |x'Ay - y'Ax| <= {bound:.3g} for random x, y",
            f"{difference:.3g}",
            "pass (A + A')/2 or check the product",
        )
    norm = float(np.max(image_lengths / lengths))
    if not np.all(image_lengths > 0):
        return norm, 2
    twice = products(operator, image / image_lengths, width)
    return max(norm, float(np.max(np.linalg.norm(twice, axis=0)))), 4


def orthonormal_null_vectors(
    operator: Operator, null_vectors: Any, norm: float, width: int
) -> tuple[Array, float]:
    """Orthonormal basis N (P, q) of the span of known null vectors, and its residual |A N|.

    The given vectors may be dependent (symmetry generators usually are): q is their numerical rank,
    by the rule of ``numpy.linalg.matrix_rank``.

    Raises:
        InputError: wrong shape or type, or |A N| > sqrt(eps) norm: deflating such vectors would
            hide eigenvalues that are not zero.

    Example:
        >>> A, twice = as_operator(np.diag([0.0, 1.0])), np.array([[1.0, 2.0], [0.0, 0.0]])
        >>> orthonormal_null_vectors(A, twice, norm=1.0, width=1)[0].shape
        (2, 1)
    """
    if null_vectors is None:
        return np.zeros((operator.size, 0)), 0.0
    given = np.asarray(null_vectors)
    if given.ndim != 2 or given.shape[0] != operator.size or given.dtype != np.float64:
        rule = f"Need null_vectors as float64 columns, shape ({operator.size}, q)"
        raise InputError(rule, f"{given.dtype} {given.shape}", "stack the flat vectors as columns")
    if not np.all(np.isfinite(given)):
        raise InputError("Need finite null_vectors", "NaN or inf", "check the generators")
    if given.shape[1] == 0:
        return given, 0.0
    u, sizes, _ = np.linalg.svd(given, full_matrices=False)
    basis = u[:, sizes > max(given.shape) * EPSILON * sizes[0]]
    residual = float(np.linalg.norm(products(operator, basis, width)))
    if residual > NULL_TOLERANCE * norm:
        raise InputError(
            f"Need null vectors, |A N| <= {NULL_TOLERANCE * norm:.3g}",
            f"{residual:.3g}",
            "polish the point to a smaller gradient, or pass null_vectors=None",
        )
    return basis, residual
