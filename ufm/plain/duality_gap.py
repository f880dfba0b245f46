"""The duality gap: a bound on objective - global minimum, at any point, or why there is none."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import scipy

from ufm.answers import Certificate
from ufm.losses.columns import column_gradients, column_hessians, column_losses
from ufm.losses.dual import spectral_norm
from ufm.point import Point
from ufm.precision import require_x64
from ufm.typing import Array

if TYPE_CHECKING:
    from ufm.plain.model import UFM

# Logit Hessians of so many classes are held at once: half a GiB at K = 1000.
AT_ONCE = 64


def certificate(model: UFM, point: Point) -> Certificate:
    """The duality gap of an unconstrained feature model at any point.

    f* >= D(v) = - sum_k pi_k L_k^*(v_k) - |sum_k pi_k v_k|^2 / (2 lambda_b)
    for every v with |Y(v)|_2 <= sigma, Y = [pi_k^(1/2) N^(-1/2) v_k] (merged columns); without
    bias the last term drops, and lambda_b = 0 asks for sum_k pi_k v_k = 0 besides.
    Source: derived here (docs/theory.md, section C); equality at global minimisers is Zhu et al.
    2021. A user's convex loss has no conjugate: Fenchel's equality at v = grad L and L >= 0 give
    -L^*(t v) >= t (L(z) - <v, z>), tight as t -> 1.

    The bound is valid for any d, counts and bias; it is tight when d >= rank of the nuclear-norm
    optimum (K - 1 for shift-invariant losses or lambda_b = 0, else K). It is first order in the
    distance to the minimiser: polish a point before reading it. Values down to -1e-15 are rounding.

    Args:
        model: a UFM, merged or not.
        point: W (K, d), H (d, columns), b; features are averaged within classes.

    Returns:
        A Certificate; ``applies`` is False for non-convex losses.

    Example:
        >>> from ufm import UFM, CrossEntropy
        >>> model = UFM(CrossEntropy(), 3, 2, lambda_W=0.1, lambda_H=0.1)
        >>> model.certificate(model.minimiser().point).gap < 1e-12
        True
    """
    require_x64()
    K = model.num_classes
    properties = model.loss.properties(K)
    if not properties.convex:
        return Certificate.does_not_apply(
            f"{model.loss.name} is not convex in the logits ({properties.convex.evidence})"
        )
    if not bool(properties.nonnegative) and model.loss.dual is None:
        return Certificate.does_not_apply("no conjugate is known and the loss goes below zero")
    merged, columns_averaged = model.as_merged(point)
    full = point.H.shape[1] == model.num_columns
    given, at = model if full else merged, point.to_numpy()
    losses = np.asarray(column_losses(given.loss, given.column_logits(at), given.labels))
    value = float(given.objective_of_losses(at, losses))
    point = columns_averaged.to_numpy()
    counts = np.asarray(merged.counts)
    pi, N = counts / counts.sum(), float(counts.sum())
    columns = np.sqrt(counts) / N
    Z = point.W @ point.H / np.sqrt(counts)
    bias = _best_bias(merged, Z, point.b)
    Z = Z + bias[:, None]
    losses, V = (np.asarray(x) for x in column_gradients(merged.loss, Z, np.arange(K)))
    dual = merged.loss.dual
    lambda_b = None if merged.lambda_b is None else float(merged.lambda_b)
    norm = spectral_norm(V * columns)
    ratio = norm / merged.sigma
    if dual is None:
        return _fenchel_bound(value, losses, V, Z, pi, ratio, lambda_b, properties.convex.evidence)
    if lambda_b == 0:
        V = dual.recentre(V, pi)
        norm = spectral_norm(V * columns)
    V = dual.shrink(V, columns, merged.sigma, norm)
    if lambda_b == 0 and np.max(np.abs(V @ pi)) > 1e-12:
        V = dual.recentre(V, pi)
    bound = -float(pi @ dual.conjugate(V))
    if lambda_b:
        bound -= float(np.sum((V @ pi) ** 2)) / (2 * lambda_b)
    convex = properties.convex
    return Certificate(True, value - bound, bound, ratio, f"dual bound, {convex}", convex.evidence)


def _best_bias(model: UFM, Z: Array, b: Array | None) -> Array:
    """The bias that minimises the objective at fixed W H: without it small lambda_b ruins D."""
    if b is None:
        return np.zeros(model.num_classes)
    pi = np.asarray(model.counts) / float(model.num_samples)
    labels, decay = np.arange(model.num_classes), float(model.lambda_b)

    def problem(x: Array) -> tuple[float, Array]:
        losses, V = (np.asarray(y) for y in column_gradients(model.loss, Z + x[:, None], labels))
        return float(pi @ losses + 0.5 * decay * x @ x), V @ pi + decay * x

    if np.linalg.norm(problem(b)[1]) <= 1e-13:
        return b
    found = scipy.optimize.minimize(problem, b, jac=True, method="BFGS", options={"gtol": 1e-10}).x
    for _ in range(4):  # Newton to rounding; least squares ignores the shift direction
        hessian = decay * np.eye(len(b))
        for some in np.array_split(labels, -(-len(labels) // AT_ONCE)):
            S = np.asarray(column_hessians(model.loss, Z[:, some] + found[:, None], some))
            hessian += np.einsum("k,kij->ij", pi[some], S)
        found = found - np.linalg.lstsq(hessian, problem(found)[1], rcond=1e-12)[0]
    return np.asarray(found)


def _fenchel_bound(
    value: float,
    losses: Array,
    V: Array,
    Z: Array,
    pi: Array,
    ratio: float,
    lambda_b: float | None,
    evidence: str,
) -> Certificate:
    """Bound from gradients alone: D(t v) >= t sum_k pi_k (L_k - <v_k, z_k>) for 0 <= t <= 1."""
    mean = V @ pi
    if lambda_b == 0:
        return Certificate.does_not_apply(
            "no conjugate is known for this loss, and an unregularised bias needs one"
        )
    t = min(1.0, 1.0 / ratio) if ratio > 0 else 1.0
    bound = t * float(pi @ (losses - np.sum(V * Z, axis=0)))
    if lambda_b:
        bound -= t**2 * float(mean @ mean) / (2 * lambda_b)
    reason = f"Fenchel bound from gradients; convexity {evidence}, L >= 0"
    return Certificate(True, value - bound, bound, ratio, reason, evidence)
