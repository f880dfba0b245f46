"""Immutable records that are also JAX pytrees."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
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
