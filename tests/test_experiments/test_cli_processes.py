"""A command that is ended, however, leaves neither a process nor a lock behind."""

import os
import signal
import subprocess
import sys
import time
from contextlib import contextmanager
from pathlib import Path

import pytest

from experiments.pool import FOLDERS

psutil = pytest.importorskip("psutil")

pytestmark = [pytest.mark.slow, pytest.mark.xdist_group("processes")]

ROOT = Path(__file__).resolve().parents[2]
# A shell that starts the tests in the background has them ignore SIGINT.
PROGRAM = """
import signal, sys
signal.signal(signal.SIGINT, signal.default_int_handler)
if __name__ == "__main__":
    from experiments.cli import main
    sys.exit(main(sys.argv[1:]))
"""
CODES = {signal.SIGINT: 130, signal.SIGTERM: 143, signal.SIGKILL: -signal.SIGKILL}
COMPARE = (
    "compare --data digits --per-class 6 --depth 1 -d 12 --batch-size 20 --epochs 150 "
    "--widths 0.125 --seeds 1 --loss ce --loss mse --loss sigmoid --workers 2 --out c"
)
SWEEP = 'task = "verdict"\n[axes]\nK = [3, 4, 5]\nc = { from = 0.05, to = 1.2, num = 900 }\n'


pytestmark = pytest.mark.slow


@pytest.fixture
def started(tmp_path):
    """Starts a command, waits for something, and gives it with its processes."""
    commands = []

    @contextmanager
    def start(words, ready):
        (tmp_path / "program.py").write_text(PROGRAM)
        command = subprocess.Popen(
            [sys.executable, "program.py", *words.split()],
            cwd=tmp_path,
            env={**os.environ, "PYTHONPATH": str(ROOT), "TMPDIR": str(tmp_path)},
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            start_new_session=True,
        )
        commands.append(command)
        deadline = time.monotonic() + 180
        while not ready(psutil.Process(command.pid).children(recursive=True)):
            assert command.poll() is None, command.communicate()
            assert time.monotonic() < deadline
            time.sleep(0.05)
        yield command, psutil.Process(command.pid).children(recursive=True)

    yield start
    for command in commands:
        if command.poll() is None:
            command.kill()
        command.communicate()


def end(command, processes, number):
    """End a command, with all its processes, by a signal; what it said."""
    if number == signal.SIGINT:  # as a terminal does, to the whole group
        os.killpg(command.pid, number)
    else:
        command.send_signal(number)
    out, err = command.communicate(timeout=60)
    assert command.returncode == CODES[number], err
    assert psutil.wait_procs(processes, timeout=5)[1] == []
    assert "Traceback" not in err
    if number != signal.SIGKILL:
        said = {signal.SIGINT: "interrupted", signal.SIGTERM: "terminated"}[number]
        assert f"ufm: {said}" in err.splitlines()
    return out + err


def rest(folder):
    """Folders of worker processes."""
    return [path for path in folder.iterdir() if path.name.startswith(FOLDERS)]


@pytest.mark.parametrize("number", CODES)
def test_a_comparison_that_is_ended_goes_on_at_once(started, tmp_path, number):
    def training(children):
        return len(children) == 2 and any(tmp_path.glob("c/*/curve.json"))

    with started(COMPARE, training) as (command, processes):
        if number == signal.SIGTERM:
            command.send_signal(signal.SIGSTOP)  # so that it does not end before the second
            with started(COMPARE, lambda children: True) as (second, _):
                _, err = second.communicate(timeout=120)
            command.send_signal(signal.SIGCONT)
            assert second.returncode == 2
            assert "Only one comparison at a time can use a folder" in err
        said = end(command, processes, number)
    if number != signal.SIGKILL:
        assert "the same command goes on from there" in said
        assert rest(tmp_path) == []
    if number == signal.SIGTERM:
        return  # it ends as with SIGINT
    with started(COMPARE, lambda children: True) as (command, _):
        out, err = command.communicate(timeout=240)
    assert command.returncode == 0, err
    assert rest(tmp_path) == []
    assert "Page: c/index.html" in out


@pytest.mark.parametrize("number", CODES)
def test_a_verification_that_is_ended_leaves_nothing(started, tmp_path, number):
    def busy(children):
        return len(children) == 3 and sum(child.cpu_times().user for child in children) > 6

    with started("verify", busy) as (command, processes):
        end(command, processes, number)
    assert not (tmp_path / "report").exists()
    assert number == signal.SIGKILL or rest(tmp_path) == []


@pytest.mark.parametrize("number", CODES)
def test_a_sweep_that_is_ended_leaves_nothing(started, tmp_path, number):
    pytest.importorskip("distributed")
    (tmp_path / "long.toml").write_text(SWEEP)

    def busy(children):
        return len(children) == 2 and any(tmp_path.glob("s/batches/*.parquet"))

    words = "sweep run long.toml --out s --workers 2"
    with started(words, busy) as (command, processes):
        end(command, processes, number)
    assert number == signal.SIGKILL or rest(tmp_path) == []
