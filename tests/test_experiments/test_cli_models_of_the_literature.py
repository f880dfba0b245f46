"""The models of the literature through the commands: their fixtures, and bad input in one line."""

import numpy as np
import pytest

from tests.helpers import slow
from ufm import rate_reduction

# What docs/fixtures.md has not: random starts. Their ends are those of its explicit points.
SOLVED = [
    slow(
        "rate-reduction --counts 4,2,3 -d 4 --eps 0.5 --lambda-z 0.1 --seed 1",
        {"objective": -1.565307484, "nullity": 11, "rank": 4, "globality": "NOT_GLOBAL"},
    ),
    slow(
        "rate-reduction --counts 6,3 -d 2 --eps 0.5 --lambda-z 0.05 --seed 1",
        {"objective": -0.6913090884, "nullity": 3, "rank": 2, "globality": "GLOBAL"},
    ),
    # Cross entropy: the collapsed point is a spurious minimum, classes in pairs lie lower.
    (
        "deep-linear -K 4 -d 5 --depth 3 --lambda-w 0.01 --lambda-h 0.01 --seed 0",
        {"objective": 0.15287728, "nullity": 27, "rank": 3, "globality": "NOT_GLOBAL"},
    ),
    slow(
        "deep-linear -K 4 -d 5 --depth 3 --lambda-w 0.01 --lambda-h 0.01 --seed 1",
        {"objective": 0.13989875, "nullity": 21, "rank": 2, "globality": "UNKNOWN"},
    ),
    slow(
        "contrastive --counts 2,3,4 -d 4 --radius 1.3",
        {"objective": 8.4837945298, "nullity": 14, "globality": "UNKNOWN"},
    ),
    slow(
        "graph -K 2 -n 500 -d 3 --inside 13 --outside 1 --lambda-w 0.005 --lambda-h 0.005",
        {"objective": 0.21272681, "nullity": 3, "rank": 2, "globality": "GLOBAL"},
    ),
]


def holds(told, expected):
    for name, value in expected.items():
        if isinstance(value, float):
            digits = len(str(value).partition(".")[2])
            assert told[name] == pytest.approx(value, abs=0.6 * 10.0**-digits), name
        else:
            assert told[name] == value, name


@pytest.mark.parametrize(("words", "expected"), SOLVED)
def test_random_starts_end_at_the_fixtures(ufm, words, expected):
    ran = ufm(f"solve --model {words} --json")
    assert ran.code == 0
    told = ran.json
    holds(told, expected)
    assert told["predicted_nullity"] == told["nullity"]
    assert told["curvature"] == "MORSE_BOTT_MINIMUM"


def test_a_saddle_of_rate_reduction_is_judged_from_a_file(ufm, tmp_path):
    model = rate_reduction("3,3", 5, 0.5, 0.05)
    file = tmp_path / "saddle.npz"
    np.savez(file, Z=model.orthogonal_point((1, 1), (1, 0)).Z)
    words = "--model rate-reduction --counts 3,3 -d 5 --eps 0.5 --lambda-z 0.05 --json"
    told = ufm(f"verdict {file} {words}").json
    holds(told, {"objective": -0.929263369105, "index": 1, "nullity": 14})
    assert told["curvature"] == "STRICT_SADDLE"


def test_a_network_of_low_rank_lies_below_collapse(ufm):
    words = "--depth 4 --lambda-w 0.0350610983 --lambda-h 0.0350610983 --json"
    told = ufm(f"solve --model deep-relu {words} --start collapse").json
    assert told["objective"] == pytest.approx(0.2570278733, abs=1e-9)
    assert (told["globality"], told["index"], told["nullity"]) == ("NOT_GLOBAL", None, None)
    assert "'plane' reaches 0.25248481" in told["globality_reason"]


def test_a_problem_without_minimiser_is_called_so(ufm):
    words = "-K 2 -d 2 -n 2 --lambda-w 0.4 --lambda-v 0.2 --lambda-x 0.3 --max-iterations 60"
    ran = ufm(f"solve --model equilibrium --loss mse {words}")
    assert ran.code == 3
    assert "there is no minimiser: the infimum 0.2 is not" in " ".join(ran.out.split())


BAD = [
    ("deep-relu --depth 4 --start plain", "write 'plane'"),
    ("sphere --start plane", "use one of full, origin, minimiser"),
    ("sphere -K 5 -d 2 --start minimiser", "known in closed form"),
    ("deep-relu -K 3 --widths 2,2 --start collapse", "use one of full, origin"),
    ("graph-network -p 1.5", "0 <= p <= 1"),
    ("ordinal --thresholds=a,b", "thresholds as numbers"),
    ("fixed-classifier -K 5 -d 2", "d >= 4"),
    ("sphere --start origin", "vectors that are not zero"),
    ("rate-reduction --start 2,1", "a rank for each of 3 classes"),
    ("rate-reduction --start 9,0,0", "room for"),
    ("rate-reduction --start lines", "three equal classes or more"),
    ("constrained-rate --start 2,2,2", "a rank for each of 2 classes"),
    ("constrained-rate --start 0,2", "room for 1 to 3"),
    ("graph --start 1,2", "2 numbers 0 or 1"),
    ("graph --lambda-w 0.9 --start 0,1", "above c ="),
    ("deep-relu --depth 0", "depth >= 1"),
    ("deep-relu --widths 3,0", "widths >= 1"),
    ("contrastive -n 1", "two samples or more in every class"),
    ("contrastive --radius 0", "radius > 0"),
    ("constrained-rate --counts 3", "K >= 2"),
    ("constrained-rate --eps 0", "eps > 0"),
    ("constrained-rate -d 0", "d >= 1"),
    ("sphere --scale 0", "scale > 0"),
    ("multilabel -K 2", "fewer labels than K = 2"),
    ("multilabel -n 0 --pairs 0", "Need samples"),
    ("soft-labels --targets 0.5,0.6", "sum to 1. Got 1.1 in row 1"),
    ("soft-labels --targets 1.5,-0.5", "not negative. Got -0.5 in row 1"),
    ("soft-labels --targets 1,0/1", "2 numbers in every row"),
    ("tasks --classes 2,1", "K >= 2"),
    ("ordinal --thresholds=1,0", "thresholds that ascend"),
    ("graph --counts 2,2 --edges 0-1,1-2", "isolated node 3"),
    ("graph --counts 2,2 --edges 0-1,1-9", "edges as pairs of nodes 0 to 3"),
    ("graph --counts 2,2 --edges 0-0,1-2,2-3", "without loops"),
    ("graph --counts 2,2", "counts need edges"),
    ("graph --inside 9", "inside < n = 6"),
    ("graph --inside 3 -n 5", "an even one where n is odd"),
    ("graph --outside 7", "outside <= n = 6"),
    ("graph --inside 0 --outside 0", "isolated node"),
    ("equilibrium --lambda-v 0", "lambda_V > 0"),
    ("equilibrium -K 1", "K >= 2"),
    ("equilibrium -d 0", "d >= 1"),
    ("equilibrium -K 4 -d 1 --start simplex", "K=4 classes needs d >= 3. Got 1"),
    ("deep-linear -K 5 -d 2 --start simplex", "K=5 classes needs d >= 4. Got 2"),
    ("deep-relu -K 4 -d 3 --depth 3 --start collapse", "K=4 classes needs d >= 4. Got 3"),
    ("contrastive -K 5 -d 3 --start simplex", "K=5 classes needs d >= 4. Got 3"),
    ("equilibrium -K 4 -d 3 --start simplices", "Unknown explicit point"),
    ("deep-linear --depth 0", "depth >= 1"),
    ("deep-linear --widths 3,0", "widths >= 1"),
    ("deep-linear --counts 3", "K >= 2"),
    ("deep-linear --lambda-w 0", "lambda_W > 0"),
    ("rate-reduction --counts 3,x", "counts as integers"),
    ("rate-reduction --counts 3", "K >= 2"),
    ("rate-reduction --counts 3,0", "count >= 1"),
    ("rate-reduction --eps 0", "eps > 0"),
    ("rate-reduction --lambda-z 0", "lambda_Z > 0"),
    ("rate-reduction -d 0", "d >= 1"),
]


@pytest.mark.parametrize(("words", "says"), BAD, ids=[words for words, _ in BAD])
def test_bad_numbers_are_one_line_and_exit_code_2(ufm, words, says):
    ran = ufm(f"solve --model {words}")
    assert (ran.code, ran.out, len(ran.err.splitlines())) == (2, "", 1)
    assert says in ran.err
    assert "Remedy" in ran.err


def test_a_list_of_models_says_which_loss_a_model_has_by_itself(ufm):
    told = {x["name"]: x for x in ufm("models --json").json["models"]}
    defaults = {
        name: flag["default"]
        for name, model in told.items()
        for flag in model["flags"]
        if flag["flag"] == "--loss"
    }
    assert (defaults["deep-relu"], defaults["deep-linear"]) == ("mse", "ce")


def test_a_spectrum_is_that_of_all_samples_where_the_closed_form_has_one_column_a_class(ufm):
    told = ufm("spectrum --model equilibrium -K 3 -d 4 -n 2 --json").json
    assert (told["variables"], told["index"], told["nullity"]) == (12 + 16 + 24, 0, 5)
