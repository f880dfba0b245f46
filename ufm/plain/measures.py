"""What the literature reads off a point of the plain model: gaps, what margins cost, cosines."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

import numpy as np

from ufm.collapse.codes import code_measures
from ufm.collapse.margins import margin_excess
from ufm.plain.minimisers import thresholds
from ufm.point import Point

if TYPE_CHECKING:
    from ufm.plain.model import UFM


def measures(model: UFM, point: Point) -> dict[str, Any]:
    """Logit gap and sum, what margins cost beyond SELI, and the cosines of classifier rows.

    The gap is the own logit less the mean of the others, averaged over classes; the sum is that of
    one sample's logits; ``margin_excess`` is None where a margin is not positive (SE-3). Equal
    classes that the loss treats alike also have ``collapse_c``, the c from which zero is lowest
    (not where the loss is not convex and no simplex fits into d dimensions).

    Example:
        >>> from ufm import CrossEntropy, UFM
        >>> model = UFM(CrossEntropy(), 4, 3, lambda_W=0.05, lambda_H=0.05)
        >>> told = measures(model, model.minimiser().point)
        >>> round(told["logit_gap"], 12), abs(told["margin_excess"]) < 1e-12  # log(4 / c - 3)
        (2.833213344056, True)
    """
    Z, labels = np.asarray(model.column_logits(point)), np.asarray(model.labels)
    own, total = Z[labels, np.arange(Z.shape[1])], Z.sum(axis=0)
    K = model.num_classes
    shares = np.bincount(labels, minlength=K)[labels] * K
    gap = np.sum((own - (total - own) / (K - 1)) / shares)
    starts = np.searchsorted(labels, np.arange(K))
    means = np.add.reduceat(Z, starts, axis=1) / np.bincount(labels, minlength=K)
    excess = margin_excess(means, model.counts_tuple)
    told = {
        "logit_gap": float(gap),
        "logit_sum": float(np.sum(total / shares)),
        "margin_excess": None if math.isnan(excess) else excess,
        **code_measures(np.asarray(point.W)),
    }
    loss = model.loss.properties(K)
    if model.balanced and loss.equivariant and (loss.convex or model.d >= K - 1):
        told["collapse_c"] = thresholds(model).collapse
    return told
