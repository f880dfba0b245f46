"""Squared error as a quadratic form of the logits, and the target that its minimum thresholds."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from ufm.losses.logit_curve import logit_curve
from ufm.losses.loss import Loss
from ufm.typing import Array

if TYPE_CHECKING:
    from ufm.plain.model import UFM


class QuadraticForm(NamedTuple):
    """A loss at_zero - slope z_k + curvature/2 |z|^2, least at z = target e_k."""

    slope: float
    curvature: float
    at_zero: float

    @property
    def target(self) -> float:
        """The logit of the true class at which it is least."""
        return self.slope / self.curvature


def quadratic_form(loss: Loss, num_classes: int) -> QuadraticForm | None:
    """An isometric loss as a quadratic form of the logits; None for any other loss.

    Example:
        >>> from ufm.losses import MSE
        >>> quadratic_form(MSE(), 4)
        QuadraticForm(slope=1.0, curvature=1.0, at_zero=0.5)
    """
    if not loss.properties(num_classes).isometric:
        return None
    curve = logit_curve(loss, 0.0, 0.0, num_classes)
    return QuadraticForm(-curve.own, float(curve.S[0][0]), curve.value)


def quadratic_target(loss: Loss, num_classes: int) -> tuple[float, float] | None:
    """(M, constant) of a loss |z - M e_k|^2 / 2 + constant, or None for any other loss.

    Example:
        >>> from ufm.losses import MSE, CrossEntropy
        >>> quadratic_target(MSE(), 4), quadratic_target(CrossEntropy(), 4)
        ((1.0, 0.0), None)
    """
    form = quadratic_form(loss, num_classes)
    if form is None or abs(form.curvature - 1) > 1e-12:
        return None
    return form.slope, form.at_zero - 0.5 * form.slope**2


def quadratic_singular_target(model: UFM, M: float) -> Array:
    """T whose soft thresholding solves a quadratic isometric problem, (K, K)."""
    roots = np.sqrt(np.asarray(model.counts))
    T = M * np.diag(roots)
    if model.lambda_b is None:
        return T
    return T - np.outer(T @ roots, roots) / float(model.num_samples)
