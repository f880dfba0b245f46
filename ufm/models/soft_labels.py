"""Samples with distributions over classes for labels: soft labels, mixup, next-token targets."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import numpy as np
import scipy

from ufm.counts import parsed_counts
from ufm.errors import InputError, require_count
from ufm.models.sample_types import of_types, proportional, require_room
from ufm.models.targets import Targets
from ufm.records import pytree_record
from ufm.typing import Array

# Sums of decimal fractions: rows of 1/3 or of a thousand probabilities are off by less.
SUM = 1e-9


@pytree_record(static=("d", "merged"), eq=False)
class SoftLabels(Targets):
    """Cross entropy against distributions; samples of one distribution merge.

    f(W, H) = (1/N) sum_i (logsumexp(W h_i) - y_i . W h_i) + (lambda_W/2) |W|^2 + (lambda_H/2) |H|^2

    The rows of targets are distributions y, no two alike.
    Source: after arXiv 2408.15417 (next tokens); docs/theory.md, SL-1.
    """

    def best_logits(self) -> tuple[Array, str] | None:
        """Two classes: one root per distribution (SL-1); None for more."""
        if self.num_logits > 2:
            return None
        first = np.asarray(self.targets)[:, 0]

        def slope(t: int, gap: float) -> float:
            return float(scipy.special.expit(gap) - first[t])

        level = self.num_samples * self.sigma / math.sqrt(2)
        gaps = proportional(slope, self.counts_tuple, level)
        return np.stack([gaps, -gaps]) / 2, "one root per distribution (SL-1)"


def soft_labels(
    targets: str | Sequence[Sequence[float]] = "0.8,0.2,0/0,0.7,0.3/0.1,0,0.9/0.5,0.5,0",
    n: int = 2,
    d: int = 4,
    lambda_W: float = 0.01,
    lambda_H: float = 0.02,
    counts: str | Sequence[int] | None = None,
) -> SoftLabels:
    """Distributions for labels: equal ones merge as classes do, with a duality gap at any point.

    f(W, H) = (1/N) sum_i (logsumexp(W h_i) - y_i . W h_i) + (lambda_W/2) |W|^2 + (lambda_H/2) |H|^2

    Args:
        targets: rows of probabilities with commas, rows divided by /; samples of equal rows are
            put together.
        n: samples of every row.
        d: feature dimension.
        lambda_W: weight decay of the classifier, > 0.
        lambda_H: weight decay of the features, > 0.
        counts: samples of every row with commas, instead of n.

    Raises:
        InputError: a value outside its domain, or a row that is no distribution.

    Example:
        >>> soft_labels("1,0/0.5,0.5/1,0", counts="2,1,3").counts_tuple
        (5, 1)
    """
    rows = _rows(targets)
    size = require_count(n, "n", 1, "give one sample or more per row")
    sizes = (size,) * len(rows) if counts is None else parsed_counts(counts, "counts", 1)
    if len(sizes) != len(rows):
        rule = f"Need one count per row, {len(rows)}"
        raise InputError(rule, f"{len(sizes)} counts", "give as many counts as rows")
    merged: dict[tuple[float, ...], int] = {}
    for row, count in zip(rows, sizes, strict=True):
        merged[row] = merged.get(row, 0) + count
    known = of_types(tuple(merged.values()), d, lambda_W, lambda_H)
    return SoftLabels(**known, targets=np.array(list(merged)))


def _rows(targets: Any) -> list[tuple[float, ...]]:
    """The distributions, each checked."""
    try:
        written = isinstance(targets, str)
        words = [row.split(",") for row in targets.split("/")] if written else targets
        rows = [tuple(float(x) for x in row) for row in words]
    except (TypeError, ValueError):
        remedy = "write for example 0.9,0.1/0.2,0.8"
        raise InputError("Need rows of numbers with commas", repr(targets), remedy) from None
    K = len(rows[0]) if rows else 0
    require_count(K, "K", 2, "give two classes or more")
    require_room(K, len(rows))
    for i, row in enumerate(rows, 1):
        if len(row) != K:
            raise InputError(
                f"Need {K} numbers in every row", f"{len(row)} in row {i}", "fill it up"
            )
        if not all(math.isfinite(x) and x >= 0 for x in row):
            rule = "Need probabilities that are finite and not negative"
            raise InputError(rule, f"{min(row)} in row {i}", "use numbers from 0 to 1")
        if abs(sum(row) - 1) > SUM:
            rule, remedy = "Need rows that sum to 1", "divide the row by its sum"
            raise InputError(rule, f"{sum(row):.10g} in row {i}", remedy)
    return rows
