"""The map: what it says of cases whose answer is known, its page, and the command."""

import re
from dataclasses import replace
from pathlib import Path

import pytest

from experiments.map.cases import CASES
from experiments.map.page import HEADER, rows, write_map
from experiments.map.search import survey
from tests.helpers import slow
from ufm import MODELS

DOCS = Path(__file__).parents[2] / "docs"


def case(name):
    (found,) = [case for case in CASES if case.name == name]
    return found


@pytest.fixture(scope="module")
def regression():
    return survey(case("regression n=3 M=8 d=4"))


def test_every_model_is_on_the_map():
    assert {case.model for case in CASES} == set(MODELS) | {"plain"}
    assert len({case.name for case in CASES}) == len(CASES)


def test_theorems_are_those_of_the_documentation():
    text = (DOCS / "theory.md").read_text()
    for shown in CASES:
        assert not shown.theorem or f"### {shown.theorem} " in text


@pytest.mark.slow
def test_a_proved_case(regression):
    assert regression.answer == "yes, proved (X-11)"
    assert regression.seen["spurious minimum"] == regression.seen["undecided"] == 0
    assert regression.seen["strict saddle"] > 10
    assert regression.order == 2
    told = survey(replace(case("regression n=3 M=8 d=4"), theorem=""))
    assert told.answer.startswith("seen: nothing else at ")


@pytest.mark.parametrize(
    ("name", "answer", "order"),
    [
        slow("deep-linear mse M=2 K=3", "no: a minimum at 0.22544147 above 0.088162206", 1),
        slow("rate-reduction m=4,2,3 d=4", "no: a minimum at -1.5653075 above -1.6914609", 1),
        slow("plain focal(3) K=30 d=29", "no: a minimum at 3.072289 above 3.0672824", 1),
        slow("plain ce n=2,2,2 d=3", "yes, proved (CE-4)", 2),
    ],
)
def test_what_is_known_is_found(name, answer, order):
    found = survey(case(name))
    assert (found.answer, found.order) == (answer, order)


def test_the_page_has_a_line_for_every_case(regression, tmp_path):
    (tmp_path / "figures").mkdir()
    write_map([regression, regression], tmp_path)
    text = (tmp_path / "map.md").read_text()
    assert text.count("| regression | - | n=3 M=8 d=4 | yes, proved (X-11) | second order |") == 2
    assert (tmp_path / "figures" / "map.svg").stat().st_size > 1000
    assert len(rows([regression])[0]) == len(HEADER)


def test_the_kept_page_shows_every_case():
    lines = re.findall(r"^\| ([a-z-]+) \| (\S+) \| ([^|]+) \|", (DOCS / "map.md").read_text(), re.M)
    shown = [(model, loss, numbers.strip()) for model, loss, numbers in lines]
    assert shown[2:] == [(x.model, x.loss or "-", x.numbers) for x in CASES]


def test_the_command_names_its_models(ufm):
    ran = ufm("map --model deep-linea")
    assert (ran.code, ran.out) == (2, "")
    assert "write 'deep-linear'" in ran.err


def test_a_folder_that_cannot_be_is_refused_before_the_search(ufm, tmp_path):
    (tmp_path / "file").write_text("")
    ran = ufm(f"map --model regression --out {tmp_path}/file/below")
    assert (ran.code, len(ran.err.splitlines())) == (2, 1)
