"""``--model``: registered and foreign models through the commands, with flags of their own."""

import importlib
import json
import re

import numpy as np
import pandas as pd
import pytest

from experiments.cli.model import GeneralInputs, asked_model, flag_of
from experiments.models import named_model
from experiments.sweep.spec import read_spec
from landscape import dense_hessian, solve, verdict
from tests.foreign import Spheres, TwoGraphs
from ufm import MODELS, CrossEntropy, FixedClassifier, LabelSmoothing

FOREIGN = "tests/foreign.py"


def record(ran):
    assert ran.err == "" or "unexpected" not in ran.err
    return json.loads(ran.out)


def test_solve_takes_the_flags_of_a_foreign_model(ufm):
    ran = ufm(f"solve --model {FOREIGN}:TwoGraphs -d 2 --lambda-w 0.04 --seed 3 --json")
    assert ran.code == 0
    told = json.loads(ran.out)
    assert told["inputs"]["model"] == f"{FOREIGN}:TwoGraphs"
    assert (told["inputs"]["d"], told["inputs"]["lambda_W"]) == (2, 0.04)
    found = solve(TwoGraphs(2, lambda_W=0.04))
    assert told["objective"] == pytest.approx(found.objective, abs=1e-12)
    assert told["index"] == 0
    assert told["rank"] is None


@pytest.mark.slow
def test_the_loss_of_a_foreign_model_is_chosen_like_that_of_the_plain_one(ufm):
    words = f"solve --model {FOREIGN}:TwoGraphs --loss ls --smoothing 0.2 --json"
    told = record(ufm(words))
    smooth = solve(TwoGraphs(loss=LabelSmoothing(0.2))).objective
    assert told["objective"] == pytest.approx(smooth, abs=1e-12)
    assert abs(told["objective"] - solve(TwoGraphs()).objective) > 0.01


def test_a_point_of_a_foreign_model_is_judged_again(ufm, tmp_path):
    file = tmp_path / "p.npz"
    assert ufm(f"solve --model {FOREIGN}:Spheres --tau 3 --save {file}").code == 0
    refused = ufm(f"verdict {file}")
    assert refused.code == 2
    assert f"add --model {FOREIGN}:Spheres" in refused.err
    told = record(ufm(f"verdict {file} --model {FOREIGN}:Spheres --json"))
    found = solve(Spheres(tau=3.0))
    judged = verdict(Spheres(tau=3.0), found.point)
    assert told["curvature"] == "MORSE_BOTT_MINIMUM"
    assert told["nullity"] == judged.count.nullity
    assert told["objective"] == pytest.approx(found.objective, abs=1e-12)
    # A flag speaks louder than the file: at another temperature the point is another one.
    other = record(ufm(f"verdict {file} --model {FOREIGN}:Spheres --tau 1 --json"))
    assert other["objective"] != pytest.approx(told["objective"], abs=1e-3)


@pytest.mark.slow
def test_the_spectrum_of_a_foreign_model_is_that_of_its_dense_hessian(ufm):
    told = record(ufm(f"spectrum --model {FOREIGN}:Spheres --json"))
    dense = np.linalg.eigvalsh(dense_hessian(Spheres(), solve(Spheres()).point))
    values = np.repeat(
        [level["value"] for level in told["spectrum"]],
        [level["multiplicity"] for level in told["spectrum"]],
    )
    np.testing.assert_allclose(np.sort(values), dense, atol=1e-9)
    assert "dense Hessian" in told["source"]
    # Zeros of a descent's end are not its rounding: they are read as by a verdict.
    assert (told["index"], told["nullity"]) == (0, 11)
    assert told["tolerance"] > 1e3 * np.abs(dense[:11]).max() > 0


def test_a_spectrum_at_zero_needs_a_value_there(ufm):
    ran = ufm("spectrum --model sphere --at origin")
    assert ran.code == 2
    assert ran.err == (
        "ufm: A Hessian at zero needs a finite objective there. Got nan from Sphere. "
        "Remedy: use --at minimiser.\n"
    )


def test_a_spectrum_at_kinks_says_of_which_side_it_is(ufm):
    told = record(ufm("spectrum --model deep-relu --json"))
    assert told["source"].endswith("on one side of each of its 6 kinks")
    assert (told["index"], told["nullity"]) == (0, 12)


def test_an_atlas_of_a_foreign_model_is_one_line_and_exit_code_2(ufm):
    ran = ufm(f"atlas --model {FOREIGN}:Spheres")
    assert (ran.code, len(ran.err.splitlines())) == (2, 1)
    assert "method='critical'" in ran.err


def test_a_registered_model_has_its_closed_form(ufm):
    told = record(ufm("solve --model fixed-classifier -K 3 -n 2 --lambda-h 0.1 --json"))
    assert told["globality"] == "GLOBAL"
    exact = FixedClassifier(CrossEntropy(), 3, 2, 0.1).minimiser().value
    assert told["objective"] == pytest.approx(exact, abs=1e-12)


def test_plain_is_the_model_without_a_flag(ufm):
    both = [record(ufm(f"spectrum -K 3 -d 4 {words} --json")) for words in ("", "--model plain")]
    assert both[0]["spectrum"] == both[1]["spectrum"]


def test_models_lists_every_registered_model(ufm):
    ran = ufm("models --json")
    told = {entry["name"]: entry for entry in json.loads(ran.out)["models"]}
    assert set(told) == set(MODELS)
    assert "atlas" in told["plain"]["answers"]
    assert "atlas" not in told["regression"]["answers"]
    assert [flag["flag"] for flag in told["regression"]["flags"]][:3] == ["-n", "-M", "-d"]
    assert all(entry["formula"].startswith("f") for entry in told.values())
    for entry in told.values():
        assert all(flag["help"] for flag in entry["flags"]), entry["name"]
    shown = ufm(f"models --model {FOREIGN}:Spheres")
    assert "inverse temperature" in shown.out


def test_a_list_of_models_asks_them_nothing_and_one_model_is_asked(ufm, monkeypatch):
    """Deep linear networks have a minimiser at some numbers, none of them the defaults."""
    entry = json.loads(ufm("models --model deep-linear --json").out)["models"][0]
    assert {"minimiser", "symmetry"} < set(entry["answers"])
    assert entry["known"] == ["symmetry"]
    asked = importlib.import_module("experiments.cli.models")
    monkeypatch.setattr(asked, "known", lambda declared: 1 / 0)
    told = {entry["name"]: entry for entry in json.loads(ufm("models --json").out)["models"]}
    assert told["deep-linear"] == {key: entry[key] for key in entry if key != "known"}


def test_help_lists_the_flags_of_the_named_model(ufm):
    shown = ufm(f"solve --model {FOREIGN}:Spheres --help").out
    assert "--tau" in shown
    assert "--counts" not in shown
    assert "--smoothing" not in shown
    assert f"Example: ufm solve --model {FOREIGN}:Spheres" in " ".join(shown.split())
    assert "--counts" in ufm("solve --help").out


BAD = [
    ("solve --model nonesuch", "Unknown model"),
    (f"solve --model {FOREIGN}:Sphere", "Spheres"),
    ("solve --model missing.py:X", "existing Python file"),
    (f"solve --model {FOREIGN}:np", "returns one"),
    (f"solve --model {FOREIGN}:Spheres --layers 3", "No such option: --layers"),
    (f"solve --model {FOREIGN}:Spheres --counts 3,2", "No such option: --counts"),
    (f"solve --model {FOREIGN}:Spheres --tau warm", "--tau"),
    ("solve --model fixed-classifier -K 1", "K >= 2"),
]


@pytest.mark.parametrize(("words", "says"), BAD, ids=[words for words, _ in BAD])
def test_a_bad_model_is_one_line_and_exit_code_2(ufm, words, says):
    ran = ufm(words)
    assert (ran.code, ran.out, len(ran.err.splitlines())) == (2, "", 1)
    assert says in ran.err


def test_a_model_of_ones_own_keeps_its_names_apart():
    declared = named_model("regression")
    inputs = GeneralInputs(declared, {"n": 2, "M": None, "seed": 4})
    assert inputs.as_dict() == {
        "model": "regression",
        "n": 2,
        "M": 20,
        "d": 4,
        "lambda_W": 0.1,
        "lambda_H": 0.1,
        "seed": 4,
    }
    assert inputs.build().targets.shape == (2, 20)


def test_words_and_flags():
    assert asked_model(["solve", "--", "--model", "x"]) is None
    assert asked_model(["solve", "--model"]) is None
    assert flag_of("lambda_W") == "--lambda-w"
    assert flag_of("num_layers") == "--num-layers"


@pytest.mark.parametrize(
    ("words", "says"),
    [
        ("deep-linear -d 200000", "Need memory for 40,001,200,000 variables"),
        ("deep-linear --depth 3000000", "Need depth <= 100. Got 3000000"),
        ("rate-reduction -d 2000000000", "Need memory for"),
    ],
)
def test_sizes_are_refused_before_memory_is_taken(ufm, words, says):
    ran = ufm(f"solve --model {words}")
    assert ran.code == 2
    assert says in ran.err


def shown_examples(ufm, words):
    """The lines after "Example:" of a help page, wrapped lines put together."""
    text = ufm(f"{words} --help").out
    paragraphs = (" ".join(part.split()) for part in re.split(r"\n\s*\n", text))
    return [p.removeprefix("Example: ") for p in paragraphs if p.startswith("Example: ")]


@pytest.mark.parametrize("name", list(MODELS))
@pytest.mark.parametrize("command", ["solve", "verdict", "spectrum", "atlas"])
def test_help_of_a_model_has_an_example_of_it(ufm, command, name):
    shown = shown_examples(ufm, f"{command} --model {name}")
    assert shown
    if name != "plain":
        assert all(f"--model {name}" in line for line in shown)


@pytest.mark.slow
@pytest.mark.parametrize("name", [name for name in MODELS if name != "plain"])
@pytest.mark.parametrize("command", ["solve", "verdict", "spectrum", "atlas"])
def test_an_example_of_a_model_works_when_it_is_pasted(ufm, tmp_path, monkeypatch, command, name):
    monkeypatch.chdir(tmp_path)
    for line in shown_examples(ufm, f"{command} --model {name}"):
        for part in line.split(" && "):
            ran = ufm(part.removeprefix("ufm "))
            assert ran.code in (0, 3), (part, ran.err)
            assert ran.out


@pytest.mark.parametrize("name", list(MODELS))
def test_a_sweep_over_a_model_is_written_for_it_and_read(ufm, tmp_path, name):
    ran = ufm(f"sweep specs --model {name}")
    file = tmp_path / "mine.toml"
    file.write_text(ran.out)
    spec = read_spec(str(file))
    assert (ran.code, spec.model) == (0, name if name != "plain" else spec.model)
    assert spec.num_cells >= 9
    for parameter in MODELS[name].parameters if name != "plain" else ():
        assert parameter.name in ran.out or parameter.name == MODELS[name].loss
    told = json.loads(ufm(f"sweep specs --model {name} --json").out)
    assert told["toml"] == ran.out.strip("\n")


def test_a_sweep_over_an_unknown_model_is_one_line(ufm):
    ran = ufm("sweep specs --model grap")
    assert (ran.code, ran.out, len(ran.err.splitlines())) == (2, "", 1)


@pytest.mark.slow
def test_words_are_axes_of_a_sweep(ufm, tmp_path):
    """Text is a value and no number: two lists of classes are two cells."""
    file, folder = tmp_path / "tasks.toml", tmp_path / "out"
    file.write_text(
        'model = "tasks"\ntask = "minimise"\n[axes]\nclasses = ["2,3", "2,2"]\nn = 1\nd = 4\n'
    )
    assert ufm(f"sweep run {file} --out {folder}").code == 0
    table = tmp_path / "table.csv"
    assert ufm(f"sweep export {folder} {table}").code == 0
    found = pd.read_csv(table, comment="#")
    assert found["classes"].tolist() == ["2,3", "2,2"]
    assert found["objective"].nunique() == 2
