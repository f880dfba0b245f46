"""How often networks predict the same class, beyond what chance would do."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from ufm.collapse.inputs import read_labels
from ufm.errors import InputError


@dataclass(frozen=True)
class Agreement:
    """Two sets of predictions of the same samples.

    Attributes:
        rate: share of equal predictions.
        chance: that of independent predictions with the same class frequencies.
    """

    rate: float
    chance: float

    @property
    def kappa(self) -> float:
        """(rate - chance)/(1 - chance): 1 if all are equal, 0 for chance; nan if chance = 1.

        Source: Cohen 1960.
        """
        rest = 1 - self.chance
        return (self.rate - self.chance) / rest if rest > 0 else float("nan")


def agreement(one: npt.ArrayLike, other: npt.ArrayLike) -> Agreement:
    """Agreement of two predictions, plain and corrected for chance.

    Args:
        one: predicted classes (N,), integers >= 0.
        other: those of another network for the same samples.

    Raises:
        InputError: arguments not so.

    Example:
        >>> made = agreement([0, 0, 1, 1], [0, 1, 1, 1])
        >>> made.rate, made.chance, made.kappa
        (0.75, 0.5, 0.5)
    """
    a, b = _pair(one, other)
    num_classes = int(max(a.max(), b.max())) + 1
    frequencies = [np.bincount(x, minlength=num_classes) for x in (a, b)]
    # Integers until the last division, so that constant predictions have chance 1 exactly.
    chance = int(frequencies[0] @ frequencies[1]) / a.size**2
    return Agreement(float(np.mean(a == b)), chance)


def agreement_matrix(predictions: Sequence[npt.ArrayLike]) -> npt.NDArray[np.float64]:
    """Shares of equal predictions of every pair of R networks, (R, R), symmetric, diagonal 1.

    Raises:
        InputError: no predictions, or not all of the same samples.

    Example:
        >>> agreement_matrix([[0, 1], [0, 1], [1, 1]])[2].tolist()
        [0.5, 0.5, 1.0]
    """
    if not len(predictions):
        raise InputError("Need predictions of at least one network", "none", "pass some")
    rows = np.stack([_pair(predictions[0], row)[1] for row in predictions])
    return np.array([[np.mean(a == b) for b in rows] for a in rows], np.float64)


def _pair(
    one: npt.ArrayLike, other: npt.ArrayLike
) -> tuple[npt.NDArray[np.intp], npt.NDArray[np.intp]]:
    a = np.asarray(one)
    first = read_labels(a, a.size)
    try:
        return first, read_labels(other, a.size)
    except InputError as error:
        rule = f"Need predicted classes of the same {a.size} samples"
        raise InputError(rule, error.got, "pass integers, in the same order") from error
