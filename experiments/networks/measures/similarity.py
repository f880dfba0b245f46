"""Similarity of two representations of the same samples: centred kernel alignment.

CKA(K, L) = <K, L>/(|K| |L|) with centred Gram matrices; 1 for representations that are equal up to
rotation and scale. The debiased one has unbiased estimates of all three products, so that it is 0
on average for independent features, where the plain one is large if there are few samples.

Source: Kornblith et al. 2019 (CKA); Song et al. 2007 (unbiased HSIC).
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from experiments.networks.measures.inputs import matrix, same_samples
from ufm.errors import InputError
from ufm.typing import Array

EPS = float(np.finfo(np.float64).eps)


def linear_cka(X: npt.ArrayLike, Y: npt.ArrayLike, debiased: bool = False) -> float:
    """|Y^T X|^2/(|X^T X| |Y^T Y|) for centred features, Frobenius norms.

    Debiased, each <X, Y> = |Y^T X|^2 becomes <X, Y> - N/(N-2) sum_i a_i b_i + (sum a)(sum b)/((N-1)
    (N-2)), where a_i = |x_i|^2 and b_i = |y_i|^2. Memory is that of a d x e matrix or of two
    N x N ones, whichever is less.

    Args:
        X: (N, d) features, not necessarily centred.
        Y: (N, e) features of the same samples.
        debiased: needs N >= 4.

    Returns:
        In [0, 1], or in [-1, 1] if debiased.

    Raises:
        InputError: other shapes, too few samples, or features that do not vary.

    Example:
        >>> X = np.array([[0.0], [1.0], [2.0]])
        >>> linear_cka(X, 7 - 3 * X), round(linear_cka(X, X**2), 12) == round(12 / 13, 12)
        (1.0, True)
    """
    A, B = _centred(X, "X"), _centred(Y, "Y")
    same_samples(A, B)
    _require_samples(len(A), debiased)

    N = len(A)

    def product(P: Array, Q: Array) -> float:
        whole = _squared_product(P, Q)
        if not debiased:
            return whole
        a, b = np.sum(P**2, axis=1), np.sum(Q**2, axis=1)
        return whole - N / (N - 2) * float(a @ b) + float(a.sum() * b.sum()) / (N - 1) / (N - 2)

    # The terms of the debiased norm cancel; what is left may be their rounding.
    floors = [8 * N * EPS * _squared_product(P, P) if debiased else 0.0 for P in (A, B)]
    return _ratio(product(A, B), product(A, A), product(B, B), floors)


def _centred(values: npt.ArrayLike, name: str) -> Array:
    """Centred features, scaled to entries of at most 1, which changes no similarity."""
    X = matrix(values, name)
    largest = float(np.max(np.abs(X)))
    A = X - X.mean(axis=0)
    spread = float(np.max(np.abs(A)))
    if spread <= len(A) * EPS * largest:
        rule = f"Need features {name} that differ between samples"
        got = f"differences of at most {spread:g} for features of size {largest:g}"
        raise InputError(rule, got, "leave out this layer, or samples of one class")
    return np.asarray(A / spread)


def _squared_product(P: Array, Q: Array) -> float:
    """|Q^T P|^2 = <P P^T, Q Q^T>, by whichever matrices are smaller."""
    if P.shape[1] * Q.shape[1] <= 2 * len(P) ** 2:
        return float(np.sum((Q.T @ P) ** 2))
    return float(np.vdot(P @ P.T, Q @ Q.T))


def _require_samples(num: int, debiased: bool) -> None:
    least = 4 if debiased else 2
    if num < least:
        what = "a debiased similarity" if debiased else "a similarity"
        raise InputError(f"Need {least} samples or more for {what}", num, "take more samples")


def _ratio(cross: float, one: float, other: float, floors: list[float]) -> float:
    if not (one > floors[0] and other > floors[1]):
        remedy = "take more samples, or the similarity that is not debiased"
        raise InputError("Need features with a kernel of positive norm", min(one, other), remedy)
    # Each square root first: the product of the two could leave the range of float64.
    return cross / (np.sqrt(one) * np.sqrt(other)).item()
