"""Focal loss: where it is convex, and the spurious minimum that it has for K >= 18."""

from __future__ import annotations

from functools import cache

import jax
import numpy as np
from numpy.typing import NDArray
from scipy.optimize import brentq, minimize_scalar

from landscape.curvature.hessian import dense_hessian
from proofs_check.claim import Claim, Hypothesis, Mutant
from proofs_check.specimens import Specimen
from ufm.losses import Focal
from ufm.losses.focal import focal_convexity_threshold
from ufm.plain.minimisers import thresholds
from ufm.plain.model import UFM
from ufm.plain.spectra import origin_spectrum
from ufm.point import Point

Array = NDArray[np.float64]
SUBJECT = "focal loss"

NOT_CROSS_ENTROPY = Hypothesis("gamma > 0", lambda s: float(s.model.loss.gamma) > 0)
_hessian = jax.jit(jax.hessian(lambda loss, z: loss(z, 0), argnums=1))


@cache
def logit_samples(quick: bool = False) -> tuple[Specimen, ...]:
    """Random logits of class 0 as one-dimensional models: W holds them, H = (1, 0, ..., 0)."""
    rng = np.random.default_rng(11)
    found = []
    for K in (2, 3, 5) if quick else (2, 3, 5, 20):
        for gamma in (0.0, 0.5, 1.0, 2.0, 3.0, 5.0, 10.0):
            for _ in range(1 if quick else 3):
                model = UFM(Focal(gamma), K, 1, lambda_W=2e-2, lambda_H=1e-2)
                H = np.zeros((1, K))
                H[0, 0] = 1.0
                others = np.log(rng.dirichlet(np.full(K - 1, 2.0)))
                W = np.append(0.0, others)[:, None]
                found.append(Specimen(model, Point(W, H), "random logits of one class"))
    return tuple(found)


def _smallest(loss: Focal, others: Array, u: float) -> float:
    """Smallest eigenvalue of the logit Hessian on 1^perp where the true class has probability u."""
    K = len(others) + 1
    z = np.append(np.log(u) - np.log1p(-u), others)
    away = np.linalg.qr(np.column_stack([np.ones(K), np.eye(K)[:, 1:]]))[0][:, 1:]
    return float(np.linalg.eigvalsh(away.T @ np.asarray(_hessian(loss, z)) @ away)[0])


def _measured_threshold(specimen: Specimen) -> float:
    """The probability at which the smallest eigenvalue changes sign, by root finding."""
    loss = specimen.model.loss
    others = np.asarray(specimen.point.W)[1:, 0]
    upper = 1 / (float(loss.gamma) + 1)
    return float(brentq(lambda u: _smallest(loss, others, u), 1e-4, upper, xtol=1e-14))


def _convexity(specimen: Specimen) -> float:
    """|u - u*| / u*, infinite unless negative curvature lies below u* and none above."""
    loss = specimen.model.loss
    star = focal_convexity_threshold(float(loss.gamma))
    others = np.asarray(specimen.point.W)[1:, 0]
    below = [_smallest(loss, others, x * star) for x in (0.1, 0.5, 0.99)]
    above = [_smallest(loss, others, star + x * (1 - star)) for x in (0.01, 0.3, 0.9)]
    if max(below) >= 0 or min(above) <= 0:
        return float("inf")
    return abs(_measured_threshold(specimen) / star - 1)


def _altered_convexity(specimen: Specimen) -> float:
    g = float(specimen.model.loss.gamma)

    def criterion(u: float) -> float:
        return float(2 * g * (1 - u) + g * (1 - (g + 1) * u) * np.log(u))

    return abs(_measured_threshold(specimen) / brentq(criterion, 1e-12, 1 / (g + 1)) - 1)


def _origin_model(gamma: float, K: int, c: float) -> Specimen:
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

    def slope(a: float) -> float:
        return (_curve(gamma, K, a) - _curve(gamma, K, 0.0)) / a

    grid = np.linspace(0.01, 12, 600)
    best = grid[int(np.argmin([slope(a) for a in grid]))]
    bounds = (max(best - 0.05, 1e-3), best + 0.05)
    found = minimize_scalar(slope, bounds=bounds, method="bounded", options={"xatol": 1e-10})
    return float(-found.fun * K / (K - 1))


def _direct_origin(specimen: Specimen) -> float:
    """The c at which the dense Hessian at the origin of the d = 1 problem turns singular."""
    model = specimen.model.with_dimension(1)
    lowest = float(np.linalg.eigvalsh(dense_hessian(model, model.origin()))[0])
    coupling = (float(model.lambda_W) - lowest) * (float(model.lambda_H) - lowest)
    return float(model.num_classes * np.sqrt(coupling))


def _formula(gamma: float, K: int, power: float = 1.0) -> float:
    rest = 1 - 1 / K
    return float(rest**gamma + gamma * rest ** (gamma - power) * np.log(K) / K)


def _window(specimen: Specimen, power: float = 1.0) -> float:
    """Both thresholds against direct computations; a window exactly where 1/K < u*(gamma)."""
    model = specimen.model
    K, gamma = model.num_classes, float(model.loss.gamma)
    origin, known = _formula(gamma, K, power), thresholds(model)
    error = max(abs(origin - _direct_origin(specimen)), abs(origin - known.origin))
    if focal_convexity_threshold(gamma) <= 1 / K:
        # The steepest chord is then the tangent, which chords from 1e-3 miss by their length.
        ahead = max(0.0, _direct_collapse(gamma, K) - origin)
        return max(error, ahead, known.collapse - known.origin)
    collapse = _direct_collapse(gamma, K)
    error = max(error, abs(collapse - known.collapse))
    return error if collapse > origin else float("inf")


@cache
def window_specimens(quick: bool = False) -> tuple[Specimen, ...]:
    """Origins on both sides of 1/K = u*(gamma), few K: each is compiled once."""
    cases = [(gamma, K) for gamma in (1.0, 2.0, 2.4, 3.0, 5.0) for K in (17, 18)]
    if not quick:
        cases += [(gamma, K) for gamma in (1.0, 2.0, 3.0, 5.0) for K in (3, 50)]
    return tuple(_origin_model(gamma, K, 1.1) for gamma, K in cases)


@cache
def spurious_specimens(quick: bool = False) -> tuple[Specimen, ...]:
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


def spurious_height(specimen: Specimen) -> float:
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


def many_classes(quick: bool = False) -> tuple[Specimen, ...]:
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
        literature="derived here",
        hypotheses=(NOT_CROSS_ENTROPY,),
        region=logit_samples,
        check=_convexity,
        tolerance=1e-8,
        tolerance_source="the eigenvalue crosses zero with slope O(1) per relative change of u and "
        "is known to 1e-15, divided by up to 1e-4 when other probabilities are small; factor 1000",
        tier="T1",
        mutant=Mutant("2 gamma instead of 2 gamma + 1", _altered_convexity),
        subject=SUBJECT,
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
        literature="derived here",
        hypotheses=(NOT_CROSS_ENTROPY,),
        region=window_specimens,
        check=_window,
        tolerance=1e-10,
        tolerance_source="difference quotients of psi over a >= 0.05 cost 1e-16 / 0.05, and the "
        "square root of a rounded eigenvalue; factor 1e4",
        tier="T1",
        mutant=Mutant("exponent gamma instead of gamma - 1", lambda s: _window(s, 0.0)),
        subject=SUBJECT,
    ),
    Claim(
        id="focal-only-minimum",
        title="Refuted: focal loss has no spurious minimum",
        statement="FALSE: for every c the collapsed solution is the only local minimum of focal "
        "loss. Between the two thresholds the origin is a strict local minimum that lies higher.",
        latex=r"\nabla^2f(0)\succ0\ \Rightarrow\ f(0)\le f(W^*,H^*)",
        source="FL-3; derived here; the uniqueness clause of GL losses after Zhou et al. (2022)",
        literature="refuted",
        hypotheses=(),
        region=spurious_specimens,
        check=spurious_height,
        tolerance=1e-9,
        tolerance_source="two values of order one, each to 1e-14; factor 1e5",
        tier="T1",
        mutant=Mutant("with the hypothesis K >= 18", spurious_height, many_classes),
        holds=False,
        subject=SUBJECT,
    ),
)
