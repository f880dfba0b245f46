"""LaTeX as MathML, which browsers render by themselves: no script, no font, no network."""

from __future__ import annotations

import re
from functools import cache
from html import unescape
from unicodedata import lookup
from xml.etree import ElementTree

from markupsafe import Markup

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
# What the converter does not know -> what it does: sizes of delimiters that have a name, sizes of
# type, the old end of a line.
KNOWN = {
    r"\\[bB]igg?[lr]?\s*(?=\\[lr](?:vert|Vert|angle)|\\[{}])": "",
    r"\\(?:text|display)style\b": "",
    r"\\arg\s*\\(min|max)": r"\\operatorname{arg \1}",
    r"\\tag\{([^}]*)\}": r"\\qquad(\1)",
    r"\\cr(?![a-zA-Z])": r"\\\\",
    r"\\\n": r"\\ ",
    r"\\(begin|end)\{aligned\}": r"\\\1{split}",
}
ALPHABETS = {"double-struck": "DOUBLE-STRUCK", "script": "SCRIPT"}
LIMITS = {"min", "max", "sup", "inf", "lim", "argmin", "argmax", "arg min", "arg max"}


@cache
def formula(latex: str, display: str = "block") -> Markup:
    """A LaTeX formula as MathML; as code where it does not convert, or the converter is missing.

    Args:
        latex: without dollar signs.
        display: "block", or "inline" for one within a line.

    Example:
        >>> str(formula("<script>")).count("<script>")
        0
    """
    source = latex.strip()
    if not source:
        return Markup("")
    plain: Markup = Markup('<code class="latex">{}</code>').format(source)
    try:
        from latex2mathml.converter import convert_to_element
    except ImportError:
        return plain
    try:
        tree = convert_to_element(_sized(source), display=display)
    except Exception:  # it raises many kinds for malformed input; the source says it as well
        return plain
    # The converter writes symbols as entities, for its own way of writing them out.
    for element in tree.iter():
        element.text = element.text and unescape(element.text)
    if _unknown_command(tree) or not _clean(tree):
        return plain
    tree.set("xmlns", NAMESPACE)
    tree.set("aria-label", source)
    return Markup(ElementTree.tostring(tree, encoding="unicode"))


def _sized(latex: str) -> str:
    """Commands that the converter does not know by others that it does."""
    for unknown, known in KNOWN.items():
        latex = re.sub(unknown, known, latex)
    return latex


def _clean(tree: ElementTree.Element) -> bool:
    """Drop attributes outside the list, set limits under operators; False for a foreign tag."""
    for element in tree.iter():
        if element.tag not in TAGS:
            return False
        for name in [name for name in element.attrib if name not in ATTRIBUTES]:
            del element.attrib[name]
        # Browsers take bold from the style sheet only, and other alphabets from Unicode only.
        variant = element.attrib.get("mathvariant", "")
        if "bold" in variant:
            element.attrib["class"] = "bold"
        if variant in ALPHABETS and element.text:
            element.text = "".join(_letter(ALPHABETS[variant], each) for each in element.text)
        if element.tag == "msub" and (element[0].text or "").strip() in LIMITS:
            element.tag = "munder"
    return True


def _letter(alphabet: str, letter: str) -> str:
    """A capital of an alphabet, in whichever block Unicode keeps it; others as they are."""
    for block in ("", "MATHEMATICAL "):
        try:
            return lookup(f"{block}{alphabet} CAPITAL {letter}")
        except KeyError:
            continue
    return letter


def _unknown_command(tree: ElementTree.Element) -> bool:
    return any("\\" in (element.text or "") for element in tree.iter())
