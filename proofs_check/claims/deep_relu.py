"""Two layers with a ReLU: they collapse, and leave the features free (DR-1)."""

from __future__ import annotations

from functools import cache
from itertools import pairwise
from typing import Any

import numpy as np

from proofs_check.claim import Claim, Mutant, Tolerance
from proofs_check.claims.deep_linear import decays, value
from proofs_check.descents import minimised
from proofs_check.instance import Specimen
from proofs_check.law import Law
from proofs_check.redraw import redrawn_by
from proofs_check.specimens import PlainSpecimen
from ufm.models.deep_relu import DeepReLU, deep_relu
from ufm.models.factors import Network
from ufm.typing import Array

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
    options = {"maxiter": 5000, "maxfun": 10_000, "ftol": 0, "gtol": 1e-11, "maxcor": 30}
    best, (H, *weights) = minimised(lambda *x: value_and_slope(model, [*x]), start, **options)
    return best, Network(tuple(weights), H)


def height(specimen: PlainSpecimen) -> float:
    """The objective at a specimen, by hand."""
    return value_and_slope(specimen.model, [np.asarray(x) for x in specimen.point.factors()])[0]


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


def _value_of_three_layers(K: int, n: int, depth: int, lambda_W: float, lambda_H: float) -> float:
    return value(K, n, depth + 1, lambda_W, lambda_H)


_SEARCH = Tolerance(1e-8, "descents that end at kinks; values of order one")
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
        uses=("deep-relu-two-layers",),
    ),
)
