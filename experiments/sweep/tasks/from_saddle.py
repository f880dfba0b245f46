"""Time that gradient flow takes to leave a saddle, measured and from the linearisation."""

from __future__ import annotations

from collections import Counter
from itertools import pairwise
from typing import Any

import jax
import numpy as np

from experiments.sweep.tasks.minimise import closed_forms
from experiments.sweep.tasks.registry import Columns
from experiments.sweep.work import Work
from landscape.atlas.record import highest_rank
from landscape.atlas.symmetries import merged
from landscape.curvature.count import count_curvature
from landscape.flows.departure import depart
from landscape.solvers.newton import polished
from landscape.solvers.solve import solve
from ufm.errors import InputError
from ufm.models.symmetric import Symmetric, Symmetry
from ufm.plain.model import UFM
from ufm.plain.reduce import row_space
from ufm.point import Point, widened

ORIGIN = "origin"
# Integrations at two tolerances agree to this, or the time is not that of the flow.
AGREEMENT = 1e-2
# Seed of the search among symmetric points, which has one lowest end.
KEY = 0


def from_saddle(work: Work) -> Columns:
    r"""Escape times from the origin and from saddles of merged classes, by gradient flow.

    The flow x' = -grad f of the merged problem starts at ``amplitude`` from the saddle in the
    cell's random direction; its time is until the objective has fallen by half of all that it
    falls. Predicted, with D the whole fall and p the length of the direction's projection on the
    eigenspace of the most negative eigenvalue (all negative ones are counted):

        log( sqrt(D / |lambda_min|) / (amplitude p) ) / |lambda_min|.

    Source: ``landscape.flows.departure``, derived there; saddles after CE-5, CE-6 and MSE-3 of
    docs/theory.md, symmetric criticality after Palais (1979).

    Args:
        work: a batch of cells with a saddle each: "origin", or sizes of merged groups such as
            "2|1|1", classes in order; groups of one size and count can be swapped.

    Returns:
        Columns: result, reason, objective, gradient_norm, index and lambda_min of the saddle,
        escape_time, predicted_time, end_objective, theory (closed-form global minimum).

    Example:
        >>> from experiments.sweep.cells import expand
        >>> from experiments.sweep.spec import make_spec
        >>> axes = {"K": 3, "d": 2, "c": 0.3, "saddle": "origin"}
        >>> spec = make_spec({"task": "from_saddle", "axes": axes})
        >>> found = from_saddle(Work(expand(spec), 2, spec.options, 1, False))
        >>> ratio = float(found["escape_time"][0] / found["predicted_time"][0])
        >>> found["index"].tolist(), abs(ratio - 1) < 0.1
        ([4], True)
    """
    size = len(work.cells)
    names = ("objective", "gradient_norm", "lambda_min", "escape_time", "predicted_time")
    columns: Columns = {name: np.full(size, np.nan) for name in (*names, "end_objective")}
    columns["index"] = np.full(size, -1)
    columns["result"] = np.full(size, "CONVERGED", dtype=object)
    columns["reason"] = np.full(size, "", dtype=object)
    columns["theory"] = closed_forms(work)
    for i in range(size):
        result, reason = _leave(work, i, columns)
        columns["result"][i], columns["reason"][i] = result, reason
    return columns


def _leave(work: Work, i: int, columns: Columns) -> tuple[str, str]:
    """One cell into its columns: (result, reason)."""
    model, options = work.cells.model(i), work.options
    name = str(work.cells.columns["saddle"][i])
    found = saddle_of(model, name)
    if isinstance(found, str):
        return "UNDECIDED", found
    merged_model = model.as_merged(found)[0]
    point, value, size = polished(merged_model, found)
    columns["objective"][i], columns["gradient_norm"][i] = value, size
    if not size <= float(options["tolerance"]):
        return "STALLED", f"gradient norm {size:.1e} at the saddle"
    count = count_curvature(model, point, size)
    columns["lambda_min"][i] = count.smallest
    columns["index"][i] = -1 if count.index is None else count.index
    if not count.index_range[0]:
        return "UNDECIDED", "the point has no negative curvature beyond doubt"
    shapes = [leaf.shape for leaf in point.to_numpy() if leaf is not None]
    seed = int(work.cells.columns["seed"][i])
    direction = np.random.default_rng(seed).standard_normal(sum(map(np.prod, shapes)))
    direction = direction / np.linalg.norm(direction)
    amplitude, most = float(options["amplitude"]), int(options["max_iterations"])
    left = depart(merged_model, point, direction, amplitude, most)
    columns["predicted_time"][i], columns["end_objective"][i] = left.predicted, left.end_objective
    if left.doubt:
        return "MAX_ITERATIONS" if left.exhausted else "UNDECIDED", left.doubt
    columns["escape_time"][i] = left.time
    if left.error > AGREEMENT:
        return "UNDECIDED", f"a sharper integration changes the time by {left.error:.1e} of it"
    return "CONVERGED", ""


def saddle_of(model: UFM, name: str) -> Point | str:
    """The saddle that a name stands for, in merged columns, or why there is none.

    "origin" is W = H = 0 with its best bias; sizes of groups stand for the lowest point at which
    the classes of a group, in order, share w, h and b, and groups of one type form a simplex.
    Source: CE-5, CE-6; symmetric criticality.

    Raises:
        InputError: a name that is neither "origin" nor sizes that add up to K.

    Example:
        >>> from ufm import CrossEntropy
        >>> model = UFM(CrossEntropy(), 4, 3, lambda_W=0.05, lambda_H=0.05)
        >>> pairs = saddle_of(model, "2|2")
        >>> bool(abs(pairs.W[0] - pairs.W[1]).max() < 1e-9), pairs.W.shape
        (True, (4, 3))
    """
    small = model.as_merged(model.origin())[0]
    if name == ORIGIN:
        return _origin(small)
    symmetry = _symmetry(model, name)
    if isinstance(symmetry, str):
        return symmetry
    if not symmetry.frames:
        return "one group of all classes is the origin"
    rank = sum(frame.shape[1] for frame in symmetry.frames)
    if rank > model.d:
        return f"needs d >= {rank}"
    if not model.loss.properties(model.num_classes).equivariant:
        return "merged classes are critical for losses that treat classes alike"
    found = solve(Symmetric(model, symmetry), key=jax.random.key(KEY))
    inner = symmetry.expand(found.point)
    reached = row_space(small, inner).rank
    if reached < rank:
        return f"the lowest such point has rank {reached}, so the groups merge further"
    return widened(inner, model.d)


def _origin(small: Any) -> Point:
    """W = H = 0 with the best bias: one dimension of zeros is enough to find it."""
    origin: Point = small.origin()
    if origin.b is None:
        return origin
    inner = solve(small.with_dimension(1), start=small.with_dimension(1).origin()).point
    return origin._replace(b=np.asarray(inner.b))


def _symmetry(model: UFM, name: str) -> Symmetry | str:
    """The symmetry of merged groups, classes in order."""
    sizes = [int(word) if word.strip().isdigit() else 0 for word in name.split("|")]
    K, counts = model.num_classes, model.counts_tuple
    if min(sizes) < 1 or sum(sizes) != K:
        rule = f'Need "origin" or sizes of groups that add up to K={K}, such as "2|1"'
        raise InputError(rule, repr(name), "count the classes")
    ends = np.cumsum([0, *sizes])
    groups = [counts[low:high] for low, high in pairwise(ends)]
    if any(len(set(group)) > 1 for group in groups):
        return f"the classes of a group have unequal counts {counts}"
    distinct = sorted(set(counts))
    kinds = Counter((distinct.index(group[0]), len(group)) for group in groups)
    blocks = [(which, size, times) for (which, size), times in kinds.items()]
    return merged(counts, blocks, shift=highest_rank(model) < K)
