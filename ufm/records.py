"""Immutable records that are also JAX pytrees."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Mapping
from typing import Any, TypeVar, dataclass_transform

import jax

T = TypeVar("T")


@dataclass_transform(frozen_default=True)
def pytree_record(static: tuple[str, ...] = (), *, eq: bool = True) -> Callable[[type[T]], type[T]]:
    """Make a class a frozen dataclass and a pytree; fields named in ``static`` are structure.

    Numbers become leaves, so one compiled program serves every value of them. Rebuilding from
    leaves skips ``__post_init__``: validation looks at what a person wrote, never at tracers.
    With ``eq=False`` records compare by identity (for those that hold arrays).

    Example:
        >>> @pytree_record(static=("size",))
        ... class Ball:
        ...     radius: float
        ...     size: int
        >>> jax.tree.leaves(Ball(radius=2.0, size=3))
        [2.0]
    """

    def register(cls: type[T]) -> type[T]:
        written = "__init__" in cls.__dict__
        cls = dataclasses.dataclass(frozen=True, eq=eq, init=not written)(cls)
        names = [field.name for field in dataclasses.fields(cls)]  # type: ignore[arg-type]
        leaves = tuple(name for name in names if name not in static)

        def flatten(record: Any) -> tuple[tuple[Any, ...], tuple[Any, ...]]:
            return (
                tuple(getattr(record, name) for name in leaves),
                tuple(getattr(record, name) for name in static),
            )

        def unflatten(structure: tuple[Any, ...], children: tuple[Any, ...]) -> Any:
            record = object.__new__(cls)
            for name, value in zip(leaves + static, children + structure, strict=True):
                object.__setattr__(record, name, value)
            return record

        jax.tree_util.register_pytree_node(cls, flatten, unflatten)
        return cls

    return register


def numbers_of(record: Any) -> dict[str, float]:
    """The floats of a record and of the records in it, by path; counts and arrays are none.

    Example:
        >>> from ufm import UFM, Focal
        >>> numbers_of(UFM(Focal(3.0), 4, 6, lambda_W=0.02, lambda_H=0.01))
        {'loss.gamma': 3.0, 'lambda_W': 0.02, 'lambda_H': 0.01}
    """
    found: dict[str, float] = {}
    for field in dataclasses.fields(record):
        value = getattr(record, field.name)
        if isinstance(value, float):
            found[field.name] = float(value)
        elif dataclasses.is_dataclass(value):
            found |= {f"{field.name}.{path}": x for path, x in numbers_of(value).items()}
    return found


def with_numbers(record: T, numbers: Mapping[str, float]) -> T:
    """The record with other floats, by path; like rebuilding from leaves, it checks no domain.

    Example:
        >>> from ufm import UFM, Focal
        >>> model = UFM(Focal(3.0), 4, 6, lambda_W=0.02, lambda_H=0.01)
        >>> with_numbers(model, {"loss.gamma": 2.0}).loss.name
        'focal(2)'
    """
    made: Any = object.__new__(type(record))
    for field in dataclasses.fields(record):  # type: ignore[arg-type]
        value, head = getattr(record, field.name), field.name + "."
        inner = {path[len(head) :]: x for path, x in numbers.items() if path.startswith(head)}
        value = with_numbers(value, inner) if inner else numbers.get(field.name, value)
        object.__setattr__(made, field.name, value)
    return made
