"""Merged classes (CE-6): saddles of G groups that share a code, their index and where it drops."""

from __future__ import annotations

from functools import cache
from typing import Any

import numpy as np
from scipy.optimize import brentq
from scipy.special import logsumexp, softmax

from landscape.curvature.count import count_curvature
from proofs_check.claim import COUNTING, Claim, Hypothesis, Mutant, Tolerance
from proofs_check.claims.minimisers import c_of
from proofs_check.formula_alterations import formula
from proofs_check.instance import Specimen
from proofs_check.law import Law
from proofs_check.redraw import redrawn_by
from proofs_check.specimens import PlainSpecimen
from ufm.frames import merged_code
from ufm.losses import CrossEntropy, LabelSmoothing
from ufm.plain.model import UFM
from ufm.point import Point

# Up to this many variables the index is counted a second time, on the dense Hessian.
DENSE_WITNESS = 40
ROUNDING_SOURCE = "a closed form: a few hundred roundings of numbers of order one"


def smoothing(model: UFM) -> float:
    """Delta of label smoothing, 0 for cross entropy."""
    return float(getattr(model.loss, "delta", 0.0))


def value_and_slope(model: UFM, point: Point) -> tuple[float, float]:
    """Objective and gradient norm of a balanced CE or LS model, in plain NumPy (merged columns)."""
    K, n, delta = model.num_classes, model.n, smoothing(model)
    lw, lh = float(model.lambda_W), float(model.lambda_H)
    target = (1 - delta) * np.eye(K) + delta / K
    Z = point.W @ point.H / np.sqrt(n)
    G = (softmax(Z, axis=0) - target) / (K * np.sqrt(n))
    slopes = (G @ point.H.T + lw * point.W, point.W.T @ G + lh * point.H)
    loss = float(np.mean(logsumexp(Z, axis=0) - np.sum(target * Z, axis=0)))
    value = loss + 0.5 * lw * float(np.sum(point.W**2)) + 0.5 * lh * float(np.sum(point.H**2))
    return value, float(np.sqrt(sum(np.sum(slope**2) for slope in slopes)))


def counted_index(specimen: PlainSpecimen) -> tuple[float, ...]:
    """The index by blocks and, where small, on the dense Hessian of all samples."""
    count = count_curvature(specimen.model, specimen.point, 0.0)
    found = [float(count.index if count.index is not None else np.nan)]
    if specimen.model.num_parameters <= DENSE_WITNESS:
        found.append(float(np.sum(specimen.dense_eigenvalues < -1e-10)))
    return tuple(found)


def balanced_model(delta: float, K: int, d: int, n: int, c: float, ratio: float) -> UFM:
    """CE or LS with a given c and ratio lambda_W / lambda_H = ratio^2."""
    sigma = c / (K * np.sqrt(n))
    loss = LabelSmoothing(delta) if delta else CrossEntropy()
    return UFM(loss, K, d, n, lambda_W=sigma * ratio, lambda_H=sigma / ratio)


# ---- merged classes (CE-6)

LOWEST = 1e-9


@formula
def merged_gap(G: int, c: float, delta: float) -> float:
    """beta = log(G/(c + delta) - G + 1)."""
    return float(np.log(G / (c + delta) - G + 1))


@formula
def excess(c: float, G: int, delta: float) -> float:
    """Logarithm of the left side of the equation over its right side."""
    u, beta = c + delta, merged_gap(G, c, delta)
    P, rest = 1 - (G - 1) * u / G, u / G
    first = 1 + u * beta / (G * c) * (1 + (P / rest - 1) * (G - 1) / G)
    return float(np.log(first * (1 + u * beta * P / c) / ((1 - delta) / c) ** 2))


@formula
def bifurcation(G: int, delta: float) -> float:
    """The c at which the third within-group block turns positive; 0 when it always is, or never.

    Example:
        >>> round(bifurcation(3, 0.0), 10)
        0.1305506509
    """
    if G < TRIANGLE or excess(LOWEST, G, delta) > 0:
        return 0.0
    return float(brentq(excess, 1e-9, 0.7 * (1 - delta), (G, delta), xtol=1e-16))


TRIANGLE = 3


def merged_point(model: UFM, G: int) -> Point:
    """G groups of K/G classes with equal (w, h): the critical point of CE-6, merged columns."""
    K, n, c = model.num_classes, model.n, model.c
    beta = np.log(G / (c + smoothing(model)) - G + 1)
    ratio = (float(model.lambda_H) / float(model.lambda_W)) ** 0.25
    size = np.sqrt(beta * np.sqrt(n))
    Q = merged_code([K // G] * G, model.d)
    return Point(ratio * size * Q, (size / ratio * Q).T)


def groups(specimen: PlainSpecimen) -> int:
    """Number of groups of a merged specimen: rank + 1."""
    return int(np.linalg.matrix_rank(specimen.point.W, tol=1e-6)) + 1


GROUPS = {"G": groups, "delta": lambda s: smoothing(s.model)}


def _merged_again(listed: PlainSpecimen, model: UFM, seed: int) -> PlainSpecimen | None:
    """As many groups of another model, where they have one size and the point exists."""
    del seed
    G, counts = groups(listed), model.counts_tuple
    exists = model.c < 1 - smoothing(model) and model.d >= G - 1 and len(set(counts)) == 1
    if not exists or model.num_classes % G or model.num_classes == G:
        return None
    return Specimen(model, merged_point(model, G), listed.kind)


@redrawn_by(_merged_again)
@cache
def merged_specimens(quick: bool = False) -> tuple[PlainSpecimen, ...]:
    """Merged-class saddles with few and many groups, c far from and next to the bifurcation."""
    found: list[PlainSpecimen] = []
    shapes = [(4, 2, 1, 1), (6, 3, 2, 1), (6, 3, 4, 2), (6, 2, 3, 1), (8, 4, 5, 3), (20, 5, 6, 2)]
    for number, (K, G, d, n) in enumerate(shapes[: 3 if quick else None]):
        for delta in (0.0, 0.05, 0.2):
            special = bifurcation(G, delta)
            values = [0.01 * (1 - delta), 0.6 * (1 - delta)]
            if special:
                values += [special * (1 - 9e-4), special * (1 + 9e-4)]
            for i, c in enumerate(values):
                model = balanced_model(delta, K, d, n, c, (0.4, 1.0, 2.0)[(i + number) % 3])
                found.append(Specimen(model, merged_point(model, G), "closed form"))
    return tuple(found)


def _patterns(specimen: PlainSpecimen) -> tuple[Any, ...]:
    """The model and the unit code of the groups (K, d)."""
    model = specimen.model
    G = groups(specimen)
    return model, merged_code([model.num_classes // G] * G, model.d)


def merged_sizes(
    n: int, K: int, lambda_W: float, lambda_H: float, G: int, delta: float
) -> tuple[float, float]:
    """w and h of CE-6, on merged columns: w^2 = beta sqrt(n lh/lw), h^2 = beta sqrt(n lw/lh)."""
    beta = merged_gap(G, c_of(K, n, lambda_W, lambda_H), delta)
    w = np.sqrt(beta * np.sqrt(n)) * (lambda_H / lambda_W) ** (1 / 4)
    h = np.sqrt(beta * np.sqrt(n)) * (lambda_W / lambda_H) ** (1 / 4)
    return float(w), float(h)


def _with_square_roots(
    n: int, K: int, lambda_W: float, lambda_H: float, G: int, delta: float
) -> tuple[float, float]:
    w, h = merged_sizes(n, K, lambda_W, lambda_H, G, delta)
    return w * (lambda_H / lambda_W) ** (1 / 4), h * (lambda_W / lambda_H) ** (1 / 4)


def _slope_at(seen: tuple[Any, ...], sizes: tuple[float, float]) -> float:
    model, Q = seen
    return value_and_slope(model, Point(sizes[0] * Q, sizes[1] * Q.T))[1]


MERGED = Claim(
    id="merged-class-saddles",
    title="Merged classes are critical",
    statement="K classes merged into G equal groups, each sharing w and h, form a critical point "
    "for c < 1 - delta and any d >= G - 1.",
    latex=r"e^\beta = G/(c+\delta) - G + 1,\quad w_k = w\,q_{g(k)},\ h_k = h\,q_{g(k)}",
    source="CE-6; derived here",
    region=merged_specimens,
    check=Law(merged_sizes, _patterns, GROUPS, _slope_at),
    tier="T0",
    mutant=Mutant(
        "exponent 1/2 for 1/4 in the norms", Law(_with_square_roots, _patterns, GROUPS, _slope_at)
    ),
    tolerance=Tolerance(1e-13, ROUNDING_SOURCE),
    uses=("minimiser-cross-entropy", "minimiser-label-smoothing"),
)


def merged_index(
    K: int, d: int, n: int, lambda_W: float, lambda_H: float, G: int, delta: float
) -> float:
    """(K - G) d below the bifurcation and for G = 2, else (K - G)(d - 1)."""
    dropped = G > 2 and c_of(K, n, lambda_W, lambda_H) > bifurcation(G, delta)
    return (K - G) * (d - 1) if dropped else (K - G) * d


def _never_dropped(K: int, d: int, G: int) -> float:
    return (K - G) * d


def every_count(seen: tuple[float, ...], said: float) -> float:
    """Largest error over the ways in which an index was counted."""
    return max(abs(index - said) for index in seen)


MERGED_INDEX = Claim(
    id="merged-class-index",
    title="Index of merged classes",
    statement="The saddle of G merged groups has index (K - G) d below the bifurcation c*(G, "
    "delta) and (K - G)(d - 1) above it; for G = 2 always (K - G) d.",
    latex=r"\operatorname{ind} = (K-G)\,d \ \ (c < c^*),\qquad (K-G)(d-1)\ \ (c > c^*)",
    source="CE-6; derived here",
    region=merged_specimens,
    check=Law(merged_index, counted_index, GROUPS, every_count),
    mutant=Mutant(
        "(K - G) d on both sides", Law(_never_dropped, counted_index, GROUPS, every_count)
    ),
    tolerance=COUNTING,
    uses=("merged-class-saddles", "merged-classes-spectrum", "identity-block-merged-classes"),
)


@cache
def observed_bifurcation(G: int, delta: float) -> float:
    """The c at which the counted index of K = 2 G classes in G groups, d = G - 1, first drops."""
    K, d = 2 * G, G - 1
    low, high = 2e-3, 0.4
    while high - low > 1e-8:
        middle = 0.5 * (low + high)
        trial = balanced_model(delta, K, d, 1, middle, 0.7)
        index = count_curvature(trial, merged_point(trial, G), 0.0).index
        low, high = (middle, high) if index == (K - G) * d else (low, middle)
    return low


def _observed(specimen: PlainSpecimen) -> float:
    return observed_bifurcation(groups(specimen), smoothing(specimen.model))


def _one_per_cent_late(G: int, delta: float) -> float:
    return 1.01 * bifurcation(G, delta)


@redrawn_by(_merged_again)
@cache
def bifurcation_specimens(quick: bool = False) -> tuple[PlainSpecimen, ...]:
    """Merged saddles well below their bifurcation, one per (G, delta)."""
    cases = ((3, 0.0), (4, 0.0), (5, 0.0), (6, 0.0), (3, 0.05), (4, 0.05))
    found = []
    for G, delta in cases[: 2 if quick else None]:
        model = balanced_model(delta, 2 * G, G - 1, 1, 2e-3, 1.0)
        found.append(Specimen(model, merged_point(model, G), "closed form"))
    return tuple(found)


BIFURCATION = Claim(
    id="merged-class-bifurcation",
    title="Bifurcation of merged classes",
    statement="The index drops exactly at the root of a closed equation in c: 0.1305506509 for "
    "G = 3 and 0.0733330384 for G = 4 without smoothing.",
    latex=r"\bigl[1+\tfrac{u\beta}{Gc}\bigl(1+(\tfrac{P}{P'}-1)\tfrac{G-1}{G}\bigr)\bigr]"
    r"\bigl[1+\tfrac{u\beta P}{c}\bigr] = \bigl(\tfrac{1-\delta}{c}\bigr)^2",
    source="CE-6; derived here",
    hypotheses=(Hypothesis("G >= 3 groups", lambda s: groups(s) >= 3),),
    region=bifurcation_specimens,
    check=Law(bifurcation, _observed, GROUPS),
    mutant=Mutant("the root one per cent higher", Law(_one_per_cent_late, _observed, GROUPS)),
    tolerance=Tolerance(1e-7, "bisection to 1e-8"),
    uses=("merged-class-index",),
)


CLAIMS = (MERGED, MERGED_INDEX, BIFURCATION)
