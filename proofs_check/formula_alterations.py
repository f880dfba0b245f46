"""Alterations of formulas by a program: every number moved a little must be noticed.

A mutant is written by hand with its claim (``proofs_check.claim``); these are made of its formula.

The formula of a law is read, and altered in one place at a time: each constant by one per cent,
each exponent by 0.1, each count by one, each argument replaced by another. What no instance of a
claim tells from the formula itself is listed with the claim: that is what it cannot see.
"""

from __future__ import annotations

import ast
import copy
import inspect
import textwrap
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import cache
from itertools import permutations
from types import FunctionType
from typing import Any, TypeVar

import numpy as np

from proofs_check.instance import Instance
from proofs_check.law import Formula, Law, arguments

F = TypeVar("F", bound=Callable[..., Any])
PER_CENT = (0.99, 1.01)
TENTH = (-0.1, 0.1)
ONE = (-1, 1)
# Functions whose numbers are not the formula's: shapes, ranges and the brackets of root finders.
NOT_FORMULAS = {"brentq", "minimize_scalar", "range", "round", "linspace", "full", "zeros", "ones"}


@dataclass(frozen=True)
class Alteration:
    """One formula altered in one place.

    Attributes:
        text: what became what.
        predicted: the altered formula, called with the same arguments.
        exchanged: the two arguments of which one stands for the other, if that was altered.
    """

    text: str
    predicted: Formula
    exchanged: tuple[str, ...] = ()


def formula(function: F) -> F:
    """Mark a function that formulas call: its numbers are part of theirs.

    Example:
        >>> @formula
        ... def half(x):
        ...     return x / 2
        >>> half(3.0)
        1.5
    """
    function.__formula__ = True  # type: ignore[attr-defined]
    return function


@cache
def family(predicted: Formula) -> tuple[Alteration, ...]:
    """Every alteration of a formula and of the marked formulas that it calls.

    Example:
        >>> from proofs_check.claims.critical import largest_rank
        >>> [mutant.text for mutant in family(largest_rank)]
        ['K - 1 -> K - 0.99', 'K - 1 -> K - 1.01', 'K - 1 -> K - 0', 'K - 1 -> K - 2']
    """
    found = []
    for part in _parts(predicted):
        for text, tree in _edits(part):
            found.append(Alteration(text, _rebuilt(predicted, part, tree)))
    read = _names_read(inspect.unwrap(predicted))
    for here, there in permutations(arguments(predicted), 2):
        if here not in read:  # one that only offers itself in the place of others
            continue
        altered = _exchanged(predicted, here, there)
        found.append(Alteration(f"{there} for {here}", altered, (here, there)))
    return tuple(found)


def noticed(
    law: Law, mutant: Alteration, instances: Sequence[Instance], tolerance: float
) -> bool | None:
    """Whether a law fails at some instance once its formula is altered.

    Without a value where the claim has one (no root, a logarithm of a negative number) it fails
    there. None where it has no meaning at any instance (a fraction for the size of an array), so
    that there is nothing to notice.
    """
    meaning: bool | None = None
    for instance in instances:
        numbers = law.numbers(instance)
        if mutant.exchanged and any(np.ndim(numbers[name]) for name in mutant.exchanged):
            continue
        try:
            with np.errstate(all="ignore"):
                error = law.compare(instance, mutant.predicted(**numbers))
        except (IndexError, TypeError):
            continue
        except (ArithmeticError, ValueError):
            return True
        if not error <= tolerance:
            return True
        meaning = False
    return meaning


def _exchanged(predicted: Formula, here: str, there: str) -> Formula:
    def altered(**numbers: Any) -> Any:
        return predicted(**{**numbers, here: numbers[there]})

    return altered


# ---- reading a formula


def _parts(predicted: Formula) -> list[FunctionType]:
    """A formula and the marked ones that it calls, directly or not."""
    found: list[FunctionType] = []
    waiting: list[Any] = [inspect.unwrap(predicted)]
    while waiting:
        function = waiting.pop(0)
        if function in found:
            continue
        found.append(function)
        for name in sorted(_names(function.__code__)):
            called = function.__globals__.get(name)
            if getattr(called, "__formula__", False):
                waiting.append(inspect.unwrap(called))
    return found


def _names(code: Any) -> set[str]:
    inner = [constant for constant in code.co_consts if inspect.iscode(constant)]
    return set(code.co_names).union(*map(_names, inner))


@cache
def _source(function: FunctionType) -> ast.Module:
    tree = ast.parse(textwrap.dedent(inspect.getsource(function)))
    body: Any = tree.body[0]
    body.decorator_list = []
    if ast.get_docstring(body):
        body.body = body.body[1:]
    return tree


def _names_read(function: Any) -> set[str]:
    names = (node for node in ast.walk(_source(function)) if isinstance(node, ast.Name))
    return {name.id for name in names}


def _edits(function: FunctionType) -> Iterator[tuple[str, ast.Module]]:
    """Every altered syntax tree of one function, with words."""
    tree = _source(function)
    for path, node, parent in _numbers(tree):
        for value in _values(node, parent):
            changed = copy.deepcopy(tree)
            inside, field, place = _at(changed, path[:-1]), *path[-1]
            before = ast.unparse(inside)
            new = ast.copy_location(_altered(node, value), node)
            if place is None:
                setattr(inside, field, new)
            else:
                getattr(inside, field)[place] = new
            yield f"{before} -> {ast.unparse(inside)}", ast.fix_missing_locations(changed)


Path = tuple[tuple[str, int | None], ...]


def _numbers(tree: ast.AST, path: Path = ()) -> Iterator[tuple[Path, ast.AST, ast.AST]]:
    """Literals and square roots that belong to the formula, each with its path and its parent."""
    for field, value in ast.iter_fields(tree):
        if _foreign(tree, field):
            continue
        for place, node in enumerate(value) if isinstance(value, list) else ((None, value),):
            if not isinstance(node, ast.AST):
                continue
            step: Path = (*path, (field, place))
            if _is_number(node) or _is_root(node):
                yield step, node, tree
            yield from _numbers(node, step)


def _foreign(tree: ast.AST, field: str) -> bool:
    """Whether a field of a node holds no part of the formula: indices, options, defaults, types."""
    if isinstance(tree, ast.Call):
        called = tree.func.attr if isinstance(tree.func, ast.Attribute) else ast.unparse(tree.func)
        return field == "keywords" or (field == "args" and called in NOT_FORMULAS)
    if isinstance(tree, ast.Subscript):
        return field == "slice"
    if isinstance(tree, ast.arguments):
        return True
    return field in ("annotation", "returns")


def _is_number(node: ast.AST) -> bool:
    value = getattr(node, "value", None)
    literal = isinstance(node, ast.Constant) and isinstance(value, int | float)
    return literal and not isinstance(value, bool) and value != 0


def _is_root(node: ast.AST) -> bool:
    return isinstance(node, ast.Call) and ast.unparse(node.func) in ("np.sqrt", "sympy.sqrt")


def _values(node: ast.AST, parent: ast.AST) -> list[float]:
    if _is_root(node):
        return [0.5 + step for step in TENTH]
    value = ast.literal_eval(node)
    if isinstance(parent, ast.BinOp) and isinstance(parent.op, ast.Pow) and node is parent.right:
        return [value + step for step in TENTH]
    moved = [float(f"{value * factor:.6g}") for factor in PER_CENT]
    return moved + ([value + step for step in ONE] if isinstance(value, int) else [])


def _altered(node: ast.AST, value: float) -> ast.expr:
    number = ast.Constant(round(value, 12))
    if _is_root(node):
        return ast.BinOp(node.args[0], ast.Pow(), number)  # type: ignore[attr-defined]
    return number


def _at(tree: ast.AST, path: Path) -> ast.AST:
    for field, place in path:
        tree = getattr(tree, field) if place is None else getattr(tree, field)[place]
    return tree


def _rebuilt(predicted: Formula, part: FunctionType, tree: ast.Module) -> Formula:
    """A formula that calls the altered part instead of the part."""
    parts = _parts(predicted)
    spaces = {id(function.__globals__): dict(function.__globals__) for function in parts}
    exec(compile(tree, "<altered formula>", "exec"), names := spaces[id(part.__globals__)])
    new = {part: names[part.__name__]}
    for other in parts:
        if other is not part:
            space = spaces[id(other.__globals__)]
            new[other] = FunctionType(other.__code__, space, other.__name__, other.__defaults__)
    for space in spaces.values():
        for name, value in list(space.items()):
            if getattr(value, "__formula__", False):
                space[name] = new.get(inspect.unwrap(value), value)
    return new[inspect.unwrap(predicted)]
