"""Sets of labels under pick-all-labels cross entropy."""

from __future__ import annotations

import math
from itertools import combinations
from typing import Any

import numpy as np

from ufm.errors import InputError, require_count
from ufm.models.sample_types import of_types, proportional, require_room
from ufm.models.targets import Targets
from ufm.point import Point
from ufm.records import pytree_record
from ufm.typing import Array


@pytree_record(static=("d", "merged", "per_set"), eq=False)
class MultiLabel(Targets):
    """Samples with sets of labels; every set of m labels has as many samples.

    f(W, H) = (1/N) sum_i sum_{k in S_i} CE(W h_i, k) + (lambda_W/2) |W|^2 + (lambda_H/2) |H|^2

    The rows of targets are sets S, as 0 and 1.
    Source: after Li et al. 2023 (arXiv 2310.15903); docs/theory.md, ML-1.

    Attributes:
        per_set: samples of every set with 1, 2, ... labels.
    """

    per_set: tuple[int, ...]

    def best_logits(self) -> tuple[Array, str]:
        """a_m (1_S - m/K): simplices of which only the size depends on m (ML-1)."""
        K, members = self.num_logits, np.asarray(self.targets).T
        sizes = [m for m, n in enumerate(self.per_set, 1) if n]

        def slope(g: int, a: float) -> float:
            m, rest = sizes[g], math.exp(-a)
            return -K * rest / (m + (K - m) * rest)

        weights = [self.per_set[m - 1] * math.comb(K - 2, m - 1) for m in sizes]
        gaps = dict(
            zip(sizes, proportional(slope, weights, self.num_samples * self.sigma), strict=True)
        )
        labels = members.sum(axis=0)
        a = np.array([gaps[int(m)] for m in labels])
        return a * (members - labels / K), "scaled averages of a simplex (ML-1)"

    def measures(self, point: Point) -> dict[str, Any]:
        """Also the logit gap of every number of labels: own labels against the others (ML-1)."""
        Z = np.asarray(point.W @ point.H) / (np.sqrt(self.counts) if self.merged else 1.0)
        own = np.asarray(self.targets).T[:, np.asarray(self.labels)] > 0
        sizes = own.sum(axis=0)
        alike = [(Z[:, sizes == m], own[:, sizes == m]) for m in np.unique(sizes)]
        gaps = [float(z[mine].mean() - z[~mine].mean()) for z, mine in alike]
        return {**super().measures(point), "logit_gaps": gaps}

    def columns(self) -> dict[str, Any]:
        """K, d, samples per single label, pair and triple, and decays."""
        singles, pairs, triples = self.per_set
        return {**super().columns(), "n": singles, "pairs": pairs, "triples": triples}


def multilabel(
    num_classes: int = 4,
    d: int = 5,
    n: int = 2,
    pairs: int = 1,
    triples: int = 0,
    lambda_W: float = 0.004,
    lambda_H: float = 0.006,
) -> MultiLabel:
    """Sets of labels, pick-all-labels cross entropy: one simplex, scaled by the number of labels.

    f(W, H) = (1/N) sum_i sum_{k in S_i} CE(W h_i, k) + (lambda_W/2) |W|^2 + (lambda_H/2) |H|^2

    Args:
        num_classes: K, 2 or more.
        d: feature dimension.
        n: samples of every single label.
        pairs: samples of every pair of labels.
        triples: samples of every three labels.
        lambda_W: weight decay of the classifier, > 0.
        lambda_H: weight decay of the features, > 0.

    Raises:
        InputError: a value outside its domain, no sample, or sets of all labels.

    Example:
        >>> round(multilabel().minimiser().value, 10)
        0.7532217777
    """
    K = require_count(num_classes, "K", 2, "give two classes or more")
    per_set = tuple(
        require_count(count, name, 0, "use 0 for none, or more")
        for name, count in (("n", n), ("pairs", pairs), ("triples", triples))
    )
    most = max((m for m, count in enumerate(per_set, 1) if count), default=0)
    if not most:
        raise InputError("Need samples", "n = pairs = triples = 0", "give one of them a sample")
    if most >= K:
        remedy = "a set of all labels teaches nothing: raise K, or use 0 samples of it"
        raise InputError(f"Need sets of fewer labels than K = {K}", most, remedy)
    require_room(K, sum(math.comb(K, m) for m, count in enumerate(per_set, 1) if count))
    sets = [(S, c) for m, c in enumerate(per_set, 1) if c for S in combinations(range(K), m)]
    targets = np.array([[float(k in S) for k in range(K)] for S, _ in sets])
    known = of_types([count for _, count in sets], d, lambda_W, lambda_H)
    return MultiLabel(**known, targets=targets, per_set=per_set)
