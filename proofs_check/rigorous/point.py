"""A true critical point beside a computed one, unique modulo symmetry, with its exact index.

Proof in docs/certificates.md, "A critical point": Krawczyk's operator on
F(x) = grad f(x) + c B B^T (x - x0), whose zeros across the orbit are the critical points, and the
inertia of F' over the whole box.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import flint
import jax
import numpy as np

from proofs_check.rigorous import derivatives
from proofs_check.rigorous.arithmetic import Array, Enclosure, Undecided
from proofs_check.rigorous.balls import BITS, Balls, precision
from proofs_check.rigorous.floats import Floats, outward, unbounded_is_undecided
from proofs_check.rigorous.symmetric import MOST_ROWS, distance_to_inverse, inertia
from ufm.errors import InputError
from ufm.model import Model
from ufm.point import as_rows, flatten, unflatten
from ufm.tolerance import NEAR_NULL

# The radius that is claimed, in the maximum norm of coordinates, and the smaller ones that are
# tried where third derivatives are too large for it.
RADIUS = 1e-9
SMALLER = (1.0, 1e-1, 1e-2, 1e-3, 1e-4)
# Newton steps at most; convergence is quadratic.
NEWTON_STEPS = 6
# Dense Hessians over a box take some hundred arrays of P^2 numbers at most.
MOST_COORDINATES = 2000
# Numbers in a generator (frames of classes) are rounded: each to a few units in the last place of
# numbers up to one, in sums of P products with coordinates.
GENERATOR_ROUNDING = 2.0**-48
# A Newton step below this share of the radius leaves nothing to be gained by another.
SETTLED = 1e-3


@dataclass(frozen=True, eq=False)
class CriticalPoint:
    """What is proved of a critical point.

    Attributes:
        model, point: the model, and the float64 point the statement is about.
        radius: a true critical point lies within it in the maximum norm of coordinates, and no
            second one across the orbit.
        distance: it lies within this, too: the computed point is that good.
        index, nullity: of the Hessian at the true point, exactly; the nullity is the dimension of
            its symmetry orbit.
        value: float64 numbers with the objective at the true point between them.
        route: the arithmetic and what counted the signs.
    """

    model: Model[Any]
    point: Any
    radius: float
    distance: float
    index: int
    nullity: int
    value: tuple[float, float]
    route: str

    @property
    def minimum(self) -> bool:
        """Whether it is a local minimum, strict but for the symmetry."""
        return self.index == 0


@unbounded_is_undecided
def prove_critical(
    model: Model[Any], point: Any, radius: float = RADIUS, newton_steps: int = NEWTON_STEPS
) -> CriticalPoint:
    """Prove a critical point near a point of a model, its index and its nullity.

    Args:
        model: any model whose program has enclosures, with generators.
        point: near a critical point; zero columns beside its rank are welcome.
        radius: to be proved; a smaller one is where this is too large.
        newton_steps: Newton steps that may move the point first; 0: it is taken as it is.

    Raises:
        Undecided: with the reason; nothing is said of the point.
        InputError: a point that does not fit, or a primitive without enclosure.

    Example:
        >>> from ufm import UFM, CrossEntropy
        >>> model = UFM(CrossEntropy(), 3, 2, lambda_W=0.1, lambda_H=0.1)
        >>> told = prove_critical(model, model.origin())
        >>> told.index, told.nullity, told.distance < told.radius
        (4, 0, True)
    """
    model.require_smooth()
    like = full_columns(model, point)
    x = flatten(like)
    if len(x) > MOST_COORDINATES:
        rule = f"A certificate of the index needs at most {MOST_COORDINATES} coordinates"
        raise InputError(rule, len(x), "merge samples, or take a smaller dimension")
    for step in range(newton_steps + 1):
        at = _Slice.at(model, like, x, radius)
        newton = at.inverse @ at.slope.centre
        if step == newton_steps or np.abs(newton).max(initial=0.0) <= SETTLED * radius:
            break
        x = x - newton
    reason = Undecided("no radius was tried")
    for share in SMALLER:
        for kind in (Floats, Balls) if len(x) <= MOST_ROWS else (Floats,):
            try:
                with precision(BITS):
                    box = kind.around(x, radius * share)
                    known = share == 1 and kind is Floats
                    curved = at.curved if known else derivatives.hessian(model, like, box)
                    return _proved(at, curved, radius * share)
            except Undecided as undecided:
                reason = undecided
    raise reason


def full_columns(model: Model[Any], point: Any) -> Any:
    """A point of a model from one of it or of its merged model, as NumPy arrays."""
    owner, told = model.checked(point)
    merge = model.merge()
    return told if owner is model or merge is None else merge.lift(told)


@dataclass(frozen=True, eq=False)
class _Slice:
    """A computed point, the orbit's tangent there, and an approximate inverse of F'.

    Attributes:
        model, like, x: the point as a vector, and what it looks like.
        mixture: combinations of the generators that span the tangent, (g, m).
        basis: B (P, m), nearly orthonormal.
        strength: c.
        inverse: C (P, P).
        slope: the gradient at x.
        curved: the Hessian over the box of the radius asked for.
    """

    model: Model[Any]
    like: Any
    x: Array
    mixture: Array
    basis: Array
    strength: float
    inverse: Array
    slope: Floats
    curved: Floats

    @staticmethod
    def at(model: Model[Any], like: Any, x: Array, radius: float) -> _Slice:
        tangents = model.generators(unflatten(x, like))
        if tangents is None:
            raise Undecided("the symmetry of this model is not known")
        every = as_rows(tangents)
        left, values, right = np.linalg.svd(every, full_matrices=False)
        # What turns by less than the radius cannot be told from what stands still.
        rank = int(np.sum(values > max(NEAR_NULL * values[:1].sum(), radius)))
        mixture, basis = left[:, :rank], right[:rank].T
        with precision(BITS):
            slope = _as_floats(derivatives.gradient(model, like, Balls.exact(x)))
        curved = derivatives.hessian(model, like, Floats.around(x, radius))
        # A power of two, so that it multiplies exactly.
        strength = 2.0 ** round(math.log2(max(float(np.abs(curved.centre).max()), 1e-300)))
        try:
            inverse = np.asarray(np.linalg.inv(curved.centre + strength * basis @ basis.T))
        except np.linalg.LinAlgError as error:
            raise Undecided("the Hessian is singular across the orbit") from error
        return _Slice(model, like, x, mixture, basis, strength, inverse, slope, curved)


def _proved(at: _Slice, curved: Enclosure, radius: float) -> CriticalPoint:
    """What holds in the box of a radius, from an enclosure of the Hessian all over it."""
    B = curved.exact(at.basis)
    slope_of_F = curved + curved.exact(at.strength) * (B @ B.moved(np.transpose))
    shrink = distance_to_inverse(slope_of_F, at.inverse)
    first = (Floats.exact(at.inverse) @ at.slope[:, None]).magnitude()[:, 0]
    reach = outward(first + radius * shrink)
    if not np.all(reach < radius):
        worst = float(np.max(reach)) / radius
        raise Undecided(f"Krawczyk's operator leaves the box of {radius:g}: {worst:.3g} of it")
    _require_transversal(at, radius)
    signs = inertia(slope_of_F)
    rate = float(np.max(shrink))
    distance = float(outward(np.max(first) / (1 - rate) * (1 + 1e-12)))
    index, nullity = signs.negative, at.basis.shape[1]
    low, high = _value(at, curved.magnitude(), distance)
    point = unflatten(at.x, at.like)
    return CriticalPoint(
        at.model, point, radius, distance, index, nullity, (low, high), signs.route
    )


def _require_transversal(at: _Slice, radius: float) -> None:
    """T(x)^T B is nonsingular for every x of the box, T the combinations of the generators.

    |I - R S| 1 < 1 for an approximate inverse R proves that of every S in an interval matrix.
    """
    if not at.mixture.shape[1]:
        return
    with precision(64):
        box = Balls.around(at.x, radius)
        try:
            moved = at.model.generators(unflatten(box.array, at.like))
        except TypeError as error:
            raise Undecided(f"the generators of {at.model.family} take numbers only") from error
        leaves = [np.asarray(leaf) for leaf in jax.tree.leaves(moved)]
        rows = np.concatenate([leaf.reshape(len(leaf), -1) for leaf in leaves], axis=1)
        balls = [kind is flint.arb for kind in map(type, rows.ravel().tolist())]
        known = np.array(balls).reshape(rows.shape)  # the others are numbers, nearly all zero
        moving = _as_floats(Balls(rows[known]))
    room = GENERATOR_ROUNDING * len(at.x) * (1 + float(np.abs(at.x).max()))
    tangents = Floats(np.where(known, 0.0, rows).astype(float), np.full(rows.shape, room))
    tangents.centre[known] = moving.centre
    tangents.radius[known] += moving.radius
    mixed = Floats.exact(at.mixture.T) @ tangents
    overlap = mixed @ Floats.exact(at.basis)
    inverse = np.asarray(np.linalg.inv(overlap.middle()), dtype=np.float64)
    if not np.all(distance_to_inverse(overlap, inverse) < 1):
        raise Undecided("the gauge is not transversal to the orbit all over the box")


def _value(at: _Slice, curved: Array, distance: float) -> tuple[float, float]:
    """f(x*) = f(x0) + <g, e> + <e, H e> / 2 with |e| <= distance in every coordinate."""
    with precision(BITS):
        height = derivatives.value(at.model, at.like, Balls.exact(at.x))
    size = len(at.x)
    first = distance * float(at.slope.magnitude().sum())
    second = distance * distance / 2 * float(curved.sum())
    error = float(outward(first + second, 2 * size * size))
    low = np.nextafter(float(height.lower()) - error, -np.inf)
    return float(low), float(np.nextafter(float(height.upper()) + error, np.inf))


def _as_floats(enclosure: Enclosure) -> Floats:
    low, high = (Floats.exact(end) for end in (enclosure.lower(), enclosure.upper()))
    return Floats.between(low, high)
