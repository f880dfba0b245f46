"""Derivatives of a batch of points, in all variables or with the features eliminated.

For given (W, b) the feature of every class sits at a critical point of its own small problem

    L_k(W f + b) / N + lambda_H |f|^2 / 2,        A_k = W^T S_k W / N + lambda_H I,

which for a convex loss is its only one. What is left is a function of (W, b) alone: K r unknowns
instead of 2 K r, and K of them in rank one. Its Hessian is the Schur complement
H_xx - sum_k B_k (n_k A_k)^-1 B_k^T. All in NumPy, in step; only the loss at the columns is
compiled, once for all ranks.
Source: derived here (variable projection after Golub and Pereyra 1973).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import jax
import numpy as np
from numpy.typing import NDArray

from ufm.losses.columns import column_gradients, column_hessians
from ufm.plain.model import UFM
from ufm.point import Point
from ufm.typing import Array

# Searches that go in step. The loss is compiled for the columns of so many, and of FEW: two thirds
# of the calls are for the last ones of a batch, and the rest of their columns would be idle.
TOGETHER, FEW = 128, 16
# Steps of the search of one feature, from anywhere and from where a tangent leads.
FIRST, INNER = 12, 5
SMALLEST_DAMPING, LARGEST_DAMPING = 1e-30, 1e12
# An own gradient W^T G / N + lambda_H f this small is rounding of its terms, whose logits carry an
# error of eps |z| each; and one below the second bound that does not fall further is, too.
ROUNDING, STALLED = 4e-16, 1e-13
# After a step from where the gradient is g, features need own gradients no smaller than this part
# of |g|^2: the step leaves as much of g itself, and a path far from its end needs no more.
NEAR = 1e-2


@dataclass(frozen=True, eq=False)
class State:
    """A batch of points and the derivatives there.

    Attributes:
        W: (B, K, r); b: (B, K) or None; F: features of the classes, (B, K, r).
        value: objective, (B,).
        gradient: (B, P): of the reduced function P = K r (+ K), else 2 K r (+ K).
        hessian: (B, P, P).
        follow: derivative of eliminated features along (W, b), (B, K, r, P).
    """

    W: Array
    b: Array | None
    F: Array
    value: Array
    gradient: Array
    hessian: Array
    follow: Array

    def where(self, better: NDArray[np.bool_], new: State) -> State:
        """The new state where it is better."""

        def pick(one: Array, other: Array) -> Array:
            return np.where(better.reshape(-1, *[1] * (one.ndim - 1)), other, one)

        b = None if self.b is None or new.b is None else pick(self.b, new.b)
        rest = (pick(getattr(self, k), getattr(new, k)) for k in PARTS)
        return State(pick(self.W, new.W), b, *rest)

    def take(self, chosen: NDArray[np.intp]) -> State:
        """Some of the batch."""
        b = None if self.b is None else self.b[chosen]
        return State(self.W[chosen], b, *(getattr(self, k)[chosen] for k in PARTS))

    def put(self, chosen: NDArray[np.intp], part: State) -> None:
        """Some of the batch replaced, in place."""
        for name in ("W", *PARTS, *([] if self.b is None else ["b"])):
            getattr(self, name)[chosen] = getattr(part, name)


PARTS = ("F", "value", "gradient", "hessian", "follow")


@jax.jit
def _derivatives(loss: Any, Z: Any, labels: Any) -> tuple[Any, Any, Any]:
    """Values, gradients and Hessians of a loss at columns, by one program."""
    return (*column_gradients(loss, Z, labels), column_hessians(loss, Z, labels))


def _solved(matrices: Array, right: Array) -> Array:
    """The solutions of small linear systems."""
    try:
        return np.asarray(np.linalg.solve(matrices, right))
    except np.linalg.LinAlgError:  # a loss that is not convex, exactly at a fold of its own
        return np.asarray(np.linalg.pinv(matrices) @ right)


class Eliminated:
    """The function of (W, b) that a merged model leaves when its features are eliminated."""

    def __init__(self, model: UFM) -> None:
        self.model = model
        self.counts = np.asarray(model.counts, np.float64)
        self.total = float(self.counts.sum())
        self.lw, self.lh = float(model.lambda_W), float(model.lambda_H)

    def units(self, size: int) -> Array:
        """The gradient in the variables of the model, per unit of that in the coordinates, (P,)."""
        return np.ones(size)

    def state(self, starts: Point) -> State:
        """The state that a batch of points leads to, merged columns."""
        features = np.swapaxes(starts.H, 1, 2) / np.sqrt(self.counts)[:, None]
        b = None if starts.b is None else np.array(starts.b, np.float64)
        return self.at(np.array(starts.W, np.float64), b, features, FIRST)

    def points(self, state: State) -> Point:
        """The batch of points of a state, merged columns."""
        H = np.swapaxes(state.F * np.sqrt(self.counts)[:, None], 1, 2)
        return Point(state.W, H, state.b)

    def at(
        self, W: Array, b: Array | None, F: Array, steps: int = INNER, enough: Array | float = 0.0
    ) -> State:
        """The state whose features the own problems' Levenberg-Marquardt reaches from F.

        Args:
            W: classifiers, (B, K, r).
            b: biases, (B, K) or None.
            F: features to begin at, (B, K, r).
            steps: at most.
            enough: norms of own gradients that are small enough, (B,) or for all.
        """
        B, K, r = F.shape
        every = np.arange(B * K)
        now = [F.reshape(B * K, r).copy(), *self._own(W, b, F.reshape(B * K, r), every)]
        size, bound = np.linalg.norm(W, axis=(1, 2)), np.broadcast_to(enough, B)
        squared = np.sum(now[5] ** 2, axis=1)
        damping, going = squared.copy(), every
        for _ in range(steps):
            spread, longest = size[going // K], np.linalg.norm(now[0][going], axis=1)
            scale = (1 + spread * longest) * spread / self.total + self.lh * longest
            least = np.maximum(ROUNDING * scale, bound[going // K])
            open_ = (squared[going] > least**2) & (damping[going] < LARGEST_DAMPING)
            going, scale = going[open_], scale[open_]
            if not len(going):
                break
            slope, bent = now[5][going], now[6][going]
            damped = bent @ bent + damping[going][:, None, None] * np.eye(r)
            trial = now[0][going] - _solved(damped, bent @ slope[..., None])[..., 0]
            new = (trial, *self._own(W, b, trial, going))
            smaller = np.sum(new[5] ** 2, axis=1)
            better = smaller < squared[going]
            taken = going[better]
            for old, part in zip(now, new, strict=True):
                old[taken] = part[better]
            squared[taken] = smaller[better]
            lower = np.minimum(damping[going] / 10, squared[going])
            damping[going] = np.maximum(
                np.where(better, lower, 4 * damping[going]), SMALLEST_DAMPING
            )
            going = going[better | (squared[going] > (STALLED * scale) ** 2)]
        F, *parts, _, own_hessian = (x.reshape(B, K, *x.shape[1:]) for x in now)
        value, gradient, hessian, mixed = self._blocks(W, b, F, *parts)
        # n_k drops out of n_k/N B (n_k A)^-1 n_k/N B^T = (n_k/N) B (N A)^-1 B^T.
        follow = -_solved(own_hessian, np.swapaxes(mixed, 2, 3)) / self.total
        P, left = mixed.shape[2], mixed * (self.counts / self.total)[:, None, None]
        bent = np.swapaxes(left, 1, 2).reshape(B, P, K * r) @ follow.reshape(B, K * r, P)
        hessian = hessian + 0.5 * (bent + np.swapaxes(bent, 1, 2))
        return State(W, b, F, value, gradient, hessian, follow)

    def moved(self, state: State, step: Array) -> State:
        """The state a step in (W, b) away; features begin where their tangent leads."""
        B, K, r = state.W.shape
        W = state.W - step[:, : K * r].reshape(B, K, r)
        b = None if state.b is None else state.b - step[:, K * r :]
        F = state.F - np.einsum("zkcp,zp->zkc", state.follow, step)
        return self.at(W, b, F, enough=NEAR * np.sum(state.gradient**2, axis=1))

    def _own(
        self, W: Array, b: Array | None, features: Array, chosen: NDArray[np.intp]
    ) -> tuple[Array, ...]:
        """Loss, G, S, S W, own gradient (r,) and Hessian (r, r) of some columns of the batch.

        Args:
            W: classifiers of the whole batch, (B, K, r).
            b: its biases, (B, K) or None.
            features: of the columns, (m, r).
            chosen: their places among all B K columns, class after class for every point.
        """
        K, points = self.model.num_classes, chosen // self.model.num_classes
        W = W[points]
        Z = (W @ features[..., None])[..., 0]
        if b is not None:
            Z = Z + b[points]
        m = len(chosen)
        width = K * (FEW if m <= FEW * K else TOGETHER)
        columns, labels = np.zeros((K, width)), np.zeros(width, dtype=int)
        columns[:, :m], labels[:m] = Z.T, chosen % K
        L, G, S = map(np.asarray, _derivatives(self.model.loss, columns, labels))
        # Copies: JAX lends its arrays read-only.
        L, G, S = L[:m].copy(), np.ascontiguousarray(G.T[:m]), S[:m].copy()
        SW, turned = S @ W, np.swapaxes(W, 1, 2)
        slope = (turned @ G[..., None])[..., 0] / self.total + self.lh * features
        return L, G, S, SW, slope, turned @ SW / self.total + self.lh * np.eye(W.shape[2])

    def _blocks(
        self, W: Array, b: Array | None, F: Array, L: Array, G: Array, S: Array, SW: Array
    ) -> tuple[Array, Array, Array, Array]:
        """Value, gradient and Hessian in (W, b), and B_k (B, K, P, r) without n_k / N."""
        B, K, r = W.shape
        shares, size = self.counts / self.total, K * r
        decay = self.lw * np.sum(W**2, axis=(1, 2)) + self.lh * np.sum(F**2, axis=2) @ self.counts
        value = L @ shares + 0.5 * decay
        gradient = np.swapaxes(G, 1, 2) @ (shares[:, None] * F) + self.lw * W
        gradient = gradient.reshape(B, size)
        # sum_k n_k/N S_k (x) f_k f_k^T.
        squares = (shares[:, None, None] * F[..., None] * F[:, :, None, :]).reshape(B, K, r * r)
        hessian = np.swapaxes(S.reshape(B, K, K * K), 1, 2) @ squares
        hessian = np.swapaxes(hessian.reshape(B, K, K, r, r), 2, 3).reshape(B, size, size)
        hessian = hessian + self.lw * np.eye(size)
        mixed = SW[:, :, :, None, :] * F[:, :, None, :, None]
        mixed[:, :, :, range(r), range(r)] += G[..., None]
        mixed = mixed.reshape(B, K, size, r)
        if b is not None:
            lb = float(self.model.lambda_b)
            value = value + 0.5 * lb * np.sum(b**2, axis=1)
            gradient = np.concatenate([gradient, np.einsum("k,zki->zi", shares, G) + lb * b], 1)
            cross = np.einsum("k,zkij,zkc->zijc", shares, S, F).reshape(B, K, size)
            corner = np.einsum("k,zkij->zij", shares, S) + lb * np.eye(K)
            hessian = np.block([[hessian, np.swapaxes(cross, 1, 2)], [cross, corner]])
            mixed = np.concatenate([mixed, SW], axis=2)
        return value, gradient, hessian, mixed


class Whole(Eliminated):
    """All variables (W, b, H), in coordinates in which both decays are sigma, as in ``scales``."""

    def units(self, size: int) -> Array:
        """1 / ratio for W and ratio for H, where ratio = (lambda_H / lambda_W)^(1/4)."""
        bias = 0 if self.model.lambda_b is None else self.model.num_classes
        ratio, half = (self.lh / self.lw) ** 0.25, (size - bias) // 2
        return np.repeat([1 / ratio, 1.0, ratio], [half, bias, half])

    def at(
        self, W: Array, b: Array | None, F: Array, steps: int = 0, enough: Array | float = 0.0
    ) -> State:
        """The state at these features: none is eliminated."""
        (B, K, r), roots = F.shape, np.sqrt(self.counts)
        own = self._own(W, b, F.reshape(B * K, r), np.arange(B * K))
        *parts, own_gradient, own_hessian = (x.reshape(B, K, *x.shape[1:]) for x in own)
        value, gradient, hessian, mixed = self._blocks(W, b, F, *parts)
        diagonal = np.zeros((B, K, r, K, r))
        diagonal[:, range(K), :, range(K)] = np.swapaxes(own_hessian, 0, 1)
        cross = np.swapaxes(mixed * (roots / self.total)[:, None, None], 1, 2)
        cross = cross.reshape(B, gradient.shape[1], K * r)
        corner = diagonal.reshape(B, K * r, K * r)
        full = np.block([[hessian, cross], [np.swapaxes(cross, 1, 2), corner]])
        features = (roots[:, None] * own_gradient).reshape(B, K * r)
        gradient = np.concatenate([gradient, features], axis=1)
        unit = 1 / self.units(gradient.shape[1])
        full = full * unit[:, None] * unit
        return State(W, b, F, value, gradient * unit, full, np.empty((B, 0)))

    def moved(self, state: State, step: Array) -> State:
        """The state a step away."""
        (B, K, r), step = state.W.shape, step / self.units(step.shape[1])
        features = step[:, -K * r :].reshape(B, K, r) / np.sqrt(self.counts)[:, None]
        W = state.W - step[:, : K * r].reshape(B, K, r)
        b = None if state.b is None else state.b - step[:, K * r : -K * r]
        return self.at(W, b, state.F - features)
