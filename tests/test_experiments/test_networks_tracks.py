"""Tracks: cells that are kept, resumed and made anew when damaged; means, claims and options."""

import json
import math
from dataclasses import replace

import numpy as np
import pytest

from experiments.networks.runs import DataRequest
from experiments.networks.tracks import self_expression, stepping
from experiments.networks.tracks import track as tracks
from experiments.networks.tracks.label_noise import LabelNoise, _found
from experiments.networks.tracks.options import (
    LabelNoiseOptions,
    ReduNetOptions,
    SelfExpressionOptions,
)
from experiments.networks.tracks.redunet import ReduNet, _pictures
from experiments.networks.tracks.self_expression import SelfExpression, _clustering_accuracy
from experiments.networks.tracks.track import (
    Cell,
    Column,
    Result,
    execute,
    lines,
    read_track,
    shown,
)
from experiments.networks.training.checkpoint import load_checkpoint
from proofs_check.run import check_claim
from tests.helpers import slow
from ufm import InputError

pytestmark = pytest.mark.xdist_group("networks")

TINY = {"per_class": 12, "kinds": "symmetric", "rates": "0.3", "epochs": 3, "batch_size": 20}


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    """One seed of both methods, in a folder."""
    folder = tmp_path_factory.mktemp("track") / "sop"
    options = LabelNoiseOptions(seeds=1, **TINY)
    return folder, options, execute("sop", options, folder)


def numbers(results):
    return [(r.cell, dict(r.numbers), dict(r.series)) for r in results]


def test_a_second_run_reads_what_is_there(made, monkeypatch):
    folder, options, results = made

    def never(*_):
        raise AssertionError("measured again")

    monkeypatch.setattr(LabelNoise, "measure", never)
    assert numbers(execute("sop", options, folder)) == numbers(results)
    track, found, read = read_track(folder)
    assert (track.name, found) == ("sop", options)
    assert numbers(read) == numbers(results)
    assert read[0].rivals["sop"] == dict(read[1].numbers)


def test_a_damaged_cell_is_measured_again_with_the_same_numbers(made):
    folder, options, results = made
    place = folder / results[0].cell.folder / "result.json"
    place.write_text(place.read_text().replace("test_accuracy", "test_accuracx", 1))
    assert numbers(execute("sop", options, folder)) == numbers(results)
    assert (place.parent / "damaged" / "result.json").exists()


def test_a_kill_in_training_changes_nothing(made, tmp_path, monkeypatch):
    _, options, results = made
    whole = tracks.write_record

    def killed(path, record):
        if path.name == "result.json":
            raise KeyboardInterrupt
        whole(path, record)

    monkeypatch.setattr(tracks, "write_record", killed)
    with pytest.raises(KeyboardInterrupt):
        execute("sop", options, tmp_path / "sop")
    monkeypatch.setattr(tracks, "write_record", whole)
    assert numbers(execute("sop", options, tmp_path / "sop")) == numbers(results)


def test_another_folder_is_refused_and_more_seeds_are_not(made):
    folder, _, results = made
    other = LabelNoiseOptions(seeds=1, **{**TINY, "epochs": 2})
    with pytest.raises(InputError, match="another epochs"):
        execute("sop", other, folder)
    more = execute("sop", LabelNoiseOptions(seeds=2, **TINY), folder)
    assert [r.cell.seed for r in more] == [0, 1, 0, 1]
    assert numbers(more[:1]) == numbers(results[:1])
    with pytest.raises(InputError, match="ufm track --help"):
        read_track(folder / "nowhere")
    with pytest.raises(InputError, match="write 'sop'"):
        execute("sopp", other, folder)


@pytest.mark.parametrize("change", [{"rate_u": 1.0}, {"rate_v": 1e4}, {"kinds": "asymmetric"}])
def test_options_change_numbers(made, change, tmp_path):
    _, _, results = made
    options = LabelNoiseOptions(seeds=1, **{**TINY, **change})
    cell = next(c for c in LabelNoise().cells(options) if c.method == "sop")
    found, _ = LabelNoise().measure(options, cell, tmp_path)
    assert found != dict(results[1].numbers)


def test_both_kinds_of_noise_have_their_rate():
    clean = DataRequest("digits", 10).load().train.labels
    for kind in ("symmetric", "asymmetric"):
        noisy = DataRequest("digits", 10, noise=0.3, noise_kind=kind).load().train.labels
        wrong = noisy != clean
        assert wrong.sum() == 30
        steps = set((noisy - clean)[wrong] % 10)
        assert (steps == {1}) == (kind == "asymmetric")
    with pytest.raises(InputError, match="symmetric or asymmetric"):
        DataRequest(noise=0.1, noise_kind="both")


def test_what_is_said_of_wrong_labels():
    """Four labels, the last of which is wrong and found so."""
    dataset = DataRequest("digits", 1).load()
    labels = dataset.train.labels
    true = labels.copy()
    true[-1] = (labels[-1] + 3) % 10
    u, v = np.zeros((10, 1)), np.zeros((10, 10))
    u[-1], v[-1, true[-1]] = 0.9, 0.8
    found = _found("sop", (u, v), np.zeros((10, 10)), dataset, true)
    assert found == {
        "given_right": 0.9,
        "corrected": 1.0,
        "noise_auroc": 1.0,
        "noise_found": 1.0,
        "noise_false": 0.0,
    }
    assert _found("sop", (u, -0.1 * v), np.zeros((10, 10)), dataset, true)["corrected"] == 0.9
    logits = 5 * np.eye(10)[labels]
    assert _found("ce", (), logits, dataset, true)["corrected"] == 0.9


def result(method, seed, **values):
    return Result(Cell("symmetric 40 %", method, seed), values)


def test_claims_have_teeth():
    good = {"test_accuracy": 0.9, "right": 0.9, "corrected": 0.9, "given_right": 0.6}
    rivals = {"ce": {"test_accuracy": 0.7}}
    ahead = Result(Cell("symmetric 40 %", "sop", 0), good, {}, rivals)
    for claim in LabelNoise().claims([ahead]):
        outcome = check_claim(claim)
        assert (outcome.status.name, outcome.mutant_rejected) == ("VERIFIED", True)
    behind = Result(ahead.cell, {**good, "test_accuracy": 0.6, "corrected": 0.5}, {}, rivals)
    for claim in LabelNoise().claims([behind]):
        outcome = check_claim(claim)
        assert outcome.counterexample == "symmetric 40 %, sop, seed 0"
    # Where most labels of a class are wrong nobody can know: such cells are outside.
    lost = Result(Cell("asymmetric 60 %", "sop", 0), behind.numbers, {}, rivals)
    assert check_claim(LabelNoise().claims([lost])[0]).status.name == "NOT_APPLICABLE"


def test_means_leave_out_what_is_no_number():
    made = [result("ce", seed, x=value) for seed, value in enumerate((1.0, math.nan, 3.0))]
    line = lines(made, [Column("x", "x")])[0]
    assert (line.num, line.values["x"]) == (3, (2.0, math.sqrt(2)))
    assert shown(Column("x", "x"), 2.0, 0.25) == "2 ± 0.2"


def test_exact_statements_agree():
    for text, said, seen in LabelNoise().exact(LabelNoiseOptions()):
        assert seen == pytest.approx(said, abs=1e-6), text


@pytest.fixture(scope="module")
def layered(tmp_path_factory):
    """ReduNet on few images."""
    folder = tmp_path_factory.mktemp("track") / "redunet"
    options = ReduNetOptions(seeds=1, per_class=12, depth=4, channels=2, passes=2)
    return options, execute("redunet", options, folder)


def test_layers_reach_optima_and_grow_without_forgetting(layered):
    options, results = layered
    numbers = {(r.cell.case, r.cell.method): r.numbers for r in results}
    assert numbers["circle, orthogonal", "redunet"]["share"] == pytest.approx(1, abs=1e-3)
    assert numbers["circle, 60 degrees", "redunet"]["share"] < 0.999
    grown = numbers["class by class", "redunet"]
    assert grown["joint_difference"] < 1e-12 < 1e-3 < grown["sample_difference"]
    assert grown["forgotten"] < numbers["class by class", "mlp"]["forgotten"]
    for claim in ReduNet().claims(results):
        outcome = check_claim(claim)
        assert (outcome.status.name, outcome.mutant_rejected) == ("VERIFIED", True), claim.id
    for text, said, seen in ReduNet().exact(options):
        assert seen == pytest.approx(said, abs=1e-12), text
    for picture in ReduNet().pictures(options, results):
        assert picture.files


@pytest.mark.slow
@pytest.mark.parametrize(
    ("change", "case", "method"),
    [
        ({"depth": 5}, "images", "redunet"),
        ({"step": 0.4}, "circle, orthogonal", "redunet"),
        ({"precision": 0.5}, "images", "redunet"),
        ({"sharpness": 1e-3}, "images", "redunet"),
        ({"dimension": 1}, "images", "input"),
        ({"channels": 3}, "images, shifted", "lifted"),
        ({"passes": 1}, "class by class", "mlp"),
        ({"per_class": 11}, "images", "input"),
    ],
)
def test_options_of_layers_change_numbers(layered, tmp_path, change, case, method):
    options, results = layered
    before = next(r for r in results if (r.cell.case, r.cell.method) == (case, method))
    found = ReduNet().measure(replace(options, **change), before.cell, tmp_path)[0]
    assert found != pytest.approx(dict(before.numbers), abs=1e-12)


def test_images_are_kept_by_seed(layered):
    options, _ = layered
    assert [len(_pictures(options, seed)[1]) for seed in (0, 1)] == [120, 110]


@pytest.fixture(scope="module")
def expressed(tmp_path_factory):
    """Queries and keys on few points."""
    folder = tmp_path_factory.mktemp("track") / "senet"
    options = SelfExpressionOptions(seeds=1, per_class=8, steps=150, width=32)
    return options, execute("senet", options, folder)


@pytest.mark.slow
def test_queries_and_keys_come_nearer_to_the_elastic_net(expressed):
    options, results = expressed
    numbers = {(r.cell.case, r.cell.method): r.numbers for r in results}
    for case in ("subspaces", "images"):
        solved, trained = numbers[case, "elastic net"], numbers[case, "senet"]
        assert (solved["excess"], solved["new_excess"]) == (0, 0)
        assert solved["form_error"] < 1e-9 < 1e-3 < solved["altered_form"]
        assert trained["excess"] > 0
        assert trained["objective"] < trained["nothing"]
        assert trained["new_excess"] > 0
    assert numbers["subspaces", "elastic net"]["preserving"] > 0.7
    learned = next(r for r in results if r.cell.method == "senet").series["objective"]
    assert learned[-1] < 0.5 * learned[0]
    for text, said, seen in SelfExpression().exact(options):
        assert seen == pytest.approx(said, abs=1e-12), text
    assert SelfExpression().pictures(options, results)[0].files


@pytest.mark.slow
@pytest.mark.parametrize(
    "change",
    [
        {"per_class": 7},
        {"gamma": 10.0},
        {"share": 0.8},
        {"steps": 100},
        {"learning_rate": 3e-3},
        {"width": 16},
    ],
)
def test_options_of_queries_change_numbers(expressed, tmp_path, change):
    options, results = expressed
    before = next(r for r in results if r.cell.method == "senet")
    found = SelfExpression().measure(replace(options, **change), before.cell, tmp_path)[0]
    assert found != pytest.approx(dict(before.numbers), abs=1e-9)


def test_claims_on_queries_have_teeth():
    solved = {"form_error": 1e-12, "altered_form": 1e-2, "accuracy": 0.98, "objective": 1.0}
    learned = {"objective": 1.5, "excess": 0.5, "nothing": 10.0, "accuracy": 0.97}
    rivals = {"elastic net": solved}

    def judged(numbers):
        results = [
            Result(Cell("subspaces", "elastic net", 0), solved),
            Result(Cell("subspaces", "senet", 0), numbers, {}, rivals),
        ]
        return [check_claim(claim) for claim in SelfExpression().claims(results)]

    good = judged(learned)
    assert all(o.status.name == "VERIFIED" and o.mutant_rejected for o in good)
    for change, place in (({"objective": 7.0, "excess": 6.0}, 1), ({"accuracy": 0.9}, 2)):
        assert judged({**learned, **change})[place].status.name == "COUNTEREXAMPLE"
    assert judged({**learned, "objective": 0.9, "excess": -0.1})[1].status.name == "COUNTEREXAMPLE"


def test_clusters_are_named_so_that_most_labels_agree():
    labels = np.repeat([0, 1, 2], 4)
    C = (labels[:, None] == labels).astype(float)
    assert _clustering_accuracy(C, labels[::-1].copy(), 0) == 1
    wrong = labels.copy()
    wrong[0] = 2
    assert _clustering_accuracy(C, wrong, 0) == pytest.approx(11 / 12)


@pytest.mark.slow
@pytest.mark.parametrize(
    ("words", "label"),
    [
        (
            "deq --per-class 8 --ratios 2 -d 11 --hidden 13 --epochs 3 --batch-size 12",
            "2 to 1, relu",
        ),
        (
            "gnn --cases 2:8:1 --nodes 40 --graphs 3 --test-graphs 2 --free-graphs 2 --layers 2 "
            "--epochs 2",
            "2:8:1, gnn",
        ),
        (
            "sop --per-class 6 --kinds symmetric --rates 0.3 --epochs 2 --batch-size 20",
            "symmetric 30 %, ce",
        ),
    ],
)
def test_a_cell_that_diverges_is_in_the_table_and_told(ufm, tmp_path, words, label):
    ran = ufm(f"track {words} --lr 1e30 --seeds 1 --workers 1 --json --out", tmp_path / "x")
    assert (ran.code, f"{label}, seed 0: stopped" in ran.err) == (3, True), ran.err
    stopped = [c for c in ran.json["cells"] if "stopped_after" in c["numbers"]]
    assert len(stopped) >= 2
    assert label in (tmp_path / "x" / "index.html").read_text().replace("</th><td>", ", ")


@pytest.mark.slow
def test_a_track_from_the_command_line_to_a_page(ufm, tmp_path):
    words = "track sop --per-class 6 --kinds symmetric --rates 0.3 --epochs 2 --batch-size 20"
    ran = ufm(f"{words} --seeds 1 --workers 1 --json --out", tmp_path / "sop")
    assert ran.code == 0, ran.err
    assert [cell["method"] for cell in ran.json["cells"]] == ["ce", "sop"]
    assert len(ran.json["exact"]) == 2
    page = (tmp_path / "sop" / "index.html").read_text()
    assert "SOP-3" in page
    assert (tmp_path / "sop" / "figures" / "linear.svg").exists()
    again = ufm(f"{words} --seeds 1 --workers 1 --out", tmp_path / "sop")
    assert "symmetric 30 %" in again.out
    verified = ufm("verify --json --networks", tmp_path / "sop", "--out", tmp_path / "report")
    assert {claim["id"] for claim in verified.json["claims"]} == {
        "sop-is-ahead",
        "sop-corrects-labels",
    }
    about = json.loads((tmp_path / "sop" / "track.json").read_text())
    assert about["provenance"]["Command"].startswith("ufm")


def test_help_lists_the_tracks(ufm):
    ran = ufm("track --help")
    assert ran.code == 0
    assert all(f"{name} " in ran.out for name in tracks.TRACKS)


@pytest.mark.parametrize(
    ("words", "says"),
    [
        ("sop --rates x", "Need --rates"),
        ("sop --rates 0.2,0.2", "Need --rates"),
        ("sop --rates nan", "Need --rates"),
        ("sop --kinds half", "Need --kinds"),
        ("sop --lr nan", "learning_rate"),
        ("sop --rate-u -1", "rate_u"),
        ("sop --epochs 0", "epochs"),
        ("sop --data digitz", "write 'digits'"),
        ("sop --seeds 0", "seeds"),
        ("senet --lambda 1", "--lambda in"),
        ("senet --gamma nan", "gamma > 0"),
        ("senet --per-class 1000", "samples of class"),
        ("redunet --depth 0", "depth"),
        ("redunet --eps nan", "precision > 0"),
        ("redunet --eps 1e-200", "--eps from"),
        ("redunet --step 1e200", "--step from"),
        ("redunet --data cifar-10:nowhere", "cifar-10"),
        ("soup", "soup"),
    ],
)
def test_bad_input_is_one_line(ufm, tmp_path, words, says):
    ran = ufm(f"track {words}", *(("--out", tmp_path / "x") if "soup" not in words else ()))
    assert ran.code == 2
    assert says in ran.err
    assert len(ran.err.strip().splitlines()) == 1


def interrupted(monkeypatch, at):
    """From now on the checkpoint of this number is the last thing that happens."""
    whole, count = stepping.save_checkpoint, []

    def killed(*words):
        whole(*words)
        count.append(words)
        if len(count) == at:
            raise KeyboardInterrupt

    monkeypatch.setattr(stepping, "save_checkpoint", killed)
    return lambda: monkeypatch.setattr(stepping, "save_checkpoint", whole)


# Where in the cell: of five stages, of layers in four parts (those of the joint network beside), of
# 150 steps in three.
KILLS = [
    ("redunet", "circle, orthogonal", "redunet", 2),
    ("redunet", "images", "redunet", 3),
    ("redunet", "images, shifted", "lifted", 3),
    ("redunet", "class by class", "redunet", 3),
    ("redunet", "class by class", "redunet", 7),
    ("redunet", "class by class", "mlp", 2),
    slow("senet", "subspaces", "senet", 2),
]


@pytest.mark.parametrize(("name", "case", "method", "at"), KILLS)
def test_a_kill_within_a_cell_changes_nothing(
    request, tmp_path, monkeypatch, name, case, method, at
):
    options, results = request.getfixturevalue({"redunet": "layered", "senet": "expressed"}[name])
    monkeypatch.setattr(self_expression, "BETWEEN", 1)
    track = tracks.named_track(name)
    whole = next(r for r in results if (r.cell.case, r.cell.method) == (case, method))
    restored = interrupted(monkeypatch, at)
    with pytest.raises(KeyboardInterrupt):
        track.measure(options, whole.cell, tmp_path)
    restored()
    begun = []
    monkeypatch.setattr(
        stepping, "load_checkpoint", lambda *words: begun.append(words) or load_checkpoint(*words)
    )
    # More seeds do not make it another cell.
    more = replace(options, seeds=options.seeds + 1)
    numbers, series = track.measure(more, whole.cell, tmp_path)
    assert begun
    assert (numbers, series) == (dict(whole.numbers), dict(whole.series))
