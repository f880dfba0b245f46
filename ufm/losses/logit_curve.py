"""What closed forms need of an equivariant loss: its value and derivatives on symmetric logits.

Symmetric logits of class k are z_k = a (e_k - 1/K) + t 1. Two scalars (a, t) describe them, and a
(K, K) logit Hessian that commutes with the permutations fixing k is three numbers. Everything is
computed for class 0 by automatic differentiation, so it holds for a user's loss as well.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from ufm.kept import kept
from ufm.losses.loss import Loss
from ufm.precision import require_x64


@dataclass(frozen=True)
class LogitCurve:
    """Value, gradient and Hessian of L at z = a (e_0 - 1/K) + t 1: numbers, or arrays of many.

    Attributes:
        value: L(z, 0).
        own: derivative along e_0.
        other: derivative along any e_j, j != 0.
        s2: Hessian on the complement of {1, e_0} (K - 2 dimensions).
        S: Hessian on the orthonormal pair (u, 1/sqrt(K)), u = (e_0 - 1/K) sqrt(K/(K-1));
            S[0][0] is s1 of the theory, and the rest vanishes for shift-invariant losses.
    """

    value: Any
    own: Any
    other: Any
    s2: Any
    S: tuple[tuple[Any, Any], tuple[Any, Any]]


def _logits(a: Any, t: Any, num_classes: int) -> Any:
    return a * (jax.nn.one_hot(0, num_classes, dtype=jnp.float64) - 1 / num_classes) + t


@partial(jax.jit, static_argnames="num_classes")
def slopes(loss: Loss, a: Any, t: Any, num_classes: int) -> tuple[Any, Any, Any]:
    """(value, own, other) on arrays of (a, t): shapes as ``a``."""

    def at(a: Any, t: Any) -> tuple[Any, Any, Any]:
        value, gradient = jax.value_and_grad(loss)(_logits(a, t, num_classes), 0)
        return value, gradient[0], gradient[1]

    return jax.vmap(at)(a, t)


@partial(jax.jit, static_argnames="num_classes")
def _curve(loss: Loss, a: Any, t: Any, num_classes: int) -> tuple[Any, ...]:
    z = _logits(a, t, num_classes)
    one = jnp.full(num_classes, num_classes**-0.5)
    u = jax.nn.one_hot(0, num_classes, dtype=one.dtype) - 1 / num_classes
    u = u / jnp.linalg.norm(u)

    def hessian(v: Any) -> Any:
        return jax.jvp(lambda z: jax.grad(loss)(z, 0), (z,), (v,))[1]

    value, gradient = jax.value_and_grad(loss)(z, 0)
    Hu, H1 = hessian(u), hessian(one)
    # S e_1 = s2 e_1 + (same in every other class), so a difference of two entries is s2.
    He = hessian(jax.nn.one_hot(1, num_classes, dtype=one.dtype))
    s2 = He[1] - He[2] if num_classes > 2 else jnp.zeros(())
    return value, gradient[0], gradient[1], s2, Hu @ u, Hu @ one, H1 @ one


def logit_curve(loss: Loss, a: float, t: float, num_classes: int) -> LogitCurve:
    """The derivatives of an equivariant loss at symmetric logits.

    Source: derived here (docs/theory.md, section 7.0).

    Args:
        loss: an equivariant loss.
        a: gap between the own logit and the others.
        t: common shift of all logits.
        num_classes: K >= 2.

    Example:
        >>> from ufm.losses import CrossEntropy
        >>> curve = logit_curve(CrossEntropy(), 0.0, 0.0, 4)
        >>> round(curve.own, 12), round(curve.s2, 12)  # p - 1, p
        (-0.75, 0.25)
    """
    require_x64()
    numbers = [float(x) for x in _curve(loss, float(a), float(t), num_classes)]
    value, own, other, s2, uu, u1, one = numbers
    return LogitCurve(value, own, other, s2, ((uu, u1), (u1, one)))


@kept("num_classes")
def _curves(losses: Any, a: Any, t: Any, *, num_classes: int) -> tuple[Any, ...]:
    return jax.vmap(lambda *one: _curve(*one, num_classes))(losses, a, t)


def logit_curves(losses: Any, a: Any, t: Any, num_classes: int) -> LogitCurve:
    """The same for a stack of losses, one pair (a, t) each.

    Example:
        >>> import numpy as np
        >>> from ufm.losses import CrossEntropy
        >>> from ufm.stack import stack
        >>> zero = np.zeros(2)
        >>> logit_curves(stack([CrossEntropy()] * 2), zero, zero, 4).s2.tolist()
        [0.25, 0.25]
    """
    require_x64()
    found = _curves(losses, a, t, num_classes=num_classes)
    value, own, other, s2, uu, u1, one = (np.asarray(x) for x in found)
    return LogitCurve(value, own, other, s2, ((uu, u1), (u1, one)))
