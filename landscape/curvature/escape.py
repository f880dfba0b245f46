"""The exact escape direction of a strict saddle: its most negative curvature."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax.flatten_util import ravel_pytree

from landscape.curvature.hessian import dense_hessian
from landscape.curvature.lanczos import lanczos
from landscape.curvature.operators import hessian_operator
from ufm.eigen import eigh
from ufm.model import Model, norm

MAX_DENSE_ESCAPE = 1500
# Relative agreement of a Rayleigh quotient with the eigenvalue it should attain.
ATTAINED = 1e-6


@dataclass(frozen=True)
class Escape:
    """A unit direction and the curvature of the objective along it.

    Attributes:
        direction: a tangent vector with |direction| = 1, in the columns of the model.
        curvature: its Rayleigh quotient, the second derivative along it.
        source: where the direction comes from.
    """

    direction: Any
    curvature: float
    source: str

    def descend(self, model: Model[Any], point: Any, value: float) -> tuple[Any, float]:
        """The lowest of a few trial points along +-direction, and its objective."""
        best, lowest = point, value
        for step in (1e-3, 1e-2, 0.1, 0.3, 1.0):
            for sign in (1.0, -1.0):
                trial = jax.tree.map(lambda x, v, t=sign * step: x + t * v, point, self.direction)
                height = float(model.objective(trial))
                if height < lowest:
                    best, lowest = trial, height
        return best, lowest


def escape_direction(model: Model[Any], point: Any, smallest: float | None = None) -> Escape:
    """A direction of most negative curvature at a critical point.

    The one that the model knows, where it attains ``smallest``; else the lower of that and one from
    the whole Hessian (dense up to 1,500 variables, beyond by Lanczos).

    Args:
        model: any model.
        point: a critical point with negative curvature.
        smallest: its smallest Hessian eigenvalue, if known: then the explicit direction is taken
            without looking further when it attains it.

    Example:
        >>> from ufm import UFM, CrossEntropy
        >>> model = UFM(CrossEntropy(), 3, 2, lambda_W=0.1, lambda_H=0.1)
        >>> round(escape_direction(model, model.origin()).curvature, 12)  # 0.1 - 1/3
        -0.233333333333
    """
    known = model.escape(point)
    explicit = None if known is None else _measured(model, point, *known)
    if explicit is not None and smallest is not None and _attains(explicit, smallest):
        return explicit
    numerical = _numerical_direction(model, point)
    if explicit is None or numerical.curvature < explicit.curvature:
        return numerical
    return explicit


def _attains(escape: Escape, smallest: float) -> bool:
    return escape.curvature <= smallest + ATTAINED * abs(smallest)


def _measured(model: Model[Any], point: Any, direction: Any, source: str) -> Escape:
    direction = jax.tree.map(np.asarray, direction)
    length = norm(direction)
    unit = jax.tree.map(lambda x: x / length, direction)
    return Escape(unit, model.second_derivative(point, unit), source)


def _numerical_direction(model: Model[Any], point: Any) -> Escape:
    size = sum(np.size(leaf) for leaf in jax.tree.leaves(point))
    unravel = ravel_pytree(jax.tree.map(jnp.asarray, point))[1]
    if size <= MAX_DENSE_ESCAPE:
        vector = eigh(dense_hessian(model, point))[1][:, 0]
        return _measured(model, point, unravel(jnp.asarray(vector)), "dense Hessian")
    operator = hessian_operator(model.objective, jax.tree.map(jnp.asarray, point))
    pairs = lanczos(operator, num_eigenvalues=1, key=jax.random.key(0))
    found = unravel(jnp.asarray(pairs.eigenvectors[:, 0]))
    return _measured(model, point, found, "Lanczos")
