"""``ufm help``: words, theorems and pages of the documentation in the terminal."""

from __future__ import annotations

import re
from collections.abc import Mapping
from functools import cache
from pathlib import Path
from typing import Annotated

import typer

from experiments.cli.output import console, show
from experiments.errors import input_error

EXAMPLES = ("ufm help UNDECIDED", "ufm help CE-4", "ufm help losses")
# In a checkout, and beside this file where a wheel has put them.
PLACES = (Path(__file__).resolve().parents[2] / "docs", Path(__file__).with_name("pages"))
PAGES = (
    *("atlas", "certificates", "conventions", "findings", "glossary", "losses"),
    *("map", "networks", "sweeps"),
)
ENTRY = re.compile(r"^### (.+)$", re.MULTILINE)
LINK = re.compile(r"\[([^\]]*)\]\([^)]*\)")
FORMULA = re.compile(r"\$\$(.+?)\$\$|\$([^$\n]+?)\$", re.DOTALL)
# LaTeX as text; commands that are not here lose their backslash.
SIGNS: Mapping[str, str] = {
    **{"alpha": "α", "beta": "β", "gamma": "γ", "delta": "δ", "lambda": "λ", "sigma": "σ"},
    **{"pi": "π", "tau": "τ", "kappa": "κ", "mu": "μ", "iota": "ι", "chi": "χ", "eta": "η"},
    **{"nabla": "∇", "sum": "Σ", "sqrt": "√", "to": "→", "le": "≤", "ge": "≥", "lt": "<"},
    **{"gt": ">", "ne": "≠", "times": "×", "cdot": "·", "approx": "≈", "in": "∈", "infty": "∞"},
    **{"lVert": "|", "rVert": "|", "lvert": "|", "rvert": "|", "top": "T", "ast": "*"},
    **{"quad": "  ", "qquad": "    ", "circ": "∘", "log": "log ", "max": "max", "min": "min"},
}


def help(
    topic: Annotated[
        str | None,
        typer.Argument(metavar="[TOPIC]", help="A word, a theorem (CE-4) or a page; none: a list."),
    ] = None,
) -> None:
    """Explain a word that the lab answers with, a theorem, or a page of the documentation."""
    if topic is None:
        show(*listed())
        return
    text = article(topic)
    if text is None:
        raise input_error("No such topic", topic, f"{nearest(topic)}`ufm help` lists all")
    from rich.markdown import Markdown

    console().print(Markdown(readable(text)))


def listed() -> list[str]:
    """The lines of the list of topics."""
    from experiments.report.derivations import sections

    theorems = [label for label in sections() if "-" in label]
    return [
        f"Words: {', '.join(entries())}",
        f"Pages: {', '.join(PAGES)}",
        f"Theorems: {', '.join(theorems)}",
        "Commands: ufm COMMAND --help. All of it with pictures: make docs.",
    ]


def article(topic: str) -> str | None:
    """The text of a topic as Markdown; upper and lower case are the same.

    Example:
        >>> "numbers do not decide" in article("undecided")
        True
        >>> article("CE-4").splitlines()[0], article("no such word")
        ('# CE-4 Strict saddles', None)
    """
    from experiments.report.derivations import sections

    words = {name.casefold(): name for name in entries()}
    if topic.casefold() in words:
        name = words[topic.casefold()]
        return f"# {name}\n\n{entries()[name]}"
    if topic.casefold() in PAGES:
        return page(topic.casefold())
    label = topic.upper()
    if label in sections():
        title, body = sections()[label]
        return f"# {label} {title}\n{body}"
    return None


@cache
def entries() -> dict[str, str]:
    """Word -> what the glossary says of it.

    Example:
        >>> {"UNDECIDED", "DEGENERATE", "SATURATED", "OPEN", "COMPLETE"} <= set(entries())
        True
    """
    _, *parts = ENTRY.split(page("glossary"))
    bodies = (re.split(r"^## ", body, flags=re.MULTILINE)[0].strip() for body in parts[1::2])
    return dict(zip(parts[::2], bodies, strict=True))


def page(name: str) -> str:
    """A page of the documentation."""
    file = next(place / f"{name}.md" for place in PLACES if (place / f"{name}.md").is_file())
    return file.read_text(encoding="utf-8")


def nearest(topic: str) -> str:
    """A proposal for a topic that does not exist, or nothing."""
    from difflib import get_close_matches

    from experiments.report.derivations import sections

    known = {name.casefold(): name for name in (*entries(), *PAGES, *sections())}
    near = get_close_matches(topic.casefold(), known, n=1)
    return f"did you mean {known[near[0]]}? " if near else ""


def readable(text: str) -> str:
    r"""Markdown without links and LaTeX, for a terminal.

    Example:
        >>> readable(r"see [A](b.md): $\\hat\\lambda_H\\le\\frac12 c$")
        'see A: λ_H ≤ 1/2 c'
    """
    bare = LINK.sub(r"\1", text)
    return FORMULA.sub(lambda met: _formula(met[1] or met[2]), bare)


def _formula(latex: str) -> str:
    text = re.sub(r"\\[dt]?frac\s*(\d)\s*(\d)", r"\1/\2", latex)
    text = re.sub(r"\\[dt]?frac\s*\{([^{}]*)\}\s*\{([^{}]*)\}", r"(\1)/(\2)", text)
    text = re.sub(
        r"\\(?:hat|bar|tilde|mathrm|mathbb|text|operatorname|Big|big|left|right)", "", text
    )
    text = re.sub(
        r"\\([A-Za-z]+)\s*",
        lambda met: f" {SIGNS[met[1]]} " if SIGNS.get(met[1], "") in "≤≥<>≠→≈" and met[1] in SIGNS
        else SIGNS.get(met[1], met[1]),
        text,
    )  # fmt: skip
    return re.sub(r"[\\{}]", "", text).replace("_", r"_").strip()
