"""A dask cluster as a person starts one, and jobs for it."""

import json
import os
import subprocess
import sys
import time
from contextlib import contextmanager, suppress
from pathlib import Path

from experiments.pool import ONE_THREAD
from experiments.sweep.cells import expand
from experiments.sweep.run import Job
from experiments.sweep.spec import make_spec
from experiments.sweep.tasks import TASKS
from experiments.sweep.work import Work

ROOT = Path(__file__).resolve().parents[1]


def start(*arguments, **environment):
    """A process of dask that knows this checkout."""
    return subprocess.Popen(
        [sys.executable, "-m", *map(str, arguments)],
        env={**os.environ, **ONE_THREAD, "PYTHONPATH": str(ROOT), **environment},
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )


def address_in(file, process):
    """What a scheduler wrote, once it is whole."""
    while True:
        assert process.poll() is None
        with suppress(FileNotFoundError, ValueError):
            return json.loads(file.read_text())["address"]
        time.sleep(0.05)


@contextmanager
def running(folder, *options, **environment):
    """A scheduler and one worker without a nanny: (address, scheduler process)."""
    file = folder / "scheduler.json"
    quiet = ("--no-dashboard", "--scheduler-file", file)
    boss = start(
        "distributed.cli.dask_scheduler", "--host=127.0.0.1", "--port=0",
        "--dashboard-address=:0", *options, *quiet, **environment,
    )  # fmt: skip
    hand = start(
        "distributed.cli.dask_worker", "--no-nanny", "--nthreads=1", "--memory-limit=0",
        "--local-directory", folder, "--death-timeout=60", *quiet, **environment,
    )  # fmt: skip
    try:
        yield address_in(file, boss), boss
    finally:
        for process in (hand, boss):
            process.kill()
            process.wait()


def job_of(loss, number):
    spec = make_spec({"task": "minimise", "axes": {"K": 3, "c": [0.2, 0.5], "loss": loss}})
    cells = expand(spec)
    return Job(number, 2, "minimise", Work(cells, 3, TASKS["minimise"].options, 1, False))
