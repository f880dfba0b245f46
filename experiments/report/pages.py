"""The pages behind the front page: one per claim, the graph of claims, and the derivations."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import networkx as nx
from jinja2 import Environment

from experiments.report.derivations import Derivation, labels
from experiments.report.graph import components, dependencies, drawing, neighbourhood
from experiments.report.view import Card, figure
from proofs_check.claim import Measurement, Outcome

# Rows of the table of instances: no claim of the lab has more than twice as many.
MOST_ROWS = 200
# Of the numbers of a law that a row shows.
MOST_NUMBERS = 3


@dataclass(frozen=True)
class Row:
    """An instance as the table has it."""

    instance: str
    observed: str
    predicted: str
    error: str
    margin: str


def pages(
    environment: Environment,
    cards: Sequence[Card],
    derived: Sequence[Derivation],
    command: Callable[[str], str],
) -> dict[str, str]:
    """Address in the report -> page.

    Args:
        environment: has the templates.
        cards: what the front page shows.
        derived: the sections that their sources cite.
        command: id of a claim -> how it is run again.

    Example:
        >>> from experiments.report.write import environment
        >>> pages(environment(), [], [], lambda name: name)
        {}
    """
    graph = dependencies(cards)
    by_label: dict[str, list[Card]] = {each.label: [] for each in derived}
    for card in cards:
        for label in labels(card.outcome.claim.source):
            if label in by_label:
                by_label[label].append(card)
    parts = components(graph)
    template = environment.get_template("claim.html.j2")
    made = {
        card.page: template.render(
            card=card,
            sections=[each for each in derived if card.slug in _slugs(by_label[each.label])],
            linked=bool(parts),
            picture=_near(graph, card),
            missing=[name for name in card.outcome.claim.uses if name not in graph],
            related=_related(card, by_label),
            rows=rows(card.outcome),
            numbers=any(seen.observed is not None for seen in card.outcome.measurements),
            command=command(card.outcome.claim.id),
        )
        for card in cards
    }
    if parts:
        made["graph.html"] = environment.get_template("graph.html.j2").render(
            pictures=[drawing(part) for part in parts],
            alone=nx.number_of_isolates(graph),
            verdicts={card.verdict.key: card.verdict for card in cards}.values(),
        )
    if derived:
        made["theory.html"] = environment.get_template("theory.html.j2").render(
            sections=derived, claims=by_label
        )
    return made


def _near(graph: nx.DiGraph, card: Card) -> object:
    near = neighbourhood(graph, card.outcome.claim.id)
    return drawing(near) if near.number_of_edges() else None


def _related(card: Card, by_label: dict[str, list[Card]]) -> list[Card]:
    """The other claims of its sections, once each."""
    same = [found for found in by_label.values() if card.slug in _slugs(found)]
    others = {other.slug: other for found in same for other in found}
    others.pop(card.slug, None)
    return list(others.values())


def _slugs(cards: Sequence[Card]) -> set[str]:
    return {card.slug for card in cards}


def rows(outcome: Outcome) -> list[Row]:
    """The instances in their order, or where they are many those with the largest errors.

    Example:
        >>> from proofs_check import core_claims
        >>> from proofs_check.run import check_claim
        >>> claim = next(c for c in core_claims() if c.id == "focal-convexity")
        >>> len(rows(check_claim(claim, quick=True))) > 1
        True
    """
    seen = outcome.measurements
    if len(seen) > MOST_ROWS:
        seen = tuple(sorted(seen, key=lambda each: -each.error)[:MOST_ROWS])
    return [_row(each, outcome.claim.tolerance.value) for each in seen]


def _row(seen: Measurement, tolerance: float) -> Row:
    return Row(
        seen.instance,
        _numbers(seen.observed),
        _numbers(seen.predicted),
        figure(seen.error),
        figure(seen.error / tolerance),
    )


def _numbers(values: Sequence[float] | None) -> str:
    if values is None:
        return ""
    more = ", …" if len(values) > MOST_NUMBERS else ""
    return ", ".join(f"{value:.7g}" for value in values[:MOST_NUMBERS]) + more
