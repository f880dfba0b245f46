"""Equilibrium layers: all critical points of squared error, and on which side of I - V they lie."""

from __future__ import annotations

from functools import cache

import numpy as np
from numpy.typing import NDArray
from scipy.optimize import least_squares

from proofs_check.claim import Claim, Hypothesis, Mutant, Tolerance
from proofs_check.claims.equilibrium import diverging, height
from proofs_check.claims.equilibrium_blocks import gradient
from proofs_check.hypotheses import SQUARED
from proofs_check.instance import Specimen
from proofs_check.law import Law
from proofs_check.redraw import redrawn_by
from proofs_check.specimens import PlainSpecimen
from ufm.losses import MSE, CrossEntropy, Loss
from ufm.models.equilibrium import Equilibrium, Layer, equilibrium
from ufm.typing import Array

SOURCE = "DQ-5; derived here"
STEP = 1e-4  # of central differences of a gradient: truncation 1e-8, rounding 1e-12
MOST = 700  # gradients: thirty steps or more of up to 24 differences
KEPT = 1e-4  # logits; those that are not zero exceed 1e-2
SLACK = 1e-6  # eigenvalues that differences know to 1e-8

# Loss, counts, d, and the three decays.
_FOUND: tuple[tuple[Loss, tuple[int, ...], int, float, float, float], ...] = (
    (MSE(), (2, 1), 3, 0.05, 0.3, 0.06),
    (CrossEntropy(), (1, 1, 1), 2, 0.02, 0.9, 0.03),
)
# Counts, d, decays and the classes that are kept; the fit bends more than the penalty.
_SUBSETS: tuple[tuple[tuple[int, ...], int, float, float, float, tuple[int, ...]], ...] = (
    ((3, 1, 2), 4, 0.05, 0.3, 0.06, (0, 1, 2)),
    ((3, 1, 2), 4, 0.05, 0.3, 0.06, (0, 2)),
    ((3, 1, 2), 4, 0.05, 0.3, 0.06, (0, 1)),
    ((3, 1, 2), 4, 0.05, 0.3, 0.06, (1,)),
    ((5, 2), 3, 0.04, 0.6, 0.11, (1,)),
    ((4, 2, 1), 3, 0.2, 2.0, 0.21, ()),
)
# Counts, d and decays where the penalty bends more than the fit and zero is a minimum.
_ORIGINS: tuple[tuple[tuple[int, ...], int, float, float, float], ...] = (
    ((1, 1), 2, 0.6, 0.3, 0.7),
    ((2, 2, 2), 4, 0.4, 0.2, 0.3),
)


def _critical(model: Equilibrium, seed: int) -> PlainSpecimen | None:
    """Least squares on the gradient, from starts on both sides of a singular I - V."""
    rng, (K, d) = np.random.default_rng((97, seed)), (model.num_classes, model.d)
    shapes = (K, d), (d, d), (d, len(model.labels))
    scales = (1.0, (0.1, 1.5)[seed % 2], 1.0)
    drawn = [c * rng.normal(size=s).ravel() for c, s in zip(scales, shapes, strict=True)]
    blank = Specimen(model, Layer(*(np.zeros(s) for s in shapes)), "critical")
    x, finest = np.concatenate(drawn), {"xtol": 1e-15, "ftol": 1e-15, "gtol": 1e-15}
    run = least_squares(lambda y: gradient(blank, y), x, method="lm", max_nfev=MOST, **finest)
    cuts = np.cumsum([np.prod(s) for s in shapes])[:-1]
    parts = zip(np.split(run.x, cuts), shapes, strict=True)
    point = Layer(*(part.reshape(s) for part, s in parts))
    good = np.abs(run.fun).max() < 1e-12 and np.abs(point.V).max() > KEPT
    return Specimen(model, point, "critical") if good else None


def _critical_again(listed: PlainSpecimen, model: Equilibrium, seed: int) -> PlainSpecimen | None:
    del listed
    return _critical(model, seed)


@redrawn_by(_critical_again)
@cache
def found(quick: bool = False) -> tuple[PlainSpecimen, ...]:
    """Critical points from random starts, also from layers with eigenvalues beyond 1."""
    kept = []
    for loss, counts, d, *decays in _FOUND[: 1 if quick else None]:
        model = equilibrium(loss, 2, d, 1, decays[0], decays[1], decays[2], counts)
        runs = (_critical(model, seed) for seed in range(3))
        kept += [run for run in runs if run is not None]
    return tuple(kept)


def _keeping(model: Equilibrium, kept: tuple[int, ...]) -> PlainSpecimen | None:
    """The critical point that keeps some classes, at firm thresholding; the others are at zero."""
    counts = np.array(model.counts_tuple, dtype=float)
    root, N = np.sqrt(counts), counts.sum()
    bent = 1 - N * model.sigma**2 / float(model.lambda_V)
    sizes = np.where(np.isin(np.arange(len(counts)), kept), (root - N * model.sigma) / bent, 0.0)
    if sizes.min() < 0 or model.sigma * sizes.max() >= float(model.lambda_V):
        return None
    merge = model.merge()
    if merge is None:
        raise RuntimeError("the model has all its samples")
    point = merge.lift(model.aligned_point(np.diag(sizes)))
    return Specimen(model, point, "critical", note=",".join(map(str, kept)))


def _kept_again(listed: PlainSpecimen, model: Equilibrium, seed: int) -> PlainSpecimen | None:
    del seed
    return _keeping(model, tuple(int(k) for k in listed.note.split(",") if k))


@redrawn_by(_kept_again)
@cache
def subsets(quick: bool = False) -> tuple[PlainSpecimen, ...]:
    """Critical points of squared error that keep some classes: all, some, the smallest, none."""
    made = []
    for counts, d, *decays, kept in _SUBSETS[:: 2 if quick else 1]:
        model = equilibrium(MSE(), 2, d, 1, decays[0], decays[1], decays[2], counts)
        made.append(_keeping(model, kept))
    return tuple(specimen for specimen in made if specimen is not None)


def _origin(listed: PlainSpecimen | None, model: Equilibrium, seed: int) -> PlainSpecimen:
    del listed, seed
    K, d = model.num_classes, model.d
    point = Layer(np.zeros((K, d)), np.zeros((d, d)), np.zeros((d, len(model.labels))))
    return Specimen(model, point, "origin")


@redrawn_by(_origin)
@cache
def origins(quick: bool = False) -> tuple[PlainSpecimen, ...]:
    """Zero, where the penalty bends more than the fit."""
    made = []
    for counts, d, *decays in _ORIGINS:
        model = equilibrium(MSE(), 2, d, 1, decays[0], decays[1], decays[2], counts)
        made.append(_origin(None, model, 0))
    return tuple(made)


def _eigenvalues(specimen: PlainSpecimen) -> Array:
    """Of the dense Hessian, by differences of the gradient by hand."""
    x = np.concatenate([np.ravel(part) for part in specimen.point])
    rows = [
        (gradient(specimen, x + STEP * e) - gradient(specimen, x - STEP * e)) / (2 * STEP)
        for e in np.eye(len(x))
    ]
    return np.asarray(np.linalg.eigvalsh((np.array(rows) + np.array(rows).T) / 2))


def _layer(specimen: PlainSpecimen) -> tuple[Array, float]:
    """Eigenvalues of V, and how far it is from symmetric."""
    V = np.asarray(specimen.point.V)
    return np.linalg.eigvalsh((V + V.T) / 2), float(np.abs(V - V.T).max())


def _features(specimen: PlainSpecimen) -> Array:
    """Eigenvalues of H H^T, ascending."""
    V, X = np.asarray(specimen.point.V), np.asarray(specimen.point.X)
    H = np.linalg.solve(np.eye(len(V)) - V, X)
    return np.asarray(np.linalg.eigvalsh(H @ H.T))


def _height_and_index(specimen: PlainSpecimen) -> Array:
    index = int(np.sum(specimen.once(_eigenvalues) < -SLACK))
    return np.array([height(specimen), index])


def _kept(specimen: PlainSpecimen) -> NDArray[np.bool_]:
    """Classes whose own logit is not zero."""
    W, V, X = specimen.point
    Z, labels = W @ np.linalg.solve(np.eye(len(V)) - V, X), np.asarray(specimen.model.labels)
    return np.array([abs(Z[k, labels == k].mean()) > KEPT for k in range(len(W))])


def _spurious(specimen: PlainSpecimen) -> float:
    """By how much a point without negative curvature lies above one of diverging scale."""
    far = diverging(specimen.model, np.eye(specimen.model.num_classes))
    lower = height(specimen) - height(Specimen(specimen.model, far, "closed form"))
    return max(0.0, lower) if specimen.once(_eigenvalues)[0] > -SLACK else 0.0


# ---- formulas


def layer(lambda_V: float, lambda_X: float, s: Array) -> tuple[Array, float]:
    """The ridge regression of features on features: lambda_X s / (lambda_X s + lambda_V)."""
    return lambda_X * s / (lambda_X * s + lambda_V), 0.0


def _layer_without_features(lambda_V: float, lambda_X: float, s: Array) -> tuple[Array, float]:
    return lambda_X * s / lambda_V, 0.0


def value_and_index(
    d: int,
    lambda_W: float,
    lambda_V: float,
    lambda_X: float,
    kept: NDArray[np.bool_],
    counts: Array,
) -> Array:
    """What every kept class saves; directions down for every class that is not kept."""
    N, sigma, root = counts.sum(), np.sqrt(lambda_W * lambda_X), np.sqrt(counts)
    excess = root - N * sigma
    saved = excess[kept] ** 2 / (1 - N * sigma**2 / lambda_V)
    free = d - int(kept.sum())
    missing = [k for k in np.flatnonzero(~kept) if excess[k] > 0]
    index = sum(free + int(np.sum(counts[kept] < counts[k])) for k in missing)
    return np.array([(1 - saved.sum() / N) / 2, index])


def _only_unused_dimensions(
    d: int,
    lambda_W: float,
    lambda_V: float,
    lambda_X: float,
    kept: NDArray[np.bool_],
    counts: Array,
) -> Array:
    told = value_and_index(d, lambda_W, lambda_V, lambda_X, kept, counts)
    excess = np.sqrt(counts) - counts.sum() * np.sqrt(lambda_W * lambda_X)
    return np.array([told[0], (d - kept.sum()) * np.sum(excess[~kept] > 0)])


BENT = Hypothesis(
    "the fit bends more than the penalty, and no class is at its threshold",
    lambda s: _share_of_bend(s) < 1 - 1e-3 and _distance_from_threshold(s) > 1e-3,
)


def _share_of_bend(specimen: PlainSpecimen) -> float:
    model = specimen.model
    return float(sum(model.counts_tuple) * model.sigma**2 / float(model.lambda_V))


def _distance_from_threshold(specimen: PlainSpecimen) -> float:
    counts = np.array(specimen.model.counts_tuple, dtype=float)
    excess = np.sqrt(counts) / counts.sum() - specimen.model.sigma
    apart = np.abs(np.subtract.outer(np.sqrt(counts), np.sqrt(counts)))
    close = apart[apart > 0].min(initial=1.0)
    return float(min(np.abs(excess).min(), close))


CLAIMS = (
    Claim(
        id="equilibrium-near-side",
        title="Equilibrium layers: no critical point has a layer with an eigenvalue of 1 or more",
        statement="At every critical point, saddles included and for any loss, V is the ridge "
        "regression of features on features: symmetric, with eigenvalues from 0 to below 1.",
        latex=r"V=\lambda_XHH^\top(\lambda_XHH^\top+\lambda_V)^{-1}",
        source=SOURCE,
        region=found,
        check=Law(layer, _layer, {"s": _features}),
        tolerance=Tolerance(1e-8, "gradient 1e-12 over lambda_V; factor 1000"),
        mutant=Mutant(
            "as if features cost nothing", Law(_layer_without_features, _layer, {"s": _features})
        ),
    ),
    Claim(
        id="equilibrium-critical-index",
        title="Equilibrium layers, squared error: every critical point that is not global is a "
        "strict saddle where the fit bends more than the penalty",
        statement="The point that keeps some classes saves the same for each of them whatever "
        "else is kept, and has directions down for every class above its threshold that is not "
        "kept: one for every unused dimension and every smaller class that is kept.",
        latex=r"\mathrm{index}=\sum_{k\notin S,\,\sqrt{n_k}>N\sigma}"
        r"\big(d-|S|+\#\{j\in S:n_j\lt n_k\}\big)",
        source=SOURCE,
        hypotheses=(SQUARED, BENT),
        region=subsets,
        check=Law(
            value_and_index,
            _height_and_index,
            {"kept": _kept, "counts": lambda s: np.array(s.model.counts_tuple, float)},
        ),
        tolerance=Tolerance(1e-9, "closed forms; an index is whole"),
        mutant=Mutant(
            "unused dimensions alone",
            Law(
                _only_unused_dimensions,
                _height_and_index,
                {"kept": _kept, "counts": lambda s: np.array(s.model.counts_tuple, float)},
            ),
        ),
        uses=("equilibrium-firm-thresholding",),
    ),
    Claim(
        id="equilibrium-minima-global",
        title="Refuted: minima of equilibrium layers with squared error are global",
        statement="FALSE: nothing lies below a minimum. Where the penalty bends more than the fit "
        "zero is one at 1/2 for every class below its threshold, and diverging points reach m/2.",
        latex=r"N\sigma^2>\lambda_V,\ \sqrt{n_1}<N\sigma,\ n_1>N\lambda_V",
        source=SOURCE,
        literature="refuted",
        region=origins,
        check=_spurious,
        tolerance=Tolerance(1e-6, "1 - V is 1e-9: decays of order 1e-8 remain; factor 100"),
        mutant=Mutant("at zero too", lambda s: _spurious(s) + height(s)),
        holds=False,
        uses=("equilibrium-escape",),
    ),
)
