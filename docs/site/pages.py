"""Which pages the site has, where they come from, and in which order they are read."""

from __future__ import annotations

import json
import re
import shutil
from collections import defaultdict
from functools import cache
from pathlib import Path

from docs.site.api import PACKAGES, api_pages
from docs.site.claims import claim_page, claims_index
from docs.site.models import models_page
from experiments.report.derivations import labels
from proofs_check import core_claims
from proofs_check.claim import Claim

ROOT = Path(__file__).resolve().parents[2]
DOCS = ROOT / "docs"
# The pages that state theorems.
THEORIES = ("theory", "atlas")
# Files beside the documentation that are pages too, and what else their links lead to.
OUTSIDE = {
    "README.md": "readme.md",
    "CONTRIBUTING.md": "contributing.md",
    "CHANGELOG.md": "changelog.md",
}
FILES = ("CITATION.cff", "LICENSE")
# Heading of the navigation -> pages under it; a folder stands for all pages in it.
NAVIGATION = {
    "Begin": ("Install, and ten lines <readme>", "tutorials/"),
    "How to": ("conventions", "losses", "sweeps", "networks", "tracks", "certificates"),
    "Notebooks": ("notebooks/",),
    "What is known": ("findings", "map", "gallery", "glossary"),
    "Theory": ("theory", "atlas", "models", "claims/index"),
    "Numbers": ("published", "fixtures", "benchmarks", "scaling"),
    "Reference": tuple(f"api/{name}" for name in PACKAGES),
    "The project": ("contributing", "changelog"),
}
LINK = re.compile(r"(!?\[[^\]]*\]\()([^)\s]+)(\))")


def anchor(claim: Claim) -> str:
    """Where a claim stands on the site.

    Example:
        >>> anchor(core_claims()[0]).startswith("claims/")
        True
    """
    return f"claims/{_slug(claim.subject)}.md#claim-{claim.id}"


def _slug(subject: str) -> str:
    return re.sub(r"[^a-z0-9]+", "-", subject.lower()).strip("-")


@cache
def checks() -> dict[str, tuple[Claim, ...]]:
    """Tag of a theorem -> the claims whose sources cite it.

    Example:
        >>> any(claim.id == "balancedness" for claim in checks()["CE-3"])
        True
    """
    found: dict[str, list[Claim]] = defaultdict(list)
    for claim in core_claims():
        for tag in labels(claim.source):
            found[tag].append(claim)
    return {tag: tuple(claims) for tag, claims in found.items()}


def stage(folder: Path) -> None:
    """Lay out all pages as Sphinx reads them.

    Args:
        folder: made anew; holds Markdown, figures and data.
    """
    for file in sorted(DOCS.rglob("*")):
        place = folder / file.relative_to(DOCS)
        if not file.is_file() or "site" in file.relative_to(DOCS).parts[:1]:
            continue
        if file.suffix == ".ipynb":
            _write(place.with_suffix(".md"), notebook(file))
        elif file.suffix == ".md":
            _write(place, inside(file.read_text(encoding="utf-8")))
        if file.suffix != ".md":
            place.parent.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(file, place)
    for name, page in OUTSIDE.items():
        _write(folder / page, outside((ROOT / name).read_text(encoding="utf-8")))
    for name in FILES:
        shutil.copyfile(ROOT / name, folder / name)
    subjects: dict[str, list[Claim]] = defaultdict(list)
    for claim in core_claims():
        subjects[claim.subject].append(claim)
    for subject, claims in subjects.items():
        _write(folder / "claims" / f"{_slug(subject)}.md", claim_page(subject, claims))
    listed = {_slug(subject): (subject, claims) for subject, claims in subjects.items()}
    _write(folder / "claims" / "index.md", claims_index(listed))
    for name, text in api_pages(str(ROOT)).items():
        _write(folder / "api" / f"{name}.md", text)
    _write(folder / "models.md", models_page())
    _write(
        folder / "index.md",
        inside((DOCS / "index.md").read_text(encoding="utf-8")) + contents(folder),
    )


def _write(path: Path, text: str) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text, encoding="utf-8")


def inside(text: str) -> str:
    """A page of the documentation with its links to files beside it led to their pages.

    Example:
        >>> inside("[a](../README.md) [b](../../CHANGELOG.md#x) [c](theory.md)")
        '[a](readme.md) [b](../changelog.md#x) [c](theory.md)'
    """

    def led(met: re.Match[str]) -> str:
        path, mark, place = met[2].partition("#")
        up, name = path.rpartition("../")[1:]
        if not up or (name not in OUTSIDE and name not in FILES):
            return met[0]
        return f"{met[1]}{path[: -len(name) - 3]}{OUTSIDE.get(name, name)}{mark}{place}{met[3]}"

    return LINK.sub(led, text)


def outside(text: str) -> str:
    """A page beside the documentation as one of its pages.

    Example:
        >>> outside("[a](docs/map.md) [b](CONTRIBUTING.md#x) ![c](docs/figures/d.svg)")
        '[a](map.md) [b](contributing.md#x) ![c](figures/d.svg)'
    """

    def led(met: re.Match[str]) -> str:
        path, mark, place = met[2].partition("#")
        path = OUTSIDE.get(path, path.removeprefix("docs/"))
        return f"{met[1]}{path}{mark}{place}{met[3]}"

    return LINK.sub(led, text)


def notebook(file: Path) -> str:
    """The cells of a notebook as a page: its words, and its code."""
    made = []
    for cell in json.loads(file.read_text(encoding="utf-8"))["cells"]:
        text = "".join(cell["source"])
        made.append(text if cell["cell_type"] == "markdown" else f"```python\n{text}\n```")
    made.append(f"[This notebook]({file.name})")
    return inside("\n\n".join(made)) + "\n"


def contents(folder: Path) -> str:
    """The navigation, hidden on the page that it is written on."""
    made = []
    for heading, pages in NAVIGATION.items():
        listed = [each for page in pages for each in _pages(folder, page)]
        lines = ["", "```{toctree}", ":hidden:", f":caption: {heading}", "", *listed, "```", ""]
        made += lines if listed else []
    return "\n".join(made)


def _pages(folder: Path, page: str) -> list[str]:
    if not page.endswith("/"):
        return [page]
    return [f"{page}{file.stem}" for file in sorted((folder / page).glob("*.md"))]
