"""Waiting for long work: a spinner or a line now and then, and a Ctrl-C that is heard."""

from __future__ import annotations

import sys
import threading
import time
from collections.abc import Callable
from typing import Any, TypeVar

from experiments.cli.output import console
from experiments.cli.signals import answered

# Seconds between lines about long work that nobody watches on a terminal.
SILENCE = 5.0
# Set when compiled code is still running in a thread that nobody waits for any more.
ABANDONED = threading.Event()
T = TypeVar("T")


def patiently(message: str, work: Callable[[], T]) -> T:
    """The result of ``work``, with a spinner on a terminal; see ``stepwise``."""
    return stepwise(message, lambda say: work())


def stepwise(
    message: str, work: Callable[[Callable[[str], None]], T], stop: threading.Event | None = None
) -> T:
    """The result of work(say), where say(text) tells how far it is.

    A spinner with the last text on a terminal; elsewhere a line now and then, on stderr. The work
    runs in a thread of its own, because compiled code does not listen to Ctrl-C. Work that looks at
    ``stop`` ends by itself after the first one, with the best that it has.
    """
    found: dict[str, Any] = {}
    done = threading.Event()
    stderr = console(sys.stderr)
    status = stderr.status(message)
    spoken = time.monotonic()

    def say(text: str) -> None:
        nonlocal spoken
        if ABANDONED.is_set():
            return  # the last word is that it was interrupted
        if stderr.is_terminal:
            status.update(f"{message}: {text}".replace("[", r"\["))
        elif time.monotonic() - spoken > SILENCE:
            # In one piece: the main thread may have something to say, too.
            print(f"{message}: {text}\n", end="", file=sys.stderr, flush=True)
            spoken = time.monotonic()

    def run() -> None:
        try:
            found["value"] = work(say)
        except BaseException as error:
            found["error"] = error
        finally:
            done.set()

    with status:
        threading.Thread(target=run, daemon=True).start()
        try:
            _await(done, stop)
        except KeyboardInterrupt:
            ABANDONED.set()
            raise
    if "error" in found:
        raise found["error"]
    result: T = found["value"]
    return result


def _await(done: threading.Event, stop: threading.Event | None) -> None:
    """Wait for work; a first Ctrl-C only asks it to stop, where it can."""
    try:
        # Not join(): interrupted, it takes the thread for finished (Python 3.11).
        while not done.wait(0.2):
            pass
    except KeyboardInterrupt:
        if stop is None or stop.is_set():
            raise
        answered()
        stop.set()
        told = "ufm: stopping after this iteration; Ctrl-C again leaves at once\n"
        print(told, end="", file=sys.stderr, flush=True)
        _await(done, stop)
