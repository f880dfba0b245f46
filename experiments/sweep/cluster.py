"""The jobs of a sweep on the processes of this machine, or of a running dask cluster.

Workers compute; the process that started the run alone writes the store. So a job that ran twice,
because its worker was killed, is still written once, and a run that lost its cluster goes on from
the store.
"""

from __future__ import annotations

import re
import time
import uuid
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import replace
from importlib.metadata import version
from logging import CRITICAL
from pathlib import Path
from typing import Any

from experiments.packages import require_package
from experiments.sweep.dealing import Dealer, roomiest
from experiments.sweep.run import Job, compute, failed, whole
from experiments.sweep.tasks.registry import Columns
from experiments.sweep.workers import ALLOWED_FAILURES, processes
from ufm.errors import InputError, require_count
from ufm.version import __version__

ADDRESS = re.compile(r"(tcp|tls)://(\[[^\]]+\]|[^\s:/\[\]]+):(\d{1,5})")
# Seconds to reach a scheduler, and to get a sign of life from it: with the first job it imports the
# lab, which on a busy machine takes long. A connection that is cut is noticed at once.
CONNECT, ANSWER = 10, 60
# Seconds without a result after which it is asked for one, and new workers get jobs; seconds
# between looks for a first worker.
PATIENCE, LOOK = 2.0, 0.1
# Seconds to fetch a result that is there.
FETCH = 10
# Such questions in a row without a single worker after which nobody is waited for. One that was
# killed is back within seconds, but one that is killed again and again may never be met alive.
ABSENCES = 90
# Errors of the transport after which a job is tried again.
RETRIES = 2
CERTIFICATES = "name them in dask's configuration, distributed.comm.tls (docs/sweeps.md)"
REMEDY = "the store keeps what is done: start a scheduler and give the same command to go on"


class ClusterExecutor:
    """Computes jobs on a dask cluster (``experiments.sweep.run.Executor``).

    A job during which workers died more often than the scheduler allows is put off to the end and
    tried alone; if it kills its workers again, its cells are FAILED.

    Args:
        address: of a running scheduler, tcp://HOST:PORT or tls://HOST:PORT; it and its workers are
            trusted as this process is. Certificates for tls:// are those of dask's configuration.
            None starts one on this machine, which nobody else can talk to, and stops it at the end.
        workers: processes to start where ``address`` is None, each with one thread.
        call: what a worker does with a job; a function of a module that it can import.

    Raises:
        InputError: an address of another form, a number of workers below one, or no dask.

    Example:
        >>> ClusterExecutor(None, 0)
        Traceback (most recent call last):
        ufm.errors.InputError: Need an integer workers >= 1. Got 0. Remedy: start one or more.
    """

    def __init__(
        self, address: str | None, workers: int, call: Callable[[Job], Columns] = compute
    ) -> None:
        self.call = call
        self.workers = require_count(workers, "workers", 1, "start one or more")
        found = None if address is None else ADDRESS.fullmatch(str(address))
        if address is not None and (found is None or not 0 < int(found[3]) < 2**16):
            raise InputError(
                "Need the address of a scheduler as tcp://HOST:PORT or tls://HOST:PORT",
                repr(address),
                "copy it from the first lines that `dask scheduler` prints",
            )
        self.address = address
        for package in ("distributed", *(() if address else ("cryptography",))):
            require_package(package, f"A cluster needs the package {package}", "cluster")

    def __call__(self, jobs: Iterable[Job]) -> Iterator[tuple[Job, Columns]]:
        """The jobs with their columns, as they are done.

        Raises:
            InputError: the scheduler is not reached, or no longer; no workers; or workers with
                other versions than this process.
        """
        with ExitStack() as stack:
            stack.enter_context(_quiet())
            if self.address is None:
                address, security = stack.enter_context(processes(self.workers))
            else:
                address, security = self.address, _credentials(self.address)
            drive = stack.enter_context(_Drive.connected(address, security, self.call))
            suspects = []
            for job, columns in drive(jobs):
                if columns is None:
                    suspects.append(job)  # or the one beside it is to blame
                else:
                    yield job, columns
            for job, columns in drive(suspects, alone=True):
                yield job, _lost(job) if columns is None else columns


class _Drive:
    """Sends jobs to one scheduler, a bounded number at a time."""

    def __init__(self, client: Any, address: str, call: Callable[[Job], Columns] = compute) -> None:
        self.client, self.address, self.call = client, address, call
        self.run = uuid.uuid4().hex

    @staticmethod
    @contextmanager
    def connected(
        address: str, security: Any, call: Callable[[Job], Columns] = compute
    ) -> Iterator[_Drive]:
        """A client, closed at the end whatever became of its scheduler."""
        from distributed import Client
        from distributed.comm.core import FatalCommClosedError

        try:
            client = Client(address, timeout=CONNECT, set_as_default=False, security=security)
        except FatalCommClosedError as error:
            raise _strangers(address, error) from error
        except (OSError, TimeoutError, ValueError) as error:
            raise _gone(address, "was not reached") from error
        try:
            yield _Drive(client, address, call)
        finally:
            # Nothing is left to be said to a scheduler that is gone.
            client.close(timeout=2)

    def __call__(
        self, jobs: Iterable[Job], *, alone: bool = False
    ) -> Iterator[tuple[Job, Columns | None]]:
        """The jobs with their columns, None for one that its workers did not survive."""
        dealer = Dealer(jobs)
        running: dict[Any, tuple[Job, str]] = {}
        losses: Counter[int] = Counter()
        while True:
            while dealer.more() and (place := self._place(running, alone)) is not None:
                job = dealer.take(place)
                running[self._submit(job, place)] = job, place
            if not running:
                return
            done = self._finished(running, alone)
            for future in done or self._stranded(running):
                job, place = running.pop(future)
                if future in done:
                    try:
                        yield job, self._columns(future)
                    except TimeoutError:  # it died with its worker before it was fetched
                        running[future] = job, place
                    continue
                self._cancel(future)
                losses[job.number] += 1
                if losses[job.number] > ALLOWED_FAILURES:
                    yield job, None
                else:
                    again = self._place(running, alone) or place
                    running[self._submit(job, again)] = job, again

    def _place(self, running: Mapping[Any, tuple[Job, str]], alone: bool) -> str | None:
        """The worker with most room, None if all are busy; the first one is waited for."""
        if alone and running:
            return None
        threads = self._threads()  # workers may come and go
        deadline = time.monotonic() + ABSENCES * PATIENCE
        while not threads and not running:
            if time.monotonic() > deadline:
                raise _gone(self.address, "has no workers")
            time.sleep(LOOK)
            threads = self._threads()
        return roomiest(threads, [place for _, place in running.values()])

    def _threads(self) -> dict[str, int]:
        """Threads of every worker, by its address; only a live scheduler answers."""
        client = self.client
        try:
            found: dict[str, int] = client.sync(
                client.scheduler.ncores, workers=None, callback_timeout=ANSWER
            )
        except _transport_errors() as error:
            raise _gone(self.address, "does not answer") from error
        return found

    def _stranded(self, running: Mapping[Any, tuple[Job, str]]) -> list[Any]:
        """All jobs in flight, if the workers that got them are gone and others have come.

        The scheduler gives a job of a dead worker to another one. Where there is none it keeps the
        job for the dead one, and would for ever: workers come back at other addresses.
        """
        threads = self._threads()
        gone = threads and not any(place in threads for _, place in running.values())
        return list(running) if gone else []

    def _cancel(self, future: Any) -> None:
        try:
            self.client.cancel([future], force=True)
        except _transport_errors() as error:
            raise _gone(self.address, "was lost") from error

    def _submit(self, job: Job, place: str) -> Any:
        # The name must not be one of another run: the scheduler would give its result.
        try:
            return self.client.submit(
                _computed,
                _portable(job),
                versions(),
                self.call,
                key=f"sweep-{self.run}-{job.number}-{uuid.uuid4().hex}",
                retries=RETRIES,
                # Left to itself the scheduler has every worker trace every program.
                workers=[place],
                allow_other_workers=True,
            )
        except _transport_errors() as error:
            raise _gone(self.address, "was lost") from error

    def _finished(self, running: Mapping[Any, tuple[Job, str]], alone: bool) -> list[Any]:
        """Jobs that are done, in any order; none if there is something else to do first."""
        from distributed import wait

        absences = 0
        while True:
            try:
                with self.client.as_current():
                    done = wait(list(running), PATIENCE, return_when="FIRST_COMPLETED").done
                return list(done)
            except TimeoutError:
                absences = 0 if self._threads() else absences + 1
                if not absences and (self._place(running, alone) or self._stranded(running)):
                    return []
            except _transport_errors() as error:
                raise _gone(self.address, "was lost") from error
            if absences >= ABSENCES:
                raise _gone(self.address, "has no workers")

    def _columns(self, future: Any) -> Columns | None:
        """What a job that is done has found.

        Raises:
            TimeoutError: its result is not there any more.
        """
        from distributed.scheduler import KilledWorker

        try:
            found: Columns | str = future.result(timeout=FETCH)
        except KilledWorker:
            return None
        except TimeoutError:
            raise
        except _transport_errors() as error:
            raise _gone(self.address, "was lost") from error
        except Exception as error:
            got = f"{type(error).__name__}: {error}"
            rule = f"Workers of {self.address} cannot read a job"
            raise InputError(rule, got, f"install ufm-lab {__version__} there") from error
        if isinstance(found, str):
            rule = f"Workers of {self.address} need the versions of this process, {versions()}"
            raise InputError(rule, found, "install the same there")
        return found


def versions() -> str:
    """What a worker and this process must have in common to find the same numbers.

    Example:
        >>> versions().split(", ")[-1]
        'float64'
    """
    import jax

    precision = "float64" if jax.config.read("jax_enable_x64") else "float32"
    return f"ufm-lab {__version__}, jax {jax.__version__}, jaxlib {version('jaxlib')}, {precision}"


def _computed(job: Job, wanted: str, call: Callable[[Job], Columns] = compute) -> Columns | str:
    """Runs in a worker: the columns, or the versions there if they are others."""
    here = versions()
    return call(job) if here == wanted else here


def _portable(job: Job) -> Job:
    """The job as another process can read it: losses by their names, files by whole paths."""
    return replace(job, work=job.work.portable(_absolute))


def _absolute(spec: str) -> str:
    place, _, name = spec.rpartition(":")
    return f"{Path(place).absolute()}:{name}" if place.endswith(".py") else spec


def _lost(job: Job) -> Columns:
    """The columns of a job that no worker survives."""
    reason = "the worker process was killed every time (by the system, out of memory?)"
    return whole(job, failed(job, reason), float("nan"))


def _credentials(address: str) -> Any:
    """What dask's configuration says of encryption, if it fits the address."""
    from distributed import Security

    security = Security()
    try:
        named = security.get_connection_args("client")["ssl_context"] is not None
    except OSError as error:  # a file is missing, or holds no certificate
        raise _strangers(address, error) from error
    if address.startswith("tls://") and not named:
        raise _strangers(address, "no certificates")
    if address.startswith("tcp://") and security.require_encryption:
        raise _strangers(address, "dask's configuration requires encryption")
    return security


def _strangers(address: str, what: object) -> InputError:
    rule = "Need the scheduler's certificates, or another address"
    return InputError(rule, f"{address}: {what}", CERTIFICATES)


def _gone(address: str, what: str) -> InputError:
    return InputError(f"The scheduler {what}", address, REMEDY)


def _transport_errors() -> tuple[type[BaseException], ...]:
    """What dask raises where a connection is missing, or was cut."""
    from asyncio import CancelledError
    from concurrent import futures

    from distributed.client import FutureCancelledError, FuturesCancelledError
    from distributed.comm.core import CommClosedError

    cancelled = (CancelledError, futures.CancelledError, FutureCancelledError)
    # RuntimeError: a client that has closed itself.
    return (*cancelled, FuturesCancelledError, CommClosedError, OSError, RuntimeError)


@contextmanager
def _quiet() -> Iterator[None]:
    """What happens to the cluster is said once, by us."""
    from distributed.utils import silence_logging_cmgr

    with ExitStack() as stack:
        for name in ("distributed", "tornado", "asyncio"):
            stack.enter_context(silence_logging_cmgr(CRITICAL, name))
        yield
