"""The directions in which optimisers step: SGD, Adam, AdamW and signSGD."""

from __future__ import annotations

from typing import Any

import numpy as np
import optax

# One direction; with the second the decay is decoupled.
ADAM = ("adam", "adamw")
# The first learning rate where none is given. Adam's is that of Kingma & Ba 2015; entries of a step
# have about that size with Adam, and exactly that size with signSGD.
RATES = {"sgd": 0.1, "adam": 1e-3, "adamw": 1e-3, "signsgd": 1e-3}
# Of Kingma & Ba 2015, as in PyTorch.
BETA2, EPSILON = 0.999, 1e-8


def direction(optimizer: str, momentum: float, nesterov: bool, max_gradient_norm: float) -> Any:
    """Gradient to direction, which the step multiplies by the learning rate; as optax writes it.

    sgd: m <- momentum m + g, and m (nesterov: g + momentum m); signsgd: the signs of that; adam and
    adamw: m^ / (sqrt(v^) + epsilon) with corrected means of g and g^2 (beta1 = momentum).
    Source: Kingma & Ba 2015; Bernstein et al. 2018 (signSGD, with momentum Signum).

    Args:
        optimizer: a name in ``RATES``.
        momentum: in [0, 1).
        nesterov: of sgd and signsgd.
        max_gradient_norm: longer gradients are shortened to it before; 0 for never.

    Example:
        >>> rule = direction("signsgd", 0.0, False, 0.0)
        >>> rule.update(np.array([3.0, -0.5, 0.0]), rule.init(np.zeros(3)))[0].tolist()
        [1.0, -1.0, 0.0]
    """
    parts = [] if max_gradient_norm == 0 else [optax.clip_by_global_norm(max_gradient_norm)]
    if optimizer in ADAM:
        # Python's numbers to the power of an integer array would be float64 inside the step.
        parts.append(optax.scale_by_adam(np.float32(momentum), np.float32(BETA2), EPSILON))
    else:
        parts.append(optax.trace(momentum, nesterov))
        if optimizer == "signsgd":
            parts.append(optax.scale_by_sign())
    return optax.chain(*parts)
