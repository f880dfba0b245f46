"""Neural collapse along gradient descent, against the rate that the Hessian spectrum predicts."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

import jax
import numpy as np
from matplotlib.axes import Axes
from matplotlib.ticker import LogLocator, NullLocator

from landscape.plots.style import INK, darker, loss_colour, loss_label
from ufm.collapse import collapse
from ufm.model import Model
from ufm.plain.model import UFM
from ufm.plain.spectra import minimiser_spectrum
from ufm.typing import Array

FLOOR = 1e-13  # below it a metric is rounding
SAME = 1e-9  # relative distance of two eigenvalues that are one
# Metric -> field of Collapse; these three vanish for an ETF and for an orthogonal frame alike.
METRICS: Mapping[str, str] = {"NC1": "nc1_geo", "NC2": "nc2_rwu", "NC3": "nc3_dln"}
TITLES = {
    "NC1": "NC1: scatter within classes",
    "NC2": "NC2: class means, to an ETF",
    "NC3": "NC3: classifier, to the means",
}


@dataclass(frozen=True)
class DescentRecord:
    """The collapse metrics of one run of gradient descent.

    Attributes:
        loss: name of the loss.
        times: learning rate times step, at which the metrics were taken.
        values: metric name -> values.
        rates: metric name -> predicted exponential rate per unit of time, at the minimiser.
    """

    loss: str
    times: Array
    values: Mapping[str, Array]
    rates: Mapping[str, float]


@partial(jax.jit, static_argnames=("snapshots", "stride"))
def _run(
    model: Model[Any], start: Any, learning_rate: Any, snapshots: int, stride: int
) -> tuple[Any, Any]:
    gradient = jax.grad(model.objective)

    def step(_: Any, x: Any) -> Any:
        return jax.tree.map(lambda a, g: a - learning_rate * g, x, gradient(x))

    def chunk(x: Any, _: Any) -> tuple[Any, Any]:
        return jax.lax.fori_loop(0, stride, step, x), x

    return jax.lax.scan(chunk, start, None, length=snapshots)


def descent_record(
    model: UFM,
    *,
    key: jax.Array | None = None,
    learning_rate: float = 0.5,
    snapshots: int = 60,
    stride: int = 20,
) -> DescentRecord:
    """Run gradient descent on all samples and measure NC1, NC2 and NC3 on the way.

    Args:
        model: a balanced UFM with a closed-form spectrum and n >= 2.
        key: random key of the start, default ``jax.random.key(0)``.
        learning_rate: step of gradient descent; time is steps times this.
        snapshots: how often the metrics are taken.
        stride: steps between two of them.

    Example:
        >>> from ufm import CrossEntropy
        >>> model = UFM(CrossEntropy(), 3, 3, 2, lambda_W=0.1, lambda_H=0.1)
        >>> data = descent_record(model, snapshots=20)
        >>> bool(data.values["NC1"][-1] < 1e-6 * data.values["NC1"][0])
        True
    """
    start = model.random_point(jax.random.key(0) if key is None else key)
    _, path = _run(model, start, learning_rate, snapshots, stride)
    labels = np.asarray(model.labels)
    W, H = np.asarray(path.W), np.asarray(path.H)
    records = [collapse(h.T, labels, classifier=w) for w, h in zip(W, H, strict=True)]
    values = {
        name: np.array([getattr(record, field) for record in records], dtype=np.float64)
        for name, field in METRICS.items()
    }
    times = learning_rate * stride * np.arange(snapshots, dtype=np.float64)
    return DescentRecord(model.loss.name, times, values, predicted_rates(model, learning_rate))


def predicted_rates(model: UFM, learning_rate: float) -> dict[str, float]:
    """The exponential rate of each metric near the minimiser, from the closed-form spectrum.

    A mode of Hessian eigenvalue mu shrinks by 1 - learning_rate mu in a step. NC2 and NC3 are
    linear in the distance, NC1 is quadratic. What each of them sees to leading order:

    * NC1: within-class differences inside row(W), and those outside it (lambda_H) times the angle
      between row(W) and the class means (lambda_W + lambda_H), if there is an outside;
    * NC2: angles and norms of the class means; a common shift of the rows of W (lambda_W, where
      the loss ignores shifts) is not among them;
    * NC3: whatever moves W and the means apart: norms, common shifts, the complement.

    Source: derived here from the spectra of docs/theory.md, section 7.

    Example:
        >>> from ufm import CrossEntropy
        >>> model = UFM(CrossEntropy(), 3, 3, 2, lambda_W=0.1, lambda_H=0.1)
        >>> rates = predicted_rates(model, 0.01)
        >>> round(rates["NC3"], 3)  # the common shift of W feels only its decay
        0.1
    """
    spectrum = minimiser_spectrum(model)
    lw, lh = float(model.lambda_W), float(model.lambda_H)
    drops_shift = model.loss.properties(model.num_classes).shift_invariant

    def slowest(*blocks: str, without: float | None = None) -> float:
        return min(
            rate(level.value)
            for level in spectrum
            if level.block.startswith(blocks)
            and level.value > SAME * spectrum.radius
            and (without is None or abs(level.value - without) > SAME * spectrum.radius)
        )

    def rate(mu: float) -> float:
        return -float(np.log1p(-learning_rate * mu)) / learning_rate

    within = slowest("within-class, inside", "within-class, own")
    if any(level.block.startswith("complement") for level in spectrum):
        within = min(within, rate(lh) + rate(lw + lh))
    shape = slowest("frame angles", "frame standard", without=lw if drops_shift else None)
    duality = slowest("complement", "frame standard")
    return {"NC1": 2 * within, "NC2": shape, "NC3": duality}


def _last_sound(values: Array) -> int:
    below = np.flatnonzero(~(values > FLOOR))
    return int(below[0]) if len(below) else len(values)


def draw_descent(data: Sequence[DescentRecord], ax: Axes, metric: str = "NC1") -> Axes:
    """One metric along descent for several losses; dashed: the predicted slope.

    Args:
        data: one record per loss.
        ax: where to draw.
        metric: "NC1", "NC2" or "NC3".
    """
    lowest, latest = np.inf, 0.0
    for order, record in enumerate(data):
        values, colour = record.values[metric], loss_colour(record.loss)
        last = max(_last_sound(values), 2)
        times, values = record.times[:last], values[:last]
        # Thinner and thinner, so that curves on top of each other all show.
        width = 4.0 - 2.6 * order / max(len(data) - 1, 1)
        ax.semilogy(times, values, color=colour, lw=width, label=loss_label(record.loss))
        # The prediction is drawn through the last sound value.
        late = times >= 0.35 * times[-1]
        slope = values[-1] * np.exp(-record.rates[metric] * (times[late] - times[-1]))
        ax.semilogy(times[late], slope, "--", color=darker(colour, 0.6), lw=1.1)
        lowest, latest = min(lowest, float(values[-1])), max(latest, float(times[-1]))
    top = max(float(np.nanmax(record.values[metric])) for record in data)
    ax.set_xlim(0, 1.03 * latest)
    ax.set_ylim(0.2 * lowest, 5 * top)
    # Plain text: formatting powers of ten as formulas takes longer than the descent.
    ax.yaxis.set_major_locator(LogLocator(10, numticks=8))
    ax.yaxis.set_minor_locator(NullLocator())
    ax.yaxis.set_major_formatter("{x:.0e}")
    ax.set_xlabel("time (learning rate × steps)")
    ax.set_ylabel("distance from collapse")
    ax.set_title(TITLES.get(metric, metric))
    ax.plot([], [], "--", color=INK, lw=1.1, label="predicted rate")
    # Below the axes: the curves may go anywhere inside.
    ax.legend(
        loc="upper center",
        bbox_to_anchor=(0.45, -0.17),
        ncols=2,
        handlelength=1.6,
        columnspacing=1.2,
    )
    return ax
