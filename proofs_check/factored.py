"""Descent on classifier and features with gradients by hand: no model, no program to compile."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray
from scipy.optimize import minimize

from ufm.point import Point

Array = NDArray[np.float64]
# Logits (rows, N) -> mean loss and its gradient.
LogitLoss = Callable[[Array], tuple[float, Array]]


def descended(
    loss: LogitLoss, shape: tuple[int, int, int], decays: tuple[float, float], seed: int
) -> tuple[float, Point]:
    """L-BFGS on loss(W H) + (lambda_W/2) |W|^2 + (lambda_H/2) |H|^2 from a random start.

    Args:
        loss: of all logits.
        shape: rows of W, d, columns of H.
        decays: lambda_W, lambda_H.
        seed: of the start.

    Example:
        >>> value, point = descended(lambda Z: (((Z - 1) ** 2).sum() / 2, Z - 1), (1, 1, 1),
        ...                          (0.2, 0.2), 0)
        >>> round(value, 9)  # logit 1 - 0.2: (0.2)^2 / 2 + 0.2 * 0.8
        0.18
    """
    rows, d, columns = shape
    cut = rows * d

    def split(x: Array) -> tuple[Array, Array]:
        return x[:cut].reshape(rows, d), x[cut:].reshape(d, columns)

    def both(x: Array) -> tuple[float, Array]:
        W, H = split(x)
        value, G = loss(W @ H)
        value += decays[0] / 2 * np.sum(W**2) + decays[1] / 2 * np.sum(H**2)
        slopes = (G @ H.T + decays[0] * W, W.T @ G + decays[1] * H)
        return float(value), np.concatenate([s.ravel() for s in slopes])

    start = np.random.default_rng((29, seed)).normal(size=cut + d * columns)
    options = {"maxiter": 20_000, "maxfun": 40_000, "ftol": 1e-17, "gtol": 1e-12}
    run = minimize(both, start, jac=True, method="L-BFGS-B", options=options)
    return float(run.fun), Point(*split(run.x))


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
