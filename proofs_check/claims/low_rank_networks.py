"""Deep ReLU networks of low rank: their cost, and that they beat collapse (DR-2 to DR-4)."""

from __future__ import annotations

from dataclasses import replace
from functools import cache
from typing import Any

import numpy as np
from scipy.optimize import minimize

from proofs_check.claim import Claim, Hypothesis, Mutant, Tolerance
from proofs_check.claims.deep_linear import decays, root, value
from proofs_check.claims.deep_relu import SOURCE, height, value_and_slope
from proofs_check.formula_alterations import formula
from proofs_check.instance import Specimen
from proofs_check.law import Law
from proofs_check.redraw import redrawn_by
from proofs_check.specimens import PlainSpecimen
from ufm.models.deep_relu import deep_relu
from ufm.models.low_rank_codes import PLANE
from ufm.tolerance import RANK
from ufm.typing import Array

# K, depth and share; widths are K + 1.
_DEEP: tuple[tuple[int, int, float], ...] = (
    (3, 4, 0.5),
    (3, 4, 0.9),
    (3, 5, 0.5),
    (4, 5, 0.7),
    (6, 4, 0.5),
    (10, 4, 0.9),
    (3, 3, 0.5),
    (4, 4, 0.7),
)


def _explicit_again(listed: PlainSpecimen, model: Any, seed: int) -> PlainSpecimen | None:
    """The same network of another model, at its least decay."""
    del seed
    known = model.candidates()
    if listed.note not in known:
        return None
    return Specimen(model, known[listed.note], listed.kind, note=listed.note)


@redrawn_by(_explicit_again)
@cache
def explicit_networks(quick: bool = False) -> tuple[PlainSpecimen, ...]:
    """Networks of low rank, scaled at the least decay, at several K, depths and decays."""
    found = []
    for K, depth, share in _DEEP[:: 2 if quick else 1]:
        lambda_W, lambda_H = decays(K, 1, depth, 1.3, share)
        model = deep_relu(None, K, K + 1, 1, depth, lambda_W, lambda_H)
        name = "plane" if K == 3 else "edges"
        found.append(Specimen(model, model.candidates()[name], "low rank", note=name))
    return tuple(found)


@redrawn_by(_explicit_again)
@cache
def planes(quick: bool = False) -> tuple[PlainSpecimen, ...]:
    """Three classes in a plane, at three depths and more."""
    found = []
    for depth, ratio in ((3, 1.3), (4, 0.7), (5, 1.0), (6, 2.1))[: 3 if quick else None]:
        lambda_W, lambda_H = decays(3, 1, depth, ratio, 0.5)
        model = deep_relu(None, 3, 4, 1, depth, lambda_W, lambda_H)
        found.append(Specimen(model, model.candidates()["plane"], "low rank", note="plane"))
    return tuple(found)


def _code(K: int) -> str:
    """The polygon of K classes; that of four is the cycle."""
    return "edges" if K == 4 else "polygon"


def _graph_code(K: int) -> str:
    """Edges of a complete graph; the four of a cycle are none."""
    return "none" if K == 4 else "edges"


def _coded(K: int, depth: int, ratio: float, name: str) -> PlainSpecimen:
    lambda_W, lambda_H = decays(K, 1, depth, ratio, 0.5)
    model = deep_relu(None, K, K, 1, depth, lambda_W, lambda_H)
    return Specimen(model, model.candidates()[name], "low rank", note=name)


def _polygon_again(listed: PlainSpecimen, model: Any, seed: int) -> PlainSpecimen | None:
    return _explicit_again(replace(listed, note=_code(model.num_classes)), model, seed)


def _graph_again(listed: PlainSpecimen, model: Any, seed: int) -> PlainSpecimen | None:
    return _explicit_again(replace(listed, note=_graph_code(model.num_classes)), model, seed)


@redrawn_by(_polygon_again)
@cache
def polygons(quick: bool = False) -> tuple[PlainSpecimen, ...]:
    """Corners of polygons, the square among them, at three depths."""
    settings = ((4, 4, 1.3), (4, 5, 0.7), (5, 6, 1.0), (6, 6, 2.1), (7, 4, 0.6))
    return tuple(_coded(*setting, _code(setting[0])) for setting in settings)


@redrawn_by(_graph_again)
@cache
def graphs(quick: bool = False) -> tuple[PlainSpecimen, ...]:
    """Edges of complete graphs on four, five and six nodes, at two depths and more."""
    settings = ((6, 4, 1.3), (10, 4, 0.7), (15, 3, 1.7), (6, 5, 0.4))
    return tuple(_coded(*setting, _graph_code(setting[0])) for setting in settings)


@redrawn_by(_explicit_again)
@cache
def cycles(quick: bool = False) -> tuple[PlainSpecimen, ...]:
    """Four classes as edges of a cycle, at their best outputs."""
    return _of_four_classes("cycle")


@redrawn_by(_explicit_again)
@cache
def edges(quick: bool = False) -> tuple[PlainSpecimen, ...]:
    """The same edges with outputs y I."""
    return _of_four_classes("edges")


def _of_four_classes(name: str) -> tuple[PlainSpecimen, ...]:
    found = []
    for share, n, ratio in ((0.5, 1, 1.0), (0.9, 1, 1.0), (0.7, 2, 1.3)):
        lambda_W, lambda_H = decays(4, n, 4, ratio, share)
        model = deep_relu(None, 4, 5, n, 4, lambda_W, lambda_H)
        found.append(Specimen(model, model.candidates()[name], "low rank", note=name))
    return tuple(found)


def _collapse(specimen: PlainSpecimen) -> float:
    """The value of collapse: that of a linear network."""
    names = ("K", "n", "depth", "lambda_W", "lambda_H")
    return value(*(specimen.columns[name] for name in names))


def _best_scales(specimen: PlainSpecimen) -> float:
    """The least objective over the scales of all factors, by a search in their logarithms."""
    units = [np.asarray(x) / np.linalg.norm(x) for x in specimen.point.factors()]
    sizes = [np.log(np.linalg.norm(x)) for x in specimen.point.factors()]

    def scaled(x: Array) -> tuple[float, Array]:
        factors = [np.exp(s) * u for s, u in zip(x, units, strict=True)]
        total, slopes = value_and_slope(specimen.model, factors)
        return total, np.array([np.sum(a * b) for a, b in zip(slopes, factors, strict=True)])

    options = {"gtol": 1e-12, "ftol": 0}
    start = np.array(sizes) + 0.3 * np.cos(np.arange(len(sizes)))
    return float(minimize(scaled, start, jac=True, method="L-BFGS-B", options=options).fun)


def _norms(specimen: PlainSpecimen) -> Array:
    """|P_i|^2 of factors whose network has outputs of size one."""
    factors = [np.asarray(x) for x in specimen.point.factors()]
    passed = factors[0]
    for W in factors[1:-1]:
        passed = np.maximum(W @ passed, 0.0)
    size = float(np.trace(factors[-1] @ passed)) / specimen.model.num_classes
    return np.array([np.sum(F**2) / size ** (2 / len(factors)) for F in factors])


# ---- formulas


@formula
def scaled_value(norms: Array, lambda_W: float, lambda_H: float) -> float:
    """(1 - y)^2 / 2 + (L/2) (product of decays and norms)^(1/L) y^(2/L) at its largest root."""
    L = len(norms)
    price = L * (lambda_W ** (L - 1) * lambda_H * np.prod(norms)) ** (1 / L)
    y = root(float(price), L)
    return float((1 - y) ** 2 / 2 + price * y ** (2 / L) / 2)


def share_of_plane(depth: int) -> float:
    """Product of the squared norms of three classes in a plane over that of collapse, 3^(M + 1)."""
    t = PLANE
    features = (1 + np.sqrt(1 + 2 * t**2)) ** 2
    decoder = (2 * np.sqrt(2) * np.sqrt(1 + 1 / (4 * t**2)) + np.sqrt(2) / (2 * t)) ** 2
    return float(features * 2 ** (depth - 3) * decoder / 3 ** (depth + 1))


def _share_of_unbalanced_plane(depth: int) -> float:
    """With the features and the first layer as they are drawn."""
    t = PLANE
    return share_of_plane(depth) * (2 * (2 + 2 * t**2)) / (1 + np.sqrt(1 + 2 * t**2)) ** 2


def _share(specimen: PlainSpecimen) -> float:
    return float(np.prod(_norms(specimen)) / specimen.model.num_classes ** len(_norms(specimen)))


def _shares(specimen: PlainSpecimen) -> tuple[float, float]:
    """The share, and that of the network whose first layer is the projector on its features."""
    H, first = np.asarray(specimen.point.H), np.asarray(specimen.point.weights[0])
    features = first @ H
    projector = features @ np.linalg.pinv(features, rcond=RANK)
    drawn = np.sum(features**2) * np.sum(projector**2) / (np.sum(H**2) * np.sum(first**2))
    return _share(specimen), float(_share(specimen) * drawn)


def shares_of_polygon(K: int, depth: int) -> tuple[float, float]:
    """Of corners of a polygon: balanced, and with the features themselves below a projector."""
    own, next_own = np.cos(np.pi / K), np.cos(2 * np.pi / K)
    decoder = (2 + (next_own / own) ** 2) * K / (1 - next_own) ** 2
    rest = 3 ** (depth - 3) * decoder / K ** (depth + 1)
    balanced, drawn = (K * (1 + own)) ** 2, 3 * K**2 * (own**2 + 1 / 2)
    return float(balanced * rest), float(drawn * rest)


def _shares_of_flat_polygon(K: int, depth: int) -> tuple[float, float]:
    """With layers between of rank 2."""
    balanced, drawn = shares_of_polygon(K, depth)
    return balanced * (2 / 3) ** (depth - 3), drawn * (2 / 3) ** (depth - 3)


def shares_of_edges(K: float, depth: int) -> tuple[float, float]:
    """Of edges of a complete graph on r nodes, K = r (r - 1) / 2; drawn: r^(M-1) / (2 K^(M-2))."""
    r = (1 + np.sqrt(1 + 8 * K)) / 2
    drawn = r ** (depth - 1) / (2 * K ** (depth - 2))
    nuclear = np.sqrt(2 * (r - 1)) + (r - 1) * np.sqrt(r - 2)
    return float(drawn * nuclear**2 / (2 * K * r)), float(drawn)


def _shares_of_next_graph(K: int, depth: int) -> tuple[float, float]:
    """With one node more."""
    r = (1 + np.sqrt(1 + 8 * K)) / 2
    return shares_of_edges((r + 1) * r / 2, depth)


def _scaled_value_of_sum(norms: Array, lambda_W: float, lambda_H: float) -> float:
    mean = np.full(len(norms), np.sum(norms) / len(norms))
    return scaled_value(mean, lambda_W, lambda_H)


_PRODUCTS = Tolerance(1e-11, "sums and roots of float64 terms of order one")
GIVEN: dict[str, Any] = {"norms": _norms}
BELOW = Hypothesis(
    "three classes and four weight matrices or more, four and five, or r (r - 1) / 2 with r > 3",
    lambda s: s.columns["depth"] > 3 and (s.columns["K"], s.columns["depth"]) != (4, 4),
)

PAYS = Hypothesis("decays at which collapse lies below zero", lambda s: _collapse(s) < 0.5)


def _gain(specimen: PlainSpecimen) -> float:
    """By how much collapse lies above the network of low rank."""
    return _collapse(specimen) - height(specimen)


CLAIMS = (
    Claim(
        id="deep-relu-scales",
        title="Deep ReLU: what a network of outputs y I costs",
        statement="The best scales of the layers of a network whose outputs are a multiple of the "
        "labels cost the product of the layers' squared norms and nothing else.",
        latex=r"\min_{y\ge0}\tfrac12(1-y)^2+\tfrac L2\Big(\prod_i\lambda_i\|P_i\|^2\Big)^{1/L}"
        r"y^{2/L}",
        source=f"DR-2; {SOURCE}",
        region=explicit_networks,
        check=Law(scaled_value, _best_scales, GIVEN),
        tolerance=Tolerance(1e-10, "descents to a gradient of 1e-12, values of order one"),
        mutant=Mutant("the mean of norms", Law(_scaled_value_of_sum, _best_scales, GIVEN)),
        uses=("deep-linear-value",),
    ),
    Claim(
        id="deep-relu-plane",
        title="Deep ReLU: the norms of three classes in a plane",
        statement="The squared norms of the layers multiply to a number that falls by 2/3 with "
        "every layer, below that of collapse from four weight matrices on.",
        latex=r"\prod_l\|P_l\|^2=(1+\sqrt{1+2t^2})^22^{M-3}\Big(2\sqrt2\sqrt{1+\tfrac1{4t^2}}"
        r"+\tfrac{\sqrt2}{2t}\Big)^2",
        source="DR-3; derived here",
        region=planes,
        check=Law(share_of_plane, _share),
        tolerance=_PRODUCTS,
        mutant=Mutant("units as they are drawn", Law(_share_of_unbalanced_plane, _share)),
    ),
    Claim(
        id="deep-relu-polygon",
        title="Deep ReLU: the norms of classes as corners of a polygon",
        statement="Features of rank 3, distances from the sides of a polygon: balanced with the "
        "first layer they cost less than as they are. Four classes are a cycle.",
        latex=r"\frac{\prod_l\|P_l\|^2}{K^{M+1}}=\frac{(1+c_1)^2\,3^{M-3}}{K^{M-2}}"
        r"\cdot\frac{2+(c_2/c_1)^2}{(1-c_2)^2},\quad c_j=\cos\tfrac{j\pi}K",
        source="DR-3; derived here",
        region=polygons,
        check=Law(shares_of_polygon, _shares),
        tolerance=_PRODUCTS,
        mutant=Mutant("layers between of rank 2", Law(_shares_of_flat_polygon, _shares)),
    ),
    Claim(
        id="deep-relu-edges",
        title="Deep ReLU: the norms of classes as edges of a complete graph",
        statement="Features e_i + e_j of rank r below a projector cost r^(M-1) / (2 K^(M-2)) of "
        "collapse, less once they are balanced with the first layer.",
        latex=r"\frac{\prod_l\|P_l\|^2}{K^{M+1}}=\frac{r^{M-1}}{2K^{M-2}}"
        r"\cdot\frac{\big(\sqrt{2(r-1)}+(r-1)\sqrt{r-2}\big)^2}{2Kr},\quad K=\tfrac{r(r-1)}2",
        source="DR-3; derived here",
        region=graphs,
        check=Law(shares_of_edges, _shares),
        tolerance=_PRODUCTS,
        mutant=Mutant("a node more", Law(_shares_of_next_graph, _shares)),
    ),
    Claim(
        id="deep-relu-low-rank",
        title="Deep ReLU: networks of low rank lie below collapse",
        statement="Three classes in a plane from four weight matrices on, four as edges of a "
        "cycle from five on, r (r - 1)/2 as edges of a graph: lower than collapse.",
        latex=r"\prod_i\|P_i\|^2\lt K^{M+1}\Rightarrow f\lt f_{\rm DNC}",
        source=f"DR-3; {SOURCE}",
        hypotheses=(BELOW, PAYS),
        region=explicit_networks,
        check=lambda s: max(0.0, -s.once(_gain)),
        tolerance=Tolerance(1e-10, "values of order one; they differ by 1e-3 or more"),
        mutant=Mutant(
            "at every depth", lambda s: max(0.0, -s.once(_gain)), region=explicit_networks
        ),
        uses=("deep-relu-plane",),
    ),
    Claim(
        id="deep-relu-cycle",
        title="Deep ReLU: outputs that are no multiple of the labels",
        statement="Four classes and four weight matrices: as edges of a cycle with outputs that "
        "differ between harmonics they lie below collapse; with outputs y I they do not.",
        latex=r"f_{\rm cycle}\lt f_{\rm DNC},\quad K=M=4",
        source=f"DR-4; {SOURCE}",
        hypotheses=(PAYS,),
        region=cycles,
        check=lambda s: max(0.0, -s.once(_gain)),
        tolerance=Tolerance(1e-10, "values of order one; they differ by 4e-3 or more"),
        mutant=Mutant("outputs y I", lambda s: max(0.0, -s.once(_gain)), region=edges),
    ),
    Claim(
        id="deep-relu-collapse-optimal",
        title="Refuted: deep ReLU networks collapse",
        statement="FALSE: collapse is optimal for squared error at every depth, as for two weight "
        "matrices. Three classes and four weight matrices suffice.",
        latex=r"f_{\rm DNC}\le f(W,H)",
        source=f"DR-3; {SOURCE}",
        literature="refuted",
        region=explicit_networks,
        check=lambda s: max(0.0, s.once(_gain)),
        tolerance=Tolerance(1e-10, "values of order one; they differ by 1e-3 or more"),
        mutant=Mutant("above collapse too", lambda s: abs(s.once(_gain))),
        holds=False,
        uses=("deep-relu-low-rank",),
    ),
)
