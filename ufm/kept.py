"""Compiled functions whose programs somebody may keep; here nothing is read from a disk or written.

Tracing and lowering a function take longer than a small problem, and every process does them anew.
Whoever has a place for programs gives a keeper (``keep_with``), which then answers the calls.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial, update_wrapper, wraps
from typing import Any, Protocol

import jax


class Kept:
    """A function compiled by ``jax.jit``, once for all processes where a keeper is at hand.

    Attributes:
        name: module and name, which are part of what a program is kept by.
        function: as it was written.
        static: keywords that are structure.
        jitted: what ``jax.jit`` makes of it.
    """

    def __init__(self, function: Callable[..., Any], static: tuple[str, ...] = ()) -> None:
        update_wrapper(self, function)
        self.name = f"{function.__module__}.{function.__qualname__}"
        self.function, self.static = function, static
        self.jitted: Any = self.anew()

    def anew(self) -> Any:
        """The function compiled by itself, whatever ``jax.jit`` knows of it."""

        @wraps(self.function)
        def function(*args: Any, **static: Any) -> Any:
            return self.function(*args, **static)

        return jax.jit(function, static_argnames=self.static)

    def __reduce__(self) -> str:
        return self.function.__qualname__  # by name, as functions are sent to other processes

    def __call__(self, *args: Any, **static: Any) -> Any:
        leaves = () if _keeper is None else jax.tree.leaves(args)
        if _keeper is None or any(isinstance(leaf, jax.core.Tracer) for leaf in leaves):
            return self.jitted(*args, **static)
        return _keeper(self, args, static)


class Keeper(Protocol):
    """What answers the calls of kept functions."""

    def __call__(self, function: Kept, args: tuple[Any, ...], static: dict[str, Any]) -> Any:
        """The result of a function at arguments, given its static keywords."""

    def forget(self) -> None:
        """Let go of all programs in memory."""


_keeper: Keeper | None = None


def kept(*static: str) -> Callable[[Callable[..., Any]], Kept]:
    """Compile a function as ``jax.jit`` does, and let a keeper keep its programs.

    Args:
        static: names of keywords that are structure; they are never given by place.

    Example:
        >>> @kept("times")
        ... def repeated(x, *, times):
        ...     return x * times
        >>> float(repeated(2.0, times=3))
        6.0
    """
    return partial(Kept, static=static)


def keep_with(keeper: Keeper | None) -> None:
    """Let somebody answer the calls of all kept functions, or nobody.

    Example:
        >>> keep_with(None)
    """
    global _keeper
    _keeper = keeper


def forget() -> None:
    """Let go of all programs in memory, of a keeper and of JAX.

    Example:
        >>> forget()  # doctest: +SKIP
    """
    if _keeper is not None:
        _keeper.forget()
    jax.clear_caches()
