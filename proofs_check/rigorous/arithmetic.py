"""What an arithmetic of enclosures offers: arrays of real numbers, each known to an interval.

Two arithmetics implement it: ``balls`` (python-flint, any precision) and ``floats`` (float64 with
a-priori rounding bounds, in NumPy). Whatever interprets a formula knows only this interface.
"""

from __future__ import annotations

import functools
from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence
from typing import Any, ClassVar, TypeVar

import numpy as np
from numpy.typing import NDArray

from ufm.typing import Array

Parts = tuple[NDArray[Any], ...]
E = TypeVar("E", bound="Enclosure")


class Undecided(Exception):
    """An enclosure too wide to decide what was asked; the reason in words."""


class Enclosure(ABC):
    """An array of intervals, each of which contains the real number meant.

    Attributes:
        functions: the names of functions of one variable that ``apply`` knows.
    """

    functions: ClassVar[frozenset[str]]

    # ---- making

    @classmethod
    @abstractmethod
    def around(cls: type[E], middle: Any, radius: Any) -> E:
        """The intervals [middle - radius, middle + radius] of float64 numbers."""

    @classmethod
    def exact(cls: type[E], value: Any) -> E:
        """Float64 numbers as they are."""
        value = np.asarray(value, dtype=np.float64)
        return cls.around(value, np.zeros_like(value))

    @classmethod
    @abstractmethod
    def between(cls: type[E], low: E, high: E) -> E:
        """The intervals from the lower ends of one array to the upper ends of another."""

    @classmethod
    def accuracy(cls) -> int:
        """Bits of the middles."""
        return 53

    # ---- reading

    @abstractmethod
    def lower(self) -> Array:
        """Float64 numbers that are not above any number of the intervals."""

    @abstractmethod
    def upper(self) -> Array:
        """Float64 numbers that are not below any number of the intervals."""

    @abstractmethod
    def middle(self) -> Array:
        """Float64 numbers at or near the middles."""

    def magnitude(self) -> Array:
        """Upper bounds of the absolute values."""
        return np.maximum(np.abs(self.lower()), np.abs(self.upper()))

    # ---- moving entries about

    @abstractmethod
    def parts(self) -> Parts:
        """The arrays behind it, all of its shape."""

    @abstractmethod
    def of(self: E, parts: Sequence[Any]) -> E:
        """The same kind from other parts."""

    @property
    def shape(self) -> tuple[int, ...]:
        """The shape of the array."""
        return tuple(self.parts()[0].shape)

    def moved(self: E, move: Callable[[NDArray[Any]], Any]) -> E:
        """Entries taken to other places: reshaped, transposed, indexed."""
        return self.of([np.asarray(move(part)) for part in self.parts()])

    def __getitem__(self: E, index: Any) -> E:
        return self.moved(lambda part: part[index])

    def joined(self: E, others: Sequence[E], join: Callable[[list[NDArray[Any]]], Any]) -> E:
        """Entries of this and of others in one array: concatenated, chosen between."""
        every = [x.parts() for x in (self, *others)]
        return self.of([np.asarray(join(list(same))) for same in zip(*every, strict=True)])

    # ---- arithmetic

    @abstractmethod
    def __add__(self: E, other: E) -> E: ...

    @abstractmethod
    def __mul__(self: E, other: E) -> E: ...

    @abstractmethod
    def __truediv__(self: E, other: E) -> E: ...

    @abstractmethod
    def __neg__(self: E) -> E: ...

    def __sub__(self: E, other: E) -> E:
        return self + (-other)

    @abstractmethod
    def apply(self: E, function: str) -> E:
        """A function of one variable, by name (one of ``functions``).

        Raises:
            Undecided: an interval that leaves its domain.
        """

    @abstractmethod
    def summed(self: E, axes: tuple[int, ...]) -> E:
        """Sums over axes."""

    @abstractmethod
    def __matmul__(self: E, other: E) -> E:
        """Matrix products of the last two axes; the others are alike."""

    def power(self: E, exponent: int) -> E:
        """Integer powers, by squaring; negative ones are quotients."""
        if exponent < 0:
            return self.exact(np.ones(self.shape)) / self.power(-exponent)
        if exponent == 0:
            return self.exact(np.ones(self.shape))
        if exponent == 1:
            return self
        half = self.power(exponent // 2)
        squared = half * half
        return squared * self if exponent % 2 else squared

    def largest(self: E, axes: tuple[int, ...]) -> E:
        """Maxima over axes."""
        order = [i for i in range(len(self.shape)) if i not in axes]
        kept = tuple(self.shape[i] for i in order)
        flat = self.moved(lambda x: x.transpose(*axes, *order).reshape(-1, *kept))
        return functools.reduce(type(self).maximum, [flat[i] for i in range(flat.shape[0])])

    def maximum(self: E, other: E) -> E:
        """Entrywise maxima."""
        if self.shape != other.shape:
            shape = np.broadcast_shapes(self.shape, other.shape)
            self = self.moved(lambda x: np.broadcast_to(x, shape))
            other = other.moved(lambda x: np.broadcast_to(x, shape))
        first, second = self.lower() >= other.upper(), other.lower() >= self.upper()
        both = self.between(
            self.exact(np.maximum(self.lower(), other.lower())),
            self.exact(np.maximum(self.upper(), other.upper())),
        )
        chosen = [first, second]
        return self.joined([other, both], lambda x: np.select(chosen, x[:2], x[2]))

    def absolute(self: E) -> E:
        """Absolute values."""
        return self.maximum(-self)

    def sign(self) -> Array:
        """Signs, where every one is decided.

        Raises:
            Undecided: an interval with zero inside.
        """
        low, high = self.lower(), self.upper()
        told = np.where(low > 0, 1.0, np.where(high < 0, -1.0, 0.0))
        if np.any((told == 0) & ((low != 0) | (high != 0))):
            raise Undecided("a sign is not decided: an enclosure contains zero")
        return told

    def above(self: E, other: E) -> NDArray[np.bool_]:
        """Whether entries are greater than others, where every one is decided.

        Raises:
            Undecided: two enclosures that overlap.
        """
        greater = self.lower() > other.upper()
        if not (greater.all() or np.all(greater | (self.upper() <= other.lower()))):
            raise Undecided("a comparison is not decided: two enclosures overlap")
        return np.asarray(greater)

    def equals(self: E, other: E) -> NDArray[np.bool_]:
        """Whether entries are equal, where every one is decided.

        Raises:
            Undecided: two enclosures that overlap and are not single numbers.
        """
        apart = (self.lower() > other.upper()) | (self.upper() < other.lower())
        same = (self.lower() == other.upper()) & (self.upper() == other.lower())
        if not np.all(apart | same):
            raise Undecided("an equality is not decided: two enclosures overlap")
        return np.asarray(~apart)
