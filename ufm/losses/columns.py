"""A loss on the columns of a logit matrix: values, gradients and Hessians.

Each is compiled once per loss, number of classes and number of columns, whatever the dimension of
the features that made the logits.
"""

from __future__ import annotations

from typing import Any

import jax

from ufm.kept import kept


@kept()
def column_losses(loss: Any, Z: Any, labels: Any) -> Any:
    """L(z_i, y_i) of every column z_i of Z (K, columns), shape (columns,).

    Example:
        >>> import numpy as np
        >>> from ufm.losses import CrossEntropy
        >>> column_losses(CrossEntropy(), np.zeros((2, 3)), np.array([0, 1, 1])).round(4).tolist()
        [0.6931, 0.6931, 0.6931]
    """
    return jax.vmap(loss, in_axes=(1, 0))(Z, labels)


@kept()
def column_gradients(loss: Any, Z: Any, labels: Any) -> tuple[Any, Any]:
    """Values (columns,) and logit gradients (K, columns).

    Example:
        >>> import numpy as np
        >>> from ufm.losses import CrossEntropy
        >>> column_gradients(CrossEntropy(), np.zeros((2, 1)), np.array([0]))[1].ravel().tolist()
        [-0.5, 0.5]
    """
    return jax.vmap(jax.value_and_grad(loss), in_axes=(1, 0), out_axes=(0, 1))(Z, labels)


@kept()
def column_products(loss: Any, Z: Any, labels: Any, M: Any) -> Any:
    """S_i m_i for every column m_i of M (K, columns), S_i the logit Hessian; never formed.

    Example:
        >>> import numpy as np
        >>> from ufm.losses import CrossEntropy
        >>> Z, M = np.zeros((2, 1)), np.array([[1.0], [0.0]])
        >>> column_products(CrossEntropy(), Z, np.array([0]), M).ravel().tolist()
        [0.25, -0.25]
    """

    def product(z: Any, label: Any, m: Any) -> Any:
        return jax.jvp(lambda x: jax.grad(loss)(x, label), (z,), (m,))[1]

    return jax.vmap(product, in_axes=(1, 0, 1), out_axes=1)(Z, labels, M)


@kept()
def column_hessians(loss: Any, Z: Any, labels: Any) -> Any:
    """Logit Hessians (columns, K, K).

    Example:
        >>> import numpy as np
        >>> from ufm.losses import CrossEntropy
        >>> column_hessians(CrossEntropy(), np.zeros((2, 1)), np.array([0]))[0].tolist()
        [[0.25, -0.25], [-0.25, 0.25]]
    """
    return jax.vmap(jax.hessian(loss), in_axes=(1, 0))(Z, labels)
