"""A sweep on a cluster of real processes: the same table, whatever is killed on the way."""

import os
import signal
import subprocess
import sys
import time
import tomllib
from contextlib import suppress
from dataclasses import replace
from functools import partial
from pathlib import Path

import numpy as np
import pytest

from experiments.pool import ONE_THREAD, PROGRAM
from experiments.sweep import cluster as module
from experiments.sweep import run as run_module
from experiments.sweep.dealing import IN_FLIGHT, Dealer
from experiments.sweep.run import LocalExecutor, compute, run
from experiments.sweep.spec import make_spec
from experiments.sweep.store import Store
from experiments.sweep.workers import processes
from tests import kill_sweep
from tests.cluster import address_in, job_of, start
from tests.cluster import running as cluster_of_dask
from ufm.errors import InputError

psutil = pytest.importorskip("psutil")
pytest.importorskip("distributed")
pytest.importorskip("pyarrow")
ClusterExecutor = module.ClusterExecutor

ROOT = Path(__file__).resolve().parents[2]
pytestmark = [pytest.mark.slow, pytest.mark.xdist_group("cluster")]
TOML = """
task = "verdict"

[axes]
K = [3, 4]
c = { from = 0.05, to = 1.2, num = 35 }
"""
SPEC = make_spec(tomllib.loads(TOML))
CELLS = 70
HOT = "import jax\n\ndef hot(z, k):\n    return jax.nn.logsumexp(2 * z) - 2 * z[k]\n"
# Imported by the workers alone it ends them, as running out of memory would.
KILLER = (
    "import os, signal, sys\n"
    "if os.path.basename(sys.argv[0]) == 'pool.py':\n"
    "    os.kill(os.getpid(), signal.SIGKILL)\n" + HOT
)


@pytest.fixture(scope="module", autouse=True)
def small_batches():
    """Ten batches, five of a shape: too few to measure strategies, so that none depends on time."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(run_module, "BATCH", 7)
        yield


@pytest.fixture(scope="module")
def expected(tmp_path_factory, small_batches):
    return run(SPEC, tmp_path_factory.mktemp("local")).table()


def require_equal(found, expected):
    """Bit by bit, but for the time it took."""
    assert list(found) == list(expected)
    assert np.array_equal(found["cell"], np.arange(len(found["cell"])))
    for name in set(found) - {"seconds"}:
        assert np.array_equal(found[name], expected[name], equal_nan=found[name].dtype.kind == "f")


def worker_pids():
    """The worker processes that this process started."""
    found = []
    for child in psutil.Process().children():
        with suppress(psutil.NoSuchProcess):  # a zombie is one, too
            found += [child.pid] if PROGRAM in child.cmdline() else []
    return found


@pytest.fixture
def scheduler(tmp_path):
    with cluster_of_dask(tmp_path) as found:
        yield found


def test_the_table_is_that_of_this_process(tmp_path, expected):
    before = dict(os.environ)
    found = run(SPEC, tmp_path, executor=ClusterExecutor(None, 2)).table()
    require_equal(found, expected)
    assert worker_pids() == []
    assert dict(os.environ) == before


def test_workers_have_one_thread_float64_and_ignore_ctrl_c(tmp_path):
    def look():
        mask = signal.pthread_sigmask(signal.SIG_BLOCK, [])
        names = [*ONE_THREAD, "JAX_COMPILATION_CACHE_DIR"]
        import jax

        jax.devices()
        tasks = Path("/proc/self/task")
        pools = [(t / "comm").read_text() for t in tasks.iterdir()] if tasks.exists() else []
        pool = sum("XLAEigen" in name for name in pools)
        return module.versions(), [os.environ.get(n) for n in names], signal.SIGINT in mask, pool

    from distributed import Client

    with (
        module._quiet(),
        processes(1) as (address, security),
        Client(address, set_as_default=False, security=security) as client,
    ):
        client.wait_for_workers(1, timeout=60)
        (told,) = client.run(look).values()
    words, environment, blocked, pool = told
    assert words == module.versions()
    assert environment == ["1"] * 4 + [os.environ["JAX_COMPILATION_CACHE_DIR"]]
    assert blocked
    assert pool <= 1


def test_jobs_in_flight_are_bounded(monkeypatch):
    monkeypatch.setattr(module, "Dealer", partial(Dealer, window=1))
    pulled, done = 0, 0
    jobs = [replace(job_of("ce", 0), number=number) for number in range(9)]

    def counted():
        nonlocal pulled
        for job in jobs:
            pulled += 1
            assert pulled - done <= IN_FLIGHT + 1
            yield job

    seen = []
    for job, columns in ClusterExecutor(None, 1)(counted()):
        done += 1
        seen.append(job.number)
        assert columns["result"].tolist() == ["CONVERGED"] * 2
    assert sorted(seen) == list(range(9))


@pytest.mark.slow
def test_a_killed_worker_loses_nothing(tmp_path, expected):
    killed = []

    def kill(progress):
        if progress.done and len(killed) < 2:
            killed.append(worker_pids()[0])
            os.kill(killed[-1], signal.SIGKILL)

    store = run(SPEC, tmp_path, executor=ClusterExecutor(None, 2), say=kill)
    assert len(set(killed)) == 2
    assert len(store.scan().present) == 10
    assert store.scan().duplicates == ()
    require_equal(store.table(), expected)


@pytest.mark.slow
def test_all_workers_that_die_at_once_come_back(tmp_path, expected):
    """At other addresses: a job that waited for one of the old ones would wait for ever."""
    killed = set()

    def kill(progress):
        if progress.done and not killed:
            killed.update(worker_pids())
            for pid in killed:
                os.kill(pid, signal.SIGKILL)

    store = run(SPEC, tmp_path, executor=ClusterExecutor(None, 2), say=kill)
    assert len(killed) == 2
    assert store.scan().duplicates == ()
    require_equal(store.table(), expected)


@pytest.mark.slow
def test_a_job_that_kills_its_workers_becomes_rows(tmp_path):
    file = tmp_path / "killer.py"
    file.write_text(KILLER)
    jobs = [job_of("ce", 0), job_of(f"{file}:hot", 1), job_of("ce", 2), job_of("ce", 3)]
    found = {job.number: columns for job, columns in ClusterExecutor(None, 1)(jobs)}
    assert [found[i]["result"][0] for i in range(4)] == ["CONVERGED", "FAILED"] + 2 * ["CONVERGED"]
    assert "killed" in found[1]["reason"][0]
    good, bad = found[0], found[1]
    assert {n: c.dtype for n, c in bad.items()} == {n: c.dtype for n, c in good.items()}
    assert all(len(column) == 2 for column in bad.values())


@pytest.mark.slow
def test_a_scheduler_that_is_killed(tmp_path, scheduler, expected):
    address, boss = scheduler
    reached = []

    def kill(progress):
        if progress.done and not reached:
            reached.append(progress.done)
            boss.kill()

    began = time.monotonic()
    with pytest.raises(InputError, match=r"The scheduler .*lost|The scheduler does") as told:
        run(SPEC, tmp_path / "s", executor=ClusterExecutor(address, 1), say=kill)
    assert time.monotonic() - began < 60
    assert address in str(told.value)
    assert "same command" in str(told.value)
    counts = []
    again = run(SPEC, tmp_path / "s", executor=LocalExecutor(), say=lambda p: counts.append(p.done))
    assert 0 < reached[0] <= counts[0] < CELLS
    require_equal(again.table(), expected)


@pytest.mark.slow
def test_the_command_computes_on_a_live_scheduler(tmp_path, scheduler, expected):
    address, boss = scheduler
    file = tmp_path / "small.toml"
    file.write_text(TOML)
    given = (file, "--cluster", address)
    said = kill_sweep.finished(kill_sweep.start(tmp_path / "s", *given, batch=7))
    assert f"{CELLS} of {CELLS}" in said
    require_equal(Store.open(tmp_path / "s").table(), expected)
    assert address in Store.open(tmp_path / "s").manifest["provenance"]["Command"]
    boss.kill()
    boss.wait()
    # Whoever computed the first table, nobody computes one without the scheduler.
    with kill_sweep.start(tmp_path / "t", *given, batch=7) as alone:
        err = alone.communicate(timeout=120)[1]
    assert (alone.returncode, address in err) == (2, True), err
    assert "Traceback" not in err
    assert Store.open(tmp_path / "t").scan().present == {}


def one_worker(but=()):
    """The process id of a worker that was not seen before."""
    deadline = time.monotonic() + 60
    while time.monotonic() < deadline:
        if new := sorted(set(worker_pids()) - set(but)):
            return new[0]
        time.sleep(0.01)
    raise AssertionError("no worker came back")


@pytest.mark.slow
def test_workers_that_are_killed_while_they_start_come_back():
    killed = []
    with module._quiet(), processes(1) as (address, security):
        for _ in range(3):  # one that runs, and two of its successors as soon as they exist
            killed.append(one_worker(killed))
            os.kill(killed[-1], signal.SIGKILL)
        with module._Drive.connected(address, security) as drive:
            ((_, found),) = drive([job_of("ce", 0)])
    assert found["result"].tolist() == ["CONVERGED"] * 2
    assert worker_pids() == []


def test_nobody_at_the_address(tmp_path, monkeypatch):
    monkeypatch.setattr(module, "CONNECT", 1)
    began = time.monotonic()
    with pytest.raises(InputError, match="not reached") as told:
        run(SPEC, tmp_path, executor=ClusterExecutor("tcp://127.0.0.1:9", 1))
    assert told.value.got == "tcp://127.0.0.1:9"
    assert time.monotonic() - began < 15


def test_a_scheduler_without_workers(tmp_path, monkeypatch):
    monkeypatch.setattr(module, "PATIENCE", 0.04)
    file = tmp_path / "alone.json"
    boss = start(
        "distributed.cli.dask_scheduler", "--host=127.0.0.1", "--port=0", "--no-dashboard",
        "--dashboard-address=:0", "--scheduler-file", file,
    )  # fmt: skip
    try:
        executor = ClusterExecutor(address_in(file, boss), 1)
        with pytest.raises(InputError, match="has no workers"):
            next(executor([job_of("ce", 0)]))
    finally:
        boss.kill()
        boss.wait()


@pytest.mark.parametrize(
    "address",
    ["", "localhost", "localhost:8786", "tcp://:1", "tcp://h", "inproc://a/1", "tcp://h:99999", 5],
)
def test_what_is_no_address(address):
    with pytest.raises(InputError, match="tcp://HOST:PORT"):
        ClusterExecutor(address, 1)


@pytest.mark.parametrize("package", ["distributed", "cryptography"])
def test_without_a_package(monkeypatch, package):
    monkeypatch.setitem(sys.modules, package, None)
    with pytest.raises(InputError, match=r"pip install '\.\[cluster\]' in the clone"):
        ClusterExecutor(None, 1)
    if package == "cryptography":  # the certificates of another's scheduler are not made here
        ClusterExecutor("tls://h:1", 1)


def test_workers_of_another_version_are_refused(monkeypatch):
    assert isinstance(module._computed(job_of("ce", 0), module.versions()), dict)
    monkeypatch.setattr(module, "versions", lambda: "ufm-lab 9")
    with pytest.raises(InputError, match="ufm-lab 9") as told:
        next(ClusterExecutor(None, 1)([job_of("ce", 0)]))
    assert "float64" in str(told.value.got)


def test_an_own_loss_is_loaded_by_the_workers(tmp_path, monkeypatch):
    (tmp_path / "own.py").write_text(HOT)
    monkeypatch.chdir(tmp_path)
    job = job_of("own.py:hot", 0)
    job.work.cells.loss(0)  # kept, and another process cannot read a function of this file
    sent = module._portable(job)
    monkeypatch.chdir(tmp_path.parent)
    ((_, found),) = ClusterExecutor(None, 1)([sent])
    monkeypatch.chdir(tmp_path)
    here = compute(job)
    assert found["reason"].tolist() == here["reason"].tolist()
    assert np.array_equal(found["objective"], here["objective"], equal_nan=True)
    assert set(found["result"]) == {"CONVERGED"}


SCRIPT = """
import signal
from pathlib import Path
from experiments.sweep import run as module
from experiments.sweep.cluster import ClusterExecutor
from experiments.sweep.spec import make_spec

if __name__ == "__main__":
    # A shell that starts the tests in the background has them ignore SIGINT, and so this.
    signal.signal(signal.SIGINT, signal.default_int_handler)
    module.BATCH = 16
    axes = {"K": [3, 4, 5], "c": {"from": 0.05, "to": 1.2, "num": 900}}
    spec = make_spec({"task": "verdict", "axes": axes})
    try:
        executor = ClusterExecutor(None, 2)
        module.run(spec, Path("store"), executor=executor, say=lambda p: print(p, flush=True))
    except KeyboardInterrupt:
        print("interrupted", flush=True)
"""


@pytest.mark.slow
@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGKILL])
def test_no_process_is_left_behind(tmp_path, number):
    (tmp_path / "sweep.py").write_text(SCRIPT)
    process = subprocess.Popen(
        [sys.executable, "sweep.py"],
        cwd=tmp_path,
        env={**os.environ, "PYTHONPATH": str(ROOT)},
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        start_new_session=True,
    )
    lines = [process.stdout.readline(), process.stdout.readline()]
    assert all("/2,700 cells" in line for line in lines)
    children = psutil.Process(process.pid).children(recursive=True)
    assert len(children) >= 2
    if number == signal.SIGINT:  # as a terminal does, to the whole group
        os.killpg(process.pid, number)
    else:
        process.kill()
    rest = process.communicate(timeout=60)[0]
    deadline = time.monotonic() + 30
    while [c for c in children if c.is_running() and c.status() != psutil.STATUS_ZOMBIE]:
        assert time.monotonic() < deadline
        time.sleep(0.1)
    if number == signal.SIGINT:
        assert rest.splitlines()[-1] == "interrupted"
        assert "Traceback" not in rest
