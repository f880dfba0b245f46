"""Verdicts of many critical points at once, by one Cholesky factorisation each.

At a critical point with the rotations W -> W R, H -> R^T H the Hessian has a null space that a
factorisation cannot tell from rounding. Adding tau P, P the projection-like form that sees the
classifier's part of a rotation, removes exactly that space: for H >= 0,

    (H + tau P) x = 0  <=>  H x = 0 and P x = 0,

and a rotation with P x = 0 is zero (W and Hbar share their row space). So H + tau P > delta proves
index 0, a null space that is the symmetry orbit and nothing else, and a gap of delta at least. The
feature blocks are eliminated first (A-4), which leaves a matrix of order K min(d, K).
The size of the gap comes from Lanczos steps on the inverse. What fails is left to
``landscape.curvature.count``, point by point. Derived here.
"""

from __future__ import annotations

from functools import partial
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp

from ufm.kept import kept
from ufm.plain.reduce import RANK_TOLERANCE, SMALLEST_LOGIT
from ufm.tolerance import ROUNDING_FACTOR, SEPARATION

# Steps of Lanczos on the inverse: a Hessian at a symmetric point has about ten distinct
# eigenvalues, and the smallest leads by a wide margin in the inverse.
LANCZOS_STEPS = 12
# Where that leaves any residual (points without symmetry), the steps are begun again and go on for
# longer: a small one says that an eigenvalue was found, not that it is the smallest.
LONGER = 40
# A next vector this small, relative to the image it is left of, is what rounding and the residual
# gradient make of zero: the Krylov space holds every eigenvalue already.
EXHAUSTED = 1e-7
EPSILON = float(jnp.finfo(jnp.float64).eps)


class Judged(NamedTuple):
    """Certificates of many points; every array has the leading axis of the models.

    Attributes:
        minimum: index 0 and flat only along rotations (and the bias shift) is proved; False
            proves nothing.
        gap: smallest positive eigenvalue of the merged problem in K dimensions at most; an upper
            bound of it that is exact up to ``error``.
        error: residual of the Lanczos pair behind ``gap``, relative to it.
        tolerance: what counted as zero (``ufm.tolerance.zero_tolerance``).
    """

    minimum: Any
    gap: Any
    error: Any
    tolerance: Any


@kept("together", "shift")
def judge_many(
    models: Any,
    points: Any,
    dimensions: Any,
    gradient_norms: Any,
    asked: Any,
    *,
    together: bool,
    shift: bool,
) -> Judged:
    """Prove that critical points are Morse-Bott minima, where a factorisation can.

    Args:
        models: a stack of merged UFMs in a common width.
        points: a stack of critical points of them, W (K, width); columns beyond a model's own
            dimension are zero.
        dimensions: the feature dimension of each model, (size,); larger than the width where the
            width is that of the start's row space.
        gradient_norms: at the points.
        asked: of which points a proof is wanted; the others are not looked at, and not proved.
        together: vectorise over points (for accelerators) instead of looping (faster on a CPU).
        shift: whether adding a constant to the bias changes nothing (lambda_b = 0 and a shift
            invariant loss).

    Returns:
        Judged.

    Example:
        >>> from ufm.stack import stack
        >>> from ufm import UFM, CrossEntropy
        >>> model = UFM(CrossEntropy(), 3, 2, lambda_W=0.1, lambda_H=0.1).merge().model
        >>> points = stack([model.minimiser().point, model.origin()])
        >>> two, models = jnp.array([2, 2]), stack([model, model])
        >>> told = judge_many(models, points, two, 0 * two, two > 0, together=True, shift=False)
        >>> told.minimum.tolist()
        [True, False]
    """
    judge = partial(_judge, shift=shift)
    parts = (models, points, dimensions, gradient_norms)
    if together:
        told: Judged = jax.vmap(judge)(*parts)
        return told._replace(minimum=told.minimum & asked)
    order, unknown = jnp.argsort(~asked), jnp.full(asked.shape, jnp.nan)

    def one(place: Any, told: Judged) -> Judged:
        i = order[place]
        found = judge(*jax.tree.map(lambda leaf: jnp.asarray(leaf)[i], parts))
        return jax.tree.map(lambda whole, part: whole.at[i].set(part), told, found)

    nothing = Judged(jnp.zeros(asked.shape, bool), unknown, unknown, unknown)
    proved: Judged = jax.lax.fori_loop(0, asked.sum(), one, nothing)
    return proved


def _judge(model: Any, point: Any, dimension: Any, gradient_norm: Any, shift: bool) -> Judged:
    """One point. Indices: classes i, j; columns k; dimensions a, c."""
    W, H, b = point.W, point.H, point.b
    K = W.shape[0]
    if W.shape[1] > K:
        basis = jnp.linalg.qr(W.T)[0]  # W and Hbar share their row space
        W, H = W @ basis, basis.T @ H
    R = W.shape[1]
    lw, lh = model.lambda_W, model.lambda_H
    counts = model.counts
    N, roots = counts.sum(), counts**0.5
    Z = W @ H / roots + (0.0 if b is None else b[:, None])
    V = jax.vmap(jax.grad(model.loss), in_axes=(1, 0), out_axes=1)(Z, model.labels)
    S = jax.vmap(jax.hessian(model.loss), in_axes=(1, 0))(Z, model.labels)
    G = V * roots / N
    h = H.T

    # Dimensions that the model does not have are lifted out of the way.
    curvature = jnp.max(jnp.trace(S, axis1=1, axis2=2))
    radius = (lw + lh) + curvature * (jnp.sum(H**2) + jnp.sum(W**2)) / N + jnp.linalg.norm(G)
    idle = jnp.where(jnp.arange(R) >= dimension, radius, 0.0)
    rounding = ROUNDING_FACTOR * max(2 * K * R, 10) * EPSILON * radius
    delta = SEPARATION * rounding

    SW = S @ W
    A = jnp.swapaxes(SW, 1, 2) @ W / N + jnp.diag(lh + idle - delta)
    lower = jnp.linalg.cholesky(A)
    half = jax.scipy.linalg.solve_triangular(
        lower, jnp.broadcast_to(jnp.eye(R), A.shape), lower=True
    )
    inverse = jnp.swapaxes(half, 1, 2) @ half
    SWA = SW @ inverse
    bent = S - SWA @ jnp.swapaxes(SW, 1, 2) / N
    outer = (h[:, :, None] * h[:, None, :]).reshape(K, R * R)
    main = (bent.reshape(K, K * K).T @ outer / N).reshape(K, K, R, R)
    pairs = (G.T[:, :, None] * G.T[:, None, :]).reshape(K, K * K)
    main -= (pairs.T @ inverse.reshape(K, R * R)).reshape(K, K, R, R)
    main = main.transpose(0, 2, 1, 3).reshape(K * R, K * R)
    mixed = SWA.reshape(K, K * R).T @ (h[:, None, :] * G.T[:, :, None]).reshape(K, K * R) / N
    mixed = mixed.reshape(K, R, K, R).transpose(0, 3, 2, 1).reshape(K * R, K * R)
    main -= mixed + mixed.T
    main += jnp.diag(jnp.tile(lw + idle - delta, K))

    # sum over a < c of the squares of the classifier's rotations: (W W^T) x I - W_ic W_ja.
    # At the origin nothing turns, and what rounding left of W must not hide a way down.
    squared = jnp.sum(W**2)
    strength = jnp.where(squared > SMALLEST_LOGIT * (lh / lw) ** 0.5, (lw + lh) * R / squared, 0.0)
    gram = jnp.einsum("ij,ac->iajc", W @ W.T, jnp.eye(R)) - jnp.einsum("ic,ja->iajc", W, W)
    main += strength * gram.reshape(K * R, K * R)
    if b is not None:
        side = jnp.einsum("k,kij,ka->iaj", roots, bent, h) / N
        side -= jnp.einsum("k,ik,kja->iaj", roots, G, SWA) / N
        corner = jnp.einsum("k,kij->ij", counts, bent) / N
        corner += (model.lambda_b - delta) * jnp.eye(K)
        if shift:
            corner += (lw + lh) / K * jnp.ones((K, K))
        side = side.reshape(K * R, K)
        main = jnp.block([[main, side], [side.T, corner]])
    factor = jnp.linalg.cholesky(main)
    positive = jnp.all(jnp.isfinite(lower)) & jnp.all(jnp.isfinite(factor))

    def solve(y: Any) -> Any:
        """(H + tau P - delta)^-1 y on (classifier, features by column, bias)."""
        top, below = y[: K * R].reshape(K, R), y[K * R : 2 * K * R].reshape(K, R)
        inner = jnp.einsum("kac,kc->ka", inverse, below)
        pushed = jnp.einsum("kic,kc->ki", SW, inner)
        top = (top - pushed.T @ h / N - G @ inner).ravel()
        if b is not None:
            top = jnp.concatenate([top, y[2 * K * R :] - pushed.T @ roots / N])
        x = jax.scipy.linalg.cho_solve((factor, True), top)
        step = x[: K * R].reshape(K, R)
        moved = jnp.einsum("ia,ka->ik", step, h)
        if b is not None:
            moved = moved + x[K * R :][:, None] * roots
        back = jnp.einsum("kia,ik->ka", SW, moved) / N + G.T @ step
        features = jnp.einsum("kac,kc->ka", inverse, below - back)
        return jnp.concatenate([x[: K * R], features.ravel(), x[K * R :]])

    gap, error = _smallest(solve, _orbit(W, h, b, shift), jnp.concatenate([idle, idle]), K, b)
    gap = gap + delta
    length = jnp.sqrt(jnp.sum(W**2) + jnp.sum(H**2) + (0.0 if b is None else jnp.sum(b**2)))
    residual = radius * gradient_norm / (gap * jnp.maximum(1.0, length))
    tolerance = jnp.maximum(rounding, residual)
    minimum = positive & (gap > SEPARATION * tolerance)
    return Judged(minimum, gap, error, tolerance)


def _orbit(W: Any, h: Any, b: Any, shift: bool) -> Any:
    """Removes the components along rotations, and along the bias shift, from a vector."""
    K, R = W.shape
    # In this basis W^T W is diagonal, and at a critical point h^T h too: rotations of different
    # planes are orthogonal, of squared length |w_a|^2 + |w_c|^2 + |h_a|^2 + |h_c|^2.
    values, turn = jnp.linalg.eigh(W.T @ W + h.T @ h)
    squares = values[:, None] + values[None, :]
    floor = RANK_TOLERANCE * jnp.maximum(values[-1], SMALLEST_LOGIT)
    squares = jnp.where(squares > floor, squares, jnp.inf)
    Wt, ht = W @ turn, h @ turn

    def project(y: Any) -> Any:
        top, below = y[: K * R].reshape(K, R) @ turn, y[K * R : 2 * K * R].reshape(K, R) @ turn
        along = Wt.T @ top + ht.T @ below
        along = (along - along.T) / squares
        top, below = (top - Wt @ along) @ turn.T, (below - ht @ along) @ turn.T
        bias = y[2 * K * R :]
        if shift and b is not None:
            bias = bias - bias.mean()
        return jnp.concatenate([top.ravel(), below.ravel(), bias])

    return project


def _smallest(solve: Any, project: Any, idle: Any, K: int, b: Any) -> tuple[Any, Any]:
    """Smallest eigenvalue off the orbit by Lanczos on the inverse, and its relative residual."""
    R = len(idle) // 2
    present = jnp.concatenate(
        [jnp.tile(idle[:R] == 0, 2 * K), jnp.ones(0 if b is None else K, bool)]
    )
    size = present.shape[0]
    # A start with every frequency and no symmetry of its own.
    start = jnp.cos(0.7 + 1.3 * jnp.arange(size) ** 1.5)

    def clean(y: Any) -> Any:
        return project(jnp.where(present, y, 0.0))

    def step(carry: Any, j: Any) -> Any:
        vectors, v = carry
        vectors = vectors.at[j].set(v)
        w = clean(solve(v))
        coefficients = vectors @ w
        w = w - coefficients @ vectors
        again = vectors @ w
        w = w - again @ vectors
        norm = jnp.linalg.norm(w)
        coefficients = coefficients + again
        exhausted = norm <= EXHAUSTED * jnp.abs(coefficients[j])
        # Cleaned again: dividing by a small norm enlarges what rounding left along the orbit.
        following = clean(jnp.where(exhausted, 0.0, w / jnp.where(exhausted, 1.0, norm)))
        return (vectors, following), (coefficients[j], jnp.where(exhausted, 0.0, norm))

    v = clean(start)
    v = v / jnp.linalg.norm(v)

    def after(count: int) -> tuple[Any, Any]:
        blank = jnp.zeros((count, size))
        (alpha, beta) = jax.lax.scan(step, (blank, v), jnp.arange(count))[1]
        T = jnp.diag(alpha) + jnp.diag(beta[:-1], 1) + jnp.diag(beta[:-1], -1)
        values, vectors = jnp.linalg.eigh(T)
        return 1 / values[-1], jnp.abs(beta[-1] * vectors[-1, -1]) / values[-1]

    found = after(LANCZOS_STEPS)
    # Not where nothing is proved: NaN compares as false.
    return jax.lax.cond(found[1] > 0, lambda: after(LONGER), lambda: found)
