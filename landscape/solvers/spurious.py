"""Search for minima that are not global: descent on the gradient and the most negative curvature.

m(x) = (|grad f|^2 + relu(-gamma - lambda_min(Hess f))^2) (1 + sum_v (width / (f - v))^2)

The first factor vanishes at critical points that are no gamma-strict saddles, and only there: these
are what a theorem "every other critical point is a strict saddle" excludes. The second keeps away
from minima that are known, by their values v: a value is the same on a whole orbit, so that no
symmetry has to be divided out.
Source: derived here; deflation after Farrell, Birkisson & Funke (2015).
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import scipy
from jax.flatten_util import ravel_pytree

from landscape.solvers.trust_region import trust_region
from ufm.model import Model
from ufm.point import flatten, unflatten

# Squares are ill conditioned: a few steps lead to where negative curvature is little and known
# minima are far, and Newton's method in a trust region, which leaves saddles, goes on from there.
STEPS = 20
POLISHING = 300
TOLERANCE = 1e-12
# Values are pushed away from a known one over this share of them.
WIDTH = 0.3
TINY = 1e-24
# Known values that one compiled program takes: the last ones.
MOST_KNOWN = 8


@jax.jit
def _merit(model: Model[Any], like: Any, x: Any, gamma: Any, known: Any, used: Any) -> Any:
    unravel = ravel_pytree(like)[1]

    def objective(y: Any) -> Any:
        return model.objective(unravel(y))

    def merit(y: Any) -> Any:
        value, slope = jax.value_and_grad(objective)(y)
        hessian = jax.hessian(objective)(y)
        # The derivative of an eigenvalue is that of its quadratic form, the vector held.
        lowest = jax.lax.stop_gradient(jnp.linalg.eigh(hessian)[1][:, 0])
        curvature = lowest @ hessian @ lowest
        plain = slope @ slope + jax.nn.relu(-gamma - curvature) ** 2
        # A known value that is hit exactly is no division by zero.
        return plain * (1 + jnp.sum(used * (WIDTH * value) ** 2 / ((value - known) ** 2 + TINY)))

    return jax.value_and_grad(merit)(x)


def spurious_candidate(
    model: Model[Any], start: Any, *, gamma: float, known: Sequence[float] = ()
) -> tuple[Any, float]:
    """The critical point that descent on m reaches from a start, and Newton's method from there.

    Args:
        model: any model small enough for dense Hessians; merge it first.
        start: a point of it.
        gamma: curvature below -gamma counts as that of a strict saddle, >= 0.
        known: values of minima to stay away from.

    Returns:
        (point, gradient norm): a norm above the tolerance of solvers means not critical. Whether it
        is a minimum, and global, is for ``verdict`` to say.

    Example:
        >>> from ufm import UFM, CrossEntropy
        >>> from ufm.point import Point
        >>> model = UFM(CrossEntropy(), 2, 1, lambda_W=0.6, lambda_H=0.6)  # collapsed: c > 1
        >>> start = Point(np.array([[0.3], [-0.2]]), np.array([[0.1, -0.2]]))
        >>> point, size = spurious_candidate(model, start, gamma=1e-4)
        >>> bool(size < 1e-12), bool(np.abs(point.W).max() < 1e-9)
        (True, True)
    """
    like = jax.tree.map(np.asarray, start)
    last = list(known)[-MOST_KNOWN:]
    values, used = (np.zeros(MOST_KNOWN) for _ in range(2))
    values[: len(last)], used[: len(last)] = last, 1

    def merit(x: Any) -> tuple[float, Any]:
        value, slope = _merit(model, like, x, gamma, values, used)
        return float(value), np.asarray(slope)

    found = scipy.optimize.minimize(
        merit,
        flatten(like),
        jac=True,
        method="L-BFGS-B",
        options={"maxiter": STEPS, "ftol": 0.0, "gtol": TOLERANCE},
    )
    point, _, size, _ = trust_region(model, unflatten(found.x, like), TOLERANCE, POLISHING)
    return jax.tree.map(np.asarray, point), float(size)
