"""Explicit codes that are not the simplex ETF: merged classes, polygons, collapsed minorities."""

from __future__ import annotations

from collections.abc import Callable
from functools import cache

import jax
import numpy as np
from numpy.typing import NDArray
from scipy.optimize import brentq
from scipy.special import logsumexp, softmax

from landscape.curvature.count import count_curvature
from landscape.solvers.solve import solve
from proofs_check.claim import Claim, Hypothesis, Mutant
from proofs_check.claims.critical import COUNTING, COUNTING_SOURCE
from proofs_check.specimens import Specimen, where
from ufm.frames import merged_code, polygon
from ufm.losses import CrossEntropy, LabelSmoothing
from ufm.plain.model import UFM
from ufm.point import Point

Array = NDArray[np.float64]
SUBJECT = "saddles"
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


def index_error(predicted: Callable[[Specimen], float]) -> Callable[[Specimen], float]:
    """|index - predicted|, by blocks and, where small, on the dense Hessian of all samples."""

    def check(specimen: Specimen) -> float:
        count = count_curvature(specimen.model, specimen.point, 0.0)
        found = [float(count.index if count.index is not None else np.nan)]
        if specimen.model.num_parameters <= DENSE_WITNESS:
            found.append(float(np.sum(specimen.dense_eigenvalues < -1e-10)))
        return max(abs(index - predicted(specimen)) for index in found)

    return check


def balanced_model(delta: float, K: int, d: int, n: int, c: float, ratio: float) -> UFM:
    """CE or LS with a given c and ratio lambda_W / lambda_H = ratio^2."""
    sigma = c / (K * np.sqrt(n))
    loss = LabelSmoothing(delta) if delta else CrossEntropy()
    return UFM(loss, K, d, n, lambda_W=sigma * ratio, lambda_H=sigma / ratio)


# ---- merged classes (CE-6)


def bifurcation(G: int, delta: float = 0.0, power: float = 2.0) -> float:
    """The c at which the third within-group block turns positive; 0 when it always is, or never.

    Example:
        >>> round(bifurcation(3), 10)
        0.1305506509
    """

    def excess(c: float) -> float:
        u = c + delta
        beta = np.log(G / u - G + 1)
        P, rest = 1 - (G - 1) * u / G, u / G
        first = 1 + u * beta / (G * c) * (1 + (P / rest - 1) * (G - 1) / G)
        return float(np.log(first * (1 + u * beta * P / c)) - power * np.log((1 - delta) / c))

    if G < 3 or excess(1e-9) > 0:
        return 0.0
    return float(brentq(excess, 1e-9, 0.7 * (1 - delta), xtol=1e-16))


def merged_point(model: UFM, G: int) -> Point:
    """G groups of K/G classes with equal (w, h): the critical point of CE-6, merged columns."""
    K, n, c = model.num_classes, model.n, model.c
    beta = np.log(G / (c + smoothing(model)) - G + 1)
    ratio = (float(model.lambda_H) / float(model.lambda_W)) ** 0.25
    size = np.sqrt(beta * np.sqrt(n))
    Q = merged_code([K // G] * G, model.d)
    return Point(ratio * size * Q, (size / ratio * Q).T)


def groups(specimen: Specimen) -> int:
    """Number of groups of a merged specimen: rank + 1."""
    return int(np.linalg.matrix_rank(specimen.point.W, tol=1e-6)) + 1


@cache
def merged_specimens(quick: bool = False) -> tuple[Specimen, ...]:
    """Merged-class saddles with few and many groups, c far from and next to the bifurcation."""
    found: list[Specimen] = []
    shapes = [(4, 2, 1, 1), (6, 3, 2, 1), (6, 3, 4, 2), (6, 2, 3, 1), (8, 4, 5, 3), (20, 5, 6, 2)]
    for number, (K, G, d, n) in enumerate(shapes[: 3 if quick else None]):
        for delta in (0.0, 0.05, 0.2):
            special = bifurcation(G, delta)
            values = [0.01 * (1 - delta), 0.6 * (1 - delta)]
            if special:
                values += [special * (1 - 1e-3), special * (1 + 1e-3)]
            for i, c in enumerate(values):
                model = balanced_model(delta, K, d, n, c, (0.4, 1.0, 2.0)[(i + number) % 3])
                found.append(Specimen(model, merged_point(model, G), "closed form"))
    return tuple(found)


def _merged_slope(power: float) -> Callable[[Specimen], float]:
    def check(specimen: Specimen) -> float:
        model = specimen.model
        scale = (float(model.lambda_H) / float(model.lambda_W)) ** (power - 0.25)
        point = Point(specimen.point.W * scale, specimen.point.H / scale)
        return value_and_slope(model, point)[1]

    return check


MERGED = Claim(
    id="merged-class-saddles",
    title="Merged classes are critical",
    statement="K classes merged into G equal groups, each sharing w and h, form a critical point "
    "for c < 1 - delta and any d >= G - 1.",
    latex=r"e^\beta = G/(c+\delta) - G + 1,\quad w_k = w\,q_{g(k)},\ h_k = h\,q_{g(k)}",
    source="CE-6; derived here",
    literature="derived here",
    hypotheses=(),
    region=merged_specimens,
    check=_merged_slope(0.25),
    tolerance=1e-13,
    tolerance_source=ROUNDING_SOURCE,
    tier="T0",
    mutant=Mutant("exponent 1/2 for 1/4 in the norms", _merged_slope(0.5)),
    subject=SUBJECT,
)


def _merged_index(after: int) -> Callable[[Specimen], float]:
    def predicted(specimen: Specimen) -> float:
        model, G = specimen.model, groups(specimen)
        dropped = G >= 3 and model.c > bifurcation(G, smoothing(model))
        return (model.num_classes - G) * (model.d - (after if dropped else 0))

    return predicted


MERGED_INDEX = Claim(
    id="merged-class-index",
    title="Index of merged classes",
    statement="The saddle of G merged groups has index (K - G) d below the bifurcation c*(G, "
    "delta) and (K - G)(d - 1) above it; for G = 2 always (K - G) d.",
    latex=r"\operatorname{ind} = (K-G)\,d \ \ (c < c^*),\qquad (K-G)(d-1)\ \ (c > c^*)",
    source="CE-6; derived here",
    literature="derived here",
    hypotheses=(),
    region=merged_specimens,
    check=index_error(_merged_index(1)),
    tolerance=COUNTING,
    tolerance_source=COUNTING_SOURCE + "; c is 0.1 % away from the bifurcation",
    tier="T1",
    mutant=Mutant("(K - G) d on both sides", index_error(_merged_index(0))),
    subject=SUBJECT,
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


def _bifurcation_error(power: float) -> Callable[[Specimen], float]:
    """The equation's root against bisection on the counted index."""

    def check(specimen: Specimen) -> float:
        G, delta = groups(specimen), smoothing(specimen.model)
        return abs(observed_bifurcation(G, delta) - bifurcation(G, delta, power))

    return check


@cache
def bifurcation_specimens(quick: bool = False) -> tuple[Specimen, ...]:
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
    literature="derived here",
    hypotheses=(Hypothesis("G >= 3 groups", lambda s: groups(s) >= 3),),
    region=bifurcation_specimens,
    check=_bifurcation_error(2.0),
    tolerance=1e-7,
    tolerance_source="bisection to 1e-8",
    tier="T1",
    mutant=Mutant("exponent 1.9 for 2 on the right", _bifurcation_error(1.9)),
    subject=SUBJECT,
)


# ---- polygons (CE-7)


def polygon_amplitude(K: int, c: float) -> float:
    """The a of Zbar_jk = a cos(2 pi (j - k)/K): the softmax average of cosines is 1 - c."""
    cosines = np.cos(2 * np.pi * np.arange(K) / K)
    return float(brentq(lambda a: softmax(a * cosines) @ cosines - (1 - c), 0.0, 1e6, xtol=1e-15))


@cache
def polygon_specimens(quick: bool = False) -> tuple[Specimen, ...]:
    """K-gons in the plane and padded to d > 2."""
    found: list[Specimen] = []
    shapes = [(4, 2, 1), (4, 4, 1), (5, 6, 1), (5, 2, 1), (6, 6, 2), (7, 8, 3), (12, 3, 1)]
    for number, (K, d, n) in enumerate(shapes[: 3 if quick else None]):
        for i, c in enumerate((0.01, 0.2, 0.8)):
            model = balanced_model(0.0, K, d, n, c, (0.4, 2.0)[(i + number) % 2])
            ratio = (float(model.lambda_H) / float(model.lambda_W)) ** 0.25
            size = np.sqrt(polygon_amplitude(K, c) * np.sqrt(n))
            Q = polygon(K, d)
            found.append(Specimen(model, Point(ratio * size * Q, (size / ratio * Q).T), "polygon"))
    return tuple(found)


def _polygon_error(share: float) -> Callable[[Specimen], float]:
    def check(specimen: Specimen) -> float:
        model = specimen.model
        K, a = model.num_classes, polygon_amplitude(model.num_classes, model.c)
        cosines = np.cos(2 * np.pi * np.arange(K) / K)
        said = float(logsumexp(a * (cosines - 1))) + share * model.c * a
        value, slope = value_and_slope(model, specimen.point)
        return max(abs(value - said), slope)

    return check


POLYGON = Claim(
    id="polygon-is-critical",
    title="The K-gon is critical",
    statement="The regular K-gon whose softmax average of cosines is 1 - c is a critical point "
    "for every d >= 2, with objective log sum_j exp(a (cos_j - 1)) + c a.",
    latex=r"\sum_j p_j\cos\tfrac{2\pi j}{K} = 1 - c,\quad p_j \propto e^{a\cos(2\pi j/K)}",
    source="CE-7; derived here",
    literature="derived here",
    hypotheses=(),
    region=polygon_specimens,
    check=_polygon_error(1.0),
    tolerance=1e-12,
    tolerance_source=ROUNDING_SOURCE + "; the amplitude reaches 1e3",
    tier="T0",
    mutant=Mutant("c a / 2 for c a in the objective", _polygon_error(0.5)),
    subject=SUBJECT,
)

POLYGON_INDEX = Claim(
    id="polygon-index",
    title="Index of the K-gon",
    statement="The K-gon has index (K - 3)(d - 2): none in the plane, K - 3 for each further "
    "dimension.",
    latex=r"\operatorname{ind} = (K-3)(d-2)",
    source="CE-7; the formula is derived here",
    literature="derived here",
    hypotheses=(Hypothesis("K >= 4", lambda s: s.model.num_classes >= 4),),
    region=polygon_specimens,
    check=index_error(lambda s: (s.model.num_classes - 3) * (s.model.d - 2)),
    tolerance=COUNTING,
    tolerance_source=COUNTING_SOURCE,
    tier="T1",
    mutant=Mutant(
        "K - 2 for K - 3", index_error(lambda s: (s.model.num_classes - 2) * (s.model.d - 2))
    ),
    subject=SUBJECT,
)


def _best_in_the_plane(specimen: Specimen) -> float:
    """f(K-gon) - lowest of a few descents in d = 2."""
    model = specimen.model
    small = model.as_merged(specimen.point)[0]
    runs = [solve(small, small.random_point(jax.random.key(seed), 3.0)) for seed in range(6)]
    best = min(run.objective for run in runs if run.result)
    return value_and_slope(model, specimen.point)[0] - best


POLYGON_BEST = Claim(
    id="polygon-is-best-in-the-plane",
    title="The K-gon is the best code in the plane",
    statement="For d = 2 no descent of cross entropy ends below the regular K-gon.",
    latex=r"d = 2:\quad f^* = \log\sum_j e^{a(\cos\frac{2\pi j}{K}-1)} + c\,a",
    source="CE-7; after Jiang et al. (2023) for the softmax code",
    literature="open",
    hypotheses=(Hypothesis("d = 2", lambda s: s.model.d == 2),),
    region=where(polygon_specimens, lambda s: s.model.d <= 4 and s.model.num_classes <= 5),
    check=_best_in_the_plane,
    tolerance=1e-10,
    tolerance_source="two values of one minimum agree to 1e-13",
    tier="T0",
    mutant=Mutant(
        "d = 4 for d = 2", region=where(polygon_specimens, lambda s: s.size[:2] == (4, 4))
    ),
    search=True,
    subject=SUBJECT,
)

CLAIMS = (MERGED, MERGED_INDEX, BIFURCATION, POLYGON, POLYGON_INDEX, POLYGON_BEST)
