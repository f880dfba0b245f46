"""One gradient flow with its times: from beside the origin past the saddles on its way."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from scipy.integrate import LSODA

from landscape.flows.descent import flow_of
from ufm.errors import InputError
from ufm.plain.model import UFM
from ufm.point import Point, flatten
from ufm.typing import Array

# How much smaller each direction of the start is than the one before: the flow stays at a saddle
# for log(1/NEXT) over its rate of escape, several times as long as it takes between two.
NEXT = 1e-3
# A flow has arrived when this share of the descent is left.
LEFT = 1e-5
# A flow that is slower than this has ended where it is; beside saddles it is not.
STILL = 1e-10
# Steps that a flow may take; those of small models take some hundreds.
MOST_STEPS = 20000
# Errors per step, relative and absolute: the smallest direction of the start must survive.
RELATIVE, ABSOLUTE = 1e-8, 1e-13


@dataclass(frozen=True, eq=False)
class Trajectory:
    """A gradient flow at the times of its steps.

    Attributes:
        model: the merged model.
        times: of the flow, (T,).
        objective: (T,).
        gradient_norm: (T,).
        points: W (T, K, d), H (T, d, K), b (T, K) or None.
    """

    model: UFM
    times: Array
    objective: Array
    gradient_norm: Array
    points: Point

    @property
    def waits(self) -> tuple[int, ...]:
        """The steps at which the flow is slowest: beside the saddles that it passes.

        Local minima of the gradient norm, the start and the end left out.
        """
        size = self.gradient_norm
        inner = (size[1:-1] < size[:-2]) & (size[1:-1] <= size[2:])
        return tuple((np.flatnonzero(inner) + 1).tolist())


def one_by_one(model: UFM) -> Point:
    """A start beside the origin from which the classes part one after the other.

    W = sum_j NEXT^j u_j e_j^T,  Hbar = sqrt(lambda_W / lambda_H) W^T,  b = 0

    where u_j parts class j from all later ones (Helmert's contrasts; the last is constant) and e_j
    are the axes.
    Source: derived here.

    Args:
        model: merged, in any dimension.

    Example:
        >>> from ufm import CrossEntropy
        >>> start = one_by_one(UFM(CrossEntropy(), 3, 2, lambda_W=0.1, lambda_H=0.1).merge().model)
        >>> (start.W / 1e-3).round(4).tolist()
        [[0.8165, 0.0], [-0.4082, 0.0007], [-0.4082, -0.0007]]
    """
    K, d = model.num_classes, model.d
    W = np.zeros((K, d))
    for j in range(min(K, d)):
        contrast = np.zeros(K)
        contrast[j], contrast[j + 1 :] = 1.0, -1.0 / max(K - 1 - j, 1)
        if j == K - 1:
            contrast[:] = 1.0
        W[:, j] = NEXT ** (j + 1) * contrast / np.linalg.norm(contrast)
    H = W.T * np.sqrt(float(model.lambda_W) / float(model.lambda_H))
    return Point(W, H, None if model.lambda_b is None else np.zeros(K))


def trajectory(model: UFM, start: Point, floor: float) -> Trajectory:
    """Follow x' = -grad f from a start until all but 1e-5 of the descent is done.

    Args:
        model: merged, small enough for dense Hessians.
        start: a point of it.
        floor: the objective to which the flow goes down.

    Raises:
        InputError: the flow does not come near the floor.

    Example:
        >>> from ufm import CrossEntropy
        >>> model = UFM(CrossEntropy(), 3, 2, lambda_W=0.02, lambda_H=0.02).merge().model
        >>> path = trajectory(model, one_by_one(model), model.minimiser().value)
        >>> len(path.waits), bool(np.all(np.diff(path.objective) <= 1e-9))
        (1, True)
    """
    inside = flow_of(model, start)
    solver = LSODA(
        inside.velocity,
        0.0,
        np.zeros(len(flatten(start))),
        np.inf,
        rtol=RELATIVE,
        atol=ABSOLUTE,
        jac=inside.jacobian,
    )
    times, places, values, sizes = [], [], [], []
    for _ in range(MOST_STEPS):
        value, slope = inside.value_and_gradient(solver.y)
        times.append(solver.t)
        places.append(inside.point(solver.y))
        values.append(value)
        sizes.append(float(np.linalg.norm(slope)))
        if value - floor <= LEFT * (values[0] - floor) or sizes[-1] < STILL:
            break
        solver.step()
        if solver.status != "running":
            break
    if values[-1] - floor > LEFT * (values[0] - floor):
        rule = "The flow must come down to the floor"
        raise InputError(rule, f"it stops at {values[-1]:.9g} above {floor:.9g}", "use its end")
    points = Point(
        np.stack([np.asarray(p.W) for p in places]),
        np.stack([np.asarray(p.H) for p in places]),
        None if start.b is None else np.stack([np.asarray(p.b) for p in places]),
    )
    return Trajectory(model, np.array(times), np.array(values), np.array(sizes), points)
