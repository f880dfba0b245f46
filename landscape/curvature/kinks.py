"""Curvature where pieces of an objective meet, read off one smooth function along the meeting.

Replace every max(u, 0) that is at its kink by s u, and what is left is smooth: L(x, s). Where

    grad_x L(x, s) = 0,  u(x) = 0,  0 < s < 1,  the normals grad u independent,

zero lies in the hull of the gradients beside x: x is critical in the sense of Clarke. If moreover
every push b = dL / d(s u) is positive, then f >= L near x, with equality where u = 0, and f rises
at once off that surface: index and nullity of f are those of L along it.
Source: Clarke (1983); surfaces after Lewis (2002); derived here (docs/theory.md, DR-5).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import scipy
from numpy.typing import NDArray

from ufm.eigen import eigh
from ufm.model import Model, near_zero
from ufm.point import flatten, unflatten
from ufm.tolerance import NEAR_NULL, RANK
from ufm.typing import Array

# Newton's method takes a dozen steps where it ends at a point; more lead elsewhere.
FINEST: Any = {"xtol": 1e-15, "ftol": 1e-15, "gtol": 1e-15, "max_nfev": 40}


class Derivatives(NamedTuple):
    """Of L at (x, s), x with P entries and s with one for each of m kinks.

    Attributes:
        value: L.
        sides: u (m,).
        push: dL / d(s u) (m,).
        gradient, hessian: in x, (P,) and (P, P).
        normals: of u in x (m, P).
    """

    value: Any
    sides: Any
    push: Any
    gradient: Any
    hessian: Any
    normals: Any


def derivatives(model: Model[Any], like: Any, x: Array, slopes: Array) -> Derivatives:
    """All of them in NumPy; ``like`` is a point of the shapes that x has."""
    told = _derivatives(model, like, jnp.asarray(x), jnp.asarray(slopes))
    return Derivatives(*(np.asarray(part) for part in told))


@jax.jit
def _derivatives(model: Model[Any], like: Any, x: Any, slopes: Any) -> Derivatives:
    still = jnp.zeros_like(slopes)

    def value(y: Any, s: Any, h: Any) -> Any:
        return _pieces(model, unflatten(y, like), s, h)[0]

    def sides(y: Any, s: Any) -> Any:
        return _pieces(model, unflatten(y, like), s, still)[1]

    return Derivatives(
        value(x, slopes, still),
        sides(x, slopes),
        jax.grad(value, argnums=2)(x, slopes, still),
        _gradient(model, like, x, slopes),
        jax.jacobian(lambda y: _gradient(model, like, y, slopes))(x),
        jax.jacobian(sides)(x, slopes),
    )


@jax.jit
def _gradient(model: Model[Any], like: Any, x: Any, slopes: Any) -> Any:
    still = jnp.zeros_like(slopes)
    return jax.grad(lambda y: _pieces(model, unflatten(y, like), slopes, still)[0])(x)


@jax.jit
def _turn(model: Model[Any], like: Any, x: Any, slopes: Any) -> Any:
    return jax.jacobian(lambda s: _gradient(model, like, x, s))(slopes)


def _pieces(model: Model[Any], point: Any, slopes: Any, shifts: Any) -> tuple[Any, Any]:
    told = model.pieces(point, slopes, shifts)
    if told is None:
        raise RuntimeError("asked of a model without kinks")
    return told


def sides_of(model: Model[Any], point: Any) -> Array | None:
    """u of every kink at a point, None for a model without any."""
    told = model.pieces(point)
    return None if told is None else np.asarray(told[1])


def pushing(push: Array) -> NDArray[np.bool_]:
    """Which kinks the objective feels in first order: where b is not zero.

    Example:
        >>> pushing(np.array([1.0, 1e-12])).tolist()
        [True, False]
    """
    return np.asarray(np.abs(push) > RANK * np.abs(push).max(initial=0.0))


@dataclass(frozen=True)
class Surface:
    """What is known of a point where pieces meet.

    Attributes:
        active: kinks that the objective feels.
        slopes: of all kinks: 0, 1, or between them where active.
        residual: |grad L|, least over the slopes of the active kinks.
        values: eigenvalues of L along the surface, ascending.
        directions: their vectors (P, number of values).
        normals: of active kinks (their number, P).
        doubt: why the point is not judged by them; "" if it is.
    """

    active: NDArray[np.int64]
    slopes: Array
    residual: float
    values: Array
    directions: Array
    normals: Array
    doubt: str


def surface_at(model: Model[Any], point: Any) -> Surface | None:
    """The meeting of pieces at a point, or None for a model without kinks.

    Example:
        >>> from ufm import deep_relu
        >>> model = deep_relu(depth=4, lambda_W=0.02, lambda_H=0.02)
        >>> surface_at(model, model.collapsed_point()).doubt[:20]
        'the objective does n'
    """
    sides = sides_of(model, point)
    if sides is None:
        return None
    x, near = flatten(point), near_zero(sides)
    slopes = np.where(near, 0.5, sides > 0)
    felt = near & pushing(derivatives(model, point, x, slopes).push)
    active = np.flatnonzero(felt)
    slopes = np.where(near & ~felt, 0.0, slopes)

    slopes = shortest(model, point, x, slopes, active)
    told = derivatives(model, point, x, slopes)
    normals = told.normals[active]
    along, independent = _tangents(normals)
    values, vectors = eigh(along.T @ told.hessian @ along)
    return Surface(
        active,
        slopes,
        float(np.linalg.norm(told.gradient)),
        values,
        along @ vectors,
        normals,
        _doubt(model, point, told, active, np.flatnonzero(near & ~felt), slopes, independent),
    )


def shortest(
    model: Model[Any], like: Any, x: Array, slopes: Array, kinks: NDArray[np.int64]
) -> Array:
    """Slopes, those of some kinks replaced by the ones in [0, 1] where grad_x L is shortest."""
    if not len(kinks):
        return slopes

    def gradient(s: Array) -> Array:
        return np.asarray(_gradient(model, like, x, put(slopes, kinks, s)))

    def turn(s: Array) -> Array:
        return np.asarray(_turn(model, like, x, put(slopes, kinks, s)))[:, kinks]

    start = np.full(len(kinks), 0.5)
    if len(x) >= len(kinks):
        free = scipy.optimize.least_squares(gradient, start, turn, method="lm", **FINEST).x
        if free.min() > -NEAR_NULL and free.max() < 1 + NEAR_NULL:
            return put(slopes, kinks, np.clip(free, 0.0, 1.0))
    return put(
        slopes, kinks, scipy.optimize.least_squares(gradient, start, turn, (0, 1), **FINEST).x
    )


def put(slopes: Array, where: NDArray[np.int64], values: Array) -> Array:
    """Slopes with those of some kinks replaced."""
    new = slopes.copy()
    new[where] = values
    return new


def _tangents(normals: Array) -> tuple[Array, bool]:
    """An orthonormal basis of what is orthogonal to normals, and whether those are independent."""
    if not len(normals):
        return np.eye(normals.shape[1]), True
    values, rows = np.linalg.svd(normals)[1:]
    rank = int(np.sum(values > NEAR_NULL * values[0]))
    return rows[rank:].T, rank == len(normals)


def _doubt(
    model: Model[Any],
    point: Any,
    told: Derivatives,
    active: NDArray[np.int64],
    unfelt: NDArray[np.int64],
    slopes: Array,
    independent: bool,
) -> str:
    """Why the theorem of this file does not apply; "" where it does."""
    push = told.push[active]
    inside = np.minimum(slopes[active], 1 - slopes[active])
    if not independent:
        return "normals of kinks are not independent"
    if np.any(push < 0):
        return f"{np.sum(push < 0)} kinks are bent downwards"
    if np.any(inside < NEAR_NULL):
        return f"the slope at {np.sum(inside < NEAR_NULL)} kinks is at its end"
    growth = model.unfelt_growth(point, slopes, unfelt) if len(unfelt) else 1.0
    if growth is None:
        return f"the objective does not feel {len(unfelt)} kinks in first order"
    if growth <= RANK:
        what = "share the work of others at no cost" if growth > -RANK else "pay if turned on"
        return f"units that are off {what}"
    return ""


def moved_onto(model: Model[Any], point: Any, x: Array, surface: Surface, steps: int = 20) -> Array:
    """The point of the surface u = 0 near x, by Newton's method of least steps."""
    for _ in range(steps):
        told = derivatives(model, point, x, surface.slopes)
        u = told.sides[surface.active]
        if np.abs(u).max(initial=0.0) < 1e-14:
            break
        x = x - np.linalg.lstsq(told.normals[surface.active], u, rcond=None)[0]
    return x


def below_along(model: Model[Any], point: Any, surface: Surface) -> tuple[Any, float] | None:
    """The lowest trial point along most negative curvature of the surface, or None."""
    if not len(surface.values) or surface.values[0] >= 0:
        return None
    x, best = flatten(point), None
    lowest = float(model.objective(point))
    for step in (1e-3, 1e-2, 0.1, 0.3):
        for sign in (1.0, -1.0):
            y = moved_onto(model, point, x + sign * step * surface.directions[:, 0], surface)
            trial = jax.tree.map(np.asarray, unflatten(y, point))
            height = float(model.objective(trial))
            if height < lowest:
                best, lowest = trial, height
    return None if best is None else (best, lowest)
