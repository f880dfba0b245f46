"""The pictures drawn in a process of their own, while claims are checked."""

from __future__ import annotations

import multiprocessing
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor
from contextlib import contextmanager

from experiments.report.figures import Picture, pictures
from proofs_check.lanes import stop


@contextmanager
def drawn_beside() -> Iterator[Callable[[], Sequence[Picture]]]:
    """Start drawing, and yield a function that waits for the pictures.

    The process is stopped on leaving, so that Ctrl-C waits for nothing.

    Example:
        >>> with drawn_beside() as drawn:
        ...     callable(drawn)
        True
    """
    pool = ProcessPoolExecutor(1, mp_context=multiprocessing.get_context("spawn"))
    try:
        yield pool.submit(pictures).result
    finally:
        stop(pool)
