"""Rows of whole processes, of class sizes and of verdicts in two ways."""

from dataclasses import replace

import numpy as np
import pytest

from experiments.benchmarks import agreement, processes, sizes
from experiments.benchmarks.processes import IMPORT, Process, ran
from experiments.benchmarks.timing import Settings
from ufm import UFM, CrossEntropy, InputError
from ufm.answers import Certificate

ONCE = Settings(quick=True, repeats=1)
TOLD = {
    "curvature": "MORSE_BOTT_MINIMUM",
    "globality": "GLOBAL",
    "gap": 1e-12,
    "gradient_norm": 1e-13,
    "iterations": 7,
}
RUN = Process(2.0, 3.0, 2**30, TOLD)


def test_memory_and_processors_are_those_of_the_process():
    small, large = (
        ran(["-c", f"x = bytearray({size} << 20); sum(range(3_000_000))"], told=False)
        for size in (1, 90)
    )
    # The array is there whole; what Python itself takes varies by a few MiB.
    assert 80 < (large.memory - small.memory) / 2**20 < 100
    assert 0 < small.cpu <= small.seconds * 1.5


def test_a_command_that_fails_is_no_measurement():
    assert ran(["-c", "raise SystemExit(3)"], told=False).record is None  # UNDECIDED is an answer
    with pytest.raises(InputError, match="exit code 2"):
        ran(["-c", "raise SystemExit(2)"], told=False)


def fake(monkeypatch, *runs):
    left = list(runs)
    monkeypatch.setattr(processes, "ran", lambda words, told=True: left.pop(0))


@pytest.mark.parametrize(
    ("change", "reached"),
    [
        ({}, True),
        ({"seconds": 5.1}, False),
        ({"memory": 2**31}, False),
        ({"record": {**TOLD, "gap": 1e-8}}, False),
        ({"record": {**TOLD, "globality": "UNKNOWN"}}, False),
    ],
)
def test_a_descent_counts_if_it_is_proved_in_time_and_memory(monkeypatch, change, reached):
    slow_first = replace(RUN, seconds=50.0)  # compiles
    fake(monkeypatch, slow_first, replace(RUN, **change))
    [record] = processes.descent("toy", "-K 3", 5.0, 1.5, ONCE)
    assert record.reached is reached
    assert record.first == 50.0


def test_a_start_is_held_against_the_import_alone(monkeypatch):
    alone = replace(RUN, seconds=1.0, cpu=1.0)
    fake(monkeypatch, RUN, replace(RUN, seconds=1.5), alone, alone)
    own, other = processes.start("toy", "solve", 0.6, ONCE)
    assert (own.reached, other.solver) == (True, IMPORT)
    assert "0.50 s more" in own.note
    fake(monkeypatch, RUN, replace(RUN, seconds=1.7), alone, alone)
    assert processes.start("toy", "solve", 0.6, ONCE)[0].reached is False


@pytest.mark.slow
def test_a_small_command_is_really_run():
    own, other = processes.start("toy", "solve -K 3 -d 4 -n 2", 60.0, ONCE)
    assert own.seconds > other.seconds > 0.1
    [record] = processes.descent("toy", "-K 3 -d 4 -n 2", 60.0, 4.0, ONCE)
    assert record.reached


def test_sizes_are_those_of_imagenet():
    counts = sizes.imagenet_counts(1000, 100)
    assert (len(counts), min(counts), max(counts)) == (1000, 732, 1300)
    assert len(set(counts)) == 101
    assert np.mean(np.equal(counts, 1300)) == 0.9


def test_a_gap_that_is_no_proof_is_told(monkeypatch):
    good = sizes.by_size("toy", (1, 2, 2), 3, 60.0, ONCE)[0]
    assert (good.solved, good.reached) == (True, True)
    loose = Certificate(True, 1e-8, 0.0, 1.0, "", "proved")
    monkeypatch.setattr(sizes, "minimum_by_size", lambda model: (None, 0.0, loose))
    assert not sizes.by_size("toy", (1, 2, 2), 3, 60.0, ONCE)[0].solved


def test_cases_lie_on_both_sides_of_their_threshold():
    rng = np.random.default_rng(3)
    among = agreement.Among((CrossEntropy(),), (None,), ((3, 4),))
    shares = []
    for _ in range(200):
        model = agreement.random_case(rng, among)
        unit = UFM(CrossEntropy(), counts=model.counts_tuple, d=4, lambda_W=1.0, lambda_H=1.0)
        shares.append(model.sigma / unit.certificate(unit.origin()).spectral_ratio)
    shares = np.array(shares)
    assert shares.min() < 1e-3
    assert np.any((shares < 1) & (shares > 1 - 1e-6))
    assert np.any((shares > 1) & (shares < 1 + 1e-6))


def test_a_verdict_that_differs_is_counted(monkeypatch):
    """An index by one, and a nullity by one, of the eigenvalues."""
    among, real = agreement.Among((CrossEntropy(),), (None,), ((3, 4),)), agreement.count_curvature
    usual = agreement.compared(12, 5, among)
    assert usual["disagree"] == 0 < usual["agree"]
    for field in ("index_range", "nullity_range"):

        def moved(*arguments, field=field):
            count = real(*arguments)
            least, most = getattr(count, field)
            expected = count.predicted_nullity + (field == "nullity_range")
            return replace(count, **{field: (least + 1, most + 1), "predicted_nullity": expected})

        monkeypatch.setattr(agreement, "count_curvature", moved)
        assert agreement.compared(12, 5, among)["disagree"] > 0
