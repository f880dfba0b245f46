"""``ufm help``: every word, theorem and page, and what happens to one that does not exist."""

import re
from pathlib import Path

import pytest

from experiments.cli.help import PAGES, article, entries, readable
from landscape.atlas import Status
from landscape.solvers.result import Result
from landscape.verdict import Curvature, Globality

# How the reasons for UNDECIDED begin, apart from numbers.
REASONS = (
    "Lanczos found no negative curvature",
    "the dimension of the symmetry orbit is not known",
    "a Newton step would be",
    "Newton's method does not end beside the point",
    "of the symmetry orbit: polish the point",
    "eigenvalues that symmetry does not explain",
)


def test_every_answer_of_the_lab_has_an_entry():
    for kind in (Curvature, Globality, Status, Result):
        assert {member.name for member in kind} <= set(entries()), kind


@pytest.mark.parametrize(
    ("topic", "says"), [("undecided", "Lanczos"), ("ce-4", "Strict saddles"), ("losses", "focal")]
)
def test_a_topic_is_printed(ufm, topic, says):
    ran = ufm(f"help {topic}")
    assert ran.code == 0
    assert says in ran.out
    assert "$" not in ran.out


def test_the_list_has_words_pages_and_theorems(ufm):
    told = ufm("help").out
    for name in (*entries(), *PAGES, "CE-4", "MSE-1"):
        assert name in told


def test_a_topic_that_does_not_exist_is_refused_with_a_proposal(ufm):
    ran = ufm("help undecidd")
    assert ran.code == 2
    assert "did you mean UNDECIDED" in ran.err


def test_every_cause_that_a_verdict_gives_is_in_the_glossary():
    """The reasons in the source against the quotations of the glossary, by their first words."""
    source = (Path(__file__).parents[2] / "landscape" / "verdict.py").read_text()
    judged = source[source.index("def judge_curvature") : source.index("def _globality")]
    quoted = re.sub(r"\s+", " ", article("UNDECIDED"))
    for words in REASONS:
        assert words in judged
        assert words in quoted
    assert judged.count("Curvature.UNDECIDED") == 7
    assert readable("[a](b) $x_1$") == "a x_1"
