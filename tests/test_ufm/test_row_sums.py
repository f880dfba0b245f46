"""The sum of classifier rows against gradient descent written out on drifting features."""

import numpy as np
import pytest

from ufm.row_sums import nc0, nc0_course

K, d, N = 3, 5, 7
RATES = (0.3, 0.2, 0.05)


def descended(steps, decay, momentum, nesterov, decoupled, cost=0.0):
    """NC0 over that at the start, after every epoch of cross entropy on features that drift.

    ``cost`` times the first logit is added to the loss, which then sees common shifts.
    """
    rng = np.random.default_rng(4)
    W, H, y = rng.normal(size=(K, d)), rng.normal(size=(d, N)), np.arange(N) % K
    velocity, found = np.zeros((K, d)), [nc0(W)]
    for rate in RATES:
        for _ in range(steps):
            Z = np.exp(W @ H)
            error = Z / Z.sum(axis=0) - np.eye(K)[:, y]
            error[0] += cost
            slope = error @ H.T / N + (0 if decoupled else decay) * W
            velocity = momentum * velocity + slope
            move = slope + momentum * velocity if nesterov else velocity
            W = W - rate * move - rate * decay * decoupled * W
            H = H + 0.1 * rng.normal(size=H.shape)
        found.append(nc0(W))
    return np.array(found) / found[0]


@pytest.mark.parametrize("decoupled", [False, True])
@pytest.mark.parametrize(("momentum", "nesterov"), [(0.0, False), (0.8, False), (0.7, True)])
def test_the_course_is_that_of_descent(momentum, nesterov, decoupled):
    options = {"nesterov": nesterov, "decoupled": decoupled}
    found = descended(4, 0.06, momentum, nesterov, decoupled)
    course = nc0_course(RATES, 4, 0.06, momentum, **options)
    # Twelve steps on rows of order 1 whose sum stays above a tenth of that.
    np.testing.assert_allclose(course, found, rtol=1e-12)
    wrong = [
        nc0_course(RATES, 4, 0.06 * 1.01, momentum, **options),
        nc0_course(RATES, 5, 0.06, momentum, **options),
        nc0_course(RATES[::-1], 4, 0.06, momentum, **options),
        descended(4, 0.06, momentum, nesterov, decoupled, cost=0.01),
    ]
    if momentum:
        wrong.append(
            nc0_course(RATES, 4, 0.06, momentum, **{**options, "decoupled": not decoupled})
        )
        if not decoupled:
            wrong.append(nc0_course(RATES, 4, 0.06, 1.01 * momentum, **options))
            wrong.append(nc0_course(RATES, 4, 0.06, momentum, nesterov=not nesterov))
    for mutant in wrong:
        assert np.abs(mutant / found - 1).max() > 1e-4


def test_decoupled_decay_is_a_product_of_factors():
    factors = np.repeat([(1 - rate * 0.06) ** 2 for rate in RATES], 4).cumprod()
    course = nc0_course(RATES, 4, 0.06, 0.9, decoupled=True)
    np.testing.assert_allclose(course[1:], factors[3::4], rtol=1e-14)


def test_a_rate_that_is_too_large_overflows_without_a_warning():
    course = nc0_course([1e6, 1e6], 40, 0.02, 0.9)
    assert course[0] == 1
    assert not np.isfinite(course[1:]).any()


def test_the_number_itself():
    W = np.random.default_rng(0).normal(size=(K, d))
    assert nc0(W) == pytest.approx(sum((W[0] + W[1] + W[2]) ** 2) / 3, rel=1e-14)
    assert nc0(W - W.mean(axis=0)) < 1e-30
