"""Float64 intervals over arrays, rounded outwards: every result contains the exact one.

A sum, difference, product or quotient in IEEE double precision is the nearest double to the exact
result, so the exact result lies between the two doubles next to it; that is one ``nextafter`` each
way, underflow included. The exponential is our own, with its error derived (NumPy promises none).
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import numpy as np

from ufm.typing import Array

# exp(x) = 2^k exp(r), |r| <= 0.35, exp(r) by a Taylor polynomial. With u = 2^-53, relative errors:
# - what the polynomial leaves out: 0.35^14 / 14! / exp(-0.35) < 8e-18 < 0.1 u;
# - Horner's rule: sum_i (2i + 1) u 0.35^i / i! < 2.5 u, over exp(-0.35): < 3.6 u;
# - the coefficients, each the nearest double: < 1.5 u / exp(-0.35) < 2.1 u;
# - r: x - k LN2_HIGH is exact (Sterbenz), k LN2_LOW is within 2^-74, their difference is rounded
#   to u 0.35: < 0.4 u.
# Together below 7 u; scaling by 2^k is exact above the subnormal numbers.
DEGREE, EXP_ERROR = 13, 8 * 2.0**-53
# Below, exponentials come near the subnormal numbers: 0 and this bound enclose them.
LOWEST, TINY = -700.0, 1e-303
# ln 2 in two parts: the first with 32 trailing zero bits, so that k times it is exact.
LN2_HIGH = float.fromhex("0x1.62e42fee00000p-1")
LN2_LOW = float.fromhex("0x1.a39ef35793c76p-33")


def _down(x: Array) -> Array:
    return np.nextafter(x, -np.inf)


def _up(x: Array) -> Array:
    return np.nextafter(x, np.inf)


@dataclass(frozen=True)
class Interval:
    """Arrays of lower and upper ends.

    Example:
        >>> x = Interval.of(0.1) + Interval.of(0.2)
        >>> bool(x.lo < 0.1 + 0.2 < x.hi)
        True
    """

    lo: Array
    hi: Array

    # NumPy arrays must not take over in ``array * interval``.
    __array_ufunc__ = None

    @classmethod
    def of(cls, x: Any) -> Interval:
        """Exact numbers."""
        made = np.asarray(x, dtype=float)
        return cls(made, made)

    @classmethod
    def between(cls, low: Any, high: Any) -> Interval:
        """All numbers from ``low`` to ``high``."""
        return cls(np.asarray(low, dtype=float), np.asarray(high, dtype=float))

    def __getitem__(self, key: Any) -> Interval:
        return Interval(self.lo[key], self.hi[key])

    def __neg__(self) -> Interval:
        return Interval(-self.hi, -self.lo)

    def __add__(self, other: Any) -> Interval:
        y = other if isinstance(other, Interval) else Interval.of(other)
        return Interval(_down(self.lo + y.lo), _up(self.hi + y.hi))

    __radd__ = __add__

    def __sub__(self, other: Any) -> Interval:
        return self + (-(other if isinstance(other, Interval) else Interval.of(other)))

    def __rsub__(self, other: Any) -> Interval:
        return (-self) + other

    def __mul__(self, other: Any) -> Interval:
        y = other if isinstance(other, Interval) else Interval.of(other)
        ends = [self.lo * y.lo, self.lo * y.hi, self.hi * y.lo, self.hi * y.hi]
        return Interval(
            _down(np.minimum(np.minimum(ends[0], ends[1]), np.minimum(ends[2], ends[3]))),
            _up(np.maximum(np.maximum(ends[0], ends[1]), np.maximum(ends[2], ends[3]))),
        )

    __rmul__ = __mul__

    def __truediv__(self, other: Interval) -> Interval:
        """Quotient by an interval without zero; (-inf, inf) where it has one."""
        good = (other.lo > 0) | (other.hi < 0)
        with np.errstate(divide="ignore", invalid="ignore", over="ignore"):
            inverse = Interval(
                np.where(good, _down(1 / other.hi), -np.inf),
                np.where(good, _up(1 / other.lo), np.inf),
            )
        return self * inverse

    def inverse(self) -> Interval:
        """1/x; (-inf, inf) where x has a zero."""
        return Interval.of(1.0) / self

    def square(self) -> Interval:
        """x^2, never below zero."""
        low = np.where((self.lo > 0) | (self.hi < 0), np.minimum(abs(self.lo), abs(self.hi)), 0.0)
        return Interval(np.maximum(_down(low * low), 0.0), _up(self.magnitude() ** 2))

    def sum(self, axis: int) -> Interval:
        """Sum along an axis, term by term."""
        parts = [self.take(i, axis) for i in range(self.lo.shape[axis])]
        total = parts[0]
        for part in parts[1:]:
            total = total + part
        return total

    def take(self, i: int, axis: int) -> Interval:
        """One entry along an axis."""
        return Interval(np.take(self.lo, i, axis), np.take(self.hi, i, axis))

    def exp(self) -> Interval:
        """The exponential."""
        # The products with 1 -+ EXP_ERROR round once more each: hence the second step.
        low = _down(_down(_exponential(self.lo) * (1 - EXP_ERROR)))
        high = _up(_up(_exponential(self.hi) * (1 + EXP_ERROR)))
        return Interval(
            np.where(self.lo < LOWEST, 0.0, low), np.where(self.hi < LOWEST, TINY, high)
        )

    def meet(self, other: Interval) -> Interval:
        """The intersection; where it is empty, lo > hi."""
        return Interval(np.maximum(self.lo, other.lo), np.minimum(self.hi, other.hi))

    def magnitude(self) -> Array:
        """The largest |x|."""
        return np.maximum(abs(self.lo), abs(self.hi))

    def middle(self) -> Array:
        """A double near the middle, never outside."""
        return np.clip(0.5 * self.lo + 0.5 * self.hi, self.lo, self.hi)

    def without_zero(self) -> Any:
        """Where zero is proved not to be inside."""
        return (self.lo > 0) | (self.hi < 0)


def stack(parts: list[Interval], axis: int = -1) -> Interval:
    """Intervals side by side along a new axis."""
    return Interval(
        np.stack([x.lo for x in parts], axis=axis), np.stack([x.hi for x in parts], axis=axis)
    )


def _exponential(x: Array) -> Array:
    """exp(x) within a relative EXP_ERROR for x >= LOWEST; infinite above 709."""
    bounded = np.clip(x, LOWEST, 709.0)
    k = np.rint(bounded / math.log(2))
    r = (bounded - k * LN2_HIGH) - k * LN2_LOW
    value = np.full_like(r, 1 / math.factorial(DEGREE))
    for i in range(DEGREE - 1, -1, -1):
        value = value * r + 1 / math.factorial(i)
    return np.where(x > 709.0, np.inf, np.ldexp(value, k.astype(int)))
