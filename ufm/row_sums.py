"""The sum of classifier rows, and its exact course under stochastic gradient descent."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from ufm.typing import Array


def nc0(W: Any) -> float:
    """How far the rows of a classifier are from adding up to zero.

    |W^T 1|^2 / K

    Source: arXiv 2602.16642.

    Args:
        W: (K, d).

    Returns:
        The number, in float64 whatever W is.

    Example:
        >>> nc0([[3.0, 0.0], [0.0, 4.0]])
        12.5
    """
    W = np.asarray(W, np.float64)
    return float(np.sum(W.sum(axis=0) ** 2) / len(W))


def nc0_course(
    rates: Sequence[float],
    steps: int,
    decay: float,
    momentum: float = 0.0,
    *,
    nesterov: bool = False,
    decoupled: bool = False,
) -> Array:
    """NC0 after every epoch of gradient descent over that at the start, whatever features do.

    Coupled decay: m <- momentum m + decay s, then s <- s - rate m (nesterov: s - rate (decay s +
    momentum m)); decoupled: s <- (1 - rate decay) s. From s = 1, m = 0; NC0 goes as s^2.

    Source: OP-1 of docs/theory.md; with coupled decay derived here. The loss ignores common shifts
    of the logits, so its gradient has rows that add up to zero and only the decay moves their sum;
    buffers of momentum start at zero. Shortened gradients keep a sum of zero, but not a decay that
    is part of them.

    Args:
        rates: learning rate of every epoch, (T,), > 0.
        steps: in an epoch, >= 1.
        decay: of the classifier, >= 0.
        momentum: in [0, 1).
        nesterov: whether a step looks ahead along the momentum.
        decoupled: whether the decay is left out of the gradient.

    Returns:
        (T + 1,), from 1; not finite from where it overflows.

    Example:
        >>> nc0_course([0.5], 2, 0.5, 0.9, decoupled=True).tolist()
        [1.0, 0.31640625]
    """
    inside, outside = (0.0, decay) if decoupled else (decay, 0.0)
    # (s, m) -> the next: m' = momentum m + inside s, then the step along it and the outer decay.
    kept = np.array([inside, momentum])
    step = np.array([inside, 0.0]) + momentum * kept if nesterov else kept
    state, course = np.array([1.0, 0.0]), [1.0]
    # A rate that is too large diverges, here as in the network.
    with np.errstate(over="ignore", invalid="ignore"):
        for rate in rates:
            matrix = np.array([[1 - rate * outside, 0.0] - rate * step, kept])
            state = np.linalg.matrix_power(matrix, steps) @ state
            course.append(state[0])
        return np.square(course)
