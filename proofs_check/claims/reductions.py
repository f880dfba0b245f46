"""The exact reductions (THEORY, section A) against dense Hessians that know nothing of them."""

from __future__ import annotations

from dataclasses import replace
from functools import cache

import jax
import numpy as np

from landscape.curvature.hessian import dense_hessian
from proofs_check.claim import COUNTING, Claim, Hypothesis, Mutant, Tolerance
from proofs_check.claims.mse import product, rank, rotations
from proofs_check.claims.spectra import table_error
from proofs_check.hypotheses import CONVEX, SYMMETRIC
from proofs_check.instance import Specimen, index_of, nullity_of
from proofs_check.law import Law, miscount
from proofs_check.specimens import PlainSpecimen, built_on, critical_specimens, losses, with_c
from ufm.frames import merged_code
from ufm.losses import MSE, CrossEntropy, LabelSmoothing
from ufm.plain.blocks import group_block, within_group_block
from ufm.plain.inertia import count_negative, count_range_below
from ufm.plain.model import UFM
from ufm.plain.reduce import Reduced, full_spectrum, reduced
from ufm.plain.symmetry import predicted_nullity
from ufm.point import Point
from ufm.typing import Array

# Signs at critical points are taken outside this band around zero (see mse.ZERO).
BAND = 1e-8

MERGED = Hypothesis("two classes or more share w and h", lambda s: _largest_group(s) > 1)


def _largest_group(specimen: PlainSpecimen) -> int:
    return max(len(group) for group in reduced(specimen.model, specimen.point).groups)


def _spectrum(specimen: PlainSpecimen, merge_classes: bool) -> float:
    levels = full_spectrum(specimen.model, specimen.point, merge_classes=merge_classes)
    return table_error([(value, times) for value, times, _ in levels], specimen)


def _wrong_decay(specimen: PlainSpecimen) -> float:
    """lambda_W where within-class differences outside row(W) have lambda_H."""
    levels = full_spectrum(specimen.model, specimen.point, merge_classes=False)
    wrong = float(specimen.model.lambda_W)
    rows = [(wrong if "outside" in block else x, times) for x, times, block in levels]
    return table_error(rows, specimen)


def _without_gradient(specimen: PlainSpecimen) -> float:
    """The within-group blocks of A-5 with the bilinear term left out."""
    parts = reduced(specimen.model, specimen.point)
    S, G, groups, W, H, counts = parts.data.classes
    altered = replace(parts.data, classes=(S, np.zeros_like(G), groups, W, H, counts))
    levels = full_spectrum(specimen.model, specimen.point)
    rows = [(x, times) for x, times, block in levels if not block.startswith("within group")]
    for g, group in enumerate(groups):
        if len(group) > 1:
            values = np.linalg.eigvalsh(within_group_block(altered, g))
            rows += [(float(x), len(group) - 1) for x in values]
    return table_error(rows, specimen)


@cache
def merged_saddles(quick: bool = False) -> tuple[PlainSpecimen, ...]:
    """Closed-form saddles in which the classes are merged into G equal groups (CE-6)."""
    found = []
    cases = [(4, 1, 6, 2), (4, 1, 6, 1), (3, 2, 5, 1)]
    for loss in (CrossEntropy(), LabelSmoothing(0.1)):
        delta = float(getattr(loss, "delta", 0.0))
        for K, n, d, G in cases[: 2 if quick else 3]:
            for lw, lh in ((8e-3, 5e-3), (3e-2, 1.2e-2)):
                model = UFM(loss, K, d, n, lambda_W=lw, lambda_H=lh)
                point = Point(np.zeros((K, d)), np.zeros((d, K)))
                if G > 1:
                    beta = np.log(G / (model.c + delta) - G + 1)
                    code = merged_code([K // G] * G, d)
                    size, ratio = np.sqrt(beta * np.sqrt(n)), (lh / lw) ** 0.25
                    point = Point(ratio * size * code, size / ratio * code.T)
                found.append(Specimen(model, point, "closed form", note=f"{G} groups"))
    return tuple(found)


def polished(specimen: PlainSpecimen) -> PlainSpecimen:
    """A critical point after one more Newton step on its range block, without its null space.

    The solver stops at a gradient of 1e-12, which moves eigenvalues by about as much.
    """
    parts = reduced(specimen.model, specimen.point, merge_classes=False)
    W, H, b = parts.space.point
    model, r = parts.model, parts.space.rank
    G, roots = parts.G, np.sqrt(np.asarray(model.counts))
    gradient = [np.ravel(G @ H.T + float(model.lambda_W) * W)]
    gradient.append(np.ravel((W.T @ G + float(model.lambda_H) * H).T))
    if b is not None:
        gradient.append(G @ roots + float(model.lambda_b) * b)
    step = -np.linalg.pinv(group_block(parts.data), rcond=1e-9, hermitian=True)
    step = step @ np.concatenate(gradient)
    Q, half = parts.space.basis, len(roots) * r
    W = (W + step[:half].reshape(len(roots), r)) @ Q.T
    H = Q @ (H + step[half : 2 * half].reshape(len(roots), r).T)
    b = None if b is None else b + step[2 * half :]
    return replace(specimen, point=Point(W, H, b))


def next_to_the_threshold() -> tuple[PlainSpecimen, ...]:
    """Origins with sigma_i(G) = sigma (1 + 1/2000) and sigma (1 - 1/2000), for all i in use."""
    found = []
    for loss, K, d, n, ratio in ((CrossEntropy(), 3, 4, 2, 0.7), (MSE(), 4, 3, 1, 1.9)):
        for c in (1 / (1 + 5e-4), 1 / (1 - 5e-4)):
            model = with_c(UFM(loss, K, d, n, lambda_W=1, lambda_H=1), c, ratio)
            origin = model.as_merged(model.origin())[1]
            found.append(Specimen(model, origin, "origin", note="next to the threshold"))
    return tuple(found)


@built_on(critical_specimens)
@cache
def critical_points(quick: bool = False) -> tuple[PlainSpecimen, ...]:
    """The critical points that solvers found, polished, and closed-form merged saddles."""
    found = tuple(polished(s) for s in critical_specimens(quick))
    return found + merged_saddles(quick) + next_to_the_threshold()


def _family(specimen: PlainSpecimen) -> int:
    """s + m: the free shift of the bias and class rotations, by the rank of their generators."""
    model, r = specimen.model, rank(specimen)
    found = predicted_nullity(model, r, model.d, product(specimen), specimen.point.b)
    if found is None:
        return 0
    return int(found - rotations(model.d, r))


def zero_modes(d: int, r: int, extra: int) -> float:
    """r (r - 1)/2 + r (d - r) + s + m."""
    return rotations(d, r) + extra


def _without_inner_rotations(d: int, r: int, extra: int) -> float:
    return r * (d - r) + extra


ZERO_MODES = {"r": rank, "extra": _family}


def _range_index(specimen: PlainSpecimen) -> int:
    """Index of the rank-r problem and of within-class differences, without the dense Hessian."""
    parts = _parts(specimen)
    below = int(count_range_below(parts.data, -BAND).below)
    return below + sum(
        int(np.sum(np.linalg.eigvalsh(block) < -BAND)) * (int(n) - 1)
        for block, n in zip(parts.within, np.asarray(specimen.model.counts), strict=True)
    )


def _parts(specimen: PlainSpecimen) -> Reduced:
    return reduced(specimen.model, specimen.point, merge_classes=False)


def index(
    d: int, lambda_W: float, lambda_H: float, r: int, range_index: int, couplings: Array
) -> float:
    """The index for r dimensions, and d - r copies of card{sigma_i(G) > sigma}."""
    outside = np.sum(couplings > np.sqrt(lambda_W * lambda_H) + BAND)
    return float(range_index + (d - r) * outside)


def _all_dimensions(
    d: int, lambda_W: float, lambda_H: float, range_index: int, couplings: Array
) -> float:
    return float(range_index + d * np.sum(couplings > np.sqrt(lambda_W * lambda_H) + BAND))


REDUCED = {
    "r": lambda s: _parts(s).space.rank,
    "range_index": _range_index,
    "couplings": lambda s: np.asarray(_parts(s).couplings),
}


@cache
def random_points(quick: bool = False) -> tuple[PlainSpecimen, ...]:
    """Random points with all samples, no two alike: no critical points, no collapse."""
    shapes: list[tuple[tuple[int, ...], int, float | None]] = [((2, 2, 2), 5, None)]
    shapes += [((3, 2, 1), 4, None)]
    shapes += [] if quick else [((3, 2, 4, 1), 6, None), ((2, 2, 2, 2), 3, 0.02)]
    found = []
    for counts, d, lambda_b in shapes:
        for loss in losses():
            for seed in range(2):
                model = UFM(
                    loss, d=d, counts=counts, lambda_W=2e-2, lambda_H=6e-3, lambda_b=lambda_b
                )
                point = model.random_point(jax.random.key(seed), 2.0).to_numpy()
                found.append(Specimen(model, point, "random, all samples"))
    return tuple(found)


def _haynsworth(specimen: PlainSpecimen, eliminated: bool = True) -> float:
    """Index of the dense Hessian against that of its Schur complement on (W, b).

    Infinite unless the feature block is block diagonal over samples and positive definite.
    """
    model = specimen.model
    matrix = dense_hessian(model, specimen.point)
    K, d, N = model.num_classes, model.d, model.num_samples
    features = K * d + np.arange(d * N)
    others = np.setdiff1d(np.arange(len(matrix)), features)
    HH, cross = matrix[np.ix_(features, features)], matrix[np.ix_(others, features)]
    sample = np.tile(np.arange(N), d)
    stray = float(np.abs(HH[sample[:, None] != sample[None, :]]).max())
    if stray > 1e-14 or np.linalg.eigvalsh(HH)[0] <= 0:
        return float("inf")
    complement = matrix[np.ix_(others, others)]
    if eliminated:
        complement = complement - cross @ np.linalg.solve(HH, cross.T)
    index = int(np.sum(np.linalg.eigvalsh(matrix) < 0))
    return float(abs(index - count_negative(0.5 * (complement + complement.T))))


_SPECTRAL = Tolerance(
    1e-12,
    "size eps max|eigenvalue| of two dense eigensolvers (P <= 84), with room for the rounding of "
    "automatic differentiation; relative to max|eigenvalue|",
)

CLAIMS = (
    Claim(
        id="reduced-spectrum",
        title="Full spectrum from the reduced problem",
        statement=(
            "At every collapsed critical point the full Hessian spectrum consists of the range "
            "block of one column per class and rank(Z) dimensions, d - r copies of 2 x 2 blocks, "
            "and n_k - 1 copies of each within-class block."
        ),
        latex=(
            r"\nabla^2f\simeq\nabla^2f_{r}\oplus(d-"
            r"r)\begin{pmatrix}\lambda_WI&G\\G^\top&\lambda_HI\end{pmatrix}\oplus\bigoplus_k(n_k-"
            r"1)A_k,\quad A_k=W^\top S_kW/N+\lambda_HI"
        ),
        source="A-1, A-2; derived here",
        region=critical_points,
        check=lambda s: _spectrum(s, False),
        tolerance=_SPECTRAL,
        mutant=Mutant("lambda_W for within-class differences outside row(W)", _wrong_decay),
        uses=("collapse-within-classes", "balancedness", "identity-complement-block"),
    ),
    Claim(
        id="merged-classes-spectrum",
        title="Full spectrum with merged classes",
        statement=(
            "Where classes share w and h, the range block splits into one block on groups and, "
            "for each group of m classes, one 2r x 2r block repeated m - 1 times."
        ),
        latex=r"\mathrm{range}\simeq B_{groups}\oplus\bigoplus_g(m_g-1)\,B_g",
        source="A-5; derived here",
        hypotheses=(MERGED,),
        region=critical_points,
        check=lambda s: _spectrum(s, True),
        tolerance=_SPECTRAL,
        mutant=Mutant("within-group blocks without the bilinear term <G, AB>", _without_gradient),
        uses=("reduced-spectrum",),
    ),
    Claim(
        id="predicted-nullity",
        title="Zero modes are symmetry and nothing else",
        statement=(
            "For CE, LS, focal and MSE the nullity of the full Hessian at a critical point is the"
            " dimension of its symmetry orbit: rotations, the free bias shift of a shift-"
            "invariant loss, class rotations of MSE. (Rescaled MSE has more, see rescaled-mse-"
            "zero-modes.)"
        ),
        latex=r"\mathrm{nullity}=\tfrac{r(r-1)}2+r(d-r)+s+m",
        source="A-2, AT-3; derived here",
        hypotheses=(SYMMETRIC,),
        region=critical_points,
        check=Law(zero_modes, nullity_of, ZERO_MODES, miscount),
        tolerance=COUNTING,
        mutant=Mutant(
            "rotations inside the row space left out",
            Law(_without_inner_rotations, nullity_of, ZERO_MODES, miscount),
        ),
        uses=("complete-invariant",),
    ),
    Claim(
        id="reduced-index",
        title="Index from the range block and the singular values of G",
        statement=(
            "The index in dimension d is that of the rank-r problem, counted by factorisation of "
            "its Schur complement, plus d - r times the number of singular values of the gradient"
            " above sigma, plus within-class negative curvature (none for convex losses)."
        ),
        latex=(
            r"\mathrm{index}(d)=\mathrm{index}(r)+(d-r)\,"
            r"\#\{i:\sigma_i(G)>\sqrt{\lambda_W\lambda_H}\}"
        ),
        source="A-2, A-4; derived here",
        region=critical_points,
        check=Law(index, index_of, REDUCED, miscount),
        tolerance=COUNTING,
        mutant=Mutant(
            "d copies instead of d - r", Law(_all_dimensions, index_of, REDUCED, miscount)
        ),
        uses=("reduced-spectrum", "schur-inertia"),
    ),
    Claim(
        id="schur-inertia",
        title="Index by Schur complement, at any point",
        statement=(
            "For a convex loss the feature block is block diagonal over samples and positive "
            "definite, so the Hessian has as many negative eigenvalues as its Schur complement on"
            " the classifier, at any point and any N."
        ),
        latex=r"\mathrm{In}(\nabla^2f)=\mathrm{In}(\nabla^2_{HH})+"
        r"\mathrm{In}(\nabla^2_{WW}-\nabla^2_{WH}(\nabla^2_{HH})^{-1}\nabla^2_{HW})",
        source="A-4; Haynsworth (1968)",
        literature="proved",
        hypotheses=(CONVEX,),
        region=random_points,
        check=_haynsworth,
        tolerance=COUNTING,
        mutant=Mutant("the classifier block alone", lambda s: _haynsworth(s, False)),
    ),
)
