"""What a sweep does with any model: descend from a random start, and judge where it ends."""

from __future__ import annotations

from typing import TYPE_CHECKING

import jax
import numpy as np

from landscape.solvers.devices import shard
from landscape.solvers.minimise import Minimised, minimise_many
from landscape.solvers.solve import result_of
from landscape.verdict import verdict as judge
from ufm.model import norm

if TYPE_CHECKING:
    from experiments.sweep.model_cells import AnyWork
    from experiments.sweep.tasks.registry import Columns

# How well the end of a descent is known (see DESCENT of the registry): a shorter point is zero.
KNOWN = 1e-5


def minimise(work: AnyWork) -> Columns:
    """Where descent ends: objective and size, and those of the closed form where one is known."""
    return _ending(work, _descended(work))


def verdict(work: AnyWork) -> Columns:
    """The same, and the judgement of ``landscape.verdict`` at the end of every descent."""
    found = _descended(work)
    columns, size = _ending(work, found), len(work.cells)
    columns |= {name: np.full(size, -1) for name in ("index", "nullity", "predicted_nullity")}
    columns |= {name: np.full(size, np.nan) for name in ("gap", "lambda_min")}
    columns["curvature"] = np.full(size, "NOT_CRITICAL", dtype=object)
    columns["globality"] = np.full(size, "UNKNOWN", dtype=object)
    for i, model in enumerate(work.each):
        if columns["result"][i] != "CONVERGED":
            continue
        told = judge(model, jax.tree.map(lambda leaf, i=i: leaf[i], found.point))
        counts = (told.count.index, told.count.nullity, told.count.predicted_nullity)
        for name, value in zip(("index", "nullity", "predicted_nullity"), counts, strict=True):
            columns[name][i] = -1 if value is None else value
        columns["gap"][i] = np.nan if told.gamma is None else told.gamma
        columns["lambda_min"][i] = told.count.smallest
        columns["curvature"][i] = told.curvature.name
        columns["globality"][i] = told.globality.name
    return columns


def _descended(work: AnyWork) -> Minimised:
    tolerance, most = float(work.options["tolerance"]), int(work.options["max_iterations"])
    run = shard(minimise_many, batched=2)
    found = run(work.models, work.starts(), tolerance, most, slots=work.slots)
    told: Minimised = jax.tree.map(np.asarray, jax.block_until_ready(found))
    return told


def _ending(work: AnyWork, found: Minimised) -> Columns:
    tolerance, most = float(work.options["tolerance"]), int(work.options["max_iterations"])
    ends = zip(found.gradient_norm, found.objective, found.iterations, strict=True)
    results = [result_of(float(g), float(f), tolerance, int(n), most) for g, f, n in ends]
    known = [model.minimiser() for model in work.each]
    best = [x if x is not None and x.evidence != "probed" else None for x in known]
    theory = np.array([np.nan if x is None else x.value for x in best])
    sizes = [np.nan if x is None else float(norm(x.point)) for x in best]
    lengths = np.asarray(jax.vmap(norm)(found.point))
    return {
        "result": np.array([result.name for result in results], dtype=object),
        "reason": np.array(["" if result else result.value for result in results], dtype=object),
        "objective": found.objective,
        "gradient_norm": found.gradient_norm,
        "iterations": np.asarray(found.iterations, dtype=np.int64),
        "theory": theory,
        "excess": found.objective - theory,
        "size": np.where(lengths > KNOWN, lengths, 0.0),
        "theory_size": np.array(sizes),
    }
