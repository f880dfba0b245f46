"""Codes of an equilibrium layer: the best simplex, and logits that no point attains (DQ-3)."""

from __future__ import annotations

import math
from typing import Any, NamedTuple

import numpy as np
import scipy

from ufm.answers import Code
from ufm.decay import plateau
from ufm.losses.columns import column_losses
from ufm.losses.logit_curve import logit_curve
from ufm.losses.loss import Loss
from ufm.plain.quadratic_form import quadratic_form
from ufm.typing import Array

# Gaps that are tried: at the last one cross entropy has vanished in float64.
GAPS = np.geomspace(1e-2, 600.0, 41)
# Each takes two of 40 intervals: 1/20 of the width, and the loss is flat in second order.
ROUNDS = 5


class Saturated(NamedTuple):
    """Logits whose directions all cost lambda_V / 2, whatever their scale.

    Attributes:
        logits: of every class (K, K), at the scale of least loss.
        rank: of them.
        loss: its mean there, over all samples.
    """

    logits: Array
    rank: int
    loss: float

    def value(self, lambda_V: Any) -> float:
        """What such points approach, so that inf f is not larger: rank lambda_V/2 + the loss."""
        return self.rank * float(lambda_V) / 2 + self.loss


def saturated_codes(loss: Loss, counts: tuple[int, ...], d: int) -> tuple[Saturated, ...]:
    """Classes on a circle and as a simplex, at their best scales; on a line as two halves.

    For squared error the largest classes, each in a direction of its own, one more in every code.

    A loss that vanishes as logits grow does so on the circle, where two directions tell all classes
    apart; one that has its minimum at a finite gap, as with label smoothing, does not vanish.
    Source: derived here (docs/theory.md, DQ-3).

    Example:
        >>> from ufm.losses import CrossEntropy
        >>> circle, simplex = saturated_codes(CrossEntropy(), (2, 2, 2, 2), 5)
        >>> circle.rank, simplex.rank, round(circle.loss, 12) + 0.0
        (2, 3, 0.0)
    """
    K = len(counts)
    if quadratic_form(loss, K) is not None:
        order = np.argsort(-np.asarray(counts), kind="stable")
        kept = [order[:rank] for rank in range(1, min(K, d) + 1)]
        fitted = [np.diag(np.isin(np.arange(K), some).astype(float)) for some in kept]
        return tuple(_at_best_scale(loss, counts, r, code) for r, code in enumerate(fitted, 1))
    turns = 2 * math.pi / K * (np.arange(K)[:, None] - np.arange(K))
    codes = [(2, np.cos(turns) / (1 - math.cos(2 * math.pi / K)))]
    if d == 1 or K == 2:
        signs = np.where(np.arange(K) % 2, -1.0, 1.0)
        codes = [(1, np.outer(signs, signs) / 2)]
    elif K > 3 and d >= K - 1:
        codes.append((K - 1, np.eye(K) - 1 / K))
    return tuple(_at_best_scale(loss, counts, rank, code) for rank, code in codes)


def _at_best_scale(loss: Loss, counts: tuple[int, ...], rank: int, code: Array) -> Saturated:
    classes, shares = np.arange(len(counts)), np.asarray(counts) / sum(counts)

    def means(gaps: Array) -> Array:
        Z = np.concatenate([gap * code for gap in gaps], axis=1)
        losses = np.asarray(column_losses(loss, Z, np.tile(classes, len(gaps))))
        return losses.reshape(len(gaps), -1) @ shares

    gaps, heights = GAPS, means(GAPS)
    for _ in range(ROUNDS):
        i = int(np.argmin(heights))
        gaps = np.linspace(gaps[max(i - 1, 0)], gaps[min(i + 1, len(gaps) - 1)], len(gaps))
        heights = means(gaps)
    i = int(np.argmin(heights))
    return Saturated(gaps[i] * code, rank, float(heights[i]))


def best_simplex(
    loss: Loss, K: int, n: int, sigma: float, lambda_V: float
) -> tuple[Code, float] | None:
    """The simplex of least objective among those that are attained, and the objective.

    It minimises the loss at a gap a plus (K - 1) times the penalty of sqrt(n) a (DQ-1); None where
    the least is at a singular value that saturates.

    Args:
        loss: one that ignores common shifts of the logits.
        K: classes.
        n: samples of every class.
        sigma: sqrt(lambda_W lambda_X).
        lambda_V: weight decay of the layer.

    Example:
        >>> from ufm.losses import CrossEntropy
        >>> code, value = best_simplex(CrossEntropy(), 4, 2, 0.01, 1.0)
        >>> round(code.a, 8), round(value, 10)
        (4.28036544, 0.2167783514)
    """
    root = math.sqrt(n)
    last = lambda_V / (sigma * root)

    def height(a: float) -> float:
        cost = (K - 1) * plateau(root * a, sigma, lambda_V)
        return logit_curve(loss, a, 0.0, K).value + float(cost)

    grid = np.append(0.0, np.geomspace(1e-3, 1, 60)) * min(last, 1e3)
    i = int(np.argmin([height(a) for a in grid]))
    ends = (grid[max(i - 1, 0)], grid[min(i + 1, len(grid) - 1)])

    def slope(a: float) -> float:
        curve = logit_curve(loss, a, 0.0, K)
        price = root * sigma * (1 - min(1.0, a / last))
        return (curve.own - curve.other) * (K - 1) / K + (K - 1) * price

    a = 0.0
    if slope(ends[0]) < 0 < slope(ends[1]):
        a = float(scipy.optimize.brentq(slope, *ends, xtol=1e-15, rtol=1e-15))
    if a * root * sigma >= lambda_V * (1 - 1e-9):
        return None
    return Code(a, 0.0, 0.0, K), height(a)
