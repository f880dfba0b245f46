"""The best class-symmetric value of many balanced models at once."""

from __future__ import annotations

from typing import Any

import jax
import jax.numpy as jnp

from ufm.kept import kept
from ufm.losses.logit_curve import slopes

# Halvings of the bracket: 1e3 down to one unit in the last place of a gap of size one.
HALVINGS = 64


@kept("num_classes")
def symmetric_values(losses: Any, c: Any, *, num_classes: int) -> tuple[Any, Any]:
    """Logit gap and value of the best symmetric solution, for shift-invariant contrastive losses.

    The root a of L'(a) + c (K - 1) / K = 0, or 0; the value is L(a) + c a (K - 1) / K.
    Source: CE-1, LS-1, FL-1 of docs/theory.md; ``ufm.plain.minimisers`` has it for one model.

    Args:
        losses: a stack of losses, convex or contrastive, and shift invariant.
        c: sqrt(K N lambda_W lambda_H), one for each.
        num_classes: K.

    Returns:
        (gap, value), one for each.

    Example:
        >>> from ufm.stack import stack
        >>> from ufm.losses import CrossEntropy
        >>> gaps, _ = symmetric_values(stack([CrossEntropy()]), jnp.array([0.08]), num_classes=4)
        >>> bool(abs(gaps[0] - jnp.log(4 / 0.08 - 3)) < 1e-12)
        True
    """
    K = num_classes
    price = (K - 1) / K

    def one(loss: Any, c: Any) -> tuple[Any, Any]:
        def at(a: Any) -> tuple[Any, Any]:
            value, _, other = slopes(loss, a[None], jnp.zeros(1), K)
            # From the other classes alone: no cancellation where the own one is nearly certain.
            return value[0] + c * price * a, -(K - 1) * other[0] + c * price

        def double(high: Any) -> Any:
            return 2 * high

        high = jax.lax.while_loop(lambda high: at(high)[1] < 0, double, jnp.ones(()))

        def halve(_: Any, ends: Any) -> Any:
            low, high = ends
            middle = 0.5 * (low + high)
            rising = at(middle)[1] >= 0
            return jnp.where(rising, low, middle), jnp.where(rising, middle, high)

        low, high = jax.lax.fori_loop(0, HALVINGS, halve, (jnp.zeros(()), high))
        gap = jnp.where(at(jnp.zeros(()))[1] >= 0, 0.0, 0.5 * (low + high))
        return gap, at(gap)[0]

    return jax.vmap(one)(losses, c)
