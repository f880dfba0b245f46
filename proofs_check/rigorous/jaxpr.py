"""The program that JAX makes of a formula, run on enclosures instead of numbers.

Integers and truth values stay what they are; every real number is an enclosure. What a program
computes in vain (the derivative of a maximum that only guards against overflow) is not looked at,
and what does not depend on real numbers is computed once. Rounding is no part of a formula:
conversions between precisions of real numbers are the identity.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property, lru_cache, partial
from operator import itemgetter
from typing import Any

import numpy as np

from proofs_check.rigorous import rules
from proofs_check.rigorous.arithmetic import Enclosure, Undecided
from proofs_check.rigorous.rules import INDEXED, KIND, MOVES, PLAIN, RULES, Rule
from ufm.errors import InputError

# A number with no more binary digits was meant as it is; one with more was rounded when Python
# computed it, and stands for every real number within a unit in its last place.
SHORT = 24
# Loops are unrolled; a program that repeats more often than this is no formula.
MOST_STEPS = 10_000
CALLS = ("jaxpr", "call_jaxpr", "fun_jaxpr")
# Sets of numbers that a plan keeps what was computed of them alone.
MOST_KEPT = 8


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
        >>> import jax
        >>> program = jax.make_jaxpr(lambda x: x**2 + 1)(0.0)
        >>> [told] = evaluate(program, Floats, [Floats.around(0.0, 0.5)])
        >>> bool(told.lower() <= 1), bool(told.upper() >= 1.25)
        (True, True)
    """
    plan = _planned(program, (True,) * len(program.jaxpr.outvars))
    numbers = [isinstance(x, Enclosure) or np.asarray(x).dtype.kind == "f" for x in inputs]
    whole = [i for i, real in enumerate(numbers) if not real]
    return plan.run(kind, inputs, whole)


# ---- the order of the steps, found once for every program


@dataclass(frozen=True)
class _Step:
    """One operation.

    Attributes:
        equation: what JAX says of it.
        takes, gives: numbers of the values that go in and come out.
        wanted: which of the latter are asked for later.
        done: values that are not asked for after it.
    """

    equation: Any
    takes: tuple[int, ...]
    gives: tuple[int, ...]
    wanted: tuple[bool, ...]
    done: tuple[int, ...] = ()

    @cached_property
    def real(self) -> bool:
        """Whether real numbers come out, or a program is run that may make some."""
        looped = self.equation.primitive.name in LOOPS
        return looped or any(v.aval.dtype.kind == "f" for v in self.equation.outvars)

    @cached_property
    def rule(self) -> Rule | None:
        """What it does to enclosures, a list of what comes out; None: nothing is known."""
        name, parameters = self.equation.primitive.name, self.equation.params
        if name in LOOPS:
            shapes = [v.aval.shape for v in self.equation.outvars]
            loop = partial(LOOPS[name], wanted=self.wanted, shapes=shapes, **parameters)
            return lambda kind, *inputs: loop(kind, list(inputs))
        if name not in RULES:
            return None
        own = partial(RULES[name], **parameters)
        if name not in INDEXED:
            own = partial(_on_enclosures, own)
        return own if self.equation.primitive.multiple_results else partial(_listed, own)


@dataclass(frozen=True, eq=False)
class _Plan:
    """The operations of a program whose results are asked for, calls of other programs inlined.

    Attributes:
        size: how many values there are.
        given: those that stand in the program.
        inputs, outputs: their numbers; an output that is not wanted has none.
        steps: in order.
        kept: by kind, accuracy and whole numbers among the inputs: the values that depend on these
            alone, and the steps that are left.
    """

    size: int
    given: Mapping[int, Any]
    inputs: tuple[int, ...]
    outputs: tuple[int | None, ...]
    steps: tuple[_Step, ...]
    kept: dict[Any, Any] = field(default_factory=dict)

    def run(self, kind: KIND, inputs: Sequence[Any], whole: Sequence[int] = ()) -> list[Any]:
        """The outputs; inputs at the places *whole* are numbers that come again and again."""
        fixed, steps = self._settled(kind, [(i, np.asarray(inputs[i])) for i in whole])
        values = fixed.copy()
        for i, value in zip(self.inputs, inputs, strict=True):
            if values[i] is None:
                values[i] = value if isinstance(value, Enclosure) else _given(kind, value)
        for step in steps:
            _take(step, kind, values)
            for i in step.done:
                values[i] = None
        return [None if i is None else values[i] for i in self.outputs]

    def _settled(self, kind: KIND, whole: Iterable[tuple[int, Any]]) -> Any:
        key = (kind, kind.accuracy(), *((i, x.shape, x.dtype.str, x.tobytes()) for i, x in whole))
        if key not in self.kept:
            if len(self.kept) >= MOST_KEPT:
                self.kept.clear()
            values: list[Any] = [None] * self.size
            for i, value in self.given.items():
                values[i] = written(kind, value)
            for i, value in whole:
                values[self.inputs[i]] = value
            known = {i for i, value in enumerate(values) if value is not None}
            left = []
            for step in self.steps:
                if known.issuperset(step.takes):
                    _take(step, kind, values)
                    known |= set(step.gives)
                else:
                    left.append(step)
            self.kept[key] = values, _with_ends(left, self.outputs, known)
        return self.kept[key]


def _with_ends(steps: Iterable[_Step], outputs: Iterable[Any], kept: set[int]) -> list[_Step]:
    """Steps that know which values nobody asks for after them."""
    asked, told = kept | {i for i in outputs if i is not None}, []
    for step in reversed(list(steps)):
        done = {*step.takes, *step.gives} - asked
        asked |= done
        told.append(replace(step, done=tuple(done)))
    return told[::-1]


@lru_cache(maxsize=256)
def _planned(program: Any, wanted: tuple[bool, ...]) -> _Plan:
    given: dict[int, Any] = {}
    steps: list[_Step] = []
    # What was computed before is not computed again: derivatives repeat much of a formula.
    before: dict[Any, tuple[int, ...]] = {}
    count = 0

    def new() -> int:
        nonlocal count
        count += 1
        return count - 1

    def constant(value: Any) -> int:
        array = np.asarray(value)
        key = array.shape, array.dtype.str, array.tobytes()
        if key not in before:
            before[key] = (new(),)
            given[before[key][0]] = value
        return before[key][0]

    def walk(program: Any, places: Sequence[int]) -> list[int]:
        jaxpr, constants = getattr(program, "jaxpr", program), getattr(program, "consts", ())
        known = dict(zip(map(id, jaxpr.invars), places, strict=True))
        for variable, value in zip(jaxpr.constvars, constants, strict=True):
            known[id(variable)] = constant(value)

        def read(variable: Any) -> int:
            return constant(variable.val) if hasattr(variable, "val") else known[id(variable)]

        for equation in jaxpr.eqns:
            takes = tuple(read(v) for v in equation.invars)
            called = _called(equation, takes)
            if called is None:
                key = _key(equation, takes)
                gives = before.get(key, ())
                if key not in before:
                    gives = tuple(new() for _ in equation.outvars)
                    steps.append(_Step(equation, takes, gives, ()))
                    if key is not None:
                        before[key] = gives
            else:
                gives = tuple(walk(*called))
            known.update(zip(map(id, equation.outvars), gives, strict=True))
        return [read(v) for v in jaxpr.outvars]

    inputs = tuple(new() for _ in getattr(program, "jaxpr", program).invars)
    ends = zip(walk(program, inputs), wanted, strict=True)
    outputs = tuple(place if want else None for place, want in ends)
    needed, live = {place for place in outputs if place is not None}, []
    for step in reversed(steps):
        asked = tuple(place in needed for place in step.gives)
        if any(asked):
            needed |= set(step.takes)
            live.append(replace(step, wanted=asked))
    return _Plan(
        count,
        {place: value for place, value in given.items() if place in needed},
        inputs,
        outputs,
        tuple(reversed(live)),
    )


def _key(equation: Any, takes: tuple[int, ...]) -> Any:
    """Equal where two operations give the same; None where that is not known."""
    key = equation.primitive.name, takes, tuple(sorted(equation.params.items(), key=itemgetter(0)))
    try:
        hash(key)
    except TypeError:
        return None
    return key


def _called(equation: Any, takes: tuple[int, ...]) -> tuple[Any, tuple[int, ...]] | None:
    """The program that an operation calls and what that takes, where it does nothing else."""
    name, parameters = equation.primitive.name, equation.params
    if name in LOOPS or name in RULES:
        return None
    if name == "custom_linear_solve":
        # Four programs come with their numbers: the system, its transpose, and how to solve either.
        sizes, ends = parameters["const_lengths"], len(takes) - len(equation.outvars)
        begin = sizes.matvec + sizes.vecmat
        return parameters["jaxprs"].solve, takes[begin : begin + sizes.solve] + takes[ends:]
    inner = (parameters.get(x) for x in CALLS)
    program = next((x for x in inner if hasattr(getattr(x, "jaxpr", x), "eqns")), None)
    return None if program is None else (program, takes)


# ---- values


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


def _take(step: _Step, kind: KIND, values: list[Any]) -> None:
    """Do one step: read what it takes, write what it gives."""
    inputs, rule = [values[i] for i in step.takes], step.rule
    if step.real or any(isinstance(x, Enclosure) for x in inputs):
        if rule is None:
            raise InputError(
                "Every operation of a certified formula needs an enclosure",
                f"the primitive {step.equation.primitive.name!r}",
                f"write the formula without it, or give it a rule in {rules.__name__}",
            )
        told = rule(kind, *inputs)
    else:
        told = _concrete(step.equation, inputs)
    for i, value in zip(step.gives, told, strict=True):
        values[i] = value


def _on_enclosures(rule: Rule, kind: KIND, *inputs: Any) -> Any:
    """A rule for enclosures alone: numbers among the inputs are meant as they are."""
    return rule(kind, *(x if isinstance(x, kind) else kind.exact(x) for x in inputs))


def _listed(rule: Rule, kind: KIND, *inputs: Any) -> list[Any]:
    return [rule(kind, *inputs)]


def _concrete(equation: Any, inputs: list[Any]) -> list[Any]:
    """Integers and truth values: in NumPy where it is short, since JAX compiles for every shape."""
    name, parameters = equation.primitive.name, equation.params
    if name in PLAIN or name in MOVES:
        aval = equation.outvars[0].aval
        told = PLAIN[name](*inputs) if name in PLAIN else MOVES[name](inputs[0], **parameters)
        return [np.asarray(told, dtype=aval.dtype)]
    if name == "platform_index":  # which of several programs is meant for this machine
        return [np.asarray(parameters["platforms"].index(None), dtype=np.int32)]
    if name == "iota":
        shape, axis = parameters["shape"], parameters["dimension"]
        spread = [n if i == axis else 1 for i, n in enumerate(shape)]
        counted = np.arange(shape[axis], dtype=parameters["dtype"]).reshape(spread)
        return [np.broadcast_to(counted, shape)]
    told = equation.primitive.bind(*inputs, **parameters)
    return [np.asarray(x) for x in (told if equation.primitive.multiple_results else [told])]


# ---- programs inside of programs


def _run(program: Any, kind: KIND, inputs: Sequence[Any], wanted: Sequence[bool]) -> list[Any]:
    return _planned(program, tuple(wanted)).run(kind, inputs)


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
