"""LaTeX as MathML, which browsers render by themselves: no script, no font, no network."""

from __future__ import annotations

import re
from xml.etree import ElementTree

from markupsafe import Markup, escape

NAMESPACE = "http://www.w3.org/1998/Math/MathML"
# What a browser may be given: layout only, no links and no styles from a formula.
TAGS = frozenset(
    """
    math mrow mi mn mo mtext mspace msub msup msubsup munder mover munderover mfrac msqrt mroot
    mtable mtr mtd mstyle mpadded mphantom menclose mmultiscripts mprescripts none
    """.split()  # noqa: SIM905
)
ATTRIBUTES = frozenset(
    """
    display displaystyle scriptlevel stretchy fence form separator lspace rspace width height depth
    accent accentunder mathvariant columnalign columnspacing rowspacing linethickness minsize
    maxsize movablelimits largeop symmetric notation columnlines rowlines
    """.split()  # noqa: SIM905
)
LIMITS = {"min", "max", "sup", "inf", "lim", "argmin", "argmax", "arg min", "arg max"}


def formula(latex: str) -> Markup:
    """A LaTeX formula as MathML; as code where it does not convert, or the converter is missing.

    Args:
        latex: without dollar signs.

    Example:
        >>> str(formula("<script>")).count("<script>")
        0
    """
    source = latex.strip()
    if not source:
        return Markup("")
    plain: Markup = Markup('<code class="latex">{}</code>').format(source)
    try:
        from latex2mathml.converter import convert
    except ImportError:
        return plain
    try:
        # A bare ampersand is the one character that the converter lets through.
        converted = re.sub(r"&(?!#?\w+;)", "&amp;", convert(source, display="block"))
        tree = ElementTree.fromstring(converted)
    except Exception:  # it raises many kinds for malformed input; the source says it as well
        return plain
    if _unknown_command(tree) or not _clean(tree):
        return plain
    ElementTree.register_namespace("", NAMESPACE)
    text = ElementTree.tostring(tree, encoding="unicode")
    label = escape(source)
    return Markup(text.replace("<math ", f'<math aria-label="{label}" ', 1))


def _clean(tree: ElementTree.Element) -> bool:
    """Drop attributes outside the list, set limits under operators; False for a foreign tag."""
    for element in tree.iter():
        tag = element.tag.removeprefix(f"{{{NAMESPACE}}}")
        if tag not in TAGS:
            return False
        for name in [name for name in element.attrib if name not in ATTRIBUTES]:
            del element.attrib[name]
        # Browsers take bold from the style sheet only.
        if "bold" in element.attrib.get("mathvariant", ""):
            element.attrib["class"] = "bold"
        if tag == "msub" and (element[0].text or "").strip() in LIMITS:
            element.tag = f"{{{NAMESPACE}}}munder"
    return True


def _unknown_command(tree: ElementTree.Element) -> bool:
    return any("\\" in (element.text or "") for element in tree.iter())
