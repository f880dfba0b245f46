"""Derivatives of an unconstrained feature model, by the chain rule through its logits.

Only the loss at the columns is differentiated automatically, so nothing is compiled per feature
dimension; ``Model`` has the same derivatives by differentiating the whole objective.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from ufm.losses.columns import column_gradients, column_hessians, column_products
from ufm.plain.blocks import GroupData, group_block
from ufm.point import Point, flatten
from ufm.typing import Array

if TYPE_CHECKING:
    from ufm.plain.model import UFM


def value_and_gradient(model: UFM, point: Point) -> tuple[float, Point]:
    """The objective, and the gradient (G H^T + lambda_W W, W^T G + lambda_H H, g + lambda_b b).

    G is the gradient with respect to W H, g that with respect to b.
    Source: chain rule (derived here).

    Args:
        model: a UFM, merged or not.
        point: W (K, d), H (d, columns), b (K,) or None.

    Example:
        >>> from ufm import UFM, CrossEntropy
        >>> model = UFM(CrossEntropy(), 3, 2, lambda_W=0.1, lambda_H=0.1)
        >>> value, gradient = value_and_gradient(model, model.origin())
        >>> round(value, 6), gradient.H.shape  # log 3
        (1.098612, (2, 3))
    """
    W, H, b = point.to_numpy()
    point = Point(W, H, b)
    losses, V = column_gradients(model.loss, model.column_logits(point), model.labels)
    V = np.asarray(V) * model.column_weights
    G = V / _roots(model)
    lw, lh = float(model.lambda_W), float(model.lambda_H)
    slope = None if b is None else V.sum(axis=1) + float(model.lambda_b) * b
    value = float(model.objective_of_losses(point, np.asarray(losses)))
    return value, Point(G @ H.T + lw * W, W.T @ G + lh * H, slope)


def second_derivative(model: UFM, point: Point, direction: Point) -> float:
    """The Hessian applied twice to a direction (A, B, beta).

    sum_i w_i <m_i, S_i m_i> + 2 <G, A B> + lambda_W |A|^2 + lambda_H |B|^2 + lambda_b |beta|^2,
    with m = A H + W B per unit of merged weight, plus beta, and S_i the logit Hessians.
    Source: chain rule (derived here).

    Args:
        model: a UFM, merged or not.
        point: W (K, d), H (d, columns), b (K,) or None.
        direction: of the same shapes.

    Example:
        >>> from ufm import UFM, CrossEntropy
        >>> model = UFM(CrossEntropy(), 3, 2, lambda_W=0.1, lambda_H=0.1)
        >>> A = Point(np.eye(3, 2), np.zeros((2, 3)))
        >>> round(second_derivative(model, model.origin(), A), 12)  # lambda_W |A|^2
        0.2
    """
    W, H, b = point.to_numpy()
    A, B, beta = direction.to_numpy()
    Z, weights = model.column_logits(Point(W, H, b)), model.column_weights
    V = np.asarray(column_gradients(model.loss, Z, model.labels)[1])
    move = (A @ H + W @ B) / _roots(model)
    if beta is not None:
        move = move + beta[:, None]
    bent = np.asarray(column_products(model.loss, Z, model.labels, move))
    curved = float(np.sum(weights * move * bent))
    curved += 2 * float(np.sum(weights * V / _roots(model) * (A @ B)))
    curved += float(model.lambda_W) * float(np.sum(A**2))
    curved += float(model.lambda_H) * float(np.sum(B**2))
    if beta is not None:
        curved += float(model.lambda_b) * float(beta @ beta)
    return curved


def dense_derivatives(model: UFM, point: Point) -> tuple[float, Array, Array]:
    """Objective, gradient and dense Hessian of a merged UFM, in the coordinates of ``flatten``.

    The Hessian is ``group_block`` with every class a group of its own: valid at every point, in any
    dimension, and compiled once per loss and K. Source: chain rule (derived here).

    Args:
        model: a merged UFM.
        point: W (K, d), H (d, K), b (K,) or None.

    Returns:
        value, gradient (P,), Hessian (P, P); P = 2 K d (+ K with bias).

    Example:
        >>> from ufm import UFM, CrossEntropy
        >>> model = UFM(CrossEntropy(), 3, 2, lambda_W=0.1, lambda_H=0.1).merge().model
        >>> value, gradient, hessian = dense_derivatives(model, model.origin())
        >>> round(value, 6), gradient.shape, hessian.shape  # log 3
        (1.098612, (12,), (12, 12))
    """
    point = point.to_numpy()
    value, slope = value_and_gradient(model, point)
    K, every = model.num_classes, np.arange(model.num_classes)
    Z = model.column_logits(point)
    V = np.asarray(column_gradients(model.loss, Z, every)[1]) * model.column_weights
    S = np.asarray(column_hessians(model.loss, Z, every))
    data = GroupData.collect(model, point, V / _roots(model), S, tuple(every.reshape(K, 1)))
    # The block has H by columns, points have it by rows.
    size, order = point.W.size, np.arange(2 * point.W.size + len(data.G) * (point.b is not None))
    order[size : 2 * size] = size + np.arange(size).reshape(K, -1).T.ravel()
    return value, flatten(slope), group_block(data)[np.ix_(order, order)]


def _roots(model: UFM) -> Any:
    """What divides W H in the logits of a column: sqrt n_k when merged, else 1."""
    return np.sqrt(np.asarray(model.counts, dtype=np.float64)) if model.merged else 1.0
