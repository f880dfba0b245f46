"""Programs on disk: found by another process, for nothing else than what they were made of."""

import os
import subprocess
import sys
from pathlib import Path
from threading import Thread

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import experiments.programs as module
from experiments.programs import Programs, surroundings
from ufm import UFM, CrossEntropy, Focal
from ufm.kept import Kept, keep_with, kept
from ufm.losses.columns import column_gradients, column_losses
from ufm.model import value_and_gradient

ROOT = Path(__file__).resolve().parents[2]
Z = np.linspace(-1.0, 1.0, 12).reshape(3, 4)
LABELS = np.array([0, 1, 2, 1])


@pytest.fixture
def keeper(tmp_path):
    """Keeps programs in a folder; told lists what it said."""
    told = []
    made = Programs(tmp_path / "programs", lambda *words: told.append(words))
    made.told = told
    keep_with(made)
    yield made
    keep_with(None)


def files(keeper):
    return sorted(keeper.folder.glob("*/*"))


def traced(monkeypatch, function):
    """How often a kept function is traced from now on."""
    calls = []

    def counted(*args, **static):
        calls.append(static)
        return written(*args, **static)

    written = function.function
    monkeypatch.setattr(function, "function", counted)
    return calls


def test_a_program_is_made_once_and_read_by_the_next(keeper, monkeypatch):
    plain = column_gradients.jitted(CrossEntropy(), Z, LABELS)
    calls = traced(monkeypatch, column_gradients)
    for _ in range(3):  # the same memory, then as a new process
        for made in (*[column_gradients(CrossEntropy(), Z, LABELS) for _ in range(2)],):
            assert all((a == b).all() for a, b in zip(made, plain, strict=True))
        keeper.forget()
    assert len(calls) == len(files(keeper)) == 1
    assert keeper.told == []


def test_shapes_types_structure_and_function_tell_programs_apart(keeper):
    model = UFM(CrossEntropy(), 3, 4, lambda_W=0.1, lambda_H=0.1)
    point = model.random_point(jax.random.key(0))
    before = len(files(keeper))  # the draw
    column_losses(CrossEntropy(), Z, LABELS)
    column_losses(CrossEntropy(), Z[:, :2], LABELS[:2])
    column_losses(CrossEntropy(), Z.astype(np.float32), LABELS)
    column_losses(Focal(2.0), Z, LABELS)
    column_gradients(CrossEntropy(), Z, LABELS)
    value_and_gradient(model, point)
    assert len(files(keeper)) - before == 6
    # Numbers are no structure: another decay and another gamma have the same program.
    column_losses(Focal(3.0), Z, LABELS)
    other = value_and_gradient(model._replace(lambda_W=0.2), point)
    assert len(files(keeper)) - before == 6
    assert float(other[0]) - float(value_and_gradient(model, point)[0]) == pytest.approx(
        0.05 * float((point.W**2).sum())
    )


@kept("times")
def scaled(x, *, times):
    return x * times


def test_static_keywords_tell_programs_apart(keeper, monkeypatch):
    monkeypatch.setattr(scaled, "name", "ufm.scaled")  # as one of ours
    assert [float(scaled(2.0, times=t)) for t in (3, 4, 3)] == [6.0, 8.0, 6.0]
    assert len(files(keeper)) == 2


class Foreign(CrossEntropy):
    """A loss from outside: what it computes may change without notice."""

    def __call__(self, logits, label):
        return 2 * super().__call__(logits, label)


def test_what_is_not_ours_is_never_written(keeper):
    jax.tree_util.register_pytree_node(Foreign, lambda x: ((), ()), lambda *_: Foreign())
    twice = column_losses(Foreign(), Z, LABELS)
    assert np.allclose(twice, 2 * column_losses.jitted(CrossEntropy(), Z, LABELS))
    assert float(scaled(2.0, times=3)) == 6.0
    assert files(keeper) == []


@kept()
def factorised(x):
    return jnp.linalg.cholesky(x)


def test_what_calls_a_library_is_not_written(keeper, monkeypatch):
    """Read from a disk it would end the process: nobody there has looked LAPACK up."""
    monkeypatch.setattr(factorised, "name", "ufm.factorised")  # as one of ours
    calls = traced(monkeypatch, factorised)
    for _ in range(2):
        assert factorised(4.0 * np.eye(2))[0, 0] == 2.0
    assert len(calls) == 1
    assert files(keeper) == []


def test_traced_arguments_and_other_devices_go_to_jax(keeper):
    slopes = jax.jit(lambda z: column_losses(CrossEntropy(), z, LABELS))(Z)
    assert slopes.shape == (4,)
    assert files(keeper) == []


def test_without_a_keeper_nothing_is_different():
    keep_with(None)
    assert (column_losses(CrossEntropy(), Z, LABELS) == column_losses.jitted(
        CrossEntropy(), Z, LABELS
    )).all()  # fmt: skip
    assert column_losses.__doc__
    assert isinstance(column_losses, Kept)


@pytest.mark.parametrize("how", ["cut", "flipped", "another program"])
def test_a_damaged_program_is_told_and_made_anew(keeper, how):
    good = column_losses(CrossEntropy(), Z, LABELS)
    column_losses(CrossEntropy(), Z[:, :2], LABELS[:2])
    contents = [path.read_bytes() for path in files(keeper)]
    for path, whole, other in zip(files(keeper), contents, reversed(contents), strict=True):
        flipped = whole[:99] + bytes([whole[99] ^ 1]) + whole[100:]
        path.write_bytes({"cut": whole[:99], "flipped": flipped}.get(how, other))
    keeper.forget()
    assert (column_losses(CrossEntropy(), Z, LABELS) == good).all()
    assert [words[0] for words in keeper.told] == ["reading"]
    keeper.forget()
    assert (column_losses(CrossEntropy(), Z, LABELS) == good).all()
    assert len(keeper.told) == 1


def test_a_program_that_loads_and_does_not_run_is_made_anew(keeper, monkeypatch):
    """As XLA's are for CPUs that were written after they had been read."""
    good = column_losses(CrossEntropy(), Z, LABELS)

    def broken(*_):
        raise RuntimeError("NOT_FOUND: a function")

    monkeypatch.setattr(module, "_unpacked", lambda *_: broken)
    keeper.forget()
    assert (column_losses(CrossEntropy(), Z, LABELS) == good).all()
    assert keeper.told == [("reading", keeper.folder, "NOT_FOUND: a function")]


def test_a_folder_that_cannot_be_written_to(keeper):
    keeper.folder.touch()
    found = column_losses(CrossEntropy(), Z, LABELS)
    assert (found == column_losses.jitted(CrossEntropy(), Z, LABELS)).all()
    assert {words[0] for words in keeper.told} <= {"reading", "writing"}
    assert keeper.told


def test_threads_compile_once(keeper, monkeypatch):
    calls = traced(monkeypatch, column_losses)
    threads = [Thread(target=column_losses, args=(CrossEntropy(), Z, LABELS)) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(calls) == 1


def test_old_versions_make_room(tmp_path):
    for age, name in enumerate("abcdef"):
        (tmp_path / name).mkdir()
        os.utime(tmp_path / name, (100.0 - age,) * 2)
    module._make_room(tmp_path)
    assert sorted(x.name for x in tmp_path.iterdir()) == ["a", "b", "c"]


@pytest.mark.parametrize("change", ["code", "flags", "processor"])
def test_surroundings_notice(monkeypatch, change):
    before = surroundings.__wrapped__()
    assert surroundings.__wrapped__() == before
    if change == "code":
        code = list(module._code(module.resources.files("ufm")))
        assert {"kept.py", "plain/model.py"} <= {name for name, _ in code}
        content = [(name, text + b"\n" * (name == "plain/model.py")) for name, text in code]
        monkeypatch.setattr(module, "_code", lambda folder: content)
    elif change == "flags":
        monkeypatch.setenv("XLA_FLAGS", "--xla_of_another_kind")
    else:
        monkeypatch.setattr(module, "_processor", lambda: "another one")
    assert surroundings.__wrapped__() != before


# The result, and how many programs JAX lowered.
PROGRAM = """
import jax
from experiments.compiled import keep_compiled
import ufm
keep_compiled()
lowered = []
jax.monitoring.register_event_duration_secs_listener(
    lambda name, *_, **__: lowered.append(name) if "jaxpr_to_mlir" in name else None)
from landscape.solvers.trust_region import trust_region
from ufm import UFM, CrossEntropy
from ufm.point import two_keys
model = UFM(CrossEntropy(), 3, 4, lambda_W=0.05, lambda_H=0.05)
found = trust_region(model, model.random_point(two_keys(0)[0]), 1e-10, 100)
print(float(found[1]).hex(), float(found[2]).hex(), len(lowered))
"""


# The same of a batch of a sweep.
BATCH = (
    PROGRAM[: PROGRAM.index("from landscape")]
    + """
import numpy as np
from experiments.sweep.cells import expand
from experiments.sweep.run import Job, compute
from experiments.sweep.spec import make_spec
from experiments.sweep.work import Work
spec = make_spec({"task": "verdict", "axes": {"K": 3, "d": [2, 5], "c": [0.3, 1.2]}})
found = compute(Job(0, 4, "verdict", Work(expand(spec), 3, spec.options, 2, False)))
assert set(found["curvature"]) == {"MORSE_BOTT_MINIMUM"}
print(float(found["gap"].sum()).hex(), float(found["objective"].sum()).hex(), len(lowered))
"""
)


@pytest.mark.parametrize(
    "program", [PROGRAM, pytest.param(BATCH, marks=pytest.mark.slow)], ids=["solve", "sweep"]
)
def test_another_process_traces_nothing_and_finds_the_same_bits(tmp_path, program):
    environment = {name: x for name, x in os.environ.items() if "CACHE" not in name}
    environment |= {"XDG_CACHE_HOME": str(tmp_path), "PYTHONPATH": str(ROOT)}

    def ran():
        command = [sys.executable, "-c", program]
        words = subprocess.check_output(command, env=environment, text=True).split()
        return words[:2], int(words[2])

    first, second = ran(), ran()
    assert first[0] == second[0]
    assert first[1] > 0
    assert second[1] == 0
