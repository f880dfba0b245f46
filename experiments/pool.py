"""Processes that compute for this one, and end with it, whatever ends it.

A process gets its calls through a socket, and leaves at once when nobody holds the other end any
more: so also when this process was killed. On Linux the kernel ends it then, too, should it be deep
in compiled code. Ctrl-C and SIGTERM are for this process to answer; the others never get them.
"""

from __future__ import annotations

import ctypes
import fcntl
import os
import pickle
import shutil
import signal
import subprocess
import sys
import tempfile
import threading
import traceback
import weakref
from collections.abc import Callable, Mapping
from concurrent.futures import CancelledError, Executor, Future, ThreadPoolExecutor
from contextlib import suppress
from functools import partial
from multiprocessing import Pipe
from multiprocessing.connection import Connection
from pathlib import Path
from queue import SimpleQueue
from typing import Any, TypeVar

from experiments.programs import PLACE, keep_programs

PROGRAM = "experiments.pool"
FOLDERS = "ufm-pool-"
# Seconds between looks at whether a process that says nothing is alive.
LOOK = 1.0
# Of Linux' <sys/prctl.h>.
PR_SET_PDEATHSIG = 1
# For processes that fill the cores by themselves; read when a process starts. NPROC is what sizes
# the thread pool of XLA on a CPU; the flag xla_cpu_multi_thread_eigen leaves elementwise loops and
# reductions on all cores (jaxlib 0.10), and flags are part of the key of the compilation cache,
# which workers share with this process.
ONE_THREAD = {
    "NPROC": "1",
    "OPENBLAS_NUM_THREADS": "1",
    "OMP_NUM_THREADS": "1",
    "MKL_NUM_THREADS": "1",
}
T = TypeVar("T")
_pools: weakref.WeakSet[Pool] = weakref.WeakSet()


class WorkerEnded(RuntimeError):
    """A call that ended its process, or was in it when it was killed."""


class Pool(Executor):
    """So many processes, each of which computes one call at a time.

    One that dies takes its call with it, whose future then raises ``WorkerEnded``, and has a
    successor at the next call. Leaving the block ends all of them at once, whatever they do.

    Args:
        workers: how many; each is started when it is first needed.
        environment: variables that are others there.
        quiet: what they print is not shown.

    Attributes:
        folder: for their temporary files; removed at the end, or by the next pool of this user if
            this process is killed before.

    Example:
        >>> with Pool(2) as pool:
        ...     [future.result() for future in [pool.submit(max, 1, n) for n in (0, 2)]]
        [1, 2]
    """

    def __init__(
        self, workers: int, environment: Mapping[str, str] | None = None, *, quiet: bool = False
    ) -> None:
        self._environment, self._quiet = dict(environment or {}), quiet
        self._changing, self._closed = threading.Lock(), False
        self._processes: set[subprocess.Popen[bytes]] = set()
        # A thread for every process, which waits for its answers.
        self._mine = threading.local()
        self._threads = ThreadPoolExecutor(workers, "pool", initializer=_without_signals)
        self.folder, self._held = _own_folder()
        _pools.add(self)

    def submit(self, fn: Callable[..., T], /, *args: Any, **kwargs: Any) -> Future[T]:
        return self._threads.submit(self._compute, partial(fn, *args, **kwargs))

    def shutdown(self, wait: bool = True, *, cancel_futures: bool = True) -> None:
        """End the processes at once; calls that are not done are cancelled."""
        with self._changing:
            closed, self._closed = self._closed, True
            running = list(self._processes)
        if closed:
            return
        for process in running:
            process.kill()
        for process in running:
            process.wait()
        self._threads.shutdown(wait=wait, cancel_futures=True)
        shutil.rmtree(self.folder, ignore_errors=True)
        os.close(self._held)

    def _compute(self, call: Callable[[], T]) -> T:
        mine = getattr(self._mine, "process", None)
        if mine is None or mine[0].poll() is not None:  # it died between two calls
            mine = self._mine.process = self._started()
        process, channel = mine
        try:
            channel.send(call)
            while not channel.poll(LOOK):
                # A child of it may hold the channel open.
                if process.poll() is not None and not channel.poll():
                    raise EOFError
            result, failure, where = channel.recv()
        except (EOFError, ConnectionError) as error:
            self._mine.process = None
            channel.close()
            process.kill()
            process.wait()
            with self._changing:
                self._processes.discard(process)
                if self._closed:
                    raise CancelledError from error
            raise WorkerEnded(f"a worker process {_how_it_ended(process)}") from error
        if failure is not None:
            failure.add_note(where)
            raise failure
        answer: T = result
        return answer

    def _started(self) -> tuple[subprocess.Popen[bytes], Connection]:
        channel, theirs = Pipe()
        # What can be imported here can be there, however this process was started; -P: and what
        # lies in the current folder only if it can be here.
        path = os.pathsep.join(place or os.getcwd() for place in sys.path)
        environment = {**os.environ, **self._environment}
        environment |= {"PYTHONPATH": path, "TMPDIR": str(self.folder)}
        number = theirs.fileno()
        output = subprocess.DEVNULL if self._quiet else None
        with theirs, self._changing:
            if self._closed:
                raise CancelledError
            process = subprocess.Popen(
                [sys.executable, "-P", "-m", PROGRAM, str(number), str(os.getpid())],
                env=environment,
                pass_fds=[number],
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=output,
            )
            self._processes.add(process)
        return process, channel


def end_all() -> None:
    """End the processes of every pool: for a process that leaves without cleaning up."""
    for pool in list(_pools):
        pool.shutdown(wait=False)


def _how_it_ended(process: subprocess.Popen[bytes]) -> str:
    code = process.returncode
    if code >= 0:
        return f"ended itself with exit code {code}"
    guess = ", out of memory?" if code == -signal.SIGKILL else ""
    return f"was ended by {signal.Signals(-code).name}{guess}"


def _own_folder() -> tuple[Path, int]:
    """A new folder, locked as long as this process lives; those that nobody holds are removed."""
    for place in Path(tempfile.gettempdir()).glob(f"{FOLDERS}*"):
        with suppress(OSError):
            held = os.open(place, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW)
            try:
                fcntl.flock(held, fcntl.LOCK_EX | fcntl.LOCK_NB)
                if os.fstat(held).st_uid == os.getuid():
                    shutil.rmtree(place)
            finally:
                os.close(held)
    while True:
        place = Path(tempfile.mkdtemp(prefix=FOLDERS))
        held = os.open(place, os.O_RDONLY)
        with suppress(OSError):  # a file system without locks: then nobody removes anything
            fcntl.flock(held, fcntl.LOCK_EX)
        if place.exists():  # still: another may have held it before us
            return place, held
        os.close(held)


def _without_signals() -> None:
    """In a thread and in the processes that it starts: a terminal sends Ctrl-C to all of them."""
    signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT, signal.SIGTERM})


# ---- in a process


def _serve(channel: Connection, parent: int) -> None:
    """Answer calls until the other end is closed."""
    with suppress(OSError, AttributeError):  # not Linux
        ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, signal.SIGKILL, 0, 0, 0)
    if os.getppid() != parent:  # which ended before that
        os._exit(1)
    if PLACE in os.environ:  # as the process that started this one
        keep_programs(Path(os.environ[PLACE]))
    calls: SimpleQueue[bytes] = SimpleQueue()
    threading.Thread(target=_listen, args=(channel, calls), daemon=True).start()
    while True:
        channel.send_bytes(_answer(calls.get()))


def _listen(channel: Connection, calls: SimpleQueue[bytes]) -> None:
    with suppress(EOFError, OSError):
        while True:
            calls.put(channel.recv_bytes())
    os._exit(1)


def _answer(call: bytes) -> bytes:
    """(what the call returns, no error, ""), or (nothing, the error, where it was raised)."""
    try:
        return pickle.dumps((pickle.loads(call)(), None, ""))
    except BaseException as error:
        where = "".join(traceback.format_exception(error))
        return pickle.dumps((None, _portable(error), f"In a worker process:\n{where}"))


def _portable(error: BaseException) -> Exception:
    """The error, or in its place one that another process can read and is not ended by."""
    text = f"{type(error).__name__}: {error}"
    if not isinstance(error, Exception):
        return WorkerEnded(f"a call was left by {text}")
    try:
        pickle.loads(pickle.dumps(error))
    except Exception:
        return RuntimeError(text)
    return error


if __name__ == "__main__":
    # By its name, so that errors are of the same class here and there.
    from experiments import pool

    pool._serve(Connection(int(sys.argv[1])), int(sys.argv[2]))
