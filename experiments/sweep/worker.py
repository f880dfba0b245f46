"""One worker process: ``python -m experiments.sweep.worker ADDRESS FOLDER``.

It ends when its scheduler does, or when nobody holds the other end of its standard input any more:
so it does not outlive the process that started it, however that one ends.
"""

from __future__ import annotations

import asyncio
import os
import sys
import threading


def leave_with_the_parent() -> None:
    """End this process, at once, when its standard input does."""
    sys.stdin.buffer.read()
    os._exit(0)


async def work(address: str, folder: str) -> None:
    """Serve one scheduler with one thread until it is gone."""
    from distributed import Worker

    async with Worker(
        address,
        nthreads=1,
        # The system knows better than a threshold when memory runs out.
        memory_limit=0,
        dashboard=False,
        death_timeout=30,
        local_directory=folder,
    ) as worker:
        await worker.finished()


if __name__ == "__main__":
    threading.Thread(target=leave_with_the_parent, daemon=True).start()
    asyncio.run(work(*sys.argv[1:3]))
