"""Inertia, inverse and largest singular value of matrices known by intervals: proved, or undecided.

A symmetric interval matrix M contains every symmetric matrix with entries in its intervals; what is
said here holds for all of them.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.linalg import LinAlgError, eigh, eigvalsh
from numpy.typing import NDArray
from scipy.linalg import cholesky
from scipy.sparse.linalg import eigsh

from proofs_check.rigorous.arithmetic import Enclosure, Undecided
from proofs_check.rigorous.balls import Balls, precision
from proofs_check.rigorous.floats import UNIT, Floats, gamma, outward
from ufm.typing import Array

# Balls of up to so many bits, and matrices up to this order, where float64 does not decide.
MOST_BITS, MOST_ROWS = 512, 150
# From here on a Krylov method finds one eigenvalue faster than a factorisation finds all.
ITERATIVE = 100


@dataclass(frozen=True)
class Inertia:
    """How many eigenvalues of a nonsingular symmetric matrix are positive and negative.

    Attributes:
        positive, negative: the counts.
        route: what proved them.
    """

    positive: int
    negative: int
    route: str


def inertia(matrix: Enclosure, eigen: tuple[Array, Array] | None = None) -> Inertia:
    """The inertia of every symmetric matrix in an interval matrix (P, P).

    A congruence Q^T M Q with approximate eigenvectors is nearly diagonal; where each diagonal entry
    outweighs its row after scaling (Gershgorin), it is nonsingular, hence so is Q, and Sylvester's
    law counts the signs. Where float64 is not precise enough the same is done by LDL^T in balls.
    Source: Sylvester's law and Gershgorin's discs (Horn & Johnson 2013, 4.5 and 6.1).

    Args:
        matrix: the intervals.
        eigen: approximate eigenvalues (P,) and eigenvectors (P, P), where they are known; the
            proof does not rely on them.

    Raises:
        Undecided: some matrix in it may be singular, or the bounds are too wide to tell.

    Example:
        >>> told = inertia(Floats.around(np.diag([1.0, -2.0, 3.0]), 0.1))
        >>> told.positive, told.negative
        (2, 1)
    """
    if isinstance(matrix, Floats):
        try:
            return by_congruence(matrix, eigen)
        except (Undecided, LinAlgError):
            matrix = _as_balls(matrix)
    return by_factorisation(matrix)


def by_congruence(matrix: Floats, eigen: tuple[Array, Array] | None = None) -> Inertia:
    """The inertia by approximate eigenvectors, in float64.

    Only row sums of the errors are asked for, so they cost products with vectors: with Y = fl(M Q)
    and G = fl(Q^T Y), |Q^T M Q - G| d <= |Q|^T (R + gamma |M|) |Q| d + gamma |Q|^T |Y| d.
    """
    middle, spread = _symmetrised(matrix)
    values, Q = eigh(middle) if eigen is None else eigen
    if not (np.isfinite(Q).all() and np.all(values != 0)):
        raise Undecided("an approximate eigenvalue is zero")
    size = len(values)
    weights = 1 / np.sqrt(np.abs(values))
    image = middle @ Q
    told = Q.T @ image
    share = gamma(size)
    absolute = np.abs(Q)
    inner = absolute @ weights
    errors = spread @ inner + share * (np.abs(middle) @ inner) + share * (np.abs(image) @ weights)
    errors = outward(absolute.T @ errors, 4 * size)
    diagonal = np.diag(told)
    others = np.abs(told - np.diag(diagonal)) @ weights
    # Row i of D G D: |g_ii| w_i against the other entries and all errors; both sides rounded.
    ahead = (np.abs(diagonal) * weights) * (1 - 64 * UNIT) > outward(others + errors, size)
    if not np.all(ahead):
        raise Undecided(f"{int(np.sum(~ahead))} of {size} Gershgorin discs reach zero")
    positive = int(np.sum(diagonal > 0))
    return Inertia(positive, size - positive, "congruence in float64")


def by_factorisation(matrix: Enclosure) -> Inertia:
    """The inertia by LDL^T in balls, pivots by size, 2x2 where no single one is decided.

    A pivot [[a, b], [b, c]] with a c - b^2 < 0 has one eigenvalue of each sign; where nothing is
    decided, the precision is doubled. Source: Bunch & Kaufman 1977; Sylvester's law.

    Raises:
        Undecided: no pivot is decided, or the matrix is too large for it.
    """
    size = matrix.shape[0]
    if size > MOST_ROWS:
        raise Undecided(f"float64 does not decide, and {size} rows are too many for balls")
    reason = Undecided("no rows")
    bits = 128
    while bits <= MOST_BITS:
        with precision(bits):
            try:
                return _eliminated(_as_balls(matrix))
            except Undecided as undecided:
                reason = undecided
        bits *= 2
    raise reason


def _eliminated(matrix: Balls) -> Inertia:
    rest, counts = matrix.array.copy(), [0, 0]
    size = len(rest)
    while len(rest):
        diagonal = [abs(x).lower() for x in np.diag(rest)]
        place = max(range(len(rest)), key=lambda i: float(diagonal[i]))
        pivot = rest[place, place]
        others = np.delete(np.arange(len(rest)), place)
        column = rest[others, place]
        weight = max((float(abs(x).upper()) for x in column), default=0.0)
        # The growth bound of Bunch and Kaufman: (1 + sqrt 17) / 8.
        if not pivot.contains(0) and float(diagonal[place]) >= 0.64 * weight:
            counts[0 if pivot > 0 else 1] += 1
            rest = rest[np.ix_(others, others)] - np.outer(column, column / pivot)
            continue
        rest, told = _pair_eliminated(rest)
        counts = [counts[0] + told[0], counts[1] + told[1]]
    return Inertia(counts[0], counts[1], f"LDL^T in balls, {size} rows")


def _pair_eliminated(rest: NDArray[Any]) -> tuple[NDArray[Any], tuple[int, int]]:
    """Eliminate the 2x2 block of the largest entry off the diagonal, or the largest single one."""
    lower = np.array([[float(abs(x).lower()) for x in row] for row in rest])
    single = int(np.argmax(np.diag(lower)))
    np.fill_diagonal(lower, -1.0)
    i, j = np.unravel_index(int(np.argmax(lower)), lower.shape)
    a, b, c = rest[i, i], rest[i, j], rest[j, j]
    det = a * c - b * b
    if len(rest) > 1 and det < 0:
        others = np.delete(np.arange(len(rest)), [i, j])
        left, right = rest[others, i], rest[others, j]
        first, second = (c * left - b * right) / det, (a * right - b * left) / det
        change = np.outer(first, left) + np.outer(second, right)
        return rest[np.ix_(others, others)] - change, (1, 1)
    pivot = rest[single, single]
    if pivot.contains(0):
        raise Undecided(f"no pivot among the last {len(rest)} rows is decided")
    others = np.delete(np.arange(len(rest)), single)
    column = rest[others, single]
    change = np.outer(column, column / pivot)
    return rest[np.ix_(others, others)] - change, (1, 0) if pivot > 0 else (0, 1)


def distance_to_inverse(matrix: Enclosure, inverse: Array) -> Array:
    """Upper bounds (P,) of the row sums of |I - C M|, for every M in an interval matrix.

    In float64, with T = fl(C M): |I - C M| 1 <= |I - T| 1 + |C| (R + gamma |M|) 1.

    Example:
        >>> told = distance_to_inverse(Floats.around(np.eye(2), 0.1), np.eye(2))
        >>> bool(np.all((told >= 0.2) & (told < 0.2001)))
        True
    """
    if not isinstance(matrix, Floats):
        rest = matrix.exact(np.eye(len(inverse))) - matrix.exact(inverse) @ matrix
        return outward(rest.magnitude().sum(axis=1), len(inverse))
    middle, spread = matrix.parts()
    size = len(middle)
    left = np.abs(np.eye(size) - inverse @ middle).sum(axis=1)
    rows = spread.sum(axis=1) + gamma(size) * np.abs(middle).sum(axis=1)
    # One rounding of the difference from the identity: at most u on every diagonal entry.
    return outward(left + np.abs(inverse) @ rows + 2 * UNIT, 3 * size)


def largest_singular_value(matrix: Floats) -> float:
    """An upper bound of the largest singular value of every matrix in an interval matrix.

    t^2 >= sigma_1^2 where t^2 I - A^T A is positive semidefinite. If Cholesky's factorisation of a
    floating-point matrix S of order n runs to its end, lambda_min(S) >= -g/(1 - g) tr S with g =
    gamma_(n+1) (Demmel 1989; Rump 2006, "Verification of positive definiteness", theorem 2.3); a
    BLAS that multiplies by rounded reciprocals of pivots rounds twice more: gamma_(n+3) here.
    What is factored differs from t^2 I - A^T A by the errors of the product and of the difference.

    Example:
        >>> told = largest_singular_value(Floats.exact(np.diag([1.0, 3.0])))
        >>> bool(3 <= told < 3 + 1e-12)
        True
    """
    middle, spread = matrix.parts()
    if middle.shape[0] < middle.shape[1]:
        middle, spread = middle.T, spread.T
    scale = float(np.abs(middle).max(initial=0.0))
    if not np.isfinite(scale):
        raise Undecided("a matrix is not bounded")
    if scale == 0.0:
        return _frobenius(spread)
    scale = 2.0 ** np.ceil(np.log2(scale))  # a power of two: exact
    A = middle / scale
    rows, n = A.shape
    gram = A.T @ A
    absolute = np.abs(A)
    # |E|_2 <= the largest row sum, for a symmetric E of non-negative entries.
    product = gamma(rows) * float((absolute.T @ (absolute @ np.ones(n))).max())
    g = gamma(n + 3)
    square = _top_eigenvalue(gram)
    for tried in range(60):
        S = np.eye(n) * square - gram
        difference = UNIT * float(np.abs(np.diag(S)).max())
        below = g / (1 - g) * float(np.abs(np.trace(S)))
        slack = float(outward(product + difference + below, 4 * (rows + n)))
        try:
            cholesky(S, lower=False, check_finite=False)  # reads one triangle
            break
        except LinAlgError:
            square += 2.0**tried * slack
    else:
        raise Undecided("no bound of the largest singular value was found")
    # tr S as computed loses n roundings: inside of what outward takes for its terms.
    root = float(np.nextafter(np.sqrt(np.nextafter(square + slack, np.inf)), np.inf))
    return float(np.nextafter(root * scale + _frobenius(spread), np.inf))


def _top_eigenvalue(gram: Array) -> float:
    """About the largest eigenvalue; whatever it is, the bound that starts from it is proved."""
    if len(gram) < ITERATIVE:
        return float(eigvalsh(gram)[-1])
    start = np.random.default_rng(0).normal(size=len(gram))
    return float(eigsh(gram, k=1, v0=start, return_eigenvectors=False)[0])


def _frobenius(spread: Array) -> float:
    return float(outward(np.sqrt(outward(np.sum(spread**2), spread.size))))


def _symmetrised(matrix: Floats) -> tuple[Array, Array]:
    """Middle and radius of the symmetric matrices inside, both symmetric."""
    middle, spread = matrix.parts()
    if middle.ndim != 2 or middle.shape[0] != middle.shape[1]:
        raise Undecided(f"a matrix of shape {middle.shape} is not square")
    mean = middle + (middle.T - middle) / 2
    # Symmetric members lie in both triangles' intervals: within this of the new middle.
    mean = np.tril(mean) + np.tril(mean, -1).T
    moved = np.abs(middle - mean)
    widened = outward(spread + moved)
    return mean, np.minimum(widened, widened.T)


def _as_balls(matrix: Enclosure) -> Balls:
    if isinstance(matrix, Balls):
        return matrix
    return Balls.around(*matrix.parts())
