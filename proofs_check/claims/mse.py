"""Mean squared error: the whole critical set, its indices, and orthogonal frames."""

from __future__ import annotations

from collections.abc import Callable
from functools import cache
from itertools import chain, combinations

import jax
import numpy as np
from numpy.typing import NDArray

from landscape.solvers.solve import solve
from proofs_check.claim import Claim, Hypothesis, Mutant
from proofs_check.claims.spectra import BIAS_FREE, EQUAL_COUNTS, FULL_FRAME, SQUARED
from proofs_check.specimens import Region, Specimen, built_on, critical_specimens
from ufm.losses import MSE, CrossEntropy, Loss
from ufm.plain.model import UFM
from ufm.point import Point

Array = NDArray[np.float64]
SUBJECT = "mean squared error"
INTEGER = 0.005
INTEGER_SOURCE = "an integer: a miss by one is 200 tolerances"
# Zero eigenvalues of points with residual 1e-12 stay below 1e-9; decays are at least 4e-3.
ZERO = 1e-7
RANK = 1e-6

DISTINCT = Hypothesis(
    "the classes have different sizes",
    lambda s: len(set(s.model.counts_tuple)) == s.model.num_classes,
)
NO_PENALISED_BIAS = Hypothesis("no bias, or lambda_b = 0", lambda s: not s.model.lambda_b)


def product(specimen: Specimen) -> Array:
    """Z = W Hbar, the merged logits without bias (K, K)."""
    point = specimen.merged.as_merged(specimen.point)[1]
    return np.asarray(point.W) @ np.asarray(point.H)


def rank(specimen: Specimen) -> int:
    """Rank of W H at a polished point: its singular values are O(1) or rounding."""
    return int(np.sum(np.linalg.svd(product(specimen), compute_uv=False) > RANK))


def signs(specimen: Specimen) -> tuple[int, int]:
    """(index, nullity) counted in the dense Hessian of the full problem."""
    values = specimen.dense_eigenvalues
    zero = ZERO * float(np.abs(values).max())
    return int(np.sum(values < -zero)), int(np.sum(np.abs(values) <= zero))


def target(model: UFM) -> Array:
    """T with f = |Z - T|^2 / (2N) + sigma |Z|_* + constant: diag(sqrt n), centred if lb = 0."""
    roots = np.sqrt(np.asarray(model.counts, dtype=float))
    T = np.diag(roots)
    if model.lambda_b is not None:
        T = T - np.outer(T @ roots, roots) / float(model.num_samples)
    return T


def objective(specimen: Specimen) -> float:
    """f of MSE in plain NumPy from merged columns."""
    model = specimen.model
    W, H, b = specimen.merged.as_merged(specimen.point)[1].to_numpy()
    counts = np.asarray(model.counts, dtype=float)
    Z = W @ H / np.sqrt(counts) + (0.0 if b is None else b[:, None])
    fit = float(np.sum(counts * np.sum((Z - np.eye(len(counts))) ** 2, axis=0)))
    decay = float(model.lambda_W) * np.sum(W**2) + float(model.lambda_H) * np.sum(H**2)
    return 0.5 * (fit / float(model.num_samples) + float(decay))


def _level(specimen: Specimen, power: int = 2) -> float:
    K, c = specimen.model.num_classes, specimen.model.c
    return abs(objective(specimen) - 0.5 + rank(specimen) * (1 - c) ** power / (2 * K))


def _projector(specimen: Specimen, power: int = 1) -> float:
    model = specimen.model
    Pi = product(specimen) / (np.sqrt(model.n) * (1 - model.c**power))
    return float(np.linalg.norm(Pi - Pi.T) + np.linalg.norm(Pi @ Pi - Pi))


def _index(specimen: Specimen, extra: int = 0) -> float:
    model, r = specimen.model, rank(specimen)
    expected = (model.num_classes - r + extra) * (model.d - r)
    return float(abs(signs(specimen)[0] - expected))


def _nullity(specimen: Specimen, grassmannian: bool = True) -> float:
    model, r = specimen.model, rank(specimen)
    expected = r * (r - 1) // 2 + r * (model.d - r)
    expected += r * (model.num_classes - r) if grassmannian else 0
    return float(abs(signs(specimen)[1] - expected))


def _subset_point(model: UFM, subset: tuple[int, ...]) -> Point:
    """The critical point that keeps the classes of a subset: Z = diag(sqrt(n_k) - N sigma)."""
    K, ratio = model.num_classes, (float(model.lambda_H) / float(model.lambda_W)) ** 0.25
    W, H = np.zeros((K, model.d)), np.zeros((model.d, K))
    for column, k in enumerate(subset):
        size = np.sqrt(np.sqrt(float(model.counts[k])) - model.num_samples * model.sigma)
        W[k, column], H[column, k] = ratio * size, size / ratio
    return Point(W, H)


@cache
def subset_specimens(quick: bool = False) -> tuple[Specimen, ...]:
    """Every subset of classes that can be kept, in closed form: (3,2,1), (4,1,1), (3,2,4,1)."""
    cases: list[tuple[tuple[int, ...], int, float, float]]
    cases = [((3, 2, 1), 4, 8e-3, 5e-3), ((4, 1, 1), 4, 1.5e-2, 6e-3), ((3, 2, 1), 4, 0.2, 0.15)]
    if not quick:
        cases += [((3, 2, 4, 1), 6, 8e-3, 5e-3), ((3, 2, 1), 2, 8e-3, 5e-3)]
    found = []
    for counts, d, lw, lh in cases:
        model = UFM(MSE(), d=d, counts=counts, lambda_W=lw, lambda_H=lh)
        kept = [k for k, n in enumerate(counts) if np.sqrt(n) > model.num_samples * model.sigma]
        subsets = chain.from_iterable(combinations(kept, r) for r in range(min(d, len(kept)) + 1))
        found += [Specimen(model, _subset_point(model, S), "closed form") for S in subsets]
    return tuple(found)


@built_on(critical_specimens)
def _found_and_built(quick: bool) -> tuple[Specimen, ...]:
    return critical_specimens(quick) + subset_specimens(quick)


def _gradient(specimen: Specimen) -> float:
    """Norms of both gradients of the merged bias-free objective, by hand."""
    model = specimen.model
    W, H, _ = specimen.merged.as_merged(specimen.point)[1].to_numpy()
    G = (W @ H - target(model)) / float(model.num_samples)
    gradients = G @ H.T + float(model.lambda_W) * W, W.T @ G + float(model.lambda_H) * H
    return float(sum(np.linalg.norm(x) for x in gradients))


def _subset(specimen: Specimen, share: float = 0.0) -> float:
    """|Z - diag(s)| with s_k = sqrt(n_k) - N sigma on the classes kept, f, and the gradient."""
    model, Z = specimen.model, product(specimen)
    roots, N = np.sqrt(np.asarray(model.counts, dtype=float)), float(model.num_samples)
    kept = np.diag(Z) > RANK
    cut = N * model.sigma * ((1 - share) + share * roots / roots.max())
    s = np.where(kept, roots - cut, 0.0)
    value = 0.5 - float(np.sum(s**2)) / (2 * N)
    misfit = float(np.linalg.norm(Z - np.diag(s)))
    return max(misfit, abs(objective(specimen) - value), _gradient(specimen))


def _threshold_index(specimen: Specimen, exchanges: bool = True) -> float:
    """Index from the singular values t of T: which are kept, which could be, which are larger."""
    model = specimen.model
    t = np.linalg.svd(target(model), compute_uv=False)
    cut = float(model.num_samples) * model.sigma
    kept: list[float] = []
    free = list(t)
    for value in np.linalg.svd(product(specimen), compute_uv=False):
        if value > RANK:
            kept.append(free.pop(int(np.argmin(np.abs(np.asarray(free) - cut - value)))))
    index = (model.d - len(kept)) * sum(x > cut for x in free)
    if exchanges:
        index += sum(x > y * (1 + RANK) for y in kept for x in free)
    return float(abs(signs(specimen)[0] - index))


def _orthogonal_frame(specimen: Specimen, weight: float = 1.0) -> float:
    """Gram matrices of W and H against X-6; ``weight`` multiplies N lambda_H."""
    model = specimen.model
    W, H, _ = specimen.full_point.to_numpy()
    counts, N = np.asarray(model.counts, dtype=float), float(model.num_samples)
    lw, lh = float(model.lambda_W), float(model.lambda_H)
    labels = np.asarray(model.labels)
    norms = np.maximum(np.sqrt(counts * lh / lw) - weight * N * lh, 0.0)
    features = np.maximum(np.sqrt(lw / (counts * lh)) - weight * N * lw / counts, 0.0)
    same = labels[:, None] == labels[None, :]
    gram = np.where(same, features[labels][:, None], 0.0)
    return float(np.linalg.norm(W @ W.T - np.diag(norms)) + np.linalg.norm(H.T @ H - gram))


@cache
def _frames(quick: bool = False) -> tuple[Specimen, ...]:
    """Minima by descent; two of them at decays that drop one class and two classes."""
    found = []
    cases: list[tuple[Loss, tuple[int, ...], float, float]] = [
        (MSE(), (2, 2, 2), 8e-3, 5e-3),
        (MSE(), (3, 2, 1), 0.2, 0.15),
        (MSE(), (4, 1, 1), 0.3, 0.2),
        (MSE(), (3, 2, 1), 0.05, 0.02),
        (CrossEntropy(), (2, 2, 2), 8e-3, 5e-3),
    ]
    for loss, counts, lw, lh in cases:
        model = UFM(loss, d=5, counts=counts, lambda_W=lw, lambda_H=lh)
        run = solve(model, key=jax.random.key(3), reduction=True)
        point = Point(*(None if x is None else np.asarray(x) for x in run.point))
        found.append(Specimen(model, point, "minimiser", bool(run.result)))
    return tuple(found)


@cache
def _narrow_minima(quick: bool = False) -> tuple[Specimen, ...]:
    """Minima of bias-free MSE with d = K - 1, from random starts."""
    found = []
    for seed in range(2 if quick else 4):
        model = UFM(MSE(), 3, 2, 2, lambda_W=8e-3 * (1 + seed), lambda_H=5e-3)
        run = solve(model, key=jax.random.key(seed))
        point = Point(*(None if x is None else np.asarray(x) for x in run.point))
        found.append(Specimen(model, point, "minimiser", bool(run.result)))
    return tuple(found)


def _distance(specimen: Specimen, shape: Array) -> float:
    """Relative distance of Z to the multiples of a matrix."""
    Z, unit = product(specimen), shape / np.linalg.norm(shape)
    return float(np.linalg.norm(Z - np.sum(Z * unit) * unit) / np.linalg.norm(Z))


def _simplex(specimen: Specimen) -> float:
    K = specimen.model.num_classes
    return _distance(specimen, np.eye(K) - 1 / K)


def _claim(
    id: str,
    title: str,
    statement: str,
    latex: str,
    source: str,
    hypotheses: tuple[Hypothesis, ...],
    region: Region,
    check: Callable[[Specimen], float],
    mutant: Mutant,
    tolerance: tuple[float, str],
    literature: str = "derived here",
    holds: bool = True,
) -> Claim:
    return Claim(
        id=id,
        title=title,
        statement=statement,
        latex=latex,
        source=source,
        literature=literature,
        hypotheses=hypotheses,
        region=region,
        check=check,
        tolerance=tolerance[0],
        tolerance_source=tolerance[1],
        tier="T1",
        mutant=mutant,
        holds=holds,
        subject=SUBJECT,
    )


_VALUE = (1e-12, "f is of order one and second order in the residual 1e-12: rounding only")
_POINT = (1e-8, "gradient norm 1e-12 over the smallest decay 4e-3 and times |x|, factor ten")
_COUNT = (INTEGER, INTEGER_SOURCE)
_BALANCED = (SQUARED, EQUAL_COUNTS, BIAS_FREE)

CLAIMS = (
    _claim(
        "mse-critical-values",
        "MSE: critical values",
        "Every critical point of balanced bias-free MSE lies on one of K + 1 levels, one for each "
        "rank r.",
        r"f_r=\tfrac12-\frac{r}{2K}(1-c)^2",
        "MSE-3; after Zhou et al. (2022)",
        _BALANCED,
        critical_specimens,
        _level,
        Mutant("(1 - c) to the first power", lambda s: _level(s, 1)),
        _VALUE,
    ),
    _claim(
        "mse-critical-projectors",
        "MSE: critical matrices are projectors",
        "At every critical point of balanced bias-free MSE the class logits are 1 - c times an "
        "orthogonal projector: all nonzero singular values are equal.",
        r"\bar Z=(1-c)\,\Pi,\quad\Pi=\Pi^\top=\Pi^2",
        "MSE-3; after Zhou et al. (2022)",
        _BALANCED,
        critical_specimens,
        _projector,
        Mutant("1 - c^2 instead of 1 - c", lambda s: _projector(s, 2)),
        _POINT,
    ),
    _claim(
        "mse-index",
        "MSE: index of every critical point",
        "A critical point of rank r of balanced bias-free MSE has Morse index (K - r)(d - r): all "
        "but the global minima are strict saddles, for every d.",
        r"\mathrm{index}=(K-r)(d-r)",
        "MSE-3; derived here",
        _BALANCED,
        critical_specimens,
        _index,
        Mutant("index (K - 1 - r)(d - r), as for cross entropy", lambda s: _index(s, -1)),
        _COUNT,
    ),
    _claim(
        "mse-nullity",
        "MSE: zero modes of every critical point",
        "The zero modes are the rotations of the features and a Grassmannian of projectors.",
        r"\mathrm{nullity}=\tfrac{r(r-1)}2+r(d-r)+r(K-r)",
        "MSE-3, A-2; derived here",
        _BALANCED,
        critical_specimens,
        _nullity,
        Mutant("the Grassmannian r(K - r) left out", lambda s: _nullity(s, False)),
        _COUNT,
    ),
    _claim(
        "mse-imbalanced-critical-set",
        "Imbalanced MSE: one critical orbit for each subset of classes",
        "With classes of different sizes a critical point keeps a subset S of the classes with "
        "sqrt(n_k) > N sigma and separates them orthogonally; its value follows.",
        r"Z=\mathrm{diag}(\sqrt{n_k}-N\sigma)_{k\in S},\quad "
        r"f_S=\tfrac12-\sum_{k\in S}\frac{(\sqrt{n_k}-N\sigma)^2}{2N}",
        "MSE-3; derived here",
        (SQUARED, DISTINCT, BIAS_FREE),
        _found_and_built,
        _subset,
        Mutant("N sigma sqrt(n_k / max n) instead of N sigma", lambda s: _subset(s, 1.0)),
        _POINT,
    ),
    _claim(
        "mse-imbalanced-index",
        "MSE: index from the singular values of the target",
        "With t the singular values of the (centred) target, a critical point that keeps some of "
        "them has index (d - r) times the number of others above N sigma, plus one for each larger "
        "value left out in favour of a smaller one: any counts, no bias or lambda_b = 0.",
        r"(d-r)\,\#\{j\notin S:t_j>N\sigma\}+\#\{(i,j):i\in S,j\notin S,t_j>t_i\}",
        "MSE-3; derived here",
        (SQUARED, NO_PENALISED_BIAS),
        _found_and_built,
        _threshold_index,
        Mutant("the exchanges i, j left out", lambda s: _threshold_index(s, False)),
        _COUNT,
    ),
    _claim(
        "mse-orthogonal-frame",
        "Imbalanced MSE: an orthogonal frame with unequal norms",
        "At minimisers with d >= K classifiers and features are orthogonal with explicit norms; "
        "class k vanishes once N^2 lambda_W lambda_H >= n_k.",
        r"|w_k|^2=\bigl(\sqrt{n_k\lambda_H/\lambda_W}-N\lambda_H\bigr)_+,\quad "
        r"|h_k|^2=\Bigl(\sqrt{\tfrac{\lambda_W}{n_k\lambda_H}}-\tfrac{N\lambda_W}{n_k}\Bigr)_+",
        "X-6; after Dang et al. (2023)",
        (SQUARED, BIAS_FREE, FULL_FRAME),
        _frames,
        _orthogonal_frame,
        Mutant("N lambda halved", lambda s: _orthogonal_frame(s, 0.5)),
        _POINT,
        "recalled",
    ),
    _claim(
        "mse-simplex-without-bias",
        "Refuted: bias-free MSE with d = K - 1 gives a simplex",
        "FALSE: without bias the minimisers of MSE with d = K - 1 form a simplex equiangular tight "
        "frame. They are (1 - c) times an arbitrary projector of rank K - 1.",
        r"\bar Z\propto I-\tfrac1K\mathbf 1\mathbf 1^\top",
        "MSE-1; derived here",
        (SQUARED, BIAS_FREE),
        _narrow_minima,
        _simplex,
        Mutant(
            "an orthogonal frame instead of a simplex",
            lambda s: _distance(s, np.eye(s.model.num_classes)),
        ),
        (1e-6, "relative distance; minima are known to 1e-9"),
        "refuted",
        False,
    ),
)
