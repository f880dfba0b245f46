"""Pages of claims: what is stated, where it comes from, and the command that checks it."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence

from proofs_check.claim import Claim


def claim_page(subject: str, claims: Sequence[Claim]) -> str:
    """The page of a subject, as Markdown.

    Args:
        subject: its heading.
        claims: those of the subject.
    """
    lines = [f"# Claims: {headed(subject)}", "", *(line for c in claims for line in _claim(c))]
    return "\n".join(lines)


def claims_index(pages: Mapping[str, tuple[str, Sequence[Claim]]]) -> str:
    """The page that leads to those of all subjects.

    Args:
        pages: name of a page -> its subject and claims.
    """
    rows = []
    for name, (subject, claims) in pages.items():
        refuted = sum(not claim.holds for claim in claims) or ""
        rows.append(f"| [{headed(subject)}]({name}.md) | {len(claims)} | {refuted} |")
    tree = ["```{toctree}", ":hidden:", "", *pages, "```", ""]
    head = [
        "# Claims",
        "",
        "What `ufm verify` checks. A claim that is refuted is checked to be false.",
        "",
    ]
    return "\n".join([*head, "| subject | claims | refuted |", "|---|---|---|", *rows, "", *tree])


def headed(subject: str) -> str:
    """A subject with a capital.

    Example:
        >>> headed("whole landscapes")
        'Whole landscapes'
    """
    return subject[0].upper() + subject[1:]


def _claim(claim: Claim) -> Iterator[str]:
    yield from (f"(claim-{claim.id})=", f"## {plain(claim.title)}", "", plain(claim.statement), "")
    if claim.latex:
        yield from ("$$", claim.latex.strip(), "$$", "")
    status = "" if claim.holds else " It is false, and refuted here."
    yield f"Source: {plain(claim.source)}. In the literature: {claim.literature}.{status}"
    yield ""
    if claim.hypotheses:
        said = "; ".join(plain(each.text) for each in claim.hypotheses)
        yield from (f"Where: {said}.", "")
    yield f"Error at most {claim.tolerance.value:.3g}: {plain(claim.tolerance.reason)}."
    yield f"Must fail: {plain(claim.mutant.text)}."
    yield from ("", f"    ufm verify --claim {claim.id}", "")


def plain(text: str) -> str:
    r"""Text in which Markdown sees no markup of its own; code between backticks stays.

    Example:
        >>> plain("a_b |W|^2 and `x_1`")
        'a\\_b \\|W\\|^2 and `x_1`'
    """
    parts = " ".join(text.split()).replace("``", "`").split("`")
    if len(parts) % 2 == 0:
        return _escaped(" ".join(text.split()))
    return "`".join(part if i % 2 else _escaped(part) for i, part in enumerate(parts))


def _escaped(text: str) -> str:
    return "".join(f"\\{letter}" if letter in r"\`*_{}[]<>#|$~" else letter for letter in text)
