"""Features of low rank that ReLUs decode: in a plane, on edges of graphs and on polygons."""

from __future__ import annotations

import math
from itertools import combinations

import numpy as np
import scipy

from ufm.typing import Array

# The middle feature (t, t) of three classes in a plane at which the product of norms is least.
PLANE = 0.9034844911


def low_rank_codes(K: int) -> dict[str, tuple[Array, Array, Array]]:
    """Features of low rank and the layers that decode them, outer relu(inner relu(features)) = I.

    Three classes in a plane; classes as edges of a cycle of four or of a complete graph: features
    e_i + e_j, inner rows e_i + e_j - 1/2; five or more as corners of a polygon.
    Source: the plane is derived here, edges after Sukenik et al. 2024 (DR-3).

    Example:
        >>> X, A, B = low_rank_codes(6)["edges"]
        >>> X.shape, bool(np.array_equal(B @ np.maximum(A @ X, 0), np.eye(6)))
        ((4, 6), True)
    """
    found = {}
    if K == 3:
        t = PLANE
        inner = np.array([[1.0, -1.0], [-1.0, 1.0], [1.0, 1.0]])
        half = 1 / (2 * t)
        outer = np.array([[1.0, 0.0, 0.0], [-half, -half, half], [0.0, 1.0, 0.0]])
        found["plane"] = (np.array([[1.0, t, 0.0], [0.0, t, 1.0]]), inner, outer)
    r = (1 + math.isqrt(1 + 8 * K)) // 2
    edges: list[tuple[int, int]] = []
    if r * (r - 1) == 2 * K and r > 3:
        edges = list(combinations(range(r), 2))
    elif K == 4:
        edges, r = [(0, 1), (1, 2), (2, 3), (0, 3)], 4
    if edges:
        X = np.zeros((r, K))
        for k, (i, j) in enumerate(edges):
            X[[i, j], k] = 1.0
        found["edges"] = (X, X.T - 0.5, np.eye(K))
    if K > 4:
        found["polygon"] = polygon_code(K)
    return found


def polygon_code(K: int) -> tuple[Array, Array, Array]:
    """Classes as the corners of a polygon: features are distances from its sides, of rank 3.

    Features cos(pi/K) - cos(theta_k - phi_e) at corners theta_k and sides phi_e; the inner layer
    makes cos(theta_k - theta_j) - cos(2 pi/K), which is positive at the own corner only.
    Source: after Sukenik et al. 2024 for slack matrices of polygons (DR-3).

    Example:
        >>> X, A, B = polygon_code(5)
        >>> int(np.linalg.matrix_rank(X)), bool(np.allclose(B @ np.maximum(A @ X, 0), np.eye(5)))
        (3, True)
    """
    turn = 2 * math.pi / K
    apart = turn * (np.arange(K)[:, None] - np.arange(K))
    X = np.maximum(math.cos(turn / 2) - np.cos(apart + turn / 2), 0.0)
    inner = (np.cos(apart) - math.cos(turn)) @ np.linalg.pinv(X)
    return X, inner, np.eye(K) / (1 - math.cos(turn))


def circulant(first: Array) -> Array:
    """The circulant matrix whose first column is given.

    Example:
        >>> circulant(np.array([1.0, 2.0])).tolist()
        [[1.0, 2.0], [2.0, 1.0]]
    """
    K = len(first)
    return np.asarray(first[(np.arange(K)[:, None] - np.arange(K)) % K])


def cycle_scales(depth: int, lambda_W: float, lambda_H: float) -> Array:
    """The seven scales y, t, a_0, a_1, w_0, w_1, w_2 of least objective of four edges (DR-4).

    Features y (e_k + e_{k+1}), M - 3 layers t times the identity on their space, a layer with
    eigenvalues a_0, a_1, a_1, 0 and its ReLU, a last one with w_0, w_1, w_1, w_2.

    Example:
        >>> found = cycle_scales(4, 0.0262958237, 0.0262958237)
        >>> bool(found[0] > 0)
        True
    """
    price = math.sqrt(lambda_W * lambda_H)

    def height(x: Array) -> float:
        y, t, (a0, a1), w = x[0], x[1], x[2:4], x[4:]
        size = y * t ** (depth - 3)
        a, b = 2 * size * a0, math.sqrt(2) * size * a1
        p, q, r = (a + 2 * b) / 4, a / 4, max((a - 2 * b) / 4, 0.0)
        e = np.array([p + 2 * q + r, p - r, p - 2 * q + r])
        many = np.array([1.0, 2.0, 1.0])
        fit = float(many @ (e * w - 1) ** 2) / 8
        squares = 3 * (depth - 3) * t**2 + a0**2 + 2 * a1**2 + float(many @ w**2)
        return fit + 2 * (1 + math.sqrt(2)) * price * abs(y) + lambda_W / 2 * squares

    # The criterion's own network, near which the minimum is; descents from elsewhere find zero.
    start = np.array([0.5, 1.1, 0.4, 1.3, 0.75, 0.9, 1.2])
    options = {"maxiter": 5000, "maxfun": 50_000, "ftol": 0, "gtol": 1e-9}
    rough = scipy.optimize.minimize(height, start, method="L-BFGS-B", options=options).x
    fine = {"xatol": 1e-9, "fatol": 1e-15, "maxiter": 20_000, "maxfev": 20_000}
    return np.asarray(scipy.optimize.minimize(height, rough, method="Nelder-Mead", options=fine).x)
