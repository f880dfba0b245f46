"""Schedules of the learning rate."""

from __future__ import annotations

import math

SCHEDULES = ("cosine", "step", "constant")
# Papyan, Han & Donoho 2020: a tenth after a third and after two thirds of the epochs.
STEP_FACTOR = 0.1


def learning_rate(schedule: str, first: float, epoch: int, num_epochs: int) -> float:
    """The learning rate in an epoch (from 0).

    cosine: first (1 + cos(pi epoch / num_epochs)) / 2 (Loshchilov & Hutter 2017); step: first,
    divided by 10 after a third and again after two thirds of the epochs (Papyan, Han & Donoho
    2020); constant: first.

    Example:
        >>> [round(learning_rate("step", 1.0, epoch, 6), 3) for epoch in range(6)]
        [1.0, 1.0, 0.1, 0.1, 0.01, 0.01]
    """
    if schedule == "cosine":
        return 0.5 * first * (1 + math.cos(math.pi * epoch / num_epochs))
    if schedule == "step":
        return first * STEP_FACTOR ** (3 * epoch // num_epochs)
    return first
