"""The proof of a critical point, with index and nullity, against its eigenvalues in float64."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any

import numpy as np

from experiments.benchmarks.record import Record, against, measured
from experiments.benchmarks.timing import Settings, alternate
from proofs_check.rigorous.point import prove_critical
from ufm.losses.cross_entropy import CrossEntropy
from ufm.plain.model import UFM

PROOF, EIGH = "ufm-lab prove_critical", "numpy.linalg.eigh, Hessian given"
DECAY = 0.02
# A proof may take so many times the eigenvalues of the same block.
AT_MOST = 10.0


def proofs(row: str, sizes: tuple[tuple[int, int], ...], settings: Settings) -> list[Record]:
    """At the simplex of cross entropy, from the point to index and nullity, for every (K, d).

    Example:
        >>> [x.wrong for x in proofs("proofs", ((3, 4),), Settings(quick=True, repeats=1))]
        [False, False]
    """
    records = []
    for K, d in sizes:
        model = UFM(CrossEntropy(), K, d, lambda_W=DECAY, lambda_H=DECAY)
        found = model.minimiser()
        point = found.point if found is not None else model.origin()
        hessian = model.dense_derivatives(point)[2]
        both: dict[str, Callable[[], Any]] = {
            PROOF: partial(prove_critical, model, point),
            EIGH: partial(np.linalg.eigh, hessian),
        }
        timed = alternate(both, settings, frozenset({PROOF}))
        told, values = timed[PROOF].result, timed[EIGH].result[0]
        zero = len(values) * np.finfo(float).eps * float(np.abs(values).max())
        counts = int(np.sum(values < -zero)), int(np.sum(np.abs(values) <= zero))
        work = f"existence, index and nullity proved at the simplex, P={len(values)}"
        note = f"index {told.index}, nullity {told.nullity}, within {told.distance:.0e}"
        wrong = (told.index, told.nullity) != counts
        own = measured(row, work, PROOF, timed[PROOF], wrong=wrong, note=note)
        note = f"as a proof may take {AT_MOST:g} times as long"
        other = measured(row, work, EIGH, timed[EIGH], own.seconds, note=note)
        records += [own, against(other, 1 / AT_MOST)]
    return records
