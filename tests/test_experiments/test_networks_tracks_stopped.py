"""Checkpoints that belong to something else, and training that diverges."""

import numpy as np
import pytest

from experiments.networks.tracks import stepping
from experiments.networks.tracks.options import SelfExpressionOptions
from experiments.networks.tracks.self_expression import SelfExpression
from experiments.networks.tracks.track import STOPPED, Cell


def test_a_checkpoint_of_something_else_is_set_aside(tmp_path):
    def epoch(state, number):
        return {"x": state["x"] + 1.0}, {"loss": [float(number)]}

    start = {"x": np.zeros(2)}
    stepping.stepped(start, 2, epoch, tmp_path, "a")
    again, records = stepping.stepped(start, 2, epoch, tmp_path, "b")
    assert (again["x"].tolist(), len(records)) == ([2.0, 2.0], 2)
    place = tmp_path / "checkpoint.json"
    place.write_text(place.read_text().replace("loss", "lose", 1))
    assert stepping.stepped(start, 3, epoch, tmp_path, "b")[0]["x"].tolist() == [3.0, 3.0]
    assert len(list((tmp_path / "damaged").iterdir())) == 2


@pytest.mark.slow
def test_a_training_that_diverges_is_said(tmp_path):
    options = SelfExpressionOptions(seeds=1, per_class=5, steps=60, width=16, learning_rate=1e30)
    cell = Cell("subspaces", "senet", 0)
    assert set(SelfExpression().measure(options, cell, tmp_path)[0]) == {STOPPED}
