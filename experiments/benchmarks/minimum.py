"""Time to a minimum of cross entropy, ours against the full problem in other people's solvers."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from math import sqrt
from typing import Any

import jax

from experiments.benchmarks.record import Record, absent, against, measured
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
from ufm.point import Point

C, TOLERANCE = 0.1, 1e-10
# A gradient norm of 1e-10 determines f far better than this; a stalled solver often as well.
WRONG_VALUE = 1e-8
OURS, CLOSED_FORM = "ufm-lab solve", "ufm-lab closed form"
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
