"""Focal loss: where it is convex, and the spurious minimum that it has for K >= 18."""

from __future__ import annotations

from functools import cache
from typing import Any

import jax
import numpy as np
from scipy.optimize import brentq, minimize_scalar

from landscape.curvature.hessian import dense_hessian
from proofs_check.claim import Claim, Mutant, Tolerance
from proofs_check.claims.thresholds import focal_constant
from proofs_check.formula_alterations import formula
from proofs_check.hypotheses import NOT_CROSS_ENTROPY
from proofs_check.instance import Specimen
from proofs_check.law import Law, relative
from proofs_check.redraw import redrawn_by
from proofs_check.specimens import PlainSpecimen
from ufm.losses import Focal
from ufm.losses.focal import focal_convexity_threshold
from ufm.plain.minimisers import thresholds
from ufm.plain.model import UFM
from ufm.plain.spectra import origin_spectrum
from ufm.point import Point
from ufm.typing import Array

TINY = 1e-12
FALLING = (2.5, 7.0)  # u* falls between these gammas, and passes 1/18 and 1/20
# Where the steepest chord of psi is looked for: next to u* = 1/K it is short.
GRID, AROUND = np.geomspace(1e-3, 20.0, 400), np.array([0.97, 1.03])
TO_TEN_DIGITS: Any = {"method": "bounded", "options": {"xatol": 1e-10}}

_hessian = jax.jit(jax.hessian(lambda loss, z: loss(z, 0), argnums=1))


def _logits_of(model: UFM, rng: np.random.Generator) -> PlainSpecimen:
    """Random logits of class 0 in d = 1: W holds them, H = (1, 0, ..., 0)."""
    K = model.num_classes
    H = np.zeros((1, K))
    H[0, 0] = 1.0
    W = np.append(0.0, np.log(rng.dirichlet(np.full(K - 1, 2.0))))[:, None]
    return Specimen(model, Point(W, H), "random logits of one class")


def _logits_again(listed: PlainSpecimen, model: UFM, seed: int) -> PlainSpecimen | None:
    return _logits_of(model, np.random.default_rng(seed)) if model.d == 1 else None


@redrawn_by(_logits_again)
@cache
def logit_samples(quick: bool = False) -> tuple[PlainSpecimen, ...]:
    """Random logits of class 0 as one-dimensional models."""
    rng = np.random.default_rng(11)
    found = []
    for K in (2, 3, 5) if quick else (2, 3, 5, 20):
        for gamma in (0.0, 0.5, 1.0, 2.0, 3.0, 5.0, 10.0):
            for _ in range(1 if quick else 3):
                model = UFM(Focal(gamma), K, 1, lambda_W=2e-2, lambda_H=1e-2)
                found.append(_logits_of(model, rng))
    return tuple(found)


def _smallest(loss: Focal, others: Array, u: float) -> float:
    """Smallest eigenvalue of the logit Hessian on 1^perp where the true class has probability u."""
    K = len(others) + 1
    z = np.append(np.log(u) - np.log1p(-u), others)
    away = np.linalg.qr(np.column_stack([np.ones(K), np.eye(K)[:, 1:]]))[0][:, 1:]
    return float(np.linalg.eigvalsh(away.T @ np.asarray(_hessian(loss, z)) @ away)[0])


def _signs_around(specimen: PlainSpecimen) -> float:
    """The probability at which the smallest eigenvalue changes sign, by root finding.

    Infinite unless negative curvature lies everywhere below it and none above.
    """
    loss = specimen.model.loss
    others = np.asarray(specimen.point.W)[1:, 0]
    upper = 1 / (float(loss.gamma) + 1)
    root = float(brentq(lambda u: _smallest(loss, others, u), 1e-4, upper, xtol=1e-14))
    below = [_smallest(loss, others, x * root) for x in (0.1, 0.5, 0.99)]
    above = [_smallest(loss, others, root + x * (1 - root)) for x in (0.01, 0.3, 0.9)]
    return root if max(below) < 0 < min(above) else float("inf")


@formula
def criterion(u: float, gamma: float) -> float:
    """(2 gamma + 1)(1 - u) + gamma (1 - (gamma + 1) u) log u."""
    return float((2 * gamma + 1) * (1 - u) + gamma * (1 - (gamma + 1) * u) * np.log(u))


@formula
def convexity_threshold(gamma: float) -> float:
    """u*(gamma), the root of the criterion below 1/(gamma + 1)."""
    return float(brentq(lambda u: criterion(u, gamma), TINY, 1 / (gamma + 1)))


def _altered_convexity(gamma: float) -> float:
    def altered(u: float) -> float:
        return criterion(u, gamma) - (1 - u)

    return float(brentq(altered, TINY, 1 / (gamma + 1)))


def _origin_model(gamma: float, K: int, c: float) -> PlainSpecimen:
    """A model with d = K - 1 and given c, at the origin; lambda_W = 1.6 lambda_H."""
    decay = c / K / np.sqrt(1.6)
    model = UFM(Focal(gamma), K, K - 1, lambda_W=1.6 * decay, lambda_H=decay)
    return Specimen(model, model.origin(), "origin")


def _curve(gamma: float, K: int, a: float) -> float:
    """psi(a) = -(1 - u)^gamma log u with u = 1 / (1 + (K - 1) exp(-a)), in NumPy."""
    rest = np.log(K - 1) - a
    log_u = -np.logaddexp(0.0, rest)
    return float(-np.exp(gamma * (rest + log_u)) * log_u)


def _direct_collapse(gamma: float, K: int) -> float:
    """Steepest chord of psi from the origin, the c at which the minimiser leaves it."""

    def slope(log_a: float) -> float:
        a = float(np.exp(log_a))
        return (_curve(gamma, K, a) - _curve(gamma, K, 0.0)) / a

    grid = np.linspace(np.log(1e-3), np.log(15.0), 700)
    best = grid[int(np.argmin([slope(a) for a in grid]))]
    bounds = (best - 0.03, best + 0.03)
    found = minimize_scalar(slope, bounds=bounds, method="bounded", options={"xatol": 1e-10})
    return float(-found.fun * K / (K - 1))


def _direct_origin(specimen: PlainSpecimen) -> float:
    """The c at which the dense Hessian at the origin of the d = 1 problem turns singular."""
    model = specimen.model.with_dimension(1)
    lowest = float(np.linalg.eigvalsh(dense_hessian(model, model.origin()))[0])
    coupling = (float(model.lambda_W) - lowest) * (float(model.lambda_H) - lowest)
    return float(model.num_classes * np.sqrt(coupling))


def _measured(specimen: PlainSpecimen) -> tuple[float, float, float]:
    """c_origin and c_collapse by direct computation, and c_collapse of the library."""
    model = specimen.model
    K, gamma = model.num_classes, float(model.loss.gamma)
    origin, collapse = _direct_origin(specimen), _direct_collapse(gamma, K)
    # Where the steepest chord is the tangent, chords of length 0.01 miss it by their length.
    known = thresholds(model).collapse
    return origin, max(collapse, origin), known


def window(K: int, gamma: float) -> tuple[float, float, float]:
    """c_origin, and c_collapse above it exactly where 1/K < u*(gamma)."""
    origin = focal_constant(K, gamma)
    if convexity_threshold(gamma) <= 1 / K:
        return origin, origin, origin
    collapse = steepest_chord(K, gamma)
    return origin, collapse, collapse


@formula
def chord(a: float, K: int, gamma: float) -> float:
    """(psi(0) - psi(a)) / a K/(K - 1)."""
    return (curve(0.0, K, gamma) - curve(a, K, gamma)) / a * K / (K - 1)


@formula
def curve(a: float, K: int, gamma: float) -> float:
    """psi(a) = -(1 - u)^gamma log u with u = 1 / (1 + (K - 1) exp(-a))."""
    u = 1 / (1 + (K - 1) * np.exp(-a))
    return float(-((1 - u) ** gamma) * np.log(u))


@formula
def steepest_chord(K: int, gamma: float) -> float:
    """max over a > 0 of the chord."""
    best = GRID[int(np.argmax([chord(a, K, gamma) for a in GRID]))]
    found = minimize_scalar(lambda a: -chord(a, K, gamma), bounds=best * AROUND, **TO_TEN_DIGITS)
    return -float(found.fun)


def _window_altered(K: int, gamma: float) -> tuple[float, float, float]:
    rest = 1 - 1 / K
    origin = rest**gamma + gamma * rest**gamma * np.log(K) / K
    return (origin, *window(K, gamma)[1:])


def _gamma_with(u: float) -> float:
    """The gamma at which the library's u* has a value."""
    return float(brentq(lambda gamma: focal_convexity_threshold(gamma) - u, *FALLING))


@cache
def window_specimens(quick: bool = False) -> tuple[PlainSpecimen, ...]:
    """Origins on both sides of 1/K = u*(gamma), few K: each is compiled once."""
    cases = [(gamma, K) for gamma in (1.0, 2.0, 2.4, 3.0, 5.0) for K in (17, 18)]
    if not quick:
        cases += [(gamma, K) for gamma in (1.0, 2.0, 3.0, 5.0) for K in (3, 50)]
        for K in (18, 20):  # 1/K 0.15 per cent above and below u*(gamma)
            for share in (0.9985, 1.0015):
                cases.append((_gamma_with(share / K), K))
    return tuple(_origin_model(gamma, K, 1.1) for gamma, K in cases)


@cache
def spurious_specimens(quick: bool = False) -> tuple[PlainSpecimen, ...]:
    """Origins halfway between the thresholds, or 2 percent above them where they agree."""
    cases = [(gamma, K) for gamma in (2.0, 3.0) for K in (17, 18)]
    if not quick:
        cases += [(gamma, K) for gamma in (1.0, 2.0, 3.0) for K in (3, 50)]
    found = []
    for gamma, K in cases:
        edges = thresholds(_origin_model(gamma, K, 1.1).model)
        gap = edges.collapse > edges.origin
        middle = 0.5 * (edges.origin + edges.collapse) if gap else 1.02 * edges.origin
        found.append(_origin_model(gamma, K, middle))
        found.append(_origin_model(gamma, K, 0.5 * edges.origin))
    return tuple(found)


def spurious_height(specimen: PlainSpecimen) -> float:
    """f(origin) - f(collapsed solution) if the origin is a strict local minimum, else zero."""
    model = specimen.model
    best = model.minimiser()
    if best is None or origin_spectrum(model).smallest <= 0:
        return 0.0
    K, gamma = model.num_classes, float(model.loss.gamma)
    direct = _direct_origin(specimen)
    if model.c <= direct:  # the dense Hessian must agree that the origin is a minimum
        return 0.0
    return max(0.0, _curve(gamma, K, 0.0) - float(best.value))


def _height_of_the_origin(specimen: PlainSpecimen) -> float:
    """f(origin) - f(collapsed solution), whatever the curvature at the origin."""
    model = specimen.model
    best = model.minimiser()
    origin = _curve(float(model.loss.gamma), model.num_classes, 0.0)
    return 0.0 if best is None else max(0.0, origin - float(best.value))


def many_classes(quick: bool = False) -> tuple[PlainSpecimen, ...]:
    """Those with K >= 18."""
    return tuple(s for s in spurious_specimens(quick) if s.model.num_classes >= 18)


CLAIMS = (
    Claim(
        id="focal-convexity",
        title="Where focal loss is convex",
        statement="The logit Hessian of focal loss is positive semidefinite exactly where the "
        "probability u of the true class is at least u*(gamma), whatever K and the other "
        "probabilities are.",
        latex=r"(2\gamma+1)(1-u)+\gamma(1-(\gamma+1)u)\log u\ge0\iff u\ge u^*(\gamma)",
        source="FL-2; derived here",
        hypotheses=(NOT_CROSS_ENTROPY,),
        region=logit_samples,
        check=Law(convexity_threshold, _signs_around, error=relative),
        mutant=Mutant(
            "2 gamma instead of 2 gamma + 1",
            Law(_altered_convexity, _signs_around, error=relative),
        ),
        tolerance=Tolerance(
            1e-8,
            "the eigenvalue crosses zero with slope O(1) per relative change of u and "
            "is known to 1e-15, divided by 1e-4 or more when others are small; factor 1000",
        ),
        uses=(
            "identity-focal-criterion",
            "identity-focal-derivatives",
            "identity-softmax-quotient",
        ),
    ),
    Claim(
        id="focal-window",
        title="Focal loss: two thresholds, apart for K >= 18",
        statement="The origin of focal loss is a strict local minimum from c_origin on and the "
        "global minimum from c_collapse on; the two differ exactly when 1/K < u*(gamma), which "
        "needs K >= 18.",
        latex=r"c_{origin}=(1-\tfrac1K)^\gamma+\gamma(1-\tfrac1K)^{\gamma-1}\tfrac{\log K}K,\quad "
        r"c_{collapse}=\tfrac K{K-1}\max_{a>0}\frac{\psi(0)-\psi(a)}a",
        source="FL-3; derived here",
        hypotheses=(NOT_CROSS_ENTROPY,),
        region=window_specimens,
        check=Law(window, _measured),
        mutant=Mutant("exponent gamma instead of gamma - 1", Law(_window_altered, _measured)),
        tolerance=Tolerance(
            1e-10,
            "difference quotients of psi over a >= 0.05 cost 1e-16 / 0.05, and the "
            "square root of a rounded eigenvalue; factor 1e4",
        ),
        uses=("focal-convexity", "spectrum-origin"),
    ),
    Claim(
        id="focal-only-minimum",
        title="Refuted: focal loss has no spurious minimum",
        statement="FALSE: for every c the collapsed solution is the only local minimum of focal "
        "loss. Between the two thresholds the origin is a strict local minimum that lies higher.",
        latex=r"\nabla^2f(0)\succ0\ \Rightarrow\ f(0)\le f(W^*,H^*)",
        source="FL-3; derived here; the uniqueness clause of GL losses after Zhou et al. (2022)",
        literature="refuted",
        region=spurious_specimens,
        check=spurious_height,
        mutant=Mutant("every critical point for every minimum", _height_of_the_origin),
        holds=False,
        tolerance=Tolerance(1e-9, "two values of order one, each to 1e-14; factor 1e5"),
        uses=("focal-window",),
    ),
)
