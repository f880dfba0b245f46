"""The duality gap and the gradient norm: equality at minimisers, strict inequality at saddles."""

from __future__ import annotations

from functools import cache

import numpy as np

from proofs_check.claim import COUNTING, Check, Claim, Hypothesis, Mutant, Tolerance
from proofs_check.claims.critical import NOT_THE_ORIGIN, frames, sigma
from proofs_check.claims.saddles import low_dimension_minima
from proofs_check.hypotheses import BALANCED, CONVEX, OPTIMUM_FITS, SHIFT_INVARIANT
from proofs_check.instance import Instance
from proofs_check.law import Law, relative
from proofs_check.specimens import (
    PlainSpecimen,
    built_on,
    critical_specimens,
    descended_specimens,
    where,
)
from ufm.plain.minimisers import global_minimiser
from ufm.point import Point

# Critical points have |grad g|_2 / sigma = 1 to 1e-9 or above 1 by more than 1e-4 here.
RATIO_CUT = 1e-6


def _value(specimen: PlainSpecimen) -> float:
    model, point = specimen.model, specimen.point
    whole = point.H.shape[1] == model.num_columns
    return float((model if whole else specimen.merged).objective(point))


def gap(specimen: PlainSpecimen) -> float:
    """Duality gap, relative to 1 + |f|."""
    found = specimen.model.certificate(specimen.point)
    if found.gap is None:
        return float("nan")
    return abs(found.gap) / (1 + abs(found.bound + found.gap))


@built_on(descended_specimens)
@cache
def sampled_minima(quick: bool = False) -> tuple[PlainSpecimen, ...]:
    """Every third minimum with K = 3 and 4: all losses, biases and sides of thresholds are there.

    A bound with a bias solves a convex problem in it first, which takes most of the time.
    """
    return tuple(s for s in descended_specimens(quick)[::3] if s.model.num_classes < 5)


EQUALITY = Claim(
    id="certificate-equality",
    title="No duality gap at global minimisers",
    statement="For a convex loss the dual bound equals the objective wherever descent ends, "
    "balanced or not, with and without bias, once d suffices.",
    latex=r"f(W,H,b) = D(v),\qquad v_k = \nabla L_k",
    source="section C, CE-2; after Zhu et al. (2021), bound derived here",
    hypotheses=(CONVEX, OPTIMUM_FITS),
    region=sampled_minima,
    check=gap,
    mutant=Mutant(
        "critical points in place of minimisers",
        region=where(critical_specimens, lambda s: bool(CONVEX.holds(s))),
    ),
    tolerance=Tolerance(1e-9, "the gap is first order: gradient norm 1e-12 over curvature 1e-3"),
    uses=("bound-never-exceeds-the-minimum", "global-iff-gradient-at-most-sigma"),
)


def _gradient_norm(specimen: PlainSpecimen) -> float:
    return float(np.linalg.norm(frames(specimen).G, 2))


def _frobenius(specimen: PlainSpecimen) -> float:
    return float(np.linalg.norm(frames(specimen).G))


def _is_global(specimen: PlainSpecimen) -> float:
    known = global_minimiser(specimen.model)
    return float("nan") if known is None else float(_value(specimen) - known.value <= 1e-9)


def within_sigma(lambda_W: float, lambda_H: float, norm: float) -> float:
    """Whether |grad g| <= sigma."""
    return float(norm <= np.sqrt(lambda_W * lambda_H) * (1 + RATIO_CUT))


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
        OPTIMUM_FITS,
        Hypothesis(
            "the minimum is known in closed form", lambda s: global_minimiser(s.model) is not None
        ),
    ),
    region=critical_specimens,
    check=Law(within_sigma, _is_global, {"norm": _gradient_norm}),
    mutant=Mutant(
        "Frobenius norm for spectral norm", Law(within_sigma, _is_global, {"norm": _frobenius})
    ),
    tolerance=COUNTING,
    uses=("gradient-on-support",),
)


def _trials(specimen: PlainSpecimen) -> list[Point]:
    """Random points, points near the minimum, and the minimum shrunk by 3 %."""
    rng = np.random.default_rng(specimen.size)

    def noise(x: np.ndarray | None, size: float, keep: float) -> np.ndarray | None:
        return None if x is None else keep * x + size * rng.normal(size=np.shape(x))

    scales = [(1.0, 0.0), (3.0, 0.0), (0.03, 1.0), (0.0, 0.97)]
    return [Point(*(noise(x, *scale) for x in specimen.point)) for scale in scales]


def _excess(stretch: float) -> Check:
    """How far the bound of any trial point exceeds the value reached by descent."""

    def check(specimen: PlainSpecimen) -> float:
        value = _value(specimen)
        model = specimen.model
        wider = model.with_decays(float(model.lambda_W) * stretch, float(model.lambda_H))
        bounds = [wider.certificate(point).bound for point in _trials(specimen)]
        return max(0.0, *(float(bound) - value for bound in bounds)) / (1 + abs(value))

    return check


@built_on(descended_specimens)
@cache
def minima_of_every_dimension(quick: bool = False) -> tuple[Instance, ...]:
    """Minima in d >= K - 1 and, where the bound is valid but not tight, in d < K - 1."""
    return (*sampled_minima(quick), *low_dimension_minima(quick))


BOUND = Claim(
    id="bound-never-exceeds-the-minimum",
    title="The dual bound is a bound",
    statement="At any point, random or near the minimum, for any d, sizes and bias, the dual bound "
    "stays below the value that descent reaches.",
    latex=r"D(v(W,H,b)) \le f^* \quad \forall\, (W,H,b)",
    source="section C; derived here",
    hypotheses=(CONVEX,),
    region=minima_of_every_dimension,
    check=_excess(1.0),
    mutant=Mutant("a dual ball 10 % wider than sigma", _excess(1.21)),
    search=True,
    tolerance=Tolerance(
        1e-12, "rounding of sums of K N numbers of order one, and f - f* below 1e-15"
    ),
)


RATIO = Claim(
    id="gradient-norm-is-sigma-at-minimisers",
    title="|grad g| = sigma at nonzero minimisers",
    statement="At every nonzero global minimiser of a convex loss, balanced or not, the spectral "
    "norm of the gradient equals sigma.",
    latex=r"|\nabla g|_2 = \sqrt{\lambda_W\lambda_H}",
    source="CE-2; after Zhu et al. (2021)",
    literature="proved",
    hypotheses=(CONVEX, OPTIMUM_FITS, NOT_THE_ORIGIN),
    region=sampled_minima,
    check=Law(sigma, _gradient_norm, error=relative),
    tier="T0",
    mutant=Mutant("Frobenius norm for spectral norm", Law(sigma, _frobenius, error=relative)),
    tolerance=Tolerance(
        1e-7, "gradient norm 1e-12 over sigma times the smallest factor, above 1e-4"
    ),
    uses=("global-iff-gradient-at-most-sigma",),
)


def _gradient(specimen: PlainSpecimen) -> np.ndarray:
    return np.asarray(frames(specimen).G)


def minus_sigma_p(K: int, lambda_W: float, lambda_H: float) -> np.ndarray:
    """-sigma (I - J/K)."""
    return -np.sqrt(lambda_W * lambda_H) * (np.eye(K) - np.ones((K, K)) / K)


def _minus_sigma(K: int, lambda_W: float, lambda_H: float) -> np.ndarray:
    return -np.sqrt(lambda_W * lambda_H) * np.eye(K)


def _shape_error(seen: np.ndarray, said: np.ndarray) -> float:
    return float(np.abs(seen - said).max() / np.abs(said).max())


SHAPE = Claim(
    id="gradient-is-minus-sigma-p",
    title="The gradient at the minimiser is -sigma P",
    statement="At a nonzero minimiser of CE, LS or focal loss with equal class sizes the gradient "
    "with respect to the merged logits is -sigma (I - J/K).",
    latex=r"\nabla g = -\sqrt{\lambda_W\lambda_H}\,(I - \tfrac1K \mathbf 1\mathbf 1^\top)",
    source="CE-2; derived here",
    hypotheses=(
        SHIFT_INVARIANT,
        BALANCED,
        OPTIMUM_FITS,
        NOT_THE_ORIGIN,
    ),
    region=sampled_minima,
    check=Law(minus_sigma_p, _gradient, error=_shape_error),
    mutant=Mutant("I for I - J/K", Law(_minus_sigma, _gradient, error=_shape_error)),
    tolerance=Tolerance(1e-7, RATIO.tolerance.reason),
    uses=("minimiser-cross-entropy",),
)

CLAIMS = (EQUALITY, CRITERION, BOUND, RATIO, SHAPE)
