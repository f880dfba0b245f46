"""Whole commands, each in a process of its own: seconds from start to end, and peak memory."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from statistics import median
from typing import Any

from experiments.benchmarks.record import Record, measured, within
from experiments.benchmarks.timing import Settings, Timing
from ufm.errors import InputError

IMPORT = "import jax alone"
# A command is repeated for its median as long as its runs take less together.
BUDGET, MOST_RUNS = 20.0, 5
GAP = 1e-9
# A process begins with the peak memory of the one that started it, so a small one stands between.
WATCH = """
import json, resource, subprocess, sys, time
began = time.perf_counter()
quiet = subprocess.DEVNULL
code = subprocess.call(sys.argv[1:], stdout=quiet, stderr=quiet)
seconds = time.perf_counter() - began
usage = resource.getrusage(resource.RUSAGE_CHILDREN)
print(json.dumps([code, seconds, usage.ru_utime + usage.ru_stime, usage.ru_maxrss]))
"""


@dataclass(frozen=True)
class Process:
    """One run of a command.

    Attributes:
        seconds: wall clock, from start to end.
        cpu: seconds of all its threads.
        memory: peak resident memory in bytes.
        record: what the command told, as ``--json`` has it; None for a plain program.
    """

    seconds: float
    cpu: float
    memory: int
    record: dict[str, Any] | None


def ran(words: Sequence[str], *, told: bool = True) -> Process:
    """Run Python with these words, in a temporary folder.

    Raises:
        InputError: the command failed otherwise than by an answer (codes 0 and 3).

    Example:
        >>> ran(["-c", "pass"], told=False).memory > 2**20
        True
    """
    root = str(Path(__file__).resolve().parents[2])
    with tempfile.TemporaryDirectory() as folder:
        out = Path(folder) / "out.json"
        more = ["--out", str(out)] if told else []
        command = [sys.executable, *words, *more]
        watched = subprocess.run(
            [sys.executable, "-S", "-c", WATCH, *command],
            cwd=folder,
            env={**os.environ, "PYTHONPATH": root},
            capture_output=True,
            text=True,
            check=True,
        )
        code, seconds, cpu, memory = json.loads(watched.stdout)
        if code not in (0, 3):
            rule = f"Need `ufm {' '.join(words[2:])}` to work"
            raise InputError(rule, f"exit code {code}", "run it by itself")
        record = json.loads(out.read_text()) if told else None
    return Process(seconds, cpu, memory * (1 if sys.platform == "darwin" else 1024), record)


def repeated(words: Sequence[str], settings: Settings, *, told: bool = True) -> Timing:
    """The first run, which may compile, and the median of the others, with the last of them."""
    first = ran(words, told=told)
    runs: list[Process] = []
    most = 1 if settings.quick else MOST_RUNS
    while len(runs) < most and sum(x.seconds for x in runs) < BUDGET:
        runs.append(ran(words, told=told))
    return Timing(median(x.seconds for x in runs), first.seconds, len(runs), runs[-1])


def descent(row: str, words: str, limit: float, memory: float, settings: Settings) -> list[Record]:
    """``ufm solve`` from a random start to a proved verdict, in seconds and GiB at most.

    Args:
        row: name of the row.
        words: its flags.
        limit: seconds to stay below.
        memory: GiB to stay below.
        settings: quick means one run.
    """
    timed = repeated(["-m", "experiments", "solve", *words.split()], settings)
    run: Process = timed.result
    told: Mapping[str, Any] = run.record or {}
    proved = (told["curvature"], told["globality"]) == ("MORSE_BOTT_MINIMUM", "GLOBAL")
    proved = proved and told["gap"] <= GAP
    note = (
        f"|g| = {told['gradient_norm']:.0e} in {told['iterations']} iterations, gap "
        f"{max(told['gap'], 0.0):.0e}, {run.cpu:.1f} s of processors"
    )
    solved = proved and run.memory < memory * 2**30
    record = measured(row, f"ufm solve {words}", "ufm-lab", timed, solved=solved, note=note)
    record = replace(record, memory=run.memory)
    return [within(record, limit, timed.seconds if solved else float("inf"))]


def start(row: str, words: str, allowed: float, settings: Settings) -> list[Record]:
    """A small command again, against importing JAX: at most so many seconds more.

    Args:
        row: name of the row.
        words: the command and its flags.
        allowed: seconds more than the import.
        settings: quick means one run.
    """
    own = repeated(["-m", "experiments", *words.split()], settings)
    alone = repeated(["-c", "import jax"], settings, told=False)
    work = f"ufm {words}, the whole process"
    cpu = own.result.cpu - alone.result.cpu
    note = f"{own.seconds - alone.seconds:.2f} s more than JAX alone, {cpu:.2f} s of processors"
    record = replace(measured(row, work, "ufm-lab", own, note=note), memory=own.result.memory)
    other = measured(row, work, IMPORT, alone, own.seconds)
    other = replace(other, memory=alone.result.memory)
    return [within(record, alone.seconds + allowed, own.seconds), other]
