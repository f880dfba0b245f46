"""Which worker gets which job: programs are traced by few, and nobody waits."""

from collections import Counter

import pytest

from experiments.sweep import cluster
from experiments.sweep.cluster import WINDOW, Dealer
from experiments.sweep.run import Job

HERE, THERE = "tcp://here", "tcp://there"


def jobs(programs):
    return [Job(number, 1, "verdict", None, (name,)) for number, name in enumerate(programs)]


def dealt(dealer, workers):
    return [dealer.take(worker).number for worker in workers]


def test_a_worker_keeps_to_its_programs_and_takes_over_only_at_the_end():
    dealer = Dealer(jobs("aabbac"))
    # a; b, which nobody has; the other a of this worker, the other b of that one; and so on.
    assert dealt(dealer, [HERE, THERE, HERE, THERE, HERE]) == [0, 2, 1, 3, 4]
    assert dealt(dealer, [THERE]) == [5]
    assert dealer.take(HERE) is None
    late = Dealer(jobs("aaa"))
    assert dealt(late, [HERE, THERE, THERE]) == [0, 1, 2]  # better twice than never


def test_one_worker_gets_every_job_once_and_program_by_program():
    numbers = dealt(Dealer(jobs("abab")), [HERE] * 4)
    assert numbers == [0, 2, 1, 3]


def test_two_workers_trace_each_program_once():
    names = [name for name in "abcdefgh" for _ in range(4)]
    dealer, where = Dealer(jobs(names)), Counter()
    for number in range(len(names)):
        worker = (HERE, THERE)[number % 2]
        where[dealer.take(worker).program, worker] += 1
    assert len(where) == 8


@pytest.mark.parametrize("window", [1, 3])
def test_only_a_window_of_the_jobs_is_pulled(window):
    pulled = []

    def lazily():
        for job in jobs("ab" * WINDOW):
            pulled.append(job.number)
            yield job

    dealer = Dealer(lazily(), window)
    dealer.take(HERE)
    dealer.take(HERE)
    assert len(pulled) == window + 1


@pytest.fixture
def drive(monkeypatch):
    made = cluster._Drive(None, "tcp://nobody:1")
    made.threads = {HERE: 1, THERE: 2}
    monkeypatch.setattr(made, "_threads", lambda: made.threads)
    return made


def test_the_worker_with_most_room_is_next(drive):
    (job,) = jobs("a")
    running = {}
    assert drive._place(running, False) == THERE
    running = {i: (job, THERE) for i in range(3)}
    assert drive._place(running, False) == HERE
    full = {i: (job, (HERE, THERE)[i > 1]) for i in range(6)}  # IN_FLIGHT for each thread
    assert drive._place(full, False) is None
    assert drive._place(running, True) is None  # a suspect runs alone
    drive.threads = {}
    assert drive._place({}, False) == cluster.ANYWHERE  # it waits for whoever comes
    assert drive._place(running, False) is None
