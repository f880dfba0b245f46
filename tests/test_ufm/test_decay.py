"""The one place of lambda/2, against the objective of the model."""

import jax
import numpy as np
import pytest

from ufm import MSE, UFM
from ufm.decay import balanced_factors, penalty


def test_it_is_half_of_the_decay_as_the_model_has_it() -> None:
    assert penalty(0.3, 5.0) == 0.75
    decays = {"lambda_W": 0.3, "lambda_H": 0.07, "lambda_b": 0.11}
    model = UFM(MSE(), 3, 5, 4, **decays)
    point = model.random_point(jax.random.key(0)).to_numpy()
    squares = [np.sum(part**2) for part in point]
    found = model.objective_of_losses(point, np.zeros(12))
    assert found == pytest.approx(sum(map(penalty, decays.values(), squares)), rel=1e-14)


def test_balanced_factors_are_the_cheapest():
    rng = np.random.default_rng(0)
    U, V = (np.linalg.qr(rng.normal(size=(n, 3)))[0] for n in (5, 4))
    values, lw, lh = np.array([2.0, -0.7, 0.0]), 0.03, 0.2
    W, H = balanced_factors(U, values, V.T, 6, lw, lh)
    assert (W.shape, H.shape) == ((5, 6), (6, 4))
    np.testing.assert_allclose(W @ H, U @ np.diag(values) @ V.T, atol=1e-14)
    np.testing.assert_allclose(lw * W.T @ W, lh * H @ H.T, atol=1e-14)
    price = float(penalty(lw, (W**2).sum()) + penalty(lh, (H**2).sum()))
    assert price == pytest.approx((lw * lh) ** 0.5 * 2.7, rel=1e-14)  # sigma times the nuclear norm
