"""Rules of the interpreter: what every primitive of JAX's programs does to enclosures."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import lru_cache, partial
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from proofs_check.rigorous.arithmetic import Enclosure, Undecided
from proofs_check.rigorous.factorised import cholesky, lu, triangular_solve
from ufm.errors import InputError

KIND = type[Enclosure]
Rule = Callable[..., Any]


def _moving(move: Callable[..., Any]) -> Rule:
    return lambda kind, x, *_, **parameters: x.moved(lambda part: move(part, **parameters))


def _broadcast(part: Any, shape: Any, broadcast_dimensions: Any, **_: Any) -> Any:
    spread = [1] * len(shape)
    for axis, size in zip(broadcast_dimensions, part.shape, strict=True):
        spread[axis] = size
    told = part.reshape(spread)
    return told if spread == list(shape) else np.broadcast_to(told, shape)


def _slice(part: Any, start_indices: Any, limit_indices: Any, strides: Any, **_: Any) -> Any:
    steps = strides or (1,) * part.ndim
    return part[tuple(map(slice, start_indices, limit_indices, steps))]


def _reshape(part: Any, new_sizes: Any, dimensions: Any = None, **_: Any) -> Any:
    return (part if dimensions is None else part.transpose(dimensions)).reshape(new_sizes)


def _pad(kind: KIND, x: Any, value: Any, padding_config: Any, **_: Any) -> Any:
    """Around the entries; negative and inner padding are left to JAX, by the positions."""
    if all(low >= 0 and high >= 0 and not inner for low, high, inner in padding_config):
        shape = [low + n + high for n, (low, high, _) in zip(x.shape, padding_config, strict=True)]
        inside = tuple(
            slice(low, low + n) for n, (low, *_) in zip(x.shape, padding_config, strict=True)
        )

        def put(parts: list[Any]) -> Any:
            whole = np.full(shape, parts[1], parts[0].dtype)
            whole[inside] = parts[0]
            return whole

        return x.joined([value], put)
    places = np.arange(1, x.parts()[0].size + 1).reshape(x.shape)
    told = np.asarray(jax.lax.pad(places, np.int64(0), padding_config))
    joined = x.joined([value], lambda parts: np.concatenate([np.ravel(p) for p in parts[::-1]]))
    return joined[told]


def _gather(kind: KIND, x: Any, indices: Any, **parameters: Any) -> Any:
    told = _sources(x.shape, _Whole.of(indices, parameters, [*set(parameters) - {"fill_value"}]))
    if told.min(initial=0) < 0:
        raise Undecided("an index lies outside of its array")
    return x.moved(lambda part: part.ravel()[told])


def _dynamic_slice(kind: KIND, x: Any, *starts: Any, slice_sizes: Any, **_: Any) -> Any:
    places = np.arange(x.parts()[0].size).reshape(x.shape)
    told = np.asarray(jax.lax.dynamic_slice(places, starts, slice_sizes))
    return x.moved(lambda part: part.ravel()[told])


@dataclass(frozen=True)
class _Whole:
    """An array of whole numbers, and by which of JAX's parameters it is read: equal if alike."""

    shape: tuple[int, ...]
    kind: str
    numbers: bytes
    words: str
    parameters: Mapping[str, Any] = field(compare=False)

    @staticmethod
    def of(indices: Any, parameters: Mapping[str, Any], names: Sequence[str]) -> _Whole:
        array = np.asarray(indices)
        used = {name: parameters[name] for name in names}
        return _Whole(array.shape, array.dtype.str, array.tobytes(), repr(used), used)

    @property
    def indices(self) -> Any:
        return jnp.asarray(np.frombuffer(self.numbers, self.kind).reshape(self.shape))


@lru_cache(maxsize=256)
def _sources(shape: tuple[int, ...], read: _Whole) -> Any:
    """Where JAX takes every entry from in the flat array, -1 where from nowhere."""
    places = np.arange(math.prod(shape)).reshape(shape)
    told = jax.lax.gather_p.bind(places, read.indices, **read.parameters, fill_value=-1)
    return np.asarray(told)


def _places(shape: tuple[int, ...], of: tuple[int, ...], read: _Whole) -> Any:
    """Where JAX puts every update in the flat array, -1 where it drops it.

    That is the derivative of what adding does, asked for at the positions themselves.
    """

    def added(values: Any) -> Any:
        numbers, mode = read.parameters["dimension_numbers"], read.parameters["mode"]
        return jax.lax.scatter_add(jnp.zeros(shape), read.indices, values, numbers, mode=mode)

    numbered = jnp.arange(1.0, math.prod(shape) + 1).reshape(shape)
    [told] = jax.linear_transpose(added, jax.ShapeDtypeStruct(of, np.float64))(numbered)
    return np.asarray(told).astype(np.int64).ravel() - 1


@lru_cache(maxsize=256)
def _rounds(shape: tuple[int, ...], of: tuple[int, ...], read: _Whole) -> list[tuple[Any, Any]]:
    """Places in the flat array and the updates put there, no place twice in one round."""
    places, told = _places(shape, of, read), []
    left = np.flatnonzero(places >= 0)
    while len(left):
        once, first = np.unique(places[left], return_index=True)
        told.append((once, left[first]))
        left = np.delete(left, first)
    return told


def _scatter(
    kind: KIND, x: Any, indices: Any, updates: Any, *, add: bool = False, **parameters: Any
) -> Any:
    read = _Whole.of(indices, parameters, ("dimension_numbers", "mode"))
    rounds = _rounds(x.shape, updates.shape, read)
    flat, more = x.moved(np.ravel), updates.moved(np.ravel)
    if not add and len(rounds) > 1:
        raise Undecided("two numbers are put in one place, in no order")
    for once, those in rounds:
        new = more[those]

        def put(parts: list[Any], once: Any = once) -> Any:
            whole = parts[0].copy()
            whole[once] = parts[1]
            return whole

        flat = flat.joined([flat[once] + new if add else new], put)
    return flat.moved(lambda part: part.reshape(x.shape))


def _dot(kind: KIND, x: Any, y: Any, dimension_numbers: Any, **_: Any) -> Any:
    (inner_x, inner_y), (batch_x, batch_y) = dimension_numbers
    free_x = [i for i in range(len(x.shape)) if i not in (*inner_x, *batch_x)]
    free_y = [i for i in range(len(y.shape)) if i not in (*inner_y, *batch_y)]
    batch = tuple(x.shape[i] for i in batch_x)
    outer = tuple(x.shape[i] for i in free_x) + tuple(y.shape[i] for i in free_y)
    inner = math.prod(x.shape[i] for i in inner_x)
    lead = (math.prod(batch),) if batch else ()
    rows = math.prod(x.shape[i] for i in free_x)
    columns = math.prod(y.shape[i] for i in free_y)
    left = x.moved(lambda p: p.transpose(*batch_x, *free_x, *inner_x).reshape(*lead, rows, inner))
    right = y.moved(
        lambda p: p.transpose(*batch_y, *inner_y, *free_y).reshape(*lead, inner, columns)
    )
    return (left @ right).moved(lambda p: p.reshape((*batch, *outer)))


def _select(kind: KIND, which: Any, *cases: Any, **_: Any) -> Any:
    which = np.asarray(which)
    if len(cases) == 2 and which.any() == which.all():  # as nearly always: guards against overflow
        return cases[int(which.any())]
    chosen = which.astype(np.int64)
    return cases[0].joined(cases[1:], lambda parts: np.choose(chosen, parts, mode="raise")
                           if len(parts) < 32 else np.stack(parts)[chosen])  # fmt: skip


def _power(kind: KIND, x: Any, y: Any, **_: Any) -> Any:
    """Small whole and half exponents, else x^y = exp(y log x) for positive x."""
    twice = np.unique(2 * np.stack([y.lower(), y.upper()]))
    if len(twice) == 1 and abs(twice[0]) <= 128 and twice[0] == np.rint(twice[0]):
        shape, odd = np.broadcast_shapes(x.shape, y.shape), int(twice[0]) % 2
        told = x.apply("sqrt").power(int(twice[0])) if odd else x.power(int(twice[0]) // 2)
        return told.moved(lambda part: np.broadcast_to(part, shape))
    return (y * x.apply("log")).apply("exp")


def _convert(kind: KIND, x: Any, new_dtype: Any, **_: Any) -> Any:
    if isinstance(x, Enclosure):
        if np.dtype(new_dtype).kind == "f":
            return x
        raise InputError(
            "A certified formula does not round real numbers", f"to {new_dtype}", "leave them real"
        )
    return kind.exact(np.asarray(x, dtype=np.float64))


def _logistic(kind: KIND, x: Any, **_: Any) -> Any:
    one = kind.exact(np.ones(x.shape))
    return one / (one + (-x).apply("exp"))


def _named(function: str) -> Rule:
    return lambda kind, x, **_: x.apply(function)


def _compared(decide: Callable[[Any, Any], Any]) -> Rule:
    return lambda kind, x, y, **_: decide(x, y)


def _equal(x: Any, y: Any) -> Any:
    """A number equals itself, however wide its enclosure is (a test for NaN)."""
    return np.ones(x.shape, dtype=bool) if x is y else x.equals(y)


def _split(kind: KIND, x: Any, sizes: Any, axis: int, **_: Any) -> list[Any]:
    ends = np.cumsum([int(n) for n in sizes])
    lead = (slice(None),) * axis
    return [x[(*lead, slice(end - int(n), end))] for end, n in zip(ends, sizes, strict=True)]


def _identity(kind: KIND, x: Any, **_: Any) -> Any:
    return x


# Entries taken to other places, of numbers and of enclosures.
MOVES: Mapping[str, Callable[..., Any]] = {
    "reshape": _reshape,
    "transpose": lambda part, permutation, **_: part.transpose(permutation),
    "broadcast_in_dim": _broadcast,
    "slice": _slice,
    "squeeze": lambda part, dimensions, **_: part.squeeze(tuple(dimensions)),
    "expand_dims": lambda part, dimensions, **_: np.expand_dims(part, tuple(dimensions)),
    "rev": lambda part, dimensions, **_: np.flip(part, tuple(dimensions)),
}
# Functions of integers and truth values.
PLAIN: Mapping[str, Callable[..., Any]] = {
    **{
        "add": np.add,
        "sub": np.subtract,
        "mul": np.multiply,
        "neg": np.negative,
        "max": np.maximum,
    },
    **{"eq": np.equal, "ne": np.not_equal, "lt": np.less, "le": np.less_equal},
    **{"gt": np.greater, "ge": np.greater_equal, "min": np.minimum, "max": np.maximum},
    **{"and": np.bitwise_and, "or": np.bitwise_or, "not": np.invert},
}
# Rules that are given whole numbers as such; others take them for real ones.
INDEXED = {"select_n", "convert_element_type", "gather", "scatter", "scatter-add", "dynamic_slice"}
RULES: Mapping[str, Rule] = {
    "add": lambda kind, x, y, **_: x + y,
    "add_any": lambda kind, x, y, **_: x + y,
    "sub": lambda kind, x, y, **_: x - y,
    "mul": lambda kind, x, y, **_: x * y,
    "div": lambda kind, x, y, **_: x / y,
    "neg": lambda kind, x, **_: -x,
    "square": lambda kind, x, **_: x * x,
    "integer_pow": lambda kind, x, y, **_: x.power(y),
    "pow": _power,
    "rsqrt": lambda kind, x, **_: kind.exact(np.ones(x.shape)) / x.apply("sqrt"),
    **{name: _named(name) for name in ("exp", "log", "expm1", "log1p", "sqrt", "sin", "cos")},
    **{name: _named(name) for name in ("tanh", "erf", "atan")},
    "logistic": _logistic,
    "abs": lambda kind, x, **_: x.absolute(),
    "sign": lambda kind, x, **_: kind.exact(x.sign()),
    "max": lambda kind, x, y, **_: x.maximum(y),
    "min": lambda kind, x, y, **_: -((-x).maximum(-y)),
    "clamp": lambda kind, low, x, high, **_: -((-low.maximum(x)).maximum(-high)),
    "is_finite": lambda kind, x, **_: np.isfinite(x.lower()) & np.isfinite(x.upper()),
    "gt": _compared(lambda x, y: x.above(y)),
    "le": _compared(lambda x, y: ~x.above(y)),
    "lt": _compared(lambda x, y: y.above(x)),
    "ge": _compared(lambda x, y: ~y.above(x)),
    "eq": _compared(_equal),
    "ne": _compared(lambda x, y: ~_equal(x, y)),
    "select_n": _select,
    "stop_gradient": _identity,
    "copy": _identity,
    "copy_p": _identity,
    "optimization_barrier": lambda kind, *x, **_: list(x),
    "convert_element_type": _convert,
    "reduce_sum": lambda kind, x, axes, **_: x.summed(tuple(int(i) for i in axes)),
    "reduce_max": lambda kind, x, axes, **_: x.largest(tuple(int(i) for i in axes)),
    "reduce_min": lambda kind, x, axes, **_: -(-x).largest(tuple(int(i) for i in axes)),
    "dot_general": _dot,
    **{name: _moving(move) for name, move in MOVES.items()},
    "concatenate": lambda kind, x, *others, dimension, **_: x.joined(
        others, lambda parts: np.concatenate(parts, axis=dimension)
    ),
    "stack": lambda kind, x, *others, axis, **_: x.joined(others, partial(np.stack, axis=axis)),
    "unstack": lambda kind, x, axis, **_: [
        x[(slice(None),) * axis + (i,)] for i in range(x.shape[axis])
    ],
    "pad": _pad,
    "split": _split,
    "gather": _gather,
    "dynamic_slice": _dynamic_slice,
    "scatter": _scatter,
    "lu": lu,
    "cholesky": cholesky,
    "triangular_solve": triangular_solve,
    "scatter-add": partial(_scatter, add=True),
}
