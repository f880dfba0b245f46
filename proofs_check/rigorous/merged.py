"""Merged classes: what a critical point of the merged model says of all samples (A-1).

With one column sqrt(n_k) h_k for the n_k equal samples of a class the merged Hessian is the full
one on equal samples. Differences of samples within a class see only what the class itself sees,
A_k = J' S_k J / N + lambda I with the logits J h and their Hessian S_k: the diagonal block of the
merged Hessian that belongs to column k, n_k - 1 times. Derived here (docs/certificates.md).
"""

from __future__ import annotations

from typing import Any

import numpy as np

from proofs_check.checker import MOST_VARIABLES
from proofs_check.rigorous import derivatives
from proofs_check.rigorous.floats import Floats, unbounded_is_undecided
from proofs_check.rigorous.point import CriticalPoint
from proofs_check.rigorous.symmetric import by_congruence
from ufm.model import Model
from ufm.point import flatten, unflatten

# What holds a column per class or sample, by family.
FEATURES = {"plain": "H", "deep-linear": "H", "equilibrium": "X"}


def merges(model: Model[Any]) -> bool:
    """Whether a column of the model stands for several samples.

    Example:
        >>> from ufm import UFM, CrossEntropy
        >>> model = UFM(CrossEntropy(), counts=(3, 1), d=2, lambda_W=0.1, lambda_H=0.1)
        >>> merges(model), merges(model.merge().model)
        (False, True)
    """
    asked: Any = model
    return model.family in FEATURES and bool(asked.merged) and max(asked.counts_tuple) > 1


@unbounded_is_undecided
def index_of_all_samples(found: CriticalPoint) -> int:
    """The index at the lifted point: index + sum_k (n_k - 1) times that of A_k.

    All A_k are proved to be nonsingular, so that the nullity is that of the merged point.
    Source: derived here (docs/certificates.md).

    Args:
        found: a critical point of a merged model, or of another, which has all its samples.

    Raises:
        Undecided: an A_k is not proved to be nonsingular.

    Example:
        >>> from proofs_check.rigorous.point import prove_critical
        >>> from ufm import UFM, CrossEntropy
        >>> model = UFM(CrossEntropy(), counts=(3, 1, 2), d=2, lambda_W=0.1, lambda_H=0.1)
        >>> index_of_all_samples(prove_critical(model.merge().model, model.merge().model.origin()))
        4
    """
    model: Any = found.model
    if not merges(model):
        return found.index
    x = flatten(found.point)
    places: Any = unflatten(np.arange(float(len(x))), found.point)
    columns = np.asarray(getattr(places, FEATURES[model.family])).astype(int)
    hessian = derivatives.hessian(model, found.point, Floats.around(x, found.distance))
    index = found.index
    for k, n in enumerate(model.counts_tuple):
        own = columns[:, k]
        index += (n - 1) * by_congruence(hessian[np.ix_(own, own)]).negative
    return index


def fitting(model: Model[Any], point: Any) -> tuple[Model[Any], Any]:
    """A model and its point, with merged classes where a file has no room for all samples.

    Args:
        model: any model.
        point: of it, or of its merged model.

    Example:
        >>> from ufm import UFM, CrossEntropy
        >>> model = UFM(CrossEntropy(), 3, 2, n=400, lambda_W=0.1, lambda_H=1e-4)
        >>> small, point = fitting(model, model.minimiser().point)
        >>> merges(small), point.H.shape
        (True, (2, 3))
    """
    merge = model.merge()
    if merge is None or model.family not in FEATURES or not merge.lossless:
        return model, point
    asked: Any = model
    small = merge.reduce(model.checked(point)[1])
    rows, columns = np.shape(getattr(small, FEATURES[model.family]))
    samples = sum(asked.counts_tuple)
    if len(flatten(small)) + rows * (samples - columns) <= MOST_VARIABLES:
        return model, point
    return merge.model, small
