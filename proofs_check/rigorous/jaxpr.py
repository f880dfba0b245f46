"""The program that JAX makes of a formula, run on enclosures instead of numbers.

Integers and truth values stay what they are and are computed by JAX itself; every real number is
an enclosure. What a program computes in vain (the derivative of a maximum that only guards against
overflow) is not looked at. Rounding is no part of a formula: conversions between precisions of
real numbers are the identity.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from proofs_check.rigorous.arithmetic import Enclosure, Undecided
from ufm.errors import InputError

# A number with no more binary digits was meant as it is; one with more was rounded when Python
# computed it, and stands for every real number within a unit in its last place.
SHORT = 24
KIND = type[Enclosure]
Rule = Callable[..., Any]
# Loops are unrolled; a program that repeats more often than this is no formula.
MOST_STEPS = 10_000
CALLS = ("jaxpr", "call_jaxpr", "fun_jaxpr")


def evaluate(program: Any, kind: KIND, inputs: Sequence[Any]) -> list[Any]:
    """The outputs of a closed jaxpr on enclosures.

    Args:
        program: as ``jax.make_jaxpr`` returns it.
        kind: the arithmetic, ``Floats`` or ``Balls``.
        inputs: one enclosure or concrete array per input.

    Returns:
        Enclosures; integers and truth values as NumPy arrays.

    Raises:
        InputError: a primitive without an enclosure, by name.
        Undecided: a comparison, a sign or a domain that an enclosure does not settle.

    Example:
        >>> from proofs_check.rigorous.floats import Floats
        >>> program = jax.make_jaxpr(lambda x: x**2 + 1)(0.0)
        >>> [told] = evaluate(program, Floats, [Floats.around(0.0, 0.5)])
        >>> bool(told.lower() <= 1), bool(told.upper() >= 1.25)
        (True, True)
    """
    return _run(program, kind, list(inputs), [True] * len(program.jaxpr.outvars))


def _run(program: Any, kind: KIND, inputs: list[Any], wanted: Sequence[bool]) -> list[Any]:
    jaxpr, constants = getattr(program, "jaxpr", program), getattr(program, "consts", ())
    needed = {id(v) for v, want in zip(jaxpr.outvars, wanted, strict=True) if want}
    steps = []
    for equation in reversed(jaxpr.eqns):
        outputs = [id(v) in needed for v in equation.outvars]
        if any(outputs):
            steps.append((equation, outputs))
            needed |= {id(v) for v in equation.invars if not hasattr(v, "val")}
    known: dict[int, Any] = {}

    def read(variable: Any) -> Any:
        if hasattr(variable, "val"):
            return written(kind, variable.val)
        return known.get(id(variable))

    for variable, value in zip(jaxpr.constvars, constants, strict=True):
        if id(variable) in needed:
            known[id(variable)] = written(kind, value)
    for variable, value in zip(jaxpr.invars, inputs, strict=True):
        known[id(variable)] = value if isinstance(value, Enclosure) else _given(kind, value)
    for equation, outputs in reversed(steps):
        values = _step(equation, kind, [read(v) for v in equation.invars], outputs)
        for variable, value in zip(equation.outvars, values, strict=True):
            known[id(variable)] = value
    return [read(v) if want else None for v, want in zip(jaxpr.outvars, wanted, strict=True)]


def _given(kind: KIND, value: Any) -> Any:
    """An input that is not an enclosure: numbers of a model, meant as they are."""
    if value is None:
        return None
    array = np.asarray(value)
    return kind.exact(array) if array.dtype.kind == "f" else array


def written(kind: KIND, value: Any) -> Any:
    """A number that stands in a program.

    Example:
        >>> from proofs_check.rigorous.floats import Floats
        >>> [float(written(Floats, x).radius) > 0 for x in (0.5, 1 / 3)]
        [False, True]
    """
    array = np.asarray(value)
    if array.dtype.kind != "f":
        return array
    array = array.astype(np.float64)
    scaled = np.ldexp(np.frexp(array)[0], SHORT)
    short = ~np.isfinite(array) | (scaled == np.rint(scaled))
    return kind.around(array, np.where(short, 0.0, np.spacing(np.abs(np.where(short, 1, array)))))


def _step(equation: Any, kind: KIND, inputs: list[Any], wanted: Sequence[bool]) -> list[Any]:
    name, parameters = equation.primitive.name, equation.params
    if name in LOOPS:
        shapes = [v.aval.shape for v in equation.outvars]
        return LOOPS[name](kind, inputs, wanted, shapes=shapes, **parameters)
    if not any(isinstance(x, Enclosure) for x in inputs) and not any(
        v.aval.dtype.kind == "f" for v in equation.outvars
    ):
        return _concrete(equation, inputs)
    if name in RULES:
        if name not in INDEXED:
            inputs = [x if isinstance(x, Enclosure) else kind.exact(x) for x in inputs]
        told = RULES[name](kind, *inputs, **parameters)
        return list(told) if equation.primitive.multiple_results else [told]
    inner = next((parameters[x] for x in CALLS if hasattr(parameters.get(x), "eqns")
                  or hasattr(getattr(parameters.get(x), "jaxpr", None), "eqns")), None)  # fmt: skip
    if inner is None:
        raise InputError(
            "Every operation of a certified formula needs an enclosure",
            f"the primitive {name!r}",
            f"write the formula without it, or give it a rule in {__name__}",
        )
    return _run(inner, kind, inputs, wanted)


def _concrete(equation: Any, inputs: list[Any]) -> list[Any]:
    """Integers and truth values: in NumPy where it is short, since JAX compiles for every shape."""
    name, parameters = equation.primitive.name, equation.params
    if name in PLAIN or name in MOVES:
        aval = equation.outvars[0].aval
        told = PLAIN[name](*inputs) if name in PLAIN else MOVES[name](inputs[0], **parameters)
        return [np.asarray(told, dtype=aval.dtype)]
    if name == "iota":
        shape, axis = parameters["shape"], parameters["dimension"]
        spread = [n if i == axis else 1 for i, n in enumerate(shape)]
        counted = np.arange(shape[axis], dtype=parameters["dtype"]).reshape(spread)
        return [np.broadcast_to(counted, shape)]
    told = equation.primitive.bind(*inputs, **parameters)
    return [np.asarray(x) for x in (told if equation.primitive.multiple_results else [told])]


# ---- rules, one for every primitive


def _moving(move: Callable[..., Any]) -> Rule:
    return lambda kind, x, *_, **parameters: x.moved(lambda part: move(part, **parameters))


def _broadcast(part: Any, shape: Any, broadcast_dimensions: Any, **_: Any) -> Any:
    spread = [1] * len(shape)
    for axis, size in zip(broadcast_dimensions, part.shape, strict=True):
        spread[axis] = size
    return np.broadcast_to(part.reshape(spread), shape)


def _slice(part: Any, start_indices: Any, limit_indices: Any, strides: Any, **_: Any) -> Any:
    steps = strides or (1,) * part.ndim
    return part[tuple(map(slice, start_indices, limit_indices, steps))]


def _reshape(part: Any, new_sizes: Any, dimensions: Any = None, **_: Any) -> Any:
    return (part if dimensions is None else part.transpose(dimensions)).reshape(new_sizes)


def _pad(kind: KIND, x: Any, value: Any, padding_config: Any, **_: Any) -> Any:
    """Through the positions in the padded array; negative and inner padding are left to JAX."""
    places = np.arange(1, x.parts()[0].size + 1).reshape(x.shape)
    if all(low >= 0 and high >= 0 and not inner for low, high, inner in padding_config):
        told = np.pad(places, [(int(low), int(high)) for low, high, _ in padding_config])
    else:
        told = np.asarray(jax.lax.pad(places, np.int64(0), padding_config))
    joined = x.joined([value], lambda parts: np.concatenate([np.ravel(p) for p in parts[::-1]]))
    return joined[told]


def _gather(kind: KIND, x: Any, indices: Any, **parameters: Any) -> Any:
    places = np.arange(x.parts()[0].size).reshape(x.shape)
    parameters["fill_value"] = -1
    told = np.asarray(jax.lax.gather_p.bind(places, jnp.asarray(indices), **parameters))
    if told.min(initial=0) < 0:
        raise Undecided("an index lies outside of its array")
    return x.moved(lambda part: part.ravel()[told])


def _dynamic_slice(kind: KIND, x: Any, *starts: Any, slice_sizes: Any, **_: Any) -> Any:
    places = np.arange(x.parts()[0].size).reshape(x.shape)
    told = np.asarray(jax.lax.dynamic_slice(places, starts, slice_sizes))
    return x.moved(lambda part: part.ravel()[told])


def _places(shape: Any, indices: Any, of: Any, parameters: Mapping[str, Any]) -> Any:
    """Where JAX puts every update in the flat array, -1 where it drops it.

    That is the derivative of what adding does, asked for at the positions themselves.
    """

    def added(values: Any) -> Any:
        return jax.lax.scatter_add(
            jnp.zeros(shape),
            jnp.asarray(indices),
            values,
            parameters["dimension_numbers"],
            mode=parameters["mode"],
        )

    numbered = jnp.arange(1.0, np.prod(shape, dtype=int) + 1).reshape(shape)
    [told] = jax.linear_transpose(added, jax.ShapeDtypeStruct(of, np.float64))(numbered)
    return np.asarray(told).astype(np.int64).ravel() - 1


def _scatter(
    kind: KIND, x: Any, indices: Any, updates: Any, *, add: bool = False, **parameters: Any
) -> Any:
    places = _places(x.shape, indices, updates.shape, parameters)
    flat, more = x.moved(np.ravel), updates.moved(np.ravel)
    left = np.flatnonzero(places >= 0)
    if not add and len(np.unique(places[left])) < len(left):
        raise Undecided("two numbers are put in one place, in no order")
    while len(left):
        once, first = np.unique(places[left], return_index=True)
        new = more[left[first]]

        def put(parts: list[Any], once: Any = once) -> Any:
            whole = parts[0].copy()
            whole[once] = parts[1]
            return whole

        flat = flat.joined([flat[once] + new if add else new], put)
        left = np.delete(left, first)
    return flat.moved(lambda part: part.reshape(x.shape))


def _dot(kind: KIND, x: Any, y: Any, dimension_numbers: Any, **_: Any) -> Any:
    (inner_x, inner_y), (batch_x, batch_y) = dimension_numbers
    free_x = [i for i in range(len(x.shape)) if i not in (*inner_x, *batch_x)]
    free_y = [i for i in range(len(y.shape)) if i not in (*inner_y, *batch_y)]
    batch = tuple(x.shape[i] for i in batch_x)
    outer = tuple(x.shape[i] for i in free_x) + tuple(y.shape[i] for i in free_y)
    count = int(np.prod(batch, dtype=int)) if batch else 0
    inner = int(np.prod([x.shape[i] for i in inner_x], dtype=int))
    lead = (count,) if batch else ()
    rows = int(np.prod([x.shape[i] for i in free_x], dtype=int))
    columns = int(np.prod([y.shape[i] for i in free_y], dtype=int))
    left = x.moved(lambda p: p.transpose(*batch_x, *free_x, *inner_x).reshape(*lead, rows, inner))
    right = y.moved(
        lambda p: p.transpose(*batch_y, *inner_y, *free_y).reshape(*lead, inner, columns)
    )
    return (left @ right).moved(lambda p: p.reshape((*batch, *outer)))


def _select(kind: KIND, which: Any, *cases: Any, **_: Any) -> Any:
    chosen = np.asarray(which, dtype=np.int64)
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
    "scatter-add": partial(_scatter, add=True),
}


# ---- programs inside of programs


def _cond(kind: KIND, inputs: list[Any], wanted: Any, branches: Any, **_: Any) -> list[Any]:
    branch = int(np.clip(int(inputs[0]), 0, len(branches) - 1))
    return _run(branches[branch], kind, inputs[1:], wanted)


def _while(kind: KIND, inputs: list[Any], wanted: Any, **p: Any) -> list[Any]:
    first, second = p["cond_nconsts"], p["cond_nconsts"] + p["body_nconsts"]
    of_test, of_body, state = inputs[:first], inputs[first:second], inputs[second:]
    for _ in range(MOST_STEPS):
        if not bool(_run(p["cond_jaxpr"], kind, [*of_test, *state], [True])[0]):
            return state
        state = _run(p["body_jaxpr"], kind, [*of_body, *state], [True] * len(state))
    raise Undecided(f"a loop goes on after {MOST_STEPS} steps")


def _scan(kind: KIND, inputs: list[Any], wanted: Any, **p: Any) -> list[Any]:
    # Rows have one axis more outside than inside; what is carried comes out as it goes in.
    program, length = p["jaxpr"], p["length"]
    inner, outer = program.jaxpr.invars, program.jaxpr.outvars
    first = sum(len(x.shape) == len(v.aval.shape) for x, v in zip(inputs, inner, strict=True))
    kept = zip(p["shapes"], outer, strict=True)
    carried = sum(len(shape) == len(v.aval.shape) for shape, v in kept)
    constants, state = inputs[: first - carried], inputs[first - carried : first]
    rows = inputs[first:]
    if length > MOST_STEPS:
        raise Undecided(f"a loop of {length} steps")
    order = range(length - 1, -1, -1) if p["reverse"] else range(length)
    told: list[Any] = [None] * length
    every = [True] * len(outer)
    for i in order:
        outputs = _run(program, kind, [*constants, *state, *(x[i] for x in rows)], every)
        state, told[i] = outputs[:carried], outputs[carried:]
    stacked = [_stack(list(column)) for column in zip(*told, strict=True)]
    return [*state, *stacked]


def _stack(column: list[Any]) -> Any:
    if isinstance(column[0], Enclosure):
        return column[0].joined(column[1:], np.stack)
    return np.stack(column)


LOOPS: Mapping[str, Rule] = {"cond": _cond, "while": _while, "scan": _scan}
