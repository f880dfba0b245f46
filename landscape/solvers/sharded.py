"""One instance too large for a device: the features of all samples, split over devices.

The samples meet in W alone: f is a sum over columns of H. So each device keeps its columns, and
what travels in a step is the gradient of W and b, and inner products.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import jax
import numpy as np
from jax.sharding import Mesh, NamedSharding, PartitionSpec

from landscape.solvers.first_order import descend
from landscape.solvers.result import Solution
from landscape.solvers.solve import MAX_ITERATIONS, TOLERANCE, result_of
from ufm.errors import InputError, require_positive
from ufm.model import Model
from ufm.plain.model import UFM
from ufm.point import Point
from ufm.records import pytree_record

AXIS = "samples"


@pytree_record(eq=False)
class ByRows(Model[Point]):
    """A UFM whose points have H^T (N, d) for H.

    Flattening, as inner products do it, keeps an array on its devices when it is split along its
    first axis, and gathers it when it is split along another.

    Example:
        >>> from ufm import CrossEntropy
        >>> whole = UFM(CrossEntropy(), 3, 2, 4, lambda_W=0.1, lambda_H=0.1)
        >>> ByRows(whole).random_point(jax.random.key(0)).H.shape
        (12, 2)
    """

    whole: UFM

    def objective(self, point: Point) -> Any:
        return self.whole.objective(transposed(point))

    def random_point(self, key: Any, scale: float = 1.0) -> Point:
        return transposed(self.whole.random_point(key, scale))


def transposed(point: Point) -> Point:
    """The point with H^T for H.

    Example:
        >>> transposed(Point(np.ones((3, 2)), np.ones((2, 5)))).H.shape
        (5, 2)
    """
    return Point(point.W, point.H.T, point.b)


def placed(model: UFM, start: Point, devices: Sequence[Any]) -> tuple[ByRows, Point]:
    """Model and start on the devices: labels and H^T split along the samples, the rest copied.

    Raises:
        InputError: a merged model, a start of other shapes, or devices that do not divide N.

    Example:
        >>> from ufm import CrossEntropy
        >>> model = UFM(CrossEntropy(), 3, 2, 4, lambda_W=0.1, lambda_H=0.1)
        >>> placed(model, model.origin(), jax.devices()[:1])[1].H.shape
        (12, 2)
    """
    chosen = tuple(devices)
    N = model.num_columns
    if model.merged:
        raise InputError("Need a model with all samples", "a merged one", "solve it on one device")
    # Idle columns would need the weight 0 in the mean of the losses, which a model cannot say.
    if not chosen or N % len(chosen):
        fits = max((k for k in range(1, len(chosen) + 1) if N % k == 0), default=1)
        rule = "Need devices that divide the number of samples"
        raise InputError(rule, f"{len(chosen)} for N={N:,}", f"use {fits} of them")
    K, biased = model.num_classes, model.lambda_b is not None
    wanted = ((K, model.d), (model.d, N), (K,) if biased else None)
    found = tuple(None if leaf is None else np.shape(leaf) for leaf in start)
    if found != wanted:
        raise InputError(
            f"Need a start of shapes {wanted}", found, "use model.random_point as a pattern"
        )
    mesh = Mesh(np.array(chosen, dtype=object), (AXIS,))
    along = NamedSharding(mesh, PartitionSpec(AXIS))
    everywhere = NamedSharding(mesh, PartitionSpec())
    labels = jax.device_put(np.asarray(model.labels), along)
    copied = jax.device_put(model._replace(labels=np.zeros(0)), everywhere)
    W, b = jax.device_put((start.W, start.b), everywhere)
    # Part by part: no device, and no second array on the host, ever has all of H.
    H = jax.make_array_from_callback((N, model.d), along, lambda at: np.asarray(start.H.T[at]))
    return ByRows(copied._replace(labels=labels)), Point(W, H, b)


def solve_sharded(
    model: UFM,
    start: Point | None = None,
    devices: Sequence[Any] | None = None,
    *,
    key: Any = None,
    method: str = "lbfgs",
    tolerance: float = TOLERANCE,
    max_iterations: int | None = None,
    learning_rate: float = 0.1,
) -> Solution:
    """Minimise a UFM over all samples, their features split over devices.

    Args:
        model: with all samples; nothing is merged.
        start: a point, H (d, N) on the host or on the devices; by default a random one.
        devices: as many as divide N; by default all.
        key: JAX random key of the start, default ``jax.random.key(0)``.
        method: "lbfgs", "momentum" or "gd" (``landscape.solvers.first_order.descend``).
        tolerance: Euclidean gradient norm to reach.
        max_iterations: steps at most; the default is that of ``landscape.solve``.
        learning_rate: step of "gd" and "momentum".

    Returns:
        A Solution; H of its point stays split along the samples.

    Raises:
        InputError: a method of second order, a tolerance that is not positive, a merged model, a
            start of other shapes, or devices that do not divide N.

    Example:
        >>> from ufm import CrossEntropy
        >>> model = UFM(CrossEntropy(), 3, 2, 4, lambda_W=0.1, lambda_H=0.1)
        >>> found = solve_sharded(model, devices=jax.devices()[:1], tolerance=1e-8)
        >>> abs(found.objective - model.minimiser().value) < 1e-12
        True
    """
    if method not in ("lbfgs", "momentum", "gd"):
        remedy = "use 'lbfgs', 'momentum' or 'gd'"
        raise InputError("Sharded features need a first-order method", method, remedy)
    require_positive(tolerance, "tolerance", "use a value such as 1e-12")
    chosen = jax.devices() if devices is None else devices
    if start is None:
        start = model.random_point(jax.random.key(0) if key is None else key)
    allowed = MAX_ITERATIONS[method] if max_iterations is None else max_iterations
    rows, point = placed(model, start, chosen)
    found = descend(rows, point, tolerance, allowed, method, learning_rate)
    value, size, used = (entry.item() for entry in found[1:])
    result = result_of(size, value, tolerance, used, allowed)
    note = f"none: all samples, over {len(chosen)} devices"
    end = transposed(found[0])
    return Solution(model, end, model, value, size, result, used, method, note)
