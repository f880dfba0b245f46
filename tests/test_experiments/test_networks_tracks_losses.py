"""The all-losses map: what is judged, what did not fit, options, kills, and the page."""

import json
import os
import signal
import subprocess
import sys
import time
from dataclasses import replace
from pathlib import Path

import pytest

from experiments.networks.tracks.all_losses import AllLosses
from experiments.networks.tracks.all_losses_judged import case_of, conclusions_of, judge
from experiments.networks.tracks.options import AllLossesOptions
from experiments.networks.tracks.track import STOPPED, Cell, Result, execute
from proofs_check.run import check_claim
from tests.helpers import slow

pytestmark = pytest.mark.xdist_group("networks")

ROOT = Path(__file__).resolve().parents[2]
TINY = AllLossesOptions(
    seeds=1, per_class=6, losses="ce,mse", widths="0.125", lengths="1,3", batch_size=20
)


def results(case, method, accuracies, train=1.0, **more):
    """Runs of seeds 0, 1, ..."""
    return [
        Result(
            Cell(case, method, seed),
            {"train_accuracy": train, "test_accuracy": x, "chance": 0.1, "nc1": 1.0, **more},
        )
        for seed, x in enumerate(accuracies)
    ]


SHORT, LONG = "width 0.5, 10 epochs", "width 0.5, 40 epochs"
CE = results(SHORT, "ce", (0.90, 0.91, 0.92)) + results(LONG, "ce", (0.93, 0.94, 0.95))


def test_each_verdict_has_its_cases():
    made = [
        *CE,
        *results(SHORT, "near", (0.901, 0.909, 0.921)),
        *results(SHORT, "far", (0.80, 0.81, 0.82)),
        *results(SHORT, "noisy", (0.88, 0.95, 0.90)),
        *results(SHORT, "unfit", (0.90, 0.91, 0.92), train=0.9),
        *results(LONG, "few", (0.93, 0.94)),
        Result(Cell(LONG, "stopped", 0), {STOPPED: 3.0}),
    ]
    told = {one.method: one for one in judge(made)}
    assert {name: one.verdict for name, one in told.items()} == {
        "near": "equal",
        "far": "differs",
        "noisy": "open",
        "unfit": "did not fit",
        "few": "open",
        "stopped": "did not fit",
    }
    assert told["far"].told.mean == pytest.approx(-0.1)
    assert (told["unfit"].unfit, told["unfit"].num, told["few"].num) == (3, 3, 2)
    counted, differing, few = conclusions_of(list(told.values()), "ce")
    assert "1 equal within the margin, 1 different by more, 2 open, 2 not to be asked" in counted
    assert "far, width 0.5, 10 epochs: -10.0 points (-10.0 to -10.0)" in differing
    assert "Fewer than 3 seeds" in few


def test_one_unfit_seed_of_the_first_loss_leaves_nothing_to_ask():
    made = [*CE[:2], replace(CE[2], numbers={**CE[2].numbers, "train_accuracy": 0.998})]
    assert judge([*made, *results(SHORT, "near", (0.90, 0.91, 0.92))])[0].verdict == "did not fit"
    # Pairs are those of one seed: exchanged seeds are another spread, not another mean.
    swapped = judge([*CE, *results(SHORT, "near", (0.92, 0.91, 0.90))])[0]
    assert swapped.told.mean == pytest.approx(0)
    assert swapped.verdict == "open"


def test_claims_have_teeth():
    def outcomes(made):
        return [check_claim(claim) for claim in AllLosses().claims(made)]

    longer = [replace(r, numbers={**r.numbers, "nc1": 0.01}) for r in CE[3:]]
    good = [*CE[:3], *longer, *results(SHORT, "near", (0.90, 0.91, 0.92))]
    for outcome in outcomes(good):
        assert (outcome.status.name, outcome.mutant_rejected) == ("VERIFIED", True)
    far = outcomes([*CE[:3], *longer, *results(SHORT, "far", (0.80, 0.81, 0.82))])
    assert far[0].counterexample == "width 0.5, 10 epochs, far, seed 0"
    # Neither open comparisons nor those that did not fit are counterexamples.
    for other in (
        results(SHORT, "noisy", (0.88, 0.95, 0.90)),
        results(SHORT, "unfit", (0.5, 0.5, 0.5), train=0.9),
    ):
        assert outcomes([*CE[:3], *longer, *other])[0].status.name == "NOT_APPLICABLE"
    rising = [replace(r, numbers={**r.numbers, "nc1": 3.0}) for r in CE[3:]]
    assert outcomes([*CE[:3], *rising])[1].status.name == "COUNTEREXAMPLE"


@pytest.fixture(scope="module")
def mapped(tmp_path_factory):
    """Two losses at one width and two lengths."""
    folder = tmp_path_factory.mktemp("track") / "losses"
    return folder, execute("losses", TINY, folder)


def test_every_run_is_in_the_table(mapped):
    _, made = mapped
    assert [(r.cell.case, r.cell.method) for r in made] == [
        ("width 0.125, 1 epochs", "ce"),
        ("width 0.125, 1 epochs", "mse"),
        ("width 0.125, 3 epochs", "ce"),
        ("width 0.125, 3 epochs", "mse"),
    ]
    assert [len(r.series["objective"]) for r in made] == [1, 1, 3, 3]
    for r in made:
        assert {"test_accuracy", "train_accuracy", "nc1", "excess", "gap_off"} < r.numbers.keys()
        assert r.numbers["excess"] > 0  # nothing is below the minimum of the model
    assert case_of(made[2].cell.case) == (0.125, 3)
    for picture in AllLosses().pictures(TINY, made):
        assert picture.files


@pytest.mark.parametrize("losses", ["ce", slow(AllLossesOptions().losses)])
def test_exact_statements_agree(losses):
    options = AllLossesOptions(losses=losses)
    rows, others = (AllLosses().exact(replace(options, c=c)) for c in (0.2, 0.3))
    assert len(rows) == len(losses.split(","))
    for (text, said, seen), (_, other, _) in zip(rows, others, strict=True):
        assert seen == pytest.approx(said, abs=1e-9), text
        assert other > said + 1e-3


@pytest.mark.parametrize(
    "change",
    [
        {"c": 0.4},
        {"batch_size": 30},
        slow({"learning_rate": 0.05}),
        slow({"weight_decay": 5e-3}),
        slow({"features": "relu"}),
        slow({"network": "convnet"}),
        slow({"per_class": 7}),
        slow({"widths": "0.25"}),
        slow({"lengths": "4"}),
    ],
)
def test_options_change_numbers(mapped, tmp_path, change):
    _, made = mapped
    options = replace(TINY, **change)
    cell = AllLosses().cells(options)[-2]
    assert cell.method == "ce"
    found = AllLosses().measure(options, cell, tmp_path)[0]
    assert found != pytest.approx(dict(made[2].numbers), abs=1e-9)


def test_a_run_that_diverges_is_in_the_table(tmp_path):
    options = replace(TINY, losses="mse", lengths="30", learning_rate=1e30)
    (r,) = execute("losses", options, tmp_path)
    assert set(r.numbers) == {STOPPED}
    assert AllLosses().conclusions([r]) == ("There is one loss, and nothing to compare it with.",)
    assert all(picture.files for picture in AllLosses().pictures(options, [r]))


@pytest.mark.parametrize(
    ("words", "says"),
    [
        ("--widths x", "Need --widths"),
        ("--lengths 0", "Need --lengths"),
        ("--lengths 1.5", "whole epochs"),
        ("--losses ce,ce", "each once"),
        ("--losses foclal", "write 'focal'"),
        ("--c -1", "c > 0"),
        ("--features tanh", "linear or relu"),
        ("--network mpl", "write 'mlp'"),
        ("--network none.py:Net", "existing Python file"),
        ("--lr nan", "learning_rate"),
        ("--batch-size 5000", "--batch-size <= N"),
        ("--data fashion-mnist:nowhere", "dataset-fashion-mnist"),
    ],
)
def test_bad_input_is_one_line(ufm, tmp_path, words, says):
    ran = ufm(f"track losses {words} --out", tmp_path / "x")
    assert (ran.code, says in ran.err, len(ran.err.strip().splitlines())) == (2, True, 1)


@pytest.mark.slow
def test_what_is_killed_goes_on_to_the_same_map(ufm, tmp_path):
    words = (
        "track losses --seeds 1 --per-class 6 --losses ce,mse --widths 0.125 --lengths 20,60 "
        "--batch-size 20 --workers 1"
    )
    program = "import sys; from experiments.cli import main; sys.exit(main(sys.argv[1:]))"
    begun = subprocess.Popen(
        [sys.executable, "-c", program, *words.split(), "--out", tmp_path / "part"],
        env={**os.environ, "PYTHONPATH": str(ROOT)},
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    until = time.monotonic() + 120
    while not list((tmp_path / "part").glob("*/result.json")) and time.monotonic() < until:
        time.sleep(0.02)
    begun.send_signal(signal.SIGKILL)
    begun.wait(60)
    resumed = ufm(f"{words} --json --out", tmp_path / "part").json
    whole = ufm(f"{words} --json --out", tmp_path / "whole").json
    assert resumed["cells"] == whole["cells"]
    assert len(whole["conclusions"]) >= 1
    page = (tmp_path / "whole" / "index.html").read_text()
    assert whole["conclusions"][0] in page
    assert json.loads((tmp_path / "whole" / "track.json").read_text())["track"] == "losses"
