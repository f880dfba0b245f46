"""``ufm atlas``: the table, the JSON, going on from a folder, and bad input."""

import json
import signal
import subprocess
import sys
import time

import networkx
import numpy as np
import pytest

pytestmark = pytest.mark.xdist_group("atlas")


@pytest.mark.slow
def test_the_json_has_every_orbit_and_every_dimension(ufm):
    ran = ufm("atlas -K 3 -d 5 --json")
    assert ran.code == 0
    told = json.loads(ran.out)
    assert told["status"] == "SATURATED"
    assert told["checksum"] == {"1": 1, "2": 1, "3": 1}
    assert len(told["orbits"]) == 4
    best = told["orbits"][0]
    assert best["label"] == "simplex ETF"
    assert best["verdict"] == dict.fromkeys(("2", "3", "5"), "MORSE_BOTT_MINIMUM")
    assert best["index"] == {"2": 0, "3": 0, "5": 0}  # up to K, and the d asked for
    assert best["nullity"] == best["predicted_nullity"]
    assert [orbit["count"] for orbit in told["orbits"]] == [1, 3, 3, 1]
    assert told["failures"]["1"]["LOWER_STRATUM"] > 0


def test_the_table_speaks_of_the_dimension_asked_for(ufm):
    ran = ufm("atlas -K 3 -d 5")
    assert ran.code == 0
    assert "global minimum" in ran.out
    assert "4 orbits (8 matrices Z), SATURATED" in ran.out
    assert "d = 5" in ran.out


@pytest.mark.slow
def test_a_second_run_goes_on_from_the_folder(ufm, tmp_path):
    folder = tmp_path / "kept"
    first = ufm(f"atlas -K 4 --budget 0 --seed 5 --out {folder} --json")
    assert sorted(x.name for x in folder.iterdir()) == ["atlas.json", "points.npz"]
    stored = json.loads((folder / "atlas.json").read_text())
    assert stored["orbits"] == json.loads(first.out)["orbits"]
    again = json.loads(ufm(f"atlas -K 4 --seed 6 --out {folder} --json").out)
    heights = [round(orbit["objective"], 9) for orbit in again["orbits"]]
    assert {round(orbit["objective"], 9) for orbit in stored["orbits"]} <= set(heights)
    other = ufm(f"atlas -K 4 --lambda 0.03 --out {folder}")
    assert (other.code, other.out) == (2, "")
    assert "belongs to another model" in other.err


@pytest.mark.slow
def test_an_open_list_exits_3_and_says_what_is_missing(ufm):
    ran = ufm("atlas -K 6 --budget 0")  # one round finds 55 of 68
    assert ran.code == 3
    assert "OPEN" in ran.out
    assert "missing orbits of rank" in ran.out


def test_above_the_threshold_there_is_the_origin(ufm):
    ran = ufm("atlas -K 3 --lambda 0.5 --json")
    assert ran.code == 0
    assert [orbit["label"] for orbit in json.loads(ran.out)["orbits"]] == ["origin"]


@pytest.mark.parametrize(
    ("words", "said"),
    [
        ("-K 1", "K >= 2"),
        ("-K 40", "K <= 12"),
        ("-K 3 -d 0", "d >= 1"),
        ("--counts 2,2,1 --loss mse --lambda-b 0.1", "continua"),
        ("-K 3 --max-groups 2", "--engine symmetric"),
        ("-K 3 --engine symmetric --max-groups 0", "max_groups"),
        ("-K 3 --graph flows.dot", ".json or .graphml"),
        ("-K 3 --graph nowhere/flows.json", "existing folder for --graph"),
        ("-K 3 --figures /proc/none", "folder for --figures"),
        ("-K 3 --animation film.mp4", ".gif"),
        ("-K 5 --animation film.gif", "up to three dimensions"),
        ("-K 3 --animation nowhere/film.gif", "existing folder for --animation"),
        ("-K 3 --budget -1", "budget"),
    ],
)
def test_bad_words_exit_2(ufm, words, said):
    ran = ufm(f"atlas {words}")
    assert (ran.code, ran.out) == (2, "")
    assert said in ran.err
    assert len(ran.err.strip().splitlines()) == 1


def test_squared_error_is_complete(ufm):
    ran = ufm("atlas -K 4 --loss mse --json")
    told = json.loads(ran.out)
    assert (ran.code, told["status"]) == (0, "COMPLETE")
    assert [orbit["family_dimension"] for orbit in told["orbits"]] == [0, 3, 4, 3, 0]
    said = ufm("atlas -K 4 --loss mse").out
    assert "5 critical manifolds, COMPLETE" in said
    assert "continuum" in said


@pytest.mark.slow
def test_symmetric_points_of_many_classes(ufm):
    words = "atlas -K 30 --lambda 0.005 --engine symmetric --json"
    few, more = (json.loads(ufm(f"{words} --max-groups {m}").out) for m in (1, 2))
    assert few["status"] == "OPEN"
    assert "1 unequal group," in few["unsearched"]
    assert len(few["orbits"]) < len(more["orbits"])
    assert {orbit["label"] for orbit in few["orbits"]} >= {"simplex ETF", "merged 15|15", "origin"}
    best = few["orbits"][0]
    assert list(best["index"]) == ["29", "30"]
    assert few["orbits"][-1]["index"] == {"1": 29, "2": 58, "29": 29 * 29, "30": 30 * 29}
    ran = ufm("atlas -K 30 --lambda 0.005 --engine symmetric --max-groups 1")
    assert ran.code == 0  # what it left out was asked for
    assert "were not searched" in ran.out


@pytest.mark.slow
def test_all_engines_are_compared(ufm):
    ran = ufm("atlas -K 3 --engine all --json")
    told = json.loads(ran.out)["agreement"]
    assert told["symmetric points"] == {"shared": 4, "new": 0}
    assert told["births along lambda"] == {"shared": 4, "new": 0}
    assert told["both sides of lambda"] == {"shared": 4, "new": 0}
    assert "finds 4 of the 4 orbits and no other" in ufm("atlas -K 3 --engine all").out


@pytest.mark.slow
def test_figures_are_written_in_three_kinds(ufm, tmp_path):
    ran = ufm(f"atlas -K 3 -d 1 --figures {tmp_path / 'all'}")
    assert ran.code == 0
    names = {"ladder", "strips", "gram", "coverage", "pathway", "disconnectivity", "bifurcation"}
    names |= {"slice-line", "slice-plane", "geometry-rank-1-1", "geometry-rank-1-2"}
    names |= {"geometry-rank-2-1", "plane", "surface", "cosines-minimum", "cosines-saddle"}
    names |= {"arrangements", "staircase"}
    assert all(name in ran.out for name in names)
    files = {path.name: path.read_bytes() for path in (tmp_path / "all").iterdir()}
    assert set(files) == {f"{name}.{kind}" for name in names for kind in ("pdf", "svg", "png")}
    begins = {"pdf": b"%PDF", "svg": b"<?xml", "png": b"\x89PNG"}
    assert all(files[name].startswith(begins[name.split(".")[1]]) for name in files)
    wide = ufm(f"atlas -K 3 -d 2 --figures {tmp_path / 'wide'} --width 7")
    assert "d < K - 1" in wide.out  # why there is no disconnectivity graph
    assert (tmp_path / "wide" / "along-decay.svg").exists()
    assert "no spectrum along c" in ran.out  # why there is none for d = 1
    sizes = [
        int.from_bytes((tmp_path / folder / "ladder.png").read_bytes()[16:20], "big")
        for folder in ("all", "wide")
    ]
    assert sizes == [3.4 * 300, 7 * 300]
    told = ufm(f"atlas -K 4 --loss mse --figures {tmp_path / 'mse'}").out
    assert "isolated orbits" in told
    assert (tmp_path / "mse" / "ladder.svg").exists()


@pytest.mark.slow
def test_a_film_is_written(ufm, tmp_path):
    film = tmp_path / "film.gif"
    ran = ufm(f"atlas -K 3 -d 2 --animation {film}")
    assert ran.code == 0
    assert "Film: " in ran.out
    assert film.read_bytes().startswith(b"GIF89a")


def test_the_graph_of_flows(ufm, tmp_path):
    assert ufm(f"atlas -K 3 -d 2 --graph {tmp_path / 'flows.json'}").code == 0
    told = json.loads((tmp_path / "flows.json").read_text())
    heights = {node["id"]: node["objective"] for node in told["nodes"]}
    assert len(heights) == 4
    assert all(heights[e["source"]] > heights[e["target"]] for e in told["edges"])
    assert ufm(f"atlas -K 3 -d 1 --graph {tmp_path / 'flows.graphml'}").code == 0
    graph = networkx.read_graphml(tmp_path / "flows.graphml")
    assert len(graph) == 3  # the ETF needs d = 2
    assert not (tmp_path / "flows.dot").exists()


@pytest.mark.slow
def test_a_killed_search_goes_on_from_its_last_round(tmp_path):
    """SIGKILL as soon as the first round is kept: what was found is whole, and is gone on from."""
    words = ["atlas", "-K", "6", "--budget", "100", "--json", "--out", str(tmp_path)]
    command = [sys.executable, "-m", "experiments", *words]
    points = tmp_path / "points.npz"
    with subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL) as running:
        for _ in range(3000):
            if points.exists() or running.poll() is not None:
                break
            time.sleep(0.05)
        running.kill()
    assert running.returncode == -signal.SIGKILL
    with np.load(points) as kept:
        before = sum(name.startswith("W_") for name in kept.files)
    assert before > 20
    command[command.index("100")] = "0"
    ran = subprocess.run(command, capture_output=True, text=True, check=False)
    told = json.loads(ran.stdout)
    assert len(told["orbits"]) >= before
    assert len(told["rounds"]) == 1  # the rest was there


def test_damaged_and_impossible_folders_exit_2(ufm, tmp_path):
    (tmp_path / "points.npz").write_bytes(b"not a zip")
    ran = ufm(f"atlas -K 3 --out {tmp_path}")
    assert (ran.code, ran.out) == (2, "")
    assert "whole file of points" in ran.err
    np.savez(tmp_path / "points.npz", W_0=np.eye(3))
    assert ufm(f"atlas -K 3 --out {tmp_path}").code == 2
    (tmp_path / "file").write_text("x")
    assert ufm(f"atlas -K 3 --out {tmp_path / 'file'}").code == 2


@pytest.mark.slow
def test_collapse_is_proved_or_said_to_be_open(ufm, tmp_path):
    """Focal loss collapses by a theorem; 1 - u does not; with one sample there is no question."""
    said = ufm("atlas -K 3 -n 2 --loss focal --budget 5").out
    assert "samples of a class share a feature: focal loss without bias" in said
    assert "not convex" not in ufm("atlas -K 3 -n 1 --loss focal").out
    file = tmp_path / "mine.py"
    file.write_text("import jax\ndef error(z, k):\n    return 1 - jax.nn.softmax(z)[k]\n")
    said = ufm(f"atlas -K 3 -n 2 --loss {file}:error --budget 1").out
    assert "Others may exist" in said
