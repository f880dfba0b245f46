"""A claim: a statement with hypotheses, a check on one specimen, and a mutant that must fail."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from enum import Enum
from typing import Any, NamedTuple

from proofs_check.instance import Region, Specimen
from ufm.errors import InputError, require_positive

Check = Callable[[Any], float]


class Status(Enum):
    """What became of a claim; computed, never typed."""

    VERIFIED = "holds on every specimen of its region"
    NO_COUNTEREXAMPLE = "a search found no counterexample"
    COUNTEREXAMPLE = "fails on at least one specimen that satisfies its hypotheses"
    NOT_APPLICABLE = "no specimen satisfies its hypotheses"
    NOT_RUN = "the filters leave none of its specimens"
    UNDECIDED = "passes, but its mutant passes too, so the check has no teeth here"
    BROKEN = "could not be run: its code raised an error, or gave no number"


@dataclass(frozen=True)
class Hypothesis:
    """A condition of a theorem, in words and as a predicate on an instance."""

    text: str
    holds: Callable[[Any], bool]


class Tolerance(NamedTuple):
    """What an error may be, and why."""

    value: float
    reason: str


# Errors in an index, a rank or a yes-or-no answer are 1 or more: 200 tolerances.
COUNTING = Tolerance(0.005, "an integer: the error is 0 or at least 1")


@dataclass(frozen=True)
class Mutant:
    """The claim with one thing altered, which must fail by 100 times the tolerance.

    Attributes:
        text: what was altered (a constant, an exponent, an index, a dropped hypothesis).
        check: the altered check; None measures the claim itself at random non-critical points.
        region: specimens to run it on; None uses the claim's own.
    """

    text: str
    check: Check | None = None
    region: Region | None = None


@dataclass(frozen=True)
class Claim:
    """A statement of the theory as an object that can be run.

    The check returns an error; the claim holds on an instance when error <= tolerance. Where it is
    a ``Law``, a program alters every number of its formula as well (``mutants``).

    Attributes:
        id: words joined by dashes, e.g. "balancedness".
        title: a short name for tables.
        statement: one sentence in plain words.
        latex: the formula, without dollar signs.
        source: paper or "derived here"; "after Author (year)" where wording was not re-read.
        literature: "proved", "recalled", "open", "refuted" or "derived here".
        hypotheses: predicates on specimens; those outside are counted, not judged.
        region: the specimens (quick: fewer).
        check: error on one specimen.
        tolerance: what the error may be, and why.
        tier: "T0" one float64 number, "T1" two independent routes that agree, "S" a symbolic
            identity, "E" what was seen in experiments, never mixed with the others.
        mutant: what must fail.
        holds: False for statements known to be false, shown as refutations.
        search: True when the region is a random search (then NO_COUNTEREXAMPLE, not VERIFIED).
        subject: heading in the report; those of the core get it from their file.
        uses: ids of the claims that its proof rests on.
    """

    id: str
    title: str
    statement: str
    latex: str
    source: str
    region: Region
    check: Check
    tolerance: Tolerance
    mutant: Mutant
    hypotheses: tuple[Hypothesis, ...] = ()
    literature: str = "derived here"
    tier: str = "T1"
    holds: bool = True
    search: bool = False
    subject: str = ""
    uses: tuple[str, ...] = ()


@dataclass(frozen=True)
class Measurement:
    """What a claim measured at one instance.

    Attributes:
        instance: its label.
        error: what the check returned.
        observed: the numbers of a law, None where there are more than a few or no law.
        predicted: what its formula says of them.
    """

    instance: str
    error: float
    observed: tuple[float, ...] | None = None
    predicted: tuple[float, ...] | None = None


@dataclass(frozen=True)
class Outcome:
    """What running a claim gave.

    Attributes:
        claim: the claim.
        status: computed from the margins.
        region: the specimens that were run, in words.
        instances: specimens inside the hypotheses.
        outside: specimens of the region outside the hypotheses.
        worst_margin: largest error / tolerance (<= 1 holds), None without specimens.
        worst_error: the largest error.
        worst_specimen: where it was seen.
        mutant_rejected: whether the mutant failed by 100 tolerances; None if it did not apply.
        mutant_margin: its largest error / tolerance.
        counterexample: the smallest specimen that fails, in words, else None.
        evidence: "proved properties", or that the loss's properties were probed.
        losses: loss names that were run.
        left_out: specimens that ``loss`` or ``model`` filtered out.
        alterations: how many mutants the program made of the claim's formula.
        survivors: those of them that no instance tells from the claim: what it cannot see.
        measurements: what was seen at every instance.
        reason: why it is BROKEN, else "".
        seconds: wall time.
    """

    claim: Claim
    status: Status
    region: str
    instances: int
    outside: int
    worst_margin: float | None
    worst_error: float | None
    worst_specimen: str
    mutant_rejected: bool | None
    mutant_margin: float | None
    counterexample: str | None
    evidence: str
    losses: tuple[str, ...] = ()
    left_out: int = 0
    alterations: int = 0
    survivors: tuple[str, ...] = ()
    measurements: tuple[Measurement, ...] = ()
    reason: str = ""
    seconds: float = field(default=0.0, compare=False)

    @property
    def tier(self) -> str:
        """Tier of the evidence."""
        return self.claim.tier

    @property
    def expected(self) -> bool:
        """Whether the claim came out as it should: true ones hold, refuted ones fail.

        A claim without an instance has shown nothing, unless a filter was asked to leave it out, or
        it is about what a user's own networks did (tier E), which are what they are.
        """
        if self.status is Status.NOT_RUN:
            return True
        if self.status is Status.NOT_APPLICABLE and self.claim.tier == "E":
            return True
        held = self.status in (Status.VERIFIED, Status.NO_COUNTEREXAMPLE)
        return held if self.claim.holds else self.status is Status.COUNTEREXAMPLE


def claim(
    id: str,
    statement: str,
    *,
    latex: str = "",
    source: str = "your own",
    tolerance: float = 1e-9,
    models: Iterable[Any] = (),
    region: Region | None = None,
    hypotheses: Iterable[tuple[str, Callable[[Any, Any], bool]]] = (),
    mutant: Callable[[Any, Any], float] | None = None,
    uses: Iterable[str] = (),
) -> Callable[[Callable[[Any, Any], float]], Claim]:
    """Turn a function of (model, point) into a Claim: a user's theorem in a few lines.

    The function returns an error, which must be at most ``tolerance`` at every specimen (by
    default: global minimisers of all losses, balanced and not, with and without bias, several
    dimensions and lambdas). Without a mutant of your own, the claim must fail at random points that
    are no minimisers.

    Args:
        id: words joined by dashes.
        statement: one sentence.
        latex: the formula for the report.
        source: where it comes from.
        tolerance: largest admissible error.
        models: models that the claim is about, of any kind: it is checked at minima that descent
            finds from several random starts.
        region: quick flag -> specimens, where neither suits.
        hypotheses: pairs (text, predicate on (model, point)).
        mutant: an altered check that must fail.
        uses: ids of the claims that its proof rests on.

    Raises:
        InputError: a tolerance that is not positive, or models and a region.

    Example:
        >>> import numpy as np
        >>> @claim("balanced", "lw |W|^2 = lh |H|^2 at minimisers")
        ... def balanced(model, point):
        ...     sizes = np.sum(point.W**2) * model.lambda_W, np.sum(point.H**2) * model.lambda_H
        ...     return abs(sizes[0] - sizes[1])
        >>> balanced.id
        'balanced'
    """
    require_positive(tolerance, "tolerance", "use a value such as 1e-9")
    if not id.replace("-", "").isalnum():
        raise InputError("A claim id is words joined by dashes", id, "rename it, e.g. my-theorem")
    chosen = tuple(models)
    if chosen and region is not None:
        raise InputError("Give models or a region, not both", id, "drop one of them")

    def build(check: Callable[[Any, Any], float]) -> Claim:
        from proofs_check.specimens import minima_of, minimiser_specimens

        altered = None if mutant is None else on_point(mutant)
        text = "measured at random points" if mutant is None else "the conclusion as altered"
        return Claim(
            id=id,
            title=id.replace("-", " "),
            statement=statement,
            latex=latex,
            source=source,
            literature="yours",
            hypotheses=tuple(
                Hypothesis(text, lambda s, p=predicate: bool(p(s.model, s.point)))  # type: ignore[misc]
                for text, predicate in hypotheses
            ),
            region=region or (minima_of(*chosen) if chosen else minimiser_specimens),
            check=on_point(check),
            tolerance=Tolerance(tolerance, "given with the claim"),
            tier="T0",
            mutant=Mutant(text, altered),
            subject="your claims",
            uses=tuple(uses),
        )

    return build


def on_point(check: Callable[[Any, Any], float]) -> Check:
    """A function of (model, point) as a check on specimens."""

    def at(specimen: Specimen[Any, Any]) -> float:
        return check(specimen.model, specimen.point)

    return at
