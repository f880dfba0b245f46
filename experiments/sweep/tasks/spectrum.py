"""Extreme eigenvalues and condition numbers of the full Hessian where descent ends."""

from __future__ import annotations

import numpy as np

from experiments.sweep.tasks.minimise import descend, ending
from experiments.sweep.tasks.registry import CONDITIONS, Columns
from experiments.sweep.tasks.verdict import own_point
from experiments.sweep.work import Work
from landscape.solvers.newton import narrowed
from ufm.plain.conditions import conditions
from ufm.point import widened

MEASURES = ("smallest", "largest", *CONDITIONS)


def spectrum(work: Work) -> Columns:
    """The columns of ``minimise``, and the conditioning of the problem with all its samples.

    kappa = lambda_max / lambda_min modulo symmetry, of the joint Hessian and of its W and H blocks;
    of the blocks of the loss without decay lambda_max over the smallest nonzero eigenvalue.
    Source: LS-2 and section 7 of docs/theory.md; ``ufm.plain.conditions``.

    Args:
        work: a batch of cells.

    Returns:
        Columns added: smallest (eigenvalue that is not a symmetry zero), largest, condition,
        condition_W, condition_H, loss_condition_W, loss_condition_H; NaN where the end is not
        critical, and UNDECIDED where it is no nondegenerate minimum.

    Example:
        >>> from experiments.sweep.cells import expand
        >>> from experiments.sweep.spec import make_spec
        >>> axes = {"loss": "mse", "K": 3, "d": 4, "c": 0.25}
        >>> spec = make_spec({"task": "spectrum", "axes": axes})
        >>> found = spectrum(Work(expand(spec), 4, spec.options, 1, False))
        >>> [round(float(found[name][0]), 6) for name in ("condition_W", "condition_H")]  # 1 / c
        [4.0, 4.0]
    """
    found = descend(work, work.models)
    columns = ending(work, found)
    added = {name: np.full(len(work.cells), np.nan) for name in MEASURES}
    for i in np.flatnonzero(columns["result"] == "CONVERGED"):
        point = own_point(work, found, int(i))
        model = work.cells.model(int(i))
        seen = conditions(model, point, float(found.gradient_norm[i]))
        if seen.doubt:  # a better point moves what counts as zero
            _, inner, size = narrowed(model, point)
            seen = conditions(model, widened(inner, model.d), size)
        for name in MEASURES:
            added[name][i] = getattr(seen, name)
        doubt = seen.doubt
        if not doubt and not seen.smallest > 0:
            doubt = f"the end is a saddle, with an eigenvalue of {seen.smallest:.1e}"
        if doubt:
            columns["result"][i], columns["reason"][i] = "UNDECIDED", doubt
    return {**columns, **added}
