"""Rates at which NC1, NC2 and NC3 fall under gradient descent: measured, and from the Hessian."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.optimize import least_squares

from experiments.sweep.tasks.minimise import descend, ending
from experiments.sweep.tasks.registry import Columns
from experiments.sweep.tasks.verdict import own_point
from experiments.sweep.work import Work
from landscape.flows.gradient_descent import RECORDS, descend_many, metrics
from landscape.flows.rates import Linearised, Rates
from landscape.solvers.newton import narrowed
from ufm.point import Point, widened
from ufm.stack import stack
from ufm.typing import Array

NAMES = ("nc1", "nc2", "nc3")
# A deviation is clean while it exceeds rounding a thousandfold, so that its logarithm is known to
# 1e-3. Rounding of x in every step, eps |x|, adds up over 1 / (step lambda) = kappa steps.
MARGIN = 1e3
CLEAN = MARGIN * float(np.finfo(np.float64).eps)
# Rates are fitted to four decades above that, 9 e-foldings. Where a fit misses by more than
# rounding, further modes are still there, and a later stretch is taken, of one decade at least.
WINDOWS = (1e4, 1e3, 1e2, 1e1)
# What a deviation has to fall by above rounding, so that something can be fitted at all.
SHORTEST = 1e2
# Records that enter a fit at most; where it begins (gaps to the next mode, relative to the rate);
# the logarithm by which either mode may lead at the last record; sizes of the four unknowns.
MOST = 120
GAPS = (0.1, 0.5, 3.0)
LEAD = 2.0
SCALES = (0.1, 1.0, 1.0, 1.0)
# Of a polished minimum that is a simplex; others are O(1).
VANISHED = 1e-6
# Below this share of the largest an eigenvalue across the orbit is not told from zero or less: the
# slope of its mode would be below what rounding leaves of a run.
DEGENERATE = 1e-9
# Records that make a fit of four numbers: of a deviation that falls by half or less in a step.
FEWEST = 6


@dataclass(frozen=True)
class _Prepared:
    """A cell that is ready to run: the full model, its start, and what is expected."""

    index: int
    model: Any
    start: Point
    step: float
    stride: int
    clean: float
    vanishing: NDArray[np.bool_]
    predicted: Rates


def rate(work: Work) -> Columns:
    r"""Asymptotic rates of NC1, NC2, NC3 under full-batch gradient descent from a perturbed end.

    The minimum that descent finds is polished, every sample of every class gets its own feature,
    all of W, H and b are moved by ``amplitude`` |x| in the cell's random direction, and gradient
    descent runs with step 1 / lambda_max until the slowest mode is rounding, or for
    ``max_iterations``. Rates are -d log(metric) / dt as t -> infinity, t = step * iteration, from
    the last decades of the deviation (sqrt(NC1), NC2, NC3) above rounding: it is fitted by the
    slowest mode and another, because a slope alone still feels a second mode of nearly that rate.

    NC1 = tr S_within / tr S_between, NC2 = |u(W W^T) - E|, NC3 = |u(W C_G^T) - E|
    (``nc1_ratio``, ``nc2_geo``, ``nc3_geo`` of ``ufm.collapse``).
    A predicted rate is what holds in the limit. Where a metric falls with the square of a slow mode
    that it does not see otherwise, ``reason`` says so: such a square is some ``amplitude`` times
    smaller, and the measured rate may still be that of the first order when rounding is reached.
    Source: ``landscape.flows.rates``, derived there; LS-3 of docs/theory.md.

    Args:
        work: a batch of cells.

    Returns:
        Columns added to those of ``minimise``: step, rate_nc1.. (measured), predicted_nc1..;
        NaN for NC1 with one sample per class, and for a metric that does not vanish at the end.

    Example:
        >>> from experiments.sweep.cells import expand
        >>> from experiments.sweep.spec import make_spec
        >>> spec = make_spec({"task": "rate", "axes": {"K": 3, "d": 2, "n": 2, "c": 0.3}})
        >>> found = rate(Work(expand(spec), 2, spec.options, 1, False))
        >>> bool(abs(found["rate_nc1"][0] / found["predicted_nc1"][0] - 1) < 0.02)
        True
    """
    found = descend(work, work.models)
    columns = ending(work, found)
    size = len(work.cells)
    for name in ("step", *(f"{kind}_{n}" for kind in ("rate", "predicted") for n in NAMES)):
        columns[name] = np.full(size, np.nan)
    ready: list[_Prepared] = []
    for i in np.flatnonzero(columns["result"] == "CONVERGED"):
        if columns["rank"][i] == 0:
            _say(columns, i, "UNDECIDED", "the end has rank 0, where nothing collapses")
            continue
        prepared = _prepare(work, own_point(work, found, int(i)), int(i))
        if isinstance(prepared, str):
            _say(columns, i, "UNDECIDED", prepared)
            continue
        ready.append(prepared)
        columns["step"][i] = prepared.step
        for k, name in enumerate(NAMES):
            value = getattr(prepared.predicted, name)
            columns[f"predicted_{name}"][i] = value if prepared.vanishing[k] else np.nan
            if prepared.vanishing[k] and k and prepared.predicted.order[k - 1] == 2:
                _say(columns, i, "CONVERGED", f"{name.upper()} ends with the square of a slow mode")
            if prepared.vanishing[k] and np.isnan(value):
                _say(
                    columns, i, "UNDECIDED", f"{name.upper()} may end with a product of three modes"
                )
    shapes = [(cell.model.d, cell.model.num_columns) for cell in ready]
    for shape in sorted(set(shapes)):
        alike = [cell for cell, own in zip(ready, shapes, strict=True) if own == shape]
        records = descend_many(
            stack([cell.model for cell in alike]),
            stack([cell.start for cell in alike]),
            np.array([cell.step for cell in alike]),
            np.array([cell.stride for cell in alike]),
            together=work.together,
        )
        for cell, fallen in zip(alike, np.asarray(records), strict=True):
            _fit(work, columns, cell, fallen)
    return columns


def _say(columns: Columns, i: Any, result: str, reason: str) -> None:
    before = columns["reason"][i]
    columns["result"][i] = result
    columns["reason"][i] = f"{before}; {reason}" if before else reason


def _prepare(work: Work, end: Point, i: int) -> _Prepared | str:
    """A cell's start and predictions, or why there are none."""
    model = work.cells.model(i)
    amplitude, most = float(work.options["amplitude"]), int(work.options["max_iterations"])
    narrow, inner, _ = narrowed(model, end)
    linear = Linearised(narrow, inner)
    modes = linear.modes()
    slowest = min(float(modes.values[0]), float(modes.within.min(initial=np.inf)))
    if slowest <= DEGENERATE * modes.largest:
        return f"the end is no nondegenerate minimum: an eigenvalue of {slowest:.1e}"
    step, kappa = 1 / modes.largest, modes.largest / slowest
    clean = CLEAN * kappa
    if amplitude < SHORTEST * clean:
        return f"at condition {kappa:.0e} rounding leaves no stretch to fit below the amplitude"
    merge = model.merge()
    wide = widened(inner, model.d)
    base = wide if merge is None else merge.lift(wide)
    vanishing = np.asarray(metrics(model, base)) <= VANISHED
    vanishing[0] = max(model.counts_tuple) > 1
    needed = np.log(SHORTEST * amplitude / clean) / -np.log1p(-step * slowest)
    stride = int(np.ceil(max(1.0, min(needed, most) / RECORDS)))
    seed = int(work.cells.columns["seed"][i])
    start = _moved(base, amplitude, seed)
    return _Prepared(i, model, start, step, stride, clean, vanishing, linear.rates(step))


def _moved(base: Point, amplitude: float, seed: int) -> Point:
    """A point moved by amplitude |x| in a random direction of all its coordinates."""
    rng = np.random.default_rng(seed)
    parts = [leaf for leaf in base.to_numpy() if leaf is not None]
    moves = [rng.standard_normal(leaf.shape) for leaf in parts]
    length = np.sqrt(sum(float(np.sum(leaf**2)) for leaf in parts))
    size = np.sqrt(sum(float(np.sum(move**2)) for move in moves))
    return Point(*(x + amplitude * length / size * y for x, y in zip(parts, moves, strict=True)))


def _fit(work: Work, columns: Columns, cell: _Prepared, fallen: Array) -> None:
    """Slopes of one cell into its columns."""
    iterations = np.arange(RECORDS) * cell.stride
    within = iterations <= int(work.options["max_iterations"])
    times: Array = np.asarray(cell.step * iterations[within], dtype=np.float64)
    for k, name in enumerate(NAMES):
        if not cell.vanishing[k]:
            if k:
                result = columns["result"][cell.index]
                _say(columns, cell.index, result, f"{name.upper()} does not vanish at the end")
            continue
        power = 2 if k == 0 else 1
        slope, reached = measured(
            times, np.asarray(fallen[within, k] ** (1 / power), np.float64), cell.clean
        )
        columns[f"rate_{name}"][cell.index] = power * slope
        if np.isnan(slope) and reached:
            _say(columns, cell.index, "UNDECIDED", f"{name.upper()} falls in too few steps")
        elif np.isnan(slope):
            reason = f"{name.upper()} has not fallen enough after {iterations[within][-1]} steps"
            _say(columns, cell.index, "MAX_ITERATIONS", reason)
        elif not reached:
            reason = f"{name.upper()} is still above rounding"
            _say(columns, cell.index, "MAX_ITERATIONS", reason)


def measured(times: Array, deviations: Array, clean: float) -> tuple[float, bool]:
    """Asymptotic rate of a decaying deviation, and whether it reached rounding.

    r in deviation^2 = A e^{-2 r t} + C e^{-(2 r + g) t}, A, C, g > 0, by least squares on the
    logarithm over the last four clean decades, or fewer where more than two modes are seen in them.
    Source: derived here.

    Args:
        times: of the records, ascending.
        deviations: at these times, positive.
        clean: below it they are rounding.

    Returns:
        (rate, reached); the rate is NaN with fewer than six records or less than two decades.

    Example:
        >>> t = np.linspace(0.0, 30.0, 200)
        >>> rate, reached = measured(t, np.exp(-t) + np.exp(-2 * t) + 1e-14, 1e-10)
        >>> round(rate, 2), reached
        (1.0, True)
    """
    over = deviations > clean
    reached = not over.all()
    last = int(np.argmin(over)) if reached else len(deviations)
    if last < FEWEST or not np.isfinite(deviations[:last]).all():
        return np.nan, reached
    falls = deviations[:last] / deviations[last - 1]
    found = np.nan
    for window in WINDOWS if falls.max() >= SHORTEST else ():
        high = np.flatnonzero(falls > window)
        stretch = np.arange(high[-1] + 1 if len(high) else 0, last)
        if len(stretch) < FEWEST:
            break
        chosen = stretch[:: -(-len(stretch) // MOST)]
        found, misfit = _two_modes(times[chosen], np.log(deviations[chosen]))
        if misfit <= 1 / MARGIN:
            break
    return found, reached


def _two_modes(times: Array, logs: Array) -> tuple[float, float]:
    """The slower rate of two modes whose squares add up, and the misfit, root mean square.

    The slower one leads at the last record, or nearly so: one that does not would be a fit to
    rounding.
    """
    slope, offset = np.polyfit(times - times[-1], logs, 1)
    if slope >= 0:
        return float(-slope), np.inf
    t = (times - times[-1]) * -slope  # rates in units of the mean slope, times from the last record

    def misfit(x: Array) -> Array:
        other = x[1] + x[2] - (2 * x[0] + x[3]) * t
        return np.asarray(0.5 * np.logaddexp(x[1] - 2 * x[0] * t, other) - logs)

    limits = ([0.5, -np.inf, -LEAD, 0.0], [1.1, np.inf, LEAD, 50.0])
    begins = [[1.0, 2 * offset, -1.0, gap] for gap in GAPS]
    ends = [least_squares(misfit, begin, bounds=limits, x_scale=SCALES) for begin in begins]
    best = min(ends, key=lambda end: float(end.cost))
    return float(best.x[0] * -slope), float(np.sqrt(2 * best.cost / len(t)))
