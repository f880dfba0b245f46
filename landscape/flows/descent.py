"""The gradient flow x' = -grad f from a point to the critical point where it ends.

The metric is the plain Euclidean one of (W, Hbar, b); a merged column is sqrt(n_k) times the
feature, so this is also the flow of the full problem from collapsed features.

A relabelling of the classes that a rotation of the features undoes leaves the flow alone, so
the points that it fixes are an invariant linear subspace. Integration inside that subspace keeps
the symmetry of the start to the last digit, where rounding would break it: symmetric flows end at
saddles, and those ends are exact. An end that is foreseen from some distance must attract within
the subspace, so that a saddle in passing is not taken for it.
"""

from __future__ import annotations

import warnings
from dataclasses import dataclass
from typing import Any

import jax
import numpy as np
from numpy.typing import ArrayLike
from scipy.integrate import LSODA

from landscape.atlas.search import TOLERANCE
from ufm.eigen import eigh
from ufm.model import Model
from ufm.plain.model import UFM
from ufm.plain.relabelling import Permutation, matching
from ufm.point import Point, flatten, unflatten, widened
from ufm.typing import Array

# Flows begin this far from a saddle, relative to max(1, |x|): near enough for the linearisation
# (relative error 1e-3), far enough for the objective to have fallen by more than rounding.
DISPLACEMENT = 1e-3
# Error per step of the distance travelled, and of flows that have travelled less than 1e-3. The
# subspace keeps the symmetry and the end is polished, so errors only matter where basins part.
RELATIVE, ABSOLUTE = 1e-4, 1e-7
# A flow takes 60 to 300 steps; one that needs more than this creeps along a bifurcation.
MAX_STEPS = 5000
# Newton's method is tried when the gradient has fallen to this share of its value at the last try.
NEXT_TRY = 0.5
# Newton's first step from a point in its region of quadratic convergence is short, and the end lies
# about as far away as it says.
SHORT, ABOUT = 0.1, 2.0
NEWTON_STEPS = 8
# Of the objective: a sum of some hundred terms.
ROUNDING = 100 * float(np.finfo(np.float64).eps)
# Eigenvalues below this share of the largest are zeros of symmetry: at gradient norm 1e-12 those
# are 1e-10 at most, and others at least 1e-4 away from bifurcations.
NULL_SHARE = 1e-7
# Rotations found from points of relative accuracy 1e-6 (`orbits.TOLERANCE`); what is no symmetry is
# off by O(1).
ORTHOGONAL = 1e-4


@dataclass(frozen=True, eq=False)
class Descent:
    """Where a flow ended.

    Attributes:
        point: the end; polished to ``search.TOLERANCE`` if it arrived.
        objective, gradient_norm: there.
        arrived: whether it ended at a critical point.
        rise: largest increase of the objective over a step; rounding, for a flow that goes down.
        steps: taken.
        time: of the flow.
    """

    point: Any
    objective: float
    gradient_norm: float
    arrived: bool
    rise: float
    steps: int
    time: float


@dataclass(frozen=True, eq=False)
class _Restricted:
    """The objective at ``origin`` + ``basis`` y."""

    model: Model[Any]
    like: Any
    origin: Array
    basis: Array

    def point(self, y: Array) -> Any:
        return unflatten(self.origin + self.basis @ y, self.like)

    def value_and_gradient(self, y: Array) -> tuple[float, Array]:
        value, slope = self.model.value_and_gradient(self.point(y))
        return float(value), self.basis.T @ flatten(slope)

    def derivatives(self, y: Array) -> tuple[float, Array, Array]:
        value, slope, hessian = self.model.dense_derivatives(self.point(y))
        return value, self.basis.T @ slope, self.basis.T @ hessian @ self.basis

    def velocity(self, _: float, y: Array) -> Array:
        return -self.value_and_gradient(y)[1]

    def jacobian(self, _: float, y: Array) -> Array:
        return -self.derivatives(y)[2]


def flow_of(model: Model[Any], start: Any) -> _Restricted:
    """The flow of a model in coordinates of the whole space that begin at a start.

    Example:
        >>> from ufm import CrossEntropy
        >>> model = UFM(CrossEntropy(), 2, 1, lambda_W=0.1, lambda_H=0.1).merge().model
        >>> flow_of(model, model.origin()).velocity(0.0, np.zeros(4)).tolist()
        [-0.0, -0.0, -0.0, -0.0]
    """
    x = flatten(start)
    return _Restricted(model, start, x, np.eye(len(x)))


def displaced(base: Point, move: Point, step: float) -> Point:
    """A point, padded with zeros to the feature dimension of a move, and moved by a step of it.

    Example:
        >>> base, move = Point(np.zeros((2, 1)), np.zeros((1, 2))), Point(np.eye(2), np.eye(2))
        >>> displaced(base, move, 0.5).W.tolist()
        [[0.5, 0.0], [0.0, 0.5]]
    """
    wide = widened(base, move.W.shape[1])
    return jax.tree.map(lambda x, v: x + step * v, wide, move)


def far(base: Point, move: Point) -> Point:
    """A saddle displaced by max(1, |x|): far enough to tell the symmetry of the direction.

    Example:
        >>> base, move = Point(np.zeros((2, 1)), np.zeros((1, 2))), Point(np.eye(2), np.eye(2))
        >>> far(base, move).W.tolist()
        [[1.0, 0.0], [0.0, 1.0]]
    """
    return displaced(base, move, max(1.0, float(np.linalg.norm(flatten(base)))))


def leave(model: UFM, base: Point, move: Point) -> Descent:
    """The flow from a saddle along a unit displacement, inside the symmetry of both.

    Args:
        model: a merged UFM, in any dimension.
        base: the saddle, W (K, r), H (r, K), b.
        move: a unit displacement with r or more feature dimensions; those beyond r are new.

    Example:
        >>> from ufm import CrossEntropy
        >>> model = UFM(CrossEntropy(), 2, 1, lambda_W=0.1, lambda_H=0.1).merge().model
        >>> u = np.array([[0.5], [-0.5]])
        >>> end = leave(model, model.origin(), Point(u, u.T))
        >>> end.arrived, abs(end.objective - model.minimiser().value) < 1e-12
        (True, True)
    """
    inside = model.with_dimension(move.W.shape[1])
    basis = fixed_space(inside, far(base, move))
    step = DISPLACEMENT * max(1.0, float(np.linalg.norm(flatten(base))))
    return descend(inside, displaced(base, move, step), basis)


def descend(model: Model[Any], start: Any, basis: Array | None = None) -> Descent:
    """Follow x' = -grad f from a point to its end.

    LSODA (Adams and BDF, switching) with the exact Jacobian; when Newton's method from the present
    point lands close by, at a point that attracts within the subspace, that is the end, and so is
    a point where the gradient vanishes to ``search.TOLERANCE``.
    Source: LSODA after Petzold (1983); Newton at the end is derived here.

    Args:
        model: any model small enough for dense Hessians.
        start: a point of it.
        basis: orthonormal columns (P, q) of an invariant subspace that contains the start, in the
            coordinates of ``flatten``, from ``fixed_space``; None for the whole space.

    Returns:
        A Descent; ``arrived`` is False if it did not end within 5,000 steps.

    Example:
        >>> from ufm import CrossEntropy
        >>> model = UFM(CrossEntropy(), 3, 2, lambda_W=0.1, lambda_H=0.1).merge().model
        >>> start = Point(np.eye(3, 2), np.eye(2, 3))
        >>> end = descend(model, start)
        >>> end.arrived, abs(end.objective - model.minimiser().value) < 1e-12
        (True, True)
    """
    start = jax.tree.map(np.asarray, start)
    x = flatten(start)
    basis = np.eye(len(x)) if basis is None else basis
    inside = _Restricted(model, start, basis @ (basis.T @ x), basis)
    y, reach = np.zeros(basis.shape[1]), SHORT * max(1.0, float(np.linalg.norm(x)))
    value, slope = inside.value_and_gradient(y)
    size, next_try, steps, rise = float(np.linalg.norm(slope)), np.inf, 0, 0.0
    solver = LSODA(
        inside.velocity, 0.0, y, np.inf, rtol=RELATIVE, atol=ABSOLUTE, jac=inside.jacobian
    )
    while size > TOLERANCE:
        if size <= next_try:
            next_try = NEXT_TRY * size
            end = _polished(inside, y, reach)
            if end is not None:
                y = end
                break
        if steps == MAX_STEPS or solver.status != "running":
            break
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # a failure shows in the status
            solver.step()
        before, peak = value, size
        y, steps = solver.y, steps + 1
        value, slope = inside.value_and_gradient(y)
        size, rise = float(np.linalg.norm(slope)), max(rise, value - before)
        if size > peak:
            next_try = NEXT_TRY * size  # leaving a saddle: the next end is another one
    point = inside.point(y)
    value, gradient = model.value_and_gradient(point)
    size = float(np.linalg.norm(flatten(gradient)))
    return Descent(point, float(value), size, size <= TOLERANCE, rise, steps, float(solver.t))


def _polished(inside: _Restricted, y: Array, reach: float) -> Array | None:
    """The attracting critical point that Newton's method reaches close by, or None."""
    begin, allowed = y, reach
    level, slope, hessian = inside.derivatives(y)
    for k in range(NEWTON_STEPS):
        values, vectors = eigh(hessian)
        null = NULL_SHARE * float(np.abs(values).max())
        kept = np.abs(values) > null
        step = vectors[:, kept] @ ((vectors[:, kept].T @ slope) / values[kept])
        if not k:
            allowed = min(reach, ABOUT * float(np.linalg.norm(step)) + RELATIVE)
        y = y - step
        if np.linalg.norm(y - begin) > allowed:
            return None
        value, slope, hessian = inside.derivatives(y)
        if np.linalg.norm(slope) <= TOLERANCE / 4:  # of the whole gradient, with a margin
            ends = np.linalg.eigvalsh(hessian)
            attracts = ends[0] >= -NULL_SHARE * float(np.abs(ends).max())
            below = value <= level + ROUNDING * max(1.0, abs(level))
            return y if attracts and below else None
    return None


def automorphisms(Z: ArrayLike, kinds: ArrayLike, b: ArrayLike | None = None) -> list[Permutation]:
    """Generators of the relabellings p with Z[p, p] = Z, b[p] = b and kinds[p] = kinds.

    Schreier and Sims' chain from the last class down: for each class k, relabellings that fix all
    classes before k and carry k to a class that those found so far do not reach.

    Args:
        Z: W Hbar, (K, K).
        kinds: a number for every class (K,), ``model.kinds``.
        b: bias (K,) or None.

    Example:
        >>> automorphisms(np.eye(3), [1, 1, 1]), automorphisms(np.diag([1.0, 2, 3]), [1, 1, 1])
        ([(0, 2, 1), (1, 0, 2)], [])
    """
    matrix = np.asarray(Z, np.float64)
    K = len(matrix)
    bias = np.zeros(K) if b is None else np.asarray(b, np.float64)
    mark = (1 + 2 * float(np.abs(bias).max())) * np.eye(K)  # a bias that no class has
    distinct = np.unique(np.asarray(kinds), return_inverse=True)[1]
    found: list[Permutation] = []
    for k in reversed(range(K)):
        fixed = np.where(np.arange(K) < k, K + np.arange(K), distinct)
        reached = {k}
        for j in range(k + 1, K):
            if j in reached:
                continue
            p = matching(matrix, matrix, fixed, bias + mark[j], bias + mark[k])
            if p is not None:
                found.append(p)
                while more := {q[i] for q in found for i in reached} - reached:
                    reached |= more
    return found


def fixed_space(model: UFM, point: Point) -> Array:
    """The invariant subspace of the symmetries of a point: all points that they fix.

    A relabelling p with Z[p, p] = Z and the rotation R with W[p] = W R, H[:, p] = R^T H fix the
    point. They carry (A, B, beta) to (A[p] R^T, R B[:, p], beta[p]).

    Args:
        model: a merged UFM in the dimension of the point.
        point: W (K, d), H (d, K) with [W; H^T] of rank d, b.

    Returns:
        (P, q) with orthonormal columns, in the coordinates of ``flatten``.

    Example:
        >>> from ufm import CrossEntropy
        >>> model = UFM(CrossEntropy(), 3, 2, lambda_W=0.1, lambda_H=0.1).merge().model
        >>> fixed_space(model, model.minimiser().point).shape  # the sizes of W and H
        (12, 2)
    """
    W, H, b = point.to_numpy()
    stack = np.concatenate([W, H.T])
    size, classes = W.size + H.size, np.eye(len(W))
    # An orthogonal L fixes x iff x^T (2 - L - L^T) x = |x - L x|^2 vanishes.
    moved = np.zeros((size + (0 if b is None else len(b)),) * 2)
    for p in automorphisms(W @ H, model.kinds, b):
        order = list(p)
        turned = np.concatenate([W[order], H[:, order].T])
        R = np.linalg.lstsq(stack, turned, rcond=None)[0]
        if np.abs(R.T @ R - np.eye(len(R))).max() > ORTHOGONAL:
            continue  # Z is symmetric without the point being so
        left, _, right = np.linalg.svd(R)
        half = np.kron(classes[order], left @ right)
        L = np.zeros_like(moved)
        L[: len(half), : len(half)] = L[len(half) : size, len(half) : size] = half
        L[size:, size:] = classes[order] if b is not None else 0.0
        moved += 2 * np.eye(len(L)) - L - L.T
    # Built with H by columns; points have it by rows.
    rows = np.arange(len(moved))
    rows[W.size : size] = W.size + np.arange(H.size).reshape(H.shape[::-1]).T.ravel()
    values, vectors = eigh(moved[np.ix_(rows, rows)])
    return np.asarray(vectors[:, values <= ORTHOGONAL])
