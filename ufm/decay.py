"""Weight decay: the one place where lambda/2 is written, and the factors that it prefers."""

from __future__ import annotations

from typing import Any

import numpy as np

from ufm.typing import Array


def penalty(decay: Any, squared_norm: Any) -> Any:
    """(lambda/2) |x|^2 of parameters x with decay lambda.

    Example:
        >>> penalty(0.5, 4.0)
        1.0
    """
    return 0.5 * decay * squared_norm


def plateau(s: Any, sigma: Any, decay: Any) -> Any:
    """The least decay of a singular value below a layer: sigma s - sigma^2 s^2 / (2 decay).

    decay / 2 from sigma s = decay on: the minimax concave penalty.
    Source: derived here (docs/theory.md, DQ-1).

    Example:
        >>> plateau(1.0, 1.0, 2.0), plateau(9.0, 1.0, 2.0)
        (0.75, 1.0)
    """
    x = np.minimum(np.asarray(sigma) * s, decay)
    told = x - x**2 / (2 * decay)
    return float(told) if np.ndim(told) == 0 else told


def balanced_factors(
    U: Array, values: Array, Vt: Array, d: int, lambda_W: Any, lambda_H: Any
) -> tuple[Array, Array]:
    """W (rows, d) and H (d, columns) of least decay with W H = U diag(values) Vt.

    W = (lambda_H/lambda_W)^(1/4) U sqrt|S|, H = (lambda_W/lambda_H)^(1/4) sqrt|S| sign(S) Vt, so
    that lambda_W W^T W = lambda_H H H^T; zero values are dropped, and zeros pad to dimension d.
    Source: balancedness of critical points, CE-3 of docs/theory.md.

    Args:
        U: orthonormal columns (rows, r).
        values: of either sign (r,), at most d of them not zero.
        Vt: orthonormal rows (r, columns).
        d: feature dimension.
        lambda_W: weight decay of W, > 0.
        lambda_H: weight decay of H, > 0.

    Example:
        >>> W, H = balanced_factors(np.eye(2), np.array([-4.0, 0.0]), np.eye(2), 3, 0.1, 0.1)
        >>> W.tolist(), float(H[0, 0])
        ([[2.0, 0.0, 0.0], [0.0, 0.0, 0.0]], -2.0)
    """
    keep = values != 0
    size = np.sqrt(np.abs(values[keep]))
    ratio = (float(lambda_H) / float(lambda_W)) ** 0.25
    padding = d - int(keep.sum())
    W = np.pad(ratio * U[:, keep] * size, ((0, 0), (0, padding)))
    H = np.pad((Vt[keep].T * size * np.sign(values[keep])).T / ratio, ((0, padding), (0, 0)))
    return W, H
