"""Work that nobody else can do at this size: against one second."""

from __future__ import annotations

import numpy as np

from experiments.benchmarks.minimum import cross_entropy
from experiments.benchmarks.record import Record, measured, within
from experiments.benchmarks.timing import Settings, alternate
from ufm.plain.spectra import minimiser_spectrum
from ufm.point import Point

LIMIT = 1.0
OURS = "ufm-lab"
# How far from the minimiser the certificate is asked: far enough for a gap that is not rounding.
STRETCH = 1.001


def spectrum(row: str, sizes: tuple[int, int, int], settings: Settings) -> list[Record]:
    """Every Hessian eigenvalue at the minimiser; the first call counts.

    Example:
        >>> spectrum("spectrum", (4, 6, 2), Settings(quick=True, repeats=1))[0].wrong
        False
    """
    model = cross_entropy(*sizes, bias=False)
    work = f"whole spectrum at the minimiser, P={model.num_parameters:,}"
    timed = alternate({OURS: lambda: minimiser_spectrum(model)}, settings, frozenset({OURS}))[OURS]
    levels = timed.result
    negative = levels.count_below(-1e-12 * levels.radius)
    wrong = levels.size != model.num_parameters or negative > 0
    note = f"{len(levels.levels)} levels, {levels.size:,} eigenvalues, {negative} negative"
    record = measured(row, work, OURS, timed, wrong=wrong, note=f"{note}; first call counts")
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
    timed = alternate({OURS: lambda: model.certificate(point)}, settings, frozenset({OURS}))[OURS]
    certified = timed.result
    bound = np.inf if certified.bound is None else certified.bound
    merged, _ = model.as_merged(point)
    excess = float(merged.objective(point)) - best
    wrong = not (certified.applies and bound <= best + 1e-12 and certified.gap >= excess - 1e-12)
    note = f"gap {certified.gap:.1e} where f - f* = {excess:.1e}; the warm call counts"
    record = measured(row, work, OURS, timed, wrong=wrong, note=note)
    return [within(record, LIMIT, timed.seconds)]
