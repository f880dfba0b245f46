"""The derivations of docs/theory.md as the report shows them: sections by label, in MathML."""

from __future__ import annotations

import re
from collections.abc import Collection, Iterable
from dataclasses import dataclass
from functools import cache
from pathlib import Path

from markdown_it import MarkdownIt
from markupsafe import Markup, escape

from experiments.report.formula import formula

# In a checkout, and beside this file where a wheel has put it.
PLACES = (
    Path(__file__).resolve().parents[2] / "docs" / "theory.md",
    Path(__file__).with_name("theory.md"),
)
HEADING = re.compile(r"^#{2,3} (\S+) (.*)$", re.MULTILINE)
# A label of a section as proofs and sources cite it: CE-4, LS-2 of "LS-2a", 7.1, section C.
LABEL = re.compile(r"\b(?:([A-Z]{1,4}-\d+)[a-z]?\b|(?<![\d.])(7\.\d)\b(?!\d)|section ([A-Z]|7)\b)")
# What is no prose: code, and formulas.
VERBATIM = re.compile(r"(```.*?```|`[^`]*`)|\$\$(.+?)\$\$|\$([^$]+?)\$", re.DOTALL)
LINK = re.compile(r"\[([^\]]*)\]\([^)]*\)")
MARK = re.compile("\ue000(\\d+)\ue001")


@dataclass(frozen=True)
class Derivation:
    """A section of the theory.

    Attributes:
        label: as sources cite it, e.g. "CE-4".
        title: its heading.
        body: what it says, as HTML.
        cites: labels of the other sections that it cites.
    """

    label: str
    title: str
    body: Markup
    cites: tuple[str, ...]


def labels(text: str) -> tuple[str, ...]:
    """The sections that a text cites, in order.

    Example:
        >>> labels("LS-2b, THEORY 7.1; section C, and arXiv 2405.17767 not")
        ('LS-2', '7.1', 'C')
    """
    return tuple(dict.fromkeys(_name(found) for found in LABEL.finditer(text)))


def _name(found: re.Match[str]) -> str:
    return next(part for part in found.groups() if part)


@cache
def sections() -> dict[str, tuple[str, str]]:
    """Label -> heading and Markdown of every section; nothing where the theory is not at hand.

    Example:
        >>> sections()["CE-4"][0]
        'Strict saddles'
    """
    place = next((place for place in PLACES if place.is_file()), None)
    if place is None:
        return {}
    _, *parts = HEADING.split(place.read_text(encoding="utf-8"))
    return {
        label: (title, body)
        for label, title, body in zip(parts[::3], parts[1::3], parts[2::3], strict=True)
    }


def citations(label: str) -> tuple[str, ...]:
    """The other sections that a section cites.

    Example:
        >>> citations("LS-3")
        ('7.1',)
    """
    cited = labels(VERBATIM.sub(" ", sections()[label][1]))
    return tuple(other for other in cited if other != label and other in sections())


def derivations(sources: Iterable[str]) -> tuple[Derivation, ...]:
    """The sections that sources of claims cite, in the order of the theory.

    Example:
        >>> [found.label for found in derivations(["CE-4; after Zhu et al. (2021)", "S-2, A-1"])]
        ['A-1', 'S-2', 'CE-4']
    """
    cited = {label for source in sources for label in labels(source)}
    chosen = [label for label in sections() if label in cited]
    return tuple(_derivation(label, chosen) for label in chosen)


def _derivation(label: str, shown: Collection[str]) -> Derivation:
    title, text = sections()[label]
    return Derivation(label, _plain(title), _html(text, shown), citations(label))


def _plain(title: str) -> str:
    """A heading without dollars."""
    return title.replace("$", "").replace(r"\le", " ≤ ")


def _html(text: str, shown: Collection[str]) -> Markup:
    """Markdown with formulas as HTML; citations of shown sections lead to them."""
    kept: list[Markup] = []

    def keep(found: re.Match[str]) -> str:
        code, block, inline = found.groups()
        if code is not None:
            return code
        made = formula(block, "block") if block else formula(inline, "inline")
        kept.append(Markup('<span class="formula">{}</span>').format(made) if block else made)
        return f"\ue000{len(kept) - 1}\ue001"

    prose = LINK.sub(r"\1", VERBATIM.sub(keep, text))
    # Tables end cells at a bar, which no formula has any more.
    made = MarkdownIt("commonmark", {"html": False}).enable("table").render(prose)
    linked = "".join(
        piece if piece.startswith("<") else _linked(piece, shown)
        for piece in re.split(r"(<code>.*?</code>|<[^>]*>)", made, flags=re.DOTALL)
    )
    return Markup(MARK.sub(lambda found: str(kept[int(found[1])]), linked))


def _linked(text: str, shown: Collection[str]) -> str:
    def link(found: re.Match[str]) -> str:
        name = _name(found)
        return f'<a href="#{escape(name)}">{found[0]}</a>' if name in shown else found[0]

    return LABEL.sub(link, text)
