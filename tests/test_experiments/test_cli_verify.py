"""``ufm verify``: claims chosen, exit codes, JSON, and a report that is written last."""

import json
import sys
from pathlib import Path
from types import ModuleType

import pytest

import proofs_check.run
import tests.foreign
from experiments.losses import PARAMETERS

THEOREMS = """
import numpy as np
from proofs_check import claim
from proofs_check.instance import Specimen
from ufm import MSE, UFM, CrossEntropy

def few(quick):
    for loss in (CrossEntropy(), MSE()):
        for n in (1,) if quick else (1, 2):
            model = UFM(loss, 3, 5, n, lambda_W=0.02, lambda_H=0.05)
            yield Specimen(model, model.minimiser().point, "minimiser")

def gap(model, point, power):
    return abs(np.sum(point.W**2) * model.lambda_W - np.sum(point.H**2) * model.lambda_H**power)

@claim("mine-true", "lambda_W |W|^2 = lambda_H |H|^2", region=few)
def true(model, point):
    return gap(model, point, 1)

@claim("mine-false", "lambda_W |W|^2 = lambda_H^2 |H|^2", region=few)
def false(model, point):
    return gap(model, point, 2)

@claim("mine-broken", "divides by zero", region=few)
def broken(model, point):
    return 1 // 0

@claim("mine-toothless", "always holds", region=few)
def toothless(model, point):
    return 0.0
"""


@pytest.fixture(autouse=True)
def reports(tmp_path, monkeypatch):
    """A working folder with a file of claims, and a report that only notes what it was given."""
    monkeypatch.chdir(tmp_path)
    Path("mine.py").write_text(THEOREMS)
    written = []

    def write_report(outcomes, directory, *, figures, progress, **more):
        progress("drawing" if figures else "writing")
        written.append(([outcome.claim.id for outcome in outcomes], Path(directory)))
        return Path(directory) / "index.html"

    module = ModuleType("experiments.report")
    module.write_report = write_report
    monkeypatch.setitem(sys.modules, "experiments.report", module)
    return written


def test_a_true_theorem_is_verified(ufm, reports):
    ran = ufm("verify --claims mine.py --claim mine-true --json")
    (record,) = ran.json["claims"]
    assert ran.code == 0, ran.err
    assert (record["id"], record["status"], record["mutant"]) == ("mine-true", "VERIFIED", True)
    assert (record["instances"], record["tier"], record["expected"]) == (4, "T0", True)
    assert record["worst_margin"] < 1
    assert "K=3" in record["region"]
    assert reports == [(["mine-true"], Path("report"))]
    assert ran.err.splitlines()[-1] == "drawing"
    assert ran.err.splitlines()[0].startswith("[1/1] mine-true: VERIFIED, 4 instances")


def test_a_wrong_theorem_exits_with_1_and_its_smallest_counterexample(ufm, reports):
    ran = ufm("verify --claims mine.py --claim mine-false --claim mine-true")
    assert ran.code == 1
    assert "mine-false: smallest counterexample ce K=3 d=5 n=1" in ran.out
    assert "1 NOT as they should be" in ran.out
    assert reports[0][0] == ["mine-false", "mine-true"]
    assert max(len(line) for line in ran.out.splitlines() if "  " in line) <= 100


def test_a_check_without_teeth_is_undecided_and_exits_with_3(ufm):
    ran = ufm("verify --claims mine.py --claim mine-toothless")
    assert ran.code == 3
    assert "does not see its mutant" in ran.out


def test_a_theorem_that_raises_fails_alone_with_its_reason(ufm, reports):
    ran = ufm("verify --claims mine.py --claim mine-broken --claim mine-true --json")
    assert ran.code == 2
    broken, true = ran.json["claims"]
    assert (broken["status"], broken["expected"]) == ("BROKEN", False)
    assert "ZeroDivisionError" in broken["reason"]
    assert "mine.py:" in broken["reason"]
    assert (true["status"], true["reason"]) == ("VERIFIED", None)
    assert reports == [(["mine-broken", "mine-true"], Path("report"))]
    text = ufm("verify --claims mine.py --claim mine-broken").out
    assert "mine-broken: could not be run: ZeroDivisionError" in " ".join(text.split())
    # A theorem that fails weighs more than one that could not be run.
    assert ufm("verify --claims mine.py --claim mine-broken --claim mine-false").code == 1


@pytest.mark.parametrize("line", ["sys.exit()", "raise SystemExit(0)", "raise GeneratorExit"])
def test_a_file_that_ends_the_program_is_named_and_never_taken_for_verified(ufm, reports, line):
    Path("ends.py").write_text(f"import sys\n{THEOREMS}\n{line}\n")
    ran = ufm("verify --claims ends.py")
    assert (ran.code, ran.out, reports) == (2, "", [])
    assert f"ends.py:{len(THEOREMS.splitlines()) + 3}" in ran.err.replace("\n", " ")
    Path("inside.py").write_text(
        "import sys\n" + THEOREMS.replace("return 1 // 0", f"{line}" + "\n    return 0.0")
    )
    ran = ufm("verify --claims inside.py --claim mine-broken --json")
    assert ran.code == 2
    assert "inside.py:" in ran.json["claims"][0]["reason"]


def test_what_filters_leave_out_is_counted_and_said(ufm):
    ran = ufm("verify --claims mine.py --claim mine-true --claim mine-false --loss ce")
    assert "Filtered out: 4 specimens." in " ".join(ran.out.split())
    ran = ufm("verify --claims mine.py --claim mine-true --loss focal")
    assert ran.code == 0
    said = " ".join(ran.out.split())
    assert "Filtered out: 4 specimens, and with them 1 claims that were not run: mine-true" in said
    record = ufm("verify --claims mine.py --claim mine-true --model regression --json")
    assert record.json["claims"][0]["status"] == "NOT_RUN"
    assert record.json["claims"][0]["left_out"] == 4
    assert record.json["inputs"]["model"] == "regression"


def test_a_theorem_without_an_instance_is_not_as_it_should_be(ufm):
    text = THEOREMS.replace(
        '"lambda_W |W|^2 = lambda_H |H|^2", region=few',
        '"x", region=few, hypotheses=[("never", lambda model, point: False)]',
    )
    Path("empty.py").write_text(text)
    ran = ufm("verify --claims empty.py --claim mine-true")
    assert ran.code == 1
    assert "none of its 4 specimens satisfies" in " ".join(ran.out.split())


def test_quick_runs_less_and_loss_chooses(ufm):
    flags = "verify --claims mine.py --claim mine-true --json"
    instances = [
        ufm(f"{flags} {more}").json["claims"][0]["instances"]
        for more in ("", "--quick", "--loss ce", "--quick --loss mse")
    ]
    assert instances == [4, 2, 2, 1]


def test_without_claim_the_whole_file_runs_in_order(ufm):
    Path("two.py").write_text(THEOREMS.split('@claim("mine-broken"')[0])
    ran = ufm("verify --claims two.py --quick --json")
    assert [record["id"] for record in ran.json["claims"]] == ["mine-true", "mine-false"]


def test_a_claim_of_the_lab_by_id(ufm):
    ran = ufm("verify --claim focal-convexity --quick --json")
    assert ran.code == 0, ran.err
    assert ran.json["claims"][0]["status"] == "VERIFIED"
    assert ran.json["inputs"]["claim"] == ["focal-convexity"]


def test_the_report_goes_where_out_says(ufm, reports):
    ran = ufm("verify --claims mine.py --claim mine-true --quick --out here --no-figures")
    assert ran.err.splitlines()[-1] == "writing"
    assert reports[0][1] == Path("here")
    assert "Report: here/index.html" in ran.out.replace("\\", "/")


def test_ctrl_c_leaves_no_report(ufm, reports, monkeypatch):
    def interrupted(*_: object, **__: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(proofs_check.run, "check_claim", interrupted)
    ran = ufm("verify --claims mine.py --json")
    assert (ran.code, ran.out, reports) == (130, "", [])
    assert ran.err.strip() == "ufm: interrupted"


def test_every_loss_of_the_lab_may_be_asked_for(ufm):
    for name in PARAMETERS:
        assert ufm(f"verify --claims mine.py --claim mine-true --quick --loss {name}").code == 0


def test_a_model_of_ones_own_is_held_against_its_objective(ufm):
    words = f"verify --model {tests.foreign.__file__}:Spheres --quick"
    ran = ufm(words)
    assert ran.code == 0, ran.err
    assert "Not known to the model, and so not checked: structure, merger" in ran.out
    told = json.loads(ufm(f"{words} --json").out)
    claims = told["claims"]
    assert told["unknown"] == ["structure", "merger", "minimiser", "certificate"]
    assert [c["id"] for c in claims] == ["model-gradient", "model-symmetry", "model-nullity"]
    assert all(c["status"] == "VERIFIED" and c["mutant"] for c in claims)
    refused = ufm(f"{words} --loss ce")
    assert refused.code == 2
    assert "--model FILE.py:NAME has claims of its own" in refused.err
    assert "no such name" in ufm(f"verify --model {tests.foreign.__file__}:Sphere").err


def test_details_say_what_was_measured_and_predicted(ufm):
    ran = ufm("verify --claim graph-chance --details --json")
    seen = ran.json["claims"][0]["measurements"]
    assert len(seen) == ran.json["claims"][0]["instances"]
    assert "K=2 n=3 p=0.5 q=0.3" in seen[0]["instance"]
    for side in ("observed", "predicted"):
        assert seen[0][side] == pytest.approx([0.0038082944], abs=1e-10)
    assert seen[0]["error"] < 1e-12
    told = ufm("verify --claim graph-chance --details").out
    assert "predicted" in told
    assert "0.003808294375" in told
    assert "measurements" not in ufm("verify --claim graph-chance --json").json["claims"][0]
