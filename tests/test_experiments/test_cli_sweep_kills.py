"""A sweep that is killed or interrupted ends with the table of one that was not."""

import signal
import time

import numpy as np
import pytest

from experiments.sweep.store import Store
from tests.kill_sweep import finished, kill_and_resume, kill_workers, same, start, table

pytestmark = [pytest.mark.slow, pytest.mark.xdist_group("sweep")]

MANY = """
task = "minimise"

[axes]
K = [3, 4]
c = { from = 0.1, to = 1.5, num = 24 }
"""


@pytest.fixture
def many(tmp_path):
    file = tmp_path / "many.toml"
    file.write_text(MANY)
    return file


@pytest.fixture(scope="module")
def uninterrupted(tmp_path_factory):
    place = tmp_path_factory.mktemp("whole")
    (place / "many.toml").write_text(MANY)
    assert "48 of 48" in finished(start(place / "folder", place / "many.toml"))
    return table(place / "folder")


def require_whole(folder, uninterrupted):
    assert same(table(folder), uninterrupted)
    scan = Store.open(folder).scan()
    assert (scan.damaged, scan.duplicates, scan.foreign) == ((), (), ())
    assert not list(folder.rglob(".*"))


@pytest.mark.parametrize("kills", [3, 20], ids=lambda n: f"{n} kills")
def test_a_killed_sweep_resumes_to_the_same_table(tmp_path, many, uninterrupted, kills):
    folder = tmp_path / "folder"
    assert kill_and_resume(folder, many, kills, seed=kills) >= 1
    require_whole(folder, uninterrupted)


def test_killed_workers_lose_nothing(tmp_path, many, uninterrupted):
    pytest.importorskip("distributed")
    folder = tmp_path / "folder"
    assert kill_workers(folder, many, kills=2, workers=2, seed=5) >= 1
    require_whole(folder, uninterrupted)


def test_a_table_that_differs_is_seen(uninterrupted):
    changed = {**uninterrupted, "objective": uninterrupted["objective"].copy()}
    assert same(changed, uninterrupted)
    changed["objective"][7] = np.nextafter(changed["objective"][7], 1)
    assert not same(changed, uninterrupted)
    assert not same({k: v[1:] for k, v in uninterrupted.items()}, uninterrupted)


def test_ctrl_c_keeps_what_is_written_and_says_how_to_go_on(tmp_path, many, uninterrupted):
    folder = tmp_path / "folder"
    with start(folder, many) as running:
        while running.poll() is None and not list(folder.glob("batches/*.parquet")):
            time.sleep(0.01)
        began = time.monotonic()
        running.send_signal(signal.SIGINT)
        out, err = running.communicate(timeout=60)
    assert running.returncode == 130, err
    assert time.monotonic() - began < 10
    assert f"stay in {folder}; the same command goes on" in err
    assert err.splitlines()[-1] == "ufm: interrupted"
    assert "Traceback" not in out + err
    scan = Store.open(folder).scan()
    assert 1 <= len(scan.present) < 12
    assert scan.damaged == ()
    finished(start(folder, many))
    require_whole(folder, uninterrupted)
