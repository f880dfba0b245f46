"""Verdicts on two axes: the curvature of a critical point, and whether it is a global minimum."""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum
from functools import cached_property
from typing import Any

import jax
import numpy as np

from landscape.curvature.convexity import ROUTE as CONVEXITY
from landscape.curvature.convexity import count_by_convexity
from landscape.curvature.count import CRITICAL, CurvatureCount, count_curvature
from landscape.curvature.escape import Escape, escape_direction
from landscape.curvature.kinks import below_along, surface_at
from landscape.solvers.solve import solve
from ufm.answers import Certificate
from ufm.model import Model, norm
from ufm.point import length
from ufm.precision import require_x64
from ufm.tolerance import EPSILON, NEAR_NULL, NEWTON_STEP

# A gap is nothing below this share of f, to which a dual bound is computed near a minimum (it is
# first order in the distance), and some roundings of the losses, which are of size one.
GLOBAL_GAP, LOSS_ROUNDINGS = 1e-9, 64


def global_slack(value: Any) -> Any:
    """What an objective may exceed the global minimum by and still be it: relative to f.

    Example:
        >>> round(global_slack(2.0), 12), global_slack(0.0) < 1e-13
        (2e-09, True)
    """
    return GLOBAL_GAP * abs(value) + LOSS_ROUNDINGS * EPSILON


class Curvature(Enum):
    """What the Hessian says about a point."""

    STRICT_SADDLE = "critical, with a direction of negative curvature"
    MORSE_BOTT_MINIMUM = "critical, no negative curvature, and flat only along the symmetry orbit"
    DEGENERATE = (
        "critical, no negative curvature, but flat in more directions than symmetry explains"
    )
    NOT_CRITICAL = "the gradient does not vanish"
    UNDECIDED = "the numbers do not decide"


class Globality(Enum):
    """Whether a point is a global minimum."""

    GLOBAL = "no point lies lower"
    NOT_GLOBAL = "a lower point is known"
    UNKNOWN = "neither a certificate nor a lower point is known"


@dataclass(frozen=True)
class Verdict:
    """The judgement of a point, with every number it rests on.

    Attributes:
        curvature, reason: first axis and why.
        globality, globality_reason: second axis and why.
        objective, gradient_norm: at the point; at kinks of the least generalised gradient.
        count: index, nullity (observed and predicted), extreme eigenvalues, tolerance.
        certificate: the duality gap, or why there is none.
        model, point: what was judged.
        lower: a point with a lower objective where NOT_GLOBAL, else None; merged columns unless
            only a split within classes lies lower.
        lower_objective: its objective, else None.
    """

    curvature: Curvature
    reason: str
    globality: Globality
    globality_reason: str
    objective: float
    gradient_norm: float
    count: CurvatureCount
    certificate: Certificate
    model: Any
    point: Any
    lower: Any
    lower_objective: float | None

    @cached_property
    def by_eigenvalues(self) -> CurvatureCount:
        """``count``, or where convexity decided that of the eigenvalues (computed on demand)."""
        if self.count.route != CONVEXITY:
            return self.count
        return count_curvature(self.model, self.point, self.gradient_norm)

    @cached_property
    def gamma(self) -> float | None:
        """Strict saddle: |lambda_min|; minimum: smallest positive eigenvalue; else None.

        Computed on demand, as far as ``by_eigenvalues`` knows it.
        """
        return judge_curvature(self.by_eigenvalues, self.gradient_norm, self.point)[2]

    @cached_property
    def escape(self) -> Escape | None:
        """Direction of most negative curvature of a strict saddle without kinks, on demand."""
        if self.curvature is not Curvature.STRICT_SADDLE or self.count.kinks:
            return None
        return escape_direction(self.model, self.point, self.count.smallest)


def verdict(model: Model[Any], point: Any, *, restarts: int = 0, key: Any = None) -> Verdict:
    """Judge a point: strict saddle, Morse-Bott minimum or neither; global or not.

    Args:
        model: any model.
        point: a point of it, or of its merged model. Float64.
        restarts: random descents to try for a lower point when nothing else decides globality.
        key: random key of the restarts.

    Returns:
        A Verdict; UNDECIDED and UNKNOWN are answers, with reasons.

    Raises:
        InputError: float32 arrays, NaN, shapes that do not belong to the model, or a loss with
            kinks, by whatever route its curvature would be counted.

    Example:
        >>> from ufm import UFM, CrossEntropy
        >>> model = UFM(CrossEntropy(), 3, 2, lambda_W=0.1, lambda_H=0.1)
        >>> best = verdict(model, model.minimiser().point)
        >>> best.curvature.name, best.globality.name
        ('MORSE_BOTT_MINIMUM', 'GLOBAL')
        >>> verdict(model, model.origin()).curvature.name
        'STRICT_SADDLE'
    """
    require_x64()
    model, point = model.checked(point)
    objective, gradient = jax.tree.map(np.asarray, model.value_and_gradient(point))
    gradient_norm, value = float(norm(gradient)), float(objective)
    model.require_smooth()
    count = count_by_convexity(model, point, gradient_norm)
    count = count or count_curvature(model, point, gradient_norm)
    if count.residual is not None:
        gradient_norm = count.residual
    curvature, reason, _ = judge_curvature(count, gradient_norm, point)
    certificate = model.certificate(point)
    globality, why, lower, lower_value = _globality(
        model, point, value, curvature, certificate, count, restarts, key
    )
    return Verdict(
        curvature,
        reason,
        globality,
        why,
        value,
        gradient_norm,
        count,
        certificate,
        model,
        point,
        lower,
        lower_value,
    )


def judge_curvature(
    count: CurvatureCount, gradient_norm: float, point: Any
) -> tuple[Curvature, str, float | None]:
    """The first axis of a verdict from the count of curvatures: (curvature, reason, gamma).

    Args:
        count: ``landscape.curvature.count.count_curvature`` at the point.
        gradient_norm: at the point.
        point: for its length only.
    """
    bound = CRITICAL * count.typical * max(1.0, length(point))
    if count.predicted_nullity == sum(np.size(leaf) for leaf in jax.tree.leaves(point)):
        reason = "the symmetry orbit is a neighbourhood: the objective is constant on it"
        return Curvature.MORSE_BOTT_MINIMUM, reason, None
    if gradient_norm > bound:
        reason = f"gradient norm {gradient_norm:.3g} > {bound:.3g} = 1e-6 curvature max(1, |x|)"
        return Curvature.NOT_CRITICAL, reason, None
    tolerance = count.tolerance
    if count.doubt:
        critical = "critical (Clarke)" if gradient_norm <= bound else "a point"
        reason = f"{critical} at {count.kinks} kinks, where {count.doubt}"
        return Curvature.UNDECIDED, reason, None
    if count.settled is False:
        reason = "Newton's method does not end beside the point: no critical point is certain there"
        return Curvature.UNDECIDED, reason, None
    if count.index_range[0]:
        reason = f"lambda_min = {count.smallest:.6g} < -{tolerance:.1e}"
        return Curvature.STRICT_SADDLE, reason, -count.smallest
    if count.nullity_range is None:
        return (
            Curvature.UNDECIDED,
            "Lanczos found no negative curvature, which proves nothing",
            None,
        )
    expected, (fewest, most) = count.predicted_nullity, count.nullity_range
    if expected is None:
        return Curvature.UNDECIDED, "the dimension of the symmetry orbit is not known", None
    if most < expected:
        reason = f"nullity {most} < {expected} of the symmetry orbit: polish the point"
        return Curvature.UNDECIDED, reason, None
    if fewest < most:
        reason = (
            f"{most - expected} eigenvalues that symmetry does not explain are within "
            f"{tolerance:.1e} of zero, not told apart ({count.tolerance_source})"
        )
        return Curvature.UNDECIDED, reason, None
    gap = count.smallest_positive or NEAR_NULL * count.radius
    newton = gradient_norm / gap
    if newton > NEWTON_STEP * max(1.0, length(point)):
        reason = f"a Newton step would be {newton:.1e} long: polish the point"
        return Curvature.UNDECIDED, reason, None
    if most == expected:
        reason = f"index 0, nullity {expected} = dimension of the symmetry orbit"
        return Curvature.MORSE_BOTT_MINIMUM, reason, count.smallest_positive
    reason = f"nullity {most} > {expected} explained by symmetry, tolerance {tolerance:.1e}"
    return Curvature.DEGENERATE, reason, None


def _globality(
    model: Model[Any],
    point: Any,
    value: float,
    curvature: Curvature,
    certificate: Certificate,
    count: CurvatureCount,
    restarts: int,
    key: Any,
) -> tuple[Globality, str, Any, float | None]:
    slack = global_slack(value)
    saddle = curvature is Curvature.STRICT_SADDLE  # never global, however small its gap
    if not saddle and certificate.applies and (certificate.gap or 0.0) <= slack:
        told = f"duality gap {certificate.gap:.2e} ({certificate.reason})"
        if certificate.evidence != "proved":
            told = f"as far as probes of the loss tell: {told}"
        return Globality.GLOBAL, told, None, None
    known = model.minimiser()
    proved = known is not None and known.evidence == "proved"
    if known is not None and known.value < value - slack:
        reason = f"the closed form reaches {known.value:.12g} ({known.source})"
        return Globality.NOT_GLOBAL, reason, known.point, known.value
    if proved and known is not None and not saddle and curvature is not Curvature.NOT_CRITICAL:
        reason = f"it has the value of the closed-form global minimum ({known.source})"
        return Globality.GLOBAL, reason, None, None
    for name, candidate in model.candidates().items():
        height = float(model.objective(candidate))
        if height < value - slack:
            reason = f"the explicit point {name!r} reaches {height:.12g}"
            return Globality.NOT_GLOBAL, reason, candidate, height
    if saddle and count.kinks:
        surface = surface_at(model, point)
        fall = None if surface is None else below_along(model, point, surface)
        if fall is not None:
            return Globality.NOT_GLOBAL, "the objective falls along the surface of kinks", *fall
    elif saddle:
        escape = escape_direction(model, point, count.smallest)
        lower, lower_value = escape.descend(model, point, value)
        if lower_value < value:
            reason = "the objective falls along the escape direction"
            merge = model.merge()
            if merge is not None:
                mean = merge.reduce(lower)
                height = float(merge.model.objective(mean))
                if height < value:  # always so for convex losses, by Jensen's inequality
                    lower, lower_value = mean, height
            return Globality.NOT_GLOBAL, reason, lower, lower_value
    keys = jax.random.split(jax.random.key(0) if key is None else key, max(restarts, 1))
    for i in range(restarts):
        found = solve(model, key=keys[i])
        if found.objective < value - slack:
            reason = f"a random descent reached {found.objective:.12g}"
            return Globality.NOT_GLOBAL, reason, found.point, found.objective
    gap = f"duality gap {certificate.gap:.2e}" if certificate.applies else certificate.reason
    tried = f"; {restarts} random descents found nothing lower" if restarts else ""
    return Globality.UNKNOWN, f"{gap}{tried}", None, None
