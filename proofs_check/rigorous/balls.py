"""Enclosures by python-flint: arrays of balls at a stated precision."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import flint
import numpy as np
from numpy.typing import NDArray

from proofs_check.rigorous.arithmetic import Enclosure, Parts, Undecided
from ufm.typing import Array

# A float64 has 53 bits; the rest is room for cancellation.
BITS = 128


@contextmanager
def precision(bits: int = BITS) -> Iterator[None]:
    """Balls with so many bits inside; the precision belongs to the process and is restored.

    Example:
        >>> with precision(200):
        ...     flint.ctx.prec
        200
    """
    before = flint.ctx.prec
    flint.ctx.prec = bits
    try:
        yield
    finally:
        flint.ctx.prec = before


def _down(ball: Any) -> float:
    """A float64 not above a ball: the nearest of its lower end, and one less where that is above.

    A float is an exact ball, so the comparison decides without rounding.
    """
    if not ball.is_finite():
        return float(ball) if ball.is_exact() else -np.inf
    end = ball.lower()
    near = float(end)
    while not flint.arb(near) <= end:
        near = float(np.nextafter(near, -np.inf))
    return near


_lower = np.frompyfunc(_down, 1, 1)
_upper = np.frompyfunc(lambda ball: -_down(-ball), 1, 1)
_near = np.frompyfunc(float, 1, 1)
_spread = np.frompyfunc(lambda ball: float(ball.rad()), 1, 1)
_larger = np.frompyfunc(lambda x, y: x.max(y), 2, 1)
_ball = np.frompyfunc(lambda m, r: flint.arb(float(m), float(r)), 2, 1)


def _hull(low: Any, high: Any) -> Any:
    return low.lower().union(high.upper())


FUNCTIONS = {
    name: np.frompyfunc(lambda x, name=name: getattr(x, name)(), 1, 1)
    for name in ("exp", "log", "expm1", "log1p", "sqrt", "sin", "cos", "tanh", "erf", "atan")
}


class Balls(Enclosure):
    """Balls of python-flint, an object array; the precision is that of the moment.

    Example:
        >>> with precision(128):
        ...     third = Balls.exact([1.0]) / Balls.exact([3.0])
        >>> bool(third.lower()[0] < third.upper()[0]), bool(third.upper()[0] - 1 / 3 < 1e-15)
        (True, True)
    """

    functions = frozenset(FUNCTIONS)

    def __init__(self, array: NDArray[Any]) -> None:
        self.array = array

    @classmethod
    def around(cls, middle: Any, radius: Any) -> Balls:
        return cls(np.asarray(_ball(middle, radius), dtype=object))

    @classmethod
    def between(cls, low: Balls, high: Balls) -> Balls:
        return cls(np.asarray(np.frompyfunc(_hull, 2, 1)(low.array, high.array), dtype=object))

    @classmethod
    def accuracy(cls) -> int:
        return int(flint.ctx.prec)

    def lower(self) -> Array:
        return np.asarray(_lower(self.array), dtype=np.float64)

    def upper(self) -> Array:
        return np.asarray(_upper(self.array), dtype=np.float64)

    def middle(self) -> Array:
        return np.asarray(_near(self.array), dtype=np.float64)

    def rounded(self) -> tuple[Array, Array]:
        """Middles and radii, each as a float64 number next to it."""
        return self.middle(), np.asarray(_spread(self.array), dtype=np.float64)

    def parts(self) -> Parts:
        return (self.array,)

    def of(self, parts: Sequence[Any]) -> Balls:
        return Balls(np.asarray(parts[0], dtype=object))

    def __add__(self, other: Balls) -> Balls:
        return self.of([self.array + other.array])

    def __sub__(self, other: Balls) -> Balls:
        return self.of([self.array - other.array])

    def __mul__(self, other: Balls) -> Balls:
        return self.of([self.array * other.array])

    def maximum(self, other: Balls) -> Balls:
        return Balls(np.asarray(_larger(self.array, other.array), dtype=object))

    def largest(self, axes: tuple[int, ...]) -> Balls:
        told = self.array
        for axis in sorted(axes, reverse=True):
            told = _larger.reduce(told, axis=axis)
        return Balls(np.asarray(told, dtype=object))

    def __truediv__(self, other: Balls) -> Balls:
        told = self.of([self.array / other.array])
        if not all(x.is_finite() for x in told.array.ravel()):
            raise Undecided("a quotient is not bounded: an enclosure of its divisor contains zero")
        return told

    def __neg__(self) -> Balls:
        return self.of([-self.array])

    def apply(self, function: str) -> Balls:
        told = self.of([FUNCTIONS[function](self.array)])
        if any(x.is_nan() or not (x.is_finite() or x.is_exact()) for x in told.array.ravel()):
            raise Undecided(f"{function} is not bounded on an enclosure")
        return told

    def summed(self, axes: tuple[int, ...]) -> Balls:
        size = int(np.prod([self.shape[i] for i in axes]))
        if not size:
            kept = [n for i, n in enumerate(self.shape) if i not in axes]
            return self.exact(np.zeros(kept))
        return self.of([np.sum(self.array, axis=axes)])

    def __matmul__(self, other: Balls) -> Balls:
        if len(self.shape) > 2:
            pairs = [self[i] @ other[i] for i in range(self.shape[0])]
            shape = (self.shape[0], self.shape[-2], other.shape[-1])
            if not pairs:
                return self.exact(np.zeros(shape))
            return pairs[0].joined(pairs[1:], np.stack)
        (rows, inner), columns = self.shape, other.shape[1]
        if not rows * inner * columns:
            return self.exact(np.zeros((rows, columns)))
        left = flint.arb_mat(rows, inner, self.array.ravel().tolist())
        right = flint.arb_mat(inner, columns, other.array.ravel().tolist())
        entries = np.empty(rows * columns, dtype=object)
        entries[:] = (left * right).entries()
        return self.of([entries.reshape(rows, columns)])
