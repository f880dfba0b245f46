"""``--certify``: files beside an atlas and of one point, and what stands in the way."""

import json
import sys

import numpy as np
import pytest

from ufm import UFM, CrossEntropy

pytestmark = pytest.mark.xdist_group("atlas")


@pytest.fixture
def origin(tmp_path):
    model = UFM(CrossEntropy(), 3, 2, lambda_W=0.1, lambda_H=0.1)
    W, H, _ = model.origin()
    path = tmp_path / "origin.npz"
    decays = {"lambda_W": np.array(0.1), "lambda_H": np.array(0.1)}
    np.savez(path, W=W, H=H, loss=np.array("ce"), counts=np.ones(3, int), **decays)
    return path


def test_one_point_has_one_file(ufm, origin, tmp_path):
    path = tmp_path / "origin.json"
    ran = ufm(f"verdict {origin} --certify {path} --json")
    assert ran.code == 0, ran.err
    proof = ran.json["proof"]
    assert (proof["proved"], proof["index"], proof["nullity"]) == (True, 4, 0)
    assert proof["not_global"]
    told = json.loads(path.read_text())
    assert told["claim"]["index"] == ran.json["index"] == 4
    assert told["lower"]["below"] < np.log(3)
    said = ufm(f"verdict {origin} --certify {path}").out
    assert "Proved in origin.json: a critical point within 1e-09, index 4, nullity 0" in said


def test_a_global_minimum_says_how_near_it_is(ufm, tmp_path):
    path, proof = tmp_path / "best.npz", tmp_path / "best.json"
    words = "--loss mse -K 3 -d 4 --lambda 0.02"
    assert ufm(f"solve {words} --save {path}").code == 0
    said = ufm(f"verdict {path} --certify {proof}").out
    assert ", a global minimum, its logits within" in " ".join(said.split())
    assert json.loads(proof.read_text())["claim"]["minimiser"]["exact"]
    assert ufm(f"check {proof}").code == 0


def test_a_model_with_determinants_is_certified(ufm, tmp_path):
    path, proof = tmp_path / "rate.npz", tmp_path / "rate.json"
    words = "--model rate-reduction --counts 2,2 -d 3 --eps 0.5 --lambda-z 0.1"
    assert ufm(f"solve {words} --start 2,1 --save {path}").code == 0
    ran = ufm(f"verdict {path} --model rate-reduction --certify {proof} --json")
    assert ran.code == 0, ran.err
    told = ran.json["proof"]
    assert (told["proved"], told["index"], told["nullity"]) == (True, 0, 4)
    assert ufm(f"check {proof}").code == 0


def test_without_the_flag_nothing_is_proved(ufm, origin):
    assert "proof" not in ufm(f"verdict {origin} --json").json


def test_an_undecided_point_has_no_file_and_exit_code_3(ufm, origin, tmp_path, monkeypatch):
    from proofs_check.rigorous import point
    from proofs_check.rigorous.arithmetic import Undecided

    def undecided(model, like):
        raise Undecided("not today")

    monkeypatch.setattr(point, "prove_critical", undecided)
    path = tmp_path / "none.json"
    ran = ufm(f"verdict {origin} --certify {path}")
    assert ran.code == 3
    assert "UNDECIDED: not today" in ran.out
    assert not path.exists()


def test_a_missing_library_is_one_line(ufm, origin, tmp_path, monkeypatch):
    for name in [name for name in sys.modules if name.startswith("proofs_check.rigorous")]:
        monkeypatch.delitem(sys.modules, name)
    monkeypatch.setitem(sys.modules, "flint", None)
    for words in (
        f"verdict {origin} --certify {tmp_path / 'x.json'}",
        f"atlas -K 3 --out {tmp_path / 'a'} --certify",
        "atlas -K 3 --prove",
        f"check {tmp_path / 'x.json'}",
    ):
        ran = ufm(words)
        assert ran.code == 2
        assert ran.err.count("\n") <= 1
        assert "pip install python-flint" in ran.err


def test_an_atlas_is_certified_beside_its_output(ufm, tmp_path):
    assert ufm("atlas -K 3 --certify").code == 2  # nowhere to write to
    folder = tmp_path / "kept"
    ran = ufm(f"atlas -K 3 --lambda 0.02 --out {folder} --certify --json")
    assert ran.code == 0, ran.err
    for orbit in ran.json["orbits"]:
        small, large = orbit["certificates"]
        assert (small["d"], large["d"]) == (max(1, orbit["rank"]), 4)
        for proof in (small, large):
            told = json.loads((folder / "certificates" / proof["file"]).read_text())
            assert proof["proved"]
            assert told["model"]["dim"] == proof["d"]
            assert told["claim"]["index"] == proof["index"]
        assert small["index"] == orbit["index"][str(small["d"])]
        assert small["nullity"] == orbit["predicted_nullity"][str(small["d"])]
    assert len(list((folder / "certificates").iterdir())) == 8
    again = ufm(f"atlas -K 3 --lambda 0.02 --out {folder} --certify").out
    assert "8 of 8 certificates written" in again
    assert "Orbit 1 in d = 2: a global minimum, its logits within" in again
    best = ran.json["orbits"][0]["certificates"][0]["minimiser"]
    assert best["exact"]
    assert best["gap"] < 1e-12
    assert max(best[x] for x in ("logits", "gram_w", "gram_h")) < 1e-9
    assert ran.json["orbits"][1]["certificates"][0]["minimiser"] is None
    assert "2, 4" in again


def test_many_samples_are_certified_merged(ufm, tmp_path):
    """401 samples in 2 dimensions: 808 variables, of which a file has room for 700."""
    path, proof = tmp_path / "best.npz", tmp_path / "best.json"
    words = "--counts 300,1,100 -d 2 --lambda-w 0.02 --lambda-h 0.0002"
    assert ufm(f"solve {words} --save {path}").code == 0
    ran = ufm(f"verdict {path} --certify {proof} --json")
    assert ran.code == 0, ran.err
    told = json.loads(proof.read_text())
    assert told["model"]["merged"]
    assert np.shape(told["point"]["H"]) == (2, 3)
    assert (told["claim"]["index"], told["claim"]["nullity"]) == (0, ran.json["nullity"])
    assert ufm(f"check {proof}").code == 0
