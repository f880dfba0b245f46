"""Ctrl-C and SIGTERM: both end a command in the same way, and neither gets lost."""

from __future__ import annotations

import gc
import signal
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType
from typing import Any

# Seconds until a signal whose KeyboardInterrupt was swallowed raises it again.
AGAIN = 0.2


def answered() -> None:
    """Whoever swallows a KeyboardInterrupt on purpose says so: it is not raised again."""
    if threading.current_thread() is threading.main_thread():
        signal.setitimer(signal.ITIMER_REAL, 0)


@contextmanager
def interruptible() -> Iterator[list[int]]:
    """A block that SIGINT and SIGTERM leave by KeyboardInterrupt; yields the list of what came.

    Python prints what is raised in a destructor or while garbage is collected, and goes on. So
    there it waits, and it is raised again until somebody handles it. A signal that is ignored, or
    is somebody else's to answer, stays so, and all of them outside the main thread.

    Example:
        >>> with interruptible() as came:
        ...     came
        []
    """
    came: list[int] = []

    def interrupt(number: int, frame: FrameType | None) -> None:
        if number != signal.SIGALRM:
            came.append(number)
        signal.setitimer(signal.ITIMER_REAL, AGAIN)
        handled = number == signal.SIGALRM and sys.exc_info()[0] is not None
        if not (handled or _in_vain(frame)):
            raise KeyboardInterrupt

    usual: dict[int, Any] = {
        signal.SIGINT: signal.default_int_handler,
        signal.SIGTERM: signal.SIG_DFL,
        signal.SIGALRM: signal.SIG_DFL,
    }
    ours = [number for number, handler in usual.items() if signal.getsignal(number) is handler]
    if threading.current_thread() is not threading.main_thread() or signal.SIGALRM not in ours:
        yield came
        return
    for number in ours:
        signal.signal(number, interrupt)
    try:
        yield came
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        for number in ours:
            signal.signal(number, usual[number])


def _in_vain(frame: FrameType | None) -> bool:
    """Whether what is raised now goes nowhere."""
    collecting = {getattr(callback, "__code__", None) for callback in gc.callbacks}
    while frame is not None:
        if frame.f_code in collecting or frame.f_code.co_name == "__del__":
            return True
        frame = frame.f_back
    return False
