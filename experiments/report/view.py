"""An outcome as the page shows it: words, numbers and positions, no markup."""

from __future__ import annotations

import math
import re
from collections.abc import Sequence
from dataclasses import dataclass

from proofs_check.claim import Outcome, Status
from proofs_check.run import TEETH

# The margin gauge shows 10^LOW .. 10^HIGH on a logarithmic axis; beyond it markers stick.
LOW, HIGH = -8.0, 12.0
# Folder of the pages of claims, in the report.
CLAIM_PAGES = "claims"
TIERS = {
    "T0": "one float64 number",
    "T1": "two independent routes that agree",
    "T2": "rigorous float64",
    "T3": "ball arithmetic",
    "S": "symbolic identity",
    "E": "empirical",
}


@dataclass(frozen=True)
class Verdict:
    """A badge: the colour is in the style sheet under ``key``, the icon and word say it again."""

    key: str
    icon: str
    word: str


VERIFIED = Verdict("verified", "✓", "Verified")
UNREFUTED = Verdict("unrefuted", "◎", "No counterexample")
REFUTED = Verdict("refuted", "⊘", "Refuted, as expected")
FAILED = Verdict("failed", "✗", "Failed")
SURVIVED = Verdict("failed", "✗", "Not refuted, but should be")
UNDECIDED = Verdict("undecided", "?", "Undecided")
OUTSIDE = Verdict("outside", "–", "Not applicable")
NO_INSTANCE = Verdict("failed", "✗", "No instance")
NOT_RUN = Verdict("outside", "–", "Not run")
BROKEN = Verdict("failed", "✗", "Could not be run")


@dataclass(frozen=True)
class Card:
    """One claim on the page.

    Attributes:
        outcome: what it shows.
        verdict: its badge.
        anchor: fragment of its address.
        losses: loss families it was run on, for the filter.
        haystack: lower-case text that the search box looks in.
        margin, mutant: error over tolerance, as text.
        margin_at, mutant_at: their places on the gauge in percent, None without a number.
        tier: the tier in words.
    """

    outcome: Outcome
    verdict: Verdict
    anchor: str
    losses: tuple[str, ...]
    haystack: str
    margin: str
    mutant: str
    margin_at: float | None
    mutant_at: float | None
    tier: str

    @property
    def slug(self) -> str:
        """The name of its own page, without folder and ending."""
        return self.anchor.removeprefix("claim-")

    @property
    def page(self) -> str:
        """Address of its own page, from the front page."""
        return f"{CLAIM_PAGES}/{self.slug}.html"


@dataclass(frozen=True)
class Tally:
    """The numbers at the head of the page."""

    claims: int
    verified: int
    refuted: int
    failed: int
    undecided: int
    outside: int
    mutants_rejected: int
    mutants: int
    alterations: int
    survivors: int
    instances: int
    seconds: float


def verdict_of(outcome: Outcome) -> Verdict:
    """The badge of an outcome.

    A claim known to be false that finds its counterexample is as good as a verified one; one that
    comes out otherwise than it should is a failure, whatever its status.
    """
    status, holds = outcome.status, outcome.claim.holds
    if status is Status.NOT_APPLICABLE:
        return OUTSIDE if outcome.expected else NO_INSTANCE
    if status is Status.NOT_RUN:
        return NOT_RUN
    if status is Status.BROKEN:
        return BROKEN
    if status is Status.UNDECIDED:
        return UNDECIDED
    if status is Status.COUNTEREXAMPLE:
        return FAILED if holds else REFUTED
    if not holds:
        return SURVIVED
    return UNREFUTED if status is Status.NO_COUNTEREXAMPLE else VERIFIED


def cards(outcomes: Sequence[Outcome]) -> tuple[Card, ...]:
    """Cards, in the order of the outcomes."""
    return tuple(_card(outcome) for outcome in outcomes)


def subjects(claims: Sequence[Card]) -> dict[str, list[Card]]:
    """Subject -> its cards, in order of first appearance."""
    grouped: dict[str, list[Card]] = {}
    for card in claims:
        grouped.setdefault(card.outcome.claim.subject, []).append(card)
    return grouped


def tally(claims: Sequence[Card]) -> Tally:
    """Count the cards by verdict."""
    keys = [card.verdict.key for card in claims]
    mutants = [card.outcome.mutant_rejected for card in claims]
    return Tally(
        claims=len(claims),
        verified=keys.count("verified") + keys.count("unrefuted"),
        refuted=keys.count("refuted"),
        failed=keys.count("failed"),
        undecided=keys.count("undecided"),
        outside=keys.count("outside"),
        mutants_rejected=sum(mutant is True for mutant in mutants),
        mutants=sum(mutant is not None for mutant in mutants),
        alterations=sum(card.outcome.alterations for card in claims),
        survivors=sum(len(card.outcome.survivors) for card in claims),
        instances=sum(card.outcome.instances for card in claims),
        seconds=sum(card.outcome.seconds for card in claims),
    )


# Rows and columns of the table of evidence, the strongest first.
LITERATURE = ("proved", "derived here", "recalled", "open", "refuted")
STRENGTH = ("S", "T3", "T2", "T1", "T0", "E")
COUNTEREXAMPLE = "counterexample"


def evidence(claims: Sequence[Card]) -> dict[str, dict[str, list[Card]]]:
    """What the literature says -> what the lab has (a tier, or a counterexample) -> the cards.

    Only rows and columns with a card; every row has every column. What failed is evidence of
    nothing.
    """
    settled = ("verified", "unrefuted", "refuted")
    has = [(card, _evidence_of(card)) for card in claims if card.verdict.key in settled]
    columns = [x for x in (*STRENGTH, COUNTEREXAMPLE) if any(x == lab for _, lab in has)]
    said = dict.fromkeys((*LITERATURE, *(card.outcome.claim.literature for card, _ in has)))
    rows = {
        row: {
            column: [c for c, lab in has if (c.outcome.claim.literature, lab) == (row, column)]
            for column in columns
        }
        for row in said
    }
    return {row: cells for row, cells in rows.items() if any(cells.values())}


def _evidence_of(card: Card) -> str:
    found = card.outcome.status is Status.COUNTEREXAMPLE
    return COUNTEREXAMPLE if found else card.outcome.tier


def gauge(margin: float | None) -> float | None:
    """The place of a margin on the logarithmic gauge, in percent; None without a margin.

    Example:
        >>> gauge(1.0), gauge(0.0), gauge(float("inf")), gauge(None)
        (40.0, 0.0, 100.0, None)
    """
    if margin is None or math.isnan(margin):
        return None
    if margin <= 0:
        return 0.0
    exponent = HIGH if math.isinf(margin) else math.log10(margin)
    return round(100 * (min(max(exponent, LOW), HIGH) - LOW) / (HIGH - LOW), 2)


TOLERANCE_AT, TEETH_AT = gauge(1.0), gauge(TEETH)


def figure(value: float | None) -> str:
    """A margin as people read it.

    Example:
        >>> figure(0.00123), figure(5e9), figure(0.25), figure(None), figure(0.0)
        ('1.2 × 10⁻³', '5.0 × 10⁹', '0.25', '–', '0')
    """
    if value is None or math.isnan(value):
        return "–"
    if math.isinf(value):
        return "∞"
    if value == 0 or 0.01 <= abs(value) < 1000:
        return f"{value:.3g}"
    mantissa, exponent = f"{value:.1e}".split("e")
    return f"{mantissa} × 10{str(int(exponent)).translate(_SUPERSCRIPTS)}"


_SUPERSCRIPTS = str.maketrans("-0123456789", "⁻⁰¹²³⁴⁵⁶⁷⁸⁹")


def _card(outcome: Outcome) -> Card:
    claim = outcome.claim
    families = tuple(dict.fromkeys(name.split("(")[0] for name in outcome.losses))
    words = (claim.id, claim.title, claim.statement, claim.source, claim.subject, claim.literature)
    return Card(
        outcome=outcome,
        verdict=verdict_of(outcome),
        anchor="claim-" + re.sub(r"[^\w-]+", "-", claim.id),
        losses=families,
        haystack=" ".join((*words, *outcome.losses)).lower(),
        margin=figure(outcome.worst_margin),
        mutant=figure(outcome.mutant_margin),
        margin_at=gauge(outcome.worst_margin),
        mutant_at=gauge(outcome.mutant_margin),
        tier=TIERS.get(outcome.tier, ""),
    )
