"""Asymptotic rates of NC1, NC2 and NC3 under gradient descent, from the Hessian at its end.

Near a nondegenerate minimum x_t = sum_i v_i a_i rho_i^t + sum_ij y_ij a_i a_j (rho_i rho_j)^t + ...
with rho_i = 1 - step lambda_i. A metric that is the norm of a smooth M(x), M = 0 at the end, falls
like the largest product whose coefficient in M(x_t) does not vanish:

    DM v_i                              for rho_i           (v_i is *sensitive*)
    DM y_ij + D^2 M [v_i, v_j] / 2      for rho_i rho_j

where y solves (H - mu) y = -D^3 f [v_i, v_j] / 2, step mu = 1 - rho_i rho_j, which comes from
putting the second order into x_{t+1} = x_t - step (H x + D^3 f [x, x] / 2). So a metric blind to
the slowest mode may still fall at twice its rate. Differences within a class do not enter M, but
they drive x in the same way, with the force -D_x <e, A_k(x) e> / 2.

NC1 is quadratic in the differences within a class, whose evolution is linear in them to lowest
order and which generic starts have in every direction: it falls like the square of the slowest
eigenvalue of A_k = W^T S_k W / N + lambda_H over all classes with two samples or more, those
outside the row space of W (lambda_H) included. Source: derived here; spectrum after section 7 of
docs/theory.md.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from itertools import combinations_with_replacement
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax.flatten_util import ravel_pytree
from numpy.typing import NDArray

from landscape.flows.gradient_descent import frames
from landscape.solvers.newton import across
from ufm.eigen import eigh
from ufm.point import Point, as_rows
from ufm.typing import Array

# Eigenvalues this close, relative to the largest, are one: then eigenvectors of different groups
# are known to 1e-15 / 1e-6 = 1e-9.
SAME = 1e-6
# Derivatives of M along unit vectors are O(1 / |x|), or zero up to the accuracy of the vectors.
SENSITIVE = 1e-5


@dataclass(frozen=True)
class Modes:
    """The spectrum of the collapsed problem at a minimum, and what moves the metrics.

    Attributes:
        values: distinct eigenvalues across the orbit of the symmetry, ascending.
        sensitive: whether NC2, and NC3, sees each of them to first order, (modes, 2).
        within: eigenvalues of A_k over the classes with two samples or more, outside included.
        largest: largest eigenvalue of the whole problem.
    """

    values: Array
    sensitive: NDArray[np.bool_]
    within: Array
    largest: float


@dataclass(frozen=True)
class Rates:
    """Predicted rates per unit time; NaN where none is known or nothing falls.

    Attributes:
        nc1, nc2, nc3: the rates.
        order: orders (1 or 2) at which NC2 and NC3 see what they fall with.
    """

    nc1: float
    nc2: float
    nc3: float
    order: tuple[int, int]


@jax.jit
def _derivatives(model: Any, point: Any) -> tuple[Any, Any, Any]:
    """Hessian, the derivative of both frames, and logit-space within-class blocks."""
    flat, unravel = ravel_pytree(point)
    hessian = jax.hessian(lambda x: model.objective(unravel(x)))(flat)
    moved = jax.jacfwd(lambda x: _frames(model, unravel(x)))(flat)
    return hessian, moved, _within(model, point)


def _frames(model: Any, point: Any) -> Any:
    """Both frames as rows, (2, K^2)."""
    means = point.H / model.counts**0.5
    return jnp.stack([frame.ravel() for frame in frames(point.W, means, model.counts)])


def _within(model: Any, point: Any) -> Any:
    """A_k of every class, (K, d, d)."""
    S = jax.vmap(jax.hessian(model.loss), in_axes=(1, 0))(model.column_logits(point), model.labels)
    inner = jnp.einsum("ia,kij,jb->kab", point.W, S, point.W) / model.counts.sum()
    return inner + model.lambda_H * jnp.eye(point.W.shape[1])


@jax.jit
def _second(model: Any, point: Any, u: Any, v: Any) -> tuple[Any, Any]:
    """D^3 f [u, v] and D^2 M [u, v]."""
    flat, unravel = ravel_pytree(point)

    def twice(function: Any) -> Any:
        def once(x: Any) -> Any:
            return jax.jvp(function, (x,), (u,))[1]

        return jax.jvp(once, (flat,), (v,))[1]

    slope = jax.grad(lambda x: model.objective(unravel(x)))
    return twice(slope), twice(lambda x: _frames(model, unravel(x)))


@jax.jit
def _force(model: Any, point: Any, k: Any, e: Any) -> Any:
    """D_x <e, A_k(x) e>, the force of a difference within class k."""
    flat, unravel = ravel_pytree(point)
    return jax.grad(lambda x: e @ _within(model, unravel(x))[k] @ e)(flat)


class Linearised:
    """The linearisation of gradient descent at a minimum of a merged UFM.

    Args:
        model: a merged UFM with idle dimensions beyond rank + 1 cut off, which repeat the first.
        point: its minimum, polished.
    """

    def __init__(self, model: Any, point: Point) -> None:
        self.model, self.point = model, point
        hessian, moved, blocks = _derivatives(model, point)
        self.hessian, self.moved, self.blocks = (np.asarray(x) for x in (hessian, moved, blocks))
        Q = across(as_rows(model.generators(point)))
        self.values, inner = eigh(Q.T @ self.hessian @ Q)
        self.vectors = Q @ inner
        self.radius = float(np.abs(self.values).max())
        self.length = float(np.linalg.norm(ravel_pytree(point)[0]))
        self.groups = self._groups()

    def _groups(self) -> list[NDArray[np.int64]]:
        """Indices of equal eigenvalues, ascending."""
        cuts = np.flatnonzero(np.diff(self.values) > SAME * self.radius) + 1
        return [part for part in np.split(np.arange(len(self.values)), cuts) if len(part)]

    def modes(self) -> Modes:
        """Distinct eigenvalues and first-order sensitivities."""
        along = self.moved @ self.vectors  # (2, K^2, P)
        seen = np.linalg.norm(along, axis=1) * self.length > SENSITIVE
        counts = np.asarray(self.model.counts)
        inner = np.linalg.eigvalsh(self.blocks[counts > 1]).ravel()
        largest = max(float(self.values[-1]), float(inner.max(initial=0.0)))
        values = np.array([self.values[group].mean() for group in self.groups])
        sensitive = np.array([seen[:, group].any(axis=1) for group in self.groups])
        return Modes(values, sensitive.reshape(-1, 2), np.asarray(inner), largest)

    def rates(self, step: float) -> Rates:
        """The rates under gradient descent with a step; NaN where third orders could decide."""
        modes = self.modes()
        slowest = modes.within.min(initial=np.inf)
        nc1 = 2 * rate(slowest, step) if np.isfinite(slowest) else np.nan
        told = [self._rate(modes, which, step) for which in (0, 1)]
        return Rates(nc1, told[0][0], told[1][0], (told[0][1], told[1][1]))

    def _rate(self, modes: Modes, which: int, step: float) -> tuple[float, int]:
        """(rate, order) of NC2 or NC3."""
        seen = modes.values[modes.sensitive[:, which]]
        first = rate(float(seen.min()), step) if len(seen) else np.inf
        blind = np.flatnonzero(~modes.sensitive[:, which])
        candidates = []
        for i, j in combinations_with_replacement(blind, 2):
            sum_of_both = rate(modes.values[i], step) + rate(modes.values[j], step)
            if sum_of_both < first:
                candidates.append((sum_of_both, ("modes", int(i), int(j))))
        for k, e, value in self._differences(step, first):
            candidates.append((2 * rate(value, step), ("within", k, e)))  # type: ignore[arg-type]
        result = (first, 1)
        for found, source in sorted(candidates, key=lambda pair: pair[0]):
            if self._drives(source, found, which, step):
                result = (found, 2)
                break
        # Third orders are not looked at: where they could be slower still, nothing is said.
        slow = [rate(self._effective(self.groups[i]), step) for i in blind]
        slow += [rate(value, step) for value in self._inner()]
        known = np.isfinite(result[0]) and result[0] <= 3 * min(slow, default=np.inf)
        return result if known else (np.nan, result[1])

    def _effective(self, group: NDArray[np.int64]) -> float:
        """A lower bound of what a mode adds, by factor, to the rate of a product that moves W H."""
        return self._outside if self._idle(group) else float(self.values[group].mean())

    def _idle(self, group: NDArray[np.int64]) -> bool:
        """Whether the modes of a group move features outside the row space of W, nothing else."""
        size, d = self.point.W.size, self.point.W.shape[1]
        vectors = self.vectors[:, group]
        end = size + self.point.H.size
        inside = self.point.W @ vectors[size:end].reshape(d, -1)
        rest = np.concatenate([vectors[:size], vectors[end:]])
        return bool(np.linalg.norm(inside) + np.linalg.norm(rest) < SENSITIVE)

    @cached_property
    def _outside(self) -> float:
        """The bound for features outside the row space, of rate lambda_H.

        They enter the logits only with a factor of W outside, of some rate w (those of rate zero
        are moves along the orbit): (lambda_H + w) / 2 for each of the two.
        """
        K, d = self.point.W.shape
        _, sizes, Vt = np.linalg.svd(self.point.W, full_matrices=True)
        out = Vt[int(np.sum(sizes > SENSITIVE * sizes[0])) :]
        moves = self.vectors[: K * d].T.reshape(-1, K, d) @ out.T
        here = np.linalg.norm(moves, axis=(1, 2)) > SENSITIVE
        slowest = float(self.values[here].min(initial=np.inf))
        return 0.5 * (float(self.model.lambda_H) + slowest)

    def _inner(self) -> list[float]:
        """The same bound for differences within the classes."""
        found = []
        for k in np.flatnonzero(np.asarray(self.model.counts) > 1):
            values, vectors = eigh(self.blocks[k])
            seen = np.linalg.norm(self.point.W @ vectors, axis=0)
            found += [float(x) for x in np.where(seen < SENSITIVE, self._outside, values)]
        return found

    def _differences(self, step: float, first: float) -> list[tuple[int, Array, float]]:
        """Differences within classes that are slow enough to matter: (class, direction, value)."""
        found = []
        for k in np.flatnonzero(np.asarray(self.model.counts) > 1):
            values, vectors = eigh(self.blocks[k])
            for value, e in zip(values, vectors.T, strict=True):
                if 2 * rate(float(value), step) < first:
                    found.append((int(k), e, float(value)))
        return found

    def _drives(self, source: Any, found: float, which: int, step: float) -> bool:
        """Whether the second-order term of two modes, or of a difference, moves a metric."""
        kind, one, other = source
        mu = (1 - np.exp(-step * found)) / step
        if kind == "within":
            force = np.asarray(_force(self.model, self.point, one, other))
            direct = np.zeros(self.moved.shape[1])
        else:
            # Generic members of both eigenspaces: the same for the same sizes, so deterministic.
            rng = np.random.default_rng(0)
            u, v = (
                self.vectors[:, group] @ rng.standard_normal(len(group))
                for group in (self.groups[one], self.groups[other])
            )
            force, curved = (np.asarray(x) for x in _second(self.model, self.point, u, v))
            direct = curved[which]
        distance = self.values - mu
        # At a resonance the term has a factor t; its rate is mu all the same.
        inverse = np.where(
            np.abs(distance) > SAME * self.radius, 1 / np.where(distance == 0, 1.0, distance), 0.0
        )
        driven = -self.vectors @ (inverse * (self.vectors.T @ force))
        size = np.linalg.norm(self.moved[which] @ driven + direct) * self.length**2
        return bool(size > SENSITIVE)


def rate(value: float, step: float) -> float:
    """Rate per unit time of a mode under gradient descent: -log |1 - step lambda| / step.

    Example:
        >>> round(rate(0.5, 1e-9), 6), rate(1.0, 1.0)
        (0.5, inf)
    """
    factor = abs(1 - step * value)
    return float(-np.log(factor) / step) if factor > 0 else np.inf
