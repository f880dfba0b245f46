"""The protocol of every model: what a solver, a verdict or a sweep may ask of it.

A model is an immutable pytree whose leaves are its numbers, so that one compiled program serves
all values of them. A new model is one file: ``objective``, ``random_point`` and ``generators``;
everything else has a default that says "not known", which is an answer.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, ClassVar

import jax
import jax.numpy as jnp
import numpy as np

from ufm.losses.loss import Fact

if TYPE_CHECKING:
    from ufm.plain.certificate import Certificate
    from ufm.plain.minimisers import Minimiser
    from ufm.point import Point


@dataclass(frozen=True)
class Merge:
    """A smaller model with the same critical points (samples merged, A-1).

    Attributes:
        model: the merged model.
        reduce: point of the original to point of the merged model.
        lift: point of the merged model to point of the original.
        lossless: whether every critical point is in the image of ``lift``, and how we know.
    """

    model: Any
    reduce: Callable[[Point], Point]
    lift: Callable[[Point], Point]
    lossless: Fact


class Model(ABC):
    """A differentiable objective on points, with its symmetry and, where known, its theory."""

    d: int
    # Whether O(d) acts (W -> W R, H -> R^T H): solvers then stay in the row space of their start.
    rotation_invariant: ClassVar[bool] = False

    @abstractmethod
    def objective(self, point: Any) -> Any:
        """The objective at a point: a scalar, differentiable and jittable."""

    @abstractmethod
    def random_point(self, key: Any, scale: float = 1.0) -> Any:
        """A Gaussian random point; ``scale`` multiplies it."""

    @abstractmethod
    def with_dimension(self, d: int) -> Any:
        """The same model with feature dimension ``d``."""

    def generators(self, point: Any) -> Any:
        """Tangent vectors of the symmetry group at a point, stacked on a leading axis.

        The default is O(d): W -> W R, H -> R^T H. Nothing else in the lab knows a group, and the
        predicted nullity is the rank of what this returns.
        """
        from ufm.plain.symmetry import rotation_generators

        return rotation_generators(point)

    def merge(self) -> Merge | None:
        """The sample-merged model, or None when there is nothing to merge."""
        return None

    def minimiser(self) -> Minimiser | None:
        """A global minimiser in closed form, or None when none is known."""
        return None

    def certificate(self, point: Any) -> Certificate:
        """A bound on objective - global minimum, or the reason why there is none."""
        from ufm.plain.certificate import Certificate

        return Certificate.does_not_apply("no dual bound is known for this model")

    def scales(self, point: Any) -> Any:
        """Positive scale of every entry of a point, in which the objective is best conditioned."""
        return jax.tree.map(jnp.ones_like, point)

    def gradient(self, point: Any) -> Any:
        """The gradient at a point, a point again."""
        return jax.grad(self.objective)(point)

    def value_and_gradient(self, point: Any) -> tuple[Any, Any]:
        """Objective and gradient at a point, compiled unless the model knows a cheaper way."""
        return value_and_gradient(self, point)

    def second_derivative(self, point: Any, direction: Any) -> float:
        """The Hessian at a point applied twice to a direction."""
        image = hessian_vector_product(self, point, direction)
        along = jax.tree.map(lambda x, y: float(np.vdot(x, y)), direction, image)
        return sum(jax.tree.leaves(along))

    def hessian_vector_product(self, point: Any, direction: Any) -> Any:
        """The Hessian at a point applied to a direction."""
        return jax.jvp(jax.grad(self.objective), (point,), (direction,))[1]


@jax.jit
def value_and_gradient(model: Model, point: Any) -> tuple[Any, Any]:
    """Objective and gradient of any model, compiled once per shape.

    Example:
        >>> from ufm import UFM, CrossEntropy, Point
        >>> model = UFM(CrossEntropy(), 2, 3, lambda_W=0.1, lambda_H=0.1)
        >>> origin = Point(jnp.zeros((2, 3)), jnp.zeros((3, 2)))
        >>> round(float(value_and_gradient(model, origin)[0]), 6)  # log 2
        0.693147
    """
    return jax.value_and_grad(model.objective)(point)


@jax.jit
def hessian_vector_product(model: Model, point: Any, direction: Any) -> Any:
    """Hessian times a direction for any model, compiled once per shape.

    Example:
        >>> from ufm import UFM, CrossEntropy
        >>> model = UFM(CrossEntropy(), 2, 3, lambda_W=0.1, lambda_H=0.1)
        >>> hessian_vector_product(model, model.origin(), model.origin()).W.shape
        (2, 3)
    """
    return model.hessian_vector_product(point, direction)


def norm(tree: Any) -> Any:
    """Euclidean norm of a pytree.

    Example:
        >>> float(norm({"a": jnp.array([3.0]), "b": jnp.array([4.0])}))
        5.0
    """
    return sum((leaf * leaf).sum() for leaf in jax.tree.leaves(tree)) ** 0.5
