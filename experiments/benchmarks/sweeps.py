"""Sweeps: many instances with verdicts, a table of 100,000 rows, and worker processes.

The other side of the instances is what users write: a loop of SciPy's L-BFGS over the full problem
with compiled gradients, and gradient descent with momentum on all instances at once in PyTorch.
Both only minimise; ours also proves index, nullity and gap.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from functools import partial
from math import sqrt
from pathlib import Path
from tempfile import TemporaryDirectory
from time import perf_counter
from typing import Any

import jax
import numpy as np
from scipy.optimize import minimize

from experiments.benchmarks.record import Record, absent, against, measured, within
from experiments.benchmarks.solvers import LEARNING_RATE, MOMENTUM, torch_or_none
from experiments.benchmarks.timing import Settings, Timing, alternate
from experiments.sweep.cells import expand
from experiments.sweep.run import Job, LocalExecutor, run
from experiments.sweep.spec import Spec, make_spec
from experiments.sweep.store import Store
from experiments.sweep.strategies import SLOTS
from experiments.sweep.work import Work
from ufm.plain.model import UFM
from ufm.point import Point

OURS = "ufm-lab sweep, verdicts"
SCIPY = "SciPy L-BFGS loop, no verdict"
# The papers' learning rate, and the fastest of 1, 3, 10, 20, 30, 40, 80, 160 on the 512 instances
# with K = 10: from 80 on they diverge.
TORCH = {
    "PyTorch momentum, batched, papers' rate, no verdict": LEARNING_RATE,
    "PyTorch momentum, batched, tuned rate, no verdict": 30.0,
}
TOLERANCE = 1e-8
# Decays of the instances: c from 0.01 to 1 at K = 10, n = 10.
DECAYS = (3e-4, 3e-2)


def instances_spec(sizes: tuple[int, int, int], count: int) -> Spec:
    """So many cross-entropy instances with random decays, one start each.

    Example:
        >>> instances_spec((4, 6, 2), 8).num_cells
        8
    """
    K, d, n = sizes
    low, high = (float(x) for x in np.log(DECAYS))
    decays = np.exp(np.random.default_rng(0).uniform(low, high, count))
    axes = {"K": K, "d": d, "n": n, "decay": [float(x) for x in decays]}
    return make_spec({"task": "verdict", "axes": axes, "options": {"tolerance": TOLERANCE}})


def instances(
    row: str, sizes: tuple[int, int, int], count: int, settings: Settings
) -> list[Record]:
    """All instances to a gradient norm with verdicts: ours against two loops without.

    Example:
        >>> quick = Settings(quick=True, repeats=1)
        >>> [x.wrong for x in instances("sweep", (3, 4, 2), 8, quick)][:2]
        [False, False]
    """
    spec = instances_spec(sizes, count)
    work = f"{count} instances K={sizes[0]} d={sizes[1]} n={sizes[2]} to |g| < {TOLERANCE:g}"
    ours = alternate({OURS: lambda: _ours(spec)}, settings, frozenset({OURS}))[OURS]
    table = ours.result
    right = set(table["globality"]) == {"GLOBAL"} and set(table["result"]) == {"CONVERGED"}
    right = right and bool(np.all(table["nullity"] == table["predicted_nullity"]))
    note = f"{count / ours.seconds:,.0f}/s with index, nullity and gap, all proved global"
    own = measured(row, work, OURS, ours, solved=right, wrong=not right, note=note)
    rivals = [_rival(row, work, SCIPY, 40.0, own, count, partial(_scipy, spec, settings))]
    for name, rate in TORCH.items():
        if torch_or_none() is None:
            rivals.append(absent(row, work, name, own.ours, "PyTorch is not installed"))
        else:
            solve = partial(_torch, spec, rate, settings)
            rivals.append(_rival(row, work, name, 20.0, own, count, solve))
    return [own, *rivals]


def _rival(
    row: str,
    work: str,
    name: str,
    target: float,
    own: Record,
    count: int,
    solve: Callable[[], tuple[float, int, float]],
) -> Record:
    """The record of a rival from (seconds, instances solved, worst excess over theory)."""
    seconds, solved, excess = solve()
    rate = solved / seconds
    timing = Timing(count / rate if solved else seconds, seconds, 1, None)
    note = f"{rate:,.0f}/s; {solved} of {count} solved in {seconds:.1f} s"
    wrong = bool(excess > TOLERANCE)
    made = measured(
        row, work, name, timing, own.ours, solved=solved == count, wrong=wrong, note=note
    )
    return against(made, target)


def _ours(spec: Spec) -> dict[str, Any]:
    """The table of a sweep, computed in halves on the cores of this machine."""
    cells = expand(spec)
    jobs = [
        Job(
            i,
            len(part),
            spec.task,
            Work(cells.take(part), int(cells.needed.max()), spec.options, SLOTS, False),
        )
        for i, part in enumerate(np.array_split(np.arange(len(cells)), 2))
    ]
    found = sorted(LocalExecutor()(jobs), key=lambda pair: pair[0].number)
    return {name: np.concatenate([columns[name] for _, columns in found]) for name in found[0][1]}


def _models(spec: Spec) -> list[UFM]:
    cells = expand(spec)
    return [cells.model(i) for i in range(len(cells))]


def _scipy(spec: Spec, settings: Settings) -> tuple[float, int, float]:
    """L-BFGS-B over the full problem, instance after instance, until the cap."""
    models = _models(spec)
    K, d, columns = models[0].num_classes, models[0].d, models[0].num_columns
    first = models[0]

    @jax.jit
    def value_and_gradient(x: Any, lambda_W: Any, lambda_H: Any) -> Any:
        model = first._replace(lambda_W=lambda_W, lambda_H=lambda_H)

        def objective(x: Any) -> Any:
            W, H = x[: K * d].reshape(K, d), x[K * d :].reshape(d, columns)
            return model.objective(Point(W, H))

        return jax.value_and_grad(objective)(x)

    def solve(model: UFM, seed: int) -> tuple[float, float]:
        decays = float(model.lambda_W), float(model.lambda_H)
        start = np.random.default_rng(seed).standard_normal(d * (K + columns)) / sqrt(d)

        def both(x: Any) -> tuple[float, Any]:
            value, gradient = value_and_gradient(x, *decays)
            return float(value), np.asarray(gradient)

        options = {
            "maxiter": 10_000,
            "maxfun": 10_000,
            "ftol": 0.0,
            "gtol": TOLERANCE / sqrt(len(start)),
        }
        found = minimize(both, start, jac=True, method="L-BFGS-B", options=options)
        return float(np.linalg.norm(found.jac)), float(found.fun)

    solve(models[0], 0)  # compiles
    began, solved, excess = perf_counter(), 0, 0.0
    for seed, model in enumerate(models):
        size, value = solve(model, seed)
        solved += size <= TOLERANCE
        if solved and seed < 8:
            best = model.minimiser()
            excess = max(excess, abs(value - best.value) if best is not None else 0.0)
        if perf_counter() - began > settings.short_cap:
            break
    return perf_counter() - began, solved, excess


def _torch(spec: Spec, rate: float, settings: Settings) -> tuple[float, int, float]:
    """Gradient descent with momentum on all instances at once, until all are done or the cap."""
    torch = torch_or_none()
    models = _models(spec)
    K, d, n, B = models[0].num_classes, models[0].d, models[0].n, len(models)
    generator = torch.Generator().manual_seed(0)
    sizes = ((B, K, d), (B, K * n, d))
    x = [torch.randn(s, generator=generator, dtype=torch.float64) / sqrt(d) for s in sizes]
    labels = torch.arange(K).repeat_interleave(n).repeat(B)
    decay = torch.tensor([float(m.lambda_W) for m in models], dtype=torch.float64)[:, None, None]
    for part in x:
        part.requires_grad_(True)
    velocity = [torch.zeros_like(part) for part in x]
    began, steps, solved = perf_counter(), 0, 0
    while perf_counter() - began < settings.short_cap and solved < B:
        logits = torch.bmm(x[1], x[0].transpose(1, 2)).reshape(-1, K)
        loss = torch.nn.functional.cross_entropy(logits, labels, reduction="sum") / (K * n)
        gradients = torch.autograd.grad(loss, x)
        with torch.no_grad():
            full = [g + decay * part for g, part in zip(gradients, x, strict=True)]
            for part, v, g in zip(x, velocity, full, strict=True):
                v.mul_(MOMENTUM).add_(g)
                part.sub_(rate * v)
            steps += 1
            if steps % 50 == 0:
                norm = sum((g**2).sum(dim=(1, 2)) for g in full).sqrt()
                solved = int((norm <= TOLERANCE).sum())
    return perf_counter() - began, solved, 0.0


def scaling(row: str, make: Callable[[int], Spec], cells: int, settings: Settings) -> list[Record]:
    """The same sweep by one worker process and by two, their start included.

    Example:
        >>> quick = Settings(quick=True, repeats=1)
        >>> few = partial(instances_spec, (3, 4, 2))
        >>> [x.wrong for x in scaling("scaling", few, 80, quick)]
        [False, False]
    """
    from experiments.sweep.cluster import ClusterExecutor

    # Quick: as many cells as in ``large``, whose programs are compiled then.
    spec = make(cells // 25 if settings.quick else cells)
    work = f"{spec.num_cells:,} cells with verdicts, worker processes"

    def by(workers: int) -> Timing:
        began = perf_counter()
        with TemporaryDirectory() as folder:
            store = run(spec, Path(folder), executor=ClusterExecutor(None, workers))
            right = np.all(store.table(["globality"])["globality"] == "GLOBAL")
        seconds = perf_counter() - began
        return Timing(seconds, seconds, 1, bool(right))

    compiled = by(2)  # programs and strategies are kept for all processes
    one, two = by(1), by(2)
    wrong = not (one.result and two.result)
    two = replace(two, first=compiled.seconds)
    note = f"{spec.num_cells / two.seconds:,.0f}/s"
    own = measured(row, work, "ufm-lab sweep, two workers", two, wrong=wrong, note=note)
    note = f"{spec.num_cells / one.seconds:,.0f}/s"
    alone = measured(row, work, "ufm-lab sweep, one worker", one, own.ours, note=note)
    # Few cells are computed in less time than the workers take to start.
    return [own, alone if settings.quick else against(alone, 1.85)]


def large_spec(cells: int) -> Spec:
    """A sweep of about so many cells: K = 3 to 10, five dimensions, log-spaced c, seeds.

    Example:
        >>> large_spec(100_000).num_cells
        100000
    """
    per = cells // (8 * 5)
    axes = {
        "K": {"from": 3, "to": 10},
        "d": ["K-1", "K", "K+2", "2K", 64],
        "n": 10,
        "c": {"from": 0.01, "to": 0.9, "num": max(per // 5, 1), "scale": "log"},
        "seed": {"from": 0, "to": 4},
    }
    return make_spec({"name": "large", "task": "verdict", "axes": axes})


def large(row: str, cells: int, limit: float, settings: Settings) -> list[Record]:
    """A whole sweep with verdicts into a store, once; and opening, filtering, and resuming it.

    Example:
        >>> quick = Settings(quick=True, repeats=1)
        >>> [x.wrong for x in large("large", 10_000, 600.0, quick)]
        [False, False, False]
    """
    spec = large_spec(cells // 50 if settings.quick else cells)
    share = spec.num_cells / cells
    with TemporaryDirectory() as folder:
        began = perf_counter()
        store = run(spec, Path(folder))
        seconds = perf_counter() - began
        columns = store.table(["result", "curvature", "globality"])
        good = [
            np.all(columns["result"] == "CONVERGED"),
            np.all(columns["curvature"] == "MORSE_BOTT_MINIMUM"),
            np.all(columns["globality"] == "GLOBAL"),
        ]
        wrong = not all(good)
        note = f"{spec.num_cells / seconds:,.0f}/s, compilation of what is not cached included; "
        note += "all proved global minima"
        work = f"{spec.num_cells:,} cells with verdicts, K in 3..10"
        whole = measured(row, work, OURS, Timing(seconds, seconds, 1, None), wrong=wrong, note=note)
        records = [within(whole, limit * share, seconds)]
        reads: dict[str, Callable[[], Any]] = {
            "open and filter": lambda: Store.open(Path(folder)).table(
                where={"K": 7, "c": (0.1, 0.2)}
            ),
            "resume scan": lambda: Store.open(Path(folder)).scan(),
        }
        for name, timing in alternate(reads, settings, frozenset()).items():
            note = f"{spec.num_cells:,} rows"
            made = measured(row, f"{name} of that store", "ufm-lab store", timing, note=note)
            records.append(within(made, 1.0, timing.seconds))
    return records
