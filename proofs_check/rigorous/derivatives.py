"""Objective, gradient and Hessian of any model, enclosed at a point or over a box.

The program is traced once per structure, with the numbers of the model among its inputs, so that
what is enclosed is the formula at these float64 numbers, and not at what tracing folds of them.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import lru_cache
from typing import Any

import jax
import numpy as np

from proofs_check.rigorous.arithmetic import E
from proofs_check.rigorous.jaxpr import evaluate
from ufm.model import Model
from ufm.point import flatten, unflatten


def value(model: Model[Any], like: Any, x: E) -> E:
    """The objective at x (P,), the coordinates of ``flatten``: a scalar enclosure.

    Example:
        >>> from proofs_check.rigorous.floats import Floats
        >>> from ufm import UFM, CrossEntropy
        >>> model = UFM(CrossEntropy(), 2, 1, lambda_W=0.1, lambda_H=0.1)
        >>> told = value(model, model.origin(), Floats.exact(np.zeros(4)))
        >>> bool(told.lower() < np.log(2) < told.upper())
        True
    """
    return _enclosed("value", model, like, x)


def value_and_gradient(model: Model[Any], like: Any, x: E) -> tuple[E, E]:
    """Both at x, by one program."""
    height, slope = _every("value and gradient", model, like, x)
    return height, slope


def hessian(model: Model[Any], like: Any, x: E) -> E:
    """The Hessian at x, (P, P)."""
    return _enclosed("hessian", model, like, x)


def hessian_vector_product(model: Model[Any], like: Any, x: E, direction: E) -> E:
    """The Hessian at x applied to a direction (P,)."""
    return _enclosed("product", model, like, x, direction)


def _enclosed(which: str, model: Model[Any], like: Any, *arrays: E) -> E:
    [told] = _every(which, model, like, *arrays)
    return told


def _every(which: str, model: Model[Any], like: Any, *arrays: E) -> list[E]:
    leaves, structure = jax.tree.flatten(model)
    shapes = jax.tree.structure(like), tuple(np.shape(leaf) for leaf in jax.tree.leaves(like))
    kinds = tuple((np.shape(leaf), np.asarray(leaf).dtype.str) for leaf in leaves)
    program = _program(which, structure, kinds, *shapes)
    return evaluate(program, type(arrays[0]), [*leaves, *arrays])


@lru_cache(maxsize=64)
def _program(which: str, structure: Any, kinds: Any, point: Any, shapes: Any) -> Any:
    """The closed jaxpr of a derivative as a function of (numbers of the model, x, direction)."""
    like = jax.tree.unflatten(point, [np.zeros(shape) for shape in shapes])
    leaves = [np.zeros(shape, dtype) for shape, dtype in kinds]
    x = np.zeros(len(flatten(like)))

    def of(numbers: Any) -> Any:
        model = jax.tree.unflatten(structure, numbers)
        return lambda y: model.objective(unflatten(y, like))

    programs: dict[str, Callable[..., Any]] = {
        "value": lambda m, y: of(m)(y),
        "value and gradient": lambda m, y: jax.value_and_grad(of(m))(y),
        "hessian": lambda m, y: jax.hessian(of(m))(y),
        "product": lambda m, y, v: jax.jvp(jax.grad(of(m)), (y,), (v,))[1],
    }
    arrays = (x, x) if which == "product" else (x,)
    return jax.make_jaxpr(programs[which])(leaves, *arrays)
