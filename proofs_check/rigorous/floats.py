"""Enclosures in float64: midpoints and radii, with a-priori bounds on every rounding error.

u = 2^-53 is the unit roundoff of rounding to nearest, and nothing else of the processor is used:
fl(a o b) = (a o b)(1 + t), |t| <= u, for + - * / and the square root (IEEE 754), so that also
|fl(a o b) - a o b| <= u |fl(a o b)|. Sums and products of matrices may be evaluated in any order,
with or without fused operations: every summand passes through at most n roundings, which moves a
sum of n terms by at most gamma_n = n u / (1 - n u) times the sum of the absolute values.
Source: Higham 2002, section 3.1; Rump 1999 (midpoint-radius arithmetic), 2012 (matrix products).
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from functools import lru_cache
from typing import Any

import numpy as np

from proofs_check.rigorous.arithmetic import Enclosure, Parts, Undecided
from proofs_check.rigorous.balls import Balls, precision
from ufm.typing import Array

UNIT = 2.0**-53
# Radii are sums, products and quotients of non-negative numbers. Each of m roundings lowers them by
# at most the factor 1 - u, and (1 - u)^-m <= 1 + 2 m u while m u <= 1/2: 32 u is enough for 16
# roundings, and no radius here takes more beside its sums over n terms.
INFLATION = 32 * UNIT
# Where a product falls below 2^-1022 it loses at most 2^-1022, flushed to zero or not; a thousand
# such losses, divided by numbers above 2^-12, are below this.
TINY = 2.0**-1000
# Overflow makes radii infinite or no numbers, every comparison with them fails, and nothing is
# proved; it needs no warning.
unbounded_is_undecided = np.errstate(over="ignore", invalid="ignore", divide="ignore")
# Tables of exp are 2^-8 apart, so that the rest r has |r| <= 2^-9 and seven terms are enough: those
# left out are below twice the first of them, r^8 / 8! < 1e-26. Each step s' = 1 + r s / n of
# Horner's rule rounds three times: e' <= u |s'| + (2 u + u^2) |r s / n| + |r / n| e, and with
# |s| < 1.002 all e stay below (1.002 + .004 + .002) u + 1e-25 < 1.01 u.
STEPS, TERMS, SERIES_ERROR = 256, 7, 1.01 * UNIT
# Beyond this exp is a subnormal number, or none.
LARGEST_EXPONENT = 700.0


def gamma(n: int) -> float:
    """n u / (1 - n u), rounded up: what sums of n terms lose, relative to absolute values.

    Example:
        >>> gamma(1) >= 2.0**-53, gamma(1000) < 1.2e-13
        (True, True)
    """
    return n * UNIT / (1 - n * UNIT) * (1 + INFLATION)


def outward(radius: Any, terms: int = 0) -> Array:
    """An upper bound of a radius that was computed in 16 roundings, and sums of so many terms."""
    wider = np.asarray(radius * (1 + INFLATION + 2 * terms * UNIT))
    wider += (terms + 1) * TINY
    return wider


class Floats(Enclosure):
    """Midpoints and radii in float64.

    Example:
        >>> third = Floats.exact([1.0]) / Floats.exact([3.0])
        >>> bool(third.lower()[0] < third.upper()[0]), bool(third.radius[0] < 1e-16)
        (True, True)
    """

    functions = Balls.functions

    def __init__(self, centre: Any, radius: Any, *, known: bool | None = None) -> None:
        self.centre, self.radius, self._known = np.asarray(centre), np.asarray(radius), known

    @classmethod
    def around(cls, middle: Any, radius: Any) -> Floats:
        return cls(*np.broadcast_arrays(np.asarray(middle, float), np.asarray(radius, float)))

    @classmethod
    def exact(cls, value: Any) -> Floats:
        centre = np.asarray(value, dtype=np.float64)
        return cls(centre, np.zeros(centre.shape), known=True)

    @classmethod
    def between(cls, low: Floats, high: Floats) -> Floats:
        below, above = low.lower(), high.upper()
        middle = below + (above - below) / 2
        return cls(middle, outward(np.maximum(above - middle, middle - below)))

    @classmethod
    def around_balls(cls, balls: Balls) -> Floats:
        """Middles and radii of balls; a middle moves by less than a unit in its last place."""
        centre, radius = balls.rounded()
        return cls(centre, outward(radius + 2 * UNIT * np.abs(centre)))

    def lower(self) -> Array:
        """The difference is rounded by half a unit in the last place; the next float is below."""
        if self.known:
            return self.centre
        return np.where(self.radius == 0, self.centre, np.nextafter(self._end(-1), -np.inf))

    def upper(self) -> Array:
        if self.known:
            return self.centre
        return np.where(self.radius == 0, self.centre, np.nextafter(self._end(1), np.inf))

    def _end(self, side: int) -> Array:
        return np.asarray(self.centre + side * self.radius)

    def middle(self) -> Array:
        return np.asarray(self.centre)

    def parts(self) -> Parts:
        return self.centre, self.radius

    def of(self, parts: Sequence[Any]) -> Floats:
        return Floats(*parts)

    def __add__(self, other: Floats) -> Floats:
        return _sum(self.centre + other.centre, self, other)

    def __sub__(self, other: Floats) -> Floats:
        return _sum(self.centre - other.centre, self, other)

    def __neg__(self) -> Floats:
        return Floats(-self.centre, self.radius, known=self._known)

    @property
    def known(self) -> bool:
        """Whether every radius is zero."""
        if self._known is None:
            self._known = not self.radius.any()
        return self._known

    def moved(self, move: Callable[[Array], Any]) -> Floats:
        centre = np.asarray(move(self.centre))
        if self._known:
            return Floats(centre, np.zeros(centre.shape), known=True)
        return Floats(centre, move(self.radius))

    def __mul__(self, other: Floats) -> Floats:
        """|x y - a b| <= |a| rb + ra (|b| + rb)."""
        centre = np.asarray(self.centre * other.centre)
        spread = UNIT * np.abs(centre)
        if not other.known:
            spread += np.abs(self.centre) * other.radius
        if not self.known:
            spread += self.radius * (np.abs(other.centre) + other.radius)
        return Floats(centre, outward(spread))

    def __truediv__(self, other: Floats) -> Floats:
        """x/y - a/b = ((x - a) - (a/b)(y - b)) / y."""
        least = (np.abs(other.centre) - other.radius) * (1 - INFLATION)
        if not np.all(least > 0):
            raise Undecided("a quotient is not bounded: an enclosure of its divisor contains zero")
        centre = self.centre / other.centre
        spread = (self.radius + np.abs(centre) * other.radius) / least
        return Floats(centre, outward(spread + UNIT * np.abs(centre) + TINY / least))

    def summed(self, axes: tuple[int, ...]) -> Floats:
        terms = math.prod(self.shape[i] for i in axes)
        lost = gamma(terms) * np.sum(np.abs(self.centre), axis=axes)
        radius = np.sum(self.radius, axis=axes) + lost
        return Floats(np.sum(self.centre, axis=axes), outward(radius, terms))

    def __matmul__(self, other: Floats) -> Floats:
        """|x y - a b| <= |a| (rb + gamma |b|) + ra (|b| + rb), products of matrices."""
        terms = self.shape[-1]
        centre = self.centre @ other.centre
        b = np.abs(other.centre)
        share = gamma(terms) * b
        if not other.known:
            share += other.radius
            b += other.radius
        radius = np.abs(self.centre) @ share
        if not self.known:
            radius += np.ascontiguousarray(self.radius) @ b
        return Floats(centre, outward(radius, terms))

    def absolute(self) -> Floats:
        """||x| - |a|| <= |x - a|."""
        return Floats(np.abs(self.centre), self.radius)

    def maximum(self, other: Floats) -> Floats:
        """|max(x, y) - max(a, b)| <= max(rx, ry), and the radius of the larger where it is told."""
        first = self.lower() >= other.upper()
        second = other.lower() >= self.upper()
        radius = np.maximum(self.radius, other.radius)
        radius = np.where(first, self.radius, np.where(second, other.radius, radius))
        return Floats(np.maximum(self.centre, other.centre), radius)

    def largest(self, axes: tuple[int, ...]) -> Floats:
        """The same of many, among those that may be the largest."""
        most = self.lower().max(axis=axes, keepdims=True)
        radius = np.where(self.upper() >= most, self.radius, 0.0)
        return Floats(self.centre.max(axis=axes), radius.max(axis=axes))

    def apply(self, function: str) -> Floats:
        if function == "exp":
            return self._exponential()
        if function == "sqrt" and np.all(self.centre > self.radius):
            # |sqrt(x) - sqrt(a)| = |x - a| / (sqrt(x) + sqrt(a)) <= r / sqrt(a)
            root = np.sqrt(self.centre)
            return Floats(root, outward(self.radius / root + UNIT * root))
        return self._by_flint(function)

    def _by_flint(self, function: str) -> Floats:
        """One number after the other."""
        with precision(64):
            return Floats.around_balls(Balls.around(self.centre, self.radius).apply(function))

    def _exponential(self) -> Floats:
        """exp(a) exp([-r, r]), with e^r - 1 <= r + r^2 for r <= 1."""
        plain = (np.abs(self.centre) < LARGEST_EXPONENT) & (self.radius <= 1)
        if not plain.all():
            vanishing = (self.centre == -np.inf) & (self.radius == 0)
            easy = Floats(*(np.where(plain, x, 0.0) for x in self.parts()))._exponential()
            hard = np.flatnonzero(~(plain | vanishing))
            parts = [np.where(vanishing, 0.0, x) for x in easy.parts()]
            if len(hard):
                slow = self.moved(lambda x: x.ravel()[hard])._by_flint("exp")
                for part, piece in zip(parts, slow.parts(), strict=True):
                    part.ravel()[hard] = piece
            return Floats(*parts)
        steps = np.rint(self.centre * STEPS)
        # Exact: a difference of two multiples of the last place of the centre, below 2^-9.
        series = Floats(_series(self.centre - steps / STEPS), np.full(self.shape, SERIES_ERROR))
        values, place = np.unique(steps, return_inverse=True)
        table = Floats(*np.array([_power_of_e(n) for n in values.tolist()]).reshape(-1, 2).T)
        power = table.moved(lambda x: x[place.reshape(self.shape)]) * series
        spread = Floats(np.ones(self.shape), outward(self.radius * (1 + self.radius)))
        return power * spread


def _series(rest: Array) -> Array:
    """exp of numbers up to 2^-9, within SERIES_ERROR."""
    series = np.ones(np.shape(rest))
    for n in range(TERMS, 0, -1):
        series = 1 + series * rest / n
    return series


@lru_cache(maxsize=2 * STEPS * int(LARGEST_EXPONENT))
def _power_of_e(step: float) -> tuple[float, float]:
    """Centre and radius of exp at a multiple of 1/STEPS, which is a float64 number."""
    told = Floats.exact(step / STEPS)._by_flint("exp")
    return float(told.centre), float(told.radius)


def _sum(centre: Array, left: Floats, right: Floats) -> Floats:
    centre = np.asarray(centre)
    radius = UNIT * np.abs(centre)
    for part in (left, right):
        if not part.known:
            radius += part.radius
    radius = outward(radius)
    finite = np.isfinite(centre)
    if not finite.all():
        # Minus infinity is a number of some programs (a maximum over nothing) and stays exact.
        given = np.isinf(left.centre) ^ np.isinf(right.centre)
        radius = np.where(given & ~finite, 0.0, radius)
    return Floats(centre, radius)
