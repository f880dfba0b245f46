"""Three ways to train one network, each held against its own model."""

import numpy as np
import pytest

from experiments.networks.architectures import Architecture
from experiments.networks.comparison import LossSpec, execute
from experiments.networks.comparison.page import write_theory_page
from experiments.networks.comparison.three_ways import (
    LINEAR,
    RELU,
    WEIGHTS,
    deviations,
    plan_cells,
    variants,
)
from experiments.networks.runs import DataRequest
from experiments.networks.training import FeatureDecay, TrainSettings

DATA = DataRequest(per_class=6)
SETTINGS = TrainSettings(
    architecture=Architecture("mlp", width=1.0, depth=1),
    d=12,
    epochs=2,
    batch_size=20,
    learning_rate=0.1,
    max_gradient_norm=1.0,
    decay=FeatureDecay(0.02, 1e-3),
)


@pytest.mark.slow
def test_three_ways_of_training_against_the_model(tmp_path):
    dataset = DATA.load()
    made = variants(SETTINGS, dataset)
    assert list(made) == [LINEAR, RELU, WEIGHTS]
    assert [s.architecture.features for s in made.values()] == ["linear", "relu", "linear"]
    ways = plan_cells(DATA, made, (LossSpec("ce"), LossSpec("sigmoid")), (0,))
    runs, _ = execute(tuple(ways), tmp_path)
    found = deviations(runs, ways)
    assert [(line.variant, line.loss) for line in found][:2] == [
        (LINEAR, "ce"),
        (LINEAR, "sigmoid"),
    ]
    assert [line.frame for line in found if line.loss == "ce"] == [
        "simplex ETF",
        "orthogonal frame",
        "simplex ETF",
    ]
    by_hand = found[0].ratios["gap"][0]
    run = next(iter(runs.values()))
    model_gap = np.log(10 / 0.2 - 9)
    assert by_hand == pytest.approx(run.final["logit_gap"] / model_gap, rel=1e-9)
    page = write_theory_page(runs, (), ways, tmp_path).read_text()
    assert RELU in page
    assert found[0].text("gap") in page
