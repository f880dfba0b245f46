"""A scheduler in this process and worker processes that are replaced when they die."""

from __future__ import annotations

import asyncio
import os
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from logging import CRITICAL
from typing import Any

from experiments.pool import ONE_THREAD, Pool

# Workers that a job may outlive.
ALLOWED_FAILURES = 2
# Seconds before a successor starts, and for the scheduler to end.
MENDING, ENDING = 0.5, 5.0
# Nobody else's machine is asked, nor listened to.
HOST = "127.0.0.1"


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
    with dask.config.set({"distributed.scheduler.allowed-failures": ALLOWED_FAILURES}):
        cluster = SpecCluster(
            scheduler={
                "cls": _without_http(Scheduler),
                # A free port: its default one may be taken.
                "options": {
                    "host": HOST,
                    "port": 0,
                    "protocol": "tls://",
                    "security": security,
                    "dashboard": False,
                },
            },
            security=security,
            silence_logs=CRITICAL,
        )
        try:
            with Pool(workers, ONE_THREAD, quiet=True) as pool:

                def start(ended: object = None) -> None:
                    if ended is not None:
                        time.sleep(MENDING)  # one that dies at once is not all that is done
                    with suppress(RuntimeError):  # the pool is closed
                        call = (cluster.scheduler_address, str(pool.folder), security)
                        pool.submit(serve, *call).add_done_callback(start)

                for _ in range(workers):
                    start()
                yield cluster.scheduler_address, security
        finally:
            cluster.close(timeout=ENDING)


def serve(address: str, folder: str, security: Any) -> None:
    """Be a worker of one thread until the scheduler is gone; what is left then goes with us."""
    asyncio.run(_serve(address, folder, security))
    os._exit(0)


async def _serve(address: str, folder: str, security: Any) -> None:
    from distributed import Worker

    async with _without_http(Worker)(
        address,
        host=HOST,
        security=security,
        nthreads=1,
        # The system knows better than a threshold when memory runs out.
        memory_limit=0,
        dashboard=False,
        death_timeout=30,
        local_directory=folder,
    ) as worker:
        await worker.finished()


def _without_http(server: Any) -> Any:
    """The class of a dask server that opens no HTTP port.

    One is open else, dashboard or not, and asks nobody for credentials.
    """
    return type(server.__name__, (server,), {"start_http_server": lambda self, *_, **__: None})
