"""The benchmarks at toy sizes: every solver really runs, and what it returns is verified."""

import json
from dataclasses import replace
from functools import partial
from pathlib import Path

import numpy as np
import pytest

from experiments.benchmarks import curvature, minimum, proofs, rows, solvers, stores, sweeps
from experiments.benchmarks import recorded as recorded_module
from experiments.benchmarks.peak_memory import RESET
from experiments.benchmarks.record import absent, against, draw, duration, measured, times
from experiments.benchmarks.solvers import OTHERS, PAPERS, TORCH, Outcome
from experiments.benchmarks.timing import Settings, Timing, alternate
from experiments.cli.bench import Row
from experiments.sweep.run import LocalExecutor
from experiments.sweep.store import Store
from ufm import lift
from ufm.errors import InputError

SIZES = (3, 4, 2)
ONCE = Settings(quick=True, repeats=1)
FIELDS = {
    "row",
    "memory",
    "work",
    "solver",
    "seconds",
    "first",
    "calls",
    "capped",
    "ours",
    "ratio",
    "target",
    "limit",
    "reached",
    "solved",
    "wrong",
    "note",
}


def run(makers=None, targets=(1.0, 1.0)):
    return {x.solver: x for x in minimum.minimum("toy", SIZES, targets, ONCE, makers)}


def without_torch(monkeypatch):
    def refuse(name):
        raise ImportError(name)

    monkeypatch.setattr(solvers, "import_module", refuse)


@pytest.fixture
def fake_torch(monkeypatch):
    """PyTorch's solvers are replaced by one of ours: the row must not depend on PyTorch."""
    for name in TORCH:
        monkeypatch.setitem(solvers.TORCH, name, solvers.newton_cg)
    monkeypatch.setattr(minimum, "torch_or_none", lambda: object())


@pytest.mark.slow
@pytest.mark.parametrize("name", OTHERS)
def test_every_other_solver_runs_and_is_verified(name):
    ran = []

    def maker(*arguments):
        inner = OTHERS[name](*arguments)
        return lambda: ran.append(1) or inner()

    record = run({name: maker})[name]
    assert len(ran) == record.calls + 1  # the first call compiles
    assert record.seconds > 0
    assert not record.wrong
    assert record.ratio == record.seconds / record.ours
    assert record.solved or "stalled" in record.note


@pytest.mark.parametrize("name", TORCH)
def test_pytorch_runs_where_it_is_installed_and_is_named_where_not(name):
    record = run({name: TORCH[name]})[name]
    if solvers.torch_or_none() is None:
        assert record.seconds is None
        assert "not installed" in record.note
    else:
        assert record.seconds > 0
        assert not record.wrong


def test_without_pytorch_its_lines_say_so(monkeypatch):
    without_torch(monkeypatch)
    record = run({PAPERS: TORCH[PAPERS]})[PAPERS]
    assert record.seconds is None
    assert record.ratio is None
    assert record.reached is None
    assert "not installed" in record.note


def test_the_line_of_pytorch_carries_the_target_of_the_papers(fake_torch):
    records = run({PAPERS: solvers.newton_cg}, targets=(0.0, 1.0))
    assert records[PAPERS].target == 0.0
    assert records[PAPERS].reached is True


def test_a_solver_that_returns_a_wrong_value_is_labelled():
    def origin(model, start, tolerance, cap):
        # A critical point, so the gradient norm alone would be content.
        return lambda: Outcome(model.origin())

    record = run({"origin": origin})["origin"]
    assert record.wrong
    assert not record.solved
    assert record.reached is None
    assert record.note.startswith("MISSED the minimum")


@pytest.mark.slow
def test_a_solver_that_stops_early_is_no_rival():
    def lazy(model, start, tolerance, cap):
        return lambda: Outcome(start, capped=True)

    records = run({"lazy": lazy, "newton": OTHERS["trust-region Newton-CG, jitted"]}, (1.0, 0.0))
    assert records["lazy"].capped
    assert not records["lazy"].wrong
    assert records["lazy"].note.startswith("stopped at |g|")
    assert records["lazy"].target is None
    assert records["newton"].reached is True


def test_ours_must_solve_it(monkeypatch):
    real = minimum.solve
    monkeypatch.setattr(
        minimum, "solve", lambda model, start, tolerance: real(model, start, max_iterations=1)
    )
    record = run({})[minimum.OURS]
    assert record.wrong
    assert not record.solved


def test_a_capped_time_prints_a_bound():
    record = measured("a", "b", "c", Timing(60.0, 60.0, 1, None), 0.01, capped=True)
    assert duration(record.seconds, capped=record.capped) == "> 60 s"
    assert times(record.ratio, capped=record.capped) == "> 6,000x"
    assert against(record, 500.0).verdict == "500x: reached"
    assert against(record, 7000.0).verdict == "7000x: not reached"


def test_work_beyond_the_budget_is_done_once():
    short = replace(ONCE, repeats=5)
    calls = {"slow": 0, "fast": 0}

    def count(name):
        calls[name] += 1
        return calls[name]

    class Impatient(Settings):
        budget = 0.0

    timed = alternate({name: lambda name=name: count(name) for name in calls}, short, frozenset())
    assert timed["slow"].calls == timed["fast"].calls == 6
    once = alternate({"slow": lambda: count("slow")}, Impatient(repeats=5), frozenset())
    assert once["slow"].calls == 1
    assert calls["slow"] == 7


@pytest.mark.slow
def test_arpack_agrees_at_a_saddle_and_is_capped():
    records = curvature.index_large("toy", (4, 5, 3), ((2, 2),), ONCE)
    ours, arpack = records
    assert not ours.wrong
    assert arpack.solved
    assert arpack.note.startswith("lambda_min only, off by")
    model = minimum.cross_entropy(4, 5, 3)
    point, size = curvature.saddle(model, (2, 2))
    assert size < 1e-12
    product = curvature.compiled_product(model, lift(model, point))
    late = curvature.arpack_smallest(product, model.num_parameters, 1.0, -1.0)
    assert late.capped
    assert late.smallest is None


@pytest.mark.slow
def test_a_wrong_count_is_labelled(monkeypatch):
    real = curvature.count_curvature

    def one_more(*arguments):
        count = real(*arguments)
        return replace(count, index_range=(count.index + 1, count.index + 1))

    monkeypatch.setattr(curvature, "count_curvature", one_more)
    assert curvature.index_small("toy", (4, 5, 3), ONCE)[0].wrong


@pytest.fixture
def toy_rows(monkeypatch):
    """All rows at toy sizes, beside one other solver that needs no compilation."""
    other = {"SciPy Newton-CG": OTHERS["SciPy Newton-CG"]}

    def small(row):
        return lambda settings: minimum.minimum(row, SIZES, (0.0, 0.0), settings, other)

    for name in rows.ROWS:
        monkeypatch.setitem(rows.ROWS, name, small(name))


def test_the_command_runs_the_chosen_rows_only(ufm, toy_rows):
    ran = ufm("bench --quick --repeats 1 --row index-small --row gap-1000")
    assert ran.code == 0
    assert "index-small: CE minimum" in ran.out
    assert "gap-1000: CE minimum" in ran.out
    assert "minimum-large" not in ran.out
    assert "Every target was reached." in ran.out


def test_the_json_is_whole_and_alone(ufm, toy_rows, tmp_path):
    path = tmp_path / "bench.json"
    ran = ufm("bench --quick --repeats 1 --row minimum-small --json --out", path)
    document = ran.json
    assert json.loads(path.read_text()) == document
    assert document["schema"] == 1
    assert document["command"] == "bench"
    assert document["inputs"] == {"quick": True, "rows": ["minimum-small"], "repeats": 1}
    assert set(document["libraries"]) == {"jax", "numpy", "scipy", "optax", "torch"}
    assert document["device"]["backend"]
    assert all(set(row) == FIELDS for row in document["rows"])
    assert document["rows"][0]["solver"] == minimum.OURS
    assert document["wrong"] == []


def test_memory_is_that_of_the_row(ufm, toy_rows, monkeypatch):
    held = []

    def large(settings):
        block = np.ones(2**25)  # a quarter of a GiB
        held.append(block[::4096].sum())
        return [measured("gap-1000", "b", "lab", Timing(1.0, 1.0, 1, None))]

    def small(settings):
        return [measured("index-small", "b", "lab", Timing(1.0, 1.0, 1, None))]

    monkeypatch.setitem(rows.ROWS, "gap-1000", large)
    monkeypatch.setitem(rows.ROWS, "index-small", small)
    told = ufm("bench --row gap-1000 --row index-small --json").json["rows"]
    if RESET.exists():  # elsewhere the peak is that of both
        assert told[0]["memory"] > told[1]["memory"] + 2**27
    assert "GiB of memory at most)" in ufm("bench --row gap-1000").out


def test_a_store_is_filtered_right_and_a_wrong_answer_is_labelled(monkeypatch):
    quick = Settings(quick=True, repeats=1)
    found = stores.rows_of_store("toy", 100_000, (3.0, 1.0), quick)
    assert [x.wrong for x in found] == [False, False]
    assert [x.limit for x in found] == [3.0, 1.0]
    monkeypatch.setattr(Store, "table", lambda store, where: {"cell": np.arange(3)})
    assert stores.rows_of_store("toy", 100_000, (3.0, 1.0), quick)[0].wrong


def test_what_was_recorded_stands_beside_what_is_measured(ufm, toy_rows, tmp_path, monkeypatch):
    kept = tmp_path / "gpu-2001-02-03.json"
    words = "bench --quick --repeats 1 --row minimum-small"
    written = ufm(f"{words} --json --out", kept).json
    written["device"] |= {"backend": "gpu", "kind": "Fast Card"}
    written["rows"][0] |= {"seconds": 123.0, "note": "as it was"}
    kept.write_text(json.dumps(written))
    monkeypatch.setattr(recorded_module.resources, "files", lambda name: tmp_path)
    lines = [x for x in ufm(words).out.splitlines() if "recorded: Fast Card" in x]
    assert len(lines) == 1  # our own line only, though the others are in the file too
    assert "123 s" in lines[0]
    assert lines[0].rstrip().endswith("2001-02-03; as it was")
    assert "recorded" not in ufm("bench --quick --repeats 1 --row gap-1000").out


def test_a_solver_that_is_not_installed_was_recorded_elsewhere(ufm, tmp_path, monkeypatch):
    there = [measured("gap-1000", "b", "lab", Timing(1.0, 1.0, 1, None))]
    there += [measured("gap-1000", "b", "torch", Timing(5.0, 6.0, 1, None), 1.0)]
    monkeypatch.setitem(rows.ROWS, "gap-1000", lambda settings: there)
    kept = tmp_path / "other.json"
    written = ufm("bench --row gap-1000 --json --out", kept).json
    written["device"] |= {"backend": "gpu", "kind": "Fast Card"}
    kept.write_text(json.dumps(written))
    here = [there[0], absent("gap-1000", "b", "torch", 1.0, "not installed")]
    monkeypatch.setitem(rows.ROWS, "gap-1000", lambda settings: here)
    monkeypatch.setattr(recorded_module.resources, "files", lambda name: tmp_path)
    ran = ufm("bench --row gap-1000")
    assert ran.code == 0
    ours, other = (x.split() for x in ran.out.splitlines() if "recorded: Fast Card" in x)
    assert ours[-4:] == ["s", "1", "s", "1x"]
    assert other[-4:] == ["5", "s", "6", "s"]  # beside a time that there is not, no ratio


def test_records_that_are_kept_are_runs_of_rows_that_exist():
    for file in Path(recorded_module.__file__).parent.glob("*.json"):
        run_then = json.loads(file.read_text())
        assert run_then["command"] == "bench"
        assert {line["row"] for line in run_then["rows"]} <= set(rows.ROWS)
        assert not run_then["wrong"]


def test_the_figure_is_written(ufm, toy_rows, tmp_path):
    path = tmp_path / "bench.svg"
    assert ufm("bench --quick --repeats 1 --row minimum-small --figure", path).code == 0
    assert "<svg" in path.read_text()


def test_a_wrong_value_exits_1(ufm, monkeypatch):
    bad = replace(measured("a", "b", "c", Timing(1.0, 1.0, 1, None)), wrong=True)
    monkeypatch.setitem(rows.ROWS, "gap-1000", lambda settings: [bad])
    ran = ufm("bench --row gap-1000")
    assert ran.code == 1
    assert "WRONG: a: c." in ran.out


def test_a_target_that_is_not_reached_is_said_and_exits_0(ufm, monkeypatch):
    slow = against(measured("a", "b", "c", Timing(1.0, 1.0, 1, None), 1.0), 2.0)
    monkeypatch.setitem(rows.ROWS, "gap-1000", lambda settings: [slow])
    ran = ufm("bench --row gap-1000")
    assert ran.code == 0
    assert "2x: not reached" in ran.out
    assert "Not reached: a: c." in ran.out


@pytest.mark.slow
def test_pytorch_has_the_rate_of_the_papers_and_a_tuned_one(monkeypatch):
    tried = []

    def fake(spec, rate, settings):
        tried.append(rate)
        return 1.0, 4, 0.0

    monkeypatch.setattr(sweeps, "_torch", fake)
    monkeypatch.setattr(sweeps, "torch_or_none", object)
    records = sweeps.instances("toy", (3, 4, 2), 8, ONCE)
    assert tried == [0.1, 30.0]
    assert [x.seconds for x in records[-2:]] == [2.0, 2.0]  # half of them in a second
    assert [x.target for x in records] == [None, 40.0, 20.0, 20.0]
    monkeypatch.setattr(sweeps, "torch_or_none", lambda: None)
    records = sweeps.instances("toy", (3, 4, 2), 8, ONCE)
    assert [x.solver for x in records if x.seconds is None] == list(sweeps.TORCH)


@pytest.mark.slow
def test_scaling_compares_one_worker_with_two(monkeypatch):
    counts = []

    def executor(address, workers):
        counts.append((address, workers))
        return LocalExecutor(1)

    monkeypatch.setattr("experiments.sweep.cluster.ClusterExecutor", executor)
    make = partial(sweeps.instances_spec, (3, 4, 2))
    own, alone = sweeps.scaling("toy", make, 200, ONCE)
    assert counts == [(None, 2), (None, 1), (None, 2)]
    assert "8 cells" in own.work  # fewer with --quick
    assert alone.ratio == alone.seconds / own.seconds
    assert alone.target is None
    assert own.first > 0
    assert not own.wrong
    own, alone = sweeps.scaling("toy", make, 8, Settings(repeats=1))
    assert "8 cells" in own.work
    assert alone.target == 1.85


@pytest.mark.parametrize("words", ["bench --row nothing", "bench --repeats 0"])
def test_bad_words_exit_2(ufm, words):
    assert ufm(words).code == 2


def test_rows_of_the_command_are_the_rows_there_are():
    assert [row.value for row in Row] == list(rows.ROWS)


def test_the_figure_has_one_bar_per_solver_that_ran():
    from matplotlib.figure import Figure

    records = [
        measured("a", "b", "ours", Timing(0.01, 1.0, 3, None)),
        measured("a", "b", "other", Timing(1.0, 1.0, 1, None), 0.01, capped=True),
    ]
    ax = draw(records, Figure().subplots())
    assert len(ax.patches) == 2
    assert ax.get_xscale() == "log"
    assert np.isclose(ax.patches[0].get_width(), 0.01)
    with pytest.raises(InputError):
        draw([], Figure().subplots())


def test_a_proof_agrees_with_the_eigenvalues_it_is_timed_against():
    own, other = proofs.proofs("proofs", ((4, 5),), Settings(quick=True, repeats=1))
    assert not own.wrong
    assert own.note.startswith("index 0, nullity 9, within ")
    assert (own.target, other.target, other.reached) == (None, 0.1, other.ratio >= 0.1)
    assert other.ratio == other.seconds / own.seconds
