"""`ufm sweep workers`: what is simulated is the sweep that was run, and every option counts."""

import pytest

pytest.importorskip("pyarrow")

TOML = """
task = "minimise"

[axes]
K = [3, 4]
d = 5
c = { from = 0.1, to = 0.9, num = 4 }
"""


@pytest.fixture(scope="module")
def store(tmp_path_factory):
    from experiments.cli import main

    folder = tmp_path_factory.mktemp("workers")
    (folder / "pairs.toml").write_text(TOML)
    words = ["sweep", "run", str(folder / "pairs.toml"), "--out", str(folder / "pairs")]
    assert main([*words, "--threads", "1"]) == 0
    return folder / "pairs.toml", folder / "pairs"


def test_every_option_counts(ufm, store, tmp_path):
    def told(*more):
        return ufm("sweep workers", *store, "--json", *more).json

    usual = told("--many", "1,3")
    assert (usual["batches"], usual["programs"]) == (2, 2)
    assert [line["workers"] for line in usual["lines"]] == [1, 1, 1, 3, 3, 3]
    alone = usual["lines"][0]
    spent = usual["work_seconds"] + usual["trace_seconds"]
    assert alone["seconds"] == pytest.approx(spent + 1.2 + 0.04)
    assert alone["efficiency"] == 1.0
    later = told("--many", "1", "--start", "100")["lines"][0]
    assert later["seconds"] == pytest.approx(alone["seconds"] + 98.8)
    slower = told("--many", "1", "--driver", "50")["lines"][0]
    assert slower["seconds"] > alone["seconds"] + 49
    longer = told("--many", "1", "--times", "7")
    assert longer["batches"] == 14
    assert longer["trace_seconds"] == usual["trace_seconds"]
    assert longer["work_seconds"] == pytest.approx(7 * usual["work_seconds"])
    picture = tmp_path / "workers.svg"
    ran = ufm("sweep workers", *store, "--figure", picture, "--width", "5")
    assert ran.code == 0
    assert "2 batches of 2 shapes" in ran.out
    assert "<svg" in picture.read_text()
    wide = picture.read_text()
    ufm("sweep workers", *store, "--figure", picture)
    assert picture.read_text() != wide


@pytest.mark.parametrize("many", ["", "0", "two", "1,-3", "20000"])
def test_numbers_of_workers_that_there_are_not(ufm, store, many):
    ran = ufm("sweep workers", *store, "--many", many)
    assert ran.code == 2
    assert "such as 1,2,4" in ran.err


def test_the_folder_of_another_sweep_is_refused(ufm, store, tmp_path):
    (tmp_path / "other.toml").write_text(TOML.replace("num = 4", "num = 3"))
    ran = ufm("sweep workers", tmp_path / "other.toml", store[1])
    assert ran.code == 2
    assert "of another one" in ran.err
    assert ufm("sweep workers", store[0], tmp_path).code == 2
