"""What the global minimiser of an unconstrained feature model looks like, in a few numbers."""

from __future__ import annotations

from dataclasses import dataclass, replace

import jax
import numpy as np

from landscape.solvers.by_size import minimum_by_size
from landscape.solvers.solve import solve
from ufm.answers import Certificate
from ufm.decay import penalty
from ufm.models.fixed_classifier import FixedClassifier, fixed_minimiser
from ufm.models.nonnegative import nonnegative_minimiser, nonnegative_threshold
from ufm.models.sphere import Sphere
from ufm.plain.minimisers import thresholds
from ufm.plain.model import UFM
from ufm.point import Point
from ufm.typing import Array

# A minimum found to gradient norm 1e-12 has a duality gap far below; a saddle or another minimum
# has one of the size of the loss.
PROOF = 1e-8
# Shapes are read off a Gram matrix up to this share of its diagonal: a point solved to gradient
# norm 1e-12 is known to 1e-9 where the least curvature is 1e-3.
SHAPE_TOLERANCE = 1e-6
STARTS = 3
# Where a point constant on sizes is not proved, random starts of the full problem take seconds up
# to this many classes. (With 1,000 different sizes the first search alone takes minutes.)
MOST_CLASSES = 300


@dataclass(frozen=True)
class NoTheory:
    """The answer that no prediction is known, with the reason; it counts as false.

    Example:
        >>> bool(NoTheory("the features are of unknown sign"))
        False
    """

    reason: str

    def __bool__(self) -> bool:
        return False


@dataclass(frozen=True)
class Prediction:
    """The global minimum of a model.

    Attributes:
        objective: its value.
        W_squared, H_squared, b_squared: |W|^2, |H|^2 over all N features, |b|^2.
        gap: mean over samples of the own logit minus the mean of the others.
        frame: of the class features: "simplex ETF", "orthogonal frame", "origin", or "neither".
        threshold: the c from which on the minimum is at W H = 0, None where not known or where the
            classifier is fixed.
        evidence: why this is the global minimum.
        c: sqrt(K N lambda_W lambda_H) of the model; None for a fixed classifier.
        decays: lambda_W, lambda_H and lambda_b of the model.
        counts: its samples per class.
        error: the share of training samples that it classifies wrongly.
    """

    objective: float
    W_squared: float
    H_squared: float
    b_squared: float
    gap: float
    frame: str
    threshold: float | None
    evidence: str
    c: float | None
    decays: tuple[float, float, float | None]
    counts: tuple[int, ...]
    error: float = 0.0

    @property
    def loss(self) -> float:
        """The mean loss there: the objective is that and the decays."""
        squares = (self.W_squared, self.H_squared, self.b_squared)
        pairs = zip(self.decays, squares, strict=True)
        return self.objective - sum(float(penalty(x or 0.0, y)) for x, y in pairs)


def predict_free(model: UFM) -> Prediction | NoTheory:
    """The global minimum with features of any sign, in closed form or else solved for.

    Where ``ufm.global_minimiser`` has no closed form, the reduced problem is solved by
    trust-region Newton from random starts, and accepted only if its duality gap proves it
    (``ufm.certificate``).

    Example:
        >>> from ufm import CrossEntropy
        >>> predict_free(UFM(CrossEntropy(), 3, 4, lambda_W=0.1, lambda_H=0.1)).frame
        'simplex ETF'
    """
    properties = model.loss.properties(model.num_classes)
    symmetric = model.balanced and bool(properties.equivariant)
    threshold = thresholds(model).collapse if symmetric else None
    found = model.minimiser()
    if found is not None:
        evidence = f"closed form ({found.evidence}): {found.source}"
        return _of_point(model, found.point, found.value, threshold, evidence)
    if not properties.convex:
        return NoTheory(f"{model.loss.name} has no known minimiser, and no bound to prove one")
    point, value, bound = minimum_by_size(model)
    if _proves(bound):
        return _of_point(model, point, value, threshold, _solved(bound))
    if model.num_classes > MOST_CLASSES:
        return NoTheory(f"no closed form, and the point found is not proved: {_doubt(bound)}")
    # Converged points only: the origin is one, and random starts do not meet it by chance.
    runs = (solve(model, key=jax.random.key(seed)) for seed in range(STARTS))
    reason = "the solver did not converge"
    for run in (run for run in runs if run.result):
        bound = model.certificate(run.point)
        if _proves(bound):
            point = run.point.to_numpy()
            return _of_point(model, point, run.objective, threshold, _solved(bound))
        reason = f"no point found is proved to be the minimum: {_doubt(bound)}"
    return NoTheory(reason)


def _proves(bound: Certificate) -> bool:
    return bound.applies and bound.gap is not None and bound.gap <= PROOF


def _solved(bound: Certificate) -> str:
    return f"no closed form; solved, duality gap {max(bound.gap or 0.0, 0.0):.0e}"


def _doubt(bound: Certificate) -> str:
    return bound.reason if bound.gap is None else f"its duality gap is {bound.gap:.1e}"


def predict_nonnegative(model: UFM) -> Prediction | NoTheory:
    """The global minimum with features >= 0, as they leave a ReLU (``ufm.models.nonnegative``).

    Example:
        >>> from ufm import CrossEntropy
        >>> predict_nonnegative(UFM(CrossEntropy(), 3, 4, lambda_W=0.1, lambda_H=0.1)).frame
        'orthogonal frame'
    """
    if model.d < model.num_classes:
        return NoTheory("no closed form is known for non-negative features with d < K")
    found = nonnegative_minimiser(model)
    if found is None and not model.balanced:
        missing = "without a bias, and " if model.lambda_b is not None else ""
        need = f"{missing}for a convex loss that no common shift of the logits changes (R-4)"
        return NoTheory(f"with unequal counts non-negative features have a closed form only {need}")
    if found is None:
        return NoTheory(f"{model.loss.name} has no known minimiser with non-negative features")
    evidence = f"closed form ({found.evidence}): {found.source}"
    return _of_point(model, found.point, found.value, nonnegative_threshold(model), evidence)


def predict_fixed(
    model: FixedClassifier, *, nonnegative: bool = False, row: float = 1.0
) -> Prediction | NoTheory:
    """The global minimum under a classifier fixed at a simplex ETF.

    Rows of another norm r are those of norm 1 with features r h and their decay lambda_H / r^2.

    Args:
        model: the model, of rows of norm 1.
        nonnegative: whether features are >= 0.
        row: the norm of the rows.

    Example:
        >>> from ufm import MSE
        >>> round(predict_fixed(FixedClassifier(MSE(), 3, 4, lambda_H=0.125)).gap, 12)
        0.5
    """
    unit = replace(model, lambda_H=model.lambda_H / row**2)
    found = fixed_minimiser(unit, nonnegative=nonnegative)
    if found is None:
        return NoTheory(f"{model.loss.name} has no known minimiser under a fixed classifier")
    K = model.num_classes
    frame = "origin" if found.a == 0 else "orthogonal frame" if nonnegative else "simplex ETF"
    return Prediction(
        objective=found.value,
        W_squared=K * row**2,
        H_squared=found.H_squared / row**2,
        b_squared=K * found.beta**2,
        gap=found.a,
        frame=frame,
        threshold=None,
        evidence=f"closed form ({model.loss.properties(K).convex.evidence}): fixed ETF (E-1)",
        c=None,
        decays=(model.lambda_W, model.lambda_H, model.lambda_b),
        counts=model.counts_tuple,
    )


def predict_sphere(model: Sphere, W_squared: float, H_squared: float) -> Prediction | NoTheory:
    """The global minimum of normalised classifiers and features, without any decay.

    Args:
        model: the model; its scale is |w_k| |h_i|.
        W_squared: |W|^2, which is held.
        H_squared: the same of H.

    Example:
        >>> from ufm import CrossEntropy
        >>> round(predict_sphere(Sphere(CrossEntropy(), 4, 3, 2), 4.0, 8.0).objective, 10)
        0.5826576531
    """
    found = model.minimiser()
    if found is None:
        reason = "d < K - 1" if model.d < model.num_classes - 1 else f"the loss {model.loss.name}"
        return NoTheory(f"no minimiser on spheres is known for {reason} at this scale (SP-1)")
    return Prediction(
        objective=found.value,
        W_squared=W_squared,
        H_squared=H_squared,
        b_squared=0.0,
        gap=model.gap,
        frame="simplex ETF",
        threshold=None,
        evidence=f"closed form ({found.evidence}): {found.source}",
        c=None,
        decays=(0.0, 0.0, None),
        counts=model.counts_tuple,
    )


def _of_point(
    model: UFM, point: Point, value: float, threshold: float | None, evidence: str
) -> Prediction:
    """The numbers of a point with one column per class, or one per sample."""
    merged, point = model.as_merged(point)
    counts = np.asarray(model.counts)
    Z = np.asarray(merged.column_logits(point))
    own = np.diag(Z)
    gaps = own - (Z.sum(axis=0) - own) / (model.num_classes - 1)
    wrong = np.argmax(Z, axis=0) != np.arange(model.num_classes)
    lambda_b = None if model.lambda_b is None else float(model.lambda_b)
    return Prediction(
        objective=float(value),
        W_squared=float(np.sum(point.W**2)),
        H_squared=float(np.sum(point.H**2)),
        b_squared=0.0 if point.b is None else float(np.sum(point.b**2)),
        gap=float(counts @ gaps / counts.sum()),
        frame=_frame(point.H / np.sqrt(counts)),
        threshold=threshold,
        evidence=evidence,
        c=model.c,
        decays=(float(model.lambda_W), float(model.lambda_H), lambda_b),
        counts=model.counts_tuple,
        error=float(counts @ wrong / counts.sum()),
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
