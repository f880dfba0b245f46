"""Depth with ReLUs: two layers collapse, and from four on low rank lies below (DR-1 to DR-3)."""

from __future__ import annotations

from functools import cache
from itertools import accumulate, pairwise
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.optimize import minimize

from proofs_check.claim import Claim, Hypothesis, Mutant, Tolerance
from proofs_check.claims.deep_linear import decays, root, value
from proofs_check.instance import Specimen
from proofs_check.law import Law
from proofs_check.mutants import formula
from proofs_check.redraw import redrawn_by
from proofs_check.specimens import PlainSpecimen
from ufm.models.deep_linear import Network
from ufm.models.deep_relu import DeepReLU, deep_relu
from ufm.models.low_rank_codes import PLANE

Array = NDArray[np.float64]
SUBJECT = "deep ReLU networks"
SOURCE = "derived here; the model after Sukenik et al. (2024)"

# K, d, n, lambda_W / lambda_H, and the price B as a share of its threshold: two weight matrices.
_TWO_LAYERS: tuple[tuple[int, int, int, float, float], ...] = (
    (3, 4, 1, 1.7, 0.5),
    (2, 3, 3, 0.6, 1 - 1e-3),
    (3, 5, 2, 0.4, 1 + 1e-3),
    (4, 4, 2, 2.1, 0.8),
)
# Descents of which the lowest counts: each of the three kinds of start four times.
_STARTS = 12
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


def _lowest(listed: Any, model: DeepReLU, seed: int) -> PlainSpecimen:
    """The lowest of descents from random starts, from near collapse and from near zero."""
    del listed
    runs = [_descended(model, _STARTS * seed + i) for i in range(_STARTS)]
    best, point = min(runs, key=lambda run: run[0])
    return Specimen(model, point, "minimiser", note=str(best))


@redrawn_by(_lowest)
@cache
def two_layers(quick: bool = False) -> tuple[PlainSpecimen, ...]:
    """The lowest of descents at several sizes and prices."""
    found = []
    for K, d, n, ratio, share in _TWO_LAYERS[: 3 if quick else None]:
        lambda_W, lambda_H = decays(K, n, 2, ratio, share)
        model = deep_relu(None, K, d, n, 2, lambda_W, lambda_H)
        found.append(_lowest(None, model, 0))
    return tuple(found)


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


@cache
def collapsed_networks(quick: bool = False) -> tuple[PlainSpecimen, ...]:
    """Collapse in two layers, where features may turn into each other without a rotation."""
    found = []
    for K, d, n, ratio, share in (_TWO_LAYERS[i] for i in (0, 1, 3)):
        lambda_W, lambda_H = decays(K, n, 2, ratio, share)
        model = deep_relu(None, K, d, n, 2, lambda_W, lambda_H)
        found.append(Specimen(model, _required(model.collapsed_point()), "closed form"))
    return tuple(found)


def _required(point: Network | None) -> Network:
    if point is None:
        raise RuntimeError("the widths are K or more and the loss is a squared one")
    return point


def value_and_slope(model: DeepReLU, factors: list[Array]) -> tuple[float, list[Array]]:
    """The objective of squared error and its gradient by hand; factors are H, W_1, ..., W_M."""
    linear, K = model.linear, model.num_classes
    targets = np.eye(K)[:, np.asarray(linear.labels)]
    decays = [float(linear.lambda_H)] + [float(linear.lambda_W)] * (len(factors) - 1)
    passed = [factors[0]]
    for W in factors[1:-1]:
        passed.append(np.maximum(W @ passed[-1], 0.0))
    N = targets.shape[1]
    error = (factors[-1] @ passed[-1] - targets) / N
    total = N * np.sum(error**2) / 2
    slopes = []
    for i in reversed(range(len(factors))):
        total += decays[i] / 2 * np.sum(factors[i] ** 2)
        slope = error if i == 0 else error @ passed[i - 1].T
        slopes.append(slope + decays[i] * factors[i])
        error = factors[i].T @ error
        if i > 1:
            error = error * (passed[i - 1] > 0)
    return float(total), slopes[::-1]


def _descended(model: DeepReLU, seed: int) -> tuple[float, Network]:
    rng, linear = np.random.default_rng((43, seed)), model.linear
    sides = (len(linear.labels), *linear.widths, model.num_classes)
    start = [
        (0.7, 0.7, 0.01)[seed % 3] * rng.normal(size=(above, below))
        for below, above in pairwise(sides)
    ]
    if seed % 3 == 1:
        eye = np.eye(model.num_classes)[:, np.asarray(linear.labels)]
        start = [0.2 * F + np.eye(*F.shape) for F in start]
        start[0] = np.pad(eye, ((0, sides[1] - len(eye)), (0, 0))) + 0.05 * start[0]
    return lowered(model, start)


def lowered(model: DeepReLU, start: list[Array]) -> tuple[float, Network]:
    """L-BFGS from given factors: the lowest value it saw, and where."""
    cuts = list(accumulate(F.size for F in start))[:-1]

    def split(x: Array) -> list[Array]:
        parts = zip(np.split(x, cuts), start, strict=True)
        return [part.reshape(F.shape) for part, F in parts]

    def both(x: Array) -> tuple[float, Array]:
        total, slopes = value_and_slope(model, split(x))
        return total, np.concatenate([slope.ravel() for slope in slopes])

    x = np.concatenate([F.ravel() for F in start])
    options = {"maxiter": 5000, "maxfun": 10_000, "ftol": 0, "gtol": 1e-11, "maxcor": 30}
    run = minimize(both, x, jac=True, method="L-BFGS-B", options=options)
    H, *weights = split(run.x)
    return float(run.fun), Network(tuple(weights), H)


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


def height(specimen: PlainSpecimen) -> float:
    """The objective at a specimen, by hand."""
    return value_and_slope(specimen.model, [np.asarray(x) for x in specimen.point.factors()])[0]


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


def _along_family(specimen: PlainSpecimen) -> Array:
    return _family(specimen, 1.0)


def _beyond_family(specimen: PlainSpecimen) -> Array:
    return _family(specimen, 1.5)


def _family(specimen: PlainSpecimen, farthest: float) -> Array:
    """Heights of networks whose first layer makes (1 + t) I - t J, t from 0 to a share of 1/(K-1).

    The second weight matrix stays; W_1 and H are the balanced factors of the new first layer.
    """
    model, (W1, W2) = specimen.model, (np.asarray(x) for x in specimen.point.weights)
    linear, K = model.linear, model.num_classes
    size = float(np.max(W1 @ specimen.point.H))
    root = np.sqrt(np.asarray(linear.counts)[0])
    ratio = (float(linear.lambda_H) / float(linear.lambda_W)) ** 0.25
    found = []
    for t in np.linspace(0, farthest / (K - 1), 4):
        left, values, right = np.linalg.svd(root * size * ((1 + t) * np.eye(K) - t))
        first, codes = np.zeros_like(W1), np.zeros((W1.shape[1], K))
        first[:K, :K] = left * np.sqrt(values) * ratio
        codes[:K] = np.sqrt(values)[:, None] * right / ratio
        H = codes[:, np.asarray(linear.labels)] / root
        found.append(value_and_slope(model, [H, first, W2])[0])
    return np.array(found)


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
    return float(np.prod(_norms(specimen)) / 3 ** len(_norms(specimen)))


def _scaled_value_of_sum(norms: Array, lambda_W: float, lambda_H: float) -> float:
    mean = np.full(len(norms), np.sum(norms) / len(norms))
    return scaled_value(mean, lambda_W, lambda_H)


def _value_of_three_layers(K: int, n: int, depth: int, lambda_W: float, lambda_H: float) -> float:
    return value(K, n, depth + 1, lambda_W, lambda_H)


GIVEN: dict[str, Any] = {"norms": _norms}
_SEARCH = Tolerance(1e-8, "descents that end at kinks; values of order one")
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
        id="deep-relu-two-layers",
        title="Two-layer ReLU: the minimum is that of three linear factors",
        statement="With two weight matrices and squared error no descent ends below the minimum "
        "of the linear network, and the lowest reach it: the ReLU costs nothing.",
        latex=r"f^*=\tfrac12\min_{y\ge0}(y-1)^2+By^{2/3}",
        source="DR-1; after Tirer & Bruna (2022)",
        literature="recalled",
        region=two_layers,
        check=Law(value, height),
        tolerance=_SEARCH,
        mutant=Mutant("a layer more", Law(_value_of_three_layers, height)),
        subject=SUBJECT,
    ),
    Claim(
        id="deep-relu-features-free",
        title="Two-layer ReLU: collapse leaves the features free",
        statement="The first layer may make any (1 + t) I - t J with t from 0 to 1/(K - 1): from "
        "orthogonal features to a simplex at one and the same value.",
        latex=r"f\big(a^2((1+t)I-tJ)\big)=f^*,\quad0\le t\le\tfrac1{K-1}",
        source="DR-1; derived here",
        region=collapsed_networks,
        check=lambda s: float(np.ptp(s.once(_along_family))),
        tolerance=Tolerance(1e-13, "sums of float64 terms of order one"),
        mutant=Mutant("half as far again", lambda s: float(np.ptp(s.once(_beyond_family)))),
        subject=SUBJECT,
        uses=("deep-relu-two-layers",),
    ),
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
        subject=SUBJECT,
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
        tolerance=Tolerance(1e-11, "sums and roots of float64 terms of order one"),
        mutant=Mutant("units as they are drawn", Law(_share_of_unbalanced_plane, _share)),
        subject=SUBJECT,
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
        subject=SUBJECT,
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
        subject=SUBJECT,
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
        subject=SUBJECT,
        uses=("deep-relu-low-rank",),
    ),
)
