"""Run a claim: instances, margins, mutants, and the smallest counterexample."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import numpy as np
from threadpoolctl import threadpool_limits

from proofs_check.claim import Check, Claim, Measurement, Outcome, Status
from proofs_check.formula_alterations import family, noticed
from proofs_check.instance import Instance
from proofs_check.law import Law
from proofs_check.specimens import random_twin
from ufm.losses.program import described

# A mutant must miss by this many tolerances, so that no check passes for lack of resolution.
TEETH = 100.0
# Numbers of a law that are kept with an instance.
FEW = 16


@contextmanager
def small_matrices() -> Iterator[None]:
    """One thread for BLAS: with more, small matrices take up to a hundred times longer.

    Example:
        >>> with small_matrices():
        ...     float(np.linalg.det(np.eye(3)))
        1.0
    """
    with threadpool_limits(1, "blas"):
        yield


@small_matrices()
def check_claim(
    claim: Claim,
    *,
    quick: bool = False,
    loss: str | None = None,
    model: str | None = None,
    progress: Callable[[str], None] | None = None,
) -> Outcome:
    """Run a claim over its region, its mutant, and every alteration of its formula.

    Args:
        claim: the claim.
        quick: a smaller region.
        loss: only specimens of this loss (e.g. "ce", "focal"); the others are counted.
        model: only specimens of this model (e.g. "plain", "regression"); the others are counted.
        progress: called with a line for each specimen.

    Returns:
        An Outcome whose status is computed from the margins; BROKEN, with the reason, where the
        claim's own code raises or returns what is not a number.

    Example:
        >>> from proofs_check import core_claims
        >>> outcome = check_claim(next(c for c in core_claims() if c.id == "focal-convexity"))
        >>> outcome.status.name, outcome.mutant_rejected
        ('VERIFIED', True)
    """
    began = time.perf_counter()
    try:
        outcome = _judged(claim, quick, {"loss": loss, "model": model}, progress)
    except KeyboardInterrupt:
        raise
    # sys.exit() in a claim would otherwise end the run as if all were well.
    except BaseException as error:
        outcome = _outcome(claim, Status.BROKEN, (), 0, reason=described(error, __file__))
    object.__setattr__(outcome, "seconds", time.perf_counter() - began)
    return outcome


def _judged(
    claim: Claim,
    quick: bool,
    wanted: dict[str, str | None],
    progress: Callable[[str], None] | None,
) -> Outcome:
    everything = list(claim.region(quick))
    specimens = [s for s in everything if _wanted(s, wanted)]
    inside = [s for s in specimens if all(h.holds(s) for h in claim.hypotheses)]
    left_out = len(everything) - len(specimens)
    if not inside:
        status = Status.NOT_RUN if left_out else Status.NOT_APPLICABLE
        return _outcome(claim, status, (), len(specimens), left_out=left_out)
    margins = _margins(claim.check, inside, claim.tolerance.value, progress)
    failing = [s for s, margin in zip(inside, margins, strict=True) if not margin <= 1]
    mutant_margin = _mutant_margin(claim, inside, quick, wanted)
    rejected = None if mutant_margin is None else bool(mutant_margin >= TEETH)
    if failing:
        status = Status.COUNTEREXAMPLE
    elif rejected is False:
        status = Status.UNDECIDED
    else:
        status = Status.NO_COUNTEREXAMPLE if claim.search else Status.VERIFIED
    worst = int(np.argmax(margins))
    alterations, survivors = _altered(claim, inside)
    return _outcome(
        claim,
        status,
        inside,
        len(specimens) - len(inside),
        left_out=left_out,
        worst_margin=float(margins[worst]),
        worst_error=float(margins[worst] * claim.tolerance.value),
        worst_specimen=inside[worst].label,
        mutant_rejected=rejected,
        mutant_margin=mutant_margin,
        counterexample=min(failing, key=lambda s: s.size).label if failing else None,
        alterations=alterations,
        survivors=survivors,
        measurements=tuple(
            _measurement(claim, s, margin) for s, margin in zip(inside, margins, strict=True)
        ),
    )


def _measurement(claim: Claim, instance: Instance, margin: float) -> Measurement:
    """What a claim measured at an instance, with the numbers of its law where they are few."""
    error, law = margin * claim.tolerance.value, claim.check
    numbers = law.measured(instance, FEW) if isinstance(law, Law) else None
    return Measurement(instance.label, error, *(numbers or ()))


def _outcome(
    claim: Claim, status: Status, inside: Sequence[Instance], outside: int, **more: Any
) -> Outcome:
    numbers: dict[str, Any] = {
        "worst_margin": None,
        "worst_error": None,
        "worst_specimen": "",
        "mutant_rejected": None,
        "mutant_margin": None,
        "counterexample": None,
    }
    return Outcome(
        claim=claim,
        status=status,
        region=_region(inside),
        instances=len(inside),
        outside=outside,
        evidence="what was seen" if claim.tier == "E" else _evidence(inside),
        losses=tuple(sorted({str(s.columns["loss"]) for s in inside if s.family is not None})),
        **{**numbers, **more},
    )


def _wanted(instance: Instance, wanted: dict[str, str | None]) -> bool:
    loss, model = wanted["loss"], wanted["model"]
    if loss is not None and instance.family != loss:
        return False
    return model is None or instance.columns.get("model") == model


def _margins(
    check: Check,
    instances: Iterable[Instance],
    tolerance: float,
    progress: Callable[[str], None] | None = None,
    nan: float = np.inf,
) -> list[float]:
    margins = []
    for instance in instances:
        if progress is not None:
            progress(instance.label)
        error = _number(check(instance), instance)
        margins.append(nan if np.isnan(error) else error / tolerance)
    return margins


def _number(error: Any, instance: Instance) -> float:
    """The error as a number.

    Raises:
        TypeError: it is none. True is none either: it may mean "holds" as well as "error of one".
    """
    array = np.asarray(error)
    if array.ndim or array.dtype.kind not in "iuf":
        words = f"an array of shape {array.shape}" if array.ndim else repr(error)
        where = f"at {instance.label}"
        raise TypeError(f"gave {words} {where}; return its error as a number, 0 where it holds")
    return float(array)


def _mutant_margin(
    claim: Claim, inside: list[Instance], quick: bool, wanted: dict[str, str | None]
) -> float | None:
    """The mutant's largest margin: it is rejected when some specimen shows it wrong."""
    mutant = claim.mutant
    instances: list[Any]
    if mutant.region is not None:
        instances = [s for s in mutant.region(quick) if _wanted(s, wanted)]
    elif mutant.check is None:
        instances = [random_twin(s) for s in inside[:4]]  # type: ignore[arg-type]
    else:
        instances = inside
    # A mutant that gives NaN has shown nothing, so NaN counts as no margin here.
    check, tolerance = mutant.check or claim.check, claim.tolerance.value
    margins = _margins(check, instances, tolerance, nan=0.0)
    return max(margins) if margins else None


def _altered(claim: Claim, inside: Sequence[Instance]) -> tuple[int, tuple[str, ...]]:
    """How many alterations of the claim's formula have a meaning, and those that pass unnoticed."""
    law = claim.check
    if not (isinstance(law, Law) and claim.holds):
        return 0, ()
    seen = {m.text: noticed(law, m, inside, claim.tolerance.value) for m in family(law.predicted)}
    known = [text for text, answer in seen.items() if answer is not None]
    return len(known), tuple(text for text in known if not seen[text])


def _region(instances: Sequence[Instance]) -> str:
    columns = [s.columns for s in instances if {"K", "d", "N"} <= set(s.columns)]
    if not columns:
        return f"{len(instances)} instances"
    parts = []
    for name in ("K", "d", "N"):
        low, high = (pick(c[name] for c in columns) for pick in (min, max))
        parts.append(f"{name}={low}" if low == high else f"{name}={low}..{high}")
    if any("counts" in c for c in columns):
        parts.append("imbalanced too")
    biases = {_bias(c.get("lambda_b")) for c in columns}
    if biases != {"none"}:
        parts.append("bias " + "/".join(sorted(biases)))
    return ", ".join(parts)


def _bias(decay: float | None) -> str:
    return "none" if decay is None else "lb=0" if decay == 0 else "lb>0"


def _evidence(instances: Sequence[Instance]) -> str:
    """Whether the properties of the losses were proved or probed."""
    probed = {str(s.columns["loss"]) for s in instances if _probed(s)}
    return f"probed properties of {', '.join(sorted(probed))}" if probed else "proved properties"


def _probed(instance: Any) -> bool:
    loss = getattr(getattr(instance, "model", None), "loss", None)
    if instance.family is None or loss is None:
        return False
    facts = loss.properties(int(instance.columns["K"]))
    return bool(facts.convex.evidence == "probed")
