"""The collapse transition: how the solution shrinks to zero as the weight decay grows."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import jax
import numpy as np
from matplotlib.axes import Axes

from landscape.plots.style import INK, loss_colour, loss_label, loss_marker
from landscape.solvers.solve import solve
from ufm.losses.loss import Loss
from ufm.plain.minimisers import thresholds
from ufm.plain.model import UFM
from ufm.typing import Array

# Where the solver is run, as a share of the threshold: both sides, and close to it.
MEASURED_AT = (0.1, 0.25, 0.4, 0.55, 0.7, 0.85, 0.95, 1.05, 1.2)


@dataclass(frozen=True)
class TransitionRecord:
    """The logit gap of the global minimum against the decay c, predicted and measured.

    Attributes:
        loss: name of the loss.
        threshold: the c at which the minimum collapses to the origin, in closed form.
        theory_c, theory_gap: the predicted curve.
        measured_c, measured_gap: ends of a solver from random starts.
    """

    loss: str
    threshold: float
    theory_c: Array
    theory_gap: Array
    measured_c: Array
    measured_gap: Array


def logit_gap(Z: Any) -> float:
    """The own logit minus the mean of the others, averaged over classes; Z (K, K).

    Example:
        >>> round(logit_gap(2 * np.eye(3) - 2 / 3), 12)
        2.0
    """
    Z = np.asarray(Z)
    K = len(Z)
    return float((np.trace(Z) - (Z.sum() - np.trace(Z)) / (K - 1)) / K)


def transition_record(
    loss: Loss,
    num_classes: int = 4,
    d: int = 5,
    *,
    measured_at: Sequence[float] = MEASURED_AT,
    curve: int = 24,
) -> TransitionRecord:
    """Closed form and solver on both sides of the threshold, bias-free, n = 1.

    Args:
        loss: an equivariant loss with a closed-form minimiser.
        num_classes: K.
        d: feature dimension, >= K.
        measured_at: where to run the solver, as shares of the threshold.
        curve: points of the predicted curve.

    Example:
        >>> from ufm import MSE
        >>> data = transition_record(MSE(), 3, 3, measured_at=(0.5,), curve=5)
        >>> data.threshold, round(float(data.measured_gap[0]), 9)  # 1 - c
        (1.0, 0.5)
    """

    def at(c: float) -> UFM:
        decay = c / num_classes
        return UFM(loss, num_classes, d, lambda_W=decay, lambda_H=decay)

    threshold = thresholds(at(0.5)).collapse
    grid = threshold * np.unique(np.append(np.geomspace(0.04, 1.3, curve), 1.0))
    predicted = []
    for c in grid:
        found = at(float(c)).minimiser()
        predicted.append(np.nan if found is None else logit_gap(found.point.W @ found.point.H))
    chosen = threshold * np.asarray(measured_at)
    measured = []
    for i, c in enumerate(chosen):
        run = solve(at(float(c)), key=jax.random.key(i))
        measured.append(logit_gap(run.point.W @ run.point.H) if run.result else np.nan)
    return TransitionRecord(
        loss.name, threshold, grid, np.array(predicted), chosen, np.array(measured)
    )


def draw_transition(data: Sequence[TransitionRecord], ax: Axes, title: str = "") -> Axes:
    """Logit gap against c over its threshold: lines are theory, markers what a solver found.

    Args:
        data: one record per loss.
        ax: where to draw.
        title: heading.
    """
    for record in data:
        colour = loss_colour(record.loss)
        name = f"{loss_label(record.loss)}  $c^*$ = {record.threshold:.3g}"
        ax.plot(record.theory_c / record.threshold, record.theory_gap, color=colour)
        ax.plot(
            record.measured_c / record.threshold,
            record.measured_gap,
            loss_marker(record.loss),
            color=colour,
            mec=INK,
            mew=0.5,
            ms=5,
            label=name,
        )
    top = max(float(np.nanmax(record.theory_gap)) for record in data)
    ax.plot([1, 1], [0, 0.42 * top], ":", color=INK, lw=1.2)
    ax.text(1.02, 0.3 * top, "collapse\nto the origin", fontsize=8, va="center")
    ax.set_xlim(0, 1.32)
    ax.set_ylim(-0.03 * top, 1.06 * top)
    ax.set_xlabel(r"weight decay $c\,/\,c^*$,   $c=\sqrt{KN\lambda_W\lambda_H}$")
    ax.set_ylabel("logit gap of the minimum")
    ax.set_title(title)
    ax.legend(loc="upper right", title="line: theory, marker: solver", title_fontsize=8)
    return ax
