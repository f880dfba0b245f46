"""Full-batch gradient descent with all samples, and how NC1, NC2 and NC3 fall along it."""

from __future__ import annotations

from functools import partial
from typing import Any

import jax
import jax.numpy as jnp

from ufm.collapse.geometry import etf_target

# Points at which the metrics are taken; a window of one part in twelve of a run still holds 80.
RECORDS = 1000


@partial(jax.jit, static_argnames="together")
def descend_many(models: Any, points: Any, steps: Any, strides: Any, *, together: bool) -> Any:
    """The collapse metrics after 0, s, 2 s, ... steps of gradient descent, for many models.

    x <- x - step grad f(x) on W, every feature and b.
    Source: derived here; the metrics are ``nc1_ratio``, ``nc2_geo`` and ``nc3_geo`` of
    ``ufm.collapse``.

    Args:
        models: a stack of UFMs with all samples, of one shape.
        points: a stack of points, H (d, N).
        steps: step sizes, one for each model.
        strides: steps between two records, one for each.
        together: vectorise over models (for accelerators) instead of looping.

    Returns:
        NC1, NC2, NC3: (size, RECORDS, 3).

    Example:
        >>> from ufm.stack import stack
        >>> from ufm import UFM, CrossEntropy
        >>> model = UFM(CrossEntropy(), 3, 2, 2, lambda_W=0.1, lambda_H=0.1)
        >>> start = model.random_point(jax.random.key(0))
        >>> one = jnp.array([1.0]), jnp.array([1])
        >>> fallen = descend_many(stack([model]), stack([start]), *one, together=False)
        >>> fallen.shape, bool((fallen[0, -1] < 1e-6 * fallen[0, 0]).all())
        ((1, 1000, 3), True)
    """

    def run(part: Any) -> Any:
        model, point, step, stride = part
        slope = jax.grad(model.objective)

        def descend(_: Any, x: Any) -> Any:
            return jax.tree.map(lambda leaf, g: leaf - step * g, x, slope(x))

        def record(x: Any, _: Any) -> Any:
            return jax.lax.fori_loop(0, stride, descend, x), metrics(model, x)

        return jax.lax.scan(record, point, length=RECORDS)[1]

    parts = (models, points, steps, strides)
    return jax.vmap(lambda *part: run(part))(*parts) if together else jax.lax.map(run, parts)


def metrics(model: Any, point: Any) -> Any:
    """NC1, NC2 and NC3 of a point with all samples, (3,).

    tr S_within / tr S_between, |u(W W^T) - E| and |u(W C_G^T) - E| with u(X) = X / |X|, C_G the
    class means less the mean of all samples, E the simplex. Source: ``ufm.collapse.Collapse``.

    Example:
        >>> from ufm import UFM, CrossEntropy
        >>> model = UFM(CrossEntropy(), 3, 2, 2, lambda_W=0.1, lambda_H=0.1)
        >>> best = model.merge().lift(model.minimiser().point)
        >>> bool((metrics(model, best) < 1e-12).all())
        True
    """
    W, H, _ = point
    K = W.shape[0]
    member = (model.labels[:, None] == jnp.arange(K)) / model.counts
    means = H @ member
    within = jnp.sum((H - means[:, model.labels]) ** 2) / H.shape[1]
    between = jnp.sum((means - means.mean(axis=1, keepdims=True)) ** 2) / K
    second, third = frames(W, means, model.counts)
    E = etf_target(K)
    return jnp.stack([within / between, jnp.linalg.norm(second - E), jnp.linalg.norm(third - E)])


def frames(W: Any, means: Any, counts: Any) -> tuple[Any, Any]:
    """u(W W^T) and u(W C_G^T), (K, K) each, from the class means (d, K).

    Example:
        >>> square = jnp.array([[1.0, -1.0]])
        >>> frames(square.T, 3 * square, jnp.ones(2))[1].round(3).tolist()
        [[0.5, -0.5], [-0.5, 0.5]]
    """
    centred = means - (means @ (counts / counts.sum()))[:, None]
    second, third = W @ W.T, W @ centred
    return second / jnp.linalg.norm(second), third / jnp.linalg.norm(third)
