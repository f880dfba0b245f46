"""A user's own loss: any differentiable function of (logits, label), its properties probed."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import jax

from ufm.errors import InputError
from ufm.losses.loss import Loss, Properties
from ufm.losses.probes import probed
from ufm.losses.program import RETURN, RULE, Program, traced
from ufm.records import pytree_record


@jax.tree_util.register_static
class UserLoss(Loss):
    """A loss given as ``function(logits, label) -> scalar`` in JAX, treated like any other.

    ``at(K)`` traces the function once, with the numbers that it reads at that moment; this is what
    a model does when it is made, so a model never changes and a new one sees new parameters.
    Convexity, invariance, equivariance and the contrastive property are probed at random points,
    and every result that rests on a probe says so.
    Source: derived here.

    Args:
        function: maps logits (K,) and an integer label to a scalar; differentiable by JAX.
        label: the name shown in results; by default the function's own.

    Raises:
        InputError: not callable; from ``at``: see ``ufm.losses.program.traced``.

    Example:
        >>> hot = UserLoss(lambda z, k: jax.nn.logsumexp(2 * z) - 2 * z[k], "hot ce")
        >>> str(hot.properties(3).convex)
        'yes (probed)'
    """

    def __init__(self, function: Callable[[Any, Any], Any], label: str = "") -> None:
        if not callable(function):
            raise InputError(RULE, f"{function!r}, not callable", RETURN)
        self.function, self.label = function, label

    def __call__(self, logits: Any, label: Any) -> Any:
        """The user's value for logits (K,) and label."""
        return self.function(logits, label)

    def at(self, num_classes: int) -> TracedLoss:
        """What the function computes now, at this number of classes."""
        return TracedLoss(traced(self.function, num_classes, self.name), self.name)

    def properties(self, num_classes: int) -> Properties:
        """Probed properties at this number of classes."""
        return self.at(num_classes).properties(num_classes)

    @property
    def name(self) -> str:
        """The given label, or the function's name."""
        return self.label or getattr(self.function, "__name__", type(self.function).__name__)


@pytree_record(static=("program", "label"))
class TracedLoss(Loss):
    """A user's loss at a number of classes, fixed: equal to another that computes the same."""

    program: Program
    label: str

    def __call__(self, logits: Any, label: Any) -> Any:
        """The user's value for logits (K,) and label."""
        return self.program(logits, label)

    def at(self, num_classes: int) -> TracedLoss:
        """This loss, or what its function computes at another number of classes."""
        if num_classes == self.program.num_classes:
            return self
        return UserLoss(self.program.function, self.label).at(num_classes)

    def properties(self, num_classes: int) -> Properties:
        """Probed properties at this number of classes (cached)."""
        loss = self.at(num_classes)
        return probed(loss.program)

    @property
    def name(self) -> str:
        """The name of the loss."""
        return self.label


def as_loss(loss: Any) -> Loss:
    """A Loss as it is, and any other callable (logits, label) as a ``UserLoss``.

    A Loss that is no pytree is a callable like any other.

    Example:
        >>> as_loss(lambda z, k: -z[k]).name
        '<lambda>'
    """
    known = isinstance(loss, Loss) and not jax.tree_util.all_leaves([loss])
    return loss if known else UserLoss(loss)


def fixed_loss(loss: Any, counts: Sequence[int]) -> Loss:
    """What a model with these class sizes keeps of a Loss or of any callable (logits, label)."""
    return as_loss(loss).for_counts(counts).at(len(counts))
