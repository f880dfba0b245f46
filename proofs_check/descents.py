"""Descents with gradients by hand: no model, no program to compile."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Sequence
from typing import Any

import numpy as np
from scipy.optimize import minimize

from proofs_check.specimens import NEAR
from ufm.point import Point
from ufm.typing import Array

# Logits (rows, N) -> mean loss and its gradient.
LogitLoss = Callable[[Array], tuple[float, Array]]


def minimised(
    both: Callable[..., tuple[float, Sequence[Array]]], start: Sequence[Array], **options: float
) -> tuple[float, list[Array]]:
    """L-BFGS on several arrays: the least value, and the arrays that have it.

    Args:
        both: of the arrays; its value, and its slope in each of them.
        start: where to begin.
        options: of SciPy's L-BFGS-B.

    Example:
        >>> value, (x, y) = minimised(lambda x, y: (float(x @ x + y**2), (2 * x, 2 * y)),
        ...                           (np.ones(2), np.array(3.0)))
        >>> round(value, 9), x.shape, y.shape
        (0.0, (2,), ())
    """
    cuts = np.cumsum([x.size for x in start])[:-1]

    def split(flat: Array) -> list[Array]:
        parts = zip(np.split(flat, cuts), start, strict=True)
        return [part.reshape(like.shape) for part, like in parts]

    def on_flat(flat: Array) -> tuple[float, Array]:
        value, slopes = both(*split(flat))
        return float(value), np.concatenate([np.ravel(slope) for slope in slopes])

    flat = np.concatenate([x.ravel() for x in start])
    run = minimize(on_flat, flat, jac=True, method="L-BFGS-B", options=options)
    return float(run.fun), split(run.x)


def lowest(
    both: Callable[..., tuple[float, Array]], given: Any, starts: Iterable[Array], **options: float
) -> Array:
    """The lowest end of L-BFGS on one array from several starts.

    Args:
        both: of the array (P,) and what is given: its value and its slope.
        given: the model.
        starts: where to begin, (P,) each.
        options: of SciPy's L-BFGS-B.
    """
    runs = [minimize(both, x, (given,), "L-BFGS-B", True, options=options) for x in starts]
    return np.asarray(min(runs, key=lambda run: float(run.fun)).x)


def descended(
    loss: LogitLoss,
    shape: tuple[int, int, int],
    decays: tuple[float, float],
    seed: int,
    lambda_b: float | None = None,
) -> tuple[float, Point]:
    """L-BFGS on loss(W H + b) and the decays of W, H and b, from a random start.

    Args:
        loss: of all logits.
        shape: rows of W, d, columns of H.
        decays: lambda_W, lambda_H.
        seed: of the start.
        lambda_b: of the bias; None for no bias.

    Example:
        >>> value, point = descended(lambda Z: (((Z - 1) ** 2).sum() / 2, Z - 1), (1, 1, 1),
        ...                          (0.2, 0.2), 0)
        >>> round(value, 9)  # logit 1 - 0.2: (0.2)^2 / 2 + 0.2 * 0.8
        0.18
    """
    rows, d, columns = shape

    def both(W: Array, H: Array, b: Array | None = None) -> tuple[float, list[Array]]:
        value, G = loss(W @ H if b is None else W @ H + b[:, None])
        value += decays[0] / 2 * np.sum(W**2) + decays[1] / 2 * np.sum(H**2)
        slopes = [G @ H.T + decays[0] * W, W.T @ G + decays[1] * H]
        if b is not None and lambda_b is not None:
            value += lambda_b / 2 * float(b @ b)
            slopes.append(G.sum(axis=1) + lambda_b * b)
        return value, slopes

    rng = np.random.default_rng((29, seed))
    shapes: list[tuple[int, ...]] = [(rows, d), (d, columns), (rows,)]
    start = [rng.normal(size=one) for one in shapes[: 2 if lambda_b is None else 3]]
    # Until nothing falls any more; next to thresholds the curvature is small.
    options = {"maxiter": 20_000, "maxfun": 40_000, "ftol": 0, "gtol": 1e-12, "maxcor": 40}
    value, parts = minimised(both, start, **options)
    return value, Point(*parts)


def beside(decays: tuple[float, float], threshold: float) -> list[tuple[float, float]]:
    """Decays of the same ratio with sigma just below a threshold, and above.

    Example:
        >>> [round(a * b, 6) for a, b in beside((0.1, 0.4), 1.0)]
        [0.998201, 1.001801]
    """
    scale = threshold / math.sqrt(decays[0] * decays[1])
    return [(x * scale * decays[0], x * scale * decays[1]) for x in (1 - NEAR, 1 + NEAR)]


def entropy_against(targets: Array, classes: tuple[int, ...] | None = None) -> LogitLoss:
    """Cross entropy against columns of targets, in blocks of rows.

    sum_b (m_b logsumexp(z_b) - y_b . z_b) / N, m_b the mass of the targets in a block.

    Example:
        >>> value, slope = entropy_against(np.array([[1.0], [0.0]]))(np.zeros((2, 1)))
        >>> round(value, 6), slope.ravel().tolist()
        (0.693147, [-0.5, 0.5])
    """
    N = targets.shape[1]
    cuts = np.cumsum(classes or (len(targets),))[:-1]

    def loss(Z: Array) -> tuple[float, Array]:
        value, slopes = 0.0, []
        for z, y in zip(np.split(Z, cuts), np.split(targets, cuts), strict=True):
            mass, top = y.sum(axis=0), z.max(axis=0)
            risen = np.exp(z - top)
            whole = risen.sum(axis=0)
            value += float(np.sum(mass * (np.log(whole) + top) - np.sum(y * z, axis=0)))
            slopes.append(mass * risen / whole - y)
        return value / N, np.concatenate(slopes) / N

    return loss
