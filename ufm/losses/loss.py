"""What every loss offers: its value, and the properties that theorems ask for."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ufm.errors import InputError
from ufm.losses.columns import column_hessians
from ufm.losses.dual import Dual


@dataclass(frozen=True)
class Fact:
    """A property of a loss: whether it holds, and whether that is proved or only probed.

    Example:
        >>> bool(Fact(True)), str(Fact(False, "probed", "Hessian eigenvalue -2"))
        (True, 'no (probed: Hessian eigenvalue -2)')
    """

    holds: bool
    evidence: str = "proved"
    note: str = ""

    def __bool__(self) -> bool:
        return self.holds

    def __str__(self) -> str:
        note = f": {self.note}" if self.note else ""
        return f"{'yes' if self.holds else 'no'} ({self.evidence}{note})"


@dataclass(frozen=True)
class Properties:
    """The properties of a loss that theorems and reductions rest on, at a given K.

    Attributes:
        convex: convex in the logits, so samples of a class merge without loss (A-1).
        shift_invariant: unchanged when a constant is added to all logits.
        equivariant: unchanged when logits and label are permuted together.
        equalising: L(z, k) does not rise when the other logits are replaced by their mean
            (condition (GL) of docs/theory.md).
        contrastive: equalising, and convex in the gap alpha >= 0 of equalised logits, so that the
            scale of the best symmetric solution is one scalar root.
        isometric: an isotropic quadratic, unchanged when logits and target rotate together (MSE).
        nonnegative: never below zero, which gives every convex loss a dual bound.
        smooth: without kinks, so that a Hessian says what happens nearby.
    """

    convex: Fact
    shift_invariant: Fact
    equivariant: Fact
    equalising: Fact
    contrastive: Fact
    isometric: Fact
    nonnegative: Fact
    smooth: Fact


def separable_properties(*, isometric: bool = False) -> Properties:
    """Those of a sum of smooth convex functions of single logits, the own one and the others.

    Example:
        >>> bool(separable_properties().convex), bool(separable_properties().shift_invariant)
        (True, False)
    """
    return Properties(
        convex=Fact(True),
        shift_invariant=Fact(False),
        equivariant=Fact(True),
        equalising=Fact(True),
        contrastive=Fact(False, note="not shift invariant"),
        isometric=Fact(isometric),
        nonnegative=Fact(True),
        smooth=Fact(True),
    )


class Loss(ABC):
    """A classification loss L(logits, label): a pure function of (K,) logits and an int label."""

    @abstractmethod
    def __call__(self, logits: Any, label: Any) -> Any:
        """The loss of one sample: logits (K,), integer label, scalar out."""

    @abstractmethod
    def properties(self, num_classes: int) -> Properties:
        """What is known of this loss with ``num_classes`` classes, and how it is known."""

    @property
    @abstractmethod
    def name(self) -> str:
        """A short readable name with the parameters, e.g. ``ls(0.1)``."""

    def at(self, num_classes: int) -> Loss:
        """This loss as a model of ``num_classes`` classes keeps it: fixed once and for all."""
        return self

    def for_counts(self, counts: Sequence[int]) -> Loss:
        """This loss with the numbers that belong to a model's class sizes: most have none."""
        return self

    def shift(self, num_classes: int) -> NDArray[np.float64] | None:
        """A direction u (K,) with L(z + t u, k) = L(z, k) for all t and k, or None: not known.

        By default that of all ones where the loss is shift invariant.
        """
        return np.ones(num_classes) if self.properties(num_classes).shift_invariant else None

    def curvature_bounds(self, Z: Any, labels: Any) -> tuple[float, float]:
        """Bounds (low, high) of the logit Hessians S of the columns of Z (K, columns).

        low |x|^2 <= x^T S x for every x orthogonal to ``shift`` (every x where there is none), and
        x^T S x <= high |x|^2 for all. By default from the eigenvalues, which cost K^3 a column.

        Example:
            >>> from ufm.losses import BCE
            >>> BCE().curvature_bounds(np.zeros((3, 2)), np.array([0, 1]))
            (0.25, 0.25)
        """
        first = 0 if self.shift(len(Z)) is None else 1
        low, high = np.inf, 0.0
        for i in range(Z.shape[1]):
            S = np.asarray(column_hessians(self, Z[:, i : i + 1], labels[i : i + 1]))[0]
            values = np.linalg.eigvalsh(S)
            low, high = min(low, float(values[first])), max(high, float(np.abs(values).max()))
        return low, high

    def kinds(self, num_classes: int) -> NDArray[np.int64]:
        """A number for every class, (K,): classes that have the same one may change places.

        L(P z, p(k)) = L(z, k) for every permutation that keeps the kinds. By default one kind where
        the loss is equivariant, else no two classes alike.
        """
        alike = bool(self.properties(num_classes).equivariant)
        return np.zeros(num_classes, np.int64) if alike else np.arange(num_classes)

    @property
    def concordance(self) -> float | None:
        """R with |D^3 L(z)[v, v, v]| <= R (max v - min v) D^2 L(z)[v, v]; None: none is known.

        Then D^2 L(z + t v)[v, v] >= exp(-R (max v - min v) t) D^2 L(z)[v, v] for t >= 0
        (generalised self-concordance, Bach 2010).
        """
        return None

    @property
    def dual(self) -> Dual | None:
        """The convex conjugate and its feasible set, or None where no closed form is known."""
        return None


def require_smooth(loss: Loss, num_classes: int) -> None:
    """Raise InputError where second derivatives would say nothing: a loss with kinks."""
    smooth = loss.properties(num_classes).smooth
    if not smooth:
        raise InputError(
            "Spectra and verdicts need a loss without kinks",
            f"{loss.name}: {smooth.note}",
            "smooth it, e.g. jax.nn.softplus for max(x, 0) and logsumexp for a maximum",
        )
