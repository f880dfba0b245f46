"""Running a sweep: cells against the library one by one, resuming, failures, strategies."""

import os
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import jax
import numpy as np
import pytest

from experiments import mappings
from experiments.sweep import run as running
from experiments.sweep.cells import batches, expand
from experiments.sweep.run import Job, LocalExecutor, compute, run
from experiments.sweep.spec import make_spec
from experiments.sweep.store import Store
from experiments.sweep.tasks import TASKS
from experiments.sweep.work import Work
from landscape.solvers.solve import solve
from landscape.verdict import verdict
from tests.helpers import slow
from ufm import UFM, CrossEntropy, InputError, collapse
from ufm.point import gaussian

pytestmark = pytest.mark.xdist_group("sweep")
ROOT = Path(__file__).resolve().parents[2]


def spec_of(task="minimise", options=None, **axes):
    return make_spec({"task": task, "axes": axes, "options": options or {}})


def job_of(spec, **changes):
    """The first batch of a sweep."""
    cells = expand(spec)
    batch = batches(cells, 64)[0]
    options = dict(spec.options)
    work = Work(cells.take(batch.indices), batch.shape[2], options, 4, False)
    return Job(0, len(batch.indices), spec.task, replace(work, **changes))


def same(one, other, but=("seconds",)):
    assert list(one) == list(other)
    for name in one:
        if name not in but:
            assert np.array_equal(one[name], other[name], equal_nan=one[name].dtype != object), name


def test_a_cell_starts_where_solve_starts():
    spec = spec_of(K=3, d=[2, 5], c=0.3, seed=[4, 7], lambda_b=0.02)
    cells = expand(spec)
    work = Work(cells, 4, spec.options, 4, False)
    starts = work.starts()
    for i in range(len(cells)):
        model, key = cells.model(i).merge().model, jax.random.key(int(cells.columns["seed"][i]))
        narrow = model.random_start(key)  # a convex loss needs K dimensions
        assert (narrow is None) == (model.d == 2)
        point = model.random_point(key) if narrow is None else narrow.point
        d = point.W.shape[1]
        assert np.array_equal(starts.W[i, :, :d], point.W)
        assert np.array_equal(starts.H[i, :d], point.H)
        assert np.array_equal(starts.b[i], point.b)
        assert not np.any(starts.W[i, :, d:])


def test_a_start_beyond_its_row_space_keeps_every_inner_product():
    spec = spec_of(loss={"name": "focal", "gamma": 2.0}, K=3, d=17, c=0.3, seed=4)
    work = job_of(spec).work
    assert work.width == 6
    starts = work.starts()
    point = work.cells.model(0).merge().model.random_point(jax.random.key(4))
    assert starts.W[0] @ starts.H[0] == pytest.approx(point.W @ point.H, abs=1e-14)
    assert starts.W[0] @ starts.W[0].T == pytest.approx(point.W @ point.W.T, abs=1e-14)


def test_draws_are_those_of_the_library():
    from experiments.sweep.work import normal_draws

    for length in (5, 200):
        rows = normal_draws([3, 1, 3], length)
        for row, seed in zip(rows, (3, 1, 3), strict=True):
            assert np.array_equal(row, gaussian(jax.random.key(seed), [(length,)])[0])


@pytest.mark.slow
def test_minimise_says_what_the_library_says():
    losses = ["ce", {"name": "ls", "smoothing": 0.1}]
    spec = spec_of(loss=losses[1], K=4, d=[3, 5], n=2, c=[0.2, 1.4], seed=3)
    job = job_of(spec)
    columns = compute(job)
    assert set(columns["result"]) == {"CONVERGED"}
    for i in range(4):
        model = job.work.cells.model(i)
        found = solve(model, key=jax.random.key(3), tolerance=1e-11)
        assert columns["objective"][i] == pytest.approx(found.objective, abs=1e-13)
        assert columns["theory"][i] == pytest.approx(model.minimiser().value, abs=1e-14)
        assert columns["rank"][i] == (3 if columns["c"][i] < 0.9 else 0)
        assert columns["W_norm"][i] == pytest.approx(np.linalg.norm(found.point.W), abs=1e-5)
        if columns["rank"][i]:
            classes = np.repeat(np.arange(4), 2)
            whole = model.merge().lift(found.point)
            measured = collapse(whole.H.T, classes, classifier=whole.W)
            assert columns["nc2"][i] == pytest.approx(measured.nc2_geo, abs=1e-6)
            assert columns["nc3"][i] == pytest.approx(measured.nc3_geo, abs=1e-6)
            assert columns["margin_excess"][i] == pytest.approx(0, abs=1e-8)  # equal classes
        else:
            assert np.isnan(columns["margin_excess"][i])


@pytest.mark.slow
def test_there_is_no_theory_where_none_is_proved():
    columns = compute(job_of(spec_of(K=4, d=[2, 3], c=0.2)))
    assert np.isnan(columns["theory"]).tolist() == [True, False]  # d < K - 1
    uneven = compute(job_of(spec_of(counts=[[3, 2, 1]], d=3, c=0.2)))
    assert np.isnan(uneven["theory"]).all()
    decay = 0.2 / 18**0.5  # c / sqrt(K N)
    model = UFM(CrossEntropy(), counts=(3, 2, 1), d=3, lambda_W=decay, lambda_H=decay)
    found = solve(model, key=jax.random.key(0))
    excess = found.model.measures(found.point)["margin_excess"]
    assert uneven["margin_excess"][0] == pytest.approx(excess, abs=1e-7)
    assert excess > 0.1
    squared = compute(job_of(spec_of(loss="mse", counts=[[3, 2, 1]], d=3, c=0.2)))
    assert abs(squared["excess"][0]) < 1e-12  # soft thresholding, any counts


@pytest.mark.slow
def test_merging_a_loss_that_is_not_convex_is_said():
    focal = {"name": "focal", "gamma": 2.0}
    assert compute(job_of(spec_of(loss=focal, K=3, n=2, c=0.2)))["reduction"][0] != "exact"
    assert compute(job_of(spec_of(loss=focal, K=3, n=1, c=0.2)))["reduction"][0] == "exact"


VERDICTS = [
    {"K": 4, "d": [1, 2, 3, 4, 6], "n": 2, "c": 0.1},
    {"K": 5, "d": 2, "c": 0.5, "seed": [0, 1, 2, 3]},  # spurious minima
    {"counts": [[3, 2, 2, 1]], "d": [2, 3, 5], "c": 0.15, "lambda_b": 0.05},
    {"loss": "mse", "K": 4, "d": [3, 4, 6], "c": [0.3, 1.2]},  # Grassmannians at d = 3; the origin
    {"loss": {"name": "ls", "smoothing": 0.1}, "K": 3, "d": 3, "c": [0.3, 1.1], "lambda_b": 0.0},
]


@pytest.mark.slow
@pytest.mark.parametrize("axes", VERDICTS, ids=lambda axes: ",".join(axes))
def test_verdicts_are_those_of_the_library(axes):
    spec = spec_of("verdict", {"tolerance": 1e-10}, **axes)
    cells = expand(spec)
    for batch in batches(cells, 64):
        work = Work(cells.take(batch.indices), batch.shape[2], spec.options, 4, False)
        columns = compute(Job(0, len(batch.indices), "verdict", work))
        for i in range(len(batch.indices)):
            model = work.cells.model(i)
            found = solve(
                model, key=jax.random.key(int(columns["seed"][i])), method="lbfgs", tolerance=1e-10
            )
            told = verdict(model, found.point)
            if abs(columns["objective"][i] - found.objective) > 1e-9:
                continue  # another minimum of a model that has several
            assert columns["curvature"][i] == told.curvature.name
            assert columns["index"][i] == told.count.index
            assert columns["nullity"][i] == told.count.nullity
            assert columns["predicted_nullity"][i] == told.count.predicted_nullity
            assert columns["gap"][i] == pytest.approx(told.count.smallest_positive, rel=2e-5)
            if np.isfinite(columns["theory"][i]):
                assert columns["globality"][i] == told.globality.name


@pytest.mark.slow
def test_a_spurious_minimum_is_seen():
    spec = spec_of("verdict", K=5, d=2, c=0.5, seed={"from": 0, "to": 39})
    columns = compute(job_of(spec))
    heights = columns["objective"][columns["result"] == "CONVERGED"]
    assert np.ptp(heights) > 1e-3  # several minima
    assert set(columns["curvature"]) == {"MORSE_BOTT_MINIMUM"}


@pytest.mark.parametrize("task", ["minimise", slow("verdict")])
def test_failures_are_rows_with_a_reason(task):
    columns = compute(job_of(spec_of(task, {"max_iterations": 2}, K=3, c=[0.2, 0.4])))
    assert set(columns["result"]) == {"MAX_ITERATIONS"}
    assert "after 2 steps" in columns["reason"][0]
    if task == "verdict":
        assert set(columns["curvature"]) == {"NOT_CRITICAL"}


def test_an_error_becomes_the_reason_of_its_batch(monkeypatch, tmp_path):
    def broken(work):
        raise ZeroDivisionError("no such thing")

    spec = spec_of("verdict", K=3, c=[0.2, 0.4])
    monkeypatch.setattr("experiments.sweep.tasks.verdict.verdict", broken)
    table = run(spec, tmp_path).table()
    assert set(table["result"]) == {"FAILED"}
    assert table["reason"][0] == "ZeroDivisionError: no such thing"
    assert set(TASKS["verdict"].columns) < set(table)
    with pytest.raises(InputError, match=r"--max-failures 1 failed cells\. Got 2 in 2"):
        run(spec, tmp_path / "other", max_failures=1)
    run(spec, tmp_path / "third", max_failures=2)


@pytest.mark.slow
def test_an_interrupted_sweep_goes_on_to_the_same_table(monkeypatch, tmp_path):
    monkeypatch.setattr(running, "BATCH", 4)
    spec = spec_of(K=[3, 4], d=[2, 3], c=[0.2, 0.5, 1.2], seed=[0, 1])
    whole = run(spec, tmp_path / "whole")
    assert len(list((tmp_path / "whole" / "batches").iterdir())) == 6

    class Stop(Exception):
        pass

    def interrupted(jobs):
        for count, pair in enumerate(LocalExecutor(1)(jobs)):
            if count == 2:
                raise Stop
            yield pair

    with pytest.raises(Stop):
        run(spec, tmp_path / "halves", executor=interrupted)
    seen = []
    halves = run(spec, tmp_path / "halves", say=seen.append)
    assert seen[0].done == 8
    assert seen[-1].done == seen[-1].total == 24
    same(whole.table(), halves.table())
    # A second run has nothing to do.
    again = []
    run(spec, tmp_path / "halves", say=again.append, executor=lambda jobs: iter(list(jobs)))
    assert [progress.done for progress in again] == [24]


@pytest.mark.slow
def test_progress_counts_failures_and_time_left(tmp_path):
    seen = []
    run(spec_of(options={"max_iterations": 1}, K=3, c=[0.2, 0.4]), tmp_path, say=seen.append)
    assert seen[-1].failures == 2
    assert seen[0].remaining is None
    assert str(seen[-1]).startswith("2/2 cells, ")
    assert str(seen[-1]).endswith("left, 2 failed")


@pytest.mark.slow
@pytest.mark.parametrize("change", [{"slots": 1}, {"together": True}])
def test_every_way_to_compute_gives_the_same_numbers(change):
    job = job_of(spec_of("verdict", K=3, d=3, c=[0.2, 0.7], seed=[0, 1]))
    one, other = compute(job), compute(replace(job, work=replace(job.work, **change)))
    assert one["objective"] == pytest.approx(other["objective"], abs=1e-13)
    assert one["gap"] == pytest.approx(other["gap"], rel=1e-6)
    same(one, other, {name for name in one if one[name].dtype == float})


TABLE = """
import sys
from pathlib import Path
from experiments.sweep.run import run
from experiments.sweep.spec import make_spec
axes = {"K": 3, "d": 3, "c": [0.2, 0.7, 1.2], "seed": [0, 1, 2]}
run(make_spec({"task": "verdict", "axes": axes}), Path(sys.argv[1]))
"""


@pytest.mark.slow
def test_several_devices_give_the_same_table(tmp_path):
    """To the accuracy of the ends: a part of the batch is another program."""
    flags = {**os.environ, "XLA_FLAGS": "--xla_force_host_platform_device_count=2"}
    subprocess.run(
        [sys.executable, "-c", TABLE, tmp_path / "two"],
        cwd=ROOT,
        env=flags,
        check=True,
        timeout=300,
    )
    axes = {"K": 3, "d": 3, "c": [0.2, 0.7, 1.2], "seed": [0, 1, 2]}
    one, two = (
        run(spec_of("verdict", **axes), tmp_path / "one").table(),
        Store.open(tmp_path / "two").table(),
    )
    same(one, two, {name for name in one if one[name].dtype == float})
    for name in ("objective", "W_norm", "gap", "theory"):
        assert one[name] == pytest.approx(two[name], abs=1e-6), name
    assert one["objective"] == pytest.approx(two["objective"], abs=1e-13)


@pytest.mark.slow
def test_programs_are_let_go_before_there_are_too_many(monkeypatch):
    """Otherwise a sweep over many shapes ends in a crash of XLA."""
    if not mappings.MAPPINGS.exists():
        assert not mappings.relieve(0)  # nothing is known here
        return
    compute(job_of(spec_of(K=3, c=0.2)))
    with mappings.MAPPINGS.open("rb") as stream:
        before = sum(1 for _ in stream)
    assert not mappings.relieve(before + 1000)
    assert mappings.relieve(before // 2)
    seen = []
    monkeypatch.setattr(running, "relieve", lambda: seen.append(1))
    assert compute(job_of(spec_of(K=3, c=0.2)))["result"][0] == "CONVERGED"
    assert seen == [1]
