"""A spectrum as a short table: value, multiplicity, block."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np

from ufm.errors import InputError
from ufm.typing import Array

MAX_EXPANDED = 50_000_000
# Blocks of a Hessian up to this order are diagonalised (a few seconds).
MAX_DIAGONALISED = 3000


class Level(NamedTuple):
    """One eigenvalue, how often it occurs, and the block of the Hessian it belongs to."""

    value: float
    multiplicity: int
    block: str


@dataclass(frozen=True)
class Spectrum:
    """Eigenvalues with multiplicities, in ascending order; equal values of two blocks stay apart.

    Example:
        >>> table = Spectrum.of([(2.0, 3, "b"), (0.0, 1, "a"), (5.0, 0, "empty")])
        >>> table.size, table.smallest, table.count_below(1.0), table.expand().tolist()
        (4, 0.0, 1, [0.0, 2.0, 2.0, 2.0])
    """

    levels: tuple[Level, ...]

    @staticmethod
    def of(levels: Iterable[tuple[float, int, str]]) -> Spectrum:
        """Sort levels and drop those of multiplicity zero."""
        kept = [Level(float(v), int(m), block) for v, m, block in levels if m > 0]
        return Spectrum(tuple(sorted(kept)))

    def __iter__(self) -> Iterator[Level]:
        return iter(self.levels)

    @property
    def size(self) -> int:
        """Number of eigenvalues counted with multiplicity."""
        return sum(level.multiplicity for level in self.levels)

    @property
    def smallest(self) -> float:
        """Smallest eigenvalue."""
        return self.levels[0].value

    @property
    def largest(self) -> float:
        """Largest eigenvalue."""
        return self.levels[-1].value

    @property
    def radius(self) -> float:
        """Largest absolute eigenvalue."""
        return max(abs(self.smallest), abs(self.largest))

    def count_below(self, bound: float) -> int:
        """Number of eigenvalues < bound."""
        return sum(level.multiplicity for level in self.levels if level.value < bound)

    def count_within(self, tolerance: float) -> int:
        """Number of eigenvalues of absolute value <= tolerance."""
        return sum(level.multiplicity for level in self.levels if abs(level.value) <= tolerance)

    def expand(self) -> Array:
        """All eigenvalues, ascending, repeated by multiplicity.

        Raises:
            InputError: more than fifty million eigenvalues.
        """
        if self.size > MAX_EXPANDED:
            raise InputError(
                f"expand() writes at most {MAX_EXPANDED:,} eigenvalues",
                f"{self.size:,}",
                "use .levels, the table of values and multiplicities",
            )
        values = np.array([level.value for level in self.levels])
        return np.repeat(values, [level.multiplicity for level in self.levels])


def pair(lambda_W: Any, lambda_H: Any, coupling: Any) -> tuple[Any, Any]:
    """Eigenvalues of [[lambda_W, g], [g, lambda_H]], the smaller one without cancellation.

    Of numbers, or element by element of arrays.

    Example:
        >>> pair(1.0, 4.0, 2.0)  # g^2 = lambda_W lambda_H: a zero mode
        (0.0, 5.0)
    """
    large = 0.5 * (lambda_W + lambda_H) + np.hypot(0.5 * (lambda_W - lambda_H), coupling)
    small = (lambda_W * lambda_H - coupling**2) / large
    return (small, large) if np.ndim(large) else (float(small), float(large))
