"""Points constant on classes of one size: the objective, its gradient and the lifted point."""

import jax
import numpy as np
import pytest

from landscape.solvers.trust_region import trust_region
from ufm import MSE, UFM, CrossEntropy
from ufm.plain.sizes import ClassSizes

COUNTS = (4, 2, 4, 1, 2, 4)
DECAYS = {"lambda_W": 0.03, "lambda_H": 0.01}


@pytest.mark.parametrize("lambda_b", [None, 0.05])
@pytest.mark.parametrize("loss", [CrossEntropy(), MSE()], ids=lambda loss: loss.name)
def test_a_minimum_among_such_points_is_critical_in_the_plain_model(loss, lambda_b):
    model = UFM(loss, counts=COUNTS, d=7, lambda_b=lambda_b, **DECAYS)
    sizes = ClassSizes.of(model)
    assert sizes.members.tolist() == [1, 2, 3]
    point, value, _, _ = trust_region(sizes, sizes.random_point(jax.random.key(3)), 1e-12, 500)
    lifted = sizes.lift(model, point)
    merged, lifted = model.as_merged(lifted)
    assert float(merged.objective(lifted)) == pytest.approx(float(value), abs=1e-14)
    logits = np.asarray(merged.column_logits(lifted))
    first = np.unique(sizes.kinds, return_index=True)[1]
    assert np.allclose(logits[:, first], sizes.logits(point), atol=1e-12)
    # Exchanging two classes of a size exchanges rows and columns of the logits.
    order = [2, 4, 0, 3, 1, 5]
    assert np.allclose(logits[np.ix_(order, order)], logits, atol=1e-12)
    gradient = merged.value_and_gradient(lifted)[1]
    assert max(float(np.abs(x).max()) for x in gradient if x is not None) < 1e-10


def test_sizes_that_differ_all_have_no_simplex_inside():
    model = UFM(CrossEntropy(), counts=(3, 2, 1), d=3, **DECAYS)
    sizes = ClassSizes.of(model)
    point = sizes.random_point(jax.random.key(0))
    moved = point._replace(w=2 * point.w)
    assert np.array_equal(sizes.logits(point), sizes.logits(moved))
