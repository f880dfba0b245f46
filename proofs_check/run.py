"""Run a claim: specimens, margins, mutant, and the smallest counterexample."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable

import numpy as np

from proofs_check.claim import Check, Claim, Outcome, Status
from proofs_check.specimens import Specimen, random_twin
from ufm.plain.model import UFM

# A mutant must miss by this many tolerances, so that no check passes for lack of resolution.
TEETH = 100.0


def check_claim(
    claim: Claim,
    *,
    quick: bool = False,
    loss: str | None = None,
    progress: Callable[[str], None] | None = None,
) -> Outcome:
    """Run a claim over its region and its mutant beside it.

    Args:
        claim: the claim.
        quick: a smaller region.
        loss: only specimens whose loss name starts with this (e.g. "ce", "focal").
        progress: called with a line for each specimen.

    Returns:
        An Outcome whose status is computed from the margins.

    Example:
        >>> from proofs_check import core_claims
        >>> outcome = check_claim(next(c for c in core_claims() if c.id == "focal-convexity"))
        >>> outcome.status.name, outcome.mutant_rejected
        ('VERIFIED', True)
    """
    began = time.perf_counter()
    specimens = [s for s in claim.region(quick) if _wanted(s, loss)]
    inside = [s for s in specimens if all(h.holds(s) for h in claim.hypotheses)]
    margins = _margins(claim.check, inside, claim.tolerance, progress)
    failing = [s for s, margin in zip(inside, margins, strict=True) if not margin <= 1]
    mutant_margin = _mutant_margin(claim, inside, quick, loss)
    rejected = None if mutant_margin is None else bool(mutant_margin >= TEETH)
    if not inside:
        status = Status.NOT_APPLICABLE
    elif failing:
        status = Status.COUNTEREXAMPLE
    elif rejected is False:
        status = Status.UNDECIDED
    else:
        status = Status.NO_COUNTEREXAMPLE if claim.search else Status.VERIFIED
    worst = int(np.argmax(margins)) if margins else None
    smallest = min(failing, key=lambda s: s.size) if failing else None
    return Outcome(
        claim=claim,
        status=status,
        region=_region(inside),
        instances=len(inside),
        outside=len(specimens) - len(inside),
        worst_margin=None if worst is None else float(margins[worst]),
        worst_error=None if worst is None else float(margins[worst] * claim.tolerance),
        worst_specimen="" if worst is None else inside[worst].label,
        mutant_rejected=rejected,
        mutant_margin=mutant_margin,
        counterexample=None if smallest is None else smallest.label,
        evidence="what was seen" if claim.tier == "E" else _evidence(inside),
        losses=tuple(sorted({s.model.loss.name for s in inside if isinstance(s.model, UFM)})),
        seconds=time.perf_counter() - began,
    )


def _wanted(specimen: Specimen, loss: str | None) -> bool:
    if loss is None:
        return True
    return isinstance(specimen.model, UFM) and specimen.model.loss.name.startswith(loss)


def _margins(
    check: Check,
    specimens: Iterable[Specimen],
    tolerance: float,
    progress: Callable[[str], None] | None = None,
    nan: float = np.inf,
) -> list[float]:
    margins = []
    for specimen in specimens:
        if progress is not None:
            progress(specimen.label)
        error = float(check(specimen))
        margins.append(nan if np.isnan(error) else error / tolerance)
    return margins


def _mutant_margin(
    claim: Claim, inside: list[Specimen], quick: bool, loss: str | None
) -> float | None:
    """The mutant's largest margin: it is rejected when some specimen shows it wrong."""
    mutant = claim.mutant
    if mutant.region is not None:
        specimens = [s for s in mutant.region(quick) if _wanted(s, loss)]
    elif mutant.check is None:
        specimens = [random_twin(s) for s in inside[:4]]
    else:
        specimens = inside
    # A mutant that gives NaN has shown nothing, so NaN counts as no margin here.
    margins = _margins(mutant.check or claim.check, specimens, claim.tolerance, nan=0.0)
    return max(margins) if margins else None


def _region(specimens: list[Specimen]) -> str:
    models = [s.model for s in specimens if isinstance(s.model, UFM)]
    if not models:
        return f"{len(specimens)} instances"
    parts = []
    for name, values in (
        ("K", [m.num_classes for m in models]),
        ("d", [m.d for m in models]),
        ("N", [m.num_samples for m in models]),
    ):
        low, high = min(values), max(values)
        parts.append(f"{name}={low}" if low == high else f"{name}={low}..{high}")
    if any(not m.balanced for m in models):
        parts.append("imbalanced too")
    biases = {
        "none" if m.lambda_b is None else "lb=0" if m.lambda_b == 0 else "lb>0" for m in models
    }
    if biases != {"none"}:
        parts.append("bias " + "/".join(sorted(biases)))
    return ", ".join(parts)


def _evidence(specimens: list[Specimen]) -> str:
    probed = {
        s.model.loss.name
        for s in specimens
        if isinstance(s.model, UFM)
        and s.model.loss.properties(s.model.num_classes).convex.evidence == "probed"
    }
    return f"probed properties of {', '.join(sorted(probed))}" if probed else "proved properties"
