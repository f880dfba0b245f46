"""Dense Hessians of any model: the independent witness of every exact result."""

from __future__ import annotations

from typing import Any

import jax
import numpy as np
from jax.flatten_util import ravel_pytree
from numpy.typing import NDArray

from ufm.errors import InputError
from ufm.model import Model, hessian_vector_product
from ufm.precision import require_x64

# 2 GiB, and about a minute of eigenvalues on two cores.
MAX_DENSE_SIZE = 16_000


@jax.jit
def _dense(model: Model[Any], point: Any) -> jax.Array:
    flat, unravel = ravel_pytree(point)
    return jax.hessian(lambda x: model.objective(unravel(x)))(flat)


def dense_hessian(model: Model[Any], point: Any) -> NDArray[np.float64]:
    """The full Hessian by ``jax.hessian``, knowing nothing of any structure.

    Args:
        model: any model.
        point: a point of it with P entries, flat in the order of ``ravel_pytree``.

    Returns:
        (P, P), symmetric.

    Raises:
        InputError: float32, or P > 16,000 (with the size in GiB and the way out).

    Example:
        >>> from ufm import UFM, CrossEntropy
        >>> model = UFM(CrossEntropy(), 3, 2, lambda_W=0.1, lambda_H=0.1)
        >>> dense_hessian(model, model.origin()).shape
        (12, 12)
    """
    require_x64()
    size = sum(np.size(leaf) for leaf in jax.tree.leaves(point))
    if size > MAX_DENSE_SIZE:
        raise InputError(
            f"A dense Hessian holds at most {MAX_DENSE_SIZE:,} variables",
            f"{size:,} ({8 * size**2 / 2**30:,.1f} GiB)",
            "use ufm.full_spectrum, model.structure, or landscape.lanczos",
        )
    matrix = np.asarray(_dense(model, point))
    return 0.5 * (matrix + matrix.T)


def taylor_orders(model: Model[Any], point: Any, direction: Any) -> tuple[float, float]:
    """Observed orders of the Taylor remainders that check a gradient (2) and a Hessian (3).

    Fits log remainder against log step for f(x + t d) - f - t <g, d> and with the second-order
    term taken off as well; a wrong gradient shows order 1, a wrong Hessian order 2.
    Source: the check of Manopt (Boumal 2023, section 4.8).

    Example:
        >>> from ufm import UFM, CrossEntropy
        >>> model = UFM(CrossEntropy(), 3, 2, lambda_W=0.1, lambda_H=0.1)
        >>> x, d = (model.random_point(jax.random.key(i), 2.0) for i in (0, 1))
        >>> [round(order) for order in taylor_orders(model, x, d)]
        [2, 3]
    """
    flat, unravel = ravel_pytree(point)
    step = ravel_pytree(direction)[0]
    step = step / np.linalg.norm(step)
    gradient = ravel_pytree(model.gradient(point))[0]
    curved = ravel_pytree(hessian_vector_product(model, point, unravel(step)))[0]
    slope, curvature = float(gradient @ step), float(curved @ step)
    base = float(model.objective(point))
    times = np.geomspace(1e-3, 1e-1, 9)
    values = np.array([float(model.objective(unravel(flat + t * step))) for t in times])
    first = np.abs(values - base - times * slope)
    second = np.abs(values - base - times * slope - 0.5 * times**2 * curvature)
    fits = [np.polyfit(np.log(times), np.log(error + 1e-300), 1)[0] for error in (first, second)]
    return float(fits[0]), float(fits[1])
