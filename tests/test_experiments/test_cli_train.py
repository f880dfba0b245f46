"""``ufm train`` and ``ufm compare``: second runs, bad input, Ctrl-C, and what they say."""

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from tests.helpers import slow

pytestmark = pytest.mark.xdist_group("networks")

ROOT = Path(__file__).resolve().parents[2]
# A shell that starts the tests in the background has them ignore SIGINT.
PROGRAM = """
import signal, sys
signal.signal(signal.SIGINT, signal.default_int_handler)
from experiments.cli import main
sys.exit(main(sys.argv[1:]))
"""
TINY = "--data digits --per-class 6 --depth 1 -d 12 --batch-size 20 --epochs 4"


@pytest.fixture(scope="module")
def place(tmp_path_factory):
    return tmp_path_factory.mktemp("runs")


@pytest.fixture
def compared(ufm, place):
    """What compares two losses with two seeds: computed once, read again afterwards."""

    def run(*flags):
        words = f"compare {TINY} --loss ce --loss mse --widths 0.125 --seeds 2 --workers 1"
        ran = ufm(words, *flags, "--out", place / "two")
        assert ran.code == 0, ran.err
        return ran

    return run


def test_one_network_from_images_to_a_page(ufm, place):
    ran = ufm(f"train {TINY} --width 0.125 --json --out", place / "one")
    assert ran.code == 0, ran.err
    found = ran.json
    assert (found["outcome"], found["epochs"]) == ("COMPLETED", 4)
    assert found["inputs"]["settings"]["seed"] == 0
    assert set(found["theory"]) == {"objective", "|W|^2", "|H|^2", "logit gap"}
    measured, theory, _ = found["theory"]["|W|^2"]
    assert float(measured) == pytest.approx(found["numbers"]["square_W"], rel=1e-5)
    assert float(theory) > 0
    assert (place / "one" / "index.html").exists()
    told = json.loads((place / "one" / "run.json").read_text())["provenance"]
    assert told["Command"].startswith("ufm")

    again = ufm(f"train {TINY} --width 0.125 --out", place / "one")
    assert again.code == 0
    for words in ("train accuracy", "Theory: simplex ETF, c = 0.2", "Page:"):
        assert words in again.out
    # A path is as long as it is.
    assert max(len(line) for line in again.out.splitlines() if str(place) not in line) <= 100
    other = ufm(f"train {TINY} --width 0.125 --seed 1 --out", place / "one")
    assert (other.code, "other settings" in other.err) == (2, True)


@pytest.mark.parametrize(
    ("words", "says"),
    [
        ("--data digitz", "write 'digits'"),
        ("--data fashion-mnist:nowhere", "dataset-fashion-mnist"),
        ("--data digits:here", "leave the folder out"),
        ("--loss foclal", "write 'focal'"),
        ("--loss nothing.py:f", "nothing.py"),
        ("--network mpl", "write 'mlp'"),
        ("--features tanh", "linear or relu"),
        ("--decay both", "ufm or all"),
        ("--decay all --c 0.1", "--c: only with --decay ufm"),
        ("--weight-decay 0.1", "only with --decay all"),
        ("--c 0.1 --lambda-h 1e-5", "not both"),
        ("--c -1", "c > 0"),
        ("--epochs 0", "epochs"),
        ("--batch-size 100000", "batch_size <= N"),
        ("--noise 2", "noise rate"),
        ("--noise 0.5 --random-labels", "not both"),
        ("--per-class 1000", "samples of class"),
        ("--fixed-etf -d 5 --batch-size 20", "d >= K - 1"),
        ("--precision float16", "precision"),
        ("--lr 0", "learning_rate"),
        ("--optimizer adan", "sgd, adam, adamw, signsgd"),
        ("--optimizer adam --nesterov", "nesterov is of sgd"),
        ("--other digits", "other than the one trained on"),
        ("--width -1", "width"),
    ],
)
def test_bad_input_is_one_line(ufm, tmp_path, words, says):
    ran = ufm(f"train --per-class 6 {words} --out", tmp_path / "run")
    if "--per-class" in words:
        ran = ufm(f"train {words} --out", tmp_path / "run")
    assert ran.code == 2
    assert says in ran.err
    assert len(ran.err.splitlines()) == 1
    assert "Traceback" not in ran.err


@pytest.mark.parametrize(
    ("words", "says"),
    [
        ("--fixed-etf -d 10", "Theory: simplex ETF, lambda_H"),
        slow("--fixed-etf -d 32 --no-bias", "Theory: simplex ETF, lambda_H"),
        slow("-d 32 --no-bias", "Theory: simplex ETF, c = 0.2"),
        slow("--loss cosine-softmax -d 12", "No theory: cosine-softmax(0.05) is no function"),
        slow(
            "--imbalance 3 --features relu -d 12",
            "No theory: with unequal counts non-negative features have",
        ),
    ],
)
def test_whatever_has_no_number_is_printed_all_the_same(ufm, tmp_path, words, says):
    """A fixed classifier has no c and no lambda_W, others no theory, no bias, no spectrum."""
    short = "--per-class 6 --depth 1 --width 0.125 --batch-size 20 --epochs 2"
    ran = ufm(f"train {short} {words} --out", tmp_path / "run")
    assert ran.code == 0, ran.err
    assert says in ran.out
    assert not {"None", "nan"} & set(ran.out.split())
    page = (tmp_path / "run" / "index.html").read_text()
    assert "trained in float32" in page
    assert ("exponential imbalance 3" in page) == ("imbalance" in words)


def test_a_training_that_diverges_keeps_its_records(ufm, tmp_path):
    words = "--width 0.125 --lr 1e6 --schedule constant --max-gradient-norm 0 --epochs 30"
    ran = ufm(f"train --per-class 6 --depth 1 -d 12 --batch-size 20 {words} --out", tmp_path)
    assert ran.code == 3
    assert "no longer a finite number; lower --lr" in ran.err
    kept = json.loads((tmp_path / "curve.json").read_text())
    assert kept["outcome"] == "NOT_FINITE"


@pytest.mark.slow
def test_objectives_side_by_side(compared):
    found = compared("--json").json
    assert [(r["loss"], r["width"], r["seed"]) for r in found["runs"]][:3] == [
        ("ce", 0.125, 0),
        ("mse", 0.125, 0),
        ("ce", 0.125, 1),
    ]
    assert len(found["runs"]) == 4
    assert "pairs of objectives" in found["statement"]
    ids = {claim["id"]: claim for claim in found["claims"]}
    assert ids["network-norms"]["tier"] == "E"
    assert ids["network-norms"]["status"] == "COUNTEREXAMPLE"  # four epochs are too few
    again = compared()
    assert "network-norms" in again.out
    assert (
        max(
            len(line)
            for line in again.out.splitlines()
            if not {"pairs", "Page:"} & set(line.split())
        )
        <= 100
    )


@pytest.mark.slow
def test_verify_reports_what_networks_show(ufm, compared, place, tmp_path):
    compared()
    ran = ufm("verify --json --networks", place / "two", "--out", tmp_path / "report")
    assert ran.code == 1  # a network that was hardly trained is a counterexample
    assert {claim["tier"] for claim in ran.json["claims"]} == {"E"}
    page = (tmp_path / "report" / "index.html").read_text()
    assert "trained networks (empirical)" in page
    mixed = ufm("verify --quick --networks", place / "two")
    assert (mixed.code, "never mixed with theorems" in mixed.err) == (2, True)
    empty = ufm("verify --networks", tmp_path / "nothing")
    assert (empty.code, "ufm compare" in empty.err) == (2, True)


@pytest.mark.parametrize(
    ("words", "says"),
    [
        ("--widths a,b", "numbers with commas"),
        ("--widths 1,1", "each once"),
        ("--loss ce --loss ce", "each once"),
        ("--theory --features relu", "--theory sets features"),
        ("--theory --c 0.3", "--theory sets features"),
    ],
)
def test_bad_comparisons(ufm, tmp_path, words, says):
    ran = ufm(f"compare {words} --out", tmp_path / "c")
    assert (ran.code, says in ran.err) == (2, True)
    assert len(ran.err.splitlines()) == 1


@pytest.mark.slow
def test_three_ways_against_theory(ufm, tmp_path):
    words = "--per-class 6 --depth 1 --batch-size 20 --epochs 3 --loss ce --seeds 1 --workers 1"
    ran = ufm(f"compare --theory {words} --json --out", tmp_path)
    assert ran.code == 0, ran.err
    assert [line["frame"] for line in ran.json["theory"]] == [
        "simplex ETF",
        "orthogonal frame",
        "simplex ETF",
    ]
    assert len({run["trained_with"] for run in ran.json["runs"]}) == 3


@pytest.mark.parametrize("sent", [slow(signal.SIGINT), slow(signal.SIGKILL)])
def test_what_is_killed_goes_on_to_the_same_curve(ufm, tmp_path, sent):
    words = TINY.replace("--epochs 4", "--epochs 60") + " --width 0.125 --measure-every 5"
    whole = ufm(f"train {words} --json --out", tmp_path / "whole").json
    command = [sys.executable, "-c", PROGRAM, "train", *words.split(), "--out"]
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    begun = subprocess.Popen(
        [*command, tmp_path / "part"],
        env=environment,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        text=True,
    )
    curve = tmp_path / "part" / "curve.json"
    until = time.monotonic() + 120
    while not curve.exists() and time.monotonic() < until:
        time.sleep(0.02)
    begun.send_signal(sent)
    _, err = begun.communicate(timeout=60)
    if sent == signal.SIGINT and begun.returncode == 130:
        assert "the same command goes on from there" in err
    resumed = ufm(f"train {words} --json --out", tmp_path / "part").json
    assert resumed["numbers"] == whole["numbers"]
    curves = [
        json.loads((tmp_path / name / "curve.json").read_text()) for name in ("whole", "part")
    ]
    for records in curves:
        records.pop("checksum")  # of the seconds, too
        for record in records["records"]:
            record.pop("seconds")
    assert curves[0] == curves[1]
