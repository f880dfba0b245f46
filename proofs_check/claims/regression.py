"""Regression, the second model: its minimisers, dropped directions and strict saddles (X-11)."""

from __future__ import annotations

from collections.abc import Callable
from functools import cache
from itertools import chain, combinations

import jax
import numpy as np
from numpy.typing import NDArray

from landscape.solvers.solve import solve
from proofs_check.claim import Claim, Hypothesis, Mutant
from proofs_check.specimens import Region, Specimen
from ufm.models.regression import Regression
from ufm.point import Point

Array = NDArray[np.float64]
SUBJECT = "regression"
TARGETS, SAMPLES, WIDTH = 3, 12, 4
ZERO = 1e-8  # share of the largest |eigenvalue|; decays over M exceed 1e-3 of it

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


def _model(lambda_W: float, lambda_H: float, d: int = WIDTH) -> Regression:
    """Twelve targets in R^3 whose covariance has eigenvalues near 2, 0.5 and 0.1."""
    rng = np.random.default_rng(4)
    Y = np.diag(np.sqrt([2.0, 0.5, 0.1])) @ rng.normal(size=(TARGETS, SAMPLES))
    mix = np.linalg.qr(rng.normal(size=(TARGETS, TARGETS)))[0]
    return Regression(mix @ Y + 1.5, d, lambda_W, lambda_H)


# lambda_W lambda_H below all variances; above one; above two; above all.
_DECAYS = ((0.05, 0.2), (0.02, 0.9), (0.3, 0.9), (0.5, 1.6), (1.5, 4.0))


@cache
def minima(quick: bool = False) -> tuple[Specimen, ...]:
    """Minima by descent from random starts, in all regimes of lambda_W lambda_H, d = 4 and 2."""
    found = []
    for d in (WIDTH,) if quick else (WIDTH, 2):
        for seed, (lw, lh) in enumerate(_DECAYS):
            model = _model(lw, lh, d)
            found.append(_run(model, seed, "newton", "minimiser"))
    return tuple(s for s in found if s.converged)


def _run(model: Regression, seed: int, method: str, kind: str) -> Specimen:
    run = solve(model, key=jax.random.key(seed), method=method)
    return Specimen(model, run.point.to_numpy(), kind, bool(run.result))


@cache
def critical_points(quick: bool = False) -> tuple[Specimen, ...]:
    """Every subset of kept directions in closed form, and critical points found from random starts.

    The second kind does not know the closed form.
    """
    found = []
    for lw, lh in _DECAYS[: 2 if quick else 4]:
        model = _model(lw, lh)
        U, t, Vt = np.linalg.svd(_centred(model), full_matrices=False)
        cut = np.sqrt(SAMPLES * _product(model))
        kept = [j for j in range(TARGETS) if t[j] > cut]
        for S in chain.from_iterable(combinations(kept, r) for r in range(len(kept) + 1)):
            found.append(Specimen(model, _subset_point(model, S, U, t, Vt), "closed form"))
        found += [_run(model, seed, "critical", "critical") for seed in range(1 if quick else 4)]
    return tuple(s for s in found if s.converged)


def _subset_point(model: Regression, kept: tuple[int, ...], U: Array, t: Array, Vt: Array) -> Point:
    S = list(kept)
    size = np.sqrt(t[S] - np.sqrt(SAMPLES * _product(model)))
    ratio = (float(model.lambda_H) / (SAMPLES * float(model.lambda_W))) ** 0.25
    W = np.pad(ratio * U[:, S] * size, ((0, 0), (0, model.d - len(S))))
    H = np.pad((Vt[S].T * size / ratio).T, ((0, model.d - len(S)), (0, 0)))
    return Point(W, H, np.asarray(model.targets).mean(axis=1))


def _root(model: Regression, power: float) -> tuple[Array, float]:
    """Covariance to a power, and lambda_W lambda_H."""
    Y = _centred(model)
    values, vectors = np.linalg.eigh(Y @ Y.T / Y.shape[1])
    return (vectors * values**power) @ vectors.T, _product(model)


def _minimiser(specimen: Specimen, power: float = 0.5) -> float:
    """W W^T, H and b against the paper's formulas, relative to their sizes."""
    model, (W, H, b) = specimen.model, specimen.point
    half, c = _root(model, 0.5)
    ratio = np.sqrt(float(model.lambda_H) / float(model.lambda_W))
    gram = ratio * (half - c**power * np.eye(len(half)))
    features = W.T @ _root(model, -0.5)[0] @ _centred(model) / ratio
    mean = np.asarray(model.targets).mean(axis=1)
    errors = [np.linalg.norm(W @ W.T - gram), np.linalg.norm(H - features)]
    return float(max(*errors, np.linalg.norm(b - mean)))


def _residual(specimen: Specimen, power: float = -0.5) -> float:
    """Residual and objective: -sqrt c Sigma^(-1/2) (Y - mean), n c/2 + sqrt c tr(...)."""
    model, (W, H, b) = specimen.model, specimen.point
    half, c = _root(model, 0.5)
    residual = W @ H + b[:, None] - np.asarray(model.targets)
    expected = -np.sqrt(c) * _root(model, power)[0] @ _centred(model)
    n = len(half)
    value = n * c / 2 + np.sqrt(c) * float(np.trace(half) - n * np.sqrt(c))
    height = abs(float(model.objective(specimen.point)) - value)
    return max(float(np.linalg.norm(residual - expected)), height)


def _dropped(specimen: Specimen, factor: float = 1.0) -> float:
    """Singular values of W H: sqrt(M)(sqrt(lambda_j) - sqrt c)_+, the d largest only."""
    model = specimen.model
    cut = factor * np.sqrt(_product(model))
    expected = np.sqrt(SAMPLES) * np.maximum(np.sqrt(_variances(model)) - cut, 0.0)
    expected[model.d :] = 0.0
    found = np.linalg.svd(specimen.point.W @ specimen.point.H, compute_uv=False)[:TARGETS]
    return float(np.abs(found - expected).max())


def _index(specimen: Specimen, exchanges: bool = True) -> float:
    """Index from which directions are kept, against the dense Hessian.

    A global minimum has index zero; every other critical point is then a strict saddle.
    """
    model = specimen.model
    values = specimen.dense_eigenvalues
    observed = int(np.sum(values < -ZERO * np.abs(values).max()))
    t = list(np.sqrt(SAMPLES * _variances(model)))
    cut, kept = np.sqrt(SAMPLES * _product(model)), []
    for size in np.linalg.svd(specimen.point.W @ specimen.point.H, compute_uv=False):
        if size > 1e-6:
            kept.append(t.pop(int(np.argmin(np.abs(np.asarray(t) - cut - size)))))
    index = (model.d - len(kept)) * sum(x > cut for x in t)
    if exchanges:
        index += sum(x > y for y in kept for x in t)
    return float(abs(observed - index))


def _strict(specimen: Specimen, lowest: bool = False) -> float:
    """Distance in f to the closed-form minimum where the dense Hessian shows no descent."""
    values = specimen.dense_eigenvalues
    if values[0] < -ZERO * np.abs(values).max() and not lowest:
        return 0.0
    best = specimen.model.minimiser()
    return max(0.0, float(specimen.model.objective(specimen.point)) - best.value)


def _claim(
    id: str,
    title: str,
    statement: str,
    latex: str,
    hypotheses: tuple[Hypothesis, ...],
    region: Region,
    check: Callable[[Specimen], float],
    mutant: Mutant,
    tolerance: tuple[float, str],
    literature: str = "proved",
) -> Claim:
    return Claim(
        id=id,
        title=title,
        statement=statement,
        latex=latex,
        source="X-11; after Andriopoulos et al. (2024)",
        literature=literature,
        hypotheses=hypotheses,
        region=region,
        check=check,
        tolerance=tolerance[0],
        tolerance_source=tolerance[1],
        tier="T1",
        mutant=mutant,
        subject=SUBJECT,
    )


_POINT = (1e-8, "gradient norm 1e-12 over the smallest curvature, lambda_H / M > 1e-2; factor 100")

CLAIMS = (
    _claim(
        "regression-minimiser",
        "Regression: the minimiser",
        "With c = lambda_W lambda_H below every variance of the targets, the classifier's Gram "
        "matrix is a shifted square root of the target covariance, the features are whitened "
        "targets seen through W, and the bias is the mean target.",
        r"WW^\top=\sqrt{\lambda_H/\lambda_W}\,(\Sigma^{1/2}-\sqrt c\,I),\quad "
        r"H=\sqrt{\lambda_W/\lambda_H}\,W^\top\Sigma^{-1/2}(Y-\bar Y),\quad b=\bar y",
        (REGULAR, WIDE),
        minima,
        _minimiser,
        Mutant("c instead of sqrt c", lambda s: _minimiser(s, 1.0)),
        _POINT,
    ),
    _claim(
        "regression-residual",
        "Regression: residual and minimum value",
        "The residual at the minimum is a whitened copy of the targets, of size sqrt c, and the "
        "value of the objective follows.",
        r"WH+b\mathbf 1^\top-Y=-\sqrt c\,\Sigma^{-1/2}(Y-\bar Y),\quad "
        r"f^*=\tfrac{nc}2+\sqrt c\,\mathrm{tr}(\Sigma^{1/2}-\sqrt c\,I)",
        (REGULAR, WIDE),
        minima,
        _residual,
        Mutant("the residual not whitened", lambda s: _residual(s, 0.0)),
        _POINT,
    ),
    _claim(
        "regression-dropped-directions",
        "Regression: directions of small variance are dropped",
        "At minima, directions of target variance at most lambda_W lambda_H are dropped, all of "
        "them above the largest variance; d < n keeps the d largest.",
        r"\sigma_j(WH)=\sqrt M\,(\sqrt{\lambda_j}-\sqrt{\lambda_W\lambda_H})_+",
        (),
        minima,
        _dropped,
        Mutant("half the threshold", lambda s: _dropped(s, 0.5)),
        _POINT,
    ),
    _claim(
        "regression-index",
        "Regression: index of every critical point",
        "A critical point that keeps a set S of r principal directions of the targets has an index "
        "counted by the directions above the threshold left out: zero only at global minima.",
        r"(d-r)\,\#\{j\notin S:\lambda_j>c\}+\#\{(i,j):i\in S,j\notin S,\lambda_j>\lambda_i\}",
        (),
        critical_points,
        _index,
        Mutant("the exchanges i, j left out", lambda s: _index(s, False)),
        (0.005, "an integer: a miss by one is 200 tolerances"),
        "derived here",
    ),
    _claim(
        "regression-strict-saddle",
        "Regression: every critical point is a global minimum or a strict saddle",
        "Critical points without negative curvature have the value of the global minimum.",
        r"\nabla f=0,\ \nabla^2f\succeq0\Rightarrow f=f^*",
        (),
        critical_points,
        _strict,
        Mutant("negative curvature ignored", lambda s: _strict(s, True)),
        (1e-11, "values of order one, second order in the residual 1e-12"),
    ),
)
