"""The page of numbers and the commands that print them: every command is run and compared."""

import re
from pathlib import Path
from typing import NamedTuple

import pytest

from tests.helpers import slow

PAGE = (Path(__file__).parents[2] / "docs" / "fixtures.md").read_text()
# One of every kind of command and model; the rest of the page is slow.
FAST = (
    "--widths 2,2,2,3 --lambda-w 0.0350610983",
    "--counts 3,3 -d 5 --eps 0.5 --lambda-z 0.05 --start 2,1",
    "--inside 4 --outside 1 --start 1,0",
    "--depth 2 --lambda-w 0.0117606",
    "--loss bce -K 7",
    "--claim graph-chance --details",
)


class Row(NamedTuple):
    words: str
    numbers: tuple[tuple[str, str], ...]


def rows(page):
    """Commands of the page, with the paths and values beside them."""
    found = []
    for line in page.splitlines():
        cells = [cell.strip() for cell in line.strip("|").split("|")]
        command = re.fullmatch(r"`ufm (.+)`", cells[1]) if len(cells) == 3 else None
        if command:
            pairs = re.findall(r"`([\w.-]+)=([^`]+)`", cells[2])
            found.append(Row(command[1], tuple(pairs)))
    return found


def looked_up(record, path):
    for name in path.split("."):
        record = record[int(name)] if isinstance(record, list) else record[name]
    return record


def misses(record, numbers):
    """What the record says otherwise: words that differ, numbers beyond their last digit."""
    wrong = []
    for path, value in numbers:
        seen = looked_up(record, path)
        if re.fullmatch(r"-?\d+(\.\d+)?", value):
            digits = len(value.partition(".")[2])
            # Enclosures are decimal strings of all their digits.
            fits = seen is not None and abs(float(seen) - float(value)) <= 0.6 * 10.0**-digits
        else:
            fits = seen == value
        if not fits:
            wrong.append((path, value, seen))
    return wrong


ROWS = rows(PAGE)
CASES = [row if any(part in row.words for part in FAST) else slow(row) for row in ROWS]


@pytest.fixture
def somewhere(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)  # reports of verify go there


@pytest.mark.parametrize("row", CASES)
def test_a_command_prints_the_numbers_beside_it(row, ufm, somewhere):
    ran = ufm(f"{row.words} --json")
    assert ran.code in (0, 3), ran.err
    told = ran.json
    assert row.numbers
    assert misses(told, row.numbers) == []
    if told.get("curvature") == "MORSE_BOTT_MINIMUM":
        assert told["predicted_nullity"] == told["nullity"]


def test_the_page_has_every_row_that_is_read_and_fast_ones_of_each_kind():
    assert len(ROWS) == PAGE.count("| `ufm ")
    assert len({row.words for row in ROWS}) == len(ROWS) > 90
    for part in FAST:
        assert any(part in row.words for row in ROWS), part


def test_a_digit_or_a_verdict_that_differs_is_seen():
    record = {"objective": -0.25, "index": 0, "measures": {"ranks": [2, 1]}, "globality": "GLOBAL"}
    fits = (("objective", "-0.2500"), ("measures.ranks.1", "1"), ("globality", "GLOBAL"))
    assert misses(record, fits) == []
    for path, value in (("objective", "-0.2501"), ("index", "1"), ("globality", "UNKNOWN")):
        assert [miss[0] for miss in misses(record, ((path, value),))] == [path]
    proved = {"value": "0.25000000000000000000000001"}
    assert misses(proved, (("value", "0.2500"),)) == []
    assert misses(proved, (("value", "0.2501"),)) != []
    assert misses({"nullity": None}, (("nullity", "0"),)) != []
