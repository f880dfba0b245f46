"""The one place of lambda/2, against the objective of the model."""

import jax
import numpy as np
import pytest

from ufm import MSE, UFM
from ufm.decay import penalty


def test_it_is_half_of_the_decay_as_the_model_has_it() -> None:
    assert penalty(0.3, 5.0) == 0.75
    decays = {"lambda_W": 0.3, "lambda_H": 0.07, "lambda_b": 0.11}
    model = UFM(MSE(), 3, 5, 4, **decays)
    point = model.random_point(jax.random.key(0)).to_numpy()
    squares = [np.sum(part**2) for part in point]
    found = model.objective_of_losses(point, np.zeros(12))
    assert found == pytest.approx(sum(map(penalty, decays.values(), squares)), rel=1e-14)
