"""Whole landscapes: every orbit of critical points, and the topology that their list must have."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from functools import partial

import numpy as np

from landscape.atlas import Atlas, euler_sum, morse_bott
from proofs_check.claim import Claim, Hypothesis, Mutant
from proofs_check.claims.critical import COUNTING, COUNTING_SOURCE
from proofs_check.claims.focal import many_classes, spurious_height
from proofs_check.landscapes import (
    focal_orbits,
    height,
    is_complete,
    landscape_of,
    landscapes,
    low_dimensional,
    lowest,
    orbits_at_and_above,
    orbits_below,
)
from proofs_check.specimens import Specimen
from ufm.losses.focal import focal_convexity_threshold
from ufm.plain.chain_rule import dense_derivatives

SUBJECT = "whole landscapes"
# Eigenvalues of these small Hessians carry rounding of 1e-15; those of saddles are 1e-4 or more.
NEGATIVE = 1e-9
COMPLETE = Hypothesis("the list passes every check of completeness", is_complete)
_atlas_claim = partial(
    Claim,
    hypotheses=(COMPLETE,),
    tolerance=COUNTING,
    tolerance_source=COUNTING_SOURCE,
    tier="T1",
    subject=SUBJECT,
)


def _smallest(specimen: Specimen) -> float:
    """The smallest eigenvalue of the dense Hessian, which knows nothing of A-2."""
    return float(np.linalg.eigvalsh(dense_derivatives(specimen.merged, specimen.point)[2])[0])


def neither_saddle_nor_global(specimen: Specimen) -> float:
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
)


def _few_classes(specimen: Specimen) -> bool:
    model = specimen.model
    return focal_convexity_threshold(float(model.loss.gamma)) * model.num_classes <= 1


def _minimum_above_the_best(specimen: Specimen) -> float:
    """1 at a minimum that lies above the collapsed solution, else 0."""
    return float(spurious_height(specimen) > NEGATIVE)


def _sums(change: Callable[[Atlas], Atlas]) -> Callable[[Specimen], float]:
    """Largest |signed count - 1| over d = 0, ..., K."""

    def check(specimen: Specimen) -> float:
        whole = change(landscape_of(specimen))
        K = whole.model.num_classes
        return float(max(abs(euler_sum(whole.strata, d) - 1) for d in range(K + 1)))

    return check


def _same(whole: Atlas) -> Atlas:
    return whole


def _without_the_highest_saddle(whole: Atlas) -> Atlas:
    return replace(whole, orbits=whole.orbits[:-2] + whole.orbits[-1:])


CHECKSUM = _atlas_claim(
    id="euler-checksum",
    title="The signed count of critical orbits is one",
    statement="Over the whole landscape the signed count of critical matrices Z is 1 for every d.",
    latex=r"\sum_{r\le d}\text{count}\,(-1)^{\iota}\,e(b,d-r) = 1",
    source="AT-4; derived here (docs/atlas.md)",
    literature="derived here",
    region=landscapes,
    check=_sums(_same),
    mutant=Mutant("one orbit left out", _sums(_without_the_highest_saddle)),
)


def _violation(change: Callable[[Atlas], Atlas]) -> Callable[[Specimen], float]:
    """The most negative coefficient of R in AT-5 over d = 1, ..., K, or 0."""

    def check(specimen: Specimen) -> float:
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
    check=_violation(_same),
    mutant=Mutant("the global minimiser left out", _violation(_without_the_minimum)),
)


def _spurious_height(specimen: Specimen) -> float:
    """Height above the lowest orbit of a point without negative curvature, else 0."""
    if _smallest(specimen) < -NEGATIVE:
        return 0.0
    return height(specimen) - lowest(specimen)


def _height(specimen: Specimen) -> float:
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
    tolerance=1e-9,
    tolerance_source="two values of one orbit agree to 1e-14",
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
    hypotheses=(COMPLETE, Hypothesis("1/K >= u*(gamma)", _few_classes)),
    region=focal_orbits,
    check=neither_saddle_nor_global,
    mutant=Mutant("K >= 18 for K <= 17", _minimum_above_the_best, many_classes),
)

CLAIMS = (STRICT, FOCAL, CHECKSUM, INEQUALITIES, SPURIOUS, LOW)
