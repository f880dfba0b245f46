"""A scheduler in this process and worker processes that are replaced when they die."""

from __future__ import annotations

import os
import pickle
import signal
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from logging import CRITICAL
from tempfile import TemporaryDirectory
from typing import Any

from experiments.sweep.worker import HOST, without_http

# Read when a process starts. NPROC is what sizes the thread pool of XLA on a CPU; the flag
# xla_cpu_multi_thread_eigen leaves elementwise loops and reductions on all cores (jaxlib 0.10),
# and flags are part of the key of the compilation cache, which workers share with this process.
ONE_THREAD = {
    "NPROC": "1",
    "OPENBLAS_NUM_THREADS": "1",
    "OMP_NUM_THREADS": "1",
    "MKL_NUM_THREADS": "1",
}
# Workers that a job may outlive.
ALLOWED_FAILURES = 2
# Seconds between looks for workers that died, and for the end of those that were told to.
MENDING, ENDING = 0.5, 5.0
PROGRAM = "experiments.sweep.worker"


@contextmanager
def processes(workers: int) -> Iterator[tuple[str, Any]]:
    """A scheduler with so many workers of one thread; all are gone at the end.

    A worker that dies is replaced, also while it starts (dask's own nannies give up then). Whoever
    may talk to them runs code as this user. So they listen on this machine alone, and only to who
    has the credentials, which are made here and not kept.

    Args:
        workers: how many.

    Returns:
        The address of the scheduler, and the credentials of a client.
    """
    import dask
    from distributed import Scheduler, Security, SpecCluster

    security = Security.temporary()
    settings = {"distributed.scheduler.allowed-failures": ALLOWED_FAILURES}
    with TemporaryDirectory(prefix="ufm-workers-") as folder, dask.config.set(settings):
        with _uninterrupted():
            # A free port: its default one may be taken.
            options = {"host": HOST, "port": 0, "protocol": "tls://", "security": security}
            cluster = SpecCluster(
                scheduler={
                    "cls": without_http(Scheduler),
                    "options": {**options, "dashboard": False},
                },
                security=security,
                silence_logs=CRITICAL,
            )
            keeper = _Keeper((cluster.scheduler_address, folder, security), workers)
            keeper.start()
        try:
            yield cluster.scheduler_address, security
        finally:
            keeper.stop()
            cluster.close(timeout=ENDING)


class _Keeper(threading.Thread):
    """Keeps a number of worker processes alive until it is stopped."""

    def __init__(self, order: tuple[str, str, Any], workers: int) -> None:
        super().__init__(daemon=True)
        self.order = pickle.dumps(order)
        # What can be imported here can be there, however this process was started.
        path = os.pathsep.join(place or os.getcwd() for place in sys.path)
        self.environment = {**os.environ, **ONE_THREAD, "PYTHONPATH": path}
        self.over = threading.Event()
        self.workers = [self._new() for _ in range(workers)]

    def _new(self) -> subprocess.Popen[bytes]:
        quiet = subprocess.DEVNULL
        pipe = subprocess.PIPE  # closed when this process ends, however it does
        worker = subprocess.Popen(
            [sys.executable, "-m", PROGRAM],
            stdin=pipe,
            stdout=quiet,
            stderr=quiet,
            env=self.environment,
        )
        # Less than a pipe holds, so that nobody waits; one that is dead already is replaced.
        if worker.stdin is not None:
            with suppress(OSError):
                os.write(worker.stdin.fileno(), self.order)
        return worker

    def run(self) -> None:
        """Replace the dead."""
        while not self.over.wait(MENDING):
            for place, worker in enumerate(self.workers):
                if worker.poll() is not None:
                    _close(worker)
                    self.workers[place] = self._new()

    def stop(self) -> None:
        """End the workers and wait for them."""
        self.over.set()
        self.join()
        for worker in self.workers:
            _close(worker)
        for worker in self.workers:
            with suppress(subprocess.TimeoutExpired):
                worker.wait(ENDING)
            worker.kill()
            worker.wait()


def _close(worker: subprocess.Popen[bytes]) -> None:
    if worker.stdin is not None:
        with suppress(OSError):
            worker.stdin.close()


@contextmanager
def _uninterrupted() -> Iterator[None]:
    """Ctrl-C reaches this thread after the block, and the threads and processes made in it never.

    A terminal sends it to every process; workers would each print a traceback.
    """
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    before = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)
