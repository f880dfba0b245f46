"""Cross entropy's minimum against other solvers, and what is known there in closed form."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from math import sqrt
from typing import Any

import jax
import numpy as np

from experiments.benchmarks.record import Record, absent, against, measured, within
from experiments.benchmarks.solvers import (
    COMPILED,
    OTHERS,
    PAPERS,
    TORCH,
    Maker,
    Outcome,
    torch_or_none,
)
from experiments.benchmarks.timing import Settings, Timing, alternate
from landscape.solvers.solve import solve
from ufm.losses.cross_entropy import CrossEntropy
from ufm.model import norm, value_and_gradient
from ufm.plain.model import UFM
from ufm.plain.spectra import minimiser_spectrum
from ufm.point import Point

C, TOLERANCE = 0.1, 1e-10
# A gradient norm of 1e-10 determines f far better than this; a stalled solver often as well.
WRONG_VALUE = 1e-8
OURS, CLOSED_FORM = "ufm-lab solve", "ufm-lab closed form"
# What nobody else can do at the size of its row has a limit instead, in seconds.
LAB, LIMIT = "ufm-lab", 1.0
# How far from the minimiser the certificate is asked: far enough for a gap that is not rounding.
STRETCH = 1.001
ABSENT = "PyTorch is not installed (pip install torch)"


def cross_entropy(K: int, d: int, n: int, *, bias: bool = True) -> UFM:
    """Cross entropy at c = 0.1 with equal decays, of the bias too where there is one.

    Example:
        >>> round(cross_entropy(4, 6, 2).c, 12)
        0.1
    """
    decay = C / (K * sqrt(n))
    of_bias = decay if bias else None
    return UFM(CrossEntropy(), K, d, n, lambda_W=decay, lambda_H=decay, lambda_b=of_bias)


def judged(model: UFM, timing: Timing) -> tuple[bool, bool, str]:
    """(solved, wrong, note) of a solver's final point, by our own gradient and the closed form."""
    outcome: Outcome = timing.result
    value, gradient = value_and_gradient(model, outcome.point)
    size, best = float(norm(gradient)), model.minimiser()
    off = abs(float(value) - best.value) if best is not None else 0.0
    if size <= TOLERANCE:
        if off <= WRONG_VALUE:
            return True, False, f"|g| = {size:.1e}"
        return False, True, f"MISSED the minimum: f - f* = {off:.1e} at |g| = {size:.1e}"
    ended = "stopped" if outcome.capped else "stalled"
    return False, False, f"{ended} at |g| = {size:.1e}, f - f* = {off:.1e}"


def minimum(
    row: str,
    sizes: tuple[int, int, int],
    targets: tuple[float, float],
    settings: Settings,
    makers: Mapping[str, Maker] | None = None,
) -> list[Record]:
    """Every solver from one random point, ours first.

    Args:
        row: name of the row.
        sizes: K, d, n.
        targets: ratio to reach over PyTorch SGD, and over the best of the others.
        settings: repeats and caps.
        makers: the other solvers, by default all of them.

    Example:
        >>> quick = Settings(quick=True, repeats=1)
        >>> [x.solver for x in minimum("minimum", (3, 2, 2), (1.0, 1.0), quick, {})]
        ['ufm-lab solve', 'ufm-lab closed form']
    """
    K, d, n = sizes
    model = cross_entropy(K, d, n)
    start: Point = jax.tree.map(jax.block_until_ready, model.random_point(jax.random.key(0)))
    work = f"CE minimum to |g| = {TOLERANCE:g}, K={K} d={d} n={n} (P={model.num_parameters:,})"
    others = {**TORCH, **OTHERS} if makers is None else dict(makers)
    missing = [name for name in others if name in TORCH and torch_or_none() is None]
    runs: dict[str, Any] = {OURS: lambda: solve(model, start, tolerance=TOLERANCE)}
    runs[CLOSED_FORM] = model.minimiser
    for name, maker in others.items():
        if name not in missing:
            cap = settings.cap if name == PAPERS else settings.short_cap
            runs[name] = maker(model, start, TOLERANCE, cap)
    timed = alternate(runs, settings, COMPILED | {OURS, CLOSED_FORM})
    timed[OURS] = replace(timed[OURS], result=Outcome(timed[OURS].result.full_point))
    closed = timed[CLOSED_FORM].result.point
    merge = model.merge()
    lifted = closed if merge is None else merge.lift(closed)
    timed[CLOSED_FORM] = replace(timed[CLOSED_FORM], result=Outcome(lifted))
    ours = timed[OURS].seconds
    records = []
    for name, timing in timed.items():
        solved, wrong, note = judged(model, timing)
        if name == OURS:
            wrong = not solved
        records.append(
            measured(
                row,
                work,
                name,
                timing,
                None if name == OURS else ours,
                capped=timing.result.capped,
                solved=solved,
                wrong=wrong,
                note=f"{note}; no solve at all" if name == CLOSED_FORM else note,
            )
        )
    records += [absent(row, work, name, ours, ABSENT) for name in missing]
    return with_targets(records, *targets)


def with_targets(records: list[Record], papers: float, best: float) -> list[Record]:
    """Put the targets on the line of PyTorch SGD and of the fastest other that solved it."""
    rivals = [x for x in records if x.solved and x.solver not in (OURS, CLOSED_FORM, PAPERS)]
    fastest = min(rivals, key=lambda x: x.seconds or 0.0, default=None)
    made = []
    for record in records:
        if record.solver == PAPERS:
            record = against(record, papers)
        if record is fastest:
            record = replace(against(record, best), note=f"{record.note}; the best of the others")
        made.append(record)
    return made


def spectrum(row: str, sizes: tuple[int, int, int], settings: Settings) -> list[Record]:
    """Every Hessian eigenvalue at the minimiser; the first call counts.

    Example:
        >>> spectrum("spectrum", (4, 6, 2), Settings(quick=True, repeats=1))[0].wrong
        False
    """
    model = cross_entropy(*sizes, bias=False)
    work = f"whole spectrum at the minimiser, P={model.num_parameters:,}"
    timed = alternate({LAB: lambda: minimiser_spectrum(model)}, settings, frozenset({LAB}))[LAB]
    levels = timed.result
    negative = levels.count_below(-1e-12 * levels.radius)
    wrong = levels.size != model.num_parameters or negative > 0
    note = f"{len(levels.levels)} levels, {levels.size:,} eigenvalues, {negative} negative"
    record = measured(row, work, LAB, timed, wrong=wrong, note=f"{note}; first call counts")
    return [within(record, LIMIT, timed.first)]


def gap(row: str, sizes: tuple[int, int, int], settings: Settings) -> list[Record]:
    """The duality gap at a merged point near the minimiser; it must bracket the closed form.

    Example:
        >>> gap("gap", (4, 6, 2), Settings(quick=True, repeats=1))[0].wrong
        False
    """
    model = cross_entropy(*sizes, bias=False)
    found = model.minimiser()
    best = found.value if found is not None else np.inf
    centre = found.point if found is not None else model.origin()
    point = Point(STRETCH * centre.W, STRETCH * centre.H)
    work = f"duality gap at a reduced point, K={model.num_classes:,} d={model.d:,}"
    timed = alternate({LAB: lambda: model.certificate(point)}, settings, frozenset({LAB}))[LAB]
    certified = timed.result
    bound = np.inf if certified.bound is None else certified.bound
    merged, _ = model.as_merged(point)
    excess = float(merged.objective(point)) - best
    wrong = not (certified.applies and bound <= best + 1e-12 and certified.gap >= excess - 1e-12)
    note = f"gap {certified.gap:.1e} where f - f* = {excess:.1e}; the warm call counts"
    record = measured(row, work, LAB, timed, wrong=wrong, note=note)
    return [within(record, LIMIT, timed.seconds)]
