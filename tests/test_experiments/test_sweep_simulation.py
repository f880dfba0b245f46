"""A simulated sweep is dealt out as a real one, and takes what its parts take."""

from dataclasses import replace

import numpy as np
import pytest

from experiments.sweep import simulation
from experiments.sweep.dealing import Dealer
from experiments.sweep.run import Job
from experiments.sweep.simulation import Costs, costs_of, simulated
from experiments.sweep.workers import MENDING
from ufm.errors import InputError


def jobs(programs):
    return [Job(number, 1, "verdict", None, (name,)) for number, name in enumerate(programs)]


def costs(programs, work=1.0, trace=5.0, **more):
    return Costs(
        dict.fromkeys(range(len(programs)), work), {(x,): trace for x in set(programs)}, **more
    )


MANY = "".join(name * 10 for name in "abcdefgh")


def test_one_worker_takes_the_sum():
    rng = np.random.default_rng(0)
    work = dict(enumerate(rng.uniform(0.5, 2.0, len(MANY)).tolist()))
    given = replace(costs(MANY), work=work, start=3.0, driver=0.01)
    found = simulated(jobs(MANY), given, 1)
    total = sum(work.values()) + 8 * 5.0
    assert found.busy == {"worker 1": pytest.approx(total)}
    assert found.makespan == pytest.approx(total + 3.0 + 0.01)  # the last one is written then
    assert sorted(found.order) == list(range(len(MANY)))
    assert (found.traces, found.lost) == (8, 0)


def test_jobs_of_a_shape_stay_with_the_worker_that_knows_it():
    """Eight shapes, two workers: eight traces; without affinity each of them traces all."""
    kept = simulated(jobs(MANY), costs(MANY), 2)
    loose = simulated(jobs(MANY), costs(MANY), 2, window=1, far=1)
    assert kept.traces == 8
    assert loose.traces == 16
    assert kept.makespan == 4 * (5 + 10)
    assert loose.makespan == 8 * (5 + 10 / 2)


def test_the_dealing_is_that_of_a_real_run(monkeypatch):
    class Backwards(Dealer):
        def __init__(self, given, window, far):
            super().__init__(reversed(list(given)), window, far)

    monkeypatch.setattr(simulation, "Dealer", Backwards)
    assert simulated(jobs("abc"), costs("abc"), 1).order == (2, 1, 0)
    monkeypatch.setattr(simulation, "roomiest", lambda threads, busy: None)
    assert simulated(jobs("abc"), costs("abc"), 1).order == ()


@pytest.mark.parametrize("workers", [1, 2, 3, 7, 40])
def test_no_schedule_beats_the_bounds_and_this_one_is_not_far_from_them(workers):
    """Graham: a list schedule takes at most the mean load and the longest job, traces included."""
    given = costs(MANY)
    found = simulated(jobs(MANY), given, workers)
    busy = sum(found.busy.values())
    assert found.makespan >= busy / workers
    assert found.makespan <= busy / workers + 6.0 + 6.0  # two in flight: one waits behind another
    assert len(found.order) == len(set(found.order)) == len(MANY)


def test_whoever_has_nothing_left_takes_over():
    one = simulated(jobs("a" * 40), costs("a" * 40, trace=1.0), 1)
    four = simulated(jobs("a" * 40), costs("a" * 40, trace=1.0), 4)
    assert four.traces == 4
    assert four.makespan < one.makespan / 3


def test_a_worker_that_dies_costs_its_job_and_what_its_successor_has_to_learn():
    given = costs(MANY, start=2.0)
    usual = simulated(jobs(MANY), given, 2)
    died = simulated(jobs(MANY), given, 2, deaths=[usual.makespan / 2])
    assert (usual.lost, died.lost) == (0, 1)
    assert died.traces > usual.traces
    assert sorted(died.order) == list(range(len(MANY)))
    assert usual.makespan < died.makespan < usual.makespan + 40
    assert len(died.busy) == 3


def test_all_workers_that_die_at_once_are_survived():
    given = costs(MANY, start=2.0)
    found = simulated(jobs(MANY), given, 3, deaths=[10.0] * 3)
    assert found.lost == 3
    assert sorted(found.order) == list(range(len(MANY)))
    begun = 10.0 + MENDING + 2.0  # nobody computes before
    assert found.makespan > begun + (sum(simulated(jobs(MANY), given, 3).busy.values()) - 24) / 3


def test_the_driver_is_the_limit_of_many_workers():
    given = costs("a" * 200, work=1.0, trace=0.0, driver=0.1)
    assert simulated(jobs("a" * 200), given, 40).makespan >= 200 * 0.1
    free = simulated(jobs("a" * 200), replace(given, driver=0.0), 40)
    assert free.makespan == pytest.approx(5.0)


def test_costs_are_read_from_the_first_job_of_each_shape():
    seconds = {0: 7.0, 1: 2.0, 2: 9.0, 3: 2.2, 4: 4.0, 5: 4.0, 6: 3.0}
    found = costs_of(jobs("aabab" + "bc"), seconds)
    # a: 7 against 2 and 2.2; b: 9 against 4 and 4; c, with one job, has no more than it took.
    assert found.trace == {("a",): pytest.approx(4.9), ("b",): 5.0, ("c",): 3.0}
    assert found.warm == 0.0
    assert found.work[0] == pytest.approx(2.1)
    assert found.work[6] == 0.0
    alone = simulated(jobs("aabab" + "bc"), found, 1)
    assert alone.makespan == pytest.approx(sum(seconds.values()))


def test_what_a_process_does_once_is_no_trace():
    """Of the very first job; the other traces say how much of it is a trace."""
    seconds = {0: 20.0, 1: 2.0, 2: 7.0, 3: 3.0, 4: 8.0, 5: 4.0}
    found = costs_of(jobs("aabbcc"), seconds)
    assert found.trace == {("a",): 4.0, ("b",): 4.0, ("c",): 4.0}
    assert (found.warm, found.work[0]) == (14.0, 2.0)
    alone = simulated(jobs("aabbcc"), found, 1)
    assert alone.makespan == pytest.approx(sum(seconds.values()))
    two = simulated(jobs("aabbcc"), found, 2)
    assert sum(two.busy.values()) == pytest.approx(alone.makespan + 14.0 + 4.0 * (two.traces - 3))


def test_what_cannot_be_simulated():
    with pytest.raises(InputError, match="none for 1 of 2"):
        costs_of(jobs("ab"), {0: 1.0, 1: float("nan")})
    with pytest.raises(InputError, match="workers >= 1"):
        simulated(jobs("ab"), costs("ab"), 0)
