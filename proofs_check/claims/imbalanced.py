"""Squared error with unequal classes: which a critical point keeps, its index, its frame."""

from __future__ import annotations

from functools import cache
from itertools import chain, combinations
from typing import Any

import jax
import numpy as np

from landscape.solvers.solve import solve
from proofs_check.claim import COUNTING, Claim, Mutant
from proofs_check.claims.mse import POINT, RANK, objective, product
from proofs_check.hypotheses import DISTINCT, FRAME_FITS, NO_BIAS, NO_REGULARISED_BIAS, SQUARED
from proofs_check.instance import Specimen, index_of
from proofs_check.law import Law, miscount
from proofs_check.specimens import PlainSpecimen, built_on, critical_specimens
from ufm.losses import MSE, CrossEntropy, Loss
from ufm.plain.model import UFM
from ufm.point import Point
from ufm.typing import Array


def target(model: UFM) -> Array:
    """T with f = |Z - T|^2 / (2N) + sigma |Z|_* + constant: diag(sqrt n), centred if lb = 0."""
    roots = np.sqrt(np.asarray(model.counts, dtype=float))
    T = np.diag(roots)
    if model.lambda_b is not None:
        T = T - np.outer(T @ roots, roots) / float(model.num_samples)
    return T


def _subset_point(model: UFM, subset: tuple[int, ...]) -> Point:
    """The critical point that keeps the classes of a subset: Z = diag(sqrt(n_k) - N sigma)."""
    K, ratio = model.num_classes, (float(model.lambda_H) / float(model.lambda_W)) ** 0.25
    W, H = np.zeros((K, model.d)), np.zeros((model.d, K))
    for column, k in enumerate(subset):
        size = np.sqrt(np.sqrt(float(model.counts[k])) - model.num_samples * model.sigma)
        W[k, column], H[column, k] = ratio * size, size / ratio
    return Point(W, H)


# (counts, d, lambda_W, lambda_H): sqrt(n_k) is no integer for one class at least.
_SUBSETS: tuple[tuple[tuple[int, ...], int, float, float], ...] = (
    ((3, 2, 1), 4, 8e-3, 5e-3),
    ((4, 1, 1), 4, 1.5e-2, 6e-3),
    ((3, 2, 1), 4, 0.2, 0.15),
    ((3, 2, 4, 1), 6, 8e-3, 5e-3),
    ((3, 2, 1), 2, 8e-3, 5e-3),
    ((5, 2), 3, 0.07, 0.02),
    ((2, 7, 3, 1, 5), 4, 4e-3, 9e-3),
)


@cache
def subset_specimens(quick: bool = False) -> tuple[PlainSpecimen, ...]:
    """Every subset of classes that can be kept, in closed form: K = 2 to 5, d below and above K."""
    found = []
    for counts, d, lw, lh in _SUBSETS[: 3 if quick else None]:
        model = UFM(MSE(), d=d, counts=counts, lambda_W=lw, lambda_H=lh)
        kept = [k for k, n in enumerate(counts) if np.sqrt(n) > model.num_samples * model.sigma]
        subsets = chain.from_iterable(combinations(kept, r) for r in range(min(d, len(kept)) + 1))
        found += [Specimen(model, _subset_point(model, S), "closed form") for S in subsets]
    return tuple(found)


@built_on(critical_specimens)
def _found_and_built(quick: bool) -> tuple[PlainSpecimen, ...]:
    return critical_specimens(quick) + subset_specimens(quick)


def _gradient(specimen: PlainSpecimen) -> float:
    """Norms of both gradients of the merged bias-free objective, by hand."""
    model = specimen.model
    W, H, _ = specimen.merged.as_merged(specimen.point)[1].to_numpy()
    G = (W @ H - target(model)) / float(model.num_samples)
    gradients = G @ H.T + float(model.lambda_W) * W, W.T @ G + float(model.lambda_H) * H
    return float(sum(np.linalg.norm(x) for x in gradients))


def _diagonal(specimen: PlainSpecimen) -> tuple[Array, float, float]:
    return product(specimen), objective(specimen), _gradient(specimen)


def kept_classes(specimen: PlainSpecimen) -> Array:
    """Which classes have their logits: a mask."""
    return np.asarray(np.diag(product(specimen)) > RANK, dtype=float)


def subset(counts: Array, lambda_W: float, lambda_H: float, kept: Array) -> tuple[Any, ...]:
    """Z = diag(sqrt(n_k) - N sigma) on the classes kept, its value, and no gradient."""
    N = counts.sum()
    s = kept * (np.sqrt(counts) - N * np.sqrt(lambda_W * lambda_H))
    return np.diag(s), 1 / 2 - float(np.sum(s**2)) / (2 * N), 0.0


def _subset_by_share(counts: Array, sigma: float, kept: Array) -> tuple[Any, ...]:
    N, roots = counts.sum(), np.sqrt(counts)
    s = kept * (roots - N * sigma * roots / roots.max())
    return np.diag(s), 1 / 2 - float(np.sum(s**2)) / (2 * N), 0.0


def _target_values(specimen: PlainSpecimen) -> Array:
    return np.asarray(np.linalg.svd(target(specimen.model), compute_uv=False))


def _values(specimen: PlainSpecimen) -> Array:
    found = np.linalg.svd(product(specimen), compute_uv=False)
    return np.asarray(found[found > RANK])


def index_from_target(
    t: Array, values: Array, d: int, N: int, lambda_W: float, lambda_H: float
) -> float:
    """Index from the singular values t of the target: kept, left out above the cut, exchanges."""
    cut = N * np.sqrt(lambda_W * lambda_H)
    kept, free = split(t, values, cut)
    exchanges = sum(x > y + RANK for y in kept for x in free)
    return (d - len(kept)) * sum(x > cut for x in free) + exchanges


def split(t: Array, values: Array, cut: float) -> tuple[list[float], list[float]]:
    """Singular values of the target that a point keeps, and the others."""
    kept, free = [], list(t)
    for value in values:
        kept.append(free.pop(int(np.argmin(np.abs(np.asarray(free) - cut - value)))))
    return kept, free


def _without_exchanges(t: Array, values: Array, d: int, N: int, sigma: float) -> float:
    kept, free = split(t, values, N * sigma)
    return (d - len(kept)) * sum(x > N * sigma for x in free)


TARGET = {"t": _target_values, "values": _values}


def _grams(specimen: PlainSpecimen) -> tuple[Array, Array]:
    W, H, _ = specimen.full_point.to_numpy()
    return W @ W.T, H.T @ H


def frame_norms(
    counts: Array, labels: Array, lambda_W: float, lambda_H: float
) -> tuple[Array, Array]:
    """X-6: Gram matrices of W and H."""
    N = counts.sum()
    norms = np.maximum(np.sqrt(counts * lambda_H / lambda_W) - N * lambda_H, 0.0)
    features = np.maximum(np.sqrt(lambda_W / (counts * lambda_H)) - N * lambda_W / counts, 0.0)
    same = labels[:, None] == labels[None, :]
    return np.diag(norms), same * features[labels][:, None]


def _half_the_cut(
    counts: Array, labels: Array, lambda_W: float, lambda_H: float
) -> tuple[Array, Array]:
    norms, features = frame_norms(counts, labels, lambda_W, lambda_H)
    return 1.01 * norms, features


@cache
def _frames(quick: bool = False) -> tuple[PlainSpecimen, ...]:
    """Minima by descent; two of them at decays that drop one class and two classes."""
    found = []
    cases: list[tuple[Loss, tuple[int, ...], float, float]] = [
        (MSE(), (2, 2, 2), 8e-3, 5e-3),
        (MSE(), (3, 2, 1), 0.2, 0.15),
        (MSE(), (4, 1, 1), 0.3, 0.2),
        (MSE(), (3, 2, 1), 0.05, 0.02),
        (MSE(), (5, 3), 0.04, 0.11),
        (MSE(), (2, 5, 1, 3), 0.03, 0.07),
        (CrossEntropy(), (2, 2, 2), 8e-3, 5e-3),
    ]
    for loss, counts, lw, lh in cases:
        model = UFM(loss, d=5, counts=counts, lambda_W=lw, lambda_H=lh)
        run = solve(model, key=jax.random.key(3), reduction=True)
        point = Point(*(None if x is None else np.asarray(x) for x in run.point))
        found.append(Specimen(model, point, "minimiser", bool(run.result)))
    return tuple(found)


CLAIMS = (
    Claim(
        id="mse-imbalanced-critical-set",
        title="Imbalanced MSE: one critical orbit for each subset of classes",
        statement=(
            "With classes of different sizes a critical point keeps a subset S of the classes "
            "with sqrt(n_k) > N sigma and separates them orthogonally; its value follows."
        ),
        latex=r"Z=\mathrm{diag}(\sqrt{n_k}-N\sigma)_{k\in S},\quad "
        r"f_S=\tfrac12-\sum_{k\in S}\frac{(\sqrt{n_k}-N\sigma)^2}{2N}",
        source="MSE-3; derived here",
        hypotheses=(SQUARED, DISTINCT, NO_BIAS),
        region=_found_and_built,
        check=Law(subset, _diagonal, {"kept": kept_classes}),
        tolerance=POINT,
        mutant=Mutant(
            "N sigma sqrt(n_k / max n) instead of N sigma",
            Law(_subset_by_share, _diagonal, {"kept": kept_classes}),
        ),
    ),
    Claim(
        id="mse-imbalanced-index",
        title="MSE: index from the singular values of the target",
        statement=(
            "With t the singular values of the (centred) target, a critical point that keeps some"
            " of them has index (d - r) times the number of others above N sigma, plus one for "
            "each larger value left out in favour of a smaller one: any counts, no bias or "
            "lambda_b = 0."
        ),
        latex=r"(d-r)\,\#\{j\notin S:t_j>N\sigma\}+\#\{(i,j):i\in S,j\notin S,t_j>t_i\}",
        source="MSE-3; derived here",
        hypotheses=(SQUARED, NO_REGULARISED_BIAS),
        region=_found_and_built,
        check=Law(index_from_target, index_of, TARGET, miscount),
        tolerance=COUNTING,
        mutant=Mutant(
            "the exchanges i, j left out", Law(_without_exchanges, index_of, TARGET, miscount)
        ),
        uses=("mse-imbalanced-critical-set",),
    ),
    Claim(
        id="mse-orthogonal-frame",
        title="Imbalanced MSE: an orthogonal frame with unequal norms",
        statement=(
            "At minimisers with d >= K classifiers and features are orthogonal with explicit "
            "norms; class k vanishes once N^2 lambda_W lambda_H >= n_k."
        ),
        latex=r"|w_k|^2=\bigl(\sqrt{n_k\lambda_H/\lambda_W}-N\lambda_H\bigr)_+,\quad "
        r"|h_k|^2=\Bigl(\sqrt{\tfrac{\lambda_W}{n_k\lambda_H}}-\tfrac{N\lambda_W}{n_k}\Bigr)_+",
        source="X-6; after Dang et al. (2023)",
        literature="recalled",
        hypotheses=(SQUARED, NO_BIAS, FRAME_FITS),
        region=_frames,
        check=Law(frame_norms, _grams),
        tolerance=POINT,
        mutant=Mutant("norms of W one per cent larger", Law(_half_the_cut, _grams)),
        uses=("minimiser-mse",),
    ),
)
