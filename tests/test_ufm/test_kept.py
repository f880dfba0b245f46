"""Kept functions are functions: named, documented, pickled by name, answered by a keeper if any."""

import pickle

import jax
import numpy as np
import pytest

from ufm.kept import Kept, forget, keep_with
from ufm.losses import CrossEntropy
from ufm.losses.columns import column_losses

Z, LABELS = np.zeros((3, 4)), np.array([0, 1, 2, 1])


class Recorder:
    """Answers every call with its function and arguments."""

    def __init__(self):
        self.forgot = 0

    def __call__(self, function, args, static):
        return function, args, static

    def forget(self):
        self.forgot += 1


@pytest.fixture
def recorder():
    made = Recorder()
    keep_with(made)
    yield made
    keep_with(None)


def test_a_keeper_answers_and_forgets(recorder, monkeypatch):
    cleared = []
    monkeypatch.setattr(jax, "clear_caches", lambda: cleared.append(1))  # of all other tests
    assert column_losses(CrossEntropy(), Z, LABELS)[0] is column_losses
    forget()
    assert (recorder.forgot, len(cleared)) == (1, 1)
    keep_with(None)
    forget()
    assert (recorder.forgot, len(cleared)) == (1, 2)


def test_traced_calls_are_part_of_the_program_around_them(recorder):
    found = jax.jit(lambda z: column_losses(CrossEntropy(), z, LABELS))(Z)
    assert np.allclose(found, np.log(3))


def test_it_is_named_documented_and_pickled_by_name():
    assert isinstance(column_losses, Kept)
    assert column_losses.name == "ufm.losses.columns.column_losses"
    assert column_losses.__doc__.startswith("L(z_i, y_i)")
    assert pickle.loads(pickle.dumps(column_losses)) is column_losses
