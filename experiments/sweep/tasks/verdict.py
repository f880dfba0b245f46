"""Index, nullity and gap of the point that descent ends at, in every cell."""

from __future__ import annotations

from operator import itemgetter
from typing import Any

import jax
import numpy as np
from numpy.typing import NDArray

from experiments.sweep.tasks.minimise import descend, ending
from experiments.sweep.tasks.registry import Columns
from experiments.sweep.work import Work
from landscape.curvature.count import count_curvature
from landscape.solvers.devices import shard
from landscape.solvers.minimise import Minimised
from landscape.verdict import global_slack, judge_curvature
from ufm.plain.cholesky_proof import Judged, judge_many
from ufm.plain.symmetric_points import SymmetricMinima, symmetric_minima
from ufm.plain.symmetry import orbit_dimension
from ufm.point import Point

# Relative residual up to which a gap is taken from the inverse iteration; a residual gradient of
# 1e-8 leaves 1e-5, and the eigenvalue is off by about its square over the distance to the next.
GAP_ERROR = 1e-4


def verdict(work: Work) -> Columns:
    """The columns of ``minimise``, and the judgement of ``landscape.verdict``.

    Columns added: index, nullity, predicted_nullity (-1 where unknown), gap (smallest eigenvalue
    that is positive beyond doubt), lambda_min (negative only at saddles, NaN where it was not
    needed), curvature, globality.

    Ends at which all classes are alike are judged by their spectrum in closed form, others by
    factorisation, and what neither decides as ``ufm verdict`` does.
    """
    found = descend(work, work.models)
    columns = ending(work, found)
    size = len(work.cells)
    integers = {name: np.full(size, -1) for name in ("index", "nullity", "predicted_nullity")}
    gap, smallest = np.full(size, np.nan), np.full(size, np.nan)
    curvature = np.full(size, "NOT_CRITICAL", dtype=object)
    converged = columns["result"] == "CONVERGED"
    alike = symmetric(work, found)
    settled = converged & alike.minimum & (alike.rank == columns["rank"])
    integers["index"][settled] = 0
    integers["nullity"][settled] = integers["predicted_nullity"][settled] = alike.nullity[settled]
    gap[settled], curvature[settled] = alike.gap[settled], "MORSE_BOTT_MINIMUM"
    told = judged(work, found, converged & ~settled)
    for i in np.flatnonzero(converged & ~settled):
        model = work.cells.model(int(i))
        if told.minimum[i]:
            rank = int(columns["rank"][i])
            nullity = orbit_dimension(rank, model.d) + _shift(work)  # as it was proved
            for name, value in zip(integers, (0, nullity, nullity), strict=True):
                integers[name][i] = value
            gap[i] = outer_gap(model, rank, float(told.gap[i]))
            curvature[i] = "MORSE_BOTT_MINIMUM"
            if told.error[i] <= GAP_ERROR and (model.d > rank or max(model.counts_tuple) == 1):
                continue
        norm, point = float(found.gradient_norm[i]), own_point(work, found, int(i))
        count = count_curvature(model, point, norm)
        for name in integers:
            value = getattr(count, name)
            integers[name][i] = -1 if value is None else value
        gap[i] = np.nan if count.smallest_positive is None else count.smallest_positive
        smallest[i] = count.smallest
        curvature[i] = judge_curvature(count, norm, point)[0].name
    columns.update(integers)
    columns.update(gap=gap, lambda_min=smallest, curvature=curvature)
    columns["globality"] = globality(columns)
    return columns


def symmetric(work: Work, found: Minimised) -> SymmetricMinima:
    """Which ends are class-symmetric minima: of losses that treat all classes alike."""
    K, size = work.first.num_classes, len(work.cells)
    told = SymmetricMinima(
        np.zeros(size, bool), np.full(size, -1), np.full(size, -1), np.full(size, np.nan)
    )
    for which in np.unique(work.cells.which):
        here = np.flatnonzero(work.cells.which == which)
        properties = work.cells.loss(int(here[0])).properties(K)
        proved = properties.equivariant.evidence == "proved"
        if not (properties.equivariant and proved and properties.smooth):
            continue
        models, points = jax.tree.map(itemgetter(here), (work.models, found.point))
        part = symmetric_minima(
            models,
            points,
            work.dimensions[here],
            found.gradient_norm[here],
            work.options["tolerance"],
            shift=_shift(work),
        )
        for whole, some in zip(told, part, strict=True):
            whole[here] = some
    return told


def judged(work: Work, found: Minimised, asked: NDArray[np.bool_]) -> Judged:
    """The proofs of ``judge_many`` for some ends of a batch, as NumPy arrays."""
    if not asked.any():  # nor is a program compiled
        unknown = np.full(len(asked), np.nan)
        return Judged(np.zeros(len(asked), bool), unknown, unknown, unknown)
    told = shard(judge_many, batched=5)(
        work.models,
        found.point,
        work.dimensions,
        found.gradient_norm,
        asked,
        together=work.together,
        shift=_shift(work),
    )
    return jax.tree.map(np.asarray, jax.block_until_ready(told))


def _shift(work: Work) -> bool:
    """Whether adding a constant to the bias costs nothing."""
    model = work.first
    free = model.lambda_b is not None and float(model.lambda_b) == 0
    return free and bool(model.loss.properties(model.num_classes).shift_invariant)


def own_point(work: Work, found: Minimised, i: int) -> Point:
    """One end in the dimension of its own cell: idle columns cut off, missing ones added."""
    d = int(work.dimensions[i])
    W, H, b = jax.tree.map(lambda leaf: leaf[i], found.point)
    more = max(0, d - W.shape[1])
    return Point(np.pad(W[:, :d], ((0, 0), (0, more))), np.pad(H[:d], ((0, more), (0, 0))), b)


def outer_gap(model: Any, rank: int, inside: float) -> float:
    """The gap with the directions that the judged problem leaves out.

    Outside the row space differences within a class have lambda_H (A-1), and the complement of a
    point of full rank has 0 and lambda_W + lambda_H (A-2); otherwise it is inside.
    """
    levels = [inside]
    lw, lh = float(model.lambda_W), float(model.lambda_H)
    if model.d > rank and max(model.counts_tuple) > 1:
        levels.append(lh)
    if model.d > rank == model.num_classes:
        levels.append(lw + lh)
    return min(levels)


def globality(columns: Columns) -> NDArray[Any]:
    """The second axis, where a closed form is known."""
    slack = global_slack(columns["objective"])
    known = np.isfinite(columns["theory"])
    converged = columns["result"] == "CONVERGED"
    higher = known & (columns["excess"] > slack)
    lowest = known & converged & ~higher & (columns["curvature"] != "STRICT_SADDLE")
    return np.where(higher, "NOT_GLOBAL", np.where(lowest, "GLOBAL", "UNKNOWN")).astype(object)
