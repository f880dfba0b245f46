"""The classifier on top of the features: trained, or a fixed simplex equiangular tight frame."""

from __future__ import annotations

import math
from typing import Any

import equinox as eqx
import jax.numpy as jnp
import numpy as np

from experiments.networks.architectures.layers import DTYPE, constant, normal
from ufm.errors import InputError
from ufm.frames import simplex_etf


class Head(eqx.Module):
    """Logits h W^T + b of features (N, d), W (K, d) and b (K,) or None.

    Attributes:
        W: the classifier, rows belong to classes as in ``ufm.Point``.
        b: the bias, or None.
        fixed: whether W is a constant, which no gradient and no decay touches.

    Example:
        >>> head = Head(jnp.eye(2, 3), None, fixed=False)
        >>> head(jnp.array([[4.0, 5.0, 6.0]])).tolist()
        [[4.0, 5.0]]
    """

    W: Any
    b: Any
    fixed: bool = eqx.field(static=True)

    def __call__(self, features: Any) -> Any:
        """(N, d) to (N, K)."""
        logits = features @ self.W.T
        return logits if self.b is None else logits + self.b


def linear_head(key: Any, num_classes: int, d: int, bias: bool = True) -> Head:
    """A classifier with entries N(0, 1 / d) and no bias or a bias of zero.

    Example:
        >>> import jax
        >>> linear_head(jax.random.key(0), 3, 5).W.shape
        (3, 5)
    """
    b = constant(0.0, num_classes) if bias else None
    return Head(normal(key, (num_classes, d), 1 / d), b, fixed=False)


def fixed_etf_head(num_classes: int, d: int, bias: bool = True) -> Head:
    """A classifier fixed at a simplex ETF whose rows have norm 1; the bias, if any, is trained.

    W W^T = K / (K - 1) (I - 1 1^T / K). For d >= K its rows are those of
    sqrt(K / (K - 1)) (I - 1 1^T / K) with zeros to the right, so that non-negative features can
    follow them as far as they can follow any; d = K is the paper's choice.
    Source: Zhu et al. 2021 (arXiv 2105.02375).

    Raises:
        InputError: d < K - 1, where there is no simplex ETF of K rows.

    Example:
        >>> W = fixed_etf_head(3, 4).W
        >>> (W @ W.T).round(3).tolist()[0]
        [1.0, -0.5, -0.5]
    """
    if d < num_classes - 1:
        got = f"d={d}, K={num_classes}"
        remedy = "increase d (d=K is usual), or train the classifier"
        raise InputError("Need d >= K - 1 to fix a simplex ETF", got, remedy)
    Q = simplex_etf(num_classes)
    rows = Q @ Q.T if d >= num_classes else Q
    rows = math.sqrt(num_classes / (num_classes - 1)) * rows
    W = np.pad(rows, ((0, 0), (0, d - rows.shape[1])))
    return Head(jnp.asarray(W, DTYPE), constant(0.0, num_classes) if bias else None, fixed=True)
