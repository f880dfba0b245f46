"""What Sphinx is taught here: formulas as MathML, and tags of theorems that are links."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

from docutils import nodes
from sphinx.application import Sphinx
from sphinx.util import logging

from docs.site.pages import DOCS, THEORIES, anchor, checks
from experiments.report.derivations import LABEL
from experiments.report.formula import formula

TAG = re.compile(r"^([A-Z]{1,3}-\d+|7\.\d)\b")
# Where "7.1" is a section and no number.
THEORETICAL = re.compile(r"^(theory|atlas|conventions|claims/.*)$")
# What is left as it is: code, what is a link already, and what states a theorem.
CLOSED = (
    nodes.literal,
    nodes.literal_block,
    nodes.reference,
    nodes.title,
    nodes.strong,
    nodes.math,
)
_said = logging.getLogger(__name__)


def inline(writer: Any, node: nodes.math) -> None:
    """Write a formula within a line."""
    writer.body.append(_converted(node, "inline"))
    raise nodes.SkipNode


def block(writer: Any, node: nodes.math_block) -> None:
    """Write a formula on lines of its own."""
    writer.body.append(f'<div class="formula">{_converted(node, "block")}</div>\n')
    raise nodes.SkipNode


def _converted(node: nodes.Element, display: str) -> str:
    made = str(formula(node.astext(), display))
    if 'class="latex"' in made:
        _said.warning("formula without MathML: %s", node.astext(), location=node)
    return made


def tags() -> Mapping[str, str]:
    """Tag of a theorem -> the page that states it.

    Example:
        >>> tags()["AT-4"], tags()["CE-4"]
        ('atlas', 'theory')
    """
    stated = re.compile(rf"^(?:#+ |\*\*)({TAG.pattern[2:-3]}) ", re.MULTILINE)
    return {
        tag: page
        for page in THEORIES
        for tag in stated.findall((DOCS / f"{page}.md").read_text(encoding="utf-8"))
    }


def link_theorems(app: Sphinx, tree: nodes.document, page: str) -> None:
    """Give theorems their tags as anchors, say what checks them, and lead tags in prose there."""
    known = tags()
    if page in THEORIES:
        _name_theorems(tree, {tag for tag, stated in known.items() if stated == page})
    for text in list(tree.findall(nodes.Text)):
        if not _inside(text, CLOSED):
            _linked(app, text, page, known)


def _inside(node: nodes.Node, kinds: tuple[type, ...]) -> bool:
    while node.parent is not None:
        node = node.parent
        if isinstance(node, kinds):
            return True
    return False


def _name_theorems(tree: nodes.document, wanted: set[str]) -> None:
    bold = [node for node in tree.findall(nodes.paragraph) if _opens_bold(node)]
    sections = [node for node in tree.findall(nodes.section)]
    claimed = checks()
    # A heading may stand for several; the paragraph that states one of them is nearer.
    for node in [*bold, *sections]:
        begin = TAG.match(node.astext())
        if begin is None or begin[1] not in wanted:
            continue
        wanted.discard(begin[1])
        node["ids"].append(begin[1])
        told = _checked_by(claimed.get(begin[1], ()))
        if isinstance(node, nodes.section):
            node.insert(1, told)
        else:
            node.parent.insert(node.parent.index(node) + 1, told)


def _opens_bold(node: nodes.paragraph) -> bool:
    begin = next((child for child in node.children if child.astext()), None)
    return isinstance(begin, nodes.strong)


def _checked_by(claims: Any) -> nodes.paragraph:
    told = nodes.paragraph("", "", classes=["checked"])
    if not claims:
        told += nodes.Text("No claim of its own: its evidence is among the tests.")
        return told
    told += nodes.Text("Checked by ")
    for i, claim in enumerate(claims):
        told += nodes.Text(", " if i else "")
        target = f"{anchor(claim).replace('.md', '.html')}"
        told += nodes.reference("", claim.id, refuri=target, internal=True)
    told += nodes.Text(".")
    return told


def _linked(app: Sphinx, text: nodes.Text, page: str, known: Mapping[str, str]) -> None:
    pieces: list[nodes.Node] = []
    end, said = 0, text.astext()
    for met in LABEL.finditer(said):
        tag = met[1] or (met[2] if THEORETICAL.match(page) else None)
        if tag not in known:
            continue
        address = f"{app.builder.get_relative_uri(page, known[tag])}#{tag}"
        pieces += [
            nodes.Text(said[end : met.start()]),
            nodes.reference("", met[0], refuri=address, internal=True),
        ]
        end = met.end()
    if pieces:
        text.parent.replace(text, [*pieces, nodes.Text(said[end:])])


def setup(app: Sphinx) -> dict[str, bool]:
    """Register with Sphinx."""
    app.add_html_math_renderer("mathml", (inline, None), (block, None))
    app.connect("doctree-resolved", link_theorems)
    return {"parallel_read_safe": True, "parallel_write_safe": True}
