"""A user's own loss: executed once for each content of its file."""

import os
import sys

import jax.numpy as jnp
import numpy as np

from experiments.losses import load_loss

SOURCE = "def hinge(logits, label):\n    return {factor} * (1.0 - logits[label])\n"


def test_a_file_is_executed_once_for_each_content(tmp_path):
    file, other = tmp_path / "mine.py", tmp_path / "other" / "mine.py"
    other.parent.mkdir()
    file.write_text(SOURCE.format(factor=1.0))
    other.write_text(SOURCE.format(factor=1.0))
    first = load_loss(f"{file}:hinge")
    assert load_loss(f"{file}:hinge") is first
    assert load_loss(f"{other}:hinge") is not first
    file.write_text(SOURCE.format(factor=3.0))
    changed = load_loss(f"{file}:hinge")
    logits = jnp.asarray(np.array([0.5, -1.0, 2.0]))
    assert float(changed(logits, 0)) == 3 * float(first(logits, 0)) == 1.5


def test_a_file_of_equal_size_and_time_is_executed_as_it_is_now(tmp_path, monkeypatch):
    monkeypatch.setattr(sys, "dont_write_bytecode", False)
    file, logits = tmp_path / "mine.py", jnp.zeros(3)
    values = []
    for factor in (1.0, 3.0):
        file.write_text(SOURCE.format(factor=factor))
        os.utime(file, (1_700_000_000, 1_700_000_000))
        values.append(float(load_loss(f"{file}:hinge")(logits, 0)))
    assert values == [1.0, 3.0]
    assert [path.name for path in tmp_path.iterdir()] == ["mine.py"]  # and no byte code
