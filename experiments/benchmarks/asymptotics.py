"""Cost against the size of a problem: seconds of processors and bytes, beside theory's exponent.

In every curve one size grows and the others are held. Seconds are those of all threads of this
process (user and system), so that other programs on the machine do not count, and the median of
calls that go in turns through the sizes; the first call of each size compiles and is left out.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from statistics import median
from tempfile import TemporaryDirectory
from time import process_time
from typing import Any

import jax
import numpy as np

from experiments.benchmarks.curvature import saddle
from experiments.benchmarks.landscapes import model_of
from experiments.benchmarks.minimum import STRETCH, TOLERANCE, cross_entropy
from experiments.benchmarks.power_law import PowerLaw, fitted, line
from experiments.sweep.run import LocalExecutor, run
from experiments.sweep.spec import make_spec
from landscape.atlas import symmetric_atlas
from landscape.curvature.count import count_curvature
from landscape.solvers.solve import solve
from ufm.model import value_and_gradient
from ufm.plain.model import UFM
from ufm.plain.spectra import minimiser_spectrum
from ufm.point import Point

# Seconds that a call is repeated for, so that a clock's tick is nothing; rounds through all sizes,
# and seconds after which no other round begins.
LEAST, ROUNDS, BUDGET = 0.02, 3, 15.0
SECONDS, BYTES = "s", "bytes"
# Colours of what is measured and of theory; decades beside a flat curve on both sides.
MEASURED, THEORY, FLAT = "#0072b2", "#d55e00", 10.0
# A call of prepared work; what it returns is the size, where the work itself finds it out, or the
# bytes of a curve of memory.
Call = Callable[[], float | None]


@dataclass(frozen=True)
class Curve:
    """One cost against one size.

    Attributes:
        name: for the table.
        variable: the size that grows.
        theory: exponent that the operations have.
        why: those operations, in words.
        sizes: in order; a quick run leaves out the largest.
        since: size from which the law is fitted; what is below is measured and drawn.
        prepare: makes the work of a size, which is then timed.
        unit: SECONDS, or BYTES where a call returns its cost.
    """

    name: str
    variable: str
    theory: float
    why: str
    sizes: tuple[int, ...]
    since: float
    prepare: Callable[[int], Call]
    unit: str = SECONDS


@dataclass(frozen=True)
class Measured:
    """A curve with its costs and the law through them.

    Attributes:
        curve: what was measured.
        sizes: as measured; orbits are counted.
        costs: one for each size.
        law: through those from ``curve.since`` on.
    """

    curve: Curve
    sizes: tuple[float, ...]
    costs: tuple[float, ...]
    law: PowerLaw

    @property
    def fitted_sizes(self) -> tuple[float, ...]:
        """Those that the law goes through."""
        return tuple(size for size in self.sizes if size >= self.curve.since)

    @property
    def record(self) -> dict[str, Any]:
        """Everything as JSON can carry it."""
        curve, law = self.curve, self.law
        return {
            "name": curve.name,
            "variable": curve.variable,
            "unit": curve.unit,
            "theory": curve.theory,
            "why": curve.why,
            "sizes": list(self.sizes),
            "costs": list(self.costs),
            "fitted_from": min(self.fitted_sizes),
            "fitted_to": max(self.fitted_sizes),
            "exponent": law.exponent,
            "interval": [law.low, law.high],
            "constant": law.constant,
            "factor": law.factor,
            "spread": law.spread,
            "agrees": law.agrees(curve.theory),
        }


def measure(curve: Curve, *, quick: bool = False) -> Measured:
    """Measure a curve and fit its law.

    Args:
        curve: what is measured.
        quick: without the largest size, and once.

    Example:
        >>> exact = Curve("a", "K", 2.0, "", (1, 2, 4, 8, 16), 0, lambda K: lambda: K**2, BYTES)
        >>> measure(exact).law.exponent
        2.0
    """
    sizes = curve.sizes[:-1] if quick else curve.sizes
    calls = [curve.prepare(size) for size in sizes]
    answers = [call() for call in calls]  # compiles
    if curve.unit == BYTES:
        costs = [float(answer or 0.0) for answer in answers]
        return law_of(curve, sizes, costs)
    numbers = [max(1, math.ceil(LEAST / max(_seconds(call, 1), 1e-6))) for call in calls]
    taken: list[list[float]] = [[] for _ in sizes]
    spent = 0.0
    while not spent or (not quick and len(taken[0]) < ROUNDS and spent < BUDGET):
        for call, number, held in zip(calls, numbers, taken, strict=True):
            held.append(_seconds(call, number))
            spent += held[-1] * number
    found = [
        size if answer is None else answer for size, answer in zip(sizes, answers, strict=True)
    ]
    return law_of(curve, found, [median(held) for held in taken])


def law_of(curve: Curve, sizes: Sequence[float], costs: Sequence[float]) -> Measured:
    """The law through the costs of a curve: a constant and a power, a line where theory is flat.

    Raises:
        InputError: too few sizes from ``curve.since`` on.
    """
    chosen = [i for i, size in enumerate(sizes) if size >= curve.since]
    fit = fitted if curve.theory else line
    law = fit([sizes[i] for i in chosen], [costs[i] for i in chosen])
    return Measured(curve, tuple(map(float, sizes)), tuple(costs), law)


def _seconds(call: Call, number: int) -> float:
    began = process_time()
    for _ in range(number):
        call()
    return (process_time() - began) / number


# ---- what is measured


def _gradient(K: int) -> Call:
    model = cross_entropy(K, K, 1, bias=False)
    point = model.random_point(jax.random.key(0))

    def call() -> None:
        jax.block_until_ready(value_and_gradient(model, point))

    return call


def _memory(K: int) -> Call:
    """Bytes of the compiled gradient: arguments, results and what it needs in between."""
    model = cross_entropy(K, K, 1, bias=False)
    point = model.random_point(jax.random.key(0))
    compiled = jax.jit(value_and_gradient).lower(model, point).compile()
    told: Any = compiled.memory_analysis()
    parts = told.argument_size_in_bytes, told.output_size_in_bytes, told.temp_size_in_bytes
    return lambda: float(sum(parts))


def _descent(K: int, d: int | None = None) -> Call:
    model = cross_entropy(K, K if d is None else d, 1, bias=False)
    key = jax.random.key(0)

    def call() -> None:
        solve(model, key=key, tolerance=TOLERANCE)

    return call


def _gap(K: int) -> Call:
    model = cross_entropy(K, K, 1, bias=False)
    found = model.minimiser()
    centre = model.origin() if found is None else found.point
    point = Point(STRETCH * centre.W, STRETCH * centre.H)

    def call() -> None:
        model.certificate(point)

    return call


def _spectrum(K: int) -> Call:
    model = cross_entropy(K, K, 1, bias=False)

    def call() -> None:
        minimiser_spectrum(model)

    return call


def _index(K: int) -> Call:
    model = cross_entropy(K, K, 1, bias=False)
    point, size = saddle(model, (K // 2, K // 2))

    def call() -> None:
        count_curvature(model, point, size)

    return call


def _cells(count: int) -> Call:
    axes = {
        "K": 3,
        "d": 4,
        "n": 5,
        "c": {"from": 0.05, "to": 0.95, "num": 16},
        "seed": {"from": 0, "to": count // 16 - 1},
    }
    spec = make_spec({"task": "verdict", "axes": axes})

    def call() -> None:
        with TemporaryDirectory() as folder:
            run(spec, Path(folder), executor=LocalExecutor(1))

    return call


def _orbits(K: int) -> Call:
    model: UFM = model_of(K, 0.1 / K)
    return lambda: float(len(symmetric_atlas(model, max_groups=3).orbits))


PRODUCTS = "three products of K x K matrices: the logits, and the gradients of W and of H"
CURVES = (
    Curve(
        "gradient", "K", 3.0, PRODUCTS,
        (32, 64, 128, 256, 384, 512, 640, 768, 1024), 256, _gradient,
    ),
    Curve(
        "descent", "K", 3.0,
        "six such products for each Hessian product, whose number hardly depends on K",
        (16, 32, 64, 96, 128, 160, 192, 256), 64, _descent,
    ),
    Curve(
        "duality gap", "K", 3.0, "one singular value decomposition of a K x K matrix",
        (32, 64, 128, 256, 384, 512, 640, 768, 1024), 256, _gap,
    ),
    Curve(
        "index of a saddle of rank 1", "K", 3.0,
        "singular values of a K x K matrix; its other blocks are 2 x 2",
        (32, 64, 128, 192, 256, 320, 384, 512), 128, _index,
    ),
    Curve(
        "whole spectrum at the minimiser", "K", 2.0,
        "blocks of at most 7 x 7 whatever K is, from sums over K x K matrices",
        (64, 128, 256, 384, 512, 768, 1024, 1536), 256, _spectrum,
    ),
    Curve(
        "memory of a gradient", "K", 2.0, "a fixed number of K x K matrices",
        (32, 64, 128, 256, 512, 1024), 32, _memory, BYTES,
    ),
    Curve(
        "descent", "d", 0.0,
        "A-2: a start in K dimensions leaves d - K columns at zero",
        (64, 128, 256, 512, 1024, 2048, 4096), 64, partial(_descent, 64),
    ),
    Curve(
        "descent", "n", 0.0, "A-1: samples of a class merge",
        (1, 4, 16, 64, 256, 1024, 4096), 1, partial(_descent, 64, 64),
    ),
    Curve(
        "sweep with verdicts", "cells", 1.0, "batches of cells, each computed by itself",
        (128, 256, 512, 1024, 2048, 4096), 128, _cells,
    ),
    Curve(
        "merged classes", "orbits", 1.0,
        "every orbit is found and judged in coordinates of its groups, three at most or equal",
        (12, 18, 24, 30, 36, 48), 0, _orbits,
    ),
)  # fmt: skip


# ---- how it is shown


def summary(found: Measured) -> tuple[str, str, str, str, str]:
    """Slope, its interval, theory's exponent, the fitted range and the constant, in words.

    Example:
        >>> exact = Curve("a", "K", 2.0, "", (1, 2, 4, 8, 16), 2, lambda K: lambda: K**2, BYTES)
        >>> summary(law_of(exact, (1, 2, 4, 8, 16, 32), (9, 4, 16, 64, 256, 1024)))
        ('2.00', '2.00 to 2.00', '2', '2 to 32', '0')
    """
    law, sizes = found.law, found.fitted_sizes
    constant = f"{law.constant:.2g} {found.curve.unit}" if law.constant else "0"
    between = f"{law.low:.2f} to {law.high:.2f}"
    between += "" if law.agrees(found.curve.theory) else " (not theory's)"
    reach = f"{min(sizes):,.0f} to {max(sizes):,.0f}"
    return f"{law.exponent:.2f}", between, f"{found.curve.theory:g}", reach, constant


def draw(found: Measured, ax: Any) -> Any:
    """Draw the costs on logarithmic axes, the law through them, and theory's slope.

    Args:
        found: a measured curve.
        ax: matplotlib axes to draw on.

    Returns:
        The axes.
    """
    curve, law = found.curve, found.law
    x, y = np.array(found.sizes), np.array(found.costs)
    inside = x >= curve.since
    ends = np.geomspace(x[inside].min(), x[inside].max(), 60)
    ax.loglog(x[inside], y[inside], "o", color=MEASURED, ms=4, zorder=3)
    ax.loglog(x[~inside], y[~inside], "o", mfc="white", color=MEASURED, ms=4, zorder=3)
    label = f"fit: {law.exponent:.2f} [{law.low:.2f}, {law.high:.2f}]"
    ax.loglog(ends, law(ends), "-", color=MEASURED, lw=1, label=label)
    # Through the last cost of the law, where a constant counts least.
    steep = float(law(ends[-1])) * (ends / ends[-1]) ** curve.theory
    ax.loglog(ends, steep, "--", color=THEORY, lw=1, label=f"theory: {curve.theory:g}")
    ax.set_title(f"{curve.name}", fontsize=8, loc="left")
    ax.set_xlabel(curve.variable, fontsize=8)
    ax.set_ylabel(curve.unit, fontsize=8)
    ax.tick_params(labelsize=7)
    ax.minorticks_off()
    chosen = x if len(x) < 6 else x[:: (len(x) + 3) // 4]
    ax.set_xticks(chosen, [f"{value:,.0f}" for value in chosen])
    # A flat curve shall look flat.
    low, high = ax.get_ylim()
    middle = np.sqrt(low * high)
    ax.set_ylim(min(low, middle / FLAT), max(high, middle * FLAT))
    ax.legend(fontsize=6.5, loc="best", frameon=False)
    return ax
