"""The duality gap of the plain model, enclosed: by how much a point exceeds the global minimum."""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

import jax
import numpy as np

from proofs_check.rigorous.arithmetic import Undecided
from proofs_check.rigorous.floats import Floats, unbounded_is_undecided
from proofs_check.rigorous.jaxpr import evaluate
from proofs_check.rigorous.symmetric import largest_singular_value
from ufm.losses.columns import column_gradients
from ufm.model import Model


@dataclass(frozen=True)
class Gap:
    """Bounds that are proved.

    Attributes:
        value: float64 numbers with the objective at the point between them.
        bound: not above the global minimum.
        gap: not below the objective minus the global minimum.
        spectral_norm: not below |G|_2, G the gradient in the logits.
        evidence: "proved", or "probed" where convexity of the loss is only probed.
    """

    value: tuple[float, float]
    bound: float
    gap: float
    spectral_norm: float
    evidence: str


@unbounded_is_undecided
def duality_gap(model: Model[Any], point: Any) -> Gap:
    """By how much a point exceeds the global minimum at most, with the rounding of all steps.

    f* >= t sum_k pi_k (L_k - <v_k, z_k>) - t^2 |sum_k pi_k v_k|^2 / (2 lambda_b)
    for v_k = grad L(z_k), 0 <= t <= 1 and t |Y|_2 <= sigma, Y = [n_k^(1/2) v_k / N]: Fenchel's
    equality and L >= 0.
    Source: derived here (docs/theory.md, section C). Tight where |Y|_2 = sigma, as at every global
    minimiser of full rank.

    Args:
        model: a plain UFM, or a model that is one.
        point: merged or full columns; features are averaged within classes.

    Raises:
        Undecided: the loss is not convex or goes below zero, or the bias is free (lambda_b = 0).

    Example:
        >>> from ufm import UFM, CrossEntropy
        >>> model = UFM(CrossEntropy(), 3, 2, lambda_W=0.1, lambda_H=0.1)
        >>> told = duality_gap(model, model.minimiser().point)
        >>> 0 <= told.gap < 1e-13
        True
    """
    plain = model.as_plain()
    if plain is None:
        raise Undecided("no dual bound is known for this model")
    facts = plain.loss.properties(plain.num_classes)
    if not (facts.convex and facts.nonnegative):
        raise Undecided(f"{plain.loss.name} is not convex, or not above zero")
    if plain.lambda_b is not None and float(plain.lambda_b) == 0:
        raise Undecided("an unregularised bias needs the loss's conjugate")
    merged, mean = plain.as_merged(point)
    W, H = Floats.exact(mean.W), Floats.exact(mean.H)
    b = None if mean.b is None else Floats.exact(mean.b)
    counts = Floats.exact(np.asarray(merged.counts))
    total = Floats.exact(float(np.sum(merged.counts)))
    roots = counts.apply("sqrt")
    Z = (W @ H) / roots
    if b is not None:
        Z = Z + b[:, None]
    losses, V = _slopes(merged.loss, merged.num_classes, Z)
    shares = counts / total
    norm = largest_singular_value(V * (roots / total))
    lw, lh = (Floats.exact(float(x)) for x in (merged.lambda_W, merged.lambda_H))
    sigma = float((lw * lh).apply("sqrt").lower())
    t = 1.0 if norm <= sigma else float(np.nextafter(sigma / norm * (1 - 2.0**-50), 0))
    scale = Floats.exact(t)
    bound = scale * (shares * (losses - (V * Z).summed((0,)))).summed((0,))
    half = Floats.exact(0.5)
    value = (shares * losses).summed((0,))
    for decay, x in ((lw, W), (lh, H)):
        value = value + half * decay * (x * x).summed((0, 1))
    if b is not None:
        lb = Floats.exact(float(merged.lambda_b))
        pull = (V * shares).summed((1,))
        bound = bound - half * scale * scale * (pull * pull).summed((0,)) / lb
        value = value + half * lb * (b * b).summed((0,))
    told = float((value - bound).upper())
    if not told < math.inf:
        raise Undecided("the gap is not bounded: numbers beyond float64")
    ends = float(value.lower()), float(value.upper())
    evidence = facts.convex.evidence
    return Gap(ends, float(bound.lower()), told, norm, evidence)


def _slopes(loss: Any, num_classes: int, Z: Floats) -> tuple[Floats, Floats]:
    """Losses (K,) and logit gradients (K, K) of one column per class."""
    leaves, structure = jax.tree.flatten(loss)
    program = _program(structure, len(leaves), num_classes)
    losses, V = evaluate(program, Floats, [*leaves, Z, np.arange(num_classes)])
    return losses, V


@lru_cache(maxsize=32)
def _program(structure: Any, numbers: int, K: int) -> Any:
    def slopes(leaves: Any, Z: Any, labels: Any) -> Any:
        return column_gradients(jax.tree.unflatten(structure, leaves), Z, labels)

    return jax.make_jaxpr(slopes)([0.0] * numbers, np.zeros((K, K)), np.arange(K))
