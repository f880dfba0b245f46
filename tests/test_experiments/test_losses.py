"""A user's own loss: executed once for each content of its file."""

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
