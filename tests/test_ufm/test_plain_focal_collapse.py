"""When focal loss must collapse: the threshold and the theorem against brute force."""

import jax
import numpy as np
import pytest

from tests.helpers import focal_slope
from ufm import UFM, CrossEntropy, Focal, UserLoss
from ufm.plain.focal_collapse import collapse_theorem, collapse_threshold


def balanced(loss, K, n, c):
    decay = c / (K * np.sqrt(n))
    return UFM(loss, K, K + 2, n, lambda_W=decay, lambda_H=decay)


@pytest.mark.parametrize("gamma", [1.0, 2.0, 5.0, 20.0])
@pytest.mark.parametrize(("factor", "several"), [(0.99, False), (1.01, True)])
def test_the_threshold_is_where_a_symmetric_feature_stops_being_unique(gamma, factor, several):
    """a / g(a) is the t for which the gap a is critical: unique iff it increases."""
    shift = factor * collapse_threshold(gamma)
    a = np.linspace(0.01, shift + 1.0, 20_000)
    falls = np.diff(a / focal_slope(a - shift, gamma)) < 0
    # Steps of the difference quotient are uncertain by 1e-10 relatively; falls are 1e-7 deep.
    assert bool(np.sum(falls) > 20) is several


def test_thresholds():
    assert collapse_threshold(0.0) == np.inf
    assert collapse_threshold(0.01) == np.inf  # u* < 1e-12
    values = [collapse_threshold(gamma) for gamma in (1.0, 5.0, 58.87, 1e4)]
    np.testing.assert_allclose(values, [66.569183, 14.489196, 9.916005, 13.012692], atol=1e-6)


def test_the_theorem_knows_its_limits():
    def reason(gamma, counts, lambda_b=None):
        decays = {"lambda_W": 0.01, "lambda_H": 0.02}
        return collapse_theorem(UFM(Focal(gamma), counts=counts, d=1, lambda_b=lambda_b, **decays))

    assert reason(58.87, (2,) * 20_252)
    assert reason(58.87, (2,) * 20_253) is None
    # The bias: N B < mu with B = max a g(a - log(K - 1)) and mu = min g^2 / g', on grids.
    K, gamma, step = 10, 5.0, 1e-4
    a = np.arange(0.0, 12.0, step)
    energy = np.max(a * focal_slope(a - np.log(K - 1), gamma))
    v = np.arange(-8.0, -3.2, step)
    g = focal_slope(v, gamma)
    rise = np.gradient(g, step)
    largest = int(np.min((g**2 / rise)[rise > 1e-3]) / energy)
    assert largest == 19
    assert reason(gamma, (10,) + (1,) * 9, 0.0)
    assert reason(gamma, (11,) + (1,) * 9, 0.0) is None
    # log(K - 1) + sqrt(2 B / lambda_b) < T, for samples without number.
    edge = 2 * energy / (collapse_threshold(gamma) - np.log(K - 1)) ** 2
    assert reason(gamma, (500,) * 10, 1.01 * edge)
    assert reason(gamma, (500,) * 10, 0.99 * edge) is None
    assert reason(gamma, (500,) * 10, 0.0) is None
    assert reason(gamma, (3, 4), None)
    assert collapse_theorem(balanced(CrossEntropy(), 3, 2, 0.1)) == (
        "the loss is convex in the logits"
    )
    probed = UserLoss(lambda z, k: jax.nn.logsumexp(z) - z[k])
    assert collapse_theorem(balanced(probed, 3, 2, 0.1)) is None  # convexity is probed, not proved
