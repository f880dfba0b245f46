"""How a shape is computed: measured once on a machine, kept with the sweep, by kind of device."""

import json

import jax
import pytest

from experiments.files import cache_folder
from experiments.sweep import strategies
from experiments.sweep.strategies import Strategies
from ufm import InputError

SHAPE, SIZE = ("ce", 3, 4, "no bias"), 10
ENOUGH = strategies.MEASURE_FROM


@pytest.fixture(autouse=True)
def fresh_machine(monkeypatch, tmp_path):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))


@pytest.fixture
def sweep(tmp_path):
    folder = tmp_path / "sweep"
    folder.mkdir()
    return folder


def clock(times, asked):
    def seconds(slots):
        asked.append(slots)
        return times[slots]

    return seconds


@pytest.mark.parametrize("best", strategies.CANDIDATES)
def test_the_fastest_is_chosen_once_and_kept(sweep, tmp_path, best):
    asked = []
    times = {slots: 0.5 if slots == best else 0.7 for slots in strategies.CANDIDATES}
    seconds = clock(times, asked)
    assert Strategies(sweep).choose(SHAPE, SIZE, ENOUGH, seconds) == (best, False)
    assert asked == list(strategies.CANDIDATES)
    written = json.loads((sweep / strategies.NAME).read_text())
    assert written["ce/3/4/no bias/cpu/1"]["slots"] == best
    # Gone on with: from the folder of the sweep, whatever the machine says now.
    (tmp_path / "cache" / "ufm-lab" / strategies.NAME).unlink()
    assert Strategies(sweep).choose(SHAPE, SIZE, ENOUGH, seconds) == (best, False)
    assert len(asked) == len(strategies.CANDIDATES)


def test_two_sweeps_on_one_machine_choose_alike(tmp_path):
    asked = []
    slow, fast = {1: 0.7, 16: 0.5}, {1: 0.5, 16: 0.7}
    for name, times in (("one", slow), ("two", fast)):
        (tmp_path / name).mkdir()
        chosen = Strategies(tmp_path / name).choose(SHAPE, SIZE, ENOUGH, clock(times, asked))
        assert chosen == (16, False)
    assert asked == [1, 16]
    # Another shape is another measurement.
    other = ("ce", 5, 4, "no bias")
    assert Strategies(tmp_path / "two").choose(other, SIZE, ENOUGH, clock(fast, asked)) == (
        1,
        False,
    )


def test_few_batches_are_not_worth_a_measurement(sweep):
    asked = []
    chosen = Strategies(sweep).choose(SHAPE, SIZE, ENOUGH - 1, clock({}, asked))
    assert (chosen, asked) == ((strategies.SLOTS, False), [])


def test_on_accelerators_every_model_has_a_slot(monkeypatch, sweep):
    made = Strategies(sweep)
    on_cpu = made.choose(SHAPE, SIZE, 1, clock({}, []))
    monkeypatch.setattr(jax, "default_backend", lambda: "gpu")
    monkeypatch.setattr(jax, "device_count", lambda: 4)
    assert made.choose(SHAPE, SIZE, 1, clock({}, [])) == (3, True) != on_cpu
    monkeypatch.setattr(jax, "device_count", lambda: 1)
    assert made.choose(SHAPE, SIZE, 1, clock({}, [])) == (10, True)
    assert Strategies(sweep).choose(SHAPE, SIZE, 1, clock({}, [])) == (10, True)


@pytest.mark.parametrize("content", ["{", "[]", "\x00"])
def test_damaged_files(sweep, content):
    asked = []
    (sweep / strategies.NAME).write_text(content)
    with pytest.raises(InputError, match="strategies"):
        Strategies(sweep)
    (sweep / strategies.NAME).unlink()
    (cache_folder() / strategies.NAME).write_text(content)
    assert Strategies(sweep).choose(SHAPE, SIZE, ENOUGH, clock({1: 0.1, 16: 0.2}, asked))[0] == 1
    assert asked == [1, 16]


def test_without_a_cache_the_sweep_is_measured(monkeypatch, sweep, tmp_path):
    (tmp_path / "file").touch()
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "file"))
    assert cache_folder() is None
    chosen = Strategies(sweep).choose(SHAPE, SIZE, ENOUGH, clock({1: 0.1, 16: 0.2}, []))
    assert chosen == (1, False)
