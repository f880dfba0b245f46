"""Flows of the central path against their exact laws."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

from landscape.flows.central_path import Flow, Path
from landscape.plots.style import BLUE, INK, ORANGE
from ufm.collapse.central_path import follow
from ufm.errors import InputError

COLOURS = {Flow.TANGENT: BLUE, Flow.REWHITENED: ORANGE}
NAMES = {
    Flow.TANGENT: "tangent flow (CP-3)",
    Flow.REWHITENED: "step, then re-whiten (CP-4)",
}


def draw_central_path(paths: dict[Flow, Path], num_classes: int, n: int, ax: Any) -> Any:
    r"""Signal-to-noise values against time: dots are the flow, lines its law.

    tangent: n (K^2 log w + K w^2 + w^4/4) = t + a;  re-whitened: N (K log w + w^2/2) = t + a.
    Lines begin at the first dot and know nothing of the others.

    Args:
        paths: flow -> what ``landscape.flows.central_path.run`` gave, from the same start.
        num_classes: K.
        n: samples per class.
        ax: to draw on.

    Raises:
        InputError: no path.

    Example:
        >>> from matplotlib.figure import Figure
        >>> from landscape.flows.central_path import run
        >>> y = np.repeat([0, 1, 2], 4)
        >>> H = np.random.default_rng(2).standard_normal((12, 3))
        >>> drawn = {Flow.TANGENT: run(H, y, [0.0, 10.0, 50.0])}
        >>> len(draw_central_path(drawn, 3, 4, Figure().subplots()).lines)
        4
    """
    if not paths:
        raise InputError("Need a path to draw", "none", "run a flow first")
    for flow, path in paths.items():
        times = np.linspace(path.times[0], path.times[-1], 200)
        law = follow(flow.law, path.omega[0], times, num_classes, n)
        _lines(ax, times, law, "-", COLOURS[flow], NAMES[flow])
        _lines(ax, path.times, path.omega, "o", COLOURS[flow], None)
    ax.set_xlabel("time")
    ax.set_ylabel(r"$\omega_j$, singular values of $\Sigma_W^{-1/2}\bar M$")
    ax.tick_params(colors=INK)
    ax.legend()
    return ax


def _lines(
    ax: Any, x: npt.ArrayLike, values: Any, style: str, colour: str, label: str | None
) -> None:
    for j, column in enumerate(np.asarray(values).T):
        size = {"markersize": 3.5} if style == "o" else {"linewidth": 1.2}
        ax.plot(x, column, style, color=colour, label=label if j == 0 else None, **size)
