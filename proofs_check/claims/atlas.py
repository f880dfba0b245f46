"""Whole landscapes: every orbit of critical points, and the topology that their list must have."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from functools import partial
from math import comb
from typing import Any

import numpy as np

from landscape.atlas import Atlas, morse_bott
from proofs_check.claim import COUNTING, Claim, Hypothesis, Mutant, Tolerance
from proofs_check.claims.focal import many_classes, spurious_height
from proofs_check.formula_alterations import formula
from proofs_check.hypotheses import FOCAL_CONVEX_AT_CHANCE
from proofs_check.landscapes import (
    focal_orbits,
    height,
    is_complete,
    is_well_seen,
    landscape_of,
    landscapes,
    low_dimensional,
    lowest,
    orbits_at_and_above,
    orbits_below,
)
from proofs_check.law import Law, miscount
from proofs_check.specimens import PlainSpecimen
from ufm.plain.chain_rule import dense_derivatives

# Eigenvalues of these small Hessians carry rounding of 1e-15; those of saddles are 1e-4 or more.
NEGATIVE = 1e-9
COMPLETE = Hypothesis("the list passes every check of completeness", is_complete)
_atlas_claim = partial(
    Claim,
    hypotheses=(COMPLETE,),
    tolerance=COUNTING,
)


def _smallest(specimen: PlainSpecimen) -> float:
    """The smallest eigenvalue of the dense Hessian, which knows nothing of A-2."""
    return float(np.linalg.eigvalsh(dense_derivatives(specimen.merged, specimen.point)[2])[0])


def neither_saddle_nor_global(specimen: PlainSpecimen) -> float:
    """0 at strict saddles and at the lowest orbits, else 1."""
    if _smallest(specimen) < -NEGATIVE:
        return 0.0
    return float(height(specimen) > lowest(specimen) + NEGATIVE)


STRICT = _atlas_claim(
    id="every-orbit-is-a-strict-saddle",
    title="Every orbit but the minimum is a strict saddle",
    statement="For d = K - 1, K and K + 1 every orbit of the whole landscape of cross entropy but "
    "the global minimiser is a strict saddle.",
    latex=r"\nabla f = 0,\ f > f^* \;\Rightarrow\; \lambda_{\min}(\nabla^2 f) < 0",
    source="CE-4; after Zhu et al. (2021); the lists derived here",
    literature="proved",
    region=orbits_at_and_above,
    check=neither_saddle_nor_global,
    mutant=Mutant("the dimension lowered to d < K - 1", region=low_dimensional),
    uses=("strict-saddle-at-k-minus-one",),
)


def _minimum_above_the_best(specimen: PlainSpecimen) -> float:
    """1 at a minimum that lies above the collapsed solution, else 0."""
    return float(spurious_height(specimen) > NEGATIVE)


@formula
def grassmannian(b: int, j: int) -> int:
    """Euler characteristic of the j-planes of R^b."""
    return 0 if b % 2 == 0 and j % 2 == 1 else comb(b // 2, j // 2)


@formula
def sign(exponent: int) -> int:
    """(-1)^exponent."""
    return -1 if exponent % 2 else 1


@formula
def overshoot(b: int, m: int) -> int:
    """e(b, m) = sum_j (-1)^(j (j + 1)/2) chi(Gr_j(R^b))."""
    terms = range(min(b, m) + 1)
    return sum(sign(j * (j + 1) // 2) * grassmannian(b, j) for j in terms)


def signed_counts(K: int, strata: Any) -> list[int]:
    """For d = 0, ..., K: the sum of count (-1)^index e(b, d - r) over orbits of rank r <= d."""
    return [
        sum(
            s.count * sign(s.index) * overshoot(s.overshoot, d - s.rank)
            for s in strata
            if s.rank <= d
        )
        for d in range(K + 1)
    ]


def _ones(specimen: PlainSpecimen) -> list[int]:
    return [1] * (specimen.model.num_classes + 1)


STRATA = {"strata": lambda s: np.array(landscape_of(s).strata, dtype=object)}
WELL_SEEN = Hypothesis("blind searches met every orbit of their list again", is_well_seen)
MORSE_BOTT = Hypothesis(
    "the only zero modes are symmetries",
    lambda s: all(orbit.morse_bott for orbit in landscape_of(s).orbits),
)


def _without_the_highest_saddle(K: int, strata: Any) -> list[int]:
    return signed_counts(K, (*strata[:-2], strata[-1]))


CHECKSUM = _atlas_claim(
    id="euler-checksum",
    title="The signed count of critical orbits is one",
    statement="Over the whole landscape the signed count of critical matrices Z is 1 for every d.",
    latex=r"\sum_{r\le d}\text{count}\,(-1)^{\iota}\,e(b,d-r) = 1",
    source="AT-4; derived here (docs/atlas.md)",
    literature="derived here",
    region=landscapes,
    hypotheses=(WELL_SEEN, MORSE_BOTT),
    check=Law(signed_counts, _ones, STRATA, miscount),
    mutant=Mutant("one orbit left out", Law(_without_the_highest_saddle, _ones, STRATA, miscount)),
)


def _same(whole: Atlas) -> Atlas:
    return whole


def _violation(change: Callable[[Atlas], Atlas]) -> Callable[[PlainSpecimen], float]:
    """The most negative coefficient of R in AT-5 over d = 1, ..., K, or 0."""

    def check(specimen: PlainSpecimen) -> float:
        whole = change(landscape_of(specimen))
        ds = range(1, whole.model.num_classes + 1)
        return float(max(0, *(-min(morse_bott(whole.strata, d).coefficients) for d in ds)))

    return check


def _without_the_minimum(whole: Atlas) -> Atlas:
    return replace(whole, orbits=whole.orbits[1:])


INEQUALITIES = _atlas_claim(
    id="morse-inequalities",
    title="The Morse inequalities of the landscape",
    statement="The critical orbits of every index satisfy the equivariant Morse inequalities.",
    latex=r"\sum \frac{\text{count}\,t^{\operatorname{ind}}}{\prod_{i\le d-r}(1-t^i)}"
    r" - \prod_{i\le d}\frac1{1-t^i} = (1+t)R(t),\ R \ge 0",
    source="AT-5; derived here after Bott (1982)",
    literature="derived here",
    region=landscapes,
    hypotheses=(WELL_SEEN, MORSE_BOTT),
    check=_violation(_same),
    mutant=Mutant("the global minimiser left out", _violation(_without_the_minimum)),
)


def _spurious_height(specimen: PlainSpecimen) -> float:
    """Height above the lowest orbit of a point without negative curvature, else 0."""
    if _smallest(specimen) < -NEGATIVE:
        return 0.0
    return height(specimen) - lowest(specimen)


def _height(specimen: PlainSpecimen) -> float:
    return height(specimen) - lowest(specimen)


SPURIOUS = _atlas_claim(
    id="no-spurious-orbits-in-low-dimension",
    title="No spurious minima of balanced models for d < K - 1",
    statement="For d < K - 1 every orbit of minima of balanced cross entropy is global (false).",
    latex=r"d < K - 1:\quad \nabla f = 0,\ \nabla^2 f \succeq 0 \;\Rightarrow\; f = f^*",
    source="CE-4, pitfalls; the lists derived here",
    literature="refuted",
    region=low_dimensional,
    check=_spurious_height,
    tolerance=Tolerance(1e-9, "two values of one orbit agree to 1e-14"),
    mutant=Mutant("every orbit for every orbit of minima", _height),
    holds=False,
)

LOW = _atlas_claim(
    id="strict-saddles-one-dimension-below",
    title="Strict saddles still at d = K - 2 for moderate decay",
    statement="At d = K - 2 and lambda = 0.02 every orbit of balanced cross entropy above the "
    "lowest is a strict saddle, although the theorem needs d >= K - 1.",
    latex=r"d = K - 2,\ c = K/50:\quad f > f^* \;\Rightarrow\; \lambda_{\min}(\nabla^2 f) < 0",
    source="derived here",
    literature="derived here",
    region=orbits_below,
    check=neither_saddle_nor_global,
    mutant=Mutant("lambda = 0.0005 and 0.1 beside it", region=low_dimensional),
)

FOCAL = _atlas_claim(
    id="strict-saddle-focal",
    title="Strict saddles of focal loss",
    statement="Without bias and for 1/K >= u*(gamma), so for K <= 17, every critical point of "
    "focal loss with d >= K - 1 is a strict saddle or a global minimiser, for any class sizes.",
    latex=r"\tfrac1K\ge u^*(\gamma),\ \nabla f = 0 \;\Rightarrow\; "
    r"\lambda_{\min}(\nabla^2 f) < 0 \text{ or } f = f^*",
    source="FL-4; derived here",
    literature="derived here",
    hypotheses=(COMPLETE, FOCAL_CONVEX_AT_CHANCE),
    region=focal_orbits,
    check=neither_saddle_nor_global,
    mutant=Mutant("K >= 18 for K <= 17", _minimum_above_the_best, many_classes),
    uses=("collapse-within-classes-focal", "focal-convexity", "explicit-negative-curvature"),
)

CLAIMS = (STRICT, FOCAL, CHECKSUM, INEQUALITIES, SPURIOUS, LOW)
