"""Conditioning at the minimiser: which Hessian smoothing and rescaling improve, and which not."""

from __future__ import annotations

from collections.abc import Callable
from functools import cache
from typing import Any

import numpy as np

from landscape.curvature.hessian import dense_hessian
from proofs_check.claim import Claim, Mutant, Tolerance
from proofs_check.claims.minimisers import c_of
from proofs_check.claims.spectra import against_dense, closed_form, closed_form_again
from proofs_check.claims.tables import pair_of, smoothed_curvatures
from proofs_check.hypotheses import (
    BELOW,
    CROSS_ENTROPIES,
    FOUR_CLASSES,
    FRAME_FITS,
    RESCALED,
    SMOOTHED,
    THREE_CLASSES,
)
from proofs_check.law import Law, relative
from proofs_check.redraw import redrawn_by
from proofs_check.specimens import PlainSpecimen
from ufm.losses import MSE, CrossEntropy, LabelSmoothing, Loss, RescaledMSE
from ufm.plain.model import UFM
from ufm.typing import Array

# Below this share of the largest, an eigenvalue is a zero mode: true ones exceed 1e-4 here.
ZERO = 1e-9

# c = 0.03, 0.09, 0.4, 0.7 at K = 3, n = 2, and the same decays at K = 4, n = 1.
_DECAYS = ((8e-3, 6e-3), (3e-2, 1.5e-2), (0.12, 0.075), (0.2, 0.14))


@redrawn_by(closed_form_again)
@cache
def conditioned(quick: bool = False) -> tuple[PlainSpecimen, ...]:
    """Minimisers of CE, label smoothing, MSE and rescaled MSE from small to large c, d > K."""
    losses: tuple[Loss, ...] = (CrossEntropy(), LabelSmoothing(0.05), LabelSmoothing(0.1))
    losses += (LabelSmoothing(0.2), MSE(), RescaledMSE(5.0, 1.0), RescaledMSE(1.0, 15.0))
    losses += (RescaledMSE(3.0, 2.0), RescaledMSE(15.0, 30.0))
    found = []
    for K, d, n in ((3, 5, 2),) if quick else ((3, 5, 2), (4, 6, 1), (2, 3, 3), (5, 7, 1)):
        for loss in losses:
            for lw, lh in _DECAYS:
                found.append(closed_form(UFM(loss, K, d, n, lambda_W=lw, lambda_H=lh)))
    return tuple(specimen for specimen in found if specimen is not None)


def _blocks(specimen: PlainSpecimen) -> tuple[Array, Array]:
    """The W block and the H block of the dense full-problem Hessian."""
    model = specimen.model
    matrix = dense_hessian(model, specimen.full_point)
    size = model.num_classes * model.d
    return matrix[:size, :size], matrix[size:, size:]


def _condition(matrix: Array) -> float:
    """Largest over smallest eigenvalue that is not a zero mode."""
    return _spread(np.asarray(np.linalg.eigvalsh(matrix)))


def _spread(values: Array) -> float:
    positive = values[values > ZERO * values.max()]
    return float(positive.max() / positive.min())


def _loss_only(specimen: PlainSpecimen) -> Array:
    """Ratio of nonzero eigenvalues of the loss-only W block and H block."""
    model, found = specimen.model, []
    for block, decay in zip(_blocks(specimen), (model.lambda_W, model.lambda_H), strict=True):
        found.append(_condition(block - float(decay) * np.eye(len(block))))
    return np.array(found)


def own_over_other(K: int, n: int, lambda_W: float, lambda_H: float, delta: float) -> float:
    """R = K - (K - 1)(c + delta)."""
    return K - (K - 1) * (c_of(K, n, lambda_W, lambda_H) + delta)


def _half_smoothed(K: int, c: float, delta: float) -> float:
    return K - (K - 1) * (c + delta / 2)


def _block_condition(specimen: PlainSpecimen) -> float:
    """Condition number of the regularised H block, from the dense Hessian."""
    return _condition(_blocks(specimen)[1])


def _block_conditions(specimen: PlainSpecimen) -> Array:
    return np.array([_condition(block) for block in _blocks(specimen)])


def block_condition(K: int, n: int, lambda_W: float, lambda_H: float, delta: float) -> float:
    """1 + p alpha (c + delta)/c."""
    c = c_of(K, n, lambda_W, lambda_H)
    u = c + delta
    alpha, p = np.log(K / u - K + 1), 1 - (K - 1) * u / K
    return float(1 + p * alpha * u / c)


def _without_inflation(K: int, c: float, delta: float) -> float:
    u = c + delta
    return float(1 + (1 - (K - 1) * u / K) * np.log(K / u - K + 1))


DELTA = {"delta": lambda s: float(getattr(s.model.loss, "delta", 0.0))}


def _block_spectra(specimen: PlainSpecimen) -> tuple[Array, Array]:
    """Eigenvalues of the W block and of the H block."""
    return tuple(np.asarray(np.linalg.eigvalsh(block)) for block in _blocks(specimen))  # type: ignore[return-value]


def block_tables(
    K: int, d: int, n: int, lambda_W: float, lambda_H: float, delta: float
) -> tuple[Any, Any]:
    """Table 7.7 for CE and LS."""
    c = c_of(K, n, lambda_W, lambda_H)
    alpha, s1, s2 = smoothed_curvatures(K, c, delta)
    theta, R = alpha * s2 / c, s1 / s2
    q = (R - 1) / (K - 1)
    W = [
        (lambda_W * (1 + theta), K**2 - 3 * K + 1),
        (lambda_W * (1 + R * theta), 1),
        (lambda_W * (1 + (1 + q * (K - 2)) * theta), K - 1),
        (lambda_W, K * d - (K - 1) ** 2),
    ]
    H = [
        (lambda_H * (1 + theta), K * n * (K - 2)),
        (lambda_H * (1 + R * theta), K * n),
        (lambda_H, K * n * (d - K + 1)),
    ]
    return W, H


def _blocks_without_unequal_norms(
    K: int, d: int, n: int, lambda_W: float, lambda_H: float, delta: float
) -> tuple[Any, Any]:
    W, H = block_tables(K, d, n, lambda_W, lambda_H, delta)
    return [W[0], W[1], (W[0][0], K - 1), W[3]], H


def _table_errors(seen: tuple[Array, Array], said: tuple[Any, Any]) -> float:
    return max(against_dense(one, other) for one, other in zip(seen, said, strict=True))


def _against(
    specimen: PlainSpecimen,
    other: Loss,
    measure: Callable[[PlainSpecimen], float],
    factor: float = 1.0,
) -> float:
    """max(0, measure / (factor * measure of another loss) - 1), same sizes and decays."""
    model = specimen.model
    K, d, n = model.num_classes, model.d, model.n
    lw, lh = float(model.lambda_W), float(model.lambda_H)
    rival = closed_form(UFM(other, K, d, n, lambda_W=lw, lambda_H=lh))
    if rival is None:
        return float("nan")
    return max(0.0, measure(specimen) / (factor * measure(rival)) - 1)


def _smoothing_blocks(specimen: PlainSpecimen, factor: float = 1.0) -> float:
    return _against(specimen, CrossEntropy(), _block_condition, factor)


def _joint_condition(specimen: PlainSpecimen) -> float:
    return _spread(specimen.dense_eigenvalues)


def _rescaling(specimen: PlainSpecimen, factor: float = 1.0) -> float:
    return _against(specimen, MSE(), _joint_condition, factor)


def _angle_modes(specimen: PlainSpecimen) -> tuple[Array, float]:
    """Eigenvalues of the Hessian on one angle deformation of W and H, and what leaves the plane.

    A = X W and B = H X with X symmetric, zero diagonal and zero row sums span an invariant plane.
    """
    model = specimen.model
    K, n = model.num_classes, model.n
    X = np.zeros((K, K))
    X[np.ix_([0, 1], [2, 3])] = [[1, -1], [-1, 1]]
    X = X + X.T
    W, H, _ = specimen.merged.as_merged(specimen.point)[1].to_numpy()
    full = np.repeat(H @ X, n, axis=1)
    plane = np.zeros((W.size + full.size, 2))
    plane[: W.size, 0] = np.ravel(X @ W) / np.linalg.norm(X @ W)
    plane[W.size :, 1] = np.ravel(full) / np.linalg.norm(full)
    matrix = dense_hessian(model, specimen.full_point)
    inside = plane.T @ matrix @ plane
    leak = float(np.linalg.norm(matrix @ plane - plane @ inside))
    return np.asarray(np.linalg.eigvalsh(inside)), leak


def angle_rates(K: int, n: int, lambda_W: float, lambda_H: float, delta: float) -> Array:
    """Roots of pair(1) with theta = alpha (c + delta)/(K c)."""
    c = c_of(K, n, lambda_W, lambda_H)
    alpha = np.log(K / (c + delta) - K + 1)
    return np.array(pair_of(lambda_W, lambda_H, float(alpha * (c + delta) / (K * c))))


def _rates_unsmoothed(K: int, n: int, lambda_W: float, lambda_H: float, delta: float) -> Array:
    c = c_of(K, n, lambda_W, lambda_H)
    alpha = np.log(K / (c + delta) - K + 1)
    return np.array(pair_of(lambda_W, lambda_H, float(alpha / K)))


def _rate_error(seen: tuple[Array, float], said: Array) -> float:
    return float((np.abs(seen[0] - said).max() + seen[1]) / said[0])


_RATIO = "eigenvalues known to 1e-15 of the largest, over the smallest nonzero one (1e-4); x 100"


@redrawn_by(closed_form_again)
@cache
def _angle_region(quick: bool = False) -> tuple[PlainSpecimen, ...]:
    """K = 4 and 5, where angle modes exist, whatever the mode."""
    losses = (CrossEntropy(), LabelSmoothing(0.05), LabelSmoothing(0.2))
    models = [
        UFM(loss, K, 6, n, lambda_W=lw, lambda_H=lh)
        for K, n in ((4, 1), (4, 2), (5, 2))[: 1 if quick else None]
        for loss in losses
        for lw, lh in (*_DECAYS[: 2 if quick else 4], (0.8, 0.5))
    ]
    return tuple(s for s in map(closed_form, models) if s is not None)


CLAIMS = (
    Claim(
        id="smoothing-loss-hessian",
        title="Label smoothing: conditioning of the loss alone",
        statement=(
            "The loss-only Hessian in H (W fixed) or in W (H fixed), without weight decay, has "
            "ratio R of largest to smallest nonzero eigenvalue, which falls as delta grows: in "
            "this sense label smoothing is better conditioned."
        ),
        latex=r"\kappa(\nabla^2_{HH}g)=\kappa(\nabla^2_{WW}g)=R=K-(K-1)(c+\delta)",
        source="LS-2a; derived here, after Guo et al. (2024)",
        literature="recalled",
        hypotheses=(CROSS_ENTROPIES, THREE_CLASSES, BELOW),
        region=conditioned,
        check=Law(own_over_other, _loss_only, DELTA, relative),
        mutant=Mutant("delta halved", Law(_half_smoothed, _loss_only, DELTA, relative)),
        tolerance=Tolerance(1e-9, _RATIO),
        uses=("spectrum-logit-losses",),
    ),
    Claim(
        id="diagonal-blocks",
        title="Spectra of the W block and the H block: CE, LS",
        statement="At the simplex minimiser of cross entropy and label smoothing the W block of "
        "the Hessian has (K - 1)^2 eigenvalues above lambda_W in three levels, the H block two "
        "levels above lambda_H.",
        latex=r"\lambda_W(1+\theta)\times(K^2-3K+1),\ \lambda_W(1+R\theta)\times1,\ "
        r"\lambda_W(1+(1+\hat q(K-2))\theta)\times(K-1)",
        source="THEORY 7.7; derived here",
        hypotheses=(CROSS_ENTROPIES, THREE_CLASSES, BELOW),
        region=conditioned,
        check=Law(block_tables, _block_spectra, DELTA, _table_errors),
        tolerance=Tolerance(1e-12, "rounding of a dense eigensolver, relative to the largest"),
        mutant=Mutant(
            "unequal norms as stiff as angles",
            Law(_blocks_without_unequal_norms, _block_spectra, DELTA, _table_errors),
        ),
        uses=(
            "spectrum-logit-losses",
            "spectrum-mse",
            "identity-block-weights-alone",
            "identity-block-features-alone",
            "identity-block-factors-alone-squared-error",
        ),
    ),
    Claim(
        id="smoothing-regularised-blocks",
        title="Label smoothing: conditioning of the W and H blocks with decay",
        statement=(
            "With weight decay and d >= K the W block and the H block share one condition number,"
            " which label smoothing multiplies by about (c + delta)/c when c is small."
        ),
        latex=r"\kappa_W=\kappa_H=1+p\,\alpha\,\frac{c+\delta}c,\quad p=1-\tfrac{K-1}K(c+\delta)",
        source="LS-2b; derived here",
        hypotheses=(CROSS_ENTROPIES, FRAME_FITS, BELOW),
        region=conditioned,
        check=Law(block_condition, _block_conditions, DELTA, relative),
        mutant=Mutant(
            "without the factor (c + delta)/c",
            Law(_without_inflation, _block_conditions, DELTA, relative),
        ),
        tolerance=Tolerance(1e-9, _RATIO),
        uses=("spectrum-logit-losses", "diagonal-blocks"),
    ),
    Claim(
        id="smoothing-better-conditioned",
        title="Refuted: label smoothing is better conditioned",
        statement=(
            "FALSE without saying which Hessian: at equal decays the regularised feature block of"
            " label smoothing has a condition number no larger than that of cross entropy. It "
            "fails at small c and holds at large c."
        ),
        latex=r"\kappa_H(\delta)\le\kappa_H(0)",
        source="LS-2b; the claim after Guo et al. (2024), whose Hessian is that of LS-2a",
        literature="refuted",
        hypotheses=(SMOOTHED, BELOW),
        region=conditioned,
        check=_smoothing_blocks,
        mutant=Mutant("better by a factor of two", lambda s: _smoothing_blocks(s, 0.5)),
        holds=False,
        tolerance=Tolerance(1e-6, _RATIO),
        uses=("spectrum-logit-losses",),
    ),
    Claim(
        id="rescaling-better-conditioned",
        title="Refuted: rescaling MSE improves the joint condition number",
        statement=(
            "FALSE: at equal decays a larger own-class weight kappa >= 1 or target M >= 1 lowers "
            "the condition number of the joint Hessian in (W, H) modulo rotations."
        ),
        latex=r"\kappa_{(W,H)}(\kappa,M)\le\kappa_{(W,H)}(1,1)",
        source="MSE-4; derived here; the tuning after Zhou et al. (2022)",
        literature="refuted",
        hypotheses=(RESCALED, BELOW),
        region=conditioned,
        check=_rescaling,
        mutant=Mutant("better by a factor of two", lambda s: _rescaling(s, 0.5)),
        holds=False,
        tolerance=Tolerance(1e-6, _RATIO),
        uses=("minimiser-rescaled-mse",),
    ),
    Claim(
        id="smoothing-angle-rates",
        title="Rates of the frame's angles under CE and label smoothing",
        statement=(
            "Gradient flow restores the angles of the frame at the two roots of one quadratic in "
            "theta; for equal decays the slow rate is 2 lambda min(1, theta)."
        ),
        latex=r"x^2-(\lambda_W+\lambda_H)(1+\theta)x+4\theta\lambda_W\lambda_H=0,\quad "
        r"\theta=\frac{\alpha(c+\delta)}{Kc}",
        source="LS-3; derived here",
        hypotheses=(CROSS_ENTROPIES, FOUR_CLASSES, BELOW),
        region=_angle_region,
        check=Law(angle_rates, _angle_modes, DELTA, _rate_error),
        mutant=Mutant(
            "theta = alpha/K for label smoothing too",
            Law(_rates_unsmoothed, _angle_modes, DELTA, _rate_error),
        ),
        tolerance=Tolerance(1e-9, _RATIO),
        uses=("spectrum-logit-losses",),
    ),
)
