"""Processes end with the one that started them, and what ends one of them is told."""

import os
import pickle
import signal
import subprocess
import sys
import time
from concurrent.futures import CancelledError, as_completed
from pathlib import Path

import pytest

from experiments import pool as module
from experiments.pool import Pool, WorkerEnded, end_all
from tests.processes import (
    Unreadable,
    fail,
    is_alive,
    leave_a_child,
    told,
    wait_until,
)
from ufm.errors import InputError

ROOT = Path(__file__).resolve().parents[2]


@pytest.fixture(scope="module")
def one():
    """A pool of one process, which a test may have to start again."""
    with Pool(1, {"OF_A_TEST": "heard"}) as pool:
        yield pool


def test_calls_and_keywords_are_answered_by_so_many_processes(one):
    with Pool(2) as pool:
        calls = [pool.submit(pow, base=n, exp=3, mod=None) for n in range(5)]
        assert sorted(call.result() for call in as_completed(calls)) == [0, 1, 8, 27, 64]
        naps = [pool.submit(time.sleep, 0.3) for _ in range(2)]
        pids = {pool.submit(os.getpid).result() for _ in naps}
    assert os.getpid() not in pids
    assert one.submit(os.getpid).result() == one.submit(os.getpid).result()


def test_what_they_are_started_with(one):
    variable, mask = one.submit(told, "OF_A_TEST").result()
    assert variable == "heard"
    assert "OF_A_TEST" not in os.environ
    assert {signal.SIGINT, signal.SIGTERM} <= mask
    assert one.submit(told, "TMPDIR").result()[0] == str(one.folder)
    assert one.folder.stat().st_mode & 0o777 == 0o700


def test_the_current_folder_shadows_nothing(tmp_path, monkeypatch):
    (tmp_path / "experiments").mkdir()
    (tmp_path / "experiments" / "__init__.py").write_text("raise SystemExit(7)")
    monkeypatch.chdir(tmp_path)
    with Pool(1) as pool:
        assert pool.submit(max, 1, 2).result() == 2


def test_errors_travel(one):
    with pytest.raises(InputError) as caught:
        one.submit(fail, InputError, "Need a rule", 3, "obey it").result()
    assert (caught.value.rule, caught.value.remedy) == ("Need a rule", "obey it")
    assert "in fail" in caught.value.__notes__[0]  # where it was
    with pytest.raises(RuntimeError, match="Unreadable: 1"):
        one.submit(fail, Unreadable, 1, 2).result()
    with pytest.raises((TypeError, AttributeError, pickle.PicklingError)):
        one.submit(lambda: 1).result()  # which cannot be sent
    with pytest.raises((TypeError, AttributeError, pickle.PicklingError)):
        one.submit(open, os.devnull).result()  # whose result cannot be
    assert one.submit(max, 1, 2).result() == 2


@pytest.mark.parametrize("error", [SystemExit, GeneratorExit, KeyboardInterrupt])
def test_what_would_end_this_process_is_an_error_in_it(one, error):
    """Raised again here, SystemExit(0) would end a command as if all were well."""
    with pytest.raises(WorkerEnded, match=error.__name__):
        one.submit(fail, error).result()


@pytest.mark.parametrize(
    ("call", "says"),
    [
        ((os._exit, 0), "exit code 0"),
        ((os._exit, 3), "exit code 3"),
        ((signal.raise_signal, signal.SIGKILL), "SIGKILL, out of memory"),
        ((signal.raise_signal, signal.SIGABRT), "ended by SIGABRT"),
    ],
)
def test_a_process_that_dies_is_told_and_has_a_successor(one, call, says):
    before = one.submit(os.getpid).result()
    with pytest.raises(WorkerEnded, match=says):
        one.submit(*call).result(timeout=20)
    assert one.submit(os.getpid).result() != before


def test_one_that_died_between_two_calls_has_a_successor(one):
    before = one.submit(os.getpid).result()
    os.kill(before, signal.SIGKILL)
    wait_until(lambda: not is_alive(before))
    assert one.submit(os.getpid).result() != before


def test_a_process_that_dies_is_not_waited_for_while_its_children_live(one):
    began = time.monotonic()
    with pytest.raises(WorkerEnded, match="exit code 4"):
        one.submit(leave_a_child).result(timeout=20)
    assert time.monotonic() - began < 5


def test_leaving_ends_all_at_once():
    began = time.monotonic()
    with Pool(2) as pool:
        pids = [pool.submit(os.getpid).result()]
        calls = [pool.submit(time.sleep, 60) for _ in range(4)]
        wait_until(lambda: sum(call.running() for call in calls) == 2)
    assert time.monotonic() - began < 20
    for call in calls:
        with pytest.raises(CancelledError):
            call.result(timeout=5)
    assert not any(map(is_alive, pids))
    assert not pool.folder.exists()
    with pytest.raises(RuntimeError, match="shutdown"):
        pool.submit(max, 1, 2)


def test_an_error_in_the_block_waits_for_nothing():
    began = time.monotonic()
    with pytest.raises(KeyboardInterrupt), Pool(1) as pool:
        fail(KeyboardInterrupt, pool.submit(time.sleep, 60))
    assert time.monotonic() - began < 20


def test_all_pools_can_be_ended():
    pools = [Pool(1), Pool(1)]
    pids = [pool.submit(os.getpid).result() for pool in pools]
    end_all()
    wait_until(lambda: not any(map(is_alive, pids)))
    assert not any(pool.folder.exists() for pool in pools)
    end_all()


# ---- a parent that is killed

PARENT = """
import signal
import time
from experiments.pool import Pool
from tests.processes import hold_the_lock

if __name__ == "__main__":
    # A shell that starts the tests in the background has them ignore SIGINT, and so this.
    signal.signal(signal.SIGINT, signal.default_int_handler)
    with Pool(2) as pool:
        for call in [pool.submit(time.sleep, 0.5) for _ in range(2)]:
            call.result()
        for _ in range(2):
            pool.submit({call})
        time.sleep(0.5)
        print(*(process.pid for process in pool._processes), pool.folder, flush=True)
        time.sleep(60)
"""
ASLEEP, DEEP = "time.sleep, 60", "hold_the_lock"


@pytest.fixture
def parent(tmp_path):
    """Starts a process with two busy children: it, their ids, and their folder."""
    started = []

    def start(call):
        (tmp_path / "parent.py").write_text(PARENT.format(call=call))
        process = subprocess.Popen(
            [sys.executable, tmp_path / "parent.py"],
            env={**os.environ, "PYTHONPATH": str(ROOT), "TMPDIR": str(tmp_path)},
            stdout=subprocess.PIPE,
            text=True,
        )
        started.append(process)
        *pids, folder = process.stdout.readline().split()
        assert len(pids) == 2
        assert all(map(is_alive, map(int, pids)))
        return process, [int(pid) for pid in pids], Path(folder)

    yield start
    for process in started:
        process.kill()
        process.communicate()


LINUX = pytest.mark.skipif(sys.platform != "linux", reason="the kernel does not do it")


@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGTERM, signal.SIGINT])
def test_they_end_with_their_parent(parent, number):
    process, pids, _ = parent(ASLEEP)
    process.send_signal(number)
    wait_until(lambda: not any(map(is_alive, pids)), 5)


@LINUX
def test_they_end_with_their_parent_in_compiled_code(parent):
    process, pids, _ = parent(DEEP)
    process.kill()
    wait_until(lambda: not any(map(is_alive, pids)), 5)


def test_they_end_with_their_parent_where_the_kernel_does_not_help(parent, tmp_path):
    (tmp_path / "sitecustomize.py").write_text("import ctypes\nctypes.CDLL = lambda *_: None\n")
    process, pids, _ = parent(ASLEEP)
    process.kill()
    wait_until(lambda: not any(map(is_alive, pids)), 5)


def test_one_whose_parent_ended_before_it_looked_ends():
    def leaves(parent):
        command = [sys.executable, "-m", module.PROGRAM, "0", str(parent)]
        with subprocess.Popen(command, stdin=subprocess.PIPE, cwd=ROOT) as process:
            try:
                return process.wait(3) == 1
            except subprocess.TimeoutExpired:
                return False
            finally:
                process.kill()

    assert leaves(1)
    assert not leaves(os.getpid())


def test_the_next_pool_removes_the_folders_of_the_killed_and_no_others(
    parent, tmp_path, monkeypatch
):
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    killed, _, left = parent(ASLEEP)
    (left / "something").write_text("half")
    _, _, held = parent(ASLEEP)
    foreign = tmp_path / f"{module.FOLDERS}elsewhere"
    foreign.symlink_to(ROOT)
    killed.kill()
    killed.wait()
    with Pool(1) as pool:
        assert pool.folder.parent == tmp_path
        assert not left.exists()
        assert held.exists()
        assert foreign.is_symlink()
