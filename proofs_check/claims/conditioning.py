"""Conditioning at the minimiser: which Hessian smoothing and rescaling improve, and which not."""

from __future__ import annotations

from collections.abc import Callable
from functools import cache

import numpy as np
from numpy.typing import NDArray

from landscape.curvature.hessian import dense_hessian
from proofs_check.claim import Claim, Hypothesis, Mutant
from proofs_check.claims.spectra import BELOW, CROSS_ENTROPIES, closed_form, loss_is
from proofs_check.specimens import Region, Specimen
from ufm.losses import MSE, CrossEntropy, LabelSmoothing, Loss, RescaledMSE
from ufm.plain.model import UFM

Array = NDArray[np.float64]
SUBJECT = "conditioning"
# Below this share of the largest, an eigenvalue is a zero mode: true ones exceed 1e-4 here.
ZERO = 1e-9

SMOOTHED = loss_is("the loss is label smoothing", LabelSmoothing)
RESCALED = loss_is("the loss is rescaled MSE", RescaledMSE)
WIDE = Hypothesis("d >= K", lambda s: s.model.d >= s.model.num_classes)
# c = 0.03, 0.09, 0.4, 0.7 at K = 3, n = 2, and the same decays at K = 4, n = 1.
_DECAYS = ((8e-3, 6e-3), (3e-2, 1.5e-2), (0.12, 0.075), (0.2, 0.14))


@cache
def conditioned(quick: bool = False) -> tuple[Specimen, ...]:
    """Minimisers of CE, label smoothing, MSE and rescaled MSE from small to large c, d > K."""
    losses: tuple[Loss, ...] = (CrossEntropy(), LabelSmoothing(0.05), LabelSmoothing(0.1))
    losses += (LabelSmoothing(0.2), MSE(), RescaledMSE(5.0, 1.0), RescaledMSE(1.0, 15.0))
    losses += (RescaledMSE(3.0, 2.0), RescaledMSE(15.0, 30.0))
    found = []
    for K, d, n in ((3, 5, 2),) if quick else ((3, 5, 2), (4, 6, 1)):
        for loss in losses:
            for lw, lh in _DECAYS:
                found.append(closed_form(UFM(loss, K, d, n, lambda_W=lw, lambda_H=lh)))
    return tuple(specimen for specimen in found if specimen is not None)


def _blocks(specimen: Specimen) -> tuple[Array, Array]:
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


def _loss_only(specimen: Specimen, weight: float = 1.0) -> float:
    """Both loss-only blocks: ratio of nonzero eigenvalues against R, relative."""
    model = specimen.model
    K, delta = model.num_classes, float(getattr(model.loss, "delta", 0.0))
    R = K - (K - 1) * (model.c + weight * delta)
    error = 0.0
    for block, decay in zip(_blocks(specimen), (model.lambda_W, model.lambda_H), strict=True):
        found = _condition(block - float(decay) * np.eye(len(block)))
        error = max(error, abs(found / R - 1))
    return error


def _block_condition(specimen: Specimen) -> float:
    """Condition number of the regularised H block, from the dense Hessian."""
    return _condition(_blocks(specimen)[1])


def _regularised(specimen: Specimen, inflation: bool = True) -> float:
    """Both regularised blocks against 1 + p alpha u / c, relative."""
    model = specimen.model
    K, c = model.num_classes, model.c
    u = c + float(getattr(model.loss, "delta", 0.0))
    alpha, p = np.log(K / u - K + 1), 1 - (K - 1) * u / K
    kappa = 1 + p * alpha * (u / c if inflation else 1.0)
    found = [_condition(block) for block in _blocks(specimen)]
    return max(abs(value / kappa - 1) for value in found)


def _against(
    specimen: Specimen, other: Loss, measure: Callable[[Specimen], float], factor: float = 1.0
) -> float:
    """max(0, measure / (factor * measure of another loss) - 1), same sizes and decays."""
    model = specimen.model
    K, d, n = model.num_classes, model.d, model.n
    lw, lh = float(model.lambda_W), float(model.lambda_H)
    rival = closed_form(UFM(other, K, d, n, lambda_W=lw, lambda_H=lh))
    if rival is None:
        return float("nan")
    return max(0.0, measure(specimen) / (factor * measure(rival)) - 1)


def _smoothing_blocks(specimen: Specimen, factor: float = 1.0) -> float:
    return _against(specimen, CrossEntropy(), _block_condition, factor)


def _joint_condition(specimen: Specimen) -> float:
    return _spread(specimen.dense_eigenvalues)


def _rescaling(specimen: Specimen, factor: float = 1.0) -> float:
    return _against(specimen, MSE(), _joint_condition, factor)


def _angle_modes(specimen: Specimen, smoothed: bool = True) -> float:
    """The Hessian on one angle deformation of W and H against the roots of pair(1), relative.

    A = X W and B = H X with X symmetric, zero diagonal and zero row sums span an invariant plane.
    """
    model = specimen.model
    K, n, c = model.num_classes, model.n, model.c
    lw, lh = float(model.lambda_W), float(model.lambda_H)
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
    delta = float(getattr(model.loss, "delta", 0.0))
    alpha = np.log(K / (c + delta) - K + 1)
    theta = alpha * (c + delta if smoothed else c) / (K * c)
    trace = (lw + lh) * (1 + theta)
    half = np.sqrt(trace**2 - 16 * theta * lw * lh)
    expected = 0.5 * np.array([trace - half, trace + half])
    difference = float(np.abs(np.linalg.eigvalsh(inside) - expected).max())
    return (difference + leak) / float(expected[0])


_RATIO = "eigenvalues known to 1e-15 of the largest, over the smallest nonzero one (1e-4); x 100"
_FOUR = Hypothesis("K >= 4", lambda s: s.model.num_classes >= 4)


def _claim(
    id: str,
    title: str,
    statement: str,
    latex: str,
    source: str,
    literature: str,
    hypotheses: tuple[Hypothesis, ...],
    check: Callable[[Specimen], float],
    mutant: Mutant,
    holds: bool = True,
    tolerance: float = 1e-9,
    region: Region = conditioned,
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
        tolerance=tolerance,
        tolerance_source=_RATIO,
        tier="T1",
        mutant=mutant,
        holds=holds,
        subject=SUBJECT,
    )


@cache
def _angle_region(quick: bool = False) -> tuple[Specimen, ...]:
    """K = 4, where angle modes exist, whatever the mode."""
    losses = (CrossEntropy(), LabelSmoothing(0.05), LabelSmoothing(0.2))
    models = [
        UFM(loss, 4, 6, lambda_W=lw, lambda_H=lh)
        for loss in losses
        for lw, lh in (*_DECAYS[: 2 if quick else 4], (0.8, 0.5))
    ]
    return tuple(s for s in map(closed_form, models) if s is not None)


CLAIMS = (
    _claim(
        "smoothing-loss-hessian",
        "Label smoothing: conditioning of the loss alone",
        "The loss-only Hessian in H (W fixed) or in W (H fixed), without weight decay, has ratio "
        "R of largest to smallest nonzero eigenvalue, which falls as delta grows: in this sense "
        "label smoothing is better conditioned.",
        r"\kappa(\nabla^2_{HH}g)=\kappa(\nabla^2_{WW}g)=R=K-(K-1)(c+\delta)",
        "LS-2a; derived here, after Guo et al. (2024)",
        "recalled",
        (CROSS_ENTROPIES, BELOW),
        _loss_only,
        Mutant("delta halved", lambda s: _loss_only(s, 0.5)),
    ),
    _claim(
        "smoothing-regularised-blocks",
        "Label smoothing: conditioning of the W and H blocks with decay",
        "With weight decay and d >= K the W block and the H block share one condition number, "
        "which label smoothing multiplies by about (c + delta)/c when c is small.",
        r"\kappa_W=\kappa_H=1+p\,\alpha\,\frac{c+\delta}c,\quad p=1-\tfrac{K-1}K(c+\delta)",
        "LS-2b; derived here",
        "derived here",
        (CROSS_ENTROPIES, WIDE, BELOW),
        _regularised,
        Mutant("without the factor (c + delta)/c", lambda s: _regularised(s, False)),
    ),
    _claim(
        "smoothing-better-conditioned",
        "Refuted: label smoothing is better conditioned",
        "FALSE without saying which Hessian: at equal decays the regularised feature block of "
        "label smoothing has a condition number no larger than that of cross entropy. It fails at "
        "small c and holds at large c.",
        r"\kappa_H(\delta)\le\kappa_H(0)",
        "LS-2b; the claim after Guo et al. (2024), whose Hessian is that of LS-2a",
        "refuted",
        (SMOOTHED, BELOW),
        _smoothing_blocks,
        Mutant("better by a factor of two", lambda s: _smoothing_blocks(s, 0.5)),
        holds=False,
        tolerance=1e-6,
    ),
    _claim(
        "rescaling-better-conditioned",
        "Refuted: rescaling MSE improves the joint condition number",
        "FALSE: at equal decays a larger own-class weight kappa >= 1 or target M >= 1 lowers the "
        "condition number of the joint Hessian in (W, H) modulo rotations.",
        r"\kappa_{(W,H)}(\kappa,M)\le\kappa_{(W,H)}(1,1)",
        "MSE-4; derived here; the tuning after Zhou et al. (2022)",
        "refuted",
        (RESCALED, BELOW),
        _rescaling,
        Mutant("better by a factor of two", lambda s: _rescaling(s, 0.5)),
        holds=False,
        tolerance=1e-6,
    ),
    _claim(
        "smoothing-angle-rates",
        "Rates of the frame's angles under CE and label smoothing",
        "Gradient flow restores the angles of the frame at the two roots of one quadratic in "
        "theta; for equal decays the slow rate is 2 lambda min(1, theta).",
        r"x^2-(\lambda_W+\lambda_H)(1+\theta)x+4\theta\lambda_W\lambda_H=0,\quad "
        r"\theta=\frac{\alpha(c+\delta)}{Kc}",
        "LS-3; derived here",
        "derived here",
        (CROSS_ENTROPIES, _FOUR, BELOW),
        _angle_modes,
        Mutant("theta = alpha/K for label smoothing too", lambda s: _angle_modes(s, False)),
        region=_angle_region,
    ),
)
