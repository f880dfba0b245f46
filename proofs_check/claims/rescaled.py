"""Rescaled MSE: continua of inequivalent critical points, which no symmetry explains."""

from __future__ import annotations

from functools import cache
from typing import Any

import numpy as np

from proofs_check.claim import COUNTING, Claim, Hypothesis, Mutant, Tolerance
from proofs_check.claims.minimisers import c_of
from proofs_check.claims.mse import product, rank, rotations
from proofs_check.formula_alterations import formula
from proofs_check.hypotheses import NO_BIAS, RESCALED
from proofs_check.instance import Specimen, nullity_of
from proofs_check.law import Law, miscount
from proofs_check.redraw import redrawn_by
from proofs_check.specimens import PlainSpecimen, built_on, critical_specimens
from ufm.eigen import eigh
from ufm.losses import RescaledMSE
from ufm.plain.model import UFM
from ufm.point import Point
from ufm.typing import Array

# Effective targets of two classes agree to the residual or differ by O(1).
EQUAL = 1e-6

CONNECTED = Hypothesis(
    "classes with equal effective target do not split into orthogonal parts",
    lambda s: not _splits(s),
)


def effective_targets(specimen: PlainSpecimen) -> Array:
    """D_k = kappa M sqrt(n_k) - (kappa - 1) Z_kk: Z is the soft thresholding of diag(D)."""
    loss, Z = specimen.model.loss, product(specimen)
    kappa, M = float(loss.kappa), float(loss.M)
    roots = np.sqrt(np.asarray(specimen.model.counts, dtype=float))
    return np.asarray(kappa * M * roots - (kappa - 1) * np.diag(Z))


def _groups(specimen: PlainSpecimen) -> list[Array]:
    """Classes with equal effective target."""
    D = effective_targets(specimen)
    left, found = list(range(len(D))), []
    while left:
        group = [k for k in left if abs(D[k] - D[left[0]]) <= EQUAL * abs(D[left[0]])]
        found.append(np.array(group))
        left = [k for k in left if k not in group]
    return found


def _splits(specimen: PlainSpecimen) -> bool:
    """Whether some group's block of Z is a direct sum of two blocks that both matter."""
    Z = product(specimen)
    for group in _groups(specimen):
        block = np.abs(Z[np.ix_(group, group)]) > EQUAL
        reach = np.linalg.matrix_power(block.astype(float) + np.eye(len(group)), len(group)) > 0
        ranks = np.linalg.matrix_rank(Z[np.ix_(group, group)], tol=EQUAL)
        if 0 < ranks < len(group) and not np.all(reach):
            return True
    return False


def group_sizes(specimen: PlainSpecimen) -> Array:
    """(m, r) of every group of equal effective target: classes, and dimensions in use."""
    Z, found = product(specimen), []
    for group in _groups(specimen):
        found.append((len(group), np.linalg.matrix_rank(Z[np.ix_(group, group)], tol=EQUAL)))
    return np.array(found)


def nullity(d: int, r: int, groups: Array) -> float:
    """Rotations, and the projectors with a given diagonal of each group in use."""
    return rotations(d, r) + sum(projectors(m, s) for m, s in groups if 0 < s < m)


@formula
def projectors(m: int, r: int) -> float:
    """r (m - r) - (m - 1)."""
    return r * (m - r) - (m - 1)


def _doubled(d: int, r: int, groups: Array) -> float:
    return 2 * nullity(d, r, groups) - rotations(d, r)


GROUPS = {"r": rank, "groups": group_sizes}


def frame_point(model: UFM, projector: Array) -> Point:
    """Z = a Pi for a projector Pi with diagonal r/K, balanced: critical for every such Pi.

    a = (kappa M sqrt(n) - N sigma) / (1 + (kappa - 1) r / K).
    """
    K, r = model.num_classes, round(float(np.trace(projector)))
    kappa, M = float(model.loss.kappa), float(model.loss.M)  # type: ignore[attr-defined]
    a = kappa * M * np.sqrt(model.n) - model.num_samples * model.sigma
    a /= 1 + (kappa - 1) * r / K
    columns = eigh(projector)[1][:, K - r :] * np.sqrt(a)
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


def _family_again(listed: PlainSpecimen, model: UFM, seed: int) -> PlainSpecimen | None:
    """The same projector at other numbers, where its point exists."""
    del seed
    W = np.asarray(listed.point.W)
    if model.num_classes != len(W) or model.d < np.linalg.matrix_rank(W):
        return None
    point = frame_point(model, W @ np.linalg.pinv(W))
    return (
        Specimen(model, point, listed.kind, note=listed.note)
        if np.isfinite(point.W).all()
        else None
    )


@redrawn_by(_family_again)
@cache
def families(quick: bool = False) -> tuple[PlainSpecimen, ...]:
    """Points of the continua: K = 4 at several angles (d = 6 and d = 2), the pentagon at K = 5."""
    found = []
    for kappa, M in ((3.0, 2.0), (0.5, 1.5))[: 1 if quick else 2]:
        for d, n in ((6, 1),) if quick else ((6, 1), (2, 3)):
            model = UFM(RescaledMSE(kappa, M), 4, d, n, lambda_W=8e-3, lambda_H=5e-3)
            for angle in (0.3, 0.7, 1.1):
                point = frame_point(model, turned_projector(angle))
                found.append(Specimen(model, point, "closed form", note=f"angle {angle}"))
    if not quick:
        model = UFM(RescaledMSE(3.0, 2.0), 5, 4, 2, lambda_W=8e-3, lambda_H=5e-3)
        turn = 2 * np.pi * np.arange(5) / 5
        Pi = 0.4 * np.cos(turn[:, None] - turn[None, :])
        found.append(Specimen(model, frame_point(model, Pi), "closed form", note="pentagon"))
        model = UFM(RescaledMSE(1.7, 2.4), 6, 4, 3, lambda_W=4e-3, lambda_H=9e-3)
        Pi = np.kron(np.eye(3), np.full((2, 2), 0.5))
        found.append(Specimen(model, frame_point(model, Pi), "closed form", note="three pairs"))
    return tuple(found)


@built_on(critical_specimens)
def _points(quick: bool) -> tuple[PlainSpecimen, ...]:
    return families(quick) + critical_specimens(quick)


def _factors(specimen: PlainSpecimen) -> tuple[Array, Array, int]:
    """W, Hbar and the rank, with the model's own scale taken out: W Hbar is a projector."""
    W, H, _ = specimen.merged.as_merged(specimen.point)[1].to_numpy()
    r = rank(specimen)
    scale = np.sqrt(np.trace(W @ H) / r)
    return W / scale, H / scale, r


def scale_of(
    K: int, n: int, lambda_W: float, lambda_H: float, kappa: float, M: float, r: int
) -> float:
    """sqrt(n) (kappa M - c) / (1 + (kappa - 1) r / K)."""
    c = c_of(K, n, lambda_W, lambda_H)
    return float(np.sqrt(n) * (kappa * M - c) / (1 + (kappa - 1) * r / K))


def _scale_of_full_rank(n: int, c: float, kappa: float, M: float) -> float:
    return float(np.sqrt(n) * (kappa * M - c) / kappa)


def _gradient_at(seen: tuple[Any, ...], scale: float) -> float:
    """Gradient of the merged objective by hand, with the projector scaled as said."""
    W, H, _, lw, lh, kappa, M, roots = seen
    W, H = W * np.sqrt(scale), H * np.sqrt(scale)
    Z = W @ H
    G = (Z + np.diag((kappa - 1) * np.diag(Z) - kappa * M * roots)) / np.sum(roots**2)
    gradients = G @ H.T + lw * W, W.T @ G + lh * H
    return float(sum(np.linalg.norm(x) for x in gradients))


def _seen(specimen: PlainSpecimen) -> tuple[Any, ...]:
    model = specimen.model
    decays = float(model.lambda_W), float(model.lambda_H)
    roots = np.sqrt(np.asarray(model.counts, dtype=float))
    return (*_factors(specimen), *decays, float(model.loss.kappa), float(model.loss.M), roots)


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
        hypotheses=(RESCALED, NO_BIAS),
        region=families,
        check=Law(scale_of, _seen, {"r": rank}, _gradient_at),
        tier="T0",
        mutant=Mutant("the scale of rank K", Law(_scale_of_full_rank, _seen, error=_gradient_at)),
        tolerance=Tolerance(1e-13, "rounding of products of matrices with entries of order one"),
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
        hypotheses=(RESCALED, NO_BIAS, CONNECTED),
        region=_points,
        check=Law(nullity, nullity_of, GROUPS, miscount),
        mutant=Mutant("rotations alone", Law(rotations, nullity_of, GROUPS, miscount)),
        tolerance=COUNTING,
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
        hypotheses=(RESCALED, NO_BIAS),
        region=_points,
        check=Law(rotations, nullity_of, GROUPS, miscount),
        mutant=Mutant("the family doubled", Law(_doubled, nullity_of, GROUPS, miscount)),
        holds=False,
        tolerance=COUNTING,
    ),
)
