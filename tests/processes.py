"""What processes of tests do. Imports little, as every new process imports it again."""

import ctypes
import os
import signal
import time
from contextlib import suppress
from pathlib import Path


def wait_until(true, seconds=20):
    """Until something is true, at most so long."""
    deadline = time.monotonic() + seconds
    while not true():
        assert time.monotonic() < deadline
        time.sleep(0.02)


def is_alive(pid):
    """Whether there is such a process, and it is no zombie with its last thread gone.

    Its first thread may be gone sooner, and whoever waits for the process then waits on.
    """
    with suppress(ProcessLookupError, FileNotFoundError):
        os.kill(pid, 0)
        status = Path(f"/proc/{pid}/stat")
        if not status.exists():
            return True
        ended = status.read_text().rpartition(")")[2].split()[0] == "Z"
        return not ended or len(list(Path(f"/proc/{pid}/task").iterdir())) > 1
    return False


class Unreadable(Exception):
    """Can be pickled, and not read again."""

    def __init__(self, one, two):
        super().__init__(one)


def fail(error, *arguments):
    """Raise what it is given."""
    raise error(*arguments)


def told(name):
    """A variable of the environment, and the signals that never come."""
    return os.environ.get(name), signal.pthread_sigmask(signal.SIG_BLOCK, [])


def leave_a_child():
    """Leave at once, but for a child that has all that this process had open."""
    if os.fork() == 0:
        time.sleep(6)
        os._exit(0)
    os._exit(4)


def hold_the_lock():
    """Sleep as compiled code can: no other thread of the process runs meanwhile."""
    ctypes.PyDLL(None).sleep(60)
