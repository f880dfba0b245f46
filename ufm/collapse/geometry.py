"""How far the rows of a matrix are from a frame, from equal norms, and from another matrix."""

from __future__ import annotations

import numpy as np

from ufm.collapse.inputs import EPS_64
from ufm.typing import Array


def unit(A: Array) -> Array:
    """u(A) = A/|A|_F; all nan when A = 0, because zero has no direction.

    Example:
        >>> unit(np.array([[3.0, 4.0]])).tolist()
        [[0.6, 0.8]]
    """
    largest = np.max(np.abs(A))
    if largest == 0:
        return np.full(A.shape, np.nan)
    scaled = A / largest  # so that squares neither overflow nor underflow
    return np.asarray(scaled / np.linalg.norm(scaled))


def etf_target(num_classes: int) -> Array:
    """E = (I - J/K)/sqrt(K-1), the Gram matrix of a simplex ETF, Frobenius norm 1.

    Example:
        >>> etf_target(2).tolist()
        [[0.5, -0.5], [-0.5, 0.5]]
    """
    return np.asarray((np.eye(num_classes) - 1.0 / num_classes) / np.sqrt(num_classes - 1.0))


def orthogonal_target(num_classes: int) -> Array:
    """O = I/sqrt(K), the Gram matrix of an orthogonal frame, Frobenius norm 1.

    Example:
        >>> orthogonal_target(4)[0].tolist()
        [0.5, 0.0, 0.0, 0.0]
    """
    return np.asarray(np.eye(num_classes) / np.sqrt(num_classes))


def product_distance(A: Array, B: Array, target: Array) -> float:
    """|u(A B^T) - target|_F for A, B (K, d); nan when A B^T vanishes to rounding.

    With A = B this is the NC2 of Zhu et al. 2021, with B the centred class means their NC3.

    Example:
        >>> product_distance(np.eye(3), np.eye(3), orthogonal_target(3))
        0.0
    """
    product = unit(A) @ unit(B).T
    if np.linalg.norm(product) <= A.shape[0] * EPS_64:
        return float("nan")
    return float(np.linalg.norm(unit(product) - target))


def dual_distance(A: Array, B: Array) -> float:
    """|u(A) - u(B)|_F, between 0 and 2 (unsquared NC3 of Papyan, Han, Donoho 2020).

    Example:
        >>> dual_distance(np.array([[0.0, 2.0]]), np.array([[0.0, -3.0]]))
        2.0
    """
    return float(np.linalg.norm(unit(A) - unit(B)))


def equinorm(A: Array) -> float:
    """Coefficient of variation of the norms of the rows, std with K - 1 in the denominator.

    Source: Papyan, Han, Donoho 2020; the denominator is that of their code. nan for A = 0.

    Example:
        >>> equinorm(np.diag([1.0, 2.0, 3.0]))
        0.5
    """
    norms = np.linalg.norm(unit(A), axis=1)
    return float(np.std(norms, ddof=1) / np.mean(norms))


def cosines(A: Array) -> Array:
    """cos(k, l) over the K(K-1)/2 pairs of rows; nan for a pair with a zero row.

    Example:
        >>> cosines(np.array([[1.0, 0.0], [0.0, 2.0], [-1.0, 0.0]])).tolist()
        [0.0, -1.0, 0.0]
    """
    units = np.stack([unit(row) for row in A])
    return np.asarray((units @ units.T)[np.triu_indices(A.shape[0], k=1)])


def equiangle(A: Array) -> float:
    """Mean over pairs of |cos(k, l) + 1/(K-1)|, 0 for a simplex ETF.

    Source: Papyan, Han, Donoho 2020.

    Example:
        >>> equiangle(np.eye(3))
        0.5
    """
    return float(np.mean(np.abs(cosines(A) + 1.0 / (A.shape[0] - 1))))


def cosine_spread(A: Array) -> float:
    """Standard deviation over pairs of cos(k, l), 0 for any equiangular frame.

    Source: after Papyan, Han, Donoho 2020.

    Example:
        >>> cosine_spread(np.eye(3))
        0.0
    """
    return float(np.std(cosines(A)))
