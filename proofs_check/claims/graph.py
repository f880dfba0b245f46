"""Graphs: when nodes of a class collapse, and what they cost (GU-1 to GU-3)."""

from __future__ import annotations

from functools import cache

import numpy as np

from proofs_check.claim import Claim, Mutant, Tolerance
from proofs_check.descents import minimised
from proofs_check.instance import Specimen, index_of
from proofs_check.law import Law, miscount
from proofs_check.specimens import PlainSpecimen
from ufm.eigen import eigh
from ufm.models.graph import GraphUFM, graph
from ufm.point import Point
from ufm.typing import Array

SOURCE = "derived here; the model after Kothapalli et al. (2023)"

# K, n, d, inside, outside, lambda_W, lambda_H: like and unlike neighbours, kept and dropped.
EQUITABLE: tuple[tuple[int, int, int, int, int, float, float], ...] = (
    (2, 6, 3, 4, 1, 0.01, 0.02),
    (2, 5, 3, 2, 5, 0.03, 0.011),
    (3, 4, 5, 3, 1, 0.02, 0.007),
    (2, 6, 3, 3, 2, 0.06, 0.04),
    (2, 7, 2, 4, 1, 0.013, 0.019),
)
# The smaller fraction .2 on both sides of c.
_NEAR = ((2, 6, 3, 3, 2, 0.05, 0.0333), (2, 6, 3, 3, 2, 0.05, 0.0334))
# Nodes 0, 1 and 2, 3 in a path 3 - 0 - 2 - 1: all neighbours are of the other class.
PATH = "0-2,0-3,1-2"
TRIANGLES = "0-1,1-2,0-2,3-4,4-5,3-5,0-3,1-3"


@cache
def minima(quick: bool = False) -> tuple[PlainSpecimen, ...]:
    """Minima by descent on all nodes of graphs whose classes have equal neighbours."""
    models = [graph(*setting) for setting in EQUITABLE[: 3 if quick else None]]
    return tuple(descended(model, seed) for seed, model in enumerate(models))


@cache
def ratios_alike(quick: bool = False) -> tuple[PlainSpecimen, ...]:
    """Minima where neighbours have equal fractions only: the smallest graph, and others."""
    found = []
    for seed, (counts, edges) in enumerate(
        (("2,2", PATH), ("3,3", "0-3,1-3,1-4,2-3,2-5"), ("2,3", "0-4,1-2,1-3,1-4"))
    ):
        model = graph(d=3, lambda_W=0.01, lambda_H=0.02, counts=counts, edges=edges)
        found.append(descended(model, seed))
    return tuple(found)


@cache
def uneven(quick: bool = False) -> tuple[PlainSpecimen, ...]:
    """The minimum on two triangles that are joined at some of their corners."""
    return (descended(graph(counts="3,3", edges=TRIANGLES), 0),)


@cache
def origins(quick: bool = False) -> tuple[PlainSpecimen, ...]:
    """The origin of the same graphs, and where a fraction is next to c."""
    found = []
    for setting in EQUITABLE[: 3 if quick else None] + _NEAR:
        model = graph(*setting)
        point = Point(
            np.zeros((model.num_classes, model.d)), np.zeros((model.d, len(model.labels)))
        )
        found.append(Specimen(model, point, "critical"))
    return tuple(found)


def descended(model: GraphUFM, seed: int) -> PlainSpecimen:
    """L-BFGS on a gradient by hand: no program to compile."""
    Y, means = model.targets, np.asarray(model.means)
    (K, N), d = Y.shape, model.d
    decays = float(model.lambda_W), float(model.lambda_H)

    def both(W: Array, H: Array) -> tuple[float, tuple[Array, Array]]:
        error = (W @ H @ means - Y) / N
        back = error @ means.T
        value = N / 2 * np.sum(error**2) + decays[0] / 2 * np.sum(W**2)
        slopes = back @ H.T + decays[0] * W, W.T @ back + decays[1] * H
        return value + decays[1] / 2 * np.sum(H**2), slopes

    rng = np.random.default_rng((29, seed))
    options = {"maxiter": 10_000, "maxfun": 20_000, "ftol": 1e-18, "gtol": 1e-12}
    start = rng.normal(size=(K, d)), rng.normal(size=(d, N))
    return Specimen(model, Point(*minimised(both, start, **options)[1]), "minimiser")


def height(specimen: PlainSpecimen) -> float:
    """The objective at a specimen."""
    return float(specimen.model.objective(specimen.point))


def fractions(specimen: PlainSpecimen) -> Array:
    """Eigenvalues of the matrix of neighbours' fractions, counted node by node."""
    labels, means = np.asarray(specimen.model.labels), np.asarray(specimen.model.means)
    K = int(labels.max()) + 1
    S = [
        [means[np.ix_(labels == i, labels == j)].sum(axis=0).mean() for j in range(K)]
        for i in range(K)
    ]
    return np.linalg.eigvalsh(np.array(S))


def spread(specimen: PlainSpecimen) -> float:
    """|H - class means|^2 / |H|^2."""
    H, labels = np.asarray(specimen.point.H), np.asarray(specimen.model.labels)
    within = sum(
        float(np.sum((H[:, labels == k] - H[:, labels == k].mean(axis=1, keepdims=True)) ** 2))
        for k in range(int(labels.max()) + 1)
    )
    return within / max(float(np.sum(H**2)), 1e-300)


def _within(specimen: PlainSpecimen) -> Array:
    """A basis of features that sum to zero in every class (N, N - K)."""
    return np.asarray(eigh(np.eye(len(specimen.model.labels)) - averages(specimen))[1])[
        :, specimen.model.num_classes :
    ]


def averages(specimen: PlainSpecimen) -> Array:
    """The projector on features that are constant within every class (N, N)."""
    labels = np.asarray(specimen.model.labels)
    alike = (labels[:, None] == labels).astype(float)
    return np.asarray(alike / alike.sum(axis=0))


def _inside_classes(specimen: PlainSpecimen) -> Array:
    """Eigenvalues of the dense Hessian on moves of features within classes."""
    from landscape.curvature.hessian import dense_hessian

    model, point = specimen.model, specimen.point
    hessian = dense_hessian(model, point)[point.W.size :, point.W.size :]
    moves = np.kron(np.eye(model.d), _within(specimen))
    return np.asarray(np.linalg.eigvalsh(moves.T @ hessian @ moves))


def _index(specimen: PlainSpecimen) -> tuple[float, int]:
    return float(specimen.dense_eigenvalues[0]), index_of(specimen)


# ---- formulas

GIVEN = {
    "S": fractions,
    "w": lambda s: np.linalg.svd(s.point.W, compute_uv=False),
    "tau": lambda s: np.linalg.svd(_within(s).T @ np.asarray(s.model.means), compute_uv=False),
}


def value(K: int, n: int, lambda_W: float, lambda_H: float, S: Array) -> float:
    """(1/K) sum_j c/|s_j| - c^2/(2 s_j^2), 1/2 where |s_j| <= c."""
    c, s = K * np.sqrt(n) * np.sqrt(lambda_W * lambda_H), np.abs(S)
    return float(np.sum(np.where(s > c, c / s - c**2 / (2 * s**2), 1 / 2)) / K)


def _value_of_like_neighbours(K: int, n: int, lambda_W: float, lambda_H: float, S: Array) -> float:
    return value(K, n, lambda_W, lambda_H, np.maximum(S, 1e-9))


def lowest(
    K: int, n: int, d: int, lambda_W: float, lambda_H: float, S: Array
) -> tuple[float, float]:
    """Lowest eigenvalue and index at the origin."""
    c = K * np.sqrt(n) * np.sqrt(lambda_W * lambda_H)
    steep = 1 / (K**2 * n)  # all fractions of a node add up to 1
    half, apart = (lambda_W + lambda_H) / 2, np.abs(lambda_W - lambda_H) / 2
    return float(half - np.sqrt(apart**2 + steep)), float(d * np.sum(np.abs(S) > c))


def _lowest_of_nodes(
    K: int, n: int, d: int, lambda_W: float, lambda_H: float, S: Array
) -> tuple[float, float]:
    told = lowest(K, n, d, lambda_W, lambda_H, S)
    return told[0], K * d


def within(N: int, lambda_H: float, w: Array, tau: Array, d: int, K: int) -> Array:
    """lambda_H + w_j^2 tau_i^2 / N, and lambda_H outside the row space of W."""
    idle = np.zeros(max(d - K, 0))
    squares = np.concatenate([w[:d] ** 2, idle])
    return np.sort((lambda_H + np.outer(squares, tau**2) / N).ravel())


def _within_of_one(N: int, lambda_H: float, w: Array, tau: Array, d: int, K: int) -> Array:
    return within(N, lambda_H, w, np.sqrt(tau), d, K)


_EXACT = Tolerance(1e-10, "descents to a gradient of 1e-12: values to its square; factor 100")

CLAIMS = (
    Claim(
        id="graph-collapse",
        title="Graphs: equal counts of neighbours collapse",
        statement="Where every node of a class has the same numbers of neighbours in every class, "
        "the features of a class agree at the minimum.",
        latex=r"Q\hat A=\hat AQ\ \Rightarrow\ H=HQ",
        source=f"GU-1; {SOURCE}",
        literature="proved",
        region=minima,
        check=spread,
        tolerance=Tolerance(1e-8, "squares of 1e-12 over a curvature above 1e-2"),
        mutant=Mutant("uneven neighbours", spread, uneven),
        uses=("explicit-negative-curvature",),
    ),
    Claim(
        id="graph-ratios",
        title="Refuted: equal ratios of neighbours collapse",
        statement="FALSE: it suffices that nodes of a class have the same fractions of neighbours "
        "in every class. A path of four nodes whose classes alternate does not collapse.",
        latex=r"Q\hat A=Q\hat AQ\ \Rightarrow\ H=HQ",
        source=f"GU-1; {SOURCE}",
        literature="refuted",
        region=ratios_alike,
        check=spread,
        tolerance=Tolerance(1e-8, "squares of 1e-12 over a curvature above 1e-2"),
        mutant=Mutant("no condition at all", spread, uneven),
        holds=False,
        uses=("graph-collapse",),
    ),
    Claim(
        id="graph-value",
        title="Graphs: the minimum on equitable graphs",
        statement="The minimum depends on the sizes of the eigenvalues of the fractions alone: "
        "unlike neighbours are as good as like ones.",
        latex=r"f^*=\frac1K\sum_j\Big[\frac c{|s_j|}-\frac{c^2}{2s_j^2}\Big]\quad"
        r"(\tfrac12\text{ if }|s_j|\le c)",
        source=f"GU-2; {SOURCE}",
        region=minima,
        check=Law(value, height, GIVEN),
        tolerance=_EXACT,
        mutant=Mutant("like neighbours only", Law(_value_of_like_neighbours, height, GIVEN)),
        uses=("graph-collapse",),
    ),
    Claim(
        id="graph-within-classes",
        title="Graphs: curvature within classes",
        statement="Moves that leave class means alone have a curvature from the singular values of "
        "the classifier and of the graph within classes.",
        latex=r"\lambda_H+w_j^2\tau_i^2/N",
        source=f"GU-3; {SOURCE}",
        region=minima,
        check=Law(within, _inside_classes, GIVEN),
        tolerance=Tolerance(1e-8, "first order in the distance 1e-10 to the minimum; factor 100"),
        mutant=Mutant("tau instead of its square", Law(_within_of_one, _inside_classes, GIVEN)),
        uses=("graph-collapse",),
    ),
    Claim(
        id="graph-origin",
        title="Graphs: the origin",
        statement="At zero the lowest eigenvalue is that of the all-ones direction, and the index "
        "counts d for every eigenvalue above c.",
        latex=r"\tfrac{\lambda_W+\lambda_H}2-\sqrt{(\tfrac{\lambda_W-\lambda_H}2)^2"
        r"+\tfrac n{N^2}},\quad d\,\#\{|s_j|>c\}",
        source=f"GU-3; {SOURCE}",
        region=origins,
        check=Law(lowest, _index, GIVEN, lambda x, y: max(abs(x[0] - y[0]), miscount(x[1], y[1]))),
        tolerance=Tolerance(1e-10, "roundings of eigenvalues; counts differ by 1"),
        mutant=Mutant(
            "every class counts",
            Law(_lowest_of_nodes, _index, GIVEN, lambda x, y: miscount(x[1], y[1])),
        ),
    ),
)
