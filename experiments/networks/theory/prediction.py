"""What the global minimiser of an unconstrained feature model looks like, in four numbers."""

from __future__ import annotations

from dataclasses import dataclass

import jax
import numpy as np
from numpy.typing import NDArray

from experiments.networks.theory.matching import NoTheory
from landscape.solvers.solve import solve
from ufm.models.fixed_classifier import FixedClassifier, fixed_minimiser
from ufm.models.nonnegative import nonnegative_minimiser, nonnegative_threshold
from ufm.plain.minimisers import thresholds
from ufm.plain.model import UFM
from ufm.point import Point

Array = NDArray[np.float64]
# A minimum found to gradient norm 1e-12 has a duality gap far below; a saddle or another minimum
# has one of the size of the loss.
PROOF = 1e-8
# Shapes are read off a Gram matrix up to this share of its diagonal: a point solved to gradient
# norm 1e-12 is known to 1e-9 where the least curvature is 1e-3.
SHAPE_TOLERANCE = 1e-6
STARTS = 3


@dataclass(frozen=True)
class Prediction:
    """The global minimum of a model.

    Attributes:
        objective: its value.
        W_squared, H_squared: |W|^2, and |H|^2 over all N features.
        gap: mean over samples of the own logit minus the mean of the others.
        frame: of the class features: "simplex ETF", "orthogonal frame", "origin", or "neither".
        threshold: the c from which on the minimum is at W H = 0, None where not known or where the
            classifier is fixed.
        evidence: why this is the global minimum.
    """

    objective: float
    W_squared: float
    H_squared: float
    gap: float
    frame: str
    threshold: float | None
    evidence: str


def predict(model: UFM | FixedClassifier, *, nonnegative: bool = False) -> Prediction | NoTheory:
    """The global minimum of a model, in closed form or else solved for.

    Closed forms: ``ufm.global_minimiser``, ``ufm.models.nonnegative`` for features that leave a
    ReLU, and ``ufm.models.fixed_classifier``.
    Otherwise, without the sign, the reduced problem is solved by trust-region Newton from random
    starts, and accepted only if its duality gap proves it (``ufm.certificate``).

    Args:
        model: the model, e.g. of ``matching_model``.
        nonnegative: whether features are >= 0.

    Example:
        >>> from ufm import CrossEntropy
        >>> model = UFM(CrossEntropy(), 3, 4, lambda_W=0.1, lambda_H=0.1)
        >>> [predict(model, nonnegative=relu).frame for relu in (False, True)]
        ['simplex ETF', 'orthogonal frame']
    """
    if isinstance(model, FixedClassifier):
        return _fixed(model, nonnegative)
    return _nonnegative(model) if nonnegative else _free(model)


def _fixed(model: FixedClassifier, nonnegative: bool) -> Prediction | NoTheory:
    found = fixed_minimiser(model, nonnegative=nonnegative)
    if found is None:
        return NoTheory(f"{model.loss.name} has no known minimiser under a fixed classifier")
    frame = "origin" if found.a == 0 else "orthogonal frame" if nonnegative else "simplex ETF"
    evidence = f"closed form (E-1), {model.loss.properties(model.num_classes).convex.evidence}"
    return Prediction(
        objective=found.value,
        W_squared=float(model.num_classes),  # K rows of norm 1
        H_squared=found.H_squared,
        gap=found.a,
        frame=frame,
        threshold=None,
        evidence=evidence,
    )


def _nonnegative(model: UFM) -> Prediction | NoTheory:
    if not model.balanced:
        return NoTheory("no closed form is known for non-negative features of unequal counts")
    if model.d < model.num_classes:
        return NoTheory("no closed form is known for non-negative features with d < K")
    found = nonnegative_minimiser(model)
    if found is None:
        return NoTheory(f"{model.loss.name} has no known minimiser with non-negative features")
    evidence = f"closed form (R-1, R-2), {found.evidence}"
    return _of_point(model, found.point, found.value, nonnegative_threshold(model), evidence)


def _free(model: UFM) -> Prediction | NoTheory:
    properties = model.loss.properties(model.num_classes)
    symmetric = model.balanced and bool(properties.equivariant)
    threshold = thresholds(model).collapse if symmetric else None
    found = model.minimiser()
    if found is not None:
        evidence = f"closed form, {found.evidence}"
        return _of_point(model, found.point, found.value, threshold, evidence)
    if not properties.convex:
        return NoTheory(f"{model.loss.name} has no known minimiser, and no bound to prove one")
    # Converged points only: the origin is one, and random starts do not meet it by chance.
    runs = [solve(model, key=jax.random.key(seed)) for seed in range(STARTS)]
    best = min((run for run in runs if run.result), key=lambda run: run.objective, default=None)
    if best is None:
        return NoTheory("the solver did not converge")
    bound = model.certificate(best.point)
    if not bound.applies or bound.gap is None or bound.gap > PROOF:
        reason = bound.reason if bound.gap is None else f"its duality gap is {bound.gap:.1e}"
        return NoTheory(f"no point found is proved to be the minimum: {reason}")
    evidence = f"solved, duality gap {max(bound.gap, 0.0):.0e}"
    return _of_point(model, best.point.to_numpy(), best.objective, threshold, evidence)


def _of_point(
    model: UFM, point: Point, value: float, threshold: float | None, evidence: str
) -> Prediction:
    """The numbers of a point with merged columns."""
    counts = np.asarray(model.counts)
    Z = point.W @ point.H / np.sqrt(counts)
    if point.b is not None:
        Z = Z + point.b[:, None]
    own = np.diag(Z)
    gaps = own - (Z.sum(axis=0) - own) / (model.num_classes - 1)
    return Prediction(
        objective=float(value),
        W_squared=float(np.sum(point.W**2)),
        H_squared=float(np.sum(point.H**2)),
        gap=float(counts @ gaps / counts.sum()),
        frame=_frame(point.H / np.sqrt(counts)),
        threshold=threshold,
        evidence=evidence,
    )


def _frame(H: Array) -> str:
    """What the columns of H (d, K) form, by their Gram matrix."""
    gram, K = H.T @ H, H.shape[1]
    size = np.trace(gram) / K
    if size == 0:
        return "origin"
    shapes = {
        "simplex ETF": (np.eye(K) - 1 / K) * K / (K - 1),
        "orthogonal frame": np.eye(K),
    }
    for name, shape in shapes.items():
        if np.max(np.abs(gram / size - shape)) <= SHAPE_TOLERANCE:
            return name
    return "neither"
