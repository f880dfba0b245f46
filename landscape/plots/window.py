"""The window in which focal loss has a spurious local minimum at the origin (K >= 18)."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import jax
import numpy as np
from matplotlib.axes import Axes

from landscape.plots.style import INK, RED, YELLOW, loss_colour
from landscape.plots.transition import logit_gap
from landscape.solvers.solve import solve
from ufm.frames import simplex_etf
from ufm.losses.logit_curve import slopes
from ufm.losses.loss import Loss
from ufm.plain.minimisers import thresholds
from ufm.plain.model import UFM
from ufm.point import Point
from ufm.typing import Array


@dataclass(frozen=True)
class WindowRecord:
    """Symmetric critical points against the decay c, and where descents end.

    Attributes:
        loss: name of the loss.
        num_classes: K.
        origin: from this c on the origin is a local minimum.
        collapse: from this c on it is the global one.
        branch_c, branch_gap: the curve of symmetric critical points with a positive logit gap.
        measured_c: decays at which a solver was run.
        from_origin, from_frame: logit gap where it ended, from a tiny start and from an ETF.
    """

    loss: str
    num_classes: int
    origin: float
    collapse: float
    branch_c: Array
    branch_gap: Array
    measured_c: Array
    from_origin: Array
    from_frame: Array

    @property
    def fold(self) -> int:
        """Where the branch turns round: stable from there on, unstable before."""
        return int(np.argmax(self.branch_c))


def window_record(loss: Loss, num_classes: int, *, cells: int = 9) -> WindowRecord:
    """The branch of symmetric critical points, and solver runs from both of its sides.

    Source: FL-3 of docs/theory.md (derived here).

    Args:
        loss: a shift-invariant equivariant loss.
        num_classes: K; d = K - 1, n = 1, no bias.
        cells: decays at which the solver is run.

    Example:
        >>> from ufm import Focal
        >>> data = window_record(Focal(3.0), 20, cells=0)
        >>> round(data.origin, 5), round(data.collapse, 5)
        (1.26292, 1.26431)
    """
    K = num_classes

    def at(c: float) -> UFM:
        return UFM(loss, K, K - 1, lambda_W=c / K, lambda_H=c / K)

    edges = thresholds(at(1.0))
    gap = np.linspace(1e-3, 8.0, 400)
    # On the branch the slope of the loss along the gap balances the decay: c = K (-own) / (K - 1)
    # by shift invariance, where own = -(K - 1) other.
    other = np.asarray(slopes(loss, gap, np.zeros_like(gap), K)[2])
    branch = K * other
    peak = float(branch.max())
    width = max(peak - edges.origin, 1e-3)
    chosen = np.linspace(edges.origin - 0.5 * width, peak + 0.35 * width, cells)
    rng = np.random.default_rng(0)
    small, large = [], []
    for c in chosen:
        model = at(float(c))
        tiny = Point(*(1e-3 * rng.standard_normal(shape) for shape in ((K, K - 1), (K - 1, K))))
        frame = np.sqrt(gap[int(np.argmax(branch))] + 1.0) * simplex_etf(K)
        small.append(_end(model, tiny))
        large.append(_end(model, Point(frame, frame.T)))
    return WindowRecord(
        loss.name,
        K,
        edges.origin,
        edges.collapse,
        branch,
        gap,
        chosen,
        np.array(small),
        np.array(large),
    )


def _end(model: UFM, start: Point) -> float:
    run = solve(model, jax.tree.map(np.asarray, start), reduction=True)
    return logit_gap(run.point.W @ run.point.H) if run.result else np.nan


def draw_window(data: WindowRecord, ax: Axes, title: str = "") -> Axes:
    """Both branches, solid where stable; shaded: two local minima, the origin the worse one.

    Args:
        data: the branches and the measured ends.
        ax: where to draw.
        title: heading.
    """
    colour, fold = loss_colour(data.loss), data.fold
    left, right = float(data.measured_c[0]), float(data.measured_c[-1])
    pad = 0.03 * (right - left)
    ax.axvspan(data.origin, data.collapse, color=YELLOW, alpha=0.35, lw=0)
    ax.plot(data.branch_c[fold:], data.branch_gap[fold:], color=colour, lw=2)
    ax.plot(data.branch_c[: fold + 1], data.branch_gap[: fold + 1], ":", color=colour, lw=1.6)
    ax.plot([left - pad, data.origin], [0, 0], ":", color=INK, lw=1.6)
    ax.plot([data.origin, right + pad], [0, 0], color=INK, lw=2)
    ends: tuple[tuple[Any, str, str, str], ...] = (
        (data.from_frame, "D", colour, "solver from an ETF"),
        (data.from_origin, "o", RED, "solver from near the origin"),
    )
    for gaps, marker, face, name in ends:
        ax.plot(data.measured_c, gaps, marker, color=face, mec=INK, mew=0.5, ms=5, label=name)
    inside = (data.branch_c[fold:] >= left) & (data.branch_gap[fold:] > 0)
    top = float(data.branch_gap[fold:][inside].max()) if inside.any() else 1.0
    ax.set_xlim(left - pad, right + pad)
    ax.set_ylim(-0.08 * top, 1.55 * top)
    ax.text(
        0.5 * (data.origin + data.collapse),
        1.12 * top,
        "spurious\nminimum\nat 0",
        ha="center",
        va="center",
        fontsize=8,
    )
    unstable = data.branch_gap[: fold + 1]
    ax.annotate(
        "unstable",
        (data.branch_c[len(unstable) // 2], unstable[len(unstable) // 2]),
        xytext=(-6, 0),
        textcoords="offset points",
        ha="right",
        va="center",
        fontsize=7.5,
        color=INK,
    )
    ax.set_xlabel(r"weight decay $c$")
    ax.set_ylabel("logit gap")
    ax.set_title(title)
    ax.legend(loc="upper right", handletextpad=0.2)
    return ax
