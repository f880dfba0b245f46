"""Regular polygons (CE-7): critical for every d >= 2, of known index, and the best in the plane."""

from __future__ import annotations

from functools import cache
from typing import Any

import jax
import numpy as np
from scipy.optimize import brentq
from scipy.special import logsumexp, softmax

from landscape.solvers.solve import solve
from proofs_check.claim import COUNTING, Claim, Mutant, Tolerance
from proofs_check.claims.merged_classes import (
    ROUNDING_SOURCE,
    balanced_model,
    counted_index,
    every_count,
    value_and_slope,
)
from proofs_check.claims.minimisers import c_of
from proofs_check.formula_alterations import formula
from proofs_check.hypotheses import FOUR_CLASSES, IN_THE_PLANE
from proofs_check.instance import Specimen
from proofs_check.law import Law
from proofs_check.redraw import redrawn_by
from proofs_check.specimens import PlainSpecimen, where
from ufm.frames import polygon
from ufm.plain.model import UFM
from ufm.point import Point
from ufm.typing import Array


def polygon_amplitude(K: int, c: float) -> float:
    """The a of Zbar_jk = a cos(2 pi (j - k)/K): the softmax average of cosines is 1 - c."""
    cosines = np.cos(2 * np.pi * np.arange(K) / K)
    return float(brentq(lambda a: softmax(a * cosines) @ cosines - (1 - c), 0.0, 1e6, xtol=1e-15))


def polygon_point(model: UFM) -> Point:
    """The K-gon of CE-7, merged columns."""
    ratio = (float(model.lambda_H) / float(model.lambda_W)) ** 0.25
    size = np.sqrt(polygon_amplitude(model.num_classes, model.c) * np.sqrt(model.n))
    Q = polygon(model.num_classes, model.d)
    return Point(ratio * size * Q, (size / ratio * Q).T)


def _polygon_again(listed: PlainSpecimen, model: UFM, seed: int) -> PlainSpecimen | None:
    del seed
    exists = model.c < 1 and model.d > 1 and len(set(model.counts_tuple)) == 1
    if not exists or model.num_classes < 4:
        return None
    return Specimen(model, polygon_point(model), listed.kind)


@redrawn_by(_polygon_again)
@cache
def polygon_specimens(quick: bool = False) -> tuple[PlainSpecimen, ...]:
    """K-gons in the plane and padded to d > 2."""
    found: list[PlainSpecimen] = []
    shapes = [(4, 2, 1), (4, 4, 1), (5, 6, 1), (5, 2, 1), (6, 6, 2), (7, 8, 3), (12, 3, 1)]
    for number, (K, d, n) in enumerate(shapes[: 3 if quick else None]):
        for i, c in enumerate((0.01, 0.2, 0.8)):
            model = balanced_model(0.0, K, d, n, c, (0.4, 2.0)[(i + number) % 2])
            found.append(Specimen(model, polygon_point(model), "polygon"))
    return tuple(found)


def _polygon(specimen: PlainSpecimen) -> tuple[Any, Array]:
    """The model and the unit polygon (K, d)."""
    return specimen.model, polygon(specimen.model.num_classes, specimen.model.d)


def polygon_of(K: int, n: int, lambda_W: float, lambda_H: float) -> tuple[float, float, float]:
    """w and h on merged columns, and f = log sum_j exp(a (cos_j - 1)) + c a."""
    c = c_of(K, n, lambda_W, lambda_H)
    cosines = np.cos(2 * np.pi * np.arange(K) / K)
    a = float(brentq(mean_cosine, *AMPLITUDES, (cosines, 1 - c), xtol=1e-15))
    value = float(logsumexp(a * (cosines - 1)) + c * a)
    size, ratio = np.sqrt(a * np.sqrt(n)), (lambda_H / lambda_W) ** (1 / 4)
    return ratio * size, size / ratio, value


AMPLITUDES = (0.0, 1e6)


@formula
def mean_cosine(a: float, cosines: Array, wanted: float) -> float:
    """Softmax average of the cosines minus what it should be."""
    return float(softmax(a * cosines) @ cosines - wanted)


def _half_the_price(K: int, n: int, lambda_W: float, lambda_H: float) -> tuple[float, float, float]:
    w, h, value = polygon_of(K, n, lambda_W, lambda_H)
    return w, h, value - c_of(K, n, lambda_W, lambda_H) / 100


def _polygon_error(seen: tuple[Any, Array], said: tuple[float, float, float]) -> float:
    """Gradient at the code of this size, and its value against what is said."""
    model, Q = seen
    w, h, expected = said
    value, slope = value_and_slope(model, Point(w * Q, h * Q.T))
    return max(abs(value - expected), slope)


POLYGON = Claim(
    id="polygon-is-critical",
    title="The K-gon is critical",
    statement="The regular K-gon whose softmax average of cosines is 1 - c is a critical point "
    "for every d >= 2, with objective log sum_j exp(a (cos_j - 1)) + c a.",
    latex=r"\sum_j p_j\cos\tfrac{2\pi j}{K} = 1 - c,\quad p_j \propto e^{a\cos(2\pi j/K)}",
    source="CE-7; derived here",
    region=polygon_specimens,
    check=Law(polygon_of, _polygon, error=_polygon_error),
    tier="T0",
    mutant=Mutant(
        "c/100 less in the objective", Law(_half_the_price, _polygon, error=_polygon_error)
    ),
    tolerance=Tolerance(1e-12, ROUNDING_SOURCE + "; the amplitude reaches 1e3"),
)


def polygon_index(K: int, d: int) -> float:
    """(K - 3)(d - 2)."""
    return (K - 3) * (d - 2)


def _two_less(K: int, d: int) -> float:
    return (K - 2) * (d - 2)


POLYGON_INDEX = Claim(
    id="polygon-index",
    title="Index of the K-gon",
    statement="The K-gon has index (K - 3)(d - 2): none in the plane, K - 3 for each further "
    "dimension.",
    latex=r"\operatorname{ind} = (K-3)(d-2)",
    source="CE-7; the formula is derived here",
    hypotheses=(FOUR_CLASSES,),
    region=polygon_specimens,
    check=Law(polygon_index, counted_index, error=every_count),
    mutant=Mutant("K - 2 for K - 3", Law(_two_less, counted_index, error=every_count)),
    tolerance=COUNTING,
    uses=("polygon-is-critical", "reduced-index"),
)


def _best_in_the_plane(specimen: PlainSpecimen) -> float:
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
    hypotheses=(IN_THE_PLANE,),
    region=where(polygon_specimens, lambda s: s.model.d <= 4 and s.model.num_classes <= 5),
    check=_best_in_the_plane,
    tier="T0",
    mutant=Mutant(
        "d = 4 for d = 2", region=where(polygon_specimens, lambda s: s.size[:2] == (4, 4))
    ),
    search=True,
    tolerance=Tolerance(1e-10, "two values of one minimum agree to 1e-13"),
    uses=("polygon-is-critical",),
)

CLAIMS = (POLYGON, POLYGON_INDEX, POLYGON_BEST)
