"""A sweep that is killed or interrupted ends with the table of one that was not."""

import os
import random
import signal
import subprocess
import sys
import time
from pathlib import Path

import pandas
import pytest

from experiments.sweep.store import Store

pytestmark = pytest.mark.xdist_group("sweep")

ROOT = Path(__file__).resolve().parents[2]
# Many small batches, so that a signal finds some written and some not.
MANY = """
task = "minimise"

[axes]
K = [3, 4]
c = { from = 0.1, to = 1.5, num = 48 }
"""
PROGRAM = """
import signal, sys
# A shell that starts the tests in the background has them ignore SIGINT, and so this.
signal.signal(signal.SIGINT, signal.default_int_handler)
import experiments.sweep.run
experiments.sweep.run.BATCH = 4
from experiments.cli import main
sys.exit(main(sys.argv[1:]))
"""


@pytest.fixture
def here(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    Path("many.toml").write_text(MANY)
    return tmp_path


def start(*words: object) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [sys.executable, "-c", PROGRAM, *map(str, words)],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env={**os.environ, "PYTHONPATH": str(ROOT)},
    )


def table(folder, *, without=("seconds",)):
    found = Store.open(Path(folder)).table()
    return {name: values for name, values in found.items() if name not in without}


def same(one, other) -> bool:
    frames = (pandas.DataFrame(x) for x in (one, other))
    return next(frames).equals(next(frames))


@pytest.fixture(scope="module")
def uninterrupted(tmp_path_factory):
    place = tmp_path_factory.mktemp("whole")
    (place / "many.toml").write_text(MANY)
    with start("sweep", "run", place / "many.toml", "--out", place / "folder") as ran:
        out, err = ran.communicate(timeout=300)
    assert ran.returncode == 0, err
    assert "96 of 96" in out
    return table(place / "folder")


def killed_and_resumed(folder: Path, kills: int, seed: int) -> tuple[int, dict]:
    """SIGKILL at random instants, from the start to some time after the first batch."""
    words = ("sweep", "run", "many.toml", "--out", folder)
    chance = random.Random(seed)
    struck = 0
    for _ in range(kills):
        files = len(list((folder / "batches").glob("*.parquet"))) if folder.exists() else 0
        with start(*words) as running:
            # Half of the kills at any time, half when this run has just begun to write.
            if chance.random() < 0.5:
                time.sleep(chance.uniform(0, 4))
            else:
                deadline = time.monotonic() + 60
                while running.poll() is None and time.monotonic() < deadline:
                    if len(list((folder / "batches").glob("*"))) > files:
                        break
                    time.sleep(0.005)
                time.sleep(chance.uniform(0, 0.05))
            running.kill()
        struck += running.returncode == -signal.SIGKILL
    with start(*words) as running:
        _, err = running.communicate(timeout=300)
    assert running.returncode == 0, err
    return struck, table(folder)


@pytest.mark.parametrize(
    "kills", [3, pytest.param(20, marks=pytest.mark.slow)], ids=lambda n: f"{n} kills"
)
def test_a_killed_sweep_resumes_to_the_same_table(here, uninterrupted, kills):
    struck, found = killed_and_resumed(here / "folder", kills, seed=kills)
    assert struck >= 1
    assert same(found, uninterrupted)
    scan = Store.open(here / "folder").scan()
    assert (scan.damaged, scan.duplicates, scan.foreign) == ((), (), ())
    assert not list((here / "folder").rglob(".*"))


@pytest.mark.slow
def test_ctrl_c_keeps_what_is_written_and_says_how_to_go_on(here, uninterrupted):
    words = ("sweep", "run", "many.toml", "--out", "folder")
    batches = here / "folder" / "batches"
    with start(*words) as running:
        while running.poll() is None and not list(batches.glob("*.parquet")):
            time.sleep(0.01)
        began = time.monotonic()
        running.send_signal(signal.SIGINT)
        out, err = running.communicate(timeout=60)
    assert running.returncode == 130, err
    assert time.monotonic() - began < 10
    assert "stay in folder; the same command goes on" in err
    assert err.splitlines()[-1] == "ufm: interrupted"
    assert "Traceback" not in out + err
    scan = Store.open(here / "folder").scan()
    assert 1 <= len(scan.present) < 24
    assert scan.damaged == ()
    with start(*words) as running:
        _, err = running.communicate(timeout=300)
    assert running.returncode == 0, err
    assert same(table("folder"), uninterrupted)
