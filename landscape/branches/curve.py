"""A branch of critical points as a curve in (x, log c): equations, corrector, stations.

Along a branch both weight decays grow in proportion, so c = sqrt(K N lambda_W lambda_H) is the
parameter; Z, indices and couplings over sigma depend on c alone (A-2). Coordinates are balanced,
W (lambda_W/lambda_H)^(1/4) and H (lambda_H/lambda_W)^(1/4): both decays become sigma. In units of
sigma, F(x, log c) = grad f / sigma has the derivative (W, H, 0) along log c at its zeros. Symmetry
generators T are null vectors of the Hessian A and orthogonal to F, so F = 0 is solved with

    [ A / sigma + T T^T   (W, H, 0) ]
    [        normal of a plane      ]

which is regular at folds too. Source: Keller 1977; Allgower & Georg 1990, chapters 2 and 6.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from scipy.optimize import brentq

from landscape.atlas.orbit import Orbit, centred_bias
from ufm.eigen import eigh
from ufm.losses.columns import column_gradients
from ufm.plain.model import UFM
from ufm.plain.relabelling import stabiliser_order
from ufm.plain.symmetry import predicted_nullity
from ufm.point import Point, as_rows, flatten, unflatten
from ufm.typing import Array

# Gradient norms in balanced coordinates: what is accepted, and what is rounding. Where a branch is
# born from a wide kernel, eigenvalues vanish like the cube of |Z|, and a residual that is larger
# than rounding would turn the point.
TOLERANCE, ROUNDING = 1e-12, 1e-15
MAX_NEWTON = 8
# Cubics between stations are exact to 1e-3 of their distance.
NEARBY = 0.01


@dataclass(frozen=True, eq=False)
class System:
    """F and its derivatives at (x, log c), in balanced coordinates and units of sigma.

    Attributes:
        objective: f.
        residual: grad f / sigma, (P,).
        hessian: of f, over sigma, (P, P).
        symmetry: orthonormal null directions T of the symmetries, (P, p).
        slope: derivative of grad f / sigma along log c at a critical point, (P,).
    """

    objective: float
    residual: Array
    hessian: Array
    symmetry: Array
    slope: Array

    def bordered(self, normal: Array) -> Array:
        """The square matrix of the corrector, (P + 1, P + 1)."""
        regular = self.hessian + self.symmetry @ self.symmetry.T
        return np.vstack([np.column_stack([regular, self.slope]), normal])

    def eigensystem(self) -> tuple[Array, Array]:
        """Eigenvalues of the Hessian across the symmetry directions, ascending, and vectors."""
        across = self.hessian.shape[0] - self.symmetry.shape[1]
        beyond = 1.0 + 2.0 * float(np.abs(self.hessian).sum(axis=0).max(initial=0.0))
        lifted = self.hessian + beyond * self.symmetry @ self.symmetry.T
        values, vectors = eigh(lifted)
        return values[:across], vectors[:, :across]


@dataclass(frozen=True, eq=False)
class Station:
    """A critical point on a branch.

    Attributes:
        y: (x, log c), balanced coordinates, (P + 1,).
        tangent: unit tangent of the branch, (P + 1,).
        point: W (K, r), H (r, K), b in the coordinates of the model.
        objective: f there.
        gradient_norm: Euclidean, in the coordinates of the model.
        eigenvalues: of the Hessian in dimension r, balanced, over sigma, without symmetry zeros.
        couplings: singular values of G outside the support over sigma, descending, (K - r,).
    """

    y: Array
    tangent: Array
    point: Point
    objective: float
    gradient_norm: float
    eigenvalues: Array
    couplings: Array

    @property
    def log_c(self) -> float:
        """Where on the axis of the parameter."""
        return float(self.y[-1])

    @property
    def c(self) -> float:
        """sqrt(K N lambda_W lambda_H)."""
        return math.exp(self.log_c)

    @property
    def range_index(self) -> int:
        """Negative eigenvalues in dimension r."""
        return int(np.sum(self.eigenvalues < 0))

    @property
    def overshoot(self) -> int:
        """Couplings above sigma."""
        return int(np.sum(self.couplings > 1))

    @property
    def smallest(self) -> float:
        """The eigenvalue closest to zero, with its sign; NaN where there is none."""
        values = self.eigenvalues
        return float(values[np.abs(values).argmin()]) if len(values) else math.nan

    @property
    def Z(self) -> Array:
        """W Hbar, (K, K)."""
        return np.asarray(self.point.W @ self.point.H)


@dataclass(frozen=True, eq=False)
class Curve:
    """The equations of critical points of one rank, for all c.

    Attributes:
        model: a merged UFM; its decays give the ratio, and the bias decay.
        like: a point of the right shapes, W (K, r), H (r, K), b; r = 0 at the origin.
        nullity: number p of null directions that symmetry predicts in dimension r.

    Example:
        >>> from landscape.atlas import atlas
        >>> from ufm import CrossEntropy
        >>> best = atlas(UFM(CrossEntropy(), 3, 3, lambda_W=0.02, lambda_H=0.02)).orbits[0]
        >>> curve = Curve.of(best)
        >>> curve.rank, curve.nullity, round(curve.model_at(0.0).c, 12)
        (2, 1, 1.0)
    """

    model: UFM
    like: Point
    nullity: int

    @staticmethod
    def of(orbit: Orbit) -> Curve:
        """The curve through an orbit."""
        return Curve(orbit.model, full_rank(orbit), orbit.range_predicted)

    def of_rank(self, point: Point) -> Curve:
        """The equations of the stratum of another point, given in balanced coordinates.

        An isometric loss with too many classes to predict the nullity is refused by the atlas.
        """
        rank = point.W.shape[1]
        nullity = predicted_nullity(self.model, rank, rank, point.W @ point.H, point.b)
        return Curve(self.model.with_dimension(max(rank, 1)), point, nullity or 0)

    @property
    def rank(self) -> int:
        """Rank of Z."""
        return int(self.like.W.shape[1])

    def model_at(self, log_c: float) -> UFM:
        """The model with both decays scaled to reach c, in the dimension of the rank."""
        lw, lh = float(self.model.lambda_W), float(self.model.lambda_H)
        scale = math.exp(log_c) / self.model.c
        return self.model.with_decays(scale * lw, scale * lh).with_dimension(max(self.rank, 1))

    def sigma(self, log_c: float) -> float:
        """sqrt(lambda_W lambda_H) at c."""
        return math.exp(log_c) * self.model.sigma / self.model.c

    @property
    def _ratio(self) -> float:
        return (float(self.model.lambda_H) / float(self.model.lambda_W)) ** 0.25

    def coordinates(self, point: Point) -> Array:
        """Balanced coordinates x of a point of the model."""
        return flatten(point._replace(W=point.W / self._ratio, H=point.H * self._ratio))

    def point(self, x: Array) -> Point:
        """The point of the model at balanced coordinates x."""
        point = unflatten(x, self.like)
        return point._replace(W=point.W * self._ratio, H=point.H / self._ratio)

    def system(self, y: Array) -> System:
        """F and its derivatives at y = (x, log c)."""
        sigma, point = self.sigma(float(y[-1])), unflatten(y[:-1], self.like)
        model = self.model.with_decays(sigma, sigma)
        value, gradient, hessian = model.dense_derivatives(point)
        slope = y[:-1].copy()
        slope[2 * point.W.size :] = 0.0
        rows = as_rows(model.generators(point))
        symmetry = np.linalg.svd(rows, full_matrices=False)[2][: self.nullity].T
        return System(value, gradient / sigma, hessian / sigma, symmetry, slope)

    def corrected(self, guess: Array, normal: Array) -> tuple[Array, System] | None:
        """The critical point in the plane through ``guess``: Newton's method, minimum-norm steps.

        Directions in which the residual is rounding are left alone: close to a symmetry-breaking
        point that rounding over a small eigenvalue would leave the symmetric subspace.

        Args:
            guess: (x, log c).
            normal: of the plane, (P + 1,).

        Returns:
            y and the system there, or None where the gradient norm stays above 1e-12.
        """
        y, best, size = guess, None, math.inf
        for _ in range(MAX_NEWTON):
            system, sigma = self.system(y), self.sigma(float(y[-1]))
            now = float(np.linalg.norm(system.residual)) * sigma
            if not math.isfinite(now) or (now >= size and size <= TOLERANCE):
                break
            if now < size:
                best, size = (y, system), now
            right = np.append(-system.residual, normal @ (guess - y))
            U, values, Vt = np.linalg.svd(system.bordered(normal))
            parts = U.T @ right
            telling = (np.abs(parts) > ROUNDING / sigma) & (values > 0)
            step = (parts[telling] / values[telling]) @ Vt[telling]
            if not telling.any():
                break
            if float(np.abs(step).max()) > 1.0:  # nowhere near: a branch bends over less
                return None
            y = y + step
        return best if size <= TOLERANCE else None

    def station(self, y: Array, system: System, along: Array) -> Station:
        """Everything that is recorded about a corrected point; ``along`` orients the tangent."""
        # The null vector of the equations with component 1 in this direction.
        right = np.append(np.zeros(len(system.residual)), 1.0)
        tangent = np.linalg.lstsq(system.bordered(along), right, rcond=0.0)[0]
        W, H, b = unflatten(system.residual * self.sigma(float(y[-1])), self.like)
        slope = flatten(Point(W / self._ratio, H * self._ratio, b))
        return Station(
            y,
            tangent / np.linalg.norm(tangent),
            self.point(y[:-1]),
            system.objective,
            float(np.linalg.norm(slope)),
            system.eigensystem()[0],
            self._couplings(y),
        )

    def at_fixed_c(self, x: Array, log_c: float) -> Station | None:
        """The critical point next to x at this c; its tangent points to larger c."""
        upwards = np.zeros(len(x) + 1)
        upwards[-1] = 1.0
        found = self.corrected(np.append(x, log_c), upwards)
        if found is None:
            return None
        y, system = found
        y[-1] = log_c  # free of rounding, so that ends of the interval can be compared
        return self.station(y, system, upwards)

    def between(self, one: Station, other: Station, share: float) -> Station | None:
        """The critical point near a cubic through two stations, at a share of the way.

        The error of the cubic is of fourth order, so two steps of the corrector suffice.
        """
        guess, along = hermite(one, other, share)
        normal = along / np.linalg.norm(along)
        found = self.corrected(guess, normal)
        return None if found is None else self.station(*found, normal)

    def crossing(
        self, one: Station, other: Station, test: Callable[[Station], float]
    ) -> Station | None:
        """The station between two others where a test function changes sign (Brent), or None."""
        seen = {0.0: one, 1.0: other}

        def value(share: float) -> float:
            if share not in seen:
                station = self.between(one, other, share)
                if station is None:
                    raise NoCriticalPointError
                seen[share] = station
            return test(seen[share])

        try:
            # 1e-13 of a step of 0.3 in arclength; far less than 1e-10 in c.
            return seen[brentq(value, 0.0, 1.0, xtol=1e-13, rtol=1e-15)]
        except NoCriticalPointError:
            return None

    def _couplings(self, y: Array) -> Array:
        values = np.linalg.svd(self.outer_gradient(y), compute_uv=False)
        return np.asarray(values[: self.model.num_classes - self.rank], np.float64)

    def reaching(self, one: Station, other: Station, log_c: float) -> Station | None:
        """The station at this c between two others, one below and one above it, or None."""
        share = brentq(lambda t: float(hermite(one, other, t)[0][-1]) - log_c, 0.0, 1.0)
        guess = hermite(one, other, share)[0]
        found, length = self.at_fixed_c(guess[:-1], log_c), float(np.linalg.norm(other.y - one.y))
        if found is not None and np.linalg.norm(found.y - guess) <= NEARBY * length:
            return found
        # Next to a turn a fixed c is a bad equation: come closer along the branch first.
        near = self.crossing(one, other, lambda s: s.log_c - log_c)
        return None if near is None else self.at_fixed_c(near.y[:-1], log_c)

    def outer_gradient(self, y: Array) -> Array:
        """G outside the support over sigma, balanced coordinates, (K, K)."""
        point, roots = unflatten(y[:-1], self.like), np.sqrt(np.asarray(self.model.counts))
        every = np.arange(self.model.num_classes)
        Z = self.model.column_logits(point)
        V = np.asarray(column_gradients(self.model.loss, Z, every)[1])
        G = V * self.model.column_weights / roots / self.sigma(float(y[-1]))
        left, right = np.linalg.qr(point.W)[0], np.linalg.qr(point.H.T)[0]
        G = G - left @ (left.T @ G)
        return np.asarray(G - (G @ right) @ right.T)

    def stabiliser(self, station: Station, tolerance: float) -> int:
        """How many relabellings leave a station as it is, to a tolerance relative to |Z|."""
        Z, bias = station.Z, centred_bias(self.model, station.point)
        unit = tolerance * min(1.0, float(np.abs(Z).max()) or 1.0)
        return stabiliser_order(Z, self.model.kinds, bias, tolerance=unit)


class NoCriticalPointError(ArithmeticError):
    """The corrector found no critical point where one was expected."""


def full_rank(orbit: Orbit) -> Point:
    """The point of an orbit in the dimension of its rank, 0 for the origin."""
    W, H, b = orbit.point.to_numpy()
    return Point(W[:, : orbit.rank], H[: orbit.rank], b)


def hermite(one: Station, other: Station, share: float) -> tuple[Array, Array]:
    """The cubic through two stations and its derivative, at a share of the way."""
    t, length = share, float(np.linalg.norm(other.y - one.y))
    start, end = length * one.tangent, length * other.tangent
    value = (1 + 2 * t) * (1 - t) ** 2 * one.y + t**2 * (3 - 2 * t) * other.y
    value = value + t * (1 - t) ** 2 * start - t**2 * (1 - t) * end
    slope = 6 * t * (1 - t) * (other.y - one.y)
    slope = slope + (1 - t) * (1 - 3 * t) * start + t * (3 * t - 2) * end
    return value, slope
