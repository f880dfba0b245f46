"""What ``ufm verify`` says of claims: records for the JSON, tables, notes and a summary."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import asdict
from typing import Any

from experiments.cli.output import number, table


def claim_record(outcome: Any, *, details: bool = False) -> dict[str, Any]:
    """One outcome as it goes into the JSON; with details, every measurement of it."""
    seen = {"measurements": [asdict(x) for x in outcome.measurements]} if details else {}
    return {
        "id": outcome.claim.id,
        "status": outcome.status.name,
        "expected": outcome.expected,
        "tier": outcome.tier,
        "region": outcome.region,
        "instances": outcome.instances,
        "worst_margin": outcome.worst_margin,
        "mutant": outcome.mutant_rejected,
        "alterations": outcome.alterations,
        "survivors": list(outcome.survivors),
        "outside": outcome.outside,
        "left_out": outcome.left_out,
        "counterexample": outcome.counterexample,
        "reason": outcome.reason or None,
        "seconds": outcome.seconds,
        **seen,
    }


def measured(outcome: Any) -> Any:
    """A table of what a claim measured and predicted at every instance."""
    made = table((outcome.claim.id, "measured", "predicted", "error"), right=("error",))
    for seen in outcome.measurements:
        observed, predicted = (
            "" if numbers is None else ", ".join(number(x, 10) for x in numbers)
            for numbers in (seen.observed, seen.predicted)
        )
        made.add_row(seen.instance, observed, predicted, number(seen.error, 2))
    return made


def _verdict_text(outcome: Any) -> Any:
    from rich.text import Text

    name = outcome.status.name
    if not outcome.expected:
        return Text(f"{name} !", style="bold red" if name != "UNDECIDED" else "bold yellow")
    if name == "COUNTEREXAMPLE":
        return Text("COUNTEREXAMPLE\n(known)", style="cyan")
    return Text(
        name.replace("_", " ") if name == "NOT_RUN" else name, style=_STYLES.get(name, "green")
    )


_STYLES = {"NOT_RUN": "dim"}


def claims_table(outcomes: Sequence[Any]) -> Any:
    """Claim and source share a column: side by side they do not fit into 100 columns."""
    from rich.text import Text

    made = table(
        ("claim, source", "region", "instances", "worst\nmargin", "tier", "verdict"),
        right=("instances", "worst\nmargin"),
    )
    made.columns[0].min_width = max((len(outcome.claim.id) for outcome in outcomes), default=0)
    made.columns[5].no_wrap = True
    for outcome in outcomes:
        claim = Text(f"{outcome.claim.id}\n")
        made.add_row(
            claim.append(outcome.claim.source, style="dim"),
            outcome.region,
            number(outcome.instances),
            number(outcome.worst_margin, 2),
            outcome.tier,
            _verdict_text(outcome),
        )
    return made


def notes(outcomes: Sequence[Any]) -> list[str]:
    """The smallest counterexample of every claim that has one, and mutants that passed."""
    told = []
    for outcome in outcomes:
        if outcome.counterexample is not None:
            told.append(f"{outcome.claim.id}: smallest counterexample {outcome.counterexample}")
        if outcome.reason:
            told.append(f"{outcome.claim.id}: could not be run: {outcome.reason}")
        if outcome.status.name == "NOT_APPLICABLE":
            told.append(
                f"{outcome.claim.id}: none of its {outcome.outside} specimens satisfies its "
                "hypotheses, so it has shown nothing"
            )
        if outcome.mutant_rejected is False:
            told.append(
                f"{outcome.claim.id}: the check does not see its mutant "
                f"({outcome.claim.mutant.text}), so passing means nothing"
            )
    return told


def blind(outcomes: Sequence[Any]) -> list[str]:
    """What claims cannot see: alterations of their formulas that no instance tells from them."""
    return [
        f"{outcome.claim.id}: its instances do not see {text}"
        for outcome in outcomes
        for text in outcome.survivors
    ]


def filtered(outcomes: Sequence[Any]) -> list[str]:
    """What --loss and --model left out."""
    specimens = sum(outcome.left_out for outcome in outcomes)
    idle = [outcome.claim.id for outcome in outcomes if outcome.status.name == "NOT_RUN"]
    if not specimens:
        return []
    line = f"Filtered out: {specimens} specimens"
    if idle:
        line += f", and with them {len(idle)} claims that were not run: {', '.join(idle)}"
    return [line + "."]


def summary(outcomes: Sequence[Any], seconds: float) -> str:
    """Verdicts, mutants and altered formulas in one line."""
    names = Counter(outcome.status.name for outcome in outcomes)
    counts = ", ".join(f"{count} {name}" for name, count in names.items())
    mutants = [
        outcome.mutant_rejected for outcome in outcomes if outcome.mutant_rejected is not None
    ]
    altered = sum(outcome.alterations for outcome in outcomes)
    blind = sum(len(outcome.survivors) for outcome in outcomes)
    wrong = sum(not outcome.expected for outcome in outcomes)
    end = "all as they should be" if not wrong else f"{wrong} NOT as they should be"
    return (
        f"{len(outcomes)} claim{'s' * (len(outcomes) != 1)} in {seconds:.0f} s: {counts}; "
        f"{sum(mutants)} of {len(mutants)} mutants and "
        f"{altered - blind} of {altered} altered "
        f"formulas rejected; {end}."
    )
