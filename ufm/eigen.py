"""Symmetric eigenproblems, also where LAPACK's fastest method gives up."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
import scipy

from ufm.typing import Array


class Eigen(NamedTuple):
    """Eigenvalues in ascending order, (..., n), and eigenvectors in columns, (..., n, n)."""

    values: Array
    vectors: Array


def eigh(matrices: Array) -> Eigen:
    """Eigenvalues and eigenvectors of one symmetric matrix or a stack of them.

    NumPy calls LAPACK's divide and conquer (syevd), which with some builds of OpenBLAS does not
    converge for a few harmless matrices in millions (seen: 48 x 48, entries up to .13, condition
    1e5) and then loses the whole stack. QR iteration (syev) takes its place there.

    Args:
        matrices: (..., n, n); the lower triangle is read.

    Raises:
        numpy.linalg.LinAlgError: an entry is not finite.

    Example:
        >>> eigh(np.array([[0.0, 2.0], [2.0, 0.0]])).values.tolist()
        [-2.0, 2.0]
    """
    try:
        return Eigen(*np.linalg.eigh(matrices))
    except np.linalg.LinAlgError:
        if not np.isfinite(matrices).all():
            raise
    n = matrices.shape[-1]
    pairs = [scipy.linalg.eigh(one, driver="ev") for one in matrices.reshape(-1, n, n)]
    values, vectors = (np.stack(parts) for parts in zip(*pairs, strict=True))
    return Eigen(values.reshape(matrices.shape[:-1]), vectors.reshape(matrices.shape))
