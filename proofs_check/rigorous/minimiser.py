"""How far a point is from every global minimiser, in its logits and Gram matrices: proved.

Proofs in docs/certificates.md, "Distance to the global minimiser": a duality gap bounds distances
since the convex problem in the logits is strongly convex around the point; and a critical point of
full rank is itself a global minimiser, with no gap at all.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

import flint
import jax
import numpy as np
from scipy.optimize import brentq

from proofs_check.rigorous.arithmetic import Undecided
from proofs_check.rigorous.balls import BITS, precision
from proofs_check.rigorous.enclosed_gap import duality_gap
from proofs_check.rigorous.floats import Floats, outward, unbounded_is_undecided
from proofs_check.rigorous.jaxpr import evaluate
from proofs_check.rigorous.lower import enclosed_value
from proofs_check.rigorous.merged import merges
from proofs_check.rigorous.point import CriticalPoint, full_columns
from proofs_check.rigorous.symmetric import by_congruence, distance_to_inverse
from ufm.losses.columns import column_hessians
from ufm.model import Model
from ufm.typing import Array

# What is lost so that an approximate eigenvalue or root becomes a proved one.
ROOM = 1e-6


@dataclass(frozen=True)
class Nearness:
    """Upper bounds of what separates a point from every global minimiser of its model.

    Attributes:
        gap: of the objective, minus its minimum.
        curvature: a lower bound of the Hessians of the samples' losses in their logits, across the
            shift of the loss.
        logits: |P (Z - Z*)|, Frobenius norm over all samples, P = I - 1 1'/K where the loss is
            invariant under shifts, else the identity.
        gram_W, gram_H: |W W' - W* W*'| and |H' H - H*' H*|, Frobenius norms.
        exact: whether the true critical point beside it is proved to be a global minimiser.
    """

    gap: float
    curvature: float
    logits: float
    gram_W: float
    gram_H: float
    exact: bool


@unbounded_is_undecided
def near_minimiser(model: Model[Any], point: Any) -> Nearness:
    """How far any point is from every global minimiser, by its duality gap.

    1 - (1 + a) exp(-a) <= 2 R^2 N gap / curvature for a = R 2^(1/2) |P (Z - Z*)|, with R the
    concordance of the loss; |Z - Z*|^2 <= 2 N gap / curvature for R = 0.
    Source: derived here (docs/certificates.md).

    Raises:
        Undecided: no gap or concordance is known, the gap is too large for the curvature, or d is
            below the rank that a minimiser may need.

    Example:
        >>> from ufm import UFM, CrossEntropy
        >>> model = UFM(CrossEntropy(), 3, 2, lambda_W=0.1, lambda_H=0.1)
        >>> told = near_minimiser(model, model.minimiser().point)
        >>> told.logits < 1e-5, told.exact
        (True, False)
    """
    plain, invariant = _convex(model)
    point = full_columns(plain, point)
    if plain.d < plain.num_classes - invariant:
        raise Undecided("in so few dimensions the minimum may lie above the convex one")
    above = enclosed_value(plain, point)[1] - duality_gap(plain, point).bound
    gap = max(float(outward(above)), 0.0)
    curvature = _curvature(plain, point, invariant)
    logits = _distance(plain.loss.concordance, len(plain.labels) * gap / curvature)
    return _with_grams(plain, point, gap, curvature, logits, invariant)


@unbounded_is_undecided
def prove_minimiser(found: CriticalPoint) -> Nearness:
    """The same for a proved critical point: exactly a global minimiser where its rank is full.

    Raises:
        Undecided: neither is proved.

    Example:
        >>> from proofs_check.rigorous.point import prove_critical
        >>> from ufm import UFM, CrossEntropy
        >>> model = UFM(CrossEntropy(), 3, 2, lambda_W=0.1, lambda_H=0.1)
        >>> told = prove_minimiser(prove_critical(model, model.minimiser().point))
        >>> told.logits < 1e-12, told.exact
        (True, True)
    """
    plain, invariant = _convex(found.model)
    W, H = (np.asarray(x, dtype=float) for x in found.point[:2])
    if not _spans(W, found.distance, invariant):
        return near_minimiser(plain, found.point)
    value = enclosed_value(plain, found.point)[1]
    gap = max(float(outward(value - found.value[0])), 0.0)
    K, N = plain.num_classes, H.shape[1]
    size_W, size_H = (float(outward(np.linalg.norm(x), x.size)) for x in (W, H))
    off_W, off_H = (found.distance * math.sqrt(x.size) for x in (W, H))
    off_b = 0.0 if found.point.b is None else found.distance * math.sqrt(K * N)
    return Nearness(
        gap,
        _curvature(plain, found.point, invariant),
        float(outward(size_W * off_H + size_H * off_W + off_W * off_H + off_b)),
        float(outward(2 * size_W * off_W + off_W * off_W)),
        float(outward(2 * size_H * off_H + off_H * off_H)),
        exact=True,
    )


def _convex(model: Model[Any]) -> tuple[Any, bool]:
    """The plain model, and whether its loss is invariant under shifts of the logits."""
    plain = model.as_plain()
    if plain is None:
        raise Undecided("no convex problem is known for this model")
    if merges(plain):
        raise Undecided("distances to minimisers are bounded with one column per sample")
    facts = plain.loss.properties(plain.num_classes)
    if not facts.convex or facts.convex.evidence != "proved" or plain.loss.concordance is None:
        raise Undecided(f"{plain.loss.name} is not known to be convex and concordant")
    return plain, bool(facts.shift_invariant)


def _spans(W: Array, distance: float, invariant: bool) -> bool:
    """Whether every W in the box has full rank: K, or K - 1 if its rows sum to zero."""
    if W.shape[1] < len(W) - invariant:
        return False
    rows = Floats.around(W, distance)
    gram = rows @ rows.moved(np.transpose)
    if invariant:
        gram = gram + Floats.exact(np.full(gram.shape, float(np.trace(gram.centre)) / len(W)))
    try:
        inverse = np.linalg.inv(gram.centre)
    except np.linalg.LinAlgError:
        return False
    return bool(np.all(distance_to_inverse(gram, inverse) < 1))


def _curvature(plain: Any, point: Any, invariant: bool) -> float:
    """The smallest eigenvalue of the samples' logit Hessians across the shift: a lower bound."""
    Z = Floats.exact(point.W) @ Floats.exact(point.H)
    if point.b is not None:
        Z = Z + Floats.exact(np.asarray(point.b)[:, None])
    labels = np.asarray(plain.labels)
    leaves, structure = jax.tree.flatten(plain.loss)
    program = _program(structure, len(leaves), *Z.shape)
    [every] = evaluate(program, Floats, [*leaves, Z, labels])
    if invariant:  # the Hessian vanishes along 1, and 1 1' moves that eigenvalue up to K
        every = every + Floats.exact(np.ones(every.shape))
    least = float(np.linalg.eigvalsh(every.centre).min()) * (1 - ROOM)
    if not least > 0:
        raise Undecided("the loss is not proved to be strictly convex at the point")
    shift = Floats.exact(least * np.eye(Z.shape[0]))
    if any(by_congruence(every[i] - shift).negative for i in range(Z.shape[1])):
        raise Undecided("the loss is not proved to be strictly convex at the point")
    return least


@lru_cache(maxsize=32)
def _program(structure: Any, numbers: int, K: int, columns: int) -> Any:
    def hessians(leaves: Any, Z: Any, labels: Any) -> Any:
        return column_hessians(jax.tree.unflatten(structure, leaves), Z, labels)

    leaves = [0.0] * numbers
    return jax.make_jaxpr(hessians)(leaves, np.zeros((K, columns)), np.zeros(columns, int))


def _distance(concordance: float, share: float) -> float:
    """An upper bound of |P (Z - Z*)| from share = N gap / curvature."""
    if concordance == 0:
        return float(outward(math.sqrt(2 * share)))
    level = 2 * concordance**2 * float(outward(share))
    if not level < 1 - ROOM:
        raise Undecided("the gap is too large for a bound of the distance")
    # The left side is below a^2 / 2 and above a^2 exp(-a) / 2.
    end = math.sqrt(2 * level)
    while _reached(end) < level:
        end *= 2
    a = brentq(lambda a: _reached(a) - level, 0.0, end, xtol=1e-300) * (1 + ROOM) + 1e-150
    with precision(BITS):
        x = flint.arb(a)
        if not 1 - (1 + x) * (-x).exp() >= flint.arb(level):
            raise Undecided("the distance to a minimiser is not bounded")
    return float(outward(a / (concordance * math.sqrt(2.0))))


def _reached(a: float) -> float:
    """1 - (1 + a) exp(-a) = exp(-a) (exp(a) - 1 - a), by its series where that cancels."""
    if a > 0.5:
        return -math.expm1(-a) - a * math.exp(-a)
    term, total = 1.0, 0.0
    for n in range(2, 20):
        term = a**n / math.factorial(n)
        total += term
    return total * math.exp(-a)


def _with_grams(
    plain: Any, point: Any, gap: float, curvature: float, logits: float, invariant: bool
) -> Nearness:
    """The distances of W W' and H'H that follow from a gap and the distance of the logits.

    |W W' - (lh/lw)^(1/2) (Z Z')^(1/2)| <= |W|_2 (2 gap / lw)^(1/2), likewise for H, and square
    roots of Gram matrices move by 2^(1/2) times Z at most (Araki & Yamagami 1981).
    """
    W, H = (np.asarray(x, dtype=float) for x in point[:2])
    K, N = len(W), H.shape[1]
    lw, lh = float(plain.lambda_W), float(plain.lambda_H)
    off = logits
    if plain.lambda_b is not None:
        off = off + math.sqrt(2 * N * gap / float(plain.lambda_b))
    if invariant:  # the minimiser's columns sum to zero, those of the point only nearly
        sums = Floats.exact(np.ones((1, K))) @ (Floats.exact(W) @ Floats.exact(H))
        off = off + float(np.linalg.norm(sums.magnitude())) / math.sqrt(K)
    size_W, size_H = (float(outward(np.linalg.norm(x), x.size)) for x in (W, H))
    root = math.sqrt(2.0) * off
    gram_W = size_W * math.sqrt(2 * gap / lw) + math.sqrt(lh / lw) * root
    gram_H = size_H * math.sqrt(2 * gap / lh) + math.sqrt(lw / lh) * root
    wider = 1 + 64 * float(np.finfo(float).eps) * (K + N)
    return Nearness(gap, curvature, logits, gram_W * wider, gram_H * wider, exact=False)
