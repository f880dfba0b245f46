"""Rescaled MSE: continua of inequivalent critical points, which no symmetry explains."""

from __future__ import annotations

from functools import cache

import numpy as np
from numpy.typing import NDArray

from proofs_check.claim import Claim, Hypothesis, Mutant
from proofs_check.claims.mse import INTEGER, INTEGER_SOURCE, product, rank, signs
from proofs_check.claims.spectra import BIAS_FREE, loss_is
from proofs_check.specimens import Specimen, built_on, critical_specimens
from ufm.losses import RescaledMSE
from ufm.plain.model import UFM
from ufm.point import Point

Array = NDArray[np.float64]
SUBJECT = "rescaled MSE"
# Effective targets of two classes agree to the residual or differ by O(1).
EQUAL = 1e-6

RESCALED = loss_is("the loss is rescaled MSE", RescaledMSE)
CONNECTED = Hypothesis(
    "classes with equal effective target do not split into orthogonal parts",
    lambda s: not _splits(s),
)


def effective_targets(specimen: Specimen) -> Array:
    """D_k = kappa M sqrt(n_k) - (kappa - 1) Z_kk: Z is the soft thresholding of diag(D)."""
    loss, Z = specimen.model.loss, product(specimen)
    kappa, M = float(loss.kappa), float(loss.M)
    roots = np.sqrt(np.asarray(specimen.model.counts, dtype=float))
    return np.asarray(kappa * M * roots - (kappa - 1) * np.diag(Z))


def _groups(specimen: Specimen) -> list[Array]:
    """Classes with equal effective target."""
    D = effective_targets(specimen)
    left, found = list(range(len(D))), []
    while left:
        group = [k for k in left if abs(D[k] - D[left[0]]) <= EQUAL * abs(D[left[0]])]
        found.append(np.array(group))
        left = [k for k in left if k not in group]
    return found


def _splits(specimen: Specimen) -> bool:
    """Whether some group's block of Z is a direct sum of two blocks that both matter."""
    Z = product(specimen)
    for group in _groups(specimen):
        block = np.abs(Z[np.ix_(group, group)]) > EQUAL
        reach = np.linalg.matrix_power(block.astype(float) + np.eye(len(group)), len(group)) > 0
        ranks = np.linalg.matrix_rank(Z[np.ix_(group, group)], tol=EQUAL)
        if 0 < ranks < len(group) and not np.all(reach):
            return True
    return False


def _family_dimension(specimen: Specimen) -> int:
    """Projectors with a given diagonal: r_g (m_g - r_g) - (m_g - 1) for each group in use."""
    Z, total = product(specimen), 0
    for group in _groups(specimen):
        m, r = len(group), int(np.linalg.matrix_rank(Z[np.ix_(group, group)], tol=EQUAL))
        total += r * (m - r) - (m - 1) if 0 < r < m else 0
    return total


def _rotations(specimen: Specimen) -> int:
    r = rank(specimen)
    return r * (r - 1) // 2 + r * (specimen.model.d - r)


def _nullity(specimen: Specimen, family: bool = True) -> float:
    expected = _rotations(specimen) + (_family_dimension(specimen) if family else 0)
    return float(abs(signs(specimen)[1] - expected))


def frame_point(model: UFM, projector: Array) -> Point:
    """Z = a Pi for a projector Pi with diagonal r/K, balanced: critical for every such Pi.

    a = (kappa M sqrt(n) - N sigma) / (1 + (kappa - 1) r / K).
    """
    K, r = model.num_classes, round(float(np.trace(projector)))
    kappa, M = float(model.loss.kappa), float(model.loss.M)  # type: ignore[attr-defined]
    a = kappa * M * np.sqrt(model.n) - model.num_samples * model.sigma
    a /= 1 + (kappa - 1) * r / K
    columns = np.linalg.eigh(projector)[1][:, K - r :] * np.sqrt(a)
    columns = np.pad(columns, ((0, 0), (0, model.d - r)))
    ratio = (float(model.lambda_H) / float(model.lambda_W)) ** 0.25
    return Point(ratio * columns, columns.T / ratio)


def turned_projector(angle: float) -> Array:
    """Rank-two projectors of R^4 with diagonal 1/2, a circle of them.

    Example:
        >>> np.round(np.diag(turned_projector(0.7)), 12).tolist()
        [0.5, 0.5, 0.5, 0.5]
    """
    x, z, one = np.array([[0, 1], [1, 0]]), np.diag([1, -1]), np.eye(2)
    S = np.cos(angle) * np.kron(x, one) + np.sin(angle) * np.kron(z, x)
    return np.asarray(0.5 * (np.eye(4) + S))


@cache
def families(quick: bool = False) -> tuple[Specimen, ...]:
    """Points of the continua: K = 4 at several angles (d = 6 and d = 2), the pentagon at K = 5."""
    found = []
    for kappa, M in ((3.0, 2.0), (0.5, 1.5))[: 1 if quick else 2]:
        for d in (6,) if quick else (6, 2):
            model = UFM(RescaledMSE(kappa, M), 4, d, lambda_W=8e-3, lambda_H=5e-3)
            for angle in (0.3, 0.7, 1.1):
                point = frame_point(model, turned_projector(angle))
                found.append(Specimen(model, point, "closed form", note=f"angle {angle}"))
    if not quick:
        model = UFM(RescaledMSE(3.0, 2.0), 5, 4, 2, lambda_W=8e-3, lambda_H=5e-3)
        turn = 2 * np.pi * np.arange(5) / 5
        Pi = 0.4 * np.cos(turn[:, None] - turn[None, :])
        found.append(Specimen(model, frame_point(model, Pi), "closed form", note="pentagon"))
    return tuple(found)


@built_on(critical_specimens)
def _points(quick: bool) -> tuple[Specimen, ...]:
    return families(quick) + critical_specimens(quick)


def _critical(specimen: Specimen, shrunk: bool = True) -> float:
    """Gradient of the merged objective by hand, at the point or with a set for r = K."""
    model = specimen.model
    W, H, _ = specimen.merged.as_merged(specimen.point)[1].to_numpy()
    if not shrunk:
        K, kappa = model.num_classes, float(model.loss.kappa)
        scale = np.sqrt((1 + (kappa - 1) * rank(specimen) / K) / kappa)
        W, H = W * scale, H * scale
    Z, loss = W @ H, model.loss
    roots = np.sqrt(np.asarray(model.counts, dtype=float))
    kappa, M = float(loss.kappa), float(loss.M)
    G = (Z + np.diag((kappa - 1) * np.diag(Z) - kappa * M * roots)) / model.num_samples
    gradients = G @ H.T + float(model.lambda_W) * W, W.T @ G + float(model.lambda_H) * H
    return float(sum(np.linalg.norm(x) for x in gradients))


CLAIMS = (
    Claim(
        id="rescaled-mse-continua",
        title="Rescaled MSE: a critical point for every projector with equal diagonal",
        statement="For balanced bias-free rescaled MSE every projector of rank r with diagonal r/K "
        "gives a critical point; from K = 4, r = 2 on these form continua of points that no "
        "symmetry of the model relates.",
        latex=r"\bar Z=\frac{\kappa M-c}{1+(\kappa-1)r/K}\,\Pi,\quad\Pi=\Pi^\top=\Pi^2,\ "
        r"\Pi_{kk}=\tfrac rK",
        source="derived here",
        literature="derived here",
        hypotheses=(RESCALED, BIAS_FREE),
        region=families,
        check=_critical,
        tolerance=1e-13,
        tolerance_source="rounding of products of matrices with entries of order one",
        tier="T0",
        mutant=Mutant("the scale of rank K", lambda s: _critical(s, False)),
        subject=SUBJECT,
    ),
    Claim(
        id="rescaled-mse-nullity",
        title="Rescaled MSE: zero modes of every critical point",
        statement="The zero modes of bias-free rescaled MSE are rotations and, for each group of m "
        "classes with equal effective target of which r dimensions are in use, the projectors with "
        "given diagonal.",
        latex=r"\mathrm{nullity}=\tfrac{r(r-1)}2+r(d-r)+\sum_{g:0<r_g<m_g}"
        r"\bigl[r_g(m_g-r_g)-(m_g-1)\bigr],\quad D_k=\kappa M\sqrt{n_k}-(\kappa-1)Z_{kk}",
        source="derived here",
        literature="derived here",
        hypotheses=(RESCALED, BIAS_FREE, CONNECTED),
        region=_points,
        check=_nullity,
        tolerance=INTEGER,
        tolerance_source=INTEGER_SOURCE,
        tier="T1",
        mutant=Mutant("rotations alone", lambda s: _nullity(s, False)),
        subject=SUBJECT,
    ),
    Claim(
        id="rescaled-mse-zero-modes",
        title="Refuted: zero modes of rescaled MSE are rotations",
        statement="FALSE: without bias the only zero modes of rescaled MSE at its critical points "
        "are rotations of the features. Balanced K = 4 has a circle of critical points of rank two "
        "with equal objective and different logits.",
        latex=r"\mathrm{nullity}=\tfrac{r(r-1)}2+r(d-r)",
        source="A-2 with m = 0; derived here",
        literature="refuted",
        hypotheses=(RESCALED, BIAS_FREE),
        region=_points,
        check=lambda s: _nullity(s, False),
        tolerance=INTEGER,
        tolerance_source=INTEGER_SOURCE,
        tier="T1",
        mutant=Mutant("balanced classes only", lambda s: _nullity(s, False), families),
        holds=False,
        subject=SUBJECT,
    ),
)
