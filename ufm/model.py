"""The contract of every model: what a solver, a verdict, a claim or a sweep may ask of it.

A model is an immutable pytree whose leaves are its numbers, so that one compiled program serves
all values of them. A new model is one file with an ``objective`` and a ``random_point``; every
other answer has a default, and None says "not known", which the verdict then says too.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping
from dataclasses import replace
from typing import Any, Generic

import jax
import jax.numpy as jnp
import numpy as np
from numpy.typing import NDArray

from ufm.answers import (
    Certificate,
    Direction,
    Merge,
    Minimiser,
    Restriction,
    StrictMinimum,
    Structure,
)
from ufm.errors import InputError
from ufm.kept import kept
from ufm.losses.loss import Loss, require_smooth
from ufm.point import P, flatten, unflatten
from ufm.tolerance import RANK
from ufm.typing import Array


class Model(ABC, Generic[P]):
    """A differentiable objective on points, with its symmetry and, where known, its theory.

    Points are pytrees of float64 arrays. A constraint is written as an invariance: a point on a
    sphere is a free vector that the objective normalises, with the radial move as a generator.
    """

    # ---- required

    @abstractmethod
    def objective(self, point: P) -> Any:
        """The objective at a point: a scalar, differentiable and jittable."""

    @abstractmethod
    def random_point(self, key: Any, scale: float = 1.0) -> P:
        """A Gaussian random point; ``scale`` multiplies it."""

    # ---- symmetry and reductions

    def generators(self, point: P) -> P | None:
        """Tangent vectors of the symmetry group at a point, stacked on a leading axis, or None.

        The predicted nullity is their rank; a model without continuous symmetry stacks none.
        """
        return None

    def checked(self, point: Any) -> tuple[Model[Any], Any]:
        """The point as float64 NumPy arrays, and the model whose point it is: this, or its merger.

        Raises:
            InputError: another structure or other shapes, another precision, or NaN.
        """
        wanted = jax.eval_shape(self.random_point, jax.random.key(0))
        merge = self.merge()
        if _shapes(point) == _shapes(wanted):
            model: Model[Any] = self
        elif merge is not None and _shapes(point) == _shapes(
            jax.eval_shape(merge.model.random_point, jax.random.key(0))
        ):
            model = merge.model
        else:
            remedy = "use model.random_point as a pattern, or check the sizes of the model"
            raise InputError(f"Need a point of shapes {_shapes(wanted)}", _shapes(point), remedy)
        return model, finite(point)

    def merge(self) -> Merge | None:
        """The sample-merged model, or None when there is nothing to merge."""
        return None

    def resized(self, counts: tuple[int, ...], d: int) -> Model[P] | None:
        """The same model with other class sizes and dimension, or None where it has one size."""
        return None

    def with_dimension(self, d: int) -> Any:
        """The same model with feature dimension ``d``, where it has one."""
        return replace(self, d=d)  # type: ignore[type-var]

    def confined(self, point: P) -> Restriction | None:
        """The smaller model that gradient methods from this start never leave, or None."""
        return None

    def random_start(self, key: Any) -> Restriction | None:
        """A random start in a smaller model that misses no minimum; None: ``random_point``."""
        return None

    # ---- what is known about a point

    def structure(self, point: P) -> Structure | None:
        """The spectrum of the Hessian from exact blocks, or None where there are none."""
        return None

    def strict_minimum(self, point: P, larger_than: int = -1) -> StrictMinimum | None:
        """What convexity says of a minimum without any spectrum, or None where it says nothing.

        None also where the Hessian is, but for repetitions, of an order up to ``larger_than``.
        """
        return None

    def escape(self, point: P) -> Direction | None:
        """An explicit direction of negative curvature at a saddle, or None."""
        return None

    def certificate(self, point: P) -> Certificate:
        """A bound on objective - global minimum, or the reason why there is none."""
        return Certificate.does_not_apply("no dual bound is known for this model")

    # ---- what is known about the model

    @property
    def family(self) -> str:
        """The kind of model as the registry and certificates call it: the name of its file."""
        return type(self).__module__.rpartition(".")[2].replace("_", "-")

    def require_smooth(self) -> None:
        """Refuse second derivatives that say nothing of what is nearby.

        Asked is the attribute ``loss``, at ``num_classes``; without these all are taken as sound.

        Raises:
            InputError: a loss with kinks.
        """
        loss, num_classes = getattr(self, "loss", None), getattr(self, "num_classes", None)
        if isinstance(loss, Loss) and num_classes is not None:
            require_smooth(loss, num_classes)

    def minimiser(self) -> Minimiser | None:
        """A global minimiser in closed form, or None when none is known."""
        return None

    def candidates(self) -> Mapping[str, P]:
        """Explicit points by name, none of them known to be global: each bounds the minimum."""
        return {}

    def explicit(self, name: str) -> P | None:
        """The explicit point of a name, None where there is none.

        "origin", "minimiser" where it is known in closed form, or one of ``candidates``; a model
        may build others from what the name says.
        """
        if name == "origin":
            zero: P = jax.tree.map(
                lambda leaf: np.zeros(leaf.shape),
                jax.eval_shape(self.random_point, jax.random.key(0)),
            )
            return zero
        known = self.minimiser() if name == "minimiser" else None
        return self.candidates().get(name) if known is None else known.point

    def measures(self, point: P) -> dict[str, Any]:
        """What the model's literature reads off a point: name to number, or to a list of them."""
        return {}

    def pieces(self, point: P, slopes: Any = None, shifts: Any = None) -> tuple[Any, Any] | None:
        """The objective with ``slopes * u + shifts`` for max(u, 0), and all these u (m,).

        Without slopes the objective itself. None: there are no kinks, as for smooth models.
        """
        return None

    def unfelt_growth(self, point: P, slopes: Any, kinks: Any) -> float | None:
        """Least curvature in which the kinks of these numbers have a part, or None: not known.

        Asked at kinks that the objective does not feel in first order; ``slopes`` of the others.
        """
        return None

    def kinks(self, point: P) -> int:
        """Places at which second derivatives jump at a point; where there are any, none counts."""
        told = self.pieces(point)
        return 0 if told is None else int(near_zero(np.asarray(told[1])).sum())

    def as_plain(self) -> Any:
        """This model as a plain UFM, whose orbits an atlas can tell apart; None: it is not one."""
        return None

    def columns(self) -> dict[str, Any]:
        """What a label, a table or an axis may say of the model: name to number or word."""
        return {}

    # ---- derivatives; a model may know cheaper ways

    def scales(self, point: P) -> P:
        """Positive scale of every entry of a point, in which the objective is best conditioned."""
        told: P = jax.tree.map(jnp.ones_like, point)
        return told

    def gradient(self, point: P) -> P:
        """The gradient at a point, a point again."""
        told: P = value_and_gradient(self, point)[1]
        return told

    def value_and_gradient(self, point: P) -> tuple[Any, P]:
        """Objective and gradient at a point, compiled unless the model knows a cheaper way."""
        return value_and_gradient(self, point)

    def second_derivative(self, point: P, direction: P) -> float:
        """The Hessian at a point applied twice to a direction."""
        image = hessian_vector_product(self, point, direction)
        along = jax.tree.map(lambda x, y: float(np.vdot(x, y)), direction, image)
        return sum(jax.tree.leaves(along))

    def hessian_vector_product(self, point: P, direction: P) -> P:
        """The Hessian at a point applied to a direction."""
        told: P = jax.jvp(jax.grad(self.objective), (point,), (direction,))[1]
        return told

    def dense_derivatives(self, point: P) -> tuple[float, Array, Array]:
        """Objective, gradient (P,) and Hessian (P, P) in the coordinates of ``flatten``."""
        x = flatten(point)
        value, slope, hessian = _dense_derivatives(self, point, x)
        return float(value), np.asarray(slope), np.asarray(hessian)


def near_zero(values: Array) -> NDArray[np.bool_]:
    """Which of some numbers are not certainly on one side of zero.

    Example:
        >>> near_zero(np.array([0.0, 1.0, -1e-9])).tolist()
        [True, False, True]
    """
    return np.asarray(np.abs(values) <= RANK * (1 + np.abs(values).max(initial=0.0)))


def finite(point: P) -> P:
    """A point as NumPy arrays on the host.

    Raises:
        InputError: an array that is not float64, or NaN or infinity in one.

    Example:
        >>> finite({"x": jnp.zeros(2)})["x"].tolist()
        [0.0, 0.0]
    """

    def checked(leaf: Any) -> Array:
        array = np.asarray(leaf)
        if array.dtype != np.float64:
            remedy = "convert with np.asarray(x, float); jax.config 'jax_enable_x64' must be on"
            raise InputError("Need float64 arrays", array.dtype, remedy)
        if not np.isfinite(array).all():
            raise InputError("Need finite arrays", "NaN or inf", "check the point")
        return array

    told: P = jax.tree.map(checked, point)
    return told


def _shapes(point: Any) -> str:
    """Structure and shapes, in words that can be compared."""
    return str(jax.tree.map(np.shape, point))


@kept()
def value_and_gradient(model: Model[Any], point: Any) -> tuple[Any, Any]:
    """Objective and gradient of any model, compiled once per shape.

    Example:
        >>> from ufm import UFM, CrossEntropy, Point
        >>> model = UFM(CrossEntropy(), 2, 3, lambda_W=0.1, lambda_H=0.1)
        >>> origin = Point(jnp.zeros((2, 3)), jnp.zeros((3, 2)))
        >>> round(float(value_and_gradient(model, origin)[0]), 6)  # log 2
        0.693147
    """
    return jax.value_and_grad(model.objective)(point)


@kept()
def hessian_vector_product(model: Model[Any], point: Any, direction: Any) -> Any:
    """Hessian times a direction for any model, compiled once per shape.

    Example:
        >>> from ufm import UFM, CrossEntropy
        >>> model = UFM(CrossEntropy(), 3, 2, lambda_W=0.1, lambda_H=0.1)
        >>> hessian_vector_product(model, model.origin(), model.origin()).W.shape
        (3, 2)
    """
    return model.hessian_vector_product(point, direction)


@kept()
def _dense_derivatives(model: Model[Any], like: Any, x: Any) -> tuple[Any, Any, Any]:
    def objective(y: Any) -> Any:
        return model.objective(unflatten(y, like))

    value, slope = jax.value_and_grad(objective)(x)
    return value, slope, jax.hessian(objective)(x)


def norm(tree: Any) -> Any:
    """Euclidean norm of a pytree.

    Example:
        >>> float(norm({"a": jnp.array([3.0]), "b": jnp.array([4.0])}))
        5.0
    """
    return sum((leaf * leaf).sum() for leaf in jax.tree.leaves(tree)) ** 0.5
