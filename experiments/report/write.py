"""Compute, render, then write: a failure or Ctrl-C leaves the previous report as it was."""

from __future__ import annotations

import os
from collections.abc import Callable, Collection, Mapping, Sequence
from pathlib import Path
from types import MappingProxyType

from jinja2 import Environment, PackageLoader, StrictUndefined

from experiments.files import write_whole
from experiments.report.certificates import Certificate
from experiments.report.derivations import Derivation, derivations
from experiments.report.figures import Picture, pictures
from experiments.report.formula import formula
from experiments.report.pages import pages
from experiments.report.provenance import provenance
from experiments.report.view import (
    TEETH_AT,
    TIERS,
    TOLERANCE_AT,
    Card,
    cards,
    evidence,
    subjects,
    tally,
)
from proofs_check.claim import Outcome
from ufm.errors import InputError


def write(
    outcomes: Sequence[Outcome],
    directory: Path,
    *,
    figures: bool,
    drawn: Callable[[], Sequence[Picture]] | None,
    derived: Callable[[], Sequence[Derivation]] | None,
    command: Callable[[str], str],
    certificates: Sequence[Certificate],
    progress: Callable[[str], None] | None,
) -> Path:
    """The work behind ``write_report``; see there."""
    say = progress or (lambda line: None)
    directory = Path(directory)
    _require_folder(directory)
    shown: Sequence[Picture] = ()
    if figures and drawn is None:
        shown = pictures(say)
    elif figures and drawn is not None:
        say("figures")
        shown = drawn()
    say("derivations")
    sources = [outcome.claim.source for outcome in outcomes]
    sections = derivations(sources) if derived is None else derived()
    say("page")
    claims = cards(outcomes)
    behind = pages(environment(), claims, sections, command)
    page = render(claims, shown, behind, certificates)
    directory.mkdir(parents=True, exist_ok=True)
    files = {address: text.encode() for address, text in behind.items()}
    files |= {each.address: each.content for each in certificates if each.content}
    return save(page, shown, directory, files)


def save(
    page: str,
    shown: Sequence[Picture],
    directory: Path,
    files: Mapping[str, bytes] = MappingProxyType({}),
) -> Path:
    """Write the figures of a page and other files, and last the page, into an existing folder."""
    figures = {f"figures/{name}": c for picture in shown for name, c in picture.files.items()}
    for address, content in (*figures.items(), *files.items()):
        place = directory / address
        place.parent.mkdir(exist_ok=True)
        write_whole(place, content)
    target = directory / "index.html"
    write_whole(target, page.encode())
    return target


def environment() -> Environment:
    """The templates of the pages, with their filters."""
    made = Environment(
        loader=PackageLoader("experiments", "report"),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    made.filters["formula"] = formula
    made.globals |= {"tolerance_at": TOLERANCE_AT, "teeth_at": TEETH_AT}
    return made


def render(
    claims: Sequence[Card],
    shown: Sequence[Picture],
    behind: Collection[str] = (),
    certificates: Sequence[Certificate] = (),
) -> str:
    """The front page as text; ``behind`` are the addresses of the other pages.

    Example:
        >>> "<!doctype html>" in render([], [])
        True
    """
    return (
        environment()
        .get_template("page.html.j2")
        .render(
            claims=claims,
            subjects=subjects(claims),
            tally=tally(claims),
            evidence=evidence(claims),
            tiers=TIERS,
            losses=sorted({loss for card in claims for loss in card.losses}),
            verdicts={card.verdict.key: card.verdict.word for card in claims},
            pictures=shown,
            linked="graph.html" in behind,
            derived="theory.html" in behind,
            certificates=certificates,
            provenance=provenance(),
        )
    )


def _require_folder(directory: Path) -> None:
    remedy = "choose another folder"
    if directory.exists() and not directory.is_dir():
        raise InputError("Need a folder for the report", f"the file {directory}", remedy)
    place = directory.absolute()
    while not place.exists():
        place = place.parent
    if not place.is_dir() or not os.access(place, os.W_OK):
        raise InputError("Need a writable folder for the report", str(place), remedy)
