"""Fixed energies of classifier and features: the simplex, and where small classes merge."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache

import numpy as np
from scipy.optimize import brentq, minimize
from scipy.special import logsumexp, softmax

from proofs_check.claim import Claim, Mutant, Tolerance
from proofs_check.descents import minimised
from proofs_check.instance import Instance, Specimen
from proofs_check.law import Law
from proofs_check.specimens import PlainSpecimen
from ufm.losses import CrossEntropy
from ufm.models.layer_peeled import layer_peeled
from ufm.models.merging_ratio import merging_ratio
from ufm.point import Point
from ufm.typing import Array


@dataclass(frozen=True)
class Peeled(Instance):
    """The layer-peeled model: K classes, k_A of them large, energies of classifier and features."""

    K: int
    majority: int
    energy_W: float
    energy_H: float
    kind: str = "layer-peeled"

    @property
    def columns(self) -> dict[str, float]:
        """K, k_A, E_W and E_H."""
        return {
            "K": self.K,
            "majority": self.majority,
            "energy_W": self.energy_W,
            "energy_H": self.energy_H,
        }

    @property
    def label(self) -> str:
        """The numbers in words."""
        energies = f"E_W={self.energy_W:g} E_H={self.energy_H:g}"
        return f"{self.kind} K={self.K} k_A={self.majority} {energies}"


def peeled(quick: bool = False) -> tuple[Peeled, ...]:
    """The settings of Fang et al. and smaller ones."""
    settings = ((10, 5, 1.0, 5.0), (4, 2, 1.0, 5.0), (10, 5, 1.0, 10.0), (10, 3, 1.0, 5.0))
    return tuple(Peeled(*setting) for setting in settings[: 2 if quick else None])


@cache
def alike(quick: bool = False) -> tuple[PlainSpecimen, ...]:
    """Minima by descent at fixed energies, classes of one size; K - 1 dimensions and more."""
    settings = ((3, 2, 4, 1.0, 0.7), (4, 5, 2, 0.6, 5.0), (5, 4, 3, 2.0, 1.1))
    return tuple(_descended(*setting) for setting in settings[: 2 if quick else None])


def _descended(K: int, d: int, n: int, energy_W: float, energy_H: float) -> PlainSpecimen:
    """L-BFGS on a gradient by hand, free arrays being brought to their energies."""
    labels, N = np.repeat(np.arange(K), n), K * n
    Y = np.eye(K)[:, labels]

    def both(W: Array, H: Array) -> tuple[float, tuple[Array, Array]]:
        squares = np.sum(W**2), np.sum(H**2)
        scale = np.sqrt(K * energy_W / squares[0]) * np.sqrt(N * energy_H / squares[1])
        Z = scale * W @ H
        slope = (softmax(Z, axis=0) - Y) / N
        value, along = np.sum(logsumexp(Z, axis=0) - np.sum(Y * Z, axis=0)) / N, np.sum(slope * Z)
        pulls = scale * slope @ H.T - along * W / squares[0]
        pulls_H = scale * W.T @ slope - along * H / squares[1]
        return value, (pulls, pulls_H)

    rng = np.random.default_rng((71, K, d))
    start = rng.normal(size=(K, d)), rng.normal(size=(d, N))
    options = {"maxiter": 5000, "maxfun": 10_000, "ftol": 0, "gtol": 1e-12}
    model = layer_peeled(CrossEntropy(), K, d, n, energy_W, energy_H)
    return Specimen(model, Point(*minimised(both, start, **options)[1]), "minimiser")


def _height(specimen: PlainSpecimen) -> float:
    return float(specimen.model.objective(specimen.point))


def _energy_at_merging(instance: Peeled) -> float:
    """The ratio R at which the minimum at the price 1/R uses up the energy.

    Small classes merge at that price (X-4): descents have one classifier for all of them, and the
    energy is used up where |Z|_* = K sqrt(E_W E_H).
    """
    K, majority = instance.K, instance.majority
    room = K * np.sqrt(instance.energy_W * instance.energy_H)
    rng = np.random.default_rng((61, K, majority))
    rows = np.minimum(np.arange(K), majority)
    shared = (np.arange(majority + 1)[:, None] == rows).astype(float)
    W0, H0 = rng.normal(size=(majority + 1, K)), rng.normal(size=(K, K))
    cut, warm = W0.size, [np.concatenate([W0.ravel(), H0.ravel()])]
    sizes = np.repeat(np.append(np.ones(majority), K - majority), K)
    decay = np.append(sizes, np.ones(K * K))

    def used(log: float) -> float:
        price = np.exp(-log)
        weights = np.where(np.arange(K) < majority, 1.0, price)

        def both(x: Array) -> tuple[float, Array]:
            W, H = x[:cut].reshape(majority + 1, K)[rows], x[cut:].reshape(K, K)
            Z = W @ H
            value = weights @ (logsumexp(Z, axis=0) - np.diag(Z)) + price / 2 * (decay @ x**2)
            slope = (softmax(Z, axis=0) - np.eye(K)) * weights
            both_sides = (shared @ slope @ H.T).ravel(), (W.T @ slope).ravel()
            return value, np.concatenate(both_sides) + price * decay * x

        options = {"maxiter": 5000, "maxfun": 10_000, "ftol": 0, "gtol": 1e-11, "maxcor": 30}
        warm[0] = minimize(both, warm[0], jac=True, method="L-BFGS-B", options=options).x
        W, H = warm[0][:cut].reshape(majority + 1, K)[rows], warm[0][cut:].reshape(K, K)
        return float(np.linalg.svd(W @ H, compute_uv=False).sum() - room)

    return float(np.exp(brentq(used, np.log(2.0), np.log(1e3), xtol=1e-9)))


# ---- formulas


def ratio(K: int, majority: int, energy_W: float, energy_H: float) -> float:
    """R_0 of the layer-peeled model."""
    return merging_ratio(K, majority, energy_W, energy_H)


def _ratio_of_half(K: int, majority: int, energy_W: float, energy_H: float) -> float:
    return merging_ratio(K, majority, energy_W, energy_H / 4)


def value_of_simplex(K: int, energy_W: float, energy_H: float) -> float:
    """Cross entropy at the gap K sqrt(E_W E_H) / (K - 1)."""
    gap = K * np.sqrt(energy_W * energy_H) / (K - 1)
    return float(np.log(1 + (K - 1) * np.exp(-gap)))


def _value_of_orthogonal(K: int, energy_W: float, energy_H: float) -> float:
    return float(np.log(1 + (K - 1) * np.exp(-np.sqrt(energy_W * energy_H))))


CLAIMS = (
    Claim(
        id="layer-peeled-simplex",
        title="Layer-peeled model: the minimum of equal classes is a simplex",
        statement="With classes of one size and d >= K - 1 the minimum at given energies is the "
        "simplex that uses them up.",
        latex=r"f^*=\log(1+(K-1)e^{-K\sqrt{E_WE_H}/(K-1)})",
        source="LPM-1; the model of Fang et al. (2021); the proof derived here",
        literature="proved",
        region=alike,
        check=Law(value_of_simplex, _height),
        tolerance=Tolerance(1e-9, "descents to a gradient of 1e-8, values of order one"),
        mutant=Mutant("orthogonal classes", Law(_value_of_orthogonal, _height)),
    ),
    Claim(
        id="layer-peeled-ratio",
        title="Layer-peeled model: the ratio from which small classes merge",
        statement="With bounded energies the classifiers of the small classes are one from a ratio "
        "of class sizes on that solves scalar equations.",
        latex=r"\lVert Z(1/R_0)\rVert_\ast=K\sqrt{E_WE_H}",
        source="LPM-1; the model of Fang et al. (2021); the criterion derived here",
        region=peeled,
        check=Law(ratio, _energy_at_merging),
        tolerance=Tolerance(1e-6, "norms to 1e-9 by descents to 1e-11, over slopes in log R"),
        mutant=Mutant("half the energy", Law(_ratio_of_half, _energy_at_merging)),
        uses=("minority-collapse",),
    ),
)
