"""Bounded energies and margins: where small classes merge, and what a code of margin 1 costs."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache

import numpy as np
from numpy.typing import NDArray
from scipy.optimize import brentq, minimize
from scipy.special import logsumexp, softmax

from proofs_check.claim import Claim, Mutant, Tolerance
from proofs_check.instance import Instance
from proofs_check.law import Law
from ufm.models.layer_peeled import merging_ratio

Array = NDArray[np.float64]
SUBJECT = "imbalance"


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


@dataclass(frozen=True)
class Counts(Instance):
    """Class sizes of a code whose margins are 1 or more."""

    counts: tuple[int, ...]
    kind: str = "margins of 1"

    @property
    def columns(self) -> dict[str, tuple[int, ...]]:
        """The sizes."""
        return {"counts": self.counts}

    @property
    def floats(self) -> dict[str, float]:
        """The sizes, by place."""
        return {str(k): float(n) for k, n in enumerate(self.counts)}

    def varied(self, numbers: Mapping[str, float]) -> Counts:
        """Other sizes, at least one."""
        return Counts(tuple(max(1, round(n)) for n in numbers.values()))

    @property
    def label(self) -> str:
        """The sizes in words."""
        return f"{self.kind}, counts {','.join(map(str, self.counts))}"


def peeled(quick: bool = False) -> tuple[Peeled, ...]:
    """The settings of Fang et al. and smaller ones."""
    settings = ((10, 5, 1.0, 5.0), (4, 2, 1.0, 5.0), (10, 5, 1.0, 10.0), (10, 3, 1.0, 5.0))
    return tuple(Peeled(*setting) for setting in settings[: 2 if quick else None])


def sizes(quick: bool = False) -> tuple[Counts, ...]:
    """Equal, two sizes, and all different."""
    chosen = ((6, 6, 1, 1), (3, 3, 3), (9, 4, 2), (12, 5, 3, 1), (7, 1))
    return tuple(Counts(counts) for counts in chosen[: 3 if quick else None])


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


def _least_norm(instance: Counts) -> float:
    """The least (|W|^2 + sum n_k |h_k|^2) / 2 at margins of 1."""
    return _programme(instance)[0]


def _grams(instance: Counts) -> tuple[Array, Array]:
    """W W^T and H^T H there, columns of H times the roots of the sizes."""
    W, H = _programme(instance)[1]
    return W @ W.T, H.T @ H


@cache
def _programme(instance: Counts) -> tuple[float, Array]:
    """The least (|W|^2 + sum n_k |h_k|^2) / 2 at margins of 1, by sequential programming (SciPy).

    Columns are sqrt(n_k) h_k.
    """
    roots = np.sqrt(np.array(instance.counts, dtype=float))
    K = len(roots)
    others = [(j, k) for k in range(K) for j in range(K) if j != k]

    def margins(x: Array) -> Array:
        W, H = x.reshape(2, K, K)
        Z = W @ H / roots
        return np.array([Z[k, k] - Z[j, k] - 1 for j, k in others])

    def slopes(x: Array) -> Array:
        W, H = x.reshape(2, K, K)
        found = np.zeros((len(others), 2, K, K))
        for row, (j, k) in zip(found, others, strict=True):
            row[0, k], row[0, j] = H[:, k] / roots[k], -H[:, k] / roots[k]
            row[1, :, k] = (W[k] - W[j]) / roots[k]
        return found.reshape(len(others), -1)

    rng = np.random.default_rng((67, K))
    start = np.concatenate([np.eye(K).ravel(), 2 * np.diag(roots).ravel()])
    run = minimize(
        lambda x: (x @ x / 2, x),
        start + 0.1 * rng.normal(size=start.size),
        jac=True,
        method="SLSQP",
        constraints={"type": "ineq", "fun": margins, "jac": slopes},
        options={"ftol": 1e-15, "maxiter": 1000},
    )
    return float(run.fun), run.x.reshape(2, K, K)


# ---- formulas


def ratio(K: int, majority: int, energy_W: float, energy_H: float) -> float:
    """R_0 of the layer-peeled model."""
    return merging_ratio(K, majority, energy_W, energy_H)


def _ratio_of_half(K: int, majority: int, energy_W: float, energy_H: float) -> float:
    return merging_ratio(K, majority, energy_W, energy_H / 4)


def norm_of_simplex(counts: Array) -> float:
    """|(I - J/K) diag(n)^(1/2)|_*."""
    n = np.asarray(counts, dtype=float)
    centred = np.diag(np.sqrt(n)) - np.sqrt(n) / len(n)
    return float(np.linalg.svd(centred, compute_uv=False).sum())


def grams_of_simplex(counts: Array) -> tuple[Array, Array]:
    """(P D P)^(1/2) and (D^(1/2) P D^(1/2))^(1/2)."""
    n = np.asarray(counts, dtype=float)
    left, values, right = np.linalg.svd(np.diag(np.sqrt(n)) - np.sqrt(n) / len(n))
    return (left * values) @ left.T, (right.T * values) @ right


def _grams_of_counts(counts: Array) -> tuple[Array, Array]:
    return grams_of_simplex(np.asarray(counts, dtype=float) ** 1.01)


def _norm_of_counts(counts: Array) -> float:
    return norm_of_simplex(np.asarray(counts, dtype=float) ** 1.01)


CLAIMS = (
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
        subject=SUBJECT,
        uses=("minority-collapse",),
    ),
    Claim(
        id="margins-of-unequal-classes",
        title="Margins: the simplex-encoded labels are the cheapest",
        statement="For every class sizes the logits I - J/K have the least nuclear norm, columns "
        "weighted by the roots of the sizes, among all with margins of 1 or more.",
        latex=r"\min_{z_{kk}-z_{jk}\ge1}\lVert ZD^{1/2}\rVert_\ast="
        r"\lVert(I-\tfrac1KJ)D^{1/2}\rVert_\ast",
        source="SE-1; after Thrampoulidis et al. (2022); the proof derived here",
        region=sizes,
        check=Law(norm_of_simplex, _least_norm),
        tolerance=Tolerance(1e-8, "a programme to 1e-15 in the value; seen 1e-11"),
        mutant=Mutant("sizes to the power 1.01", Law(_norm_of_counts, _least_norm)),
        subject=SUBJECT,
    ),
    Claim(
        id="simplex-encoded-geometry",
        title="Margins: the geometry of simplex-encoded labels",
        statement="For every class sizes the cheapest classifier and features with margins of 1 "
        "have the Gram matrices of the balanced factors of (I - J/K) diag(n)^(1/2).",
        latex=r"WW^\top=(PDP)^{1/2},\quad D^{1/2}H^\top HD^{1/2}=(D^{1/2}PD^{1/2})^{1/2}",
        source="SE-1; after Thrampoulidis et al. (2022)",
        literature="recalled",
        region=sizes,
        check=Law(grams_of_simplex, _grams),
        tolerance=Tolerance(1e-6, "a programme to 1e-15 in the value: points to its root"),
        mutant=Mutant("sizes to the power 1.01", Law(_grams_of_counts, _grams)),
        subject=SUBJECT,
    ),
)
