"""Kills a sweep at random instants, resumes it, and compares the table with an uninterrupted one.

    python -m tests.kill_sweep threshold --kills 20
    python -m tests.kill_sweep threshold --kills 20 --workers 2

The first kills the command and starts it again; the second kills worker processes under one
command. The tests do the same with a small sweep.
"""

import argparse
import os
import random
import signal
import subprocess
import sys
import time
from contextlib import suppress
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np

from experiments.pool import PROGRAM as WORKER
from experiments.sweep.store import Store

ROOT = Path(__file__).resolve().parents[1]
# Small batches, so that a signal finds some written and some not.
PROGRAM = """
import signal, sys
# A shell that starts this in the background has it ignore SIGINT.
signal.signal(signal.SIGINT, signal.default_int_handler)
if __name__ == "__main__":
    import experiments.sweep.run
    experiments.sweep.run.BATCH = {batch}
    from experiments.cli import main
    sys.exit(main(sys.argv[1:]))
"""
PATIENCE = 600


def start(folder: Path, spec: Path | str, *options: object, batch: int = 4) -> subprocess.Popen:
    """The command as a process of its own."""
    program = folder.with_suffix(".py")  # a file: worker processes import it again
    program.write_text(PROGRAM.format(batch=batch))
    return subprocess.Popen(
        [sys.executable, *map(str, (program, "sweep", "run", spec, "--out", folder, *options))],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env={**os.environ, "PYTHONPATH": str(ROOT)},
    )


def finished(process: subprocess.Popen) -> str:
    """What a command that ends well has said."""
    with process:
        out, err = process.communicate(timeout=PATIENCE)
    assert process.returncode == 0, err
    return out


def table(folder: Path) -> dict[str, np.ndarray]:
    """The whole table but for the time it took."""
    found = Store.open(folder).table()
    return {name: values for name, values in found.items() if name != "seconds"}


def same(one: dict[str, np.ndarray], other: dict[str, np.ndarray]) -> bool:
    """Whether two tables agree row for row and bit by bit."""
    return list(one) == list(other) and all(
        np.array_equal(values, other[name], equal_nan=values.dtype.kind == "f")
        for name, values in one.items()
    )


def written(folder: Path) -> int:
    """Batches in the store so far."""
    return len(list((folder / "batches").glob("*.parquet"))) if folder.exists() else 0


def instant(process: subprocess.Popen, folder: Path, chance: random.Random) -> None:
    """Wait for a random instant: half of them at any time, half when this run begins to write."""
    before = written(folder)
    if chance.random() < 0.5:
        with suppress(subprocess.TimeoutExpired):
            process.wait(chance.uniform(0, 4))
        return
    deadline = time.monotonic() + 60
    while process.poll() is None and time.monotonic() < deadline and written(folder) <= before:
        time.sleep(0.005)
    time.sleep(chance.uniform(0, 0.05))


def kill_and_resume(folder: Path, spec: Path | str, kills: int, seed: int, batch: int = 4) -> int:
    """SIGKILL the command so many times, then let it end; how many hit it while it ran."""
    chance, struck = random.Random(seed), 0
    for _ in range(kills):
        with start(folder, spec, batch=batch) as running:
            instant(running, folder, chance)
            running.kill()
            running.communicate()
        struck += running.returncode == -signal.SIGKILL
    finished(start(folder, spec, batch=batch))
    return struck


def kill_workers(
    folder: Path, spec: Path | str, kills: int, workers: int, seed: int, batch: int = 4
) -> int:
    """SIGKILL a random worker process of one command so many times; how many were hit."""
    import psutil

    chance, struck = random.Random(seed), 0
    with start(folder, spec, "--workers", workers, batch=batch) as running:
        command = psutil.Process(running.pid)
        while struck < kills and running.poll() is None:
            instant(running, folder, chance)
            # The command, or a worker, may end between the question and the signal.
            with suppress(psutil.NoSuchProcess):
                children = command.children()
                found = [child for child in children if WORKER in child.cmdline()]
                if found:
                    chance.choice(found).kill()
                    struck += 1
        finished(running)
    return struck


def main() -> int:
    """One comparison, told in three lines; 1 if the tables differ."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("spec", nargs="?", default="threshold", help="ready-made, or a TOML file")
    parser.add_argument("--kills", type=int, default=20)
    parser.add_argument("--workers", type=int, help="kill worker processes instead of the command")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--batch", type=int, default=16, help="cells in a batch")
    given = parser.parse_args()
    with TemporaryDirectory() as place:
        whole, killed = Path(place, "whole"), Path(place, "killed")
        finished(start(whole, given.spec, batch=given.batch))
        rest = (given.seed, given.batch)
        if given.workers:
            struck = kill_workers(killed, given.spec, given.kills, given.workers, *rest)
        else:
            struck = kill_and_resume(killed, given.spec, given.kills, *rest)
        one, other = table(whole), table(killed)
        scan, equal = Store.open(killed).scan(), same(one, other)
    print(f"{struck} of {given.kills} kills hit; {written_of(scan)}")
    print(f"{len(one['cell'])} rows uninterrupted, {len(other['cell'])} after the kills")
    print("the tables are the same, bit by bit" if equal else "THE TABLES DIFFER")
    return 0 if equal else 1


def written_of(scan) -> str:
    """A scan in words."""
    return (
        f"{len(scan.present)} batches, {len(scan.damaged)} damaged, "
        f"{len(scan.duplicates)} twice, {len(scan.foreign)} foreign"
    )


if __name__ == "__main__":
    sys.exit(main())
