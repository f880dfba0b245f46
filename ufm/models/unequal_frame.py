"""Non-negative features of unequal classes: an orthogonal frame, every class for itself."""

from __future__ import annotations

import math

import numpy as np

from ufm.answers import Minimiser
from ufm.losses.logit_curve import logit_curve
from ufm.plain.minimisers import symmetric_code
from ufm.plain.model import UFM
from ufm.point import Point


def unequal_frame(model: UFM) -> Minimiser | None:
    """The global minimiser among H >= 0 for any class sizes, or None where it is not known.

    f* = sum_k min_g (n_k/N) psi(g) + sigma sqrt(n_k (K-1)/K) g, psi the loss at the gap g: features
    of different classes are orthogonal, class k has the logits g_k (e_k - 1/K), and vanishes alone
    at N sigma >= -psi'(0) sqrt(n_k K/(K-1)). Source: derived here (docs/theory.md, R-4); that means
    are orthogonal is after arXiv 2401.02058.

    Args:
        model: without bias, d >= K, with a loss that is convex, equivariant and shift invariant.

    Example:
        >>> from ufm import CrossEntropy
        >>> model = UFM(CrossEntropy(), counts=(4, 2, 1), d=3, lambda_W=0.02, lambda_H=0.02)
        >>> found = unequal_frame(model)
        >>> found.rank, round(found.value, 10)
        (2, 0.3061467201)
    """
    K, properties = model.num_classes, model.loss.properties(model.num_classes)
    known = properties.convex and properties.equivariant and properties.shift_invariant
    if model.lambda_b is not None or model.d < K or not known:
        return None
    counts, N = np.asarray(model.counts, dtype=float), model.num_samples
    sigma = math.sqrt(float(model.lambda_W) * float(model.lambda_H))
    ratio = math.sqrt(float(model.lambda_W) / float(model.lambda_H))
    W, H, value = np.zeros((K, model.d)), np.zeros((model.d, K)), 0.0
    for k, n in enumerate(counts):
        # The plain model of equal classes whose gap has the same price.
        decay = N * sigma / math.sqrt(n * K * (K - 1))
        alone = UFM(model.loss, K, K, 1, lambda_W=decay, lambda_H=decay)
        code = symmetric_code(alone)
        if code is None:
            return None
        logits = code.a * (np.eye(K)[k] - 1 / K)
        length = float(np.linalg.norm(logits))
        value += n / N * logit_curve(model.loss, code.a, 0.0, K).value
        value += sigma * math.sqrt(n) * length
        size = math.sqrt(length * ratio / math.sqrt(n))
        if size:
            W[:, k], H[k, k] = logits / size, math.sqrt(n) * size
    rank = int(np.linalg.matrix_rank(W))
    source = "orthogonal frame of unequal classes (R-4)"
    return Minimiser(Point(W, H), float(value), rank, None, source, properties.equivariant.evidence)
