"""Classifiers of four classes and rank two, up to turns, reflections and labels: five unknowns.

W (4, 2) has columns of sum zero. It is turned, reflected and relabelled until w_1 is the longest
row and points along the first axis, and the second entries of the others fall, y_2 >= y_3 >= y_4,
with y_3 <= 0. What is left are (x_1, x_2, x_3, y_2, y_3). Next to zero, where that fixes no turn,
y_1 is a sixth. Derived here: docs/certificates.md.
"""

from __future__ import annotations

from itertools import permutations
from typing import Any

import numpy as np

from proofs_check.rigorous.affine import Affine, side_by_side
from proofs_check.rigorous.intervals import stack
from ufm.typing import Array

CLASSES = 4
# Row j of W in the unknowns: columns of (x_1, x_2, x_3) and of (y_1, y_2, y_3).
ROWS = np.vstack([np.eye(3), -np.ones(3)])
# Unknown i moves the column SIDE[i] of W along ROWS[:, PLACE[i]]; the last, y_1, is held at 0.
SIDE, PLACE = (0, 0, 0, 1, 1, 1), (0, 1, 2, 1, 2, 0)
UNKNOWNS = 5
# Images of a computed point are taken for those of the choice up to this share of its size, and
# for one another up to ten times it.
SLACK = 1e-6


def entries(unknowns: Any) -> Any:
    """W (B, 4, 2) of the unknowns."""
    u = unknowns
    nothing = u[:, 0] * 0.0
    y1 = u[:, 5] if u.lo.shape[1] > UNKNOWNS else nothing
    x = [u[:, 0], u[:, 1], u[:, 2], -(u[:, 0] + u[:, 1] + u[:, 2])]
    y = [y1, u[:, 3], u[:, 4], -(y1 + u[:, 3] + u[:, 4])]
    beside: Any = side_by_side if isinstance(u, Affine) else stack
    return beside([beside(x), beside(y)])


def gaps(unknowns: Any) -> list[list[Any]]:
    """w_i - w_j (B, 2), every unknown once."""
    u = unknowns
    nothing = u[:, 0] * 0.0
    y1 = u[:, 5] if u.lo.shape[1] > UNKNOWNS else nothing
    columns = [[u[:, 0], u[:, 1], u[:, 2]], [y1, u[:, 3], u[:, 4]]]
    made: list[list[Any]] = [[u] * CLASSES for _ in range(CLASSES)]
    for i in range(CLASSES):
        for j in range(CLASSES):
            if i != j:
                weights = ROWS[i] - ROWS[j]
                sides = []
                for column in columns:
                    parts = [column[r] * float(weights[r]) for r in range(3) if weights[r]]
                    sides.append(sum(parts[1:], parts[0]))
                made[i][j] = side_by_side(sides) if isinstance(u, Affine) else stack(sides)
    return made


def images(W: Array) -> list[Array]:
    """Unknowns of all W that a classifier (4, 2) is turned, reflected and relabelled to."""
    made: list[Array] = []
    for order in permutations(range(CLASSES)):
        V = W[list(order)] - W.mean(0)
        length = float(np.hypot(*V[0]))
        if length < (1 - SLACK) * np.hypot(V[:, 0], V[:, 1]).max():
            continue
        turn = np.array([[V[0, 0], -V[0, 1]], [V[0, 1], V[0, 0]]]) / length
        for sign in (1.0, -1.0):
            X = V @ turn * np.array([1.0, sign])
            y = X[1:, 1]
            slack = SLACK * length
            if y[0] < y[1] - slack or y[1] < y[2] - slack or y[1] > slack:
                continue
            u = np.array([*X[:3, 0], *X[1:3, 1]])
            if not any(np.abs(u - v).max() < 10 * SLACK for v in made):
                made.append(u)
    return made
