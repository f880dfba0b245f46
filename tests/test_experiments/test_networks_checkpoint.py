"""Checkpoints: exact, atomic, in small files, and refused when damaged or foreign."""

import json
import os
import signal
import subprocess
import sys
import time
from itertools import islice
from pathlib import Path
from typing import Any

import jax
import numpy as np
import pytest

from experiments.lock import locked
from experiments.networks.training import (
    Augmentation,
    Outcome,
    Progress,
    TrainSettings,
    continued,
    epochs,
    load_checkpoint,
    loop,
    save_checkpoint,
    train,
)
from experiments.networks.training import checkpoint as module
from tests.networks import K, images, labels, same_bits, settings
from ufm import InputError

X, Y = images(), labels()
TREE = {"a": np.arange(6, dtype=np.float32).reshape(2, 3) / 7, "b": (np.int32(-5), np.zeros(0))}
ROOT = Path(__file__).resolve().parents[2]


def first_epochs(made: TrainSettings, count: int, folder: Path, **given: Any) -> Progress:
    """Leave the loop after some epochs, as a process that is stopped does."""
    return list(islice(epochs(made, X, Y, K, folder=folder, **given), count))[-1]


# ---- a run that is resumed


def everything_random() -> TrainSettings:
    """Samples' own parameters, crops and flips; the state has momentum and they."""
    return settings("sop", epochs=4, augmentation=Augmentation(1, True), batch_size=5)


@pytest.fixture(scope="module")
def whole() -> Progress:
    return train(everything_random(), X, Y, K)


@pytest.mark.parametrize("stopped", [1, 3])
def test_a_resumed_run_has_the_same_bits(whole: Progress, stopped: int, tmp_path: Path) -> None:
    made = everything_random()
    part = first_epochs(made, stopped, tmp_path)
    assert part.outcome is Outcome.RUNNING
    resumed = train(made, X, Y, K, folder=tmp_path)
    assert resumed.records == whole.records
    assert same_bits(resumed.state, whole.state)
    # And a finished run is only read.
    again = list(epochs(made, X, Y, K, folder=tmp_path))
    assert len(again) == 1
    assert again[0].records == whole.records
    assert same_bits(again[0].state, whole.state)


def test_a_resumed_run_of_adam_has_its_means_and_their_count(tmp_path: Path) -> None:
    made = settings(optimizer="adamw", epochs=3)
    whole = train(made, X, Y, K)
    first_epochs(made, 1, tmp_path)
    resumed = train(made, X, Y, K, folder=tmp_path)
    assert resumed.records == whole.records
    assert same_bits(resumed.state, whole.state)


@pytest.mark.parametrize("lost", ["momentum", "auxiliary", "records"])
def test_a_checkpoint_without_a_part_of_the_state_gives_another_curve(
    whole: Progress, lost: str, tmp_path: Path
) -> None:
    """Negative control: the comparison above sees what a resumed run would lack."""
    made = everything_random()
    part = first_epochs(made, 2, tmp_path)
    key = json.loads((tmp_path / "checkpoint.json").read_text())["key"]
    zero = jax.tree.map(np.zeros_like, part.state)
    state, about = part.state, part.about()
    if lost == "records":
        about["records"] = about["records"][1:]
    else:
        state = state._replace(**{lost: getattr(zero, lost)})
    save_checkpoint(tmp_path, key, state, about)
    assert not same_bits(train(made, X, Y, K, folder=tmp_path).state, whole.state)


def test_checkpoints_every_few_epochs_and_at_the_end(whole: Progress, tmp_path: Path) -> None:
    made = everything_random()
    first_epochs(made, 3, tmp_path, every=2)
    assert len(continued(made, X, Y, K, tmp_path).records) == 2
    train(made, X, Y, K, folder=tmp_path, every=3)
    found = continued(made, X, Y, K, tmp_path)
    assert found.outcome is Outcome.COMPLETED
    assert same_bits(found.state, whole.state)
    with pytest.raises(InputError, match="every >= 1"):
        train(made, X, Y, K, every=0)


def test_a_run_that_diverged_is_not_tried_again(tmp_path: Path, monkeypatch: Any) -> None:
    made = settings(learning_rate=30.0, schedule="constant", epochs=40)
    stopped = train(made, X, Y, K, folder=tmp_path)
    monkeypatch.setattr(loop, "make_step", lambda *_: pytest.fail("it was"))
    again = list(epochs(made, X, Y, K, folder=tmp_path))
    assert [run.outcome for run in again] == [Outcome.NOT_FINITE]
    assert again[0].records == stopped.records != ()


def test_measures_come_back_from_the_checkpoint(tmp_path: Path) -> None:
    made = everything_random()
    first_epochs(made, 2, tmp_path, measure=lambda network, epoch: {"third": epoch / 3})
    measures = [record.measures for record in continued(made, X, Y, K, tmp_path).records]
    assert measures == [{"third": 1 / 3}, {"third": 2 / 3}]


def test_other_settings_or_data_are_another_run(tmp_path: Path) -> None:
    made = everything_random()
    first_epochs(made, 1, tmp_path)
    others = [
        (settings("sop", epochs=5), X, Y),
        (made, X + np.float32(1e-3), Y),
        (made, X, np.roll(Y, 1)),
    ]
    for other, x, y in others:
        with pytest.raises(InputError, match="another run"):
            train(other, x, y, K, folder=tmp_path)


def test_two_processes_do_not_train_in_one_folder(tmp_path: Path) -> None:
    with locked(tmp_path, "Mine"), pytest.raises(InputError, match="Another process trains"):
        train(everything_random(), X, Y, K, folder=tmp_path)
    with locked(tmp_path, "Mine"):
        pass  # free again


# ---- the files


def test_bits_come_back_from_several_files(tmp_path: Path, monkeypatch: Any) -> None:
    monkeypatch.setattr(module, "PART_BYTES", 10)
    save_checkpoint(tmp_path, "5eed", TREE, {"epoch": 3})
    parts = sorted(tmp_path.glob("part-*.bin"))
    sizes = sorted(part.stat().st_size for part in parts)
    assert set(sizes[1:]) == {10}
    assert 0 < sizes[0] <= 10
    # Three arrays of 28 bytes in all, each behind a header of NumPy's.
    assert sum(sizes) > 28
    assert len(parts) > 3
    found, about = load_checkpoint(tmp_path, "5eed", TREE)
    assert same_bits(found, TREE)
    assert about == {"epoch": 3}


def test_files_of_earlier_checkpoints_go_and_others_stay(tmp_path: Path) -> None:
    (tmp_path / "notes.txt").write_text("mine")
    (tmp_path / ".part-0123456789abcdef.bin.abcdefgh.unfinished").touch()
    with locked(tmp_path, "Mine"):
        pass  # removes what a killed process left
    (tmp_path / "lock").unlink()
    for epoch in range(3):
        save_checkpoint(tmp_path, "5eed", {"a": np.float32(epoch)}, {"epoch": epoch})
    names = sorted(path.name for path in tmp_path.iterdir())
    assert names[0] == "checkpoint.json"
    assert names[1] == "notes.txt"
    assert len(names) == 3


@pytest.mark.parametrize("name", ["part", "checkpoint.json"])
def test_a_kill_while_writing_leaves_the_last_checkpoint(
    name: str, tmp_path: Path, monkeypatch: Any
) -> None:
    save_checkpoint(tmp_path, "5eed", TREE, {"epoch": 1})
    usual = os.replace

    def killed(source: str, target: Path) -> None:
        if target.name.startswith(name):
            raise KeyboardInterrupt
        usual(source, target)

    monkeypatch.setattr(os, "replace", killed)
    other = {**TREE, "a": TREE["a"] + 1}
    with pytest.raises(KeyboardInterrupt):
        save_checkpoint(tmp_path, "5eed", other, {"epoch": 2})
    found, about = load_checkpoint(tmp_path, "5eed", TREE)
    assert about == {"epoch": 1}
    assert same_bits(found, TREE)
    monkeypatch.setattr(os, "replace", usual)
    save_checkpoint(tmp_path, "5eed", other, {"epoch": 2})
    assert load_checkpoint(tmp_path, "5eed", TREE)[1] == {"epoch": 2}
    assert len(list(tmp_path.iterdir())) == 2


def flip_a_bit(path: Path) -> None:
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 1
    path.write_bytes(bytes(content))


@pytest.mark.parametrize(
    ("harm", "says"),
    [
        (lambda folder: flip_a_bit(next(folder.glob("part-*"))), "part of a checkpoint is damaged"),
        (lambda folder: next(folder.glob("part-*")).write_bytes(b""), "is damaged"),
        (lambda folder: next(folder.glob("part-*")).unlink(), "can be read"),
        (
            lambda folder: flip_a_bit(folder / "checkpoint.json"),
            "can be read.*damaged",
        ),
        (
            lambda folder: (folder / "checkpoint.json").write_text("[]"),
            "can be read.*damaged",
        ),
        (lambda folder: (folder / "checkpoint.json").write_bytes(b"\x80\x04"), "damaged"),
        (lambda folder: (folder / "checkpoint.json").unlink(), "can be read"),
    ],
)
def test_damaged_checkpoints_are_refused(harm: Any, says: str, tmp_path: Path) -> None:
    save_checkpoint(tmp_path, "5eed", TREE, {})
    harm(tmp_path)
    with pytest.raises(InputError, match=says):
        load_checkpoint(tmp_path, "5eed", TREE)


def test_foreign_checkpoints_are_refused(tmp_path: Path) -> None:
    save_checkpoint(tmp_path, "5eed", TREE, {})
    with pytest.raises(InputError, match="another run"):
        load_checkpoint(tmp_path, "f00d", TREE)
    for other in (
        {**TREE, "a": TREE["a"].T},
        {**TREE, "a": TREE["a"].astype(np.float16)},
        {**TREE, "c": np.zeros(2)},
        {"A": TREE["a"], "b": TREE["b"]},
    ):
        with pytest.raises(InputError, match="another network's arrays"):
            load_checkpoint(tmp_path, "5eed", other)
    with pytest.raises(InputError, match="written to"):
        save_checkpoint(tmp_path / "missing", "5eed", TREE, {})


# ---- a real kill

CODE = """
import sys
from pathlib import Path
from experiments.networks.training import train
from tests.networks import K, images, labels, settings
made = settings("dropout", epochs=400, batch_size=5)
train(made, images(), labels(), K, folder=Path(sys.argv[1]))
"""


@pytest.mark.slow
def test_a_run_killed_three_times_has_the_same_bits(tmp_path: Path) -> None:
    made = settings("dropout", epochs=400, batch_size=5)
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    reached = 0
    for _ in range(3):
        command = [sys.executable, "-c", CODE, str(tmp_path)]
        process = subprocess.Popen(command, env=environment, cwd=ROOT)
        try:
            deadline = time.monotonic() + 120
            while time.monotonic() < deadline and process.poll() is None:
                done = 0
                if (tmp_path / "checkpoint.json").exists():
                    about = json.loads((tmp_path / "checkpoint.json").read_text())["about"]
                    done = len(about["records"])
                if done > reached + 20:
                    break
                time.sleep(0.02)
            process.send_signal(signal.SIGKILL)
        finally:
            process.kill()
            process.wait()
        before, reached = reached, len(continued(made, X, Y, K, tmp_path).records)
        assert before < reached < 400
    resumed = train(made, X, Y, K, folder=tmp_path)
    without = train(made, X, Y, K)
    assert resumed.records == without.records
    assert same_bits(resumed.state, without.state)
