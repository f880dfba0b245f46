"""Paths that leave critical points for others: straight down, or to a neighbouring index.

A point that no search from random starts meets, because its basin is tiny, is often the next one
along the softest direction of a point that they meet all the time: from a saddle of index k, fall
along its softest unstable direction and keep climbing along the k - 1 others.
Source: the downward and upward search of solution landscapes (Yin, Wang, Chen, Zhang and Zhang
2020, doi:10.1103/PhysRevLett.124.090601), with Newton's steps.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np
from numpy.typing import NDArray

from landscape.atlas.eliminated import TOGETHER, Eliminated
from landscape.atlas.engines import NULL_FRACTION, newton_step, pieces, unstacked
from ufm.eigen import eigh
from ufm.plain.model import UFM
from ufm.point import Point
from ufm.typing import Array

# Steps of a path, which ends with a search from where it has come to.
STEPS = 15
# How far from a point a path begins, and its longest step, relative to |W|.
ASIDE, LONGEST = 0.03, 0.15
# Eigenvalues below minus this fraction of the largest are unstable; a fold's own may be missed.
UNSTABLE = 1e-8


def below(model: UFM, saddles: Sequence[Point], rng: np.random.Generator) -> list[Point]:
    """Points far below saddles: leave each in an unstable direction, both ways, and fall.

    Steps are Newton's with |eigenvalues|, taken only where the reduced function falls. A search
    from here that ends outside a list shows that it is incomplete.

    Args:
        model: a merged UFM in the dimension of the stratum.
        saddles: points W (K, r), H (r, K), b.
        rng: random numbers, which mix the unstable directions.
    """

    def mixed(values: Array, vectors: Array) -> list[tuple[Array, int]]:
        unstable = vectors[:, values < 0]
        return [(unstable @ rng.normal(size=unstable.shape[1]), 0)] if unstable.size else []

    return _led(model, saddles, mixed)


def beside(model: UFM, points: Sequence[Point]) -> list[Point]:
    """Where paths from critical points to an index one lower and one higher have come to.

    They begin along the softest unstable and the softest stable direction, both ways, and climb
    along as many of the lowest eigenvectors as the index asks for. From index one down it is a
    descent: see ``below``.

    Args:
        model: a merged UFM in the dimension of the stratum.
        points: critical points W (K, r), H (r, K), b.
    """

    def softest(values: Array, vectors: Array) -> list[tuple[Array, int]]:
        down, up = np.flatnonzero(values < 0), np.flatnonzero(values > 0)
        chosen = [(down[-1], len(down) - 1)] if len(down) > 1 else []
        chosen += [(up[0], len(down) + 1)] if len(up) else []
        return [(vectors[:, i], index) for i, index in chosen]

    return _led(model, points, softest)


def _led(
    model: UFM, points: Sequence[Point], choose: Callable[[Array, Array], list[tuple[Array, int]]]
) -> list[Point]:
    """The ends of the paths that a rule chooses at points, in both directions.

    The rule is given the eigenvalues of a point, zeros set to zero, and eigenvectors in columns;
    it returns directions and the index to go for.
    """
    problem = Eliminated(model)
    starts, indices = list[Point](), list[int]()
    for part in pieces(points):
        hessians = _without_shift(model, problem.state(part).hessian)
        for point, hessian in zip(unstacked(part), hessians, strict=True):
            values, vectors = eigh(hessian)
            values = np.where(np.abs(values) > UNSTABLE * np.abs(values).max(), values, 0.0)
            for move, index in choose(values, vectors):
                starts += [_aside(point, sign * move) for sign in (-1.0, 1.0)]
                indices += [index, index]
    ends = list[Point]()
    for i, part in enumerate(pieces(starts)):
        ends += unstacked(_walked(problem, part, np.array(indices[i * TOGETHER :][:TOGETHER])))
    return ends


def _aside(point: Point, move: Array) -> Point:
    """A point a little off a critical one."""
    move = move * (ASIDE * float(np.linalg.norm(point.W)) / float(np.linalg.norm(move)))
    W, b = move[: point.W.size].reshape(point.W.shape), move[point.W.size :]
    return point._replace(W=point.W + W, b=None if point.b is None else point.b + b)


def _walked(problem: Eliminated, starts: Point, indices: NDArray[np.int64]) -> Point:
    """Where a batch ends that climbs along so many lowest eigenvectors and falls along others.

    Where nothing is to be climbed, a step that does not fall is not taken.
    """
    with np.errstate(all="ignore"):
        state = problem.state(starts)
        damping = np.zeros(len(indices))
        for _ in range(STEPS):
            values, vectors = eigh(_without_shift(problem.model, state.hessian))
            size = np.abs(values) + damping[:, None]
            kept = size > NULL_FRACTION * size.max(axis=1, keepdims=True)
            weights = np.where(kept, 1 / np.maximum(size, 1e-300), 0.0)
            climbed = np.arange(values.shape[1]) < indices[:, None]
            step = newton_step(vectors, np.where(climbed, -weights, weights), state.gradient)
            far = LONGEST * np.linalg.norm(state.W, axis=(1, 2))
            step *= np.minimum(1.0, far / np.linalg.norm(step, axis=1))[:, None]
            new = problem.moved(state, step)
            better = (new.value < state.value) | (indices > 0)
            better &= np.isfinite(new.hessian).all(axis=(1, 2))
            state = state.where(better, new)
            raised = np.maximum(4 * damping, 1e-3 * np.abs(values).max(axis=1))
            damping = np.where(better, damping / 10, raised)
    return problem.points(state)


def _without_shift(model: UFM, hessians: Array) -> Array:
    """Hessians in which a common shift of the rows of W is stiff, not the softest of all.

    Where the loss does not see it, nothing but the decay of W depends on it, and a path that
    climbs there comes nowhere.
    """
    K, r = model.num_classes, model.d
    if not model.loss.properties(K).shift_invariant:
        return hessians
    lift = np.zeros(hessians.shape[1:])
    lift[: K * r, : K * r] = np.kron(np.full((K, K), 1.0 / K), np.eye(r))
    norms = np.linalg.norm(hessians, axis=(1, 2), keepdims=True)
    return np.asarray(hessians + norms * lift)
