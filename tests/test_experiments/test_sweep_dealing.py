"""Which worker gets which job: programs are traced by few, and nobody waits."""

from collections import Counter

import pytest

from experiments.sweep import cluster
from experiments.sweep.dealing import FAR, WINDOW, Dealer
from experiments.sweep.run import Job
from ufm.errors import InputError

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
    assert not dealer.more()
    with pytest.raises(InputError, match="none left"):
        dealer.take(HERE)
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
    assert drive._place(running, False) is None


def test_the_first_worker_is_waited_for_but_not_for_ever(drive, monkeypatch):
    monkeypatch.setattr(cluster, "LOOK", 0.0)
    told = iter([{}, {}, {HERE: 1}])
    monkeypatch.setattr(drive, "_threads", lambda: next(told))
    assert drive._place({}, False) == HERE
    assert list(told) == []
    monkeypatch.setattr(drive, "_threads", lambda: {})
    monkeypatch.setattr(cluster, "PATIENCE", 1e-4)
    with pytest.raises(InputError, match="has no workers"):
        drive._place({}, False)


class Board:
    """What a drive does with its scheduler, and what becomes of jobs there."""

    def __init__(self, drive, monkeypatch, threads):
        self.submitted, self.cancelled, self.threads = [], [], threads
        for name in ("_submit", "_cancel", "_finished", "_columns", "_threads"):
            monkeypatch.setattr(drive, name, getattr(self, name[1:]))

    def submit(self, job, place):
        self.submitted.append((job.number, place))
        return len(self.submitted)

    def cancel(self, future):
        self.cancelled.append(future)

    def columns(self, future):
        return {"cell": [future]}

    def finished(self, running, alone):
        return list(running)


def test_a_job_goes_where_it_was_dealt(drive, monkeypatch):
    board = Board(drive, monkeypatch, lambda: {HERE: 1, THERE: 1})
    done = [job.number for job, _ in drive(jobs("aabb"))]
    assert sorted(done) == [0, 1, 2, 3]
    assert {number: place for number, place in board.submitted} == {
        0: HERE, 2: THERE, 1: HERE, 3: THERE,
    }  # fmt: skip


def test_the_scheduler_is_told_where(monkeypatch):
    told = {}

    class Client:
        def submit(self, *given, **named):
            told.update(named)

    drive = cluster._Drive(Client(), "tcp://nobody:1")
    monkeypatch.setattr(cluster, "_portable", lambda job: job)
    drive._submit(jobs("a")[0], THERE)
    assert told["workers"] == [THERE]
    assert told["allow_other_workers"] is True  # or it would wait for a dead one


def test_jobs_of_workers_that_all_died_go_to_those_that_came_and_not_for_ever(drive, monkeypatch):
    """The scheduler keeps them for addresses that nobody has any more."""
    lives = iter([HERE, THERE, "tcp://third", "tcp://fourth", "tcp://fifth"])
    now = [next(lives)]
    board = Board(drive, monkeypatch, lambda: {now[0]: 1})

    def dies(running, alone):
        now[0] = next(lives)
        return []

    monkeypatch.setattr(drive, "_finished", dies)
    ((job, columns),) = drive(jobs("a"))
    assert (job.number, columns) == (0, None)  # as often as a job may kill its workers
    assert board.submitted == [(0, HERE), (0, THERE), (0, "tcp://third")]
    assert board.cancelled == [1, 2, 3]


def test_what_another_live_worker_may_have_is_left_alone(drive, monkeypatch):
    board = Board(drive, monkeypatch, lambda: {HERE: 1})
    rounds = iter([[], [1]])
    monkeypatch.setattr(drive, "_finished", lambda running, alone: next(rounds))
    assert len(list(drive(jobs("a")))) == 1
    assert board.cancelled == []


def test_a_result_that_died_with_its_worker_is_waited_for_again(drive, monkeypatch):
    board = Board(drive, monkeypatch, lambda: {HERE: 1})
    asked = []

    def columns(future):
        asked.append(future)
        if len(asked) < 3:
            raise TimeoutError
        return {"cell": [future]}

    monkeypatch.setattr(drive, "_columns", columns)
    ((_, found),) = drive(jobs("a"))
    assert asked == [1, 1, 1]
    assert found == {"cell": [1]}
    assert board.submitted == [(0, HERE)]


def test_two_workers_keep_shapes_of_many_batches_apart():
    """More batches than are looked at first: whoever has no other shape looks further."""
    names = "".join(name * 3 * WINDOW for name in "abcd")
    traces = {"far": set(), "near": set()}
    for name, far in (("far", FAR), ("near", WINDOW)):
        dealer = Dealer(jobs(names), far=far)
        for number in range(len(names)):
            worker = (HERE, THERE)[number % 2]
            traces[name].add((dealer.take(worker).program, worker))
    assert len(traces["far"]) == 4
    assert len(traces["near"]) > 4
