"""Spectral methods for the classes of a graph, and how slowly an iteration finds them."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
from scipy.linalg import eigh
from scipy.optimize import linear_sum_assignment

from ufm.errors import InputError, require_count
from ufm.typing import Array


def bethe_hessian(adjacency: Any, r: float | None = None) -> Array:
    """(r^2 - 1) I - r A + D, with r the root of the mean degree unless given.

    Its negative eigenvalues are as many as classes that can be found, their eigenvectors tell the
    classes. Source: Saade, Krzakala & Zdeborova 2014; docs/theory.md, GU-7.

    Args:
        adjacency: (N, N), symmetric, 0 and 1.
        r: > 0, or None.

    Example:
        >>> bethe_hessian([[0, 1], [1, 0]]).tolist()
        [[1.0, -1.0], [-1.0, 1.0]]
    """
    A = np.asarray(adjacency, dtype=float)
    degrees = A.sum(axis=0)
    root = math.sqrt(degrees.mean()) if r is None else r
    return np.asarray((root**2 - 1) * np.eye(len(A)) - root * A + np.diag(degrees))


def normalised_laplacian(adjacency: Any) -> Array:
    """I - D^-1/2 A D^-1/2.

    Args:
        adjacency: (N, N), symmetric, no isolated node.

    Example:
        >>> normalised_laplacian([[0, 1], [1, 0]]).tolist()
        [[1.0, -1.0], [-1.0, 1.0]]
    """
    A = np.asarray(adjacency, dtype=float)
    roots = np.sqrt(A.sum(axis=0))
    return np.asarray(np.eye(len(A)) - A / np.outer(roots, roots))


def lowest(matrix: Array, many: int) -> tuple[Array, Array]:
    """The lowest eigenvalues of a symmetric matrix, ascending, and their eigenvectors (N, many)."""
    values, vectors = eigh(matrix, subset_by_index=[0, many - 1])
    return values, vectors


def power_iteration(matrix: Array, start: Array, steps: int) -> Array:
    """Projected power iteration on |M|_F I - M for the second lowest eigenvector of M.

    w <- (|M|_F I - M) w, less its part along the lowest eigenvector, of norm 1. Source: the public
    code of Kothapalli et al. 2023, with 32 steps; docs/theory.md, GU-7 says how far that gets.

    Args:
        matrix: M (N, N), symmetric.
        start: w (N,).
        steps: 1 or more.

    Returns:
        w (N,) after the steps.

    Example:
        >>> M, start = np.diag([0.0, 1.0, 9.0]), np.array([1.0, 1.0, 1.0])
        >>> power_iteration(M, start, 200).round(6).tolist()
        [0.0, 1.0, 0.0]
    """
    require_count(steps, "steps", 1, "do one step or more")
    first, size = lowest(matrix, 1)[1][:, 0], float(np.linalg.norm(matrix))
    w = np.asarray(start, dtype=float)
    for _ in range(steps):
        w = size * w - matrix @ w
        w -= first * (first @ w)
        w /= np.linalg.norm(w)
    return w


def step_growth(matrix: Array) -> float:
    """By how much a step of ``power_iteration`` prefers the second eigenvector to the third.

    (|M|_F - m_2) / (|M|_F - m_3), m the eigenvalues, ascending.

    Example:
        >>> step_growth(np.diag([0.0, 3.0, 4.0]))
        2.0
    """
    size, values = float(np.linalg.norm(matrix)), lowest(matrix, 3)[0]
    return float((size - values[1]) / (size - values[2]))


def signal_to_noise(num_classes: int, n: int, inside: float, outside: float) -> float:
    """(a - b)^2 / (K (a + (K - 1) b)), a = N p and b = N q; above 1 classes can be found.

    The threshold of Kesten and Stigum. Source: Decelle et al. 2011; docs/theory.md, GU-7.

    Args:
        num_classes: K, 2 or more.
        n: nodes of every class.
        inside: p, of an edge within a class.
        outside: q, of an edge between two classes.

    Example:
        >>> round(signal_to_noise(2, 500, 0.025, 0.0017), 3)
        10.166
    """
    N = num_classes * n
    a, b = N * inside, N * outside
    return (a - b) ** 2 / (num_classes * (a + (num_classes - 1) * b))


def recovery_signal(num_classes: int, n: int, inside: float, outside: float) -> float:
    """(sqrt(a) - sqrt(b)) / sqrt(K), p = a log N / N; above 1 all nodes can be told, with p > q.

    Source: Abbe, Bandeira & Hall 2016; docs/theory.md, GU-7. Args: as ``signal_to_noise``.

    Example:
        >>> round(recovery_signal(2, 500, 0.025, 0.0017) * 2**0.5, 3)
        1.406
    """
    N = num_classes * n
    scale = math.sqrt(N / (math.log(N) * num_classes))
    return (math.sqrt(inside) - math.sqrt(outside)) * scale


def overlap(guess: Any, labels: Any, num_classes: int) -> float:
    """Share of right guesses under the best naming of the groups, 0 for chance and 1 for all.

    (accuracy - 1/K) / (1 - 1/K); names of groups mean nothing.

    Args:
        guess: group of every node, integers below K (N,).
        labels: class of every node (N,).
        num_classes: K, 2 or more.

    Raises:
        InputError: another number of guesses than of labels.

    Example:
        >>> overlap([1, 1, 0, 0], [0, 0, 1, 1], 2), overlap([0, 1, 0, 1], [0, 0, 1, 1], 2)
        (1.0, 0.0)
    """
    if np.shape(guess) != np.shape(labels):
        got = f"{np.shape(guess)} and {np.shape(labels)}"
        raise InputError("Need one guess for every label", got, "give both for all nodes")
    counts = np.zeros((num_classes, num_classes))
    np.add.at(counts, (np.asarray(guess), np.asarray(labels)), 1)
    rows, columns = linear_sum_assignment(-counts)
    accuracy = float(counts[rows, columns].sum()) / len(np.asarray(labels))
    return (accuracy - 1 / num_classes) / (1 - 1 / num_classes)
