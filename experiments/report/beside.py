"""The pictures drawn in a process of their own, while claims are checked."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager

from experiments.report.figures import Picture, pictures
from proofs_check.lanes import start, stop


@contextmanager
def drawn_beside() -> Iterator[Callable[[], Sequence[Picture]]]:
    """Start drawing, and yield a function that waits for the pictures.

    The process is stopped on leaving, so that Ctrl-C waits for nothing.

    Example:
        >>> with drawn_beside() as drawn:
        ...     callable(drawn)
        True
    """
    pool = start()
    try:
        yield pool.submit(pictures).result
    finally:
        stop(pool)
