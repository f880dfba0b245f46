"""Points of a model: any pytree of arrays; the usual one is a classifier, features and a bias.

A point as a vector has one order of coordinates everywhere, that of ``ravel_pytree``.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any, NamedTuple, TypeVar

import jax
import jax.numpy as jnp
import numpy as np

from ufm.answers import Restriction
from ufm.errors import InputError
from ufm.kept import kept
from ufm.typing import Array

# A point of any model; a tangent vector has the same type.
P = TypeVar("P")
SMALLEST_DRAW = 128


class Point(NamedTuple):
    """Classifier ``W`` (K, d), features ``H`` (d, columns) and bias ``b`` (K,) or None.

    Columns are samples in class-major order, or one column per class in reduced problems.

    Example:
        >>> Point(np.eye(3), np.eye(3)).logits()[0].tolist()
        [1.0, 0.0, 0.0]
    """

    W: Any
    H: Any
    b: Any = None

    def logits(self) -> Any:
        """W H (+ b on every column), shape (K, columns)."""
        Z = self.W @ self.H
        return Z if self.b is None else Z + self.b[:, None]

    def to_numpy(self) -> Point:
        """The same point as float64 NumPy arrays on the host."""
        bias = None if self.b is None else np.asarray(self.b, dtype=np.float64)
        return Point(np.asarray(self.W, np.float64), np.asarray(self.H, np.float64), bias)


def flatten(point: Any) -> Array:
    """A point as one float64 vector, its arrays by rows, one after the other.

    Example:
        >>> flatten(Point(np.array([[1.0], [2.0]]), np.array([[3.0, 4.0]]))).tolist()
        [1.0, 2.0, 3.0, 4.0]
    """
    return np.concatenate([np.ravel(np.asarray(x, np.float64)) for x in jax.tree.leaves(point)])


def unflatten(vector: Array, like: P) -> P:
    """The point of the shape of ``like`` that ``flatten`` turns into a vector.

    Example:
        >>> shape = Point(np.zeros((2, 1)), np.zeros((1, 2)))
        >>> unflatten(np.array([1.0, 2.0, 3.0, 4.0]), shape).H.tolist()
        [[3.0, 4.0]]
    """
    leaves, structure = jax.tree.flatten(like)
    parts, end = [], 0
    for leaf in leaves:
        begin, end = end, end + np.size(leaf)
        parts.append(vector[begin:end].reshape(np.shape(leaf)))
    told: P = jax.tree.unflatten(structure, parts)
    return told


def as_rows(tangents: Any) -> Array:
    """Stacked tangent vectors, (m, ...) in every array, as the rows of a matrix (m, P).

    Example:
        >>> as_rows(Point(np.ones((3, 2, 1)), np.zeros((3, 1, 2)))).shape
        (3, 4)
    """
    parts = [np.asarray(leaf, np.float64) for leaf in jax.tree.leaves(tangents)]
    return np.concatenate([x.reshape(len(x), math.prod(x.shape[1:])) for x in parts], axis=1)


def length(point: Any) -> float:
    """Euclidean norm of a point.

    Example:
        >>> length({"a": np.array([3.0]), "b": np.array([4.0])})
        5.0
    """
    return math.hypot(*(float(np.linalg.norm(leaf)) for leaf in jax.tree.leaves(point)))


def widened(point: Point, d: int) -> Point:
    """A point with zero features appended up to dimension d.

    Example:
        >>> widened(Point(np.ones((2, 1)), np.ones((1, 2))), 2).W.tolist()
        [[1.0, 0.0], [1.0, 0.0]]
    """
    W, H, b = point.to_numpy()
    more = d - W.shape[1]
    return Point(np.pad(W, ((0, 0), (0, more))), np.pad(H, ((0, more), (0, 0))), b)


def row_space_of_start(model: Any, point: Point) -> Restriction | None:
    """The row space of [W; H^T] at a start, for a model that O(d) leaves alone; None if d <= rows.

    W -> W R, H -> R^T H keeps the objective, so gradients stay in the span of the rows of the start
    and every gradient method does.
    Source: derived here from the symmetry.

    Args:
        model: with ``with_dimension``.
        point: W (K, d), H (d, columns), b.

    Example:
        >>> from ufm import UFM, CrossEntropy
        >>> model = UFM(CrossEntropy(), 2, 9, lambda_W=0.1, lambda_H=0.1)
        >>> row_space_of_start(model, model.random_point(jax.random.key(0))).point.W.shape
        (2, 4)
    """
    (rows, d), columns = np.shape(point.W), np.shape(point.H)[1]
    if d <= rows + columns:
        return None
    basis = jnp.linalg.qr(jnp.concatenate([point.W, point.H.T]).T)[0]
    inner = Point(point.W @ basis, basis.T @ point.H, point.b)
    size = basis.shape[1]

    def lift(small: Point) -> Point:
        return Point(small.W @ basis.T, basis @ small.H, small.b)

    why = f"row space of the start, {size} of {d} dimensions"
    return Restriction(model.with_dimension(size), inner, lift, why)


def narrow_start(model: Any, rank: int, key: Any) -> Restriction | None:
    """A random start in as many dimensions as W has rows, for a model that O(d) leaves alone.

    Rows of W and columns of H span one space at a critical point, of at most that dimension; what a
    start has beside it decays. None where d is no larger.
    Source: lambda_W W^T W = lambda_H H H^T where the gradient vanishes (Zhu et al. 2021).

    Args:
        model: with ``with_dimension`` and ``random_point``.
        rank: rows of W.
        key: random key.

    Example:
        >>> from ufm import UFM, CrossEntropy
        >>> model = UFM(CrossEntropy(), 2, 9, lambda_W=0.1, lambda_H=0.1)
        >>> start = narrow_start(model, 2, jax.random.key(0))
        >>> start.point.W.shape, start.lift(start.point).W.shape
        ((2, 2), (2, 9))
    """
    d = model.d
    if d <= rank:
        return None
    small = model.with_dimension(rank)
    why = f"random start in {rank} of {d} dimensions"
    return Restriction(small, small.random_point(key), lambda point: widened(point, d), why)


def skew_basis(d: int) -> Array:
    """The skew matrices E_ij - E_ji, i < j, that span the Lie algebra of O(d): (d (d-1)/2, d, d).

    Example:
        >>> skew_basis(2).tolist()
        [[[0.0, 1.0], [-1.0, 0.0]]]
    """
    rows, columns = np.triu_indices(d, 1)
    index = np.arange(len(rows))
    skew = np.zeros((len(rows), d, d))
    skew[index, rows, columns] = 1.0
    skew[index, columns, rows] = -1.0
    return skew


def rotation_generators(point: Point) -> Point:
    """Generators of O(d), W -> W R, H -> R^T H, stacked: W A, -A H for A = E_ij - E_ji.

    Example:
        >>> rotation_generators(Point(np.eye(3, 2), np.eye(2, 3))).W.shape
        (1, 3, 2)
    """
    # Entries are only moved: products with so many zeros would be most of the work.
    W, H = np.asarray(point.W), np.asarray(point.H)
    i, j = np.triu_indices(W.shape[1], 1)
    every = np.arange(len(i))
    turned = np.zeros((len(i), *W.shape), W.dtype), np.zeros((len(i), *H.shape), H.dtype)
    turned[0][every, :, j], turned[0][every, :, i] = W.T[i], -W.T[j]
    turned[1][every, j], turned[1][every, i] = H[i], -H[j]
    bias = None if point.b is None else np.zeros((len(i), len(np.asarray(point.b))))
    return Point(*turned, bias)


@kept("length")
def _draw(key: Any, *, length: int) -> Any:
    return jax.random.normal(key, (length,))


@kept("length")
def drawn(seed: Any, *, length: int) -> Any:
    """The flat draw of ``gaussian`` for the random key of a seed, of a length it may have.

    Example:
        >>> one = gaussian(jax.random.key(5), [(100,)])[0]
        >>> bool((drawn(5, length=128)[:100] == one).all())
        True
    """
    return jax.random.normal(jax.random.key(seed), (length,))


@kept()
def two_keys(seed: Any) -> tuple[Any, Any]:
    """The halves of the random key of a seed, as ``jax.random.split`` gives them.

    Example:
        >>> first, second = two_keys(0)
        >>> bool((jax.random.split(jax.random.key(0))[1] == second).all())
        True
    """
    first, second = jax.random.split(jax.random.key(seed))
    return first, second


def gaussian(key: Any, shapes: Sequence[tuple[int, ...]]) -> list[Any]:
    """Independent N(0, 1) entries in arrays of the given shapes.

    One flat draw is cut into pieces. Its length is the next power of two, because a generator is
    compiled per length and takes longer to compile than a small model takes to solve.

    Args:
        key: random key, or a traced one: then the arrays are traced too, with the same numbers.
        shapes: the shapes.

    Returns:
        NumPy arrays (of JAX's default float), or traced arrays.

    Example:
        >>> [piece.shape for piece in gaussian(jax.random.key(0), [(2, 3), (4,)])]
        [(2, 3), (4,)]
    """
    sizes = [math.prod(shape) for shape in shapes]
    total = max(SMALLEST_DRAW, 1 << (sum(sizes) - 1).bit_length())
    try:
        draw: Any = _draw(key, length=total)
    except TypeError as error:
        raise InputError("Need a random key", repr(key), "use jax.random.key(0)") from error
    if not isinstance(draw, jax.core.Tracer):
        draw = np.asarray(draw)
    ends = np.cumsum(sizes)
    return [
        draw[end - size : end].reshape(shape)
        for end, size, shape in zip(ends, sizes, shapes, strict=True)
    ]
