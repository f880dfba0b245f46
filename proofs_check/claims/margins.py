"""Margins of unequal classes: what a code of margin 1 costs, and where small decays lead."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache

import jax
import numpy as np
from scipy.optimize import minimize

from landscape.solvers.solve import solve
from proofs_check.claim import Claim, Mutant, Tolerance
from proofs_check.hypotheses import CROSS_ENTROPY, ETF_FITS, NO_BIAS
from proofs_check.instance import Instance, Specimen
from proofs_check.law import Law
from proofs_check.specimens import PlainSpecimen
from ufm.losses import CrossEntropy
from ufm.plain.model import UFM
from ufm.point import Point
from ufm.typing import Array


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
    def label(self) -> str:
        """The sizes in words."""
        return f"{self.kind}, counts {','.join(map(str, self.counts))}"


def sizes(quick: bool = False) -> tuple[Counts, ...]:
    """Equal, two sizes, and all different."""
    chosen = ((6, 6, 1, 1), (3, 3, 3), (9, 4, 2), (12, 5, 3, 1), (7, 1))
    return tuple(Counts(counts) for counts in chosen[: 3 if quick else None])


def _least_norm(instance: Counts) -> float:
    """The least (|W|^2 + sum n_k |h_k|^2) / 2 at margins of 1."""
    return _programme(instance)[0]


def _largest_multiplier(instance: Counts) -> float:
    """The largest multiplier of a margin at the programme's end, per sample, by least squares."""
    W, H = _programme(instance)[1]
    roots = np.sqrt(np.array(instance.counts, dtype=float))
    K, rows, per_sample = len(roots), [], []
    for k in range(K):
        for j in range(K):
            if j != k:
                slope = np.zeros((2, K, K))
                slope[0, k], slope[0, j] = H[:, k] / roots[k], -H[:, k] / roots[k]
                slope[1, :, k] = (W[k] - W[j]) / roots[k]
                rows.append(slope.ravel())
                per_sample.append(instance.counts[k])
    found = np.linalg.lstsq(np.array(rows).T, np.concatenate([W.ravel(), H.ravel()]))[0]
    return float(np.max(found / per_sample))


@cache
def small_decays(quick: bool = False) -> tuple[PlainSpecimen, ...]:
    """Minima of cross entropy at decays of a thousandth and a hundred-thousandth."""
    found = []
    for counts in ((6, 6, 1, 1), (3, 3, 3), (9, 4, 2))[: 2 if quick else None]:
        for decay in (1e-3, 1e-5):
            K, ratio = len(counts), 1.7
            pair = ratio * decay, decay / ratio
            model = UFM(CrossEntropy(), d=K, counts=counts, lambda_W=pair[0], lambda_H=pair[1])
            run = solve(model, key=jax.random.key(5))
            point = Point(np.asarray(run.point.W), np.asarray(run.point.H))
            found.append(Specimen(model, point, "minimiser", bool(run.result)))
    return tuple(found)


def _outside_limits(specimen: PlainSpecimen, power: float = 1.0) -> float:
    """How far the cost of margins lies outside of what SE-3 allows."""
    model, counts = specimen.model, np.array(specimen.model.counts_tuple, dtype=float)
    W, H, _ = specimen.full_point.to_numpy()
    labels, Z = np.asarray(model.labels), W @ H
    Z = Z[:, [int(np.argmax(labels == k)) for k in range(len(counts))]]
    least = min(Z[k, k] - Z[j, k] for k in range(len(Z)) for j in range(len(Z)) if j != k)
    norm = np.linalg.svd(Z * np.sqrt(counts), compute_uv=False).sum()
    cost, needed = float(norm / least), norm_of_simplex(counts**power)
    most = margins_at_most(model.num_classes, model.num_samples, model.sigma, needed)
    return max(0.0, cost / needed - most, 1 - cost / needed)


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


def margins_at_most(K: int, N: int, sigma: float, S: float) -> float:
    """What a margin costs at most beside simplex-encoded labels; inf where it says nothing."""
    alpha = np.log((K - 1) / (sigma * S))
    loss = N * sigma * S * (1 + alpha)
    return float((1 + alpha) / -np.log(np.expm1(loss))) if loss < np.log(2) else np.inf


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


def price(counts: Array) -> float:
    """The largest multiplier of one sample's margin: of the polar factor of (I - J/K) D^(1/2)."""
    n = np.asarray(counts, dtype=float)
    left, _, right = np.linalg.svd(np.diag(np.sqrt(n)) - np.sqrt(n) / len(n))
    polar = left[:, :-1] @ right[:-1]
    return float(np.max(-polar / np.sqrt(n)))


def _price_of_counts(counts: Array) -> float:
    return price(np.asarray(counts, dtype=float) ** 1.01)


def _grams_of_counts(counts: Array) -> tuple[Array, Array]:
    return grams_of_simplex(np.asarray(counts, dtype=float) ** 1.01)


def _norm_of_counts(counts: Array) -> float:
    return norm_of_simplex(np.asarray(counts, dtype=float) ** 1.01)


CLAIMS = (
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
    ),
    Claim(
        id="price-of-missing-margins",
        title="Margins: a finite price buys all of them",
        statement="Where a missing margin has a price, none is missed from the largest multiplier "
        "of a sample's margin on, which lies below 1: the minimum is that of hard margins.",
        latex=r"\max_{j\ne k}\,-U_{jk}/\sqrt{n_k},\quad PD^{1/2}=U\,|PD^{1/2}|",
        source="SE-2; derived here",
        region=sizes,
        check=Law(price, _largest_multiplier),
        tolerance=Tolerance(1e-5, "multipliers at points to the root of a programme to 1e-15"),
        mutant=Mutant("sizes to the power 1.01", Law(_price_of_counts, _largest_multiplier)),
        uses=("margins-of-unequal-classes",),
    ),
    Claim(
        id="small-decays-encode-simplices",
        title="Cross entropy: small decays lead to simplex-encoded labels",
        statement="What margins cost at the minimum of cross entropy is that of simplex-encoded "
        "labels at least, and tends to it as the decays vanish, like one over a logarithm.",
        latex=r"1\le\frac{\lVert ZD^{1/2}\rVert_\ast}{m\,S}\le\frac{1+\alpha}"
        r"{-\log(e^{N\sigma S(1+\alpha)}-1)},\quad\alpha=\log\tfrac{K-1}{\sigma S}",
        source="SE-3; after Thrampoulidis et al. (2022); the bound derived here",
        hypotheses=(CROSS_ENTROPY, NO_BIAS, ETF_FITS),
        region=small_decays,
        check=_outside_limits,
        tolerance=Tolerance(1e-9, "gradients of 1e-12 over curvatures of 1e-3 and more"),
        mutant=Mutant("sizes to the power 1.01", lambda s: _outside_limits(s, 1.01)),
        uses=("margins-of-unequal-classes",),
    ),
)
