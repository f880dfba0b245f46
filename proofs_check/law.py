"""A law: what is measured at an instance against a formula in named numbers."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from functools import cache
from typing import Any

import numpy as np

from proofs_check.instance import Instance

Formula = Callable[..., Any]


def discrepancy(observed: Any, predicted: Any) -> float:
    """Largest difference of numbers, arrays or tuples of them, each relative to max(1, |observed|).

    Example:
        >>> discrepancy((2.0, [1.0, 4.0]), (2.0, [1.0, 4.5]))
        0.125
        >>> discrepancy([1.0, 2.0], [1.0])
        inf
    """
    if isinstance(observed, tuple):
        parts = zip(observed, predicted, strict=True)
        return max(discrepancy(seen, said) for seen, said in parts)
    seen, said = np.asarray(observed, dtype=float), np.asarray(predicted, dtype=float)
    if seen.shape != said.shape:
        return float("inf")
    if not seen.size:
        return 0.0
    size = max(1.0, float(np.abs(seen).max()))
    return float(np.abs(seen - said).max()) / size


def miscount(observed: Any, predicted: Any) -> float:
    """Largest absolute difference of counts.

    Example:
        >>> miscount(7, 8), miscount([0, 2], [0, 5])
        (1.0, 3.0)
    """
    return float(np.max(np.abs(np.asarray(observed, dtype=float) - np.asarray(predicted))))


def relative(observed: Any, predicted: Any) -> float:
    """Largest difference of numbers relative to the predicted ones.

    Example:
        >>> relative([2.0, 3.0], [2.0, 4.0])
        0.25
    """
    return float(np.max(np.abs(np.asarray(observed) / predicted - 1)))


def apart(one: float, other: float) -> float:
    """Difference of two numbers relative to the larger.

    Example:
        >>> apart(2.0, -2.0), apart(0.0, 0.0)
        (2.0, 0.0)
    """
    return abs(one - other) / max(abs(one), abs(other), 1e-300)


@dataclass(frozen=True)
class Law:
    """A check that compares a measurement with a formula.

    The formula is a plain function whose arguments are named numbers, so that a program can read it
    and alter it (``formula_alterations.family``). Measurements are kept with the instance, where
    all alterations share them.

    Attributes:
        predicted: the formula; its arguments are looked up by name.
        observed: what is measured at an instance, knowing nothing of the formula.
        given: name -> function of the instance, for arguments that the model does not have.
        error: of (observed, predicted), by default their ``discrepancy``.

    Example:
        >>> from proofs_check.specimens import Specimen
        >>> from ufm import UFM, CrossEntropy
        >>> def value(K):
        ...     return np.log(K)
        >>> model = UFM(CrossEntropy(), 3, 2, lambda_W=0.1, lambda_H=0.1)
        >>> law = Law(value, lambda s: s.model.objective(s.point))
        >>> law(Specimen(model, model.origin(), "origin")) < 1e-15
        True
    """

    predicted: Formula
    observed: Callable[[Any], Any]
    given: Mapping[str, Callable[[Any], Any]] = field(default_factory=dict)
    error: Callable[[Any, Any], float] = discrepancy

    def __call__(self, instance: Instance) -> float:
        """The error at one instance."""
        return self.compare(instance, self.predicted(**self.numbers(instance)))

    def compare(self, instance: Instance, predicted: Any) -> float:
        """The error at one instance of a value that some formula gave."""
        return float(self.error(instance.once(self.observed), predicted))

    def measured(
        self, instance: Instance, most: int
    ) -> tuple[tuple[float, ...], tuple[float, ...]] | None:
        """What was observed at an instance and what the formula says, number after number.

        None where there are more than ``most``, or what is compared are no numbers (a model, an
        expression).
        """
        observed = _flat(instance.once(self.observed))
        predicted = _flat(self.predicted(**self.numbers(instance)))
        if observed is None or predicted is None or max(len(observed), len(predicted)) > most:
            return None
        return observed, predicted

    def numbers(self, instance: Instance) -> dict[str, Any]:
        """The arguments of the formula at an instance."""
        return {name: self._number(instance, name) for name in arguments(self.predicted)}

    def _number(self, instance: Instance, name: str) -> Any:
        measure = self.given.get(name)
        return instance.number(name) if measure is None else instance.once(measure)


def _flat(value: Any) -> tuple[float, ...] | None:
    if isinstance(value, tuple | list):
        parts = [_flat(part) for part in value]
        return None if None in parts else tuple(x for part in parts if part for x in part)
    array = np.asarray(value)
    return tuple(map(float, array.ravel())) if array.dtype.kind in "biuf" else None


@cache
def arguments(formula: Formula) -> tuple[str, ...]:
    """Names of the arguments of a formula that have no default."""
    parameters = inspect.signature(formula).parameters.values()
    return tuple(p.name for p in parameters if p.default is inspect.Parameter.empty)
