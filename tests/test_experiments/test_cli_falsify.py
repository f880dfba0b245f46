"""``ufm falsify``: budget, seed, kept counterexamples, exit codes, JSON."""

import json
from pathlib import Path

import pytest

THEOREMS = """
from proofs_check import claim
from proofs_check.instance import Specimen
from ufm import UFM, CrossEntropy

def few(quick):
    for decay in (0.01, 0.04) if quick else (0.01, 0.1):
        model = UFM(CrossEntropy(), 3, 4, 2, lambda_W=decay, lambda_H=0.02)
        yield Specimen(model, model.origin(), "origin")

@claim("mine-true", "lambda_W > 0", region=few)
def true(model, point):
    return float(model.lambda_W <= 0)

@claim("mine-false", "lambda_W is not between .05 and .08", region=few)
def false(model, point):
    return float(0.05 < model.lambda_W < 0.08)
"""


@pytest.fixture(autouse=True)
def folder(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    Path("mine.py").write_text(THEOREMS)


def test_a_false_theorem_is_broken_kept_and_replayed_first(ufm):
    ran = ufm("falsify --claims mine.py --claim mine-false --seconds 20 --kept broken.json --json")
    assert ran.code == 1, ran.err
    (record,) = ran.json["claims"]
    assert (record["found"], record["replayed"]) == ("COUNTEREXAMPLE", False)
    assert record["counterexample"]["margin"] > 1
    (kept,) = json.loads(Path("broken.json").read_text())["counterexamples"]
    assert kept == record["counterexample"]
    before = Path("broken.json").read_bytes()
    again = ufm("falsify --claims mine.py --claim mine-false --seconds 0 --kept broken.json --json")
    assert again.code == 1
    assert (again.json["claims"][0]["replayed"], again.json["claims"][0]["tried"]) == (True, 1)
    assert Path("broken.json").read_bytes() == before
    # Without the file and without a budget there is nothing to find.
    assert ufm("falsify --claims mine.py --claim mine-false --seconds 0").code == 0


def test_a_true_theorem_is_not_and_the_table_says_how_much_was_tried(ufm):
    ran = ufm("falsify --claims mine.py --claim mine-true --seconds 0.3")
    assert ran.code == 0, ran.err
    assert "1 of 1 claims searched" in ran.out
    assert "none that should hold was broken" in ran.out
    assert not Path("counterexamples.json").exists()
    assert ran.err.splitlines()[-1].startswith("[1/1] mine-true: NOTHING")


def test_a_claim_none_of_whose_draws_is_an_instance_is_not_counted_as_searched(ufm):
    with Path("mine.py").open("a") as file:
        file.write(
            "LISTED = list(few(True))\n"
            "@claim('mine-empty', 'never', region=lambda quick: LISTED, hypotheses=[\n"
            "    ('listed', lambda model, point: any(model is s.model for s in LISTED))])\n"
            "def empty(model, point):\n"
            "    return 0.0\n"
        )
    ran = ufm("falsify --claims mine.py --claim mine-true --claim mine-empty --seconds 0.3")
    assert ran.code == 0, ran.err
    assert "1 of 2 claims searched (1 met no instance)" in " ".join(ran.out.split())


def test_the_seed_and_the_region_matter(ufm):
    run = "falsify --claims mine.py --claim mine-false --seconds {} --kept {} --json"
    one, two = (
        ufm(run.format(20, f"{seed}.json") + f" --seed {seed}").json["claims"][0]["first"]["draw"]
        for seed in (0, 1)
    )
    assert one != two
    # Between .01 and .04, and a little around, it holds.
    assert ufm(run.format(1, "quick.json") + " --quick").code == 0


def test_the_counterexample_is_told_with_the_command_that_replays_it(ufm):
    ran = ufm("falsify --claims mine.py --claim mine-false --seconds 20 --kept broken.json")
    assert "mine-false: COUNTEREXAMPLE ce K=" in ran.out
    assert "--claims mine.py --claim mine-false --seconds 0 --kept broken.json" in ran.out
    assert "1 BROKEN" in ran.out


@pytest.mark.parametrize("text", ["{", "[]", '{"counterexamples": [{"format": "other"}]}', "null"])
def test_a_damaged_file_of_counterexamples_is_one_line_and_exit_2(ufm, text):
    Path("broken.json").write_text(text)
    ran = ufm("falsify --claims mine.py --claim mine-true --kept broken.json")
    assert ran.code == 2
    assert "Need a file of counterexamples" in ran.err
    assert "Traceback" not in ran.err


def test_an_unknown_claim_and_a_negative_budget_are_refused(ufm):
    assert ufm("falsify --claim no-such-claim").code == 2
    assert ufm("falsify --claims mine.py --seconds -1").code == 2
