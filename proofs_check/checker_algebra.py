"""Matrices of balls: independent rows, inverses and signs of eigenvalues.

Needs python-flint and nothing else, like the checker's other files.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from contextlib import suppress
from typing import Any

from flint import arb, arb_mat


class Undecided(Exception):
    """Neither the claim nor its opposite could be proved here."""


def upper_bound(x: arb) -> arb:
    """Of |x|."""
    return arb(x.abs_upper())


def size(matrix: arb_mat) -> arb:
    """Upper bound of the Frobenius norm."""
    squares = (upper_bound(x) ** 2 for x in matrix.entries())
    return upper_bound(sum(squares, arb(0)).sqrt())


def identity(order: int) -> arb_mat:
    """The identity matrix."""
    return arb_mat([[arb(i == j) for j in range(order)] for i in range(order)])


def independent(rows: Sequence[tuple[Any, Sequence[arb]]]) -> tuple[list[Any], Any]:
    """The moves that pivoted Gram-Schmidt takes, and a nearly orthonormal basis (p, m) of them.

    What is left over counts as rounding below 1e-9 of the largest; the proofs do not rely on it.
    """
    left = [(move, [float(x.mid()) for x in row]) for move, row in rows]
    moves, basis, least = [], [], 0.0
    while left:
        sizes = [math.fsum(x * x for x in row) for _, row in left]
        best = max(range(len(sizes)), key=sizes.__getitem__)
        least = max(least, 1e-18 * sizes[best])
        if sizes[best] <= least:
            break
        move, row = left.pop(best)
        unit = [x / math.sqrt(sizes[best]) for x in row]
        moves.append(move)
        basis.append([arb(x) for x in unit])
        for _, other in left:
            along = math.fsum(x * y for x, y in zip(other, unit, strict=True))
            other[:] = [x - along * y for x, y in zip(other, unit, strict=True)]
    return moves, arb_mat(basis).transpose() if basis else None


def nonsingular(matrix: arb_mat) -> bool:
    """Whether every matrix in the balls has an inverse, as far as this can be proved."""
    try:
        near = matrix.mid().inv().mid()
    except ZeroDivisionError:
        return False
    off = identity(matrix.nrows()) - near * matrix
    return all(sum((upper_bound(x) for x in row), arb(0)) < 1 for row in off.tolist())


def negative_eigenvalues(matrix: arb_mat) -> int:
    """Their number, for every symmetric matrix in the balls, which are then all nonsingular.

    By Haynsworth the inertia is that of a leading block and of its Schur complement; small blocks
    by L D L^T with the largest pivot first.
    """
    order = matrix.nrows()
    if order > 24:
        half = order // 2
        rows = matrix.tolist()
        A = arb_mat([row[:half] for row in rows[:half]])
        B = arb_mat([row[half:] for row in rows[:half]])
        D = arb_mat([row[half:] for row in rows[half:]])
        with suppress(ZeroDivisionError, Undecided):  # else a block is singular: take the whole
            return negative_eigenvalues(A) + negative_eigenvalues(D - B.transpose() * A.solve(B))
    left, found = matrix.tolist(), 0
    while left:
        best = max(range(len(left)), key=lambda j: left[j][j].abs_lower())
        pivot = left[best][best]
        others = [j for j in range(len(left)) if j != best]
        if pivot.contains(0):  # no diagonal to divide by: a congruence adds another row and column
            if not others:
                raise Undecided("an eigenvalue cannot be told from zero")
            other = max(others, key=lambda j: left[best][j].abs_lower())
            left[best] = [x + y for x, y in zip(left[best], left[other], strict=True)]
            for row in left:
                row[best] += row[other]
            pivot = left[best][best]
        if pivot.contains(0):
            raise Undecided("an eigenvalue cannot be told from zero")
        found += bool(pivot < 0)
        left = [
            [left[j][k] - left[j][best] * left[best][k] / pivot for k in others] for j in others
        ]
    return found
