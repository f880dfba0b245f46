"""Regression, the second model: its minimisers, dropped directions and strict saddles (X-11)."""

from __future__ import annotations

from functools import cache
from itertools import chain, combinations

import jax
import numpy as np

from landscape.solvers.solve import solve
from proofs_check.claim import COUNTING, Claim, Hypothesis, Mutant, Tolerance
from proofs_check.claims.imbalanced import split
from proofs_check.claims.mse import RANK
from proofs_check.instance import Specimen, index_of
from proofs_check.law import Law, miscount
from proofs_check.specimens import PlainSpecimen
from ufm.eigen import eigh
from ufm.models.regression import Regression
from ufm.point import Point
from ufm.typing import Array

TARGETS, SAMPLES, WIDTH = 3, 12, 4

REGULAR = Hypothesis(
    "lambda_W lambda_H is below every eigenvalue of the target covariance",
    lambda s: float(_variances(s.model)[-1]) > _product(s.model),
)
WIDE = Hypothesis("d >= n", lambda s: s.model.d >= len(s.model.targets))


def _product(model: Regression) -> float:
    return float(model.lambda_W) * float(model.lambda_H)


def _centred(model: Regression) -> Array:
    Y = np.asarray(model.targets)
    return np.asarray(Y - Y.mean(axis=1, keepdims=True))


def _variances(model: Regression) -> Array:
    """Eigenvalues of the target covariance, descending."""
    Y = _centred(model)
    return np.linalg.eigvalsh(Y @ Y.T / Y.shape[1])[::-1]


def _model(lambda_W: float, lambda_H: float, d: int = WIDTH, samples: int = SAMPLES) -> Regression:
    """Targets in R^3 whose covariance has eigenvalues near 2, 0.5 and 0.1."""
    rng = np.random.default_rng(4)
    Y = np.diag(np.sqrt([2.0, 0.5, 0.1])) @ rng.normal(size=(TARGETS, samples))
    mix = np.linalg.qr(rng.normal(size=(TARGETS, TARGETS)))[0]
    return Regression(mix @ Y + 1.5, d, lambda_W, lambda_H)


# lambda_W lambda_H below all variances; above one; above two; above all.
_DECAYS = ((0.05, 0.2), (0.02, 0.9), (0.3, 0.9), (0.5, 1.6), (1.5, 4.0))


@cache
def minima(quick: bool = False) -> tuple[PlainSpecimen, ...]:
    """Minima by descent from random starts, in all regimes of lambda_W lambda_H, d = 4 and 2."""
    found = []
    for d, samples in ((WIDTH, SAMPLES),) if quick else ((WIDTH, SAMPLES), (2, SAMPLES), (5, 7)):
        for seed, (lw, lh) in enumerate(_DECAYS):
            model = _model(lw, lh, d, samples)
            found.append(_run(model, seed, "newton", "minimiser"))
    return tuple(s for s in found if s.converged)


def _run(model: Regression, seed: int, method: str, kind: str) -> PlainSpecimen:
    run = solve(model, key=jax.random.key(seed), method=method)
    return Specimen(model, run.point.to_numpy(), kind, bool(run.result))


@cache
def critical_points(quick: bool = False) -> tuple[PlainSpecimen, ...]:
    """Every subset of kept directions in closed form, and critical points found from random starts.

    The second kind does not know the closed form.
    """
    found = []
    for i, (lw, lh) in enumerate(_DECAYS[: 2 if quick else 4]):
        model = _model(lw, lh, WIDTH + i % 2, SAMPLES - i)
        U, t, Vt = np.linalg.svd(_centred(model), full_matrices=False)
        cut = np.sqrt((SAMPLES - i) * _product(model))
        kept = [j for j in range(TARGETS) if t[j] > cut]
        for S in chain.from_iterable(combinations(kept, r) for r in range(len(kept) + 1)):
            found.append(Specimen(model, _subset_point(model, S, U, t, Vt), "closed form"))
        found += [_run(model, seed, "critical", "critical") for seed in range(1 if quick else 4)]
    variance = _variances(_model(1.0, 1.0))[1]
    for share in (1 - 9e-4, 1 + 9e-4):  # a direction that is just kept, or just not
        model = _model(float(share * variance / 0.9), 0.9)
        U, t, Vt = np.linalg.svd(_centred(model), full_matrices=False)
        for S in ((), (0,)):
            found.append(Specimen(model, _subset_point(model, S, U, t, Vt), "closed form"))
    return tuple(s for s in found if s.converged)


def _subset_point(model: Regression, kept: tuple[int, ...], U: Array, t: Array, Vt: Array) -> Point:
    S, M = list(kept), model.targets.shape[1]
    size = np.sqrt(t[S] - np.sqrt(M * _product(model)))
    ratio = (float(model.lambda_H) / (M * float(model.lambda_W))) ** 0.25
    W = np.pad(ratio * U[:, S] * size, ((0, 0), (0, model.d - len(S))))
    H = np.pad((Vt[S].T * size / ratio).T, ((0, model.d - len(S)), (0, 0)))
    return Point(W, H, np.asarray(model.targets).mean(axis=1))


def covariance(specimen: PlainSpecimen) -> Array:
    """Covariance of the targets (1/M)."""
    Y = _centred(specimen.model)
    return np.asarray(Y @ Y.T / Y.shape[1])


def power(matrix: Array, exponent: float) -> Array:
    """A power of a symmetric matrix."""
    values, vectors = eigh(matrix)
    return np.asarray((vectors * values**exponent) @ vectors.T)


def _reached(specimen: PlainSpecimen) -> tuple[Array, Array, Array]:
    """W W^T, what W^T and the targets make of H, and b."""
    W, H, b = specimen.point
    return W @ W.T, H, b


def minimiser(
    lambda_W: float, lambda_H: float, Sigma: Array, Y: Array, W: Array, mean: Array
) -> tuple[Array, Array, Array]:
    """W W^T, H and b of the paper."""
    c = lambda_W * lambda_H
    ratio = np.sqrt(lambda_H / lambda_W)
    gram = ratio * (power(Sigma, 1 / 2) - np.sqrt(c) * np.eye(len(Sigma)))
    return gram, W.T @ power(Sigma, -1 / 2) @ Y / ratio, mean


def _minimiser_without_root(
    lambda_W: float, lambda_H: float, Sigma: Array, Y: Array, W: Array, mean: Array
) -> tuple[Array, Array, Array]:
    gram, features, _ = minimiser(lambda_W, lambda_H, Sigma, Y, W, mean)
    c, ratio = lambda_W * lambda_H, np.sqrt(lambda_H / lambda_W)
    return gram + ratio * (np.sqrt(c) - c) * np.eye(len(Sigma)), features, mean


TARGET = {
    "Sigma": covariance,
    "Y": lambda s: _centred(s.model),
    "W": lambda s: s.point.W,
    "mean": lambda s: np.asarray(s.model.targets).mean(axis=1),
}


def _residual(specimen: PlainSpecimen) -> tuple[Array, float]:
    model, (W, H, b) = specimen.model, specimen.point
    residual = W @ H + b[:, None] - np.asarray(model.targets)
    return residual, float(model.objective(specimen.point))


def residual(lambda_W: float, lambda_H: float, Sigma: Array, Y: Array) -> tuple[Array, float]:
    """-sqrt c Sigma^(-1/2) (Y - mean), and n c/2 + sqrt c tr(Sigma^(1/2) - sqrt c I)."""
    c, n = lambda_W * lambda_H, len(Sigma)
    value = n * c / 2 + np.sqrt(c) * (np.trace(power(Sigma, 1 / 2)) - n * np.sqrt(c))
    return -np.sqrt(c) * power(Sigma, -1 / 2) @ Y, float(value)


def _not_whitened(lambda_W: float, lambda_H: float, Sigma: Array, Y: Array) -> tuple[Array, float]:
    whole = residual(lambda_W, lambda_H, Sigma, Y)
    return -np.sqrt(lambda_W * lambda_H) * Y, whole[1]


def _singular_values(specimen: PlainSpecimen) -> Array:
    return np.linalg.svd(specimen.point.W @ specimen.point.H, compute_uv=False)[:TARGETS]


def dropped(lambda_W: float, lambda_H: float, d: int, M: int, variances: Array) -> Array:
    """sqrt(M)(sqrt(lambda_j) - sqrt c)_+, the d largest only."""
    cut = np.sqrt(lambda_W * lambda_H)
    kept = np.arange(len(variances)) < d
    return kept * np.sqrt(M) * np.maximum(np.sqrt(variances) - cut, 0.0)


def _half_the_cut(lambda_W: float, lambda_H: float, d: int, M: int, variances: Array) -> Array:
    return dropped(lambda_W / 2, lambda_H / 2, d, M, variances)


VARIANCES = {
    "variances": lambda s: _variances(s.model),
    "M": lambda s: s.model.targets.shape[1],
    "values": lambda s: _singular_values(s),
}


def index(
    lambda_W: float, lambda_H: float, d: int, M: int, variances: Array, values: Array
) -> float:
    """Index from which directions are kept: zero only at a global minimum."""
    cut = np.sqrt(M * lambda_W * lambda_H)
    kept, free = split(np.sqrt(M * variances), values[values > RANK], cut)
    exchanges = sum(x > y for y in kept for x in free)
    return (d - len(kept)) * sum(x > cut for x in free) + exchanges


def _without_exchanges(
    lambda_W: float, lambda_H: float, d: int, M: int, variances: Array, values: Array
) -> float:
    cut = np.sqrt(M * lambda_W * lambda_H)
    kept, free = split(np.sqrt(M * variances), values[values > RANK], cut)
    return (d - len(kept)) * sum(x > cut for x in free)


def _strict(specimen: PlainSpecimen, lowest: bool = False) -> float:
    """Distance in f to the closed-form minimum where the dense Hessian shows no descent."""
    if index_of(specimen) and not lowest:
        return 0.0
    best = specimen.model.minimiser()
    return max(0.0, float(specimen.model.objective(specimen.point)) - best.value)


_POINT = Tolerance(
    1e-8, "gradient norm 1e-12 over the smallest curvature, lambda_H / M > 1e-2; factor 100"
)

CLAIMS = (
    Claim(
        id="regression-minimiser",
        title="Regression: the minimiser",
        statement=(
            "With c = lambda_W lambda_H below every variance of the targets, the classifier's "
            "Gram matrix is a shifted square root of the target covariance, the features are "
            "whitened targets seen through W, and the bias is the mean target."
        ),
        latex=r"WW^\top=\sqrt{\lambda_H/\lambda_W}\,(\Sigma^{1/2}-\sqrt c\,I),\quad "
        r"H=\sqrt{\lambda_W/\lambda_H}\,W^\top\Sigma^{-1/2}(Y-\bar Y),\quad b=\bar y",
        source="X-11; after Andriopoulos et al. (2024)",
        literature="proved",
        hypotheses=(REGULAR, WIDE),
        region=minima,
        check=Law(minimiser, _reached, TARGET),
        tolerance=_POINT,
        mutant=Mutant("c instead of sqrt c", Law(_minimiser_without_root, _reached, TARGET)),
    ),
    Claim(
        id="regression-residual",
        title="Regression: residual and minimum value",
        statement=(
            "The residual at the minimum is a whitened copy of the targets, of size sqrt c, and "
            "the value of the objective follows."
        ),
        latex=r"WH+b\mathbf 1^\top-Y=-\sqrt c\,\Sigma^{-1/2}(Y-\bar Y),\quad "
        r"f^*=\tfrac{nc}2+\sqrt c\,\mathrm{tr}(\Sigma^{1/2}-\sqrt c\,I)",
        source="X-11; after Andriopoulos et al. (2024)",
        literature="proved",
        hypotheses=(REGULAR, WIDE),
        region=minima,
        check=Law(residual, _residual, TARGET),
        tolerance=_POINT,
        mutant=Mutant("the residual not whitened", Law(_not_whitened, _residual, TARGET)),
        uses=("regression-minimiser",),
    ),
    Claim(
        id="regression-dropped-directions",
        title="Regression: directions of small variance are dropped",
        statement=(
            "At minima, directions of target variance at most lambda_W lambda_H are dropped, all "
            "of them above the largest variance; d < n keeps the d largest."
        ),
        latex=r"\sigma_j(WH)=\sqrt M\,(\sqrt{\lambda_j}-\sqrt{\lambda_W\lambda_H})_+",
        source="X-11; after Andriopoulos et al. (2024)",
        literature="proved",
        region=minima,
        check=Law(dropped, _singular_values, VARIANCES),
        tolerance=_POINT,
        mutant=Mutant("half the threshold", Law(_half_the_cut, _singular_values, VARIANCES)),
        uses=("regression-minimiser",),
    ),
    Claim(
        id="regression-index",
        title="Regression: index of every critical point",
        statement=(
            "A critical point that keeps a set S of r principal directions of the targets has an "
            "index counted by the directions above the threshold left out: zero only at global "
            "minima."
        ),
        latex=(
            r"(d-r)\,\#\{j\notin S:\lambda_j>c\}+\#\{(i,j):i\in S,j\notin S,\lambda_j>\lambda_i\}"
        ),
        source="X-11; after Andriopoulos et al. (2024)",
        region=critical_points,
        check=Law(index, index_of, VARIANCES, miscount),
        tolerance=COUNTING,
        mutant=Mutant(
            "the exchanges i, j left out",
            Law(_without_exchanges, index_of, VARIANCES, miscount),
        ),
    ),
    Claim(
        id="regression-strict-saddle",
        title="Regression: every critical point is a global minimum or a strict saddle",
        statement=(
            "Critical points without negative curvature have the value of the global minimum."
        ),
        latex=r"\nabla f=0,\ \nabla^2f\succeq0\Rightarrow f=f^*",
        source="X-11; after Andriopoulos et al. (2024)",
        literature="proved",
        region=critical_points,
        check=_strict,
        tolerance=Tolerance(1e-11, "values of order one, second order in the residual 1e-12"),
        mutant=Mutant("negative curvature ignored", lambda s: _strict(s, True)),
        uses=("regression-index",),
    ),
)
