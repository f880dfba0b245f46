"""Hessian spectra in closed form (THEORY, section 7) against dense Hessians of the full problem."""

from __future__ import annotations

from collections.abc import Iterable
from functools import cache
from typing import Any

import numpy as np

from proofs_check.claim import Claim, Mutant, Tolerance
from proofs_check.claims.minimisers import c_of
from proofs_check.claims.tables import (
    Rows,
    bias_table,
    centred_rows,
    focal_curvatures,
    frame_rows,
    free_bias_table,
    logit_rows,
    logit_table,
    mse_table,
    origin_table,
    rescaled_table,
    smoothed_curvatures,
    standard_block,
)
from proofs_check.claims.thresholds import focal_constant
from proofs_check.hypotheses import (
    BALANCED,
    BELOW,
    FRAME_FITS,
    FREE_BIAS,
    LOGIT_LOSSES,
    NO_BIAS,
    RESCALED,
    SQUARED,
    SYMMETRIC,
    WITH_BIAS,
)
from proofs_check.instance import Specimen
from proofs_check.law import Formula, Law
from proofs_check.redraw import redrawn_by
from proofs_check.specimens import PlainSpecimen, parametrised
from ufm.losses import MSE, CrossEntropy, Focal, LabelSmoothing, RescaledMSE
from ufm.plain.minimisers import thresholds
from ufm.plain.model import UFM
from ufm.plain.spectra import symmetric_spectrum
from ufm.point import Point
from ufm.typing import Array

# (lambda_W, lambda_H): far below the thresholds, nearer to them, and above all of them.
DECAYS = ((8e-3, 5e-3), (2e-2, 4.5e-2), (0.9, 0.6))


def closed_form(model: UFM) -> PlainSpecimen | None:
    """The closed-form symmetric minimiser of a model as a specimen, None where there is none."""
    found = model.minimiser()
    if found is None or found.code is None:
        return None
    note = "below threshold" if model.c < thresholds(model).origin else "above threshold"
    point = Point(*(None if x is None else np.asarray(x) for x in found.point))
    return Specimen(model, point, "closed form", note=note)


def closed_form_again(listed: Any, model: UFM, seed: int) -> PlainSpecimen | None:
    """The closed form of a drawn model, which says where it lies as the listed ones do."""
    del listed, seed
    return closed_form(model)


@redrawn_by(closed_form_again)
@cache
def closed_forms(quick: bool = False) -> tuple[PlainSpecimen, ...]:
    """Closed-form minimisers of all losses: K = 3 to 5, three pairs of decays, three biases."""
    shapes = [(3, 5, 2, (None,)), (4, 5, 2, (0.0, 0.03))]
    shapes += [(4, 7, 1, (None,)), (5, 4, 2, (None,)), (3, 4, 3, (0.0, 0.11))]
    found = []
    for K, d, n, biases in shapes[: 2 if quick else None]:
        losses = (*parametrised(K), RescaledMSE(2.6, 2.2), LabelSmoothing(0.25))
        for loss in losses if K < 5 else (CrossEntropy(), Focal(1.3), MSE()):
            for lambda_b in biases:
                for lw, lh in DECAYS:
                    model = UFM(loss, K, d, n, lambda_W=lw, lambda_H=lh, lambda_b=lambda_b)
                    found.append(closed_form(model))
    return tuple(specimen for specimen in found if specimen is not None)


def table_error(rows: Iterable[tuple[float, float]], specimen: PlainSpecimen) -> float:
    """Largest difference between a table (value, multiplicity) and the dense eigenvalues.

    Relative to the largest |eigenvalue|; infinite when the multiplicities do not add up.
    """
    return against_dense(dense(specimen), list(rows))


def dense(specimen: PlainSpecimen) -> Array:
    """Eigenvalues of the dense Hessian of the full problem."""
    return specimen.dense_eigenvalues


def against_dense(seen: Array, rows: Rows) -> float:
    """The error of a table of (value, multiplicity)."""
    kept = [(value, times) for value, times in rows if times]
    if any(times < 0 or times != int(times) for _, times in kept):
        return float("inf")
    table = np.sort(np.repeat([v for v, _ in kept], [int(m) for _, m in kept]))
    if table.shape != seen.shape:
        return float("inf")
    return float(np.abs(table - seen).max() / np.abs(seen).max())


def _saturated(
    K: int, d: int, n: int, lambda_W: float, lambda_H: float, delta: float, gamma: float
) -> Rows:
    c = c_of(K, n, lambda_W, lambda_H)
    found = focal_curvatures(K, c, gamma) if gamma else smoothed_curvatures(K, c, delta)
    theta = found[0] * found[2] / c
    block = np.linalg.eigvalsh(standard_block(K, lambda_W, lambda_H, theta, K))
    rows = logit_rows(K, d, n, lambda_W, lambda_H, theta, K)
    return rows + [(float(x), K - 1) for x in block]


def _uncoupled(
    K: int,
    d: int,
    n: int,
    lambda_W: float,
    lambda_H: float,
    lambda_b: float,
    delta: float,
    gamma: float,
) -> Rows:
    rows = logit_table(K, d, n, lambda_W, lambda_H, delta, gamma)
    c = c_of(K, n, lambda_W, lambda_H)
    found = focal_curvatures(K, c, gamma) if gamma else smoothed_curvatures(K, c, delta)
    _, s1, s2 = found
    corner = lambda_b + s2 * (1 + (s1 / s2 - 1) / (K - 1))
    return [*rows, (lambda_b, 1), (corner, K - 1)]


LOGIT = {
    "delta": lambda s: float(getattr(s.model.loss, "delta", 0.0)),
    "gamma": lambda s: float(getattr(s.model.loss, "gamma", 0.0)),
}


def _mse_without_shrinkage(K: int, d: int, n: int, lambda_W: float, lambda_H: float) -> Rows:
    theta = 1 / c_of(K, n, lambda_W, lambda_H)
    return frame_rows(K, d, n, lambda_W, lambda_H, theta, 1.0)


def _rescaled_without_shrinkage(
    K: int, d: int, n: int, lambda_W: float, lambda_H: float, kappa: float, M: float
) -> Rows:
    theta = M / c_of(K, n, lambda_W, lambda_H)
    return frame_rows(K, d, n, lambda_W, lambda_H, theta, kappa)


def _shifts_as_for_cross_entropy(K: int, d: int, n: int, lambda_W: float, lambda_H: float) -> Rows:
    c = c_of(K, n, lambda_W, lambda_H)
    return centred_rows(K, d, n, lambda_W, lambda_H, (1 - c) / c, lambda_W)


def _table(predicted: Formula) -> Law:
    return Law(predicted, dense, {name: LOGIT[name] for name in LOGIT}, against_dense)


def _origin(specimen: PlainSpecimen) -> PlainSpecimen:
    model = specimen.model
    return Specimen(model, model.as_merged(model.origin())[1], "origin")


@cache
def _origins(quick: bool = False) -> tuple[PlainSpecimen, ...]:
    return tuple(_origin(s) for s in closed_forms(quick) if s.model.lambda_b is None)


def _without_the_root(
    K: int, d: int, n: int, lambda_W: float, lambda_H: float, slope: float, rank: Any
) -> Rows:
    return origin_table(K, d, n, lambda_W, lambda_H, slope / np.sqrt(n), rank)


def _slope(specimen: PlainSpecimen) -> float:
    """1, 1 - delta for label smoothing, the constant of FL-3 for focal loss."""
    loss, K = specimen.model.loss, specimen.model.num_classes
    if specimen.family == "focal":
        return focal_constant(K, float(loss.gamma))
    return 1 - LOGIT["delta"](specimen)


AT_ORIGIN = {
    "slope": _slope,
    "rank": lambda s: np.array([s.model.num_classes - (s.family != "mse")]),
}


def _library(specimen: PlainSpecimen) -> float:
    """The library's general table at a symmetric solution, whatever the loss and the bias."""
    found = specimen.model.minimiser()
    if found is None or found.code is None:
        return float("nan")
    levels = symmetric_spectrum(specimen.model, found.code)
    return table_error([(x, times) for x, times, _ in levels], specimen)


def _library_halved(specimen: PlainSpecimen) -> float:
    found = specimen.model.minimiser()
    if found is None or found.code is None:
        return float("nan")
    levels = symmetric_spectrum(specimen.model, found.code)
    rows = [(0.5 * x if "own-class" in name else x, m) for x, m, name in levels]
    return table_error(rows, specimen)


CLAIMS = (
    Claim(
        id="spectrum-logit-losses",
        title="Spectrum at the minimiser: CE, LS, focal",
        statement=(
            "Without bias the Hessian at the simplex minimiser of CE, label smoothing and focal "
            "loss has the dozen eigenvalues of the (theta, R) table, with its multiplicities."
        ),
        latex=r"\theta=\frac{\alpha s_2}{c},\ R=\frac{s_1}{s_2};\quad x^2-(\lambda_W+\lambda_H)"
        r"(1+g\theta)x+4g\theta\lambda_W\lambda_H=0",
        source="THEORY 7.1; derived here",
        hypotheses=(LOGIT_LOSSES, NO_BIAS, BELOW),
        region=closed_forms,
        check=_table(logit_table),
        mutant=Mutant("R = K, as if every sample were fitted perfectly", _table(_saturated)),
        tolerance=Tolerance(
            1e-12,
            "size eps max|eigenvalue| of a dense symmetric eigensolver (P <= 80), "
            "with room for the rounding of automatic differentiation; relative to max|eigenvalue|",
        ),
        uses=(
            "spectrum-by-representations",
            "identity-block-norms",
            "identity-block-angles",
            "identity-block-rotations",
            "identity-block-unequal-norms",
            "identity-block-complement",
            "identity-block-within-class",
            "identity-pair-polynomial",
        ),
    ),
    Claim(
        id="spectrum-with-bias",
        title="Spectrum at the minimiser with bias: CE, LS, focal",
        statement=(
            "A bias adds the eigenvalue lambda_b once and a fourth row and column, coupled to "
            "unequal norms and common feature shifts, to the block of the standard "
            "representation."
        ),
        latex=r"\sqrt N\,(G_{12}\sqrt{\lambda_W\theta g_2},\,G_{12}\sqrt{\lambda_H\theta g_2},\,"
        r"G_{22}\sqrt{\lambda_H\theta g_2}),\quad \lambda_b+N g_2G_{22},\ g_2=s_2/N",
        source="THEORY 7.2; derived here",
        hypotheses=(LOGIT_LOSSES, WITH_BIAS, BELOW),
        region=closed_forms,
        check=_table(bias_table),
        mutant=Mutant("the bias decoupled from W and H", _table(_uncoupled)),
        tolerance=Tolerance(
            1e-12,
            "size eps max|eigenvalue| of a dense symmetric eigensolver (P <= 80), "
            "with room for the rounding of automatic differentiation; relative to max|eigenvalue|",
        ),
        uses=("spectrum-logit-losses", "identity-block-bias"),
    ),
    Claim(
        id="spectrum-mse",
        title="Spectrum at the minimiser: MSE without bias",
        statement=(
            "Bias-free MSE, d >= K: six eigenvalues; the frame contributes lambda/c and the roots"
            " of one quadratic."
        ),
        latex=r"\theta=\frac{1-c}{c}:\ \lambda_H/c,\ \lambda_H,\ 0,\ \lambda_W+\lambda_H,\ "
        r"(\lambda_W+\lambda_H)/c,\ \mathrm{pair}(1)",
        source="THEORY 7.3; derived here",
        hypotheses=(SQUARED, NO_BIAS, FRAME_FITS, BELOW),
        region=closed_forms,
        check=Law(mse_table, dense, error=against_dense),
        mutant=Mutant(
            "theta = 1/c instead of (1 - c)/c",
            Law(_mse_without_shrinkage, dense, error=against_dense),
        ),
        tolerance=Tolerance(
            1e-12,
            "size eps max|eigenvalue| of a dense symmetric eigensolver (P <= 80), "
            "with room for the rounding of automatic differentiation; relative to max|eigenvalue|",
        ),
        uses=("spectrum-by-representations", "identity-block-squared-error"),
    ),
    Claim(
        id="spectrum-mse-free-bias",
        title="Spectrum at the minimiser: MSE with unregularised bias",
        statement=(
            "MSE with lambda_b = 0, d >= K - 1: the bias couples to common shifts of the class "
            "means in a 2 x 2 block, and common shifts of W cost lambda_W / c."
        ),
        latex=r"\begin{pmatrix}\lambda_H(1+\theta)&\sqrt{\lambda_H\theta}\\"
        r"\sqrt{\lambda_H\theta}&1\end{pmatrix}\times(K-1),\ \lambda_W(1+\theta)\times(K-1)",
        source="THEORY 7.4; derived here",
        hypotheses=(SQUARED, FREE_BIAS, BELOW),
        region=closed_forms,
        check=Law(free_bias_table, dense, error=against_dense),
        mutant=Mutant(
            "common shifts of W cost lambda_W, as for cross entropy",
            Law(_shifts_as_for_cross_entropy, dense, error=against_dense),
        ),
        tolerance=Tolerance(
            1e-12,
            "size eps max|eigenvalue| of a dense symmetric eigensolver (P <= 80), "
            "with room for the rounding of automatic differentiation; relative to max|eigenvalue|",
        ),
        uses=(
            "spectrum-by-representations",
            "identity-block-squared-error-bias",
        ),
    ),
    Claim(
        id="spectrum-rescaled-mse",
        title="Spectrum at the minimiser: rescaled MSE",
        statement=(
            "Bias-free rescaled MSE, d >= K: the table of MSE with theta = M/c - 1/kappa, and the"
            " K own-class pairs at kappa theta."
        ),
        latex=r"\theta=\frac Mc-\frac1\kappa:\ \mathrm{pair}(1)\times\tbinom K2,\ "
        r"\mathrm{pair}(\kappa)\times K",
        source="THEORY 7.5; derived here",
        hypotheses=(RESCALED, NO_BIAS, FRAME_FITS, BELOW),
        region=closed_forms,
        check=Law(rescaled_table, dense, error=against_dense),
        mutant=Mutant(
            "theta = M/c, without the shrinkage 1/kappa",
            Law(_rescaled_without_shrinkage, dense, error=against_dense),
        ),
        tolerance=Tolerance(
            1e-12,
            "size eps max|eigenvalue| of a dense symmetric eigensolver (P <= 80), "
            "with room for the rounding of automatic differentiation; relative to max|eigenvalue|",
        ),
        uses=("spectrum-by-representations", "identity-block-squared-error"),
    ),
    Claim(
        id="spectrum-origin",
        title="Spectrum at the origin",
        statement=(
            "At W = H = 0 the Hessian has two eigenvalues for each of r0 d directions, r0 = K - 1"
            " (K for MSE), and the decays elsewhere."
        ),
        latex=r"\tfrac12\bigl(\lambda_W+\lambda_H\pm\sqrt{(\lambda_W-\lambda_H)^2+4s^2}\bigr)"
        r"\times r_0d,\quad s=\frac{1-\delta}{K\sqrt n}",
        source="CE-5; derived here",
        hypotheses=(SYMMETRIC,),
        region=_origins,
        check=Law(origin_table, dense, AT_ORIGIN, against_dense),
        mutant=Mutant(
            "s = (1 - delta)/(K n)", Law(_without_the_root, dense, AT_ORIGIN, against_dense)
        ),
        tolerance=Tolerance(
            1e-12,
            "size eps max|eigenvalue| of a dense symmetric eigensolver (P <= 80), "
            "with room for the rounding of automatic differentiation; relative to max|eigenvalue|",
        ),
        uses=("reduced-spectrum", "identity-origin-couplings"),
    ),
    Claim(
        id="spectrum-by-representations",
        title="Spectrum at any symmetric minimiser, by isotypic blocks",
        statement=(
            "The blocks of the class permutations' irreducible representations, computed by "
            "automatic differentiation of the loss alone, give the full spectrum: all losses, all"
            " biases, above and below the threshold."
        ),
        latex=r"\mathbb R^{K\times K}=2\cdot\mathbf 1\oplus 3V\oplus S^{(K-2,2)}\oplus\Lambda^2V",
        source="THEORY 7.0; derived here",
        hypotheses=(BALANCED,),
        region=closed_forms,
        check=_library,
        mutant=Mutant("own-class within-class curvature halved", _library_halved),
        tolerance=Tolerance(
            1e-12,
            "size eps max|eigenvalue| of a dense symmetric eigensolver (P <= 80), "
            "with room for the rounding of automatic differentiation; relative to max|eigenvalue|",
        ),
        uses=("reduced-spectrum",),
    ),
)
