"""Ctrl-C and SIGTERM end a command wherever they meet it."""

import gc
import os
import signal
import threading
import time
from contextlib import suppress

import pytest

from experiments.cli import waiting
from experiments.cli.signals import AGAIN, interruptible
from experiments.cli.waiting import stepwise

BOTH = [signal.SIGINT, signal.SIGTERM]


@pytest.fixture(autouse=True)
def usual():
    """What a process has whose starter did not meddle; restored after the test."""
    before = {number: signal.getsignal(number) for number in (*BOTH, signal.SIGALRM)}
    signal.signal(signal.SIGINT, signal.default_int_handler)
    signal.signal(signal.SIGTERM, signal.SIG_DFL)
    yield
    for number, handler in before.items():
        signal.signal(number, handler)


def linger(seconds):
    """Long enough for whatever is due; not one call, which a handler cannot leave."""
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline:
        time.sleep(0.01)


@pytest.mark.parametrize("number", BOTH)
def test_both_leave_the_block_and_are_told_apart(number):
    with pytest.raises(KeyboardInterrupt), interruptible() as came:
        signal.raise_signal(number)
    assert came == [number]
    assert signal.getsignal(signal.SIGINT) is signal.default_int_handler
    assert signal.getsignal(signal.SIGTERM) is signal.SIG_DFL
    assert signal.getitimer(signal.ITIMER_REAL)[0] == 0


class Stubborn:
    """Gets a signal in its destructor."""

    def __del__(self):
        signal.raise_signal(signal.SIGTERM)


def in_a_destructor():
    Stubborn()


def in_a_collection():
    def callback(phase, info):
        if phase == "start":
            signal.raise_signal(signal.SIGTERM)

    gc.callbacks.append(callback)
    try:
        gc.collect()
    finally:
        gc.callbacks.remove(callback)


def where_it_is_swallowed():
    with suppress(KeyboardInterrupt):
        signal.raise_signal(signal.SIGTERM)


# Where else the collector happens to run, a callback may swallow it first, and Python warns.
@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")
@pytest.mark.parametrize("place", [in_a_destructor, in_a_collection, where_it_is_swallowed])
def test_what_is_swallowed_is_raised_again(place, capsys):
    with pytest.raises(KeyboardInterrupt), interruptible() as came:
        linger(place() or 3)
    assert came == [signal.SIGTERM]
    assert capsys.readouterr().err == ""


def test_whoever_handles_it_is_left_alone():
    cleaned_up = []

    def work():
        try:
            signal.raise_signal(signal.SIGINT)
        finally:
            linger(4 * AGAIN)
            cleaned_up.append(True)

    with pytest.raises(KeyboardInterrupt), interruptible():
        work()
    assert cleaned_up


def test_what_is_ignored_stays_so():
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # as nohup does, or a shell in the background
    with interruptible() as came:
        signal.raise_signal(signal.SIGINT)
        linger(2 * AGAIN)
    assert came == []
    assert signal.getsignal(signal.SIGINT) is signal.SIG_IGN


def test_another_thread_changes_nothing():
    seen = []

    def run():
        with interruptible():
            seen.append(signal.getsignal(signal.SIGTERM))

    thread = threading.Thread(target=run)
    thread.start()
    thread.join()
    assert seen == [signal.SIG_DFL]


@pytest.mark.parametrize("number", BOTH)
def test_work_that_can_stop_is_asked_first(number):
    stop = threading.Event()

    def work(say):
        linger(AGAIN)  # until somebody waits
        os.kill(os.getpid(), number)
        assert stop.wait(10)
        linger(3 * AGAIN)  # what was answered is not raised again
        return "the best so far"

    with interruptible() as came:
        assert stepwise("working", work, stop) == "the best so far"
    assert came == [number]


def test_a_second_signal_does_not_wait_for_it(monkeypatch):
    monkeypatch.setattr(waiting, "ABANDONED", threading.Event())
    stop, over = threading.Event(), threading.Event()

    def work(say):
        linger(AGAIN)
        os.kill(os.getpid(), signal.SIGINT)
        assert stop.wait(10)
        os.kill(os.getpid(), signal.SIGINT)
        over.wait(10)

    with pytest.raises(KeyboardInterrupt), interruptible():
        stepwise("working", work, stop)
    assert waiting.ABANDONED.is_set()
    over.set()
