"""Least squares on queries of a linear teacher: risk by the dimension queries are drawn from."""

from __future__ import annotations

import math

from ufm.errors import InputError, require_count


def variance(num_queries: int, dimension: int, asked: int, noise: float) -> float:
    """What noise of labels costs a student of least norm.

    noise^2 (asked / p) min(N, p) / (|N - p| - 1) for N queries in p dimensions: from N >= p + 2 on
    noise^2 asked / (N - p - 1). Infinite for |N - p| < 2, where there is noise.

    Source: moments of inverse Wishart matrices; TG-1 of docs/theory.md, derived here.

    Args:
        num_queries: N >= 1, Gaussian N(0, I) in the space of queries.
        dimension: p of that space.
        asked: orthonormal directions in it that the risk is measured along, 1 to p.
        noise: standard deviation of a label.

    Raises:
        InputError: sizes not so.

    Example:
        >>> variance(9, 2, 2, 0.3), variance(9, 5, 2, 0.3)
        (0.03, 0.06)
    """
    _require_sizes(num_queries, dimension, asked)
    if noise == 0:
        return 0.0
    apart = abs(num_queries - dimension)
    if apart < 2:
        return math.inf
    return noise**2 * asked / dimension * min(num_queries, dimension) / (apart - 1)


def bias(num_queries: int, dimension: int, asked: int, inside: float, whole: float) -> float:
    """What the student has not been told of its teacher, for N < p queries; 0 for more.

    a inside + b asked whole,  m = p - N:  b = m N / (p (p + 2) (p - 1)),
    a = m (m + 2) / (p (p + 2)) - b.

    Source: second moments of random projectors; TG-1 of docs/theory.md, derived here.

    Args:
        num_queries: as ``variance``.
        dimension: as ``variance``.
        asked: as ``variance``.
        inside: squared norm of the teacher's weights along the asked directions.
        whole: and in the space of queries.

    Raises:
        InputError: sizes not so.

    Example:
        >>> bias(2, 4, 4, 3.0, 3.0), bias(1, 4, 1, 0.0, 3.0)
        (1.5, 0.125)
    """
    _require_sizes(num_queries, dimension, asked)
    p, m = dimension, dimension - num_queries
    if m <= 0:
        return 0.0
    other = m * num_queries / (p * (p + 2) * (p - 1)) if p > 1 else 0.0
    return (m * (m + 2) / (p * (p + 2)) - other) * inside + other * asked * whole


def _require_sizes(num_queries: int, dimension: int, asked: int) -> None:
    require_count(num_queries, "number of queries", 1, "ask at least once")
    require_count(asked, "asked directions", 1, "measure along one or more")
    if asked > dimension:
        raise InputError(
            "Need asked directions <= dimension", f"{asked} > {dimension}", "swap them"
        )
