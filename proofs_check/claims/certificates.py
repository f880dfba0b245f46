"""The duality gap and the gradient norm: equality at minimisers, strict inequality at saddles."""

from __future__ import annotations

from functools import cache
from typing import Any

import numpy as np

from proofs_check.claim import Check, Claim, Hypothesis, Mutant
from proofs_check.claims.critical import (
    CONVEX,
    COUNTING,
    COUNTING_SOURCE,
    SHIFT_INVARIANT,
    frames,
)
from proofs_check.claims.saddles import low_dimension_minima
from proofs_check.specimens import (
    Specimen,
    built_on,
    critical_specimens,
    descended_specimens,
    where,
)
from ufm.plain.minimisers import global_minimiser
from ufm.point import Point

SUBJECT = "certificates"
# Critical points have |grad g|_2 / sigma = 1 to 1e-9 or above 1 by more than 1e-4 here.
RATIO_CUT = 1e-6


def _dimension_suffices(specimen: Specimen) -> bool:
    model = specimen.model
    K = model.num_classes
    centred = bool(SHIFT_INVARIANT.holds(specimen)) or model.lambda_b == 0
    return bool(model.d >= K - (1 if centred else 0))


DIMENSION = Hypothesis("d >= the rank of the optimum (K - 1, or K)", _dimension_suffices)


def _value(specimen: Specimen) -> float:
    model, point = specimen.model, specimen.point
    whole = point.H.shape[1] == model.num_columns
    return float((model if whole else specimen.merged).objective(point))


def gap(specimen: Specimen) -> float:
    """Duality gap, relative to 1 + |f|."""
    found = specimen.model.certificate(specimen.point)
    if found.gap is None:
        return float("nan")
    return abs(found.gap) / (1 + abs(found.bound + found.gap))


EQUALITY = Claim(
    id="certificate-equality",
    title="No duality gap at global minimisers",
    statement="For a convex loss the dual bound equals the objective wherever descent ends, "
    "balanced or not, with and without bias, once d suffices.",
    latex=r"f(W,H,b) = D(v),\qquad v_k = \nabla L_k",
    source="section C, CE-2; after Zhu et al. (2021), bound derived here",
    literature="derived here",
    hypotheses=(CONVEX, DIMENSION),
    region=descended_specimens,
    check=gap,
    tolerance=1e-9,
    tolerance_source="the gap is first order: gradient norm 1e-12 over curvature 1e-3",
    tier="T1",
    mutant=Mutant(
        "critical points in place of minimisers",
        region=where(critical_specimens, lambda s: bool(CONVEX.holds(s))),
    ),
    subject=SUBJECT,
)


def _ratio(specimen: Specimen, order: Any = 2) -> float:
    return float(np.linalg.norm(frames(specimen).G, order)) / float(specimen.model.sigma)


def _iff_error(order: Any) -> Check:
    def check(specimen: Specimen) -> float:
        known = global_minimiser(specimen.model)
        if known is None:
            return float("nan")
        is_global = _value(specimen) - known.value <= 1e-9
        return float(is_global != (_ratio(specimen, order) <= 1 + RATIO_CUT))

    return check


CRITERION = Claim(
    id="global-iff-gradient-at-most-sigma",
    title="Global exactly when |grad g| <= sigma",
    statement="A critical point of a convex loss is global exactly when the spectral norm of the "
    "gradient with respect to the logits is at most sigma; at every other one it is larger.",
    latex=r"f = f^* \iff |\nabla g|_2 \le \sqrt{\lambda_W\lambda_H}",
    source="CE-2; after Zhu et al. (2021), Hong & Ling (2024)",
    literature="proved",
    hypotheses=(
        CONVEX,
        DIMENSION,
        Hypothesis(
            "the minimum is known in closed form", lambda s: global_minimiser(s.model) is not None
        ),
    ),
    region=critical_specimens,
    check=_iff_error(2),
    tolerance=COUNTING,
    tolerance_source=COUNTING_SOURCE,
    tier="T1",
    mutant=Mutant("Frobenius norm for spectral norm", _iff_error("fro")),
    subject=SUBJECT,
)


def _trials(specimen: Specimen) -> list[Point]:
    """Random points, points near the minimum, and the minimum shrunk by 3 %."""
    rng = np.random.default_rng(specimen.size)

    def noise(x: np.ndarray | None, size: float, keep: float) -> np.ndarray | None:
        return None if x is None else keep * x + size * rng.normal(size=np.shape(x))

    scales = [(1.0, 0.0), (3.0, 0.0), (0.03, 1.0), (0.0, 0.97)]
    return [Point(*(noise(x, *scale) for x in specimen.point)) for scale in scales]


def _excess(stretch: float) -> Check:
    """How far the bound of any trial point exceeds the value reached by descent."""

    def check(specimen: Specimen) -> float:
        value = _value(specimen)
        model = specimen.model
        wider = model._replace(lambda_W=float(model.lambda_W) * stretch)
        bounds = [wider.certificate(point).bound for point in _trials(specimen)]
        return max(0.0, *(float(bound) - value for bound in bounds)) / (1 + abs(value))

    return check


@built_on(descended_specimens)
@cache
def minima_of_every_dimension(quick: bool = False) -> tuple[Specimen, ...]:
    """Minima in d >= K - 1 and, where the bound is valid but not tight, in d < K - 1."""
    return (*descended_specimens(quick), *low_dimension_minima(quick))


BOUND = Claim(
    id="bound-never-exceeds-the-minimum",
    title="The dual bound is a bound",
    statement="At any point, random or near the minimum, for any d, sizes and bias, the dual bound "
    "stays below the value that descent reaches.",
    latex=r"D(v(W,H,b)) \le f^* \quad \forall\, (W,H,b)",
    source="section C; derived here",
    literature="derived here",
    hypotheses=(CONVEX,),
    region=minima_of_every_dimension,
    check=_excess(1.0),
    tolerance=1e-12,
    tolerance_source="rounding of sums of K N numbers of order one, and f - f* below 1e-15",
    tier="T1",
    mutant=Mutant("a dual ball 10 % wider than sigma", _excess(1.21)),
    search=True,
    subject=SUBJECT,
)

NONZERO = Hypothesis("the minimiser is not zero", lambda s: float(np.abs(s.point.W).max()) > 1e-6)

RATIO = Claim(
    id="gradient-norm-is-sigma-at-minimisers",
    title="|grad g| = sigma at nonzero minimisers",
    statement="At every nonzero global minimiser of a convex loss, balanced or not, the spectral "
    "norm of the gradient equals sigma.",
    latex=r"|\nabla g|_2 = \sqrt{\lambda_W\lambda_H}",
    source="CE-2; after Zhu et al. (2021)",
    literature="proved",
    hypotheses=(CONVEX, DIMENSION, NONZERO),
    region=descended_specimens,
    check=lambda s: abs(_ratio(s) - 1),
    tolerance=1e-7,
    tolerance_source="gradient norm 1e-12 over sigma times the smallest factor, above 1e-4",
    tier="T0",
    mutant=Mutant("Frobenius norm for spectral norm", lambda s: abs(_ratio(s, "fro") - 1)),
    subject=SUBJECT,
)


def _shape_error(specimen: Specimen, frame: np.ndarray | None = None) -> float:
    K = specimen.model.num_classes
    P = np.eye(K) - 1 / K if frame is None else frame
    return float(np.abs(frames(specimen).G / specimen.model.sigma + P).max())


SHAPE = Claim(
    id="gradient-is-minus-sigma-p",
    title="The gradient at the minimiser is -sigma P",
    statement="At a nonzero minimiser of CE, LS or focal loss with equal class sizes the gradient "
    "with respect to the merged logits is -sigma (I - J/K).",
    latex=r"\nabla g = -\sqrt{\lambda_W\lambda_H}\,(I - \tfrac1K \mathbf 1\mathbf 1^\top)",
    source="CE-2; derived here",
    literature="derived here",
    hypotheses=(
        SHIFT_INVARIANT,
        Hypothesis("equal class sizes", lambda s: bool(s.model.balanced)),
        DIMENSION,
        NONZERO,
    ),
    region=descended_specimens,
    check=_shape_error,
    tolerance=1e-7,
    tolerance_source=RATIO.tolerance_source,
    tier="T1",
    mutant=Mutant("I for I - J/K", lambda s: _shape_error(s, np.eye(s.model.num_classes))),
    subject=SUBJECT,
)

CLAIMS = (EQUALITY, CRITERION, BOUND, RATIO, SHAPE)
