"""The explicit direction of negative curvature outside the row space of a saddle (CE-4)."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from ufm.answers import Direction
from ufm.plain.reduce import COLLAPSED, averaged, complement_gradient, reduced
from ufm.point import Point
from ufm.spectrum import pair

if TYPE_CHECKING:
    from ufm.plain.model import UFM


def outside_row_space(model: UFM, point: Point) -> Direction | None:
    """The eigenvector of most negative curvature outside the row space, or None.

    With u, v the top singular pair of G outside the support and a in ker W a unit vector,
    (Delta_W, Delta_H) = (x u a^T, y a v^T), (x, y) the lower eigenvector of
    [[lambda_W, g], [g, lambda_H]], is an exact eigenvector with eigenvalue
    (lw + lh - sqrt((lw - lh)^2 + 4 g^2)) / 2. None if d = rank, if none is negative, or if the
    features of a class differ.
    Source: CE-4, after Zhu et al. 2021; the scaling is derived here.

    Example:
        >>> from ufm import UFM, CrossEntropy
        >>> model = UFM(CrossEntropy(), 3, 2, lambda_W=0.1, lambda_H=0.1)
        >>> move = outside_row_space(model, model.origin()).tangent
        >>> square = np.sum(move.W**2) + np.sum(move.H**2)
        >>> round(float(model.second_derivative(model.origin(), move) / square), 12)  # 0.1 - 1/3
        -0.233333333333
    """
    merged, small, spread = averaged(model, point)
    if not spread <= COLLAPSED:  # of NaN neither is true
        return None
    parts = reduced(merged, small)
    rank, lw, lh = parts.space.rank, float(model.lambda_W), float(model.lambda_H)
    if model.d <= rank:
        return None
    couplings = parts.couplings
    if not len(couplings) or couplings[0] ** 2 <= lw * lh:
        return None
    K = model.num_classes
    U, values, Vt = np.linalg.svd(complement_gradient(parts))
    outside = np.linalg.svd(np.concatenate([parts.space.basis, np.eye(model.d)], axis=1))[0][
        :, rank
    ]
    outside = outside - parts.space.basis @ (parts.space.basis.T @ outside)
    outside /= np.linalg.norm(outside)
    small, _ = pair(lw, lh, float(values[0]))
    x, y = -values[0], small - lw
    delta_H = y * np.outer(outside, Vt[0])
    if np.shape(point.H)[1] != K:
        counts = np.asarray(model.counts)
        delta_H = np.repeat(delta_H / np.sqrt(counts), counts.astype(int), axis=1)
    bias = None if point.b is None else np.zeros(K)
    move = Point(-x * np.outer(U[:, 0], outside), delta_H, bias)
    return Direction(move, "explicit direction outside the row space (CE-4)")
