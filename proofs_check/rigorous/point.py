"""A true critical point beside a computed one, unique modulo symmetry, with its exact index.

Proof in docs/certificates.md, "A critical point": Krawczyk's operator on
F(x) = grad f(x) + c B B^T (x - x0), whose zeros across the orbit are the critical points, and the
inertia of F' over the whole box.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from typing import Any

import flint
import jax
import numpy as np
import scipy.linalg

from proofs_check.rigorous import derivatives
from proofs_check.rigorous.arithmetic import Enclosure, Undecided
from proofs_check.rigorous.balls import BITS, Balls, precision
from proofs_check.rigorous.floats import Floats, outward, unbounded_is_undecided
from proofs_check.rigorous.symmetric import MOST_ROWS, distance_to_inverse, inertia
from ufm.eigen import eigh
from ufm.errors import InputError
from ufm.model import Model
from ufm.point import as_rows, flatten, unflatten
from ufm.tolerance import NEAR_NULL
from ufm.typing import Array

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
    at, before = _Slice.at(model, like, x, radius), np.inf
    for _ in range(newton_steps):
        newton = at.inverse @ at.slope.centre
        length = np.abs(newton).max(initial=0.0)
        # Newton's method squares errors; a step that is not halved is rounding.
        if length <= SETTLED * radius or length > before / 2:
            break
        x, before = x - newton, length
        # Tangent and inverse only have to be near, and within the box they are.
        at = at.moved(x) if length <= radius else _Slice.at(model, like, x, radius)
    reason = Undecided("no radius was tried")
    for share in SMALLER:
        for kind in (Floats, Balls) if len(x) <= MOST_ROWS else (Floats,):
            try:
                with precision(BITS):
                    return _proved(at.within(kind, share))
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
        moves: numbers of the generators that span the tangent, (m,).
        basis: B (P, m), nearly orthonormal.
        strength: c.
        eigen: approximate eigenvalues (P,) and eigenvectors (P, P) of F'.
        inverse: C (P, P).
        height, slope: the objective and its gradient at x.
        radius: of the box.
        curved: the Hessian all over it.
    """

    model: Model[Any]
    like: Any
    x: Array
    moves: Array
    basis: Array
    strength: float
    eigen: tuple[Array, Array]
    inverse: Array
    height: Floats
    slope: Floats
    radius: float
    curved: Enclosure

    @staticmethod
    def at(model: Model[Any], like: Any, x: Array, radius: float) -> _Slice:
        tangents = model.generators(unflatten(x, like))
        if tangents is None:
            raise Undecided("the symmetry of this model is not known")
        every = as_rows(tangents)
        columns, sizes, order = scipy.linalg.qr(every.T, mode="economic", pivoting=True)
        sizes = np.abs(np.diag(sizes))
        # What turns by less than the radius cannot be told from what stands still.
        rank = int(np.sum(sizes > max(NEAR_NULL * sizes[:1].sum(), radius)))
        basis = columns[:, :rank]
        height, slope, curved = _enclosed(model, like, x, radius)
        # A power of two, so that it multiplies exactly.
        strength = 2.0 ** round(math.log2(max(float(np.abs(curved.centre).max()), 1e-300)))
        try:
            values, vectors = eigh(curved.centre + strength * basis @ basis.T)
        except np.linalg.LinAlgError as error:
            raise Undecided("the Hessian is not finite") from error
        if not np.all(values != 0):
            raise Undecided("the Hessian is singular across the orbit")
        inverse = (vectors / values) @ vectors.T
        moves = order[:rank]
        eigen = values, vectors
        return _Slice(model, like, x, moves, basis, strength, eigen, inverse, height, slope,
                      radius, curved)  # fmt: skip

    def moved(self, x: Array) -> _Slice:
        """The same tangent and inverse beside them."""
        height, slope, curved = _enclosed(self.model, self.like, x, self.radius)
        return replace(self, x=x, height=height, slope=slope, curved=curved)

    def within(self, kind: type[Enclosure], share: float) -> _Slice:
        """The same in another arithmetic, in a smaller box."""
        if kind is Floats and share == 1:
            return self
        radius = self.radius * share
        curved = derivatives.hessian(self.model, self.like, kind.around(self.x, radius))
        return replace(self, radius=radius, curved=curved)


def _enclosed(model: Model[Any], like: Any, x: Array, radius: float) -> tuple[Floats, ...]:
    """Value and gradient at x, and the Hessian all over the box."""
    with precision(BITS):
        parts = derivatives.value_and_gradient(model, like, Balls.exact(x))
    height, slope = map(Floats.around_balls, parts)
    return height, slope, derivatives.hessian(model, like, Floats.around(x, radius))


def _proved(at: _Slice) -> CriticalPoint:
    """What holds in the box of a slice."""
    radius, curved = at.radius, at.curved
    B = curved.exact(at.basis)
    slope_of_F = curved + curved.exact(at.strength) * (B @ B.moved(np.transpose))
    shrink = distance_to_inverse(slope_of_F, at.inverse)
    first = (Floats.exact(at.inverse) @ at.slope[:, None]).magnitude()[:, 0]
    reach = outward(first + radius * shrink)
    if not np.all(reach < radius):
        worst = float(np.max(reach)) / radius
        raise Undecided(f"Krawczyk's operator leaves the box of {radius:g}: {worst:.3g} of it")
    _require_transversal(at, radius)
    signs = inertia(slope_of_F, at.eigen)
    rate = float(np.max(shrink))
    distance = float(outward(np.max(first) / (1 - rate) * (1 + 1e-12)))
    index, nullity = signs.negative, at.basis.shape[1]
    value = _value(at, distance)
    point = unflatten(at.x, at.like)
    return CriticalPoint(at.model, point, radius, distance, index, nullity, value, signs.route)


def _require_transversal(at: _Slice, radius: float) -> None:
    """T(x)^T B is nonsingular for every x of the box, T the combinations of the generators.

    |I - R S| 1 < 1 for an approximate inverse R proves that of every S in an interval matrix.
    """
    if not len(at.moves):
        return
    with precision(64):
        box = Balls.around(at.x, radius)
        try:
            moved = at.model.generators(unflatten(box.array, at.like))
        except TypeError as error:
            raise Undecided(f"the generators of {at.model.family} take numbers only") from error
        leaves = [np.asarray(leaf)[at.moves] for leaf in jax.tree.leaves(moved)]
        rows = np.concatenate([leaf.reshape(len(leaf), -1) for leaf in leaves], axis=1)
        # Some entries are balls; the others are numbers, nearly all of them zero.
        known = np.array([kind is flint.arb for kind in map(type, rows.ravel().tolist())])
        known = known.reshape(rows.shape)
        moving = Floats.around_balls(Balls(rows[known]))
    # What is no ball may not depend on the point: some arrays turn balls into numbers silently.
    elsewhere = as_rows(at.model.generators(unflatten(at.x + 1, at.like)))[at.moves]
    if np.any(elsewhere[~known] != rows[~known].astype(float)):
        raise Undecided(f"the generators of {at.model.family} take numbers only")
    room = GENERATOR_ROUNDING * len(at.x) * (1 + float(np.abs(at.x).max()))
    tangents = Floats(np.where(known, 0.0, rows).astype(float), np.full(rows.shape, room))
    tangents.centre[known] = moving.centre
    tangents.radius[known] += moving.radius
    overlap = tangents @ Floats.exact(at.basis)
    inverse = np.asarray(np.linalg.inv(overlap.middle()), dtype=np.float64)
    if not np.all(distance_to_inverse(overlap, inverse) < 1):
        raise Undecided("the gauge is not transversal to the orbit all over the box")


def _value(at: _Slice, distance: float) -> tuple[float, float]:
    """f(x*) = f(x0) + <g, e> + <e, H e> / 2 with |e| <= distance in every coordinate."""
    first = distance * float(at.slope.magnitude().sum())
    second = distance * distance / 2 * float(at.curved.magnitude().sum())
    error = float(outward(first + second, 2 * len(at.x) ** 2))
    low = np.nextafter(float(at.height.lower()) - error, -np.inf)
    return float(low), float(np.nextafter(float(at.height.upper()) + error, np.inf))
