"""What a user's function computes, as data: its program at K float64 logits.

A function has no value that a cache could be keyed by: it may read a number that is changed later.
Its program (JAX's jaxpr, with every constant) has one. Tracing runs the user's code; afterwards
none of it runs again.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from functools import lru_cache
from pathlib import Path
from typing import Any

import jax
import jax.extend.core
import jax.numpy as jnp
import numpy as np
from jax.extend import source_info_util

from ufm.errors import InputError
from ufm.precision import require_x64

# Without types: what is public here differs between versions of JAX.
core: Any = jax.extend.core
RULE = "A loss maps (logits, label) to a finite scalar"
RETURN = "return one JAX scalar, e.g. logsumexp(logits) - logits[label]"
# What an array library that is not JAX, or a Python branch, asks of a traced value.
WAYS_OUT: tuple[tuple[type[Exception], str], ...] = (
    (
        jax.errors.TracerArrayConversionError,
        "use jnp (jax.numpy) in the place of np, jnp.asarray(table)[label] for a table",
    ),
    (jax.errors.TracerIntegerConversionError, "index with jnp.asarray(table)[label]"),
    (
        jax.errors.TracerBoolConversionError,
        "use jnp.where(condition, x, y) in the place of `if`, `and`, `or`, `max` and `min`",
    ),
    (
        jax.errors.ConcretizationTypeError,
        "use jnp (jax.numpy) in the place of math, float() and int()",
    ),
)
# Significant bits that only rounding to float32 leaves: a short fraction such as 3/8 has fewer.
ROUNDED_BITS = 17
JIT: Any = type(jax.jit(lambda: 0))
# Random logits at which the label must make a difference, and classes that are looked at.
NUM_LOGITS, MAX_LABELS = 8, 16
# Values in another order are equal up to rounding of a few hundred operations.
SAME = 1e-12


@dataclass(frozen=True)
class Program:
    """The computation of a loss at ``num_classes`` float64 logits; equal when it is the same one.

    Attributes:
        digest: of the jaxpr's text and constants.
        num_classes: K.
        jaxpr: the computation.
        function: where it came from, for pickling and for other types of logits.
    """

    digest: str
    num_classes: int
    jaxpr: Any = field(compare=False, repr=False)
    function: Callable[[Any, Any], Any] = field(compare=False, repr=False)

    def __call__(self, logits: Any, label: Any) -> Any:
        """The value at logits (K,) float64 and an integer label."""
        logits = jnp.asarray(logits)
        if logits.shape != (self.num_classes,) or logits.dtype != jnp.float64:
            return self.function(logits, label)
        # Written for an index of one type: a label of another would not fit its comparisons.
        return core.jaxpr_as_fun(self.jaxpr)(logits, jnp.asarray(label).astype(int))[0]

    def __reduce__(self) -> tuple[Any, ...]:
        return _again, (self.digest, self.num_classes, self.function)


def _again(digest: str, num_classes: int, function: Callable[[Any, Any], Any]) -> Program:
    """A program that was pickled, traced where it is wanted."""
    program = traced(function, num_classes, getattr(function, "__name__", "user loss"))
    if program.digest != digest:
        rule = "A pickled loss must compute what it computed"
        remedy = "keep its parameters fixed, or make it from its function anew"
        raise InputError(rule, "another computation of the same function", remedy)
    return program


def traced(function: Callable[[Any, Any], Any], num_classes: int, name: str) -> Program:
    """The program of a function of (logits, label), or an error that says what is wrong with it.

    Raises:
        InputError: float32 anywhere, a value that is no float64 scalar or not finite, code that
            JAX cannot trace or differentiate, or a label that makes no difference.

    Example:
        >>> heat = 2.0
        >>> one = traced(lambda z, k: jax.nn.logsumexp(heat * z) - heat * z[k], 3, "hot")
        >>> heat = 1.0
        >>> one == traced(lambda z, k: jax.nn.logsumexp(heat * z) - heat * z[k], 3, "hot")
        False
    """
    require_x64()
    signature = _signature(num_classes)
    code = function.__wrapped__ if isinstance(function, JIT) else function

    def fresh(logits: Any, label: Any) -> Any:
        return code(logits, label)  # JAX keeps traces by the function: this one is new every time

    with _told(function, name):
        jaxpr, shape = jax.make_jaxpr(fresh, return_shape=True)(*signature)
    _require_scalar(shape, name)
    _require_float64(jaxpr, name)
    text = _written(jaxpr)
    if "custom_" in text:  # a rule of its own for derivatives is not in the value's text
        with _told(function, name):
            text += _written(jax.make_jaxpr(jax.hessian(fresh))(*signature))
    program = Program(hashlib.sha256(text.encode()).hexdigest(), num_classes, jaxpr, function)
    _require_loss(program, name)
    return program


def _signature(num_classes: int) -> tuple[Any, Any]:
    return jax.ShapeDtypeStruct((num_classes,), jnp.float64), jax.ShapeDtypeStruct((), int)


class _told:
    """Whatever the user's code raises, in one line that names the line of it."""

    def __init__(self, function: Any, name: str) -> None:
        self.function, self.name = function, name

    def __enter__(self) -> None:
        return None

    def __exit__(self, kind: Any, error: BaseException | None, traceback: Any) -> None:
        if error is None or isinstance(error, InputError):
            return
        # SystemExit would end a command as if all were well; Ctrl-C is the user's own.
        if not isinstance(error, Exception | SystemExit | GeneratorExit):
            return
        remedy = next((text for kind, text in WAYS_OUT if isinstance(error, kind)), RETURN)
        got = described(error, __file__)
        raise InputError(f"{RULE}; {self.name} does not", got, remedy) from error


def described(error: BaseException, *hidden: str) -> str:
    r"""Type and first line of an error of a user's code, and the innermost line of that code.

    Args:
        error: also one that cannot say what it is.
        hidden: files that only ran the code; neither these nor libraries are named.

    Example:
        >>> described(ValueError("one line\nand another."))
        'ValueError: one line'
    """
    try:
        lines = str(error).splitlines()
    except Exception:
        lines = ["(its message cannot be shown)"]
    text = f"{type(error).__name__}: {lines[0].rstrip('. ')}" if lines else type(error).__name__
    place, frame = "", error.__traceback__
    while frame is not None:
        file = frame.tb_frame.f_code.co_filename
        if file not in hidden and "site-packages" not in Path(file).parts and "<" not in file:
            place = f" ({Path(file).name}:{frame.tb_lineno})"
        frame = frame.tb_next
    return text + place


def _require_scalar(shape: Any, name: str) -> None:
    rule = f"{RULE}; {name} does not"
    if not isinstance(shape, jax.ShapeDtypeStruct):
        raise InputError(rule, f"a {type(shape).__name__}", RETURN)
    if shape.shape != ():
        remedy = f"{RETURN}; it is given one sample, logits (K,) and a label"
        raise InputError(rule, f"shape {shape.shape}", remedy)
    if shape.dtype != jnp.float64 and not _narrow(shape.dtype):
        remedy = "return a real value with a derivative, not a count, a truth or a complex number"
        raise InputError(rule, f"a value of type {shape.dtype}", remedy)


def _narrow(dtype: Any) -> bool:
    """Whether numbers of a type are fewer than float64's."""
    inexact = jnp.issubdtype(dtype, jnp.inexact)
    return bool(inexact and jnp.finfo(dtype).bits < 64)


def _require_float64(closed: Any, name: str) -> None:
    rule = f"A loss computes in float64; {name} does not"
    remedy = "drop the cast, and give constants as float64 (or Python numbers)"
    for equation in _equations(closed.jaxpr):
        place = source_info_util.summarize(equation.source_info)
        place = Path(place.split(" ")[0]).name.rpartition(":")[0]
        if "callback" in equation.primitive.name:
            raise InputError(
                f"A loss is a computation in JAX; {name} calls back into Python",
                f"{equation.primitive.name} ({place})",
                "write it with jnp",
            )
        for variable in (*equation.outvars, *equation.invars):
            dtype = getattr(variable.aval, "dtype", jnp.int32)
            if _narrow(dtype):
                made = f"{dtype} in `{equation.primitive.name}` ({place})"
                raise InputError(rule, made, remedy)
            if isinstance(variable, core.Literal) and _rounded(variable.val):
                made = f"the float32 constant {np.float32(variable.val)} ({place})"
                raise InputError(rule, made, remedy)
    for constant in _constants(closed):
        if _narrow(np.asarray(constant).dtype):
            made = f"a constant of type {np.asarray(constant).dtype}, shape {np.shape(constant)}"
            raise InputError(rule, made, remedy)


def _rounded(value: Any) -> bool:
    """Whether a number was rounded to float32: JAX widens such a scalar without a trace."""
    number = np.asarray(value)
    if number.ndim or number.dtype.kind != "f" or not np.isfinite(number):
        return False
    if number == np.round(number) or np.abs(number) > 1e30 or np.float32(number) != number:
        return False
    mantissa = int(np.frexp(number)[0] * 2**24)
    return mantissa % 2 ** (24 - ROUNDED_BITS + 1) != 0


def _equations(jaxpr: Any) -> Iterator[Any]:
    for equation in jaxpr.eqns:
        yield equation
        for inner in _inner(equation):
            yield from _equations(inner.jaxpr if isinstance(inner, core.ClosedJaxpr) else inner)


def _inner(equation: Any) -> Iterator[Any]:
    """The programs in the parameters of an equation (branches, loops, functions)."""
    for value in equation.params.values():
        for part in value if isinstance(value, tuple | list) else (value,):
            if isinstance(part, core.ClosedJaxpr | core.Jaxpr):
                yield part


def _constants(closed: Any) -> Iterator[Any]:
    yield from closed.consts
    for equation in _equations(closed.jaxpr):
        for inner in _inner(equation):
            if isinstance(inner, core.ClosedJaxpr):
                yield from inner.consts


def _written(closed: Any) -> str:
    """Text that differs wherever the computation does: equations and constants."""
    text = re.sub(r" at 0x[0-9a-f]+", "", str(closed.jaxpr))  # where a function lies in memory
    for constant in _constants(closed):
        array = np.asarray(constant)
        text += f"\n{array.dtype} {array.shape} {hashlib.sha256(array.tobytes()).hexdigest()}"
    return text


@lru_cache(maxsize=256)
def _require_loss(program: Program, name: str) -> None:
    """Derivatives, finite values, and a label that says which logit is right."""
    rule, K = f"{RULE}; {name} does not", program.num_classes
    with _told(program.function, name):
        jax.make_jaxpr(jax.hessian(program))(*_signature(K))
    rng = np.random.default_rng(20210602)
    labels = np.arange(K)[:MAX_LABELS]
    # Targets themselves as well: a well around them may be flat at random logits.
    known = [np.zeros((1, K)), np.eye(K)[labels]]
    logits = np.concatenate([*known, rng.normal(size=(NUM_LOGITS, K))])
    moved = np.roll(logits, 1, axis=1)  # no logit stays where it was
    many = jax.jit(jax.vmap(jax.vmap(program, in_axes=(None, 0)), in_axes=(0, None)))
    values, others = np.asarray(many(logits, labels)), np.asarray(many(moved, labels))
    if not np.isfinite(values).all():
        raise InputError(rule, float(values[~np.isfinite(values)][0]), RETURN)
    if np.all(np.abs(values - others) <= SAME * (1 + np.abs(values))):
        raise InputError(
            f"A classification loss depends on the logit of its label; {name} does not",
            f"the same values when the logits move round ({NUM_LOGITS} random ones, each label)",
            "the label is an integer, not one-hot: take logits[label], or jax.nn.one_hot(label, K)",
        )
