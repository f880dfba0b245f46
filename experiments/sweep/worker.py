"""One worker process: ``python -m experiments.sweep.worker``, its order on the standard input.

The order is where its scheduler is, a folder for it, and the credentials, which so stand in no
command line and in no file. The process ends when its scheduler does, or when nobody holds the
other end of its standard input any more: so it does not outlive the process that started it,
however that one ends.
"""

from __future__ import annotations

import asyncio
import os
import pickle
import sys
import threading
from typing import Any

# Nobody else's machine is asked, nor listened to.
HOST = "127.0.0.1"


def leave_with_the_parent() -> None:
    """End this process, at once, when its standard input does."""
    sys.stdin.buffer.read()
    os._exit(0)


def without_http(server: Any) -> Any:
    """The class of a dask server that opens no HTTP port.

    One is open else, dashboard or not, and asks nobody for credentials.
    """
    return type(server.__name__, (server,), {"start_http_server": lambda self, *_, **__: None})


async def work(address: str, folder: str, security: Any) -> None:
    """Serve one scheduler with one thread until it is gone."""
    from distributed import Worker

    async with without_http(Worker)(
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


if __name__ == "__main__":
    order = pickle.load(sys.stdin.buffer)
    threading.Thread(target=leave_with_the_parent, daemon=True).start()
    asyncio.run(work(*order))
