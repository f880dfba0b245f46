"""What determines a critical point up to rotation (A-3): Z = W H, and no less."""

from __future__ import annotations

from functools import cache

import numpy as np

from proofs_check.claim import COUNTING, Claim, Mutant, Tolerance
from proofs_check.claims.mse import product, rank
from proofs_check.claims.reductions import critical_points
from proofs_check.instance import Specimen, signs
from proofs_check.law import Law
from proofs_check.specimens import PlainSpecimen
from ufm.losses import CrossEntropy
from ufm.model import norm, value_and_gradient
from ufm.plain.model import UFM
from ufm.point import Point
from ufm.typing import Array


def _stacked(specimen: PlainSpecimen) -> Array:
    """Gram matrix of the rows of W and the columns of H."""
    W, H, _ = specimen.merged.as_merged(specimen.point)[1].to_numpy()
    stack = np.concatenate([W, H.T])
    return np.asarray(stack @ stack.T)


def gram(Z: Array, lambda_W: float, lambda_H: float) -> Array:
    """The same from Z = U s V^T: rows (lh/lw)^(1/4) sqrt(s) U and (lw/lh)^(1/4) sqrt(s) V."""
    U, s, Vt = np.linalg.svd(Z)
    rows = (lambda_H / lambda_W) ** (1 / 4) * np.sqrt(s) * U
    columns = (lambda_W / lambda_H) ** (1 / 4) * np.sqrt(s) * Vt.T
    factors = np.concatenate([rows, columns])
    return np.asarray(factors @ factors.T)


def _gram_exchanged(Z: Array, lambda_W: float, lambda_H: float) -> Array:
    return gram(Z, lambda_H, lambda_W)


@cache
def mirror_pairs(quick: bool = False) -> tuple[PlainSpecimen, ...]:
    """CE with K = 4: the rank-one critical point along (1, -1, 0, 0)/sqrt 2."""
    found = []
    for lw, lh in ((3e-2, 1.2e-2), (0.1, 0.12))[: 1 if quick else 2]:
        model = UFM(CrossEntropy(), 4, 6, lambda_W=lw, lambda_H=lh)
        point = _rank_one(model, (1, -1, 0, 0))
        found.append(Specimen(model, point, "closed form", note="(1,-1,0,0)"))
    return tuple(found)


def _rank_one(model: UFM, pattern: tuple[int, ...]) -> Point:
    """Z = t q q^T along a unit pattern, tanh(t / 4) = 1 - c, balanced and embedded in d."""
    q = np.asarray(pattern, dtype=float)
    q /= np.linalg.norm(q)
    size = np.sqrt(4 * np.arctanh(1 - model.c))
    ratio = (float(model.lambda_H) / float(model.lambda_W)) ** 0.25
    W, H = np.zeros((model.num_classes, model.d)), np.zeros((model.d, model.num_classes))
    W[:, 0], H[0] = ratio * size * q, size / ratio * q
    return Point(W, H)


def _same_index(specimen: PlainSpecimen, ranks: bool = False) -> float:
    """Difference of index of two critical points that agree in f and in sigma(Z), else 0."""
    model = specimen.model
    twin = Specimen(model, _rank_one(model, (1, 1, -1, -1)), "closed form")
    if ranks and rank(specimen) != rank(twin):
        return 0.0
    values = [np.linalg.svd(product(s), compute_uv=False) for s in (specimen, twin)]
    heights = [float(model.objective(s.full_point)) for s in (specimen, twin)]
    slopes = [_slope(s) for s in (specimen, twin)]
    apart = max(abs(heights[0] - heights[1]), float(np.abs(values[0] - values[1]).max()))
    if max(apart, *slopes) > 1e-12:
        return 0.0
    return float(abs(signs(specimen)[0] - signs(twin)[0]))


def _slope(specimen: PlainSpecimen) -> float:
    gradient = value_and_gradient(specimen.model, specimen.full_point)[1]
    return float(norm(gradient.to_numpy()))


CLAIMS = (
    Claim(
        id="complete-invariant",
        title="Z = WH determines a critical point up to rotation",
        statement=(
            "The Gram matrix of classifiers and features at a critical point is a function of Z "
            "alone, so two critical points with the same Z differ by a rotation of the feature "
            "space."
        ),
        latex=r"WW^\top=\sqrt{\lambda_H/\lambda_W}\,(ZZ^\top)^{1/2},\quad "
        r"H^\top H=\sqrt{\lambda_W/\lambda_H}\,(Z^\top Z)^{1/2}",
        source="A-3; derived here",
        region=critical_points,
        check=Law(gram, _stacked, {"Z": product}),
        tolerance=Tolerance(
            1e-8,
            "gradient norm 1e-12 over the smallest decay 4e-3 and times |x|, factor ten",
        ),
        mutant=Mutant(
            "lambda_W and lambda_H exchanged", Law(_gram_exchanged, _stacked, {"Z": product})
        ),
        uses=("balancedness",),
    ),
    Claim(
        id="singular-values-invariant",
        title="Refuted: objective and singular values identify a critical point",
        statement=(
            "FALSE: critical points with the same objective and the same singular values of Z "
            "have the same index. Cross entropy with K = 4 has two of rank one, along (1,-1,0,0) "
            "and (1,1,-1,-1), whose range indices are 1 and 2 for 0.0512 < c < 1."
        ),
        latex=r"(f,\sigma(Z))=(f',\sigma(Z'))\Rightarrow\mathrm{index}=\mathrm{index}'",
        source="A-3; derived here",
        literature="refuted",
        region=mirror_pairs,
        check=_same_index,
        tolerance=COUNTING,
        mutant=Mutant("the rank added to what must agree", lambda s: _same_index(s, True)),
        holds=False,
        uses=("complete-invariant", "identity-mirror-pair"),
    ),
)
