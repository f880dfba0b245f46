"""Whether a network is where theory speaks at all: at a minimum, and collapsed."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np

from experiments.networks.theory.prediction import NoTheory, Prediction
from experiments.networks.theory.sample_sums import Census
from ufm.typing import Array

# A gradient that is a share t of the decay's is what decays that are off by t leave at an exact
# minimum. A gap alpha = log(K/c - K + 1) then moves by about t, which at the usual alpha of 5 and
# more is t/5 of it: beyond a fifth, ratios say how far the training went, not how good theory is.
LIMIT = 0.2
# Theory has no scatter within classes; this share of |H|^2 it does not speak of.
MOST_SCATTER = 0.1
# Samples on the wrong side have logit gradients of size 1, far above all others at a minimum.
MOST_ERRORS = 0.01
# How the features are confined.
FREE, NONNEGATIVE, SPHERE, FIXED = "free", "non-negative", "sphere", "fixed classifier"


@dataclass(frozen=True)
class Diagnosis:
    """What tells a minimum from other points, each 0 at an exact one.

    With f the objective at these decays, and features averaged within classes:

    Attributes:
        error: share of training samples on the wrong side, less that at the predicted minimum.
        gradient_norm: |grad f|, of what is trained and along what is free.
        gradient_W: |grad_W f| over the larger of its two parts, slope of the loss and decay; None
            where the classifier is fixed.
        gradient_H: the same for the class means of the features, entries at 0 of non-negative
            ones counted where they would grow.
        gradient_b: |grad_b f| over the larger of mean |v_i| and the decay; None without bias.
        balance: lambda_W |W|^2 / (lambda_H |H|^2) - 1; None where there is no such pair.
        scatter: within classes over between them.

    Source: derived here; the balance is CE-3 of docs/theory.md.
    """

    error: float
    gradient_norm: float
    gradient_W: float | None
    gradient_H: float
    gradient_b: float | None
    balance: float | None
    scatter: float

    @property
    def doubts(self) -> tuple[str, ...]:
        """Why this is no minimum, the gravest first; empty where nothing speaks against it."""
        found = []
        if not self.error <= MOST_ERRORS:
            found.append(f"{100 * self.error:.3g} % of the training samples are misclassified")
        parts = {"W": self.gradient_W, "the class means": self.gradient_H, "b": self.gradient_b}
        for name, size in parts.items():
            if size is not None and not size <= LIMIT:
                found.append(f"the gradient in {name} is {100 * size:.3g} % of its parts")
        if self.balance is not None and not abs(self.balance) <= LIMIT:
            found.append(f"lambda_W |W|^2 / (lambda_H |H|^2) is {1 + self.balance:.3g}, not 1")
        if not self.scatter <= MOST_SCATTER:
            found.append(f"classes scatter by {100 * self.scatter:.3g} % of what is between them")
        return tuple(found)


def diagnose(
    seen: Census,
    decays: tuple[float, float, float | None],
    confined: str = FREE,
    prediction: Prediction | NoTheory | None = None,
) -> Diagnosis:
    """How far a network is from a critical point of its model.

    Args:
        seen: of all training samples.
        decays: lambda_W, lambda_H and lambda_b.
        confined: FREE, NONNEGATIVE, SPHERE (no decay; gradients along the spheres) or FIXED.
        prediction: of the minimum, for the errors that it makes itself.

    Example:
        >>> from experiments.networks.theory.sample_sums import census
        >>> from ufm import UFM, CrossEntropy, lift
        >>> model = UFM(CrossEntropy(), 3, 5, 4, lambda_W=0.01, lambda_H=0.02)
        >>> W, H, _ = lift(model, model.minimiser().point)
        >>> seen = census(model.loss, H.T, W, None, model.labels)
        >>> diagnose(seen, (0.01, 0.02, None)).doubts
        ()
        >>> len(diagnose(seen, (0.02, 0.01, None)).doubts)  # decays of W and H exchanged
        3
    """
    lambda_W, lambda_H, lambda_b = decays
    n = np.asarray(seen.counts, np.float64)
    roots, N = np.sqrt(n)[:, None], n.sum()
    # Merged columns sqrt(n_k) mu_k, in which gradients keep their norm.
    pulls = roots * (seen.class_slopes @ seen.W) / N
    decay_H = lambda_H * roots * seen.means
    slope_H = pulls + decay_H
    slope_W = seen.slope_W + lambda_W * seen.W
    if confined == NONNEGATIVE or (confined == FIXED and seen.least >= 0):
        slope_H = np.where(seen.means > 0, slope_H, np.minimum(slope_H, 0.0))
    if confined == SPHERE:
        slope_H, slope_W = _tangential(pulls, seen.means), _tangential(seen.slope_W, seen.W)
    norms = [float(np.linalg.norm(slope_H))]
    largest_W = max(float(np.linalg.norm(seen.slope_W)), lambda_W * math.sqrt(seen.W_squared))
    largest_H = max(float(np.linalg.norm(pulls)), float(np.linalg.norm(decay_H)))
    gradient_W = gradient_b = balance = None
    if confined != FIXED:
        norms.append(float(np.linalg.norm(slope_W)))
        gradient_W = _share(norms[-1], largest_W)
    if seen.b is not None:
        decay_b = (lambda_b or 0.0) * seen.b
        norms.append(float(np.linalg.norm(seen.slope_b + decay_b)))
        gradient_b = _share(norms[-1], max(seen.slope_size, float(np.linalg.norm(decay_b))))
    if confined in (FREE, NONNEGATIVE) and seen.H_squared and lambda_H:
        balance = lambda_W * seen.W_squared / (lambda_H * seen.H_squared) - 1
    known = prediction if isinstance(prediction, Prediction) else None
    origin = known is not None and known.frame == "origin"
    return Diagnosis(
        error=0.0 if origin else max(0.0, seen.error - (known.error if known else 0.0)),
        gradient_norm=math.hypot(*norms),
        gradient_W=gradient_W,
        gradient_H=_share(norms[0], largest_H),
        gradient_b=gradient_b,
        balance=balance,
        scatter=0.0 if origin and not seen.means.any() else seen.scatter,
    )


def _tangential(slopes: Array, rows: Array) -> Array:
    """The part of every slope that is orthogonal to its row."""
    squares = np.sum(rows**2, axis=1, keepdims=True)
    along = np.sum(slopes * rows, axis=1, keepdims=True) / np.where(squares > 0, squares, 1.0)
    return np.asarray(slopes - along * rows)


def _share(size: float, whole: float) -> float:
    return size / whole if whole else 0.0
