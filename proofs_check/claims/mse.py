"""Mean squared error: the whole critical set, its indices, and orthogonal frames."""

from __future__ import annotations

from functools import cache

import jax
import numpy as np

from landscape.solvers.solve import solve
from proofs_check.claim import COUNTING, Claim, Mutant, Tolerance
from proofs_check.claims.minimisers import c_of
from proofs_check.formula_alterations import formula
from proofs_check.hypotheses import (
    BALANCED,
    NO_BIAS,
    SQUARED,
)
from proofs_check.instance import Specimen, index_of, nullity_of
from proofs_check.law import Law, miscount
from proofs_check.specimens import PlainSpecimen, built_on, critical_specimens
from ufm.losses import MSE
from ufm.plain.model import UFM
from ufm.point import Point
from ufm.typing import Array

# Zero eigenvalues of points with residual 1e-12 stay below 1e-9; decays are at least 4e-3.
RANK = 1e-6


def product(specimen: PlainSpecimen) -> Array:
    """Z = W Hbar, the merged logits without bias (K, K)."""
    point = specimen.merged.as_merged(specimen.point)[1]
    return np.asarray(point.W) @ np.asarray(point.H)


def rank(specimen: PlainSpecimen) -> int:
    """Rank of W H at a polished point: its singular values are O(1) or rounding."""
    return int(np.sum(np.linalg.svd(product(specimen), compute_uv=False) > RANK))


def objective(specimen: PlainSpecimen) -> float:
    """f of MSE in plain NumPy from merged columns."""
    model = specimen.model
    W, H, b = specimen.merged.as_merged(specimen.point)[1].to_numpy()
    counts = np.asarray(model.counts, dtype=float)
    Z = W @ H / np.sqrt(counts) + (0.0 if b is None else b[:, None])
    fit = float(np.sum(counts * np.sum((Z - np.eye(len(counts))) ** 2, axis=0)))
    decay = float(model.lambda_W) * np.sum(W**2) + float(model.lambda_H) * np.sum(H**2)
    return 0.5 * (fit / float(model.num_samples) + float(decay))


RANK_OF = {"r": rank}


def level(K: int, n: int, lambda_W: float, lambda_H: float, r: int) -> float:
    """f_r = 1/2 - r (1 - c)^2 / (2K)."""
    c = c_of(K, n, lambda_W, lambda_H)
    return 1 / 2 - r * (1 - c) ** 2 / (2 * K)


def _level_to_the_first(K: int, c: float, r: int) -> float:
    return 1 / 2 - r * (1 - c) / (2 * K)


def projector_scale(K: int, n: int, lambda_W: float, lambda_H: float) -> float:
    """Zbar = sqrt(n) (1 - c) Pi."""
    return float(np.sqrt(n) * (1 - c_of(K, n, lambda_W, lambda_H)))


def _scale_with_square(n: int, c: float) -> float:
    return float(np.sqrt(n) * (1 - c**2))


def _not_a_projector(Z: Array, scale: float) -> float:
    Pi = Z / scale
    return float(np.linalg.norm(Pi - Pi.T) + np.linalg.norm(Pi @ Pi - Pi))


def index(K: int, d: int, r: int) -> float:
    """(K - r)(d - r)."""
    return (K - r) * (d - r)


def _index_as_for_cross_entropy(K: int, d: int, r: int) -> float:
    return (K - 1 - r) * (d - r)


@formula
def rotations(d: int, r: int) -> float:
    """r (r - 1)/2 + r (d - r)."""
    return r * (r - 1) / 2 + r * (d - r)


def nullity(K: int, d: int, r: int) -> float:
    """Rotations and the Grassmannian of projectors."""
    return rotations(d, r) + r * (K - r)


@cache
def projector_specimens(quick: bool = False) -> tuple[PlainSpecimen, ...]:
    """Balanced models, K = 2 to 5: a random projector of every rank, and points that were found."""
    found: list[PlainSpecimen] = []
    shapes = [(2, 4, 3, 0.03, 0.011), (3, 5, 2, 8e-3, 5e-3), (4, 3, 3, 2e-3, 0.013)]
    for K, d, n, lw, lh in [*shapes, (5, 4, 1, 0.05, 0.02)][: 2 if quick else None]:
        model = UFM(MSE(), K, d, n, lambda_W=lw, lambda_H=lh)
        rng = np.random.default_rng(K)
        for r in range(min(K, d) + 1):
            basis = np.linalg.qr(rng.normal(size=(K, K)))[0][:, :r]
            size, ratio = np.sqrt(np.sqrt(n) * (1 - model.c)), (lh / lw) ** 0.25
            W = np.pad(ratio * size * basis, ((0, 0), (0, d - r)))
            H = np.pad(size / ratio * basis.T, ((0, d - r), (0, 0)))
            found.append(Specimen(model, Point(W, H), "closed form"))
    return tuple(found)


@built_on(critical_specimens)
@cache
def _found_and_projected(quick: bool) -> tuple[PlainSpecimen, ...]:
    return critical_specimens(quick) + projector_specimens(quick)


@cache
def _narrow_minima(quick: bool = False) -> tuple[PlainSpecimen, ...]:
    """Minima of bias-free MSE with d = K - 1, from random starts."""
    found = []
    for seed in range(2 if quick else 6):
        K = 3 + seed % 3
        model = UFM(MSE(), K, K - 1, 2, lambda_W=8e-3 * (1 + seed), lambda_H=5e-3)
        run = solve(model, key=jax.random.key(seed))
        point = Point(*(None if x is None else np.asarray(x) for x in run.point))
        found.append(Specimen(model, point, "minimiser", bool(run.result)))
    return tuple(found)


def _distance(specimen: PlainSpecimen, shape: Array) -> float:
    """Relative distance of Z to the multiples of a matrix."""
    Z, unit = product(specimen), shape / np.linalg.norm(shape)
    return float(np.linalg.norm(Z - np.sum(Z * unit) * unit) / np.linalg.norm(Z))


def _simplex(specimen: PlainSpecimen) -> float:
    K = specimen.model.num_classes
    return _distance(specimen, np.eye(K) - 1 / K)


_VALUE = Tolerance(1e-12, "f is of order one and second order in the residual 1e-12: rounding only")
POINT = Tolerance(
    1e-8, "gradient norm 1e-12 over the smallest decay 4e-3 and times |x|, factor ten"
)
_BALANCED = (SQUARED, BALANCED, NO_BIAS)


CLAIMS = (
    Claim(
        id="mse-critical-values",
        title="MSE: critical values",
        statement=(
            "Every critical point of balanced bias-free MSE lies on one of K + 1 levels, one for "
            "each rank r."
        ),
        latex=r"f_r=\tfrac12-\frac{r}{2K}(1-c)^2",
        source="MSE-3; after Zhou et al. (2022)",
        hypotheses=_BALANCED,
        region=_found_and_projected,
        check=Law(level, objective, RANK_OF),
        tolerance=_VALUE,
        mutant=Mutant("(1 - c) to the first power", Law(_level_to_the_first, objective, RANK_OF)),
        uses=("balancedness",),
    ),
    Claim(
        id="mse-critical-projectors",
        title="MSE: critical matrices are projectors",
        statement=(
            "At every critical point of balanced bias-free MSE the class logits are 1 - c times "
            "an orthogonal projector: all nonzero singular values are equal."
        ),
        latex=r"\bar Z=(1-c)\,\Pi,\quad\Pi=\Pi^\top=\Pi^2",
        source="MSE-3; after Zhou et al. (2022)",
        hypotheses=_BALANCED,
        region=_found_and_projected,
        check=Law(projector_scale, product, error=_not_a_projector),
        tolerance=POINT,
        mutant=Mutant(
            "1 - c^2 instead of 1 - c", Law(_scale_with_square, product, error=_not_a_projector)
        ),
        uses=("mse-critical-values",),
    ),
    Claim(
        id="mse-index",
        title="MSE: index of every critical point",
        statement=(
            "A critical point of rank r of balanced bias-free MSE has Morse index (K - r)(d - r):"
            " all but the global minima are strict saddles, for every d."
        ),
        latex=r"\mathrm{index}=(K-r)(d-r)",
        source="MSE-3; derived here",
        hypotheses=_BALANCED,
        region=_found_and_projected,
        check=Law(index, index_of, RANK_OF, miscount),
        tolerance=COUNTING,
        mutant=Mutant(
            "index (K - 1 - r)(d - r), as for cross entropy",
            Law(_index_as_for_cross_entropy, index_of, RANK_OF, miscount),
        ),
        uses=("mse-critical-projectors", "reduced-index"),
    ),
    Claim(
        id="mse-nullity",
        title="MSE: zero modes of every critical point",
        statement=(
            "The zero modes are the rotations of the features and a Grassmannian of projectors."
        ),
        latex=r"\mathrm{nullity}=\tfrac{r(r-1)}2+r(d-r)+r(K-r)",
        source="MSE-3, A-2; derived here",
        hypotheses=_BALANCED,
        region=_found_and_projected,
        check=Law(nullity, nullity_of, RANK_OF, miscount),
        tolerance=COUNTING,
        mutant=Mutant(
            "the Grassmannian r(K - r) left out", Law(rotations, nullity_of, RANK_OF, miscount)
        ),
        uses=("mse-critical-projectors", "predicted-nullity"),
    ),
    Claim(
        id="mse-simplex-without-bias",
        title="Refuted: bias-free MSE with d = K - 1 gives a simplex",
        statement=(
            "FALSE: without bias the minimisers of MSE with d = K - 1 form a simplex equiangular "
            "tight frame. They are (1 - c) times an arbitrary projector of rank K - 1."
        ),
        latex=r"\bar Z\propto I-\tfrac1K\mathbf 1\mathbf 1^\top",
        source="MSE-1; derived here",
        literature="refuted",
        hypotheses=(SQUARED, NO_BIAS),
        region=_narrow_minima,
        check=_simplex,
        tolerance=Tolerance(1e-6, "relative distance; minima are known to 1e-9"),
        mutant=Mutant(
            "an orthogonal frame instead of a simplex",
            lambda s: _distance(s, np.eye(s.model.num_classes)),
        ),
        holds=False,
        uses=("minimiser-mse",),
    ),
)
