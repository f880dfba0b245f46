"""Affine forms over boxes: x = middle + sum_i slopes_i e_i +- rest with e_i in [-1, 1], in float64.

Intervals forget that two quantities depend on the same unknowns; these remember it to first order,
so that what is left over of a smooth function falls with the square of the width of the box.
With u = 2^-53 every operation rounds its middle and its slopes at most three times each, which
moves the form by at most 3 u times the product of the sums of absolute values; that goes to the
rest, which is computed in at most 16 + 2 n roundings itself (``floats.outward``).
Source: Stolfi and de Figueiredo 1997; the bounds of rounding are derived here.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from proofs_check.rigorous.floats import UNIT, outward
from proofs_check.rigorous.intervals import Interval
from proofs_check.rigorous.rank_one import inverses
from ufm.typing import Array


@dataclass(frozen=True)
class Affine:
    """Arrays of affine forms in n common unknowns.

    Attributes:
        middle: (...).
        slopes: (n, ...).
        rest: (...), not negative.

    Example:
        >>> x = Affine.of_box(np.array([[1.0]]), np.array([[3.0]]))
        >>> y = x * x - x * x
        >>> bool(abs(y.hi[0, 0]) < 2.1)  # intervals: [-8, 8]
        True
    """

    middle: Array
    slopes: Array
    rest: Array

    __array_ufunc__ = None

    @classmethod
    def of_box(cls, low: Array, high: Array) -> Affine:
        """The unknowns (B, n) of boxes themselves."""
        middle = 0.5 * low + 0.5 * high
        radius = outward(np.maximum(high - middle, middle - low))
        n = low.shape[-1]
        slopes = np.zeros((n, *middle.shape))
        for i in range(n):
            slopes[i][..., i] = radius[..., i]
        return cls(middle, slopes, np.zeros(middle.shape))

    def constant(self, x: Any) -> Affine:
        """Numbers or intervals, as forms in the same unknowns."""
        if isinstance(x, Affine):
            return x
        if not isinstance(x, Interval):
            x = Interval.of(x)
        middle = x.middle()
        rest = outward(np.maximum(x.hi - middle, middle - x.lo)) if np.any(x.hi > x.lo) else 0.0
        slopes = np.zeros((len(self.slopes), *middle.shape))
        return Affine(middle, slopes, rest + np.zeros(middle.shape))

    @property
    def reach(self) -> Array:
        """An upper bound of |x - middle|."""
        return outward(abs(self.slopes).sum(0) + self.rest, len(self.slopes))

    @property
    def lo(self) -> Array:
        """Lower ends."""
        return np.nextafter(self.middle - self.reach, -np.inf)

    @property
    def hi(self) -> Array:
        """Upper ends."""
        return np.nextafter(self.middle + self.reach, np.inf)

    @property
    def range(self) -> Interval:
        """As intervals."""
        return Interval(self.lo, self.hi)

    def without_zero(self) -> Any:
        """Where zero is proved not to be a value; not where nothing is bounded."""
        return abs(self.middle) > np.nextafter(self.reach, np.inf)

    def __getitem__(self, key: Any) -> Affine:
        inner = key if isinstance(key, tuple) else (key,)
        return Affine(self.middle[key], self.slopes[(slice(None), *inner)], self.rest[key])

    def __neg__(self) -> Affine:
        return Affine(-self.middle, -self.slopes, self.rest)

    def __add__(self, other: Any) -> Affine:
        y = self.constant(other)
        middle = self.middle + y.middle
        slopes = _wide(self.slopes, middle) + _wide(y.slopes, middle)
        rest = self.rest + y.rest + UNIT * (abs(middle) + abs(slopes).sum(0))
        return Affine(middle, slopes, outward(rest, len(slopes)))

    __radd__ = __add__

    def __sub__(self, other: Any) -> Affine:
        return self + (-self.constant(other))

    def __rsub__(self, other: Any) -> Affine:
        return (-self) + other

    def __mul__(self, other: Any) -> Affine:
        """(a + A)(b + B) = ab + aB + bA + AB, the last at most the product of the reaches."""
        y = self.constant(other)
        a, b = self.middle, y.middle
        middle = a * b
        slopes = a * _wide(y.slopes, middle) + b * _wide(self.slopes, middle)
        A, B = abs(self.slopes).sum(0), abs(y.slopes).sum(0)
        rest = abs(a) * y.rest + abs(b) * self.rest + (A + self.rest) * (B + y.rest)
        rest = rest + 3 * UNIT * (abs(a) + A) * (abs(b) + B)
        return Affine(middle, slopes, outward(rest, 2 * len(slopes)))

    __rmul__ = __mul__

    def square(self) -> Affine:
        """x^2: of A^2, between 0 and reach^2, the middle is taken."""
        a, reach = self.middle, self.reach
        half = 0.5 * reach * reach
        middle, slopes = a * a + half, 2 * a * self.slopes
        size = abs(a) + reach
        return Affine(middle, slopes, outward(2 * abs(a) * self.rest + half + 3 * UNIT * size**2))

    def inverse(self, least: Array) -> Affine:
        """1/y for y = a + t > 0 that is at least a positive number besides.

        1/y = (1 - t/a + t^2 / (a y)) / a, and the last lies from 0 to R^2 / (a min y).
        """
        a, R = self.middle, self.reach
        below = np.maximum(np.nextafter(a - R, -np.inf), least)
        good = a > 0
        a, one = np.where(good, a, 1.0), 1 / np.where(good, a, 1.0)
        half = 0.5 * R * R / (a * below)
        rest = one * (one * self.rest + half + 8 * UNIT * (1 + one * R + half))
        slopes = -self.slopes * one * one
        return Affine(one * (1 + half), slopes, np.where(good, outward(rest), np.inf))

    def sum(self, axis: int) -> Affine:
        """Sum along an axis, term by term."""
        parts = [self.take(i, axis) for i in range(self.middle.shape[axis])]
        total = parts[0]
        for part in parts[1:]:
            total = total + part
        return total

    def take(self, i: int, axis: int) -> Affine:
        """One entry along an axis."""
        at = axis if axis < 0 else axis + 1
        return Affine(
            np.take(self.middle, i, axis), np.take(self.slopes, i, at), np.take(self.rest, i, axis)
        )

    def widened(self, by: Array) -> Affine:
        """The same forms with more rest."""
        return Affine(self.middle, self.slopes, outward(self.rest + by))


def softmax(gaps: list[list[Affine]]) -> list[Affine]:
    """p_j from the differences gaps[j][i] = z_j - z_i of the logits (that of i = j is not used).

    Along z + s t, p_j'' = p_j ((t_j - m)^2 - v) with m and v the mean and the variance of t under
    p. With t_j - t_i at most T_ji, |t_j - m| <= sum_i p_i T_ji and v <= sum_(i < k) p_i p_k T_ik^2.
    So p_j is its tangent p_j (1 + sum_i p_i (t_j - t_i)) and half of that, p as large as it can be.
    The middles of all gaps are those of no z, by rounding; so z is the last row of them, exactly.
    """
    K = range(len(gaps))
    base = [-x.middle for x in gaps[-1][:-1]] + [0.0 * gaps[-1][0].middle]
    pairs = [(j, i) for j in K for i in K if i != j]
    apart = {(j, i): Interval.of(base[j]) - base[i] for j, i in pairs}
    moves = {(j, i): gaps[j][i] - apart[j, i] for j, i in pairs}
    reach = {pair: outward(abs(x.middle) + x.reach) for pair, x in moves.items()}
    at = [_share([apart[j, i] for i in K if i != j]) for j in K]
    most = [_share([Interval.of(gaps[j][i].hi) for i in K if i != j]).hi for j in K]
    spread = sum(most[i] * most[k] * reach[i, k] ** 2 for i, k in pairs if i < k)
    made = []
    for j in K:
        others = [i for i in K if i != j]
        tangent = gaps[j][others[0]].constant(at[j])
        for i in others:
            tangent = tangent + moves[j, i] * (at[j] * at[i])
        off = np.minimum(
            sum(most[i] * reach[j, i] for i in others), np.max([reach[j, i] for i in others], 0)
        )
        above, below = (0.5 * outward(most[j] * x) for x in (off**2, spread))
        made.append((tangent + 0.5 * (above - below)).widened(0.5 * (above + below)))
    return made


def _share(gaps: list[Interval]) -> Interval:
    """p_j from z_j - z_i, for all other i: it grows in every one of them."""
    odds = [(-x).exp() for x in gaps]
    return (sum(odds[1:], odds[0]) + 1.0).inverse()


def nowhere_zero(g: Affine) -> NDArray[np.bool_]:
    """Where g (B, m) of m unknowns has no zero: for some Y, Y g = Y g(c) + Y slopes e + Y rest.

    With Y near the inverse of the slopes a zero needs |e_i| <= 1 for every i.
    """
    nowhere: NDArray[np.bool_] = np.asarray(g.without_zero().any(-1))
    bounded = np.isfinite(g.rest).all(-1) & np.isfinite(g.slopes).all((0, 2))
    rest = np.flatnonzero(~nowhere & bounded)
    if len(rest):
        slopes = Interval.of(np.moveaxis(g.slopes[:, rest], 0, -1))
        Y = Interval.of(inverses(slopes.lo))
        kept = Interval.between(g.middle[rest] - g.rest[rest], g.middle[rest] + g.rest[rest])
        kept = Interval(np.nextafter(kept.lo, -np.inf), np.nextafter(kept.hi, np.inf))
        turned = (Y * kept[:, None, :]).sum(-1)
        product = (Y[:, :, :, None] * slopes[:, None, :, :]).sum(2)
        ends = product.magnitude()
        total = Interval.of(ends).sum(-1).hi
        nowhere[rest] = ((turned.lo > total) | (turned.hi < -total)).any(-1)
    return nowhere


def side_by_side(parts: list[Affine]) -> Affine:
    """Forms along a new last axis."""
    return Affine(
        *(np.stack([getattr(x, f) for x in parts], -1) for f in ("middle", "slopes", "rest"))
    )


def _wide(slopes: Array, like: Array) -> Array:
    """Slopes (n, ...) with as many axes as the broadcast form."""
    missing = like.ndim + 1 - slopes.ndim
    return slopes.reshape(slopes.shape[:1] + (1,) * missing + slopes.shape[1:])
