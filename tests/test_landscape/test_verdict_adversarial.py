"""Verdicts near thresholds, bifurcations, rank cuts and at extreme decays, against forty digits."""

from collections import Counter
from functools import cache

import jax
import numpy as np
import pytest

from landscape.verdict import Curvature, Globality, global_slack, verdict
from tests.critical_points import (
    at_origin,
    derivatives,
    grouped,
    mp,
    on_frame,
    pull,
    simplex,
    squared,
    steepest,
)
from tests.helpers import Problem, naive_cross_entropy, naive_focal, naive_squared, slow
from ufm import MSE, UFM, CrossEntropy, Focal, LabelSmoothing, Point, lift

LOSSES = [("ls", 0.0), ("ls", 0.1), ("focal", 2.0), ("focal", 5.0), ("mse", 0.0)]
# (classes, samples of each, d): merged and not, below and above the width of the simplex.
EQUAL = [(3, 1, 2), (3, 2, 4), (4, 1, 5), (2, 2, 3), (4, 2, 3)]
UNEQUAL = [((5, 3, 2), 3), ((2, 1, 1), 4)]
GROUPS = [(2, 2, 1, 3), (2, 2, 2, 1), (3, 2, 1, 2), (2, 3, 1, 4)]


def loss_of(name, parameter):
    if name == "mse":
        return MSE()
    if name == "focal":
        return Focal(parameter)
    return LabelSmoothing(parameter) if parameter else CrossEntropy()


@cache
def bifurcation(name, parameter, groups, each, n, d):
    """A t where the merged code changes its index, to thirteen digits; None where it does not."""

    def index(t):
        site = on_frame(name, parameter, grouped(groups, each), n, d, t, 1.0)
        return None if site is None else site.index[1]

    grid = np.geomspace(0.05, 20, 9)
    indices = [index(t) for t in grid]
    for i in range(len(grid) - 1):
        if None not in indices[i : i + 2] and indices[i] != indices[i + 1]:
            low, high = mp.mpf(grid[i]), mp.mpf(grid[i + 1])
            while high / low - 1 > 1e-13:
                middle = mp.sqrt(low * high)
                low, high = (middle, high) if index(middle) == indices[i] else (low, middle)
            return low
    return None


def drawn(rng, *, few=False):
    """A critical point at a place of trouble, or None where there is none."""
    kind = ("origin", "frame", "frame", "group", "modes")[rng.integers(5)]
    name, parameter = LOSSES[rng.integers(len(LOSSES))]
    ratio = float(3 ** rng.uniform(-0.5, 0.5))
    side = 1 + rng.choice([-1, 1]) * mp.mpf(10) ** mp.mpf(rng.uniform(-10, -1))
    if kind == "origin":
        if rng.random() < 0.6:
            K, n, d = EQUAL[rng.integers(1 if few else 0, 3 if few else len(EQUAL))]
            counts = (n,) * K
        else:
            counts, d = UNEQUAL[rng.integers(1 if few else len(UNEQUAL))]
        if rng.random() < 0.1:  # sigma = 1/4 exactly, where every direction is flat
            return at_origin(*LOSSES[(0, 4)[rng.integers(2)]], (1, 1, 1, 1), 5, mp.mpf(1) / 4, 1.0)
        sigma = steepest(name, parameter, counts) * side
        if rng.random() < 0.3:
            sigma = mp.mpf(10) ** mp.mpf(rng.uniform(-10, 1))
        return at_origin(name, parameter, counts, d, sigma, ratio)
    if kind == "frame":
        K, n, d = EQUAL[rng.integers(1 if few else 0, 3 if few else len(EQUAL))]
        t = float(10 ** rng.uniform(-10, 1.3))
        return on_frame(name, parameter, simplex(K), n, d, t, ratio)
    if kind == "group":
        groups, each, n, d = GROUPS[0 if few else rng.integers(len(GROUPS))]
        name, parameter = LOSSES[rng.integers(4)]
        t = None if few else bifurcation(name, parameter, groups, each, n, d)
        if t is None or rng.random() < 0.4:
            t, side = float(10 ** rng.uniform(-8, 1)), 1
        return on_frame(name, parameter, grouped(groups, each), n, d, t * side, ratio)
    counts, d = UNEQUAL[rng.integers(1 if few else len(UNEQUAL))]
    size = int(rng.integers(1, min(d, len(counts)) + 1))
    on = tuple(sorted(rng.choice(len(counts), size, replace=False).tolist()))
    edge = min(mp.sqrt(counts[k]) for k in on) / sum(counts)
    below = 1 - abs(side - 1)
    sigma = edge * below if rng.random() < 0.6 else mp.mpf(10) ** mp.mpf(rng.uniform(-10, -1))
    return squared(counts, on, d, sigma, ratio) if sigma < edge else None


@cache
def best_known(name, parameter, counts, d, decays):
    """The lowest value known, and whether it is the minimum: soft thresholding, or the simplex."""
    sigma = mp.sqrt(mp.mpf(decays[0]) * mp.mpf(decays[1]))
    K, N = len(counts), sum(counts)
    if name == "mse":
        order = sorted(range(K), key=lambda k: -counts[k])[:d]
        lit = [k for k in order if mp.sqrt(counts[k]) > N * sigma]
        off = sum(n for k, n in enumerate(counts) if k not in lit)
        value = mp.mpf(off) / (2 * N)
        for k in lit:
            t = mp.sqrt(counts[k]) - N * sigma
            value += (mp.sqrt(counts[k]) - t) ** 2 / (2 * N) + sigma * t
        return value, True
    lowest = at_origin(name, parameter, counts, d, sigma, 1.0).value
    if len(set(counts)) > 1:
        return lowest, False
    E, n = simplex(K), counts[0]
    grid = [mp.mpf(10) ** mp.mpf(x) for x in np.linspace(-11, 2, 27)]
    excess = [pull(name, parameter, E, n, t) - sigma for t in grid]
    for i in range(len(grid) - 1):
        if excess[i] > 0 >= excess[i + 1]:
            low, high = grid[i : i + 2]
            for _ in range(40):  # twelve digits of t are twenty-four of f
                middle = (low + high) / 2
                above = pull(name, parameter, E, n, middle) > sigma
                low, high = (middle, high) if above else (low, middle)
            lowest = min(lowest, value_on(name, parameter, E, n, low, sigma))
    return lowest, d >= K - 1


def value_on(name, parameter, E, n, t, sigma):
    """f at W = sqrt(t) E, H = W'."""
    P = E * E.T
    z = [t * P[i, 0] / mp.sqrt(n) for i in range(P.rows)]
    return derivatives(name, parameter)(z, 0)[0] + sigma * t * E.cols


def moved(site, rng):
    """The point of a site in other coordinates, with noise: (point, how far it was moved)."""
    W, H = site.floats()
    turn = np.linalg.qr(rng.standard_normal((site.d, site.d)))[0]
    W, H = W @ turn, turn.T @ H
    noise = 0.0 if rng.random() < 0.25 else 10 ** rng.uniform(-15, -4)
    tilt = 10 ** rng.uniform(-12, -1) if rng.random() < 0.15 else 0.0
    push = [noise * rng.standard_normal(x.shape) for x in (W, H)]
    point = Point((1 + tilt) * W + push[0], H / (1 + tilt) + push[1])
    distance = float(np.hypot(np.linalg.norm(point.W - W), np.linalg.norm(point.H - H)))
    return point, distance


def faults(site, judged, distance):
    """What a verdict says that is not true; and whether the point is as near to another site."""
    told, false = judged.count, []
    length = float(mp.sqrt(2) * mp.mnorm(site.W, "f")) if site.rank else 0.0
    soft, radius = float(abs(site.soft)), float(site.radius)
    # Branches leave each other like the root of the eigenvalue that vanishes.
    near = [10 * distance > (soft / radius) ** 0.5]
    if site.rank:
        near.append(10 * distance > site.thinnest)
    between = any(near) and distance > 0
    decided = judged.curvature not in (Curvature.NOT_CRITICAL, Curvature.UNDECIDED)
    if judged.curvature is Curvature.NOT_CRITICAL and not distance:
        false.append("a critical point is not critical")
    if judged.curvature is Curvature.DEGENERATE and not site.degenerate:
        false.append("degenerate")
    if decided and not between:
        true = Curvature.STRICT_SADDLE if site.index[1] else Curvature.MORSE_BOTT_MINIMUM
        flat = judged.curvature is Curvature.DEGENERATE and not site.index[0]  # see above
        if judged.curvature is not true and not flat:
            false.append(f"{judged.curvature.name} at index {site.index}")
        nullity = site.orbit, site.orbit + site.tiny
        for said, true in ((told.index_range, site.index), (told.nullity_range, nullity)):
            if said[0] > true[1] or said[1] < true[0]:
                false.append(f"{said} is {true}")
    best, proved = best_known(site.name, site.parameter, site.counts, site.d, site.decays)
    above = float(mp.mpf(judged.objective) - best)
    rounding = 8 * np.finfo(float).eps * (1 + abs(float(best)))
    if judged.globality is Globality.GLOBAL and above > global_slack(float(best)) + rounding:
        false.append(f"GLOBAL at {above:.1e} above the minimum")
    if judged.globality is Globality.NOT_GLOBAL:
        if proved and above < -rounding:
            false.append("below the minimum")
        if proved and not distance and site.value <= best:
            false.append("NOT_GLOBAL at the minimum")
        if judged.lower_objective is not None and not judged.lower_objective < judged.objective:
            false.append("the lower point is not lower")
    # |mu|^2 < 1000 radius |g| / max(1, |x|), ten times what counts as zero, or a simplification.
    scale = max(1.0, length)
    limit = max(
        (1e3 * radius * judged.gradient_norm / scale) ** 0.5,
        1e3 * judged.gradient_norm / scale,
        judged.count.tolerance,
    )
    explained = between or soft <= 3 * limit
    return false, between, explained


def judged_points(seeds, each, few):
    """Everything that verdicts on many points near many sites say that is not true."""
    wrong, tally = [], Counter()
    for seed in seeds:
        rng = np.random.default_rng(seed)
        site = drawn(rng, few=few)
        if site is None:
            continue
        loss = loss_of(site.name, site.parameter)
        lambda_W, lambda_H = site.decays
        model = UFM(loss, counts=site.counts, d=site.d, lambda_W=lambda_W, lambda_H=lambda_H)
        for trial in range(each):
            point, distance = moved(site, rng)
            if max(site.counts) > 1 and rng.random() < 0.5:
                point = jax.tree.map(np.asarray, lift(model, point))
            judged = verdict(model, point)
            false, between, explained = faults(site, judged, distance)
            tally["tried"] += 1
            tally[judged.curvature.name] += 1
            tally["between"] += between
            undecided = judged.curvature is Curvature.UNDECIDED
            if undecided and not explained:
                tally["unexplained"] += 1
                false.append("UNDECIDED for no reason")
            wrong += [(seed, trial, f) for f in false]
    return wrong, tally


@pytest.mark.parametrize(
    "site",
    [
        lambda: on_frame("ls", 0.1, simplex(3), 2, 4, 1.3, 1.7),
        lambda: on_frame("focal", 2.0, simplex(4), 1, 5, 0.5, 1.7),
        lambda: on_frame("ls", 0.0, grouped(2, 2), 2, 3, 1.0, 2.0),
        lambda: on_frame("mse", 0.0, simplex(3), 2, 4, 0.3, 1.0),
        lambda: squared((5, 3, 2), (0, 2), 4, 0.05, 1.5),
        lambda: squared((2, 1, 1), (0, 1), 3, 0.05, 1.5),
        lambda: at_origin("ls", 0.1, (3, 1, 2), 2, 0.1, 1.5),
        lambda: at_origin("focal", 5.0, (2, 2), 3, 0.03, 1.5),
    ],
)
def test_the_truth_is_that_of_dense_hessians(site):
    """All samples, NumPy: value, gradient, index and nullity of sites far from any trouble."""
    known = site()
    naive = {"ls": naive_cross_entropy, "focal": naive_focal, "mse": lambda _: naive_squared()}
    at = naive[known.name](known.parameter)
    brute = Problem.of(at, known.counts, known.d, *known.decays)
    W, H = known.floats()
    x = brute.pack(Point(W, np.repeat(H / np.sqrt(known.counts), known.counts, axis=1)))
    value, gradient = brute.value_and_gradient(x)
    values = np.linalg.eigvalsh(brute.hessian(x))
    assert value == pytest.approx(float(known.value), abs=1e-15)
    assert np.linalg.norm(gradient) < 1e-15
    assert float(known.gradient) < 1e-30
    index = int(np.sum(values < -1e-9))
    assert known.index == (index, index)
    assert np.sum(np.abs(values) < 1e-9) == known.orbit + known.tiny == known.orbit


@pytest.mark.parametrize(
    ("seeds", "each", "few"),
    [
        (range(12), 25, True),
        *(slow(range(first, first + 100), 40, False) for first in (100, 200, 300, 400)),
    ],
)
def test_no_verdict_is_false(seeds, each, few):
    wrong, tally = judged_points(seeds, each, few)
    print(dict(tally))  # pytest -s
    assert wrong == []
    # Noise from 1e-15 to 1e-4 of one beside curvatures from 1e-10 to 1: a Newton step from the
    # noise is longer than a thousandth in a share that is a triangle of that square, less than a
    # third; above ``explained`` says so of each by itself.
    assert tally["UNDECIDED"] < tally["tried"] / 3
    assert tally["between"] < tally["tried"] / 5
    assert tally["STRICT_SADDLE"] + tally["MORSE_BOTT_MINIMUM"] > tally["tried"] / 2
    assert tally["tried"] > 0.9 * len(seeds) * each
