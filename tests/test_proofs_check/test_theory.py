"""The theorems of the documentation against the claims: which have one, and which have none."""

import re
from pathlib import Path

from proofs_check import core_claims

DOCS = Path(__file__).parents[2] / "docs"
# Theorems without a claim, and why. A heading that is neither here nor claimed fails the test, and
# so does one that is listed here although a claim cites it.
UNCLAIMED = {
    "A-6": "a block structure; the spectra it gives are tested in tests/test_ufm",
    "A-7": "minima without a Hessian: tests/test_ufm/test_plain_convexity.py",
    "S-1": "existence; its consequences are the claims on minimisers",
    "S-4": "unequal classes of few sizes: tests/test_ufm/test_plain_sizes.py",
    "R-1": "non-negative features: tests/test_ufm/test_models_nonnegative.py",
    "R-2": "non-negative features: the same tests",
    "R-3": "non-negative features: the same tests",
    "E-1": "fixed classifier: tests/test_ufm/test_models_fixed_classifier.py",
    "GL-1": "contrastive losses, probed: tests/test_ufm/test_losses.py",
    "CN-3": "norms of layers and a bound: tests/test_ufm/test_conv_norm.py and those of the track",
    "CE-8": "a table of computed numbers: tests/test_landscape/test_atlas.py",
    "DL-1": "an inequality: its minimisers are tested in tests/test_ufm/test_models_deep_linear.py",
    "MCR-2": "a block structure: tests/test_ufm/test_models_rate_reduction.py",
    "TY-2": "a block structure: tests/test_ufm/test_models_sample_types.py",
    "TY-3": "a scalar root: the same tests",
    "7.6": "consequences of the tables of 7.1 to 7.5",
    "7.8": "points to CE-5 and CE-6",
    "AT-1": "A-2 in other words",
    "AT-2": "a principle, used by searches",
    "AT-6": "pairs of orbits: tests/test_landscape/test_atlas_pairing.py",
}
TAG = r"(?:[A-Z]{1,3}-\d+|7\.\d)"


def headings(file: str) -> list[str]:
    """Tags of the theorems that a page states: of its headings and of bold paragraphs."""
    text = (DOCS / file).read_text()
    return re.findall(rf"^(?:#+ |\*\*)({TAG}) ", text, re.MULTILINE)


def cited() -> set[str]:
    """Tags that the sources of claims name; a range in words counts as its ends."""
    return {tag for claim in core_claims() for tag in re.findall(TAG, claim.source)}


def test_every_theorem_has_a_claim_or_is_listed_as_one_without():
    stated = {*headings("theory.md"), *headings("atlas.md")}
    assert len(stated) > 40
    assert stated - cited() == set(UNCLAIMED)


def test_claims_cite_only_what_the_documentation_states():
    assert cited() <= {*headings("theory.md"), *headings("atlas.md")}


def test_a_theorem_that_code_cites_is_defined():
    roots = [DOCS.parent / room for room in ("ufm", "landscape", "proofs_check", "experiments")]
    text = "".join(path.read_text() for root in roots for path in root.rglob("*.py"))
    named = set(
        re.findall(
            r"\b(?:A|AT|CE|LS|FL|GL|MSE|MCR|DL|DQ|DR|GU|TY|ML|SL|TA|OR|SP|CP|SOP|RN|EN|X|R|S|E)-\d+\b",
            text,
        )
    )
    stated = {*headings("theory.md"), *headings("atlas.md")}
    assert named - stated == set()
