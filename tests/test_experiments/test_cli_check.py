"""``ufm check`` and ``ufm atlas --prove``: proofs from the command line, and what they refuse."""

import json

import pytest

from experiments.cli import main
from experiments.cli.prove import completeness_notes, rank_two_note
from proofs_check import checker
from tests.helpers import slow

pytestmark = pytest.mark.xdist_group("atlas")


@pytest.fixture(scope="module")
def proved(tmp_path_factory):
    folder = tmp_path_factory.mktemp("proved") / "kept"
    code = main(["atlas", "-K", "3", "--lambda", "0.1", "--out", str(folder), "--prove"])
    assert code == 0
    return folder, json.loads((folder / "atlas.json").read_text())


def test_a_proved_list_is_complete_and_its_cover_is_valid(proved, ufm):
    folder, told = proved
    assert told["status"] == "COMPLETE"
    assert told["missing_mass_bound"] == 0
    said = told["completeness"]
    assert said["ranks_proved"] == said["ranks"] == [0, 1, 2]
    assert said["orbits_of_rank_one"] == sum(orbit["rank"] == 1 for orbit in told["orbits"])
    assert said["undecided_boxes"] == 0
    assert said["lambda_W"] == [0.1, 0.1]
    assert said["files"] == ["rank-one-001.json"]
    path = folder / "certificates" / "rank-one-001.json"
    ran = ufm(f"check {path} --json")
    assert ran.code == 0, ran.err
    (row,) = ran.json["certificates"]
    assert row["answer"] == "VALID"
    assert f"exactly {said['orbits_of_rank_one']} orbits" in row["said"]


def test_the_worst_answer_is_the_exit_code(proved, ufm, tmp_path):
    folder, _ = proved
    good = folder / "certificates" / "rank-one-001.json"
    document = json.loads(good.read_text())
    false, open_ones, damaged = (tmp_path / f"{name}.json" for name in "abc")
    document["tree"] = document["tree"][:-1]
    document["digest"] = checker.digest(document)
    false.write_text(json.dumps(document))
    document["tree"] += "?"
    document["digest"] = checker.digest(document)
    open_ones.write_text(json.dumps(document))
    damaged.write_text("{")
    for paths, code, words in (
        ((good,), 0, "VALID"),
        ((good, open_ones), 3, "UNDECIDED"),
        ((open_ones, false, good), 1, "INVALID"),
        ((false, damaged), 2, "NO CERTIFICATE"),
    ):
        ran = ufm("check", *paths)
        assert ran.code == code
        assert words in ran.out
    assert ufm("check").code == 2


def test_in_words(ufm):
    ran = ufm("atlas -K 3 --lambda 0.4 --prove")
    assert ran.code == 0, ran.err
    assert "COMPLETE: a theorem lists every critical point" in ran.out
    assert "Proved: exactly 0 orbits of rank 1 (" in ran.out


@pytest.mark.parametrize(
    ("words", "says"),
    [
        ("-K 4 --lambda 0.3", "At these decays the origin is the minimum of the convex"),
        slow("-K 3 --lambda 0.1", "Rank 2: no boxes needed. It is the highest rank of 3 classes"),
    ],
)
def test_rank_two_where_a_theorem_knows_it(ufm, words, says):
    ran = ufm(f"atlas {words} --prove --prove-rank 2")
    assert ran.code == 0, ran.err
    assert says in ran.out
    assert "COMPLETE: a theorem lists every critical point" in ran.out


@pytest.mark.slow
def test_rank_two_is_left_undecided_with_a_number(ufm):
    words = "atlas -K 4 --lambda 0.1 --prove --prove-rank 2 --most-boxes 100 --json"
    ran = ufm(words)
    assert ran.code == 3
    said = ran.json["completeness"]
    assert said["ranks_proved"] == [0, 1, 3]
    second = said["rank_two"]
    assert (second["proved"], second["by"], second["orbits"]) == (False, "boxes", 4)
    assert second["most_boxes"] == 100
    assert 100 < second["boxes"] < 400
    assert second["undecided_boxes"] > 20
    assert 0.9 < second["undecided_share"] <= 1
    assert ran.json["status"] != "COMPLETE"
    (line,) = (x for x in completeness_notes(said) if x.startswith("Rank 2"))
    assert f"{second['undecided_boxes']} boxes of volume share" in line


@pytest.mark.slow
def test_more_classes_are_proved_in_rank_one(ufm):
    ran = ufm("atlas -K 4 --lambda 0.1 --prove --json")
    assert ran.code == 0, ran.err
    assert ran.json["completeness"]["ranks_proved"] == [0, 1, 3]
    assert ran.json["status"] != "COMPLETE"
    ran = ufm("atlas -K 4 --lambda 0.1 --prove")
    assert "Ranks with a proof that nothing is missing: 0, 1, 3; only searched: 2." in ran.out


@pytest.mark.slow
def test_a_segment_of_decays(ufm):
    ran = ufm("atlas -K 3 --lambda 0.1 --prove --prove-to 0.103 --json")
    assert ran.code == 0, ran.err
    assert ran.json["completeness"]["lambda_W"] == [0.1, 0.103]


@pytest.mark.parametrize(
    ("words", "says"),
    [
        ("-K 3 --prove-to 0.03", "--prove-to goes with --prove"),
        ("-K 3 --prove --prove-to -1", "--prove-to"),
        ("-K 3 --loss mse --prove", "Completeness is proved for"),
        ("-K 3 --lambda-b 0 --prove", "Got a bias"),
        ("--counts 1,2,1 --prove", "Got the counts"),
        ("-K 6 --prove", "Got 6 classes"),
        ("-K 5 --prove --prove-rank 2", "Rank 2 is covered for 4 classes"),
        ("-K 4 --prove-rank 2", "--prove-rank goes with --prove"),
        ("-K 4 --prove --prove-rank 3", "Got 3"),
        ("-K 4 --prove --most-boxes 9", "--most-boxes goes with --prove-rank 2"),
        ("-K 4 --prove --prove-rank 2 --prove-to 0.3", "covered for one pair of decays"),
    ],
)
def test_what_cannot_be_proved_is_refused_before_the_search(ufm, words, says):
    ran = ufm(f"atlas {words}")
    assert ran.code == 2
    assert says in ran.err
    assert len(ran.err.splitlines()) == 1


@pytest.mark.parametrize(
    ("until", "open_ones", "says"),
    [
        (0.05, 0, "Proved: exactly 2 orbits of rank 1, for every lambda_W from 0.02 to 0.05 (9"),
        (0.06, 0, "Beyond, to 0.06, rank 1 is undecided."),
        (0.06, 3, "Rank 1 is undecided, for every lambda_W from 0.02 to 0.05: 3 of 9 boxes are"),
    ],
)
def test_how_far_a_walk_came(until, open_ones, says):
    told = {
        "ranks": [0, 1, 2],
        "ranks_proved": [0, 1, 2],
        "orbits_of_rank_one": 2,
        "boxes": 9,
        "undecided_boxes": open_ones,
        "lambda_W": [0.02, 0.05],
        "lambda_W_until": until,
    }
    lines = completeness_notes(told)
    assert says in "\n".join(lines)
    assert ("Beyond" in "\n".join(lines)) == (until == 0.06 and not open_ones)


@pytest.mark.parametrize(
    ("open_ones", "says"),
    [
        (7, "Rank 2 is UNDECIDED: 7 boxes of volume share 0.25 left open, 1,000 evaluated, 3 s."),
        (0, "Proved: exactly 4 orbits of rank 2 (1,000 boxes, 3 s). No other program has checked"),
    ],
)
def test_what_is_said_of_rank_two(open_ones, says):
    told = {"by": "boxes", "orbits": 4, "boxes": 1000, "undecided_boxes": open_ones}
    assert rank_two_note(told | {"undecided_share": 0.25, "seconds": 3.2}).startswith(says)
