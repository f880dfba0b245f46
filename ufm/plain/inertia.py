"""Exact inertia by factorisation: how many eigenvalues lie below a bound, without any of them.

For positive definite feature blocks the index of a Hessian equals that of its Schur complement on
the classifier (Haynsworth), a matrix of half the size; one LDL^T factorisation counts the signs.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import scipy

from ufm.errors import InputError
from ufm.plain.blocks import GroupData, classifier_block, feature_blocks
from ufm.typing import Array


def count_negative(matrix: Array) -> int:
    """Number of negative eigenvalues of a symmetric matrix, by Bunch-Kaufman LDL^T.

    Sylvester's law of inertia; each 2 x 2 pivot holds one negative eigenvalue.

    Args:
        matrix: symmetric (P, P); only the lower triangle is read.

    Example:
        >>> count_negative(np.array([[0.0, 1.0], [1.0, 0.0]]))
        1
    """
    if len(matrix) == 0:
        return 0
    _require_finite(matrix)
    # Column-major upper = row-major lower: LAPACK works on the transpose without a copy.
    work = int(scipy.linalg.lapack.dsytrf_lwork(len(matrix), lower=0)[0])
    factor, pivots, info = scipy.linalg.lapack.dsytrf(matrix.T, lower=0, lwork=work)
    if info < 0:
        raise InputError("Need a symmetric matrix", f"LAPACK info {info}", "check the point")
    in_pairs = int(np.sum(pivots < 0))
    singles = np.diagonal(factor)[pivots > 0]
    return int(np.sum(singles < 0)) + in_pairs // 2


def is_positive_definite(matrix: Array) -> bool:
    """Whether Cholesky succeeds: several times cheaper than LDL^T.

    Example:
        >>> is_positive_definite(np.eye(2)), is_positive_definite(-np.eye(2))
        (True, False)
    """
    if not np.all(np.isfinite(matrix)):
        return False  # LAPACK does not notice NaN
    return len(matrix) == 0 or int(scipy.linalg.lapack.dpotrf(matrix.T, lower=0, clean=0)[1]) == 0


def _require_finite(matrix: Array) -> None:
    # LAPACK does not notice NaN, and every comparison with it is false.
    if not np.all(np.isfinite(matrix)):
        raise InputError("Need a finite symmetric matrix", "NaN or inf", "check the point")


@dataclass(frozen=True)
class RangeCount:
    """Eigenvalues of a group-constant range block below a bound.

    Attributes:
        below: how many.
        features: how many of them come from the feature blocks (0 for convex losses, bound < lh).
        size: order of the Schur complement that was factorised.
    """

    below: int
    features: int
    size: int


def count_range_below(data: GroupData, bound: float, *, expect_none: bool = False) -> RangeCount:
    """How many eigenvalues of the range block lie below a bound (A-4 on A-5).

    Args:
        data: the quotient problem of a critical point (``ufm.plain.reduce.reduced(...).data``).
        bound: the bound; shift by it and count signs.
        expect_none: try a Cholesky factorisation first; LDL^T only if it fails.

    Example:
        >>> from ufm import UFM, CrossEntropy
        >>> from ufm.plain.reduce import reduced
        >>> model = UFM(CrossEntropy(), 4, 6, lambda_W=0.02, lambda_H=0.02)
        >>> count_range_below(reduced(model, model.minimiser().point).data, -1e-9).below
        0
    """
    blocks = feature_blocks(data) - bound * np.eye(data.W.shape[1])
    values = np.linalg.eigvalsh(blocks)
    features = int(np.sum(values < 0))
    complement = schur_complement(data, bound, np.asarray(np.linalg.inv(blocks)))
    if expect_none and features == 0 and is_positive_definite(complement):
        return RangeCount(0, 0, len(complement))
    return RangeCount(features + count_negative(complement), features, len(complement))


def schur_complement(data: GroupData, shift: float, inverses: Array) -> Array:
    """The Schur complement of the feature blocks in (range block - shift I).

    With C_k = hbar_k x (S_k W) / N + G_k x I and R_k = (A_k - shift)^-1 it is
    AA - shift - sum_k C_k R_k C_k^T, a sum of Kronecker products assembled by matrix products;
    the bias, if any, stays on the classifier's side.

    Args:
        data: the quotient problem.
        shift: subtracted from the diagonal.
        inverses: R_k, (G, r, r).

    Returns:
        (G r (+ G), same), symmetric.
    """
    groups, rank = data.W.shape
    N = data.num_samples
    SW = data.S @ data.W
    SWR = SW @ inverses
    # Terms in hbar hbar^T combine with the classifier block.
    bent = data.S - SWR @ np.swapaxes(SW, 1, 2) / N
    main = classifier_block(_with_logit_hessians(data, bent))
    main[np.diag_indices_from(main)] -= shift
    half = groups * rank
    mixed = SWR.reshape(groups, half).T @ (data.H.T[:, None, :] * data.G.T[:, :, None]).reshape(
        groups, half
    )
    mixed = mixed.reshape(groups, rank, groups, rank)  # (i, c), (j, a)
    mixed = mixed.transpose(0, 3, 2, 1).reshape(half, half) / N  # (i, a), (j, c)
    main -= mixed + mixed.T
    pairs = (data.G.T[:, :, None] * data.G.T[:, None, :]).reshape(groups, -1)
    outer = pairs.T @ inverses.reshape(groups, -1)
    main -= outer.reshape(groups, groups, rank, rank).transpose(0, 2, 1, 3).reshape(half, half)
    lambda_b = data.decays[2]
    if lambda_b is None:
        return main
    return _with_bias(data, main, SW, SWR, lambda_b - shift)


def _with_logit_hessians(data: GroupData, S: Array) -> GroupData:
    return GroupData(
        data.W, data.H, S, data.G, data.counts, data.num_samples, data.decays, data.classes
    )


def _with_bias(data: GroupData, main: Array, SW: Array, SWR: Array, decay: float) -> Array:
    """Append the bias rows: the bias couples to A and, through R_k, to the eliminated B."""
    groups, rank = data.W.shape
    half, N, root_n = groups * rank, data.num_samples, np.sqrt(data.counts)
    bent = data.S - SWR @ np.swapaxes(SW, 1, 2) / N
    corner = np.einsum("k,kij->ij", data.counts, bent) / N + decay * np.eye(groups)
    cross = np.einsum("k,kij,ak->iaj", root_n, bent, data.H, optimize=True) / N
    cross -= np.einsum("k,ik,kja->iaj", root_n, data.G, SWR, optimize=True) / N
    cross = cross.reshape(half, groups)
    return np.block([[main, cross], [cross.T, corner]])
